"""Large datasets as they were read last, taken again while none of their files has changed.

Before anything is read, every file and folder below the dataset is asked for size, times and inode; the answers and
all settings are hashed. A kept dataset counts only where this hash is the same. The time of the last status
change (ctime) is part of it: the system sets it at every write, and no program can set it back, so an edit that keeps
the size and restores the time of the contents (``touch -r``, ``rsync -t``) is seen too. What cannot be seen is a
change that the file system does not date: on a disk mounted elsewhere with its clock set back, or, for some seconds,
on a network file system that answers from memory.

Kept files are numbers, texts and a checksum, no pickle. One that is torn, of another version or of another user is
read anew. They are in ``cache_folder.folder()/annotations``, at most ``MOST_BYTES`` together; ``YOLOV3_TF_CACHE=off``
neither reads nor writes any.
"""
from __future__ import annotations

import contextlib
import functools
import hashlib
import itertools
import json
import os
import pathlib
import stat
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from yolov3_tf import atomic_file, cache_folder
from yolov3_tf.data.readers import image_lookup
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, Record

SWITCH = 'YOLOV3_TF_CACHE'      # environment variable
MOST_BYTES = 1 << 30            # of all kept datasets; 100,000 images with 7 boxes each take 35 MB
WORTH = 1.                      # seconds: what is read faster is not kept
SETTLED = 2.                    # seconds: a file changed later than this before the reading may change again unseen,
                                # because clocks of file systems tick (ext4: 4 ms, FAT: 2 s)
LARGE_FILE = 4 << 20           # bytes of a single annotation file, of which reading takes a second
PATIENCE = 10.                  # seconds that looking at all files may take
_MAGIC = b'yolov3_tf annotations 1\n'
_ROOT = pathlib.Path(__file__).parents[2]
_RULES = ('*.py', 'data/*.py', 'data/readers/*.py')         # below the package: all that reading runs
_PER_OBJECT = (('annotation_lines', '<i8', ()), ('boxes', '<f4', (4,)), ('areas', '<f4', ()), ('classes', '<i4', ()),
               ('difficult', '?', ()), ('crowd', '?', ()))
_PER_IMAGE = ('width', 'height', 'orientation')
_TEXTS = ('image_path', 'image_id', 'annotation_file', 'kind')


class Source(NamedTuple):
    """A file or folder that a dataset is read from.

    ``reader_walks``: the reader goes through the folder by ``image_lookup.walk``, which leaves some names out.
    """
    path: str
    reader_walks: bool = False


class State(NamedTuple):
    """All files of a dataset at one time.

    Attributes:
      digest: of names, sizes, times and inodes.
      settled: none of them has just been changed.
      folders: those looked at, as ``os.path.normpath`` writes them; and single files.
    """
    digest: str
    settled: bool
    folders: frozenset[str]


def through(settings: Sequence[Any], sources: Sequence[Source], read: Callable[[], Dataset]) -> Dataset:
    """The dataset that ``read`` returns, from the cache where it is there and no file has changed.

    Args:
      settings: everything beside the files that the result depends on, as JSON values.
      sources: every file and folder that ``read`` looks at; none for a dataset that is not kept.
      read: reads it; its errors pass.
    """
    rules = _rules()
    if not sources or not rules or os.environ.get(SWITCH, '').lower() in ('off', '0', 'no', 'false'):
        return read()
    key = json.dumps([settings, [source.path for source in sources], os.getcwd(), rules])
    path = cache_folder.folder() / 'annotations' / hashlib.sha256(key.encode()).hexdigest()[:32]
    state = state_of(sources)
    if state is None:
        return read()
    kept = load(path, key, state.digest)
    if kept is not None:
        return kept
    began = time.perf_counter()
    dataset = read()
    if time.perf_counter() - began >= WORTH and state.settled and _covers(state, dataset):
        with contextlib.suppress(InputError):       # a full or read-only disk: read again next time
            save(path, key, state.digest, dataset)
            _make_room(path.parent)
    return dataset


