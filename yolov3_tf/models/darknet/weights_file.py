"""The part of a darknet weights file that does not depend on its network: a header, then finite floats.

Source: darknet, src/parser.c (``load_weights_upto``, ``save_weights_upto``).
"""
from __future__ import annotations

import contextlib
import os
import re
import struct
from typing import NamedTuple

import numpy as np

from yolov3_tf import regular_file
from yolov3_tf.errors import InputError

FLOAT = np.dtype('<f4')
AGAIN = 'fetch or copy the file again'
VERSIONS = 1000


class Header(NamedTuple):
    """Version of the file, and how many images its training has seen.

    From version 0.2 on ``seen`` takes 8 bytes (20 in all), before that 4 (16 in all).
    """
    major: int = 0
    minor: int = 2
    revision: int = 0
    seen: int = 0

    @property
    def format(self) -> str:
        """For ``struct``."""
        return '<iiiQ' if self.major * 10 + self.minor >= 2 else '<iiiI'

    @property
    def size(self) -> int:
        """Bytes of the header."""
        return struct.calcsize(self.format)

    def pack(self) -> bytes:
        """The header's bytes; InputError for numbers that are not valid in a header or do not fit into it."""
        if not (_is_version(self) and self.revision < 2 ** 31):
            raise InputError(f'version {_version(self)}: expected three whole numbers such as 0.2.0, major and minor '
                             f'below {VERSIONS}')
        limit = 2 ** (8 * (self.size - 12))
        if not 0 <= self.seen < limit:
            raise InputError(f'seen {self.seen}: expected from 0 to {limit - 1} in a file of version {_version(self)}')
        return struct.pack(self.format, *self)


def _is_version(header):
    # To darknet a major or minor version above 1000 means transposed matrices.
    return 0 <= header.major < VERSIONS and 0 <= header.minor < VERSIONS and header.revision >= 0


def _version(header):
    return '.'.join(map(str, header[:3]))


def inspect(path: str | os.PathLike) -> tuple[Header, int]:
    """Header of a file, and how many bytes follow it.

    Raises:
      InputError: no such file, or its first bytes are not darknet's.
    """
    if not os.path.isfile(path):
        got = 'a folder' if os.path.isdir(path) else 'no such file'
        raise InputError(f'{path}: expected a darknet weights file, got {got}: check the path')
    with _readable(path), open(path, 'rb', opener=regular_file.opener) as file:
        start, size = file.read(64), os.fstat(file.fileno()).st_size
    # A valid file cannot look like text: versions are small integers, so some of its first bytes are zero.
    if start.strip() and re.fullmatch(rb'[\t\n\r -~\x80-\xff]+', start):
        text = start.split(b'\n')[0].decode('utf-8', 'replace')
        raise InputError(f'{path}: expected a darknet weights file, got text that begins {text!r} '
                         f'(a download that failed?): {AGAIN}')
    header = _parse_header(path, start, size)
    return header, size - header.size


def _parse_header(path, start, size):
    if size < 16:
        raise InputError(f'{path}: expected a header of 16 or 20 bytes, got a file of {size} bytes: {AGAIN}')
    header = Header(*struct.unpack('<iii', start[:12]))
    if not _is_version(header):
        raise InputError(f'{path}: expected a version such as 0.2.0 in the first 12 bytes, got {_version(header)}: '
                         'this is not a darknet weights file, use another')
    if size < header.size:
        raise InputError(f'{path}: expected a header of {header.size} bytes, got a file of {size}: {AGAIN}')
    return Header(*struct.unpack(header.format, start[:header.size]))


def read_floats(path: str | os.PathLike, header: Header, count: int) -> np.ndarray:
    """The first ``count`` floats after the header, float32; their values are not checked."""
    with _readable(path):
        floats = np.fromfile(path, FLOAT, count, offset=header.size)
    if floats.size < count:
        raise InputError(f'{path}: expected {count:,} floats, got {floats.size:,}: cut off, {AGAIN}')
    return floats


def verify(path: str | os.PathLike) -> None:
    """Raises InputError unless the file is a header and, to its last byte, finite floats."""
    header, size = inspect(path)
    if size % FLOAT.itemsize:
        raise InputError(f'{path}: expected whole floats after the header, got {size:,} bytes: {AGAIN}')
    floats = read_floats(path, header, size // FLOAT.itemsize)
    finite = np.isfinite(floats)
    if not finite.all():
        first = int(np.argmin(finite))
        raise InputError(f'{path}: expected finite values, got {floats[first]} as float {first:,} after the '
                         f'header ({finite.size - int(finite.sum()):,} of {finite.size:,} are bad): {AGAIN}')


@contextlib.contextmanager
def _readable(path):
    try:
        yield
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror or error}') from error
