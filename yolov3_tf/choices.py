"""One choice, one table; and the one kind of error that is the user's to mend."""
from __future__ import annotations

import sys
from typing import Callable, Mapping, Optional, TypeVar

T = TypeVar('T')


class InputError(ValueError):
    """Something the user gave (a flag, a file, a label) cannot be used.

    The message says what was expected, what came, where (file, line) and what to do. Scripts print
    it as one line and exit with 2; no traceback is shown, for nothing in the program is at fault.
    """


def choose(table: Mapping[str, T], name: str, what: str) -> T:
    """Looks ``name`` up in ``table``; ``what`` names the choice in the message.

    Raises:
      InputError: the name is not in the table; the message lists those that are.
    """
    if name not in table:
        raise InputError(f'unknown {what} {name!r}: expected one of {", ".join(sorted(table))}')
    return table[name]


def exit_code(run: Callable[[], Optional[int]]) -> int:
    """Runs a script's work; what the user must mend becomes one line on stderr instead of a traceback.

    Returns:
      What ``run`` returns (None counts as 0), 2 after an InputError or OSError, 130 after Ctrl-C.
    """
    try:
        return run() or 0
    except InputError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        where = f'{error.filename}: ' if error.filename else ''
        print(f'error: {where}{error.strerror or error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        return 130