def state_of(sources: Sequence[Source]) -> State | None:
    """The state of all files now; None where they cannot be listed, or too slowly."""
    now, last, until = time.time_ns(), 0, time.perf_counter() + PATIENCE
    digest, seen = hashlib.blake2b(), set()
    waiting = [(os.path.normpath(source.path), source.reader_walks) for source in reversed(sources)]
    folders = set()
    while waiting:
        path, reader_walks = waiting.pop()
        folders.add(os.path.normpath(path))
        try:
            if not os.path.isdir(path):
                row, newest = _row('', os.stat(path))
                rows, inside = [row], []
            elif (real := os.path.realpath(path)) in seen:
                continue
            else:
                seen.add(real)
                rows, newest, inside = _listed(path, reader_walks)
        except OSError:
            return None
        last = max(last, newest)
        digest.update(f'{path}\0{len(rows)}\0'.encode('utf-8', 'surrogatepass'))
        digest.update('\0'.join(rows).encode('utf-8', 'surrogatepass'))
        waiting += [(os.path.join(path, name), reader_walks) for name in reversed(inside)]
        if time.perf_counter() > until:
            return None
    return State(digest.hexdigest(), last < now - SETTLED * 1e9, frozenset(folders))


def _listed(path, reader_walks):
    """(a row for each file, when the last of them changed, names of the folders) of one folder, in order."""
    rows, inside = [], []
    opened = os.open(path, os.O_RDONLY)         # names are looked up from here, not from the root
    try:
        newest = os.fstat(opened).st_ctime_ns
        with os.scandir(opened) as entries:
            for entry in entries:
                name = entry.name
                if reader_walks and (name[0] == '.' or name in image_lookup.IGNORED):
                    continue
                try:
                    found = entry.stat()        # of what a link points to
                except OSError:
                    rows.append(name)
                    continue
                if stat.S_ISDIR(found.st_mode):
                    inside.append(name)
                row, changed = _row(name, found)
                newest = changed if changed > newest else newest
                rows.append(row)
    finally:
        os.close(opened)
    return sorted(rows), newest, sorted(inside)


def _row(name, found):
    """A text of everything that changes with a file, and when it changed; the contents of folders are listed apart."""
    if stat.S_ISDIR(found.st_mode):
        return name, 0
    return (f'{name}\0{found.st_size}\0{found.st_mtime_ns}\0{found.st_ctime_ns}\0{found.st_ino}',
            max(found.st_ctime_ns, found.st_mtime_ns))


def _covers(state, dataset):
    """Whether every file of the records was looked at."""
    files = {path for record in dataset.records for path in (record.image_path, record.annotation_file) if path}
    folders = {path.rpartition('/')[0] or os.path.dirname(path) for path in files}
    outside = {folder for folder in folders if os.path.normpath(folder) not in state.folders}
    return not outside or all(os.path.normpath(path) in state.folders for path in files
                              if (path.rpartition('/')[0] or os.path.dirname(path)) in outside)


@functools.lru_cache(maxsize=1)
def _rules():
    """What else the result depends on: the code that reads, and Python's tables of letters; None without sources."""
    found = [sorted(_ROOT.glob(pattern)) for pattern in _RULES]
    if not all(found):
        return None
    digest = hashlib.blake2b()
    for path in itertools.chain.from_iterable(found):
        digest.update(path.read_bytes())
    return [digest.hexdigest(), list(sys.version_info[:2])]


