"""Files that appear complete or not at all: a kill or a full disk leaves the old file as it was."""
from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import BinaryIO

from yolov3_tf.errors import InputError


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
        with open(partial, 'w+b') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise InputError(f'{path}: cannot be written: {error.strerror or error}') from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(partial)


def check_free(*paths: str | os.PathLike, overwrite: bool = False) -> None:
    """Raises InputError for the first path where something is already, unless it may be replaced (``--overwrite``)."""
    for path in paths:
        if not overwrite and os.path.lexists(path):
            raise InputError(f'{path} exists: choose another name, or allow overwriting (--overwrite)')


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a whole text file in UTF-8; see ``writing``."""
    with writing(path) as file:
        file.write(text.encode('utf-8'))
