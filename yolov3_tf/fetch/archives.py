"""Unpacks archives that strangers made: plain files into one folder, or nothing.

All members are checked before the first is written. A file has its name only when it is whole, so that a kill leaves
files missing, but none cut short.
"""
from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, NamedTuple

from yolov3_tf import progress
from yolov3_tf.errors import InputError

MOST_FILES = 1_000_000
SCREEN_SECONDS = .2


class _Member(NamedTuple):
    """Attributes:
      name: as the archive writes it.
      size: in bytes.
      kind: 'file', 'folder', or what it is instead.
      open: its bytes.
    """
    name: str
    size: int
    kind: str
    open: Callable[[], IO[bytes] | None]


def unpack(path: str, folder: str, most_bytes: int, within: str = '', only: str = '') -> int:
    """Unpacks the plain files of a tar or zip archive below ``folder``; files that are there are replaced.

    Args:
      most_bytes: of all unpacked files together.
      within: folder of the archive, ending in '/', that stands for ``folder``; other members are left out.
      only: regular expression that the name of a file, without ``within``, must match from its start.

    Returns:
      The number of files.

    Raises:
      InputError: the archive is damaged, holds a link, a device, an absolute path, a path with ``..``, too many files
        or too many bytes (nothing is unpacked then), or a file cannot be written.
    """
    with _opened(path) as members:
        files: list[tuple[_Member, str]] = []
        total = 0
        for member in members:
            name = _checked(path, member)
            total += member.size
            if total > most_bytes or len(files) >= MOST_FILES:
                raise InputError(f'{path}: expected at most {most_bytes:,} bytes in {MOST_FILES:,} files, got more: '
                                 'it is not unpacked')
            if member.kind == 'file' and name.startswith(within) and re.match(only, name[len(within):]):
                files.append((member, name[len(within):]))
        line = _Line(os.path.basename(path), len(files))
        for number, (member, name) in enumerate(files, start=1):
            _write(path, member, os.path.join(folder, *name.split('/')))
            line.show(number)
        line.end()
    return len(files)


def _checked(path, member):
    """The member's name with single slashes; InputError for one that could lead out of the folder."""
    name, kind = member.name, member.kind
    parts = [part for part in name.split('/') if part not in ('', '.')]
    bad = ('an absolute path' if name.startswith('/') or re.match('[A-Za-z]:', name) else
           'a path with ..' if '..' in parts else
           'a path with a backslash or a control character' if re.search(r'[\\\x00-\x1f\x7f]', name) else
           'a file without a name' if not parts and kind == 'file' else
           kind if kind not in ('file', 'folder') else None)
    if bad:
        raise InputError(f'{path}: expected plain files and folders, got {bad}, {name[:100]!r}: it is not unpacked')
    return '/'.join(parts) + ('/' if kind == 'folder' else '')


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Iterator[_Member]]:
    """The members of an archive, whichever kind it is."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield (_of_zip(archive, info) for info in archive.infolist())
        else:
            with tarfile.open(path, 'r:') as tar:      # compressed ones grow, and none is needed
                yield (_of_tar(tar, info) for info in tar)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise InputError(f'{path}: expected a whole tar or zip archive, got "{error}": remove it and fetch it '
                         'again') from error


def _of_tar(archive, info):
    kind = ('folder' if info.isdir() else 'a link' if info.issym() or info.islnk() else
            'file' if info.isreg() and not info.issparse() else 'a device or another special file')
    return _Member(info.name, info.size, kind, lambda: archive.extractfile(info))


def _of_zip(archive, info):
    mode = info.external_attr >> 16
    kind = ('a link' if stat.S_ISLNK(mode) else 'folder' if info.is_dir() else
            'an encrypted file' if info.flag_bits & 1 else
            'file' if stat.S_IFMT(mode) in (0, stat.S_IFREG) else 'a device or another special file')
    return _Member(info.filename, info.file_size, kind, lambda: archive.open(info))


def _write(archive, member, path):
    part = f'{path}.part'
    try:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        with member.open() as source, open(part, 'wb') as target:
            shutil.copyfileobj(source, target, 1 << 20)
            size = target.tell()
        if size != member.size:
            raise InputError(f'{archive}: expected {member.size:,} bytes in {member.name}, got {size:,}: damaged; '
                             'remove it and fetch it again')
        os.replace(part, path)
    except OSError as error:
        raise InputError(f'{path}: cannot be written: {error.strerror or error}') from error
    finally:
        with contextlib.suppress(OSError):
            os.remove(part)


class _Line:
    """The line of progress on a terminal; a log gets its end alone."""

    def __init__(self, name, total):
        self.name, self.total, self.shown = name, total, 0.

    def show(self, number):
        if sys.stderr.isatty() and time.monotonic() - self.shown >= SCREEN_SECONDS:
            self.shown = time.monotonic()
            self._write(f'{self.name}: {number} of {self.total} files unpacked', '')

    def end(self):
        self._write(f'{self.name}: {self.total} files unpacked', '\n')

    def _write(self, text, end):
        if sys.stderr.isatty():
            text = f'\r\033[K{progress.cut(text, shutil.get_terminal_size().columns - 1)}'
        print(text, end=end, file=sys.stderr, flush=True)
