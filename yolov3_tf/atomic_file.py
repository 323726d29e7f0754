"""Files that are there complete or not at all: a kill or a full disk leaves what was there before."""
from __future__ import annotations

import contextlib
import os
import secrets

from yolov3_tf.errors import InputError


@contextlib.contextmanager
def writing(path):
    """A binary file, readable too, that takes the place of ``path`` when the block ends well, else vanishes.

    Folders that lead to it are made. Until then it lies beside ``path`` under a name of its own, ending in ``.part``:
    processes that share a disk, each perhaps number 1 of its container, keep apart.

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


def write_text(path, text: str):
    """Writes a whole text file in UTF-8; see ``writing``."""
    with writing(path) as file:
        file.write(text.encode('utf-8'))
