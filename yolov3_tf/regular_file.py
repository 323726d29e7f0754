"""Opens files that are files: a pipe among them would be waited for, a device might never end.

    with open(path, 'rb', opener=regular_file.opener) as file:
"""
from __future__ import annotations

import errno
import os
import stat

WHY = 'it is a pipe or a device, not a file'
_NO_WAITING = getattr(os, 'O_NONBLOCK', 0)      # not on Windows, which has no named pipes in folders


def opener(path: str, flags: int) -> int:
    """``open``'s opener that raises OSError where the path, or what it links to, is no regular file."""
    descriptor = os.open(path, flags | _NO_WAITING)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    kind = errno.EISDIR if os.path.isdir(path) else errno.EINVAL
    raise OSError(kind, os.strerror(kind) if kind == errno.EISDIR else WHY, path)


def waits(path: str | os.PathLike) -> bool:
    """Whether there is something that is neither a file nor a folder; TensorFlow would wait for it."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):       # ValueError: a path with a zero byte
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def quick_opener(path: str, flags: int) -> int:
    """The same for thousands of small files: nothing is asked, but no pipe is waited for; it reads as empty."""
    return os.open(path, flags | _NO_WAITING)
