"""Anchors (prior boxes) with their source, and their layout over an input of a given size."""
from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from yolov3_tf.errors import InputError
from yolov3_tf.structures import Priors


class Anchors(NamedTuple):
    """Prior boxes a level, finest level first.

    Attributes:
      sizes: [levels][anchors a level] pairs (width, height) in pixels of the network input. They are not
        rescaled with the input under multi-scale training (as in darknet and the reference).
      strides: pixels a cell, one a level.
      sensitivity: grid sensitivity s, one a level, 1 or a little more: how far beyond its cell's edges a
        centre can be predicted (``codec``). Empty: 1 everywhere, as YOLOv3 has it.
    """
    sizes: tuple[tuple[tuple[float, float], ...], ...]
    strides: tuple[int, ...]
    sensitivity: tuple[float, ...] = ()


# The nine COCO clusters of the YOLOv3 report (Redmon & Farhadi 2018, section 2.3), also used for VOC by the reference.
YOLOV3_ANCHORS = Anchors(
    sizes=(((10., 13.), (16., 30.), (33., 23.)),
           ((30., 61.), (62., 45.), (59., 119.)),
           ((116., 90.), (156., 198.), (373., 326.))),
    strides=(8, 16, 32))


def lay_out(anchors: Anchors, height: int | tf.Tensor, width: int | tf.Tensor) -> Priors:
    """Geometry of every slot of an input of height x width pixels.

    Args:
      height, width: multiples of the coarsest stride; Python ints, or scalar int tensors inside a graph
        whose input size is not known beforehand (multi-scale).

    Returns:
      ``Priors``: level by level, inside a level by row, column, anchor.

    Raises:
      InputError: a Python size that is not a positive multiple of the coarsest stride.
    """
    check_size(anchors, height, width)
    cells, strides, sizes, levels, grids, sensitivity = [], [], [], [], [], []
    scales = anchors.sensitivity or (1.,) * len(anchors.strides)
    for level, (pairs, stride, scale) in enumerate(zip(anchors.sizes, anchors.strides, scales)):
        rows, columns = height // stride, width // stride
        y, x = tf.meshgrid(tf.range(rows), tf.range(columns), indexing='ij')
        cell = tf.reshape(tf.stack([x, y], axis=-1), [-1, 1, 2])                    # [rows * columns, 1, 2]
        cells.append(tf.reshape(tf.tile(cell, [1, len(pairs), 1]), [-1, 2]))        # [slots of the level, 2]
        count = tf.shape(cells[-1])[0]
        sizes.append(tf.tile(tf.constant(pairs, tf.float32), [rows * columns, 1]))
        strides.append(tf.fill([count], float(stride)))
        levels.append(tf.fill([count], level))
        sensitivity.append(tf.fill([count], float(scale)))
        grids.append(tf.stack([rows, columns]))
    return Priors(cells=tf.cast(tf.concat(cells, 0), tf.float32), strides=tf.concat(strides, 0),
                  anchors=tf.concat(sizes, 0), levels=tf.concat(levels, 0), table=anchors,
                  grids=tf.cast(tf.stack(grids), tf.int32), sensitivity=tf.concat(sensitivity, 0))


def check_size(anchors: Anchors, height: int | tf.Tensor, width: int | tf.Tensor) -> None:
    """Raises InputError when a size known in Python does not fit the coarsest stride."""
    stride = max(anchors.strides)
    for name, size in (('height', height), ('width', width)):
        if isinstance(size, int) and (size <= 0 or size % stride):
            near = max(stride, round(size / stride) * stride)
            raise InputError(f'input {name} {size} is not a positive multiple of {stride}: try {near}')
