"""All records of a set as a few tensors, and one of them opened by its index, in graph."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf.data import augment, image_files
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Record


class Annotations(NamedTuple):
    """All records as tensors: record i has the boxes from ``starts[i]`` to ``starts[i + 1]``."""
    paths: Any          # string [n]
    locations: Any      # int64 [n, 2] offset and length in a shard, None where every image is a file
    starts: Any         # int64 [n + 1]
    boxes: Any          # float32 [M, 4]
    classes: Any        # int32 [M]
    orientations: Any   # int32 [n] ``Record.orientation``
    opencv: bool        # ``image_files.by_opencv``
    cache: Any = None   # of ``caches``


def flatten(records: Sequence[Record]) -> Annotations:
    """The records without their crowd boxes; raises InputError where there is none."""
    if not records:
        raise InputError('no images to make batches from: the data spec gave no records')
    targets = ~np.concatenate([record.crowd for record in records])
    counts = [int(np.count_nonzero(~record.crowd)) for record in records]
    files, offsets, lengths = zip(*(image_files.location_of(record.image_path) for record in records))
    in_shards = np.array([offsets, lengths], np.int64).T if max(offsets) >= 0 else None
    return Annotations(tf.constant(files), None if in_shards is None else tf.constant(in_shards),
                       tf.constant(np.cumsum([0, *counts], dtype=np.int64)),
                       tf.constant(np.concatenate([record.boxes for record in records])[targets], tf.float32),
                       tf.constant(np.concatenate([record.classes for record in records])[targets], tf.int32),
                       tf.constant([record.orientation for record in records], tf.int32),
                       image_files.by_opencv(records))


def open_image(annotations: Annotations, index: tf.Tensor) -> image_files.Image:
    """``image_files.Image`` of a record."""
    return image_files.open_image(_contents(annotations, index), annotations.orientations[index], annotations.opencv)


def sample(annotations: Annotations, index: tf.Tensor, image: image_files.Image) -> augment.Sample:
    """What a record's image holds, nothing planned yet."""
    near, far = annotations.starts[index], annotations.starts[index + 1]
    boxes, classes = annotations.boxes[near:far], annotations.classes[near:far]
    return augment.whole_image(image.height, image.width, boxes, classes)


def _contents(annotations, index):
    """Encoded bytes of a record's image."""
    if annotations.cache is None:
        return _read(annotations, index)
    return annotations.cache.contents(index, lambda: _read(annotations, index))


def _read(annotations, index):
    path = annotations.paths[index]
    if annotations.locations is None:
        return tf.io.read_file(path)
    offset, length = tf.unstack(annotations.locations[index])
    return tf.cond(offset < 0, lambda: tf.io.read_file(path), lambda: image_files.read_record(path, offset, length))
