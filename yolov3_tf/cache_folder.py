"""Where the package keeps what it would otherwise compute again: all of it may be removed at any time."""
from __future__ import annotations

import os
import pathlib


def folder() -> pathlib.Path:
    """``yolov3_tf`` in the user's folder of caches: ``$XDG_CACHE_HOME``, by default ``~/.cache``."""
    home = os.environ.get('XDG_CACHE_HOME') or os.path.join(os.path.expanduser('~'), '.cache')
    return pathlib.Path(home, 'yolov3_tf')
