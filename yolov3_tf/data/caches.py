"""Caches of encoded images, so that slow storage is read once for each image.

A cache keeps the file's bytes, before decoding and augmentation: a run has the same batches with and
without it, only sooner where it waits for the disk or the network. In memory the bytes take a fifth to a
tenth of the decoded images.
"""
from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Sequence
from typing import Callable

import tensorflow as tf

from yolov3_tf.data import image_files
from yolov3_tf.errors import InputError


class Memory:
    """Keeps images in this process's memory; ``folder`` and ``paths`` are not used."""

    def __init__(self, folder: str | os.PathLike, paths: Sequence[str] = ()):
        del folder, paths
        self.table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.string, '')

    def contents(self, index: tf.Tensor, read: Callable[[], tf.Tensor]) -> tf.Tensor:
        """String scalar: the image's bytes, from the cache or else from ``read()``; in graph."""
        key = tf.cast(index, tf.int64)
        kept = self.table.lookup(key)

        def keep():
            contents = read()
            with tf.control_dependencies([self.table.insert(key, contents)]):
                return tf.identity(contents)
        return tf.cond(tf.strings.length(kept) > 0, lambda: kept, keep)


class Disk:
    """Keeps images as files of a folder that is emptied first; for data on a slower disk than this folder's.

    A file starts with its contents' hash, so that one half written (two threads, a kill, a full disk) is
    ignored. Processes may share a folder. An image that cannot be written is read from its source again.

    Raises:
      InputError: the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike, paths: Sequence[str] = ()):
        del paths
        self.folder = str(folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            os.makedirs(self.folder, exist_ok=True)
        except OSError as error:
            raise InputError(f'{self.folder}: no folder to keep images in can be made ({error.strerror}): choose '
                             'another kind of cache') from None

    def contents(self, index: tf.Tensor, read: Callable[[], tf.Tensor]) -> tf.Tensor:
        """String scalar: the image's bytes, from the cache or else from ``read()``; in graph."""
        path = tf.strings.join([self.folder, '/', tf.strings.as_string(index)])
        kept = self._kept(path)
        head = tf.minimum(_DIGITS, tf.strings.length(kept))
        contents = tf.strings.substr(kept, head, tf.strings.length(kept) - head)

        def keep():
            fresh = read()
            with tf.control_dependencies([_unless_it_fails(_write, (path, fresh), path)]):
                return tf.identity(fresh)
        whole = tf.equal(tf.strings.substr(kept, 0, head), _hash(contents))
        return tf.cond(whole, lambda: contents, keep)

    def _kept(self, path):
        if _PATTERN.isdisjoint(self.folder):
            return tf.cond(tf.size(tf.io.matching_files(path)) > 0, lambda: tf.io.read_file(path), lambda: '')
        # In such a folder matching_files would list whole directories; this takes .3 ms more than with a plain path.
        return _unless_it_fails(tf.io.read_file, path, '')


def _none(folder, paths=()):
    """No cache."""
    del folder, paths


def _auto(folder, paths=()):
    """In memory if all images fit in ``SHARE`` of what is free, otherwise none."""
    return Memory(folder) if _fit(paths, SHARE * free_memory()) else None


def free_memory() -> int:
    """Bytes of memory that nothing uses, not even as a copy of files; 0 where the system does not say."""
    try:
        return os.sysconf('SC_AVPHYS_PAGES') * os.sysconf('SC_PAGE_SIZE')
    except (AttributeError, ValueError, OSError):       # Windows, macOS
        return 0


def _fit(paths, limit):
    """Whether the files take no more than ``limit`` bytes; one that cannot be read takes none."""
    taken = 0
    for path in paths:
        file, offset, length = image_files.location_of(path)
        with contextlib.suppress(tf.errors.OpError):
            taken += length if offset >= 0 else tf.io.gfile.stat(file).length
        if taken > limit:
            return False
    return True


# name -> makes one of a folder and the paths of all images (``Record.image_path``)
CACHES = {'none': _none, 'ram': Memory, 'disk': Disk, 'auto': _auto}
SHARE = .25         # of the free memory that images may fill under auto

_DIGITS = 20
_PATTERN = frozenset('*?[\\')     # special to tf.io.matching_files


def _hash(contents):
    return tf.strings.as_string(tf.strings.to_hash_bucket_fast(contents, 2 ** 62), width=_DIGITS, fill='0')


def _write(path, contents):
    tf.io.write_file(path, tf.strings.join([_hash(contents), contents]))
    return path


def _unless_it_fails(function, value, otherwise):
    """What the function makes of the value, or ``otherwise``; in graph, where only a dataset survives a failing op."""
    one = tf.data.Dataset.from_tensors(value).map(function).ignore_errors()
    return one.concatenate(tf.data.Dataset.from_tensors(otherwise)).take(1).get_single_element()
