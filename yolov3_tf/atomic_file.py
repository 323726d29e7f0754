"""Files that appear complete or not at all: a kill or a full disk leaves the old file as it was."""
from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from typing import BinaryIO

from yolov3_tf.errors import InputError

try:
    import fcntl
except ImportError:         # Windows, where leftovers stay
    fcntl = None            # type: ignore[assignment]

FOLDER = '.writing-'        # begins the names of unfinished folders
_LEFT = re.compile(r'.*\.[0-9a-f]{8}\.part|' + re.escape(FOLDER) + '.*')


@contextlib.contextmanager
def writing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary file, readable too, that replaces ``path`` when the block ends without an error, else is removed.

    Missing folders are made. Until then the file is beside ``path`` under a random name ending in ``.part``, so that
    processes that share a disk do not collide.

    Raises:
      InputError: ``path`` is a folder or cannot be written, for example on a full disk.
    """
    partial = f'{path}.{secrets.token_hex(4)}.part'
    try:
        if os.path.isdir(path):
            raise InputError(f'{path}: expected the name of a file to write, got a folder: add a name')
        os.makedirs(os.path.dirname(partial) or '.', exist_ok=True)
        with open(partial, 'x+b') as file:
            hold(file.fileno())
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f'{path}: cannot be written: {error.strerror or error}') from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(partial)


def hold(descriptor: int) -> bool:
    """Marks an open file or folder as in use until it is closed or the process ends; whether nobody else has it."""
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fcntl is not None
    except OSError:         # somebody has it, or the file system has no locks
        return False


@contextlib.contextmanager
def scratch_folder(beside: str | os.PathLike) -> Iterator[str]:
    """A folder in the folder ``beside``, under a random name that no program takes for a result; removed at the end."""
    path = os.path.join(beside, FOLDER + secrets.token_hex(4))
    os.makedirs(path)
    descriptor = os.open(path, os.O_RDONLY) if fcntl is not None else None
    try:
        if descriptor is not None:
            hold(descriptor)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        if descriptor is not None:
            os.close(descriptor)


def remove_leftovers(folder: str | os.PathLike) -> None:
    """Removes what ``writing`` and ``scratch_folder`` of processes that were killed have left in a folder."""
    try:
        left = [entry for entry in os.scandir(os.fspath(folder)) if _LEFT.fullmatch(entry.name)]
    except OSError:
        return
    for entry in left:
        with contextlib.suppress(OSError):
            descriptor = os.open(entry.path, os.O_RDONLY | getattr(os, 'O_NOFOLLOW', 0))
            try:
                if hold(descriptor):
                    (shutil.rmtree if entry.is_dir(follow_symlinks=False) else os.remove)(entry.path)
            finally:
                os.close(descriptor)


def check_free(*paths: str | os.PathLike, overwrite: bool = False) -> None:
    """Raises InputError for the first path where something is already, unless it may be replaced (``--overwrite``)."""
    for path in paths:
        if not overwrite and os.path.lexists(path):
            raise InputError(f'{path} exists: choose another name, or allow overwriting (--overwrite)')


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a whole text file in UTF-8; see ``writing``."""
    with writing(path) as file:
        file.write(text.encode('utf-8'))
