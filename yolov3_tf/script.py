"""How every script and program starts: flags that cannot be are one line and exit status 2, as all wrong input is."""
from __future__ import annotations

import sys
from typing import Callable, List, Optional

from absl import app, flags


def start(main: Callable[[List[str]], Optional[int]]):
    """``absl.app.run`` with the user's mistakes told in one line: unknown flags, values out of range, stray words."""
    def told(argv):
        try:
            return main(argv)
        except app.UsageError as error:
            return _refuse(error)

    app.run(told, flags_parser=_parse)


def _parse(argv):
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(_refuse(error))


def _refuse(error) -> int:
    text = ' '.join(str(error).split())
    print(f'error: {text} (--help lists the flags)', file=sys.stderr)
    return 2