def save(path: str | os.PathLike, key: str, digest: str, dataset: Dataset) -> None:
    """Keeps a dataset in one file; nothing is written for one that the file cannot hold.

    Raises:
      InputError: the file cannot be written.
    """
    records = dataset.records
    texts = ['\0'.join(getattr(record, name) for record in records) for name in _TEXTS]
    if any(record.annotation_lines is None for record in records) or not records or any(
            text.count('\0') != len(records) - 1 for text in texts):
        return
    blocks = [np.array([len(record.boxes) for record in records], '<i8')]
    blocks += [np.array([getattr(record, name) for record in records], '<i8') for name in _PER_IMAGE]
    for name, kind, shape in _PER_OBJECT:
        blocks.append(np.concatenate([getattr(record, name) for record in records]).astype(kind).reshape(-1, *shape))
    encoded = [text.encode('utf-8', 'surrogatepass') for text in texts]
    head = json.dumps({'key': key, 'digest': digest, 'images': len(records), 'objects': int(blocks[0].sum()),
                       'texts': [len(text) for text in encoded], 'class_names': list(dataset.class_names),
                       'problems': list(dataset.problems), 'notes': list(dataset.notes)}).encode()
    head += b' ' * (-len(head) % 8)
    body = b''.join([len(head).to_bytes(8, 'little'), head, *(block.tobytes() for block in blocks), *encoded])
    with atomic_file.writing(path) as file:
        file.write(_MAGIC + hashlib.blake2b(body).digest() + body)


def load(path: str | os.PathLike, key: str, digest: str) -> Dataset | None:
    """The dataset that ``save`` kept there, None where there is none of this key and digest, or it is damaged."""
    start = len(_MAGIC) + 64
    try:
        with open(path, 'rb') as file:
            found = os.fstat(file.fileno())
            if found.st_size > MOST_BYTES or found.st_uid != os.getuid():
                return None
            content = bytearray(found.st_size)
            if file.readinto(content) != found.st_size or not content.startswith(_MAGIC):
                return None
        body = memoryview(content)[start:]
        if hashlib.blake2b(body).digest() != content[len(_MAGIC):start]:
            return None
        end = 8 + int.from_bytes(body[:8], 'little')
        head = json.loads(bytes(body[8:end]))
        if head['key'] != key or head['digest'] != digest:
            return None
        dataset = _dataset(head, body[end:])
        os.utime(path)                              # the last to be removed
        return dataset
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None


def _dataset(head, body) -> Dataset:
    """What ``save`` wrote behind its head; ValueError for a body of another size."""
    images, objects, at = head['images'], head['objects'], 0
    blocks = []
    for kind, count, shape in [*[('<i8', images, ())] * (1 + len(_PER_IMAGE)),
                               *((kind, objects, shape) for _, kind, shape in _PER_OBJECT)]:
        values = count * int(np.prod(shape))
        blocks.append(np.frombuffer(body, kind, values, at).reshape(-1, *shape))
        at += values * np.dtype(kind).itemsize
    texts = []
    for size in head['texts']:
        texts.append(str(body[at:at + size], 'utf-8', 'surrogatepass').split('\0'))
        at += size
    ends = np.cumsum(blocks[0]).tolist()
    if at != len(body) or ends[-1] != objects or {len(column) for column in texts} != {images}:
        raise ValueError('not what was saved')
    paths, ids, files, kinds = texts
    widths, heights, orientations = (block.tolist() for block in blocks[1:1 + len(_PER_IMAGE)])
    lines, boxes, areas, classes, difficult, crowd = blocks[1 + len(_PER_IMAGE):]
    records, near = [], 0
    for row in zip(ends, paths, ids, widths, heights, files, orientations, kinds):
        far, path, image_id, width, height, file, turned, kind = row
        records.append(Record(path, image_id, width, height, boxes[near:far], classes[near:far], difficult[near:far],
                              crowd[near:far], areas[near:far], file, lines[near:far], turned, kind))
        near = far
    return Dataset(records, head['class_names'], head['problems'], head['notes'])


def _make_room(folder):
    """Removes what was used longest ago until the rest fits."""
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            with contextlib.suppress(OSError):
                found.append((path.stat().st_mtime_ns, path.stat().st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= MOST_BYTES:
            break
        with contextlib.suppress(OSError):
            path.unlink()
            total -= size
