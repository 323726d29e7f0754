"""Files of named arrays and JSON texts, in HDF5: the container of checkpoints.

Such a file may come from anybody. HDF5 can point into other files (external storage, external links, virtual
datasets), declare arrays of any size and unpack them; none of that is followed. A file is read only when all of it is
plain: groups with datasets of numbers, whose values lie in the file itself, as they are. Each array and text has a
CRC-32, so that a flipped bit is found where the number stays finite; files from before version 0.3 have none.
"""
from __future__ import annotations

import contextlib
import json
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import h5py
import numpy as np

from yolov3_tf import printable
from yolov3_tf.errors import InputError

CHECKSUMS = 'checksums'     # the attribute that holds them all, by name, as JSON
HEADER = 4096               # bytes a file takes at most beside the values of an array
MOST_ARRAYS = 20_000
DEEPEST = 8                 # groups in groups
HEAP = b'GCOL\x01\0\0\0'  # where a global heap begins
DTYPES = 'float32', 'int32', 'int64'
Found = TypeVar('Found')


class NotPlain(Exception):
    """Something in a file that is no plain array or text."""


class Array(NamedTuple):
    """What the file says of an array. shape: in values; dtype: one of ``DTYPES``."""
    shape: tuple[int, ...]
    dtype: str

    @property
    def nbytes(self) -> int:
        """Its size in bytes."""
        return int(np.prod(self.shape, dtype=object)) * np.dtype(self.dtype).itemsize


class ArrayFile:
    """An open file.

    Attributes:
      format: the number that ``write`` was given; None for a file of another program.
      texts: name -> text, such as JSON.
      arrays: path such as weights/LAYER/VARIABLE -> its size and type; the values are read by ``read``.
    """

    def __init__(self, path: str, file: h5py.File):
        self._path, self._file = path, file
        self.format = self._guarded(lambda: _number(file, 'format'))
        self.texts: dict[str, str] = {}
        self.arrays: dict[str, Array] = {}
        self._sums: dict[str, int] | None = None
        if self.format is None:             # another program's, such as Keras's weights: nothing of it is read
            return
        self.texts = self._guarded(lambda: _texts(file))
        self.arrays = self._guarded(lambda: dict(_walk(file)))
        most = os.path.getsize(path)
        if sum(array.nbytes for array in self.arrays.values()) > most:
            raise self._damaged(f'its arrays are larger than its {most:,} bytes')
        sums = self.texts.pop(CHECKSUMS, None)
        self._sums = self._guarded(lambda: _sums(sums))
        for name, text in self.texts.items():
            self._compare(name, text.encode())

    def read(self, name: str) -> np.ndarray:
        """The values of an array.

        Raises:
          InputError: they cannot be read, or are not those that were written.
        """
        values = self._guarded(lambda: self._file[name][...])
        self._compare(name, values)
        return values

    def json(self, name: str, finite: bool = True) -> Any:
        """The object of a text; ``finite``: NaN and infinite numbers are refused.

        Raises:
          InputError: it is no JSON.
        """
        constant = _refuse_constant if finite else float
        return self._guarded(lambda: json.loads(self.texts[name], parse_constant=constant))

    def _compare(self, name, data):
        if self._sums is not None and self._sums.get(name) != zlib.crc32(np.ascontiguousarray(data).data
                                                                         if isinstance(data, np.ndarray) else data):
            raise self._damaged(f'{name} is not what was written (its checksum differs)')

    def _guarded(self, work: Callable[[], Found]) -> Found:
        try:
            return work()
        except NotPlain as error:
            raise self._damaged(error) from error
        except Exception as error:          # HDF5 answers damage with nearly every kind of exception
            raise self._damaged(f'{type(error).__name__}: {str(error)[:200]}') from error

    def _damaged(self, why):
        return InputError(f'{self._path} is damaged, or no file of this program: {why}. Take another copy or an '
                          'earlier checkpoint')


@contextlib.contextmanager
def reading(path: str | os.PathLike) -> Iterator[ArrayFile]:
    """Opens a file whose whole structure has been checked; nothing outside of it is opened.

    Raises:
      InputError: no such file, or it is damaged, or holds anything else than plain arrays and texts.
    """
    path = os.fspath(path)
    if not os.path.isfile(path):        # a pipe would be waited for
        raise InputError(f'no checkpoint at {path}')
    try:
        file = h5py.File(path, 'r')
    except Exception as error:
        raise InputError(f'{path} is not a readable checkpoint (truncated, or another kind of file): '
                         f'{error}') from error
    with contextlib.closing(file):
        yield ArrayFile(path, file)


def write(path: str, file_format: int, texts: Mapping[str, str], arrays: Iterable[tuple[str, Callable[[], Any]]],
          nbytes: int) -> None:
    """Writes a file so that a kill at any moment leaves the old one or the new one, whole.

    Args:
      arrays: (name, what gives its values); called one after another, so that no second copy of all is in memory.
      nbytes: size of all values.

    Raises:
      OSError: the file cannot be written; an older one is unchanged.
    """
    arrays = list(arrays)
    temporary, sums = f'{path}.part', {name: zlib.crc32(text.encode()) for name, text in texts.items()}
    try:
        _reserve(temporary, nbytes + HEADER * (1 + len(arrays)))
        # The newest layout: older ones hold no attribute beyond 64 KiB (counters name every skipped image).
        with h5py.File(temporary, 'w', libver='latest') as file:
            file.attrs['format'] = file_format
            for name, text in texts.items():
                _write_text(file, name, text)
            for name, values_of in arrays:
                values = np.asarray(values_of())
                file[name] = values
                sums[name] = zlib.crc32(np.ascontiguousarray(values).data)
            _write_text(file, CHECKSUMS, json.dumps(sums))
        with open(temporary, 'rb') as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise


def _write_text(file, name, text):
    """As text of fixed length: what has none lies in a heap, in which a damaged HDF5 file can be read for ever."""
    data = text.encode()
    file.attrs.create(name, np.bytes_(data), dtype=h5py.string_dtype('utf-8', max(1, len(data))))


def _reserve(path, size):
    """Raises OSError unless a file of ``size`` bytes fits there, because HDF5 crashes on a full disk."""
    with open(path, 'wb') as file:
        if hasattr(os, 'posix_fallocate'):              # not on macOS
            os.posix_fallocate(file.fileno(), 0, size)


def _walk(file):
    """Yields (path, Array) of all datasets; raises NotPlain for anything that is not plain."""
    groups, seen = [('', file, 0)], 0
    while groups:
        prefix, group, depth = groups.pop()
        for name in group:
            seen += 1
            if seen > MOST_ARRAYS or depth >= DEEPEST:
                raise NotPlain(f'expected at most {MOST_ARRAYS:,} arrays in {DEEPEST} levels of groups')
            path = prefix + name
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise NotPlain(f'{path} is a link')
            kind = group.get(name, getclass=True)
            if kind is h5py.Group:
                groups.append((f'{path}/', group[name], depth + 1))
            elif kind is h5py.Dataset:
                yield path, _plain(path, group[name])
            else:
                raise NotPlain(f'{path} is neither a group nor an array')


def _plain(path, dataset):
    """The size and type of a dataset whose values are in the file, as they are."""
    layout = dataset.id.get_create_plist()
    if layout.get_external_count() or layout.get_layout() not in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT,
                                                                   h5py.h5d.CHUNKED):
        raise NotPlain(f'the values of {path} are in another file')
    if layout.get_nfilters():
        raise NotPlain(f'{path} is compressed')
    array = Array(tuple(map(int, dataset.shape)), str(dataset.dtype))
    if array.dtype not in DTYPES:
        raise NotPlain(f'{path} is of type {array.dtype}, expected {", ".join(DTYPES)}')
    if array.nbytes and dataset.id.get_storage_size() < array.nbytes:
        raise NotPlain(f'{path} says it has {array.nbytes:,} bytes, the file holds '
                         f'{dataset.id.get_storage_size():,} of them')
    return array


def _attribute(file, name):
    """An attribute that is a single value and no larger than the file."""
    attribute = file.attrs.get_id(name)
    if attribute.shape != () or attribute.get_storage_size() > os.path.getsize(file.filename):
        raise NotPlain(f'attribute {name} is no single value')
    return attribute


def _texts(file):
    kinds = {name: _attribute(file, name).get_type() for name in file.attrs if name != 'format'}
    for name, kind in kinds.items():
        if not isinstance(kind, h5py.h5t.TypeStringID):
            raise NotPlain(f'attribute {name} is no text')
    if any(kind.is_variable_str() for kind in kinds.values()):      # files from before version 0.3
        _check_heaps(file.filename)
    return {name: _text(file, name) for name in kinds}


def _text(file, name):
    found = file.attrs[name]
    text = found if isinstance(found, str) else found.decode()
    if not printable.is_text(text):         # h5py gives bytes that are not UTF-8 as halves of surrogate pairs
        raise NotPlain(f'attribute {name} is no UTF-8')
    return text


def _check_heaps(path):
    """Raises NotPlain unless every step through the file's global heaps leads on: HDF5 itself does not look.

    Source: HDF5 File Format Specification 3.0, III.E (global heap): collections of objects, each with a header of its
    index, count of references and size; index 0 is the free rest.
    """
    with open(path, 'rb') as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        start = data.find(HEAP)
        while start >= 0:
            size, = struct.unpack_from('<Q', data, start + 8)
            end, place = start + size, start + 16
            if end > len(data):
                raise NotPlain('a heap of its texts is longer than the file')
            while place + 16 <= end:
                index, _, size = struct.unpack_from('<HH4xQ', data, place)
                step = size if index == 0 else 16 + (size + 7) // 8 * 8
                if step < 16 or place + step > end:
                    raise NotPlain('a heap of its texts is damaged')
                place += step
            start = data.find(HEAP, start + 8)


def _number(file, name):
    if name not in file.attrs:
        return None
    if not isinstance(_attribute(file, name).get_type(), h5py.h5t.TypeIntegerID):
        raise NotPlain(f'attribute {name} is no number')
    return int(file.attrs[name])


def _sums(text):
    if text is None:
        return None
    sums = json.loads(text)
    if not isinstance(sums, dict):
        raise NotPlain('its checksums are none')
    return sums


def _refuse_constant(name):
    raise NotPlain(f'{name} is no number of JSON')
