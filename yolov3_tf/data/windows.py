"""Training on windows of large images, and the tiles that validation and detection see of them.

A network that is to find small objects in tiles (``tiling``) is trained on what it will see there: windows of the
tiles' size at random places, and now and then the whole image, which is one more tile.

* ``WHOLE`` of the windows show the whole image. Of the others, ``NEAR_OBJECT`` hold one object as a whole, any of
  those that fit into the window with equal probability; the rest lie anywhere.
* Boxes are cut at the window's edges. One of which less than ``augment.LEAST_VISIBLE`` (.3 of its area) is seen is
  dropped, as in every other part of an image.
* In a whole image that is larger than a tile, a box of less than ``LEAST_SIDE`` pixels of the network input is
  dropped too: the tiles show it larger, and a guess from so few pixels would become a second, badly placed box.

An image that is no larger than a tile is always seen as a whole.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf import tiling as tilings
from yolov3_tf.data import augment, image_files, mix, network_sizes
from yolov3_tf.data.augment import Sample
from yolov3_tf.structures import Record
from yolov3_tf.tiling import Tiling

STREAM = 200            # of random numbers, beside those of the augmentations
WHOLE = .2
NEAR_OBJECT = .75
LEAST_SIDE = 6.         # pixels of the network input, of a box's longer side


class Windows(NamedTuple):
    """How images are cut.

    Attributes:
      tiling: the tiles of detection, whose size the windows have.
      image_size: height, width of the network input at detection.
    """
    tiling: Tiling
    image_size: tuple[int, int]


class Draw(NamedTuple):
    """whole, near_object: bool scalars; chosen: in 0..1, which object; position: [2] in 0..1 of the possible ones."""
    whole: Any
    near_object: Any
    chosen: Any
    position: Any


def draw(seed: tf.Tensor) -> Draw:
    """The numbers of one window; int64 [2] ``seed`` decides them."""
    numbers = tf.random.stateless_uniform([5], seed)
    return Draw(numbers[0] < WHOLE, numbers[1] < NEAR_OBJECT, numbers[2], numbers[3:])


def choose(sample: Sample, windows: Windows, numbers: Draw) -> tf.Tensor:
    """The window that the numbers mean, int32 [4] x1, y1, x2, y2 pixels of the stored image. In graph."""
    image = tf.stack([sample.width, sample.height])
    sides = _sides(windows, sample.height, sample.width)
    wanted = tf.cast(sides, tf.float32)
    rows = tf.where(tf.reduce_all(sample.boxes[:, 2:] - sample.boxes[:, :2] <= wanted, axis=1))[:, 0]
    count = tf.shape(rows)[0]
    free = tf.cast(image - sides, tf.float32)

    def around_one():
        row = tf.minimum(tf.cast(numbers.chosen * tf.cast(count, tf.float32), tf.int32), count - 1)
        box = sample.boxes[rows[row]]
        highest = tf.minimum(tf.floor(box[:2]), free)
        return tf.clip_by_value(tf.math.ceil(box[2:] - wanted), 0., highest), highest
    lowest, highest = tf.cond(numbers.near_object & (count > 0), around_one, lambda: (tf.zeros([2]), free))
    near = lowest + tf.minimum(tf.floor(numbers.position * (highest - lowest + 1)), highest - lowest)
    near = tf.cast(near, tf.int32)
    return tf.where(numbers.whole, tf.concat([[0, 0], image], 0), tf.concat([near, near + sides], 0))


def cut(image: image_files.Image, sample: Sample, window: tf.Tensor, windows: Windows
        ) -> tuple[image_files.Image, Sample]:
    """The window as an image of its own, decoded no further than needed, with its objects; nothing planned yet."""
    pixels = image_files.decode_part(image, window)
    return image_files.of_pixels(pixels), objects_in(sample, window, windows)


def objects_in(sample: Sample, window: tf.Tensor, windows: Windows) -> Sample:
    """The objects that are seen in a window, in its pixels, as a sample of an image that is the window."""
    seen = mix.cut_objects(mix.Canvas(tf.zeros([0, 0, 3], tf.uint8), *sample[2:5]), window)
    part = augment.whole_image(window[3] - window[1], window[2] - window[0], *seen[1:])
    rows, columns = windows.image_size
    scale = tf.cast(tf.minimum(columns / part.width, rows / part.height), tf.float32)
    longer = tf.reduce_max((part.boxes[:, 2:] - part.boxes[:, :2]) * scale, axis=1)
    is_tile = tf.reduce_all(tf.stack([part.width, part.height]) <= _sides(windows, sample.height, sample.width))
    return augment.keep(part, is_tile | (longer >= LEAST_SIDE))


def all_windows(windows: Windows, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """int32 [t, 4]: the whole image, then its tiles, none where one tile would hold it. In graph."""
    def lay_out(height, width):
        tiles = tilings.lay_out(windows.tiling, int(height), int(width), windows.image_size)
        return np.concatenate([[[0, 0, width, height]], tiles]).astype(np.int32)
    return tf.ensure_shape(tf.numpy_function(lay_out, [height, width], tf.int32, stateful=False), [None, 4])


def times(records: Sequence[Record], windows: Windows) -> tuple[int, ...]:
    """How many windows fill the area of each image, rounded, at least 1; 1 where its size is unknown.

    Raises:
      InputError: an image has more tiles than detection takes.
    """
    found = []
    for record in records:
        height, width = network_sizes.size_of(record)
        if not (height and width):
            found.append(1)
            continue
        tilings.lay_out(windows.tiling, height, width, windows.image_size)
        rows, columns = tilings.sides(windows.tiling, height, width, windows.image_size)
        found.append(max(round(height * width / (min(rows, height) * min(columns, width))), 1))
    return tuple(found)


def _sides(windows, height, width):
    """int32 [2] width, height of the windows of an image of this size, int32 scalars; ``tilings.sides`` in graph."""
    count, image = windows.tiling.along, tf.stack([width, height])
    if count is None:
        rows, columns = tilings.sides(windows.tiling, 1, 1, windows.image_size)
        return tf.minimum(tf.constant([columns, rows]), image)
    rows, columns = windows.image_size
    most, shape = max(rows, columns), np.array([columns, rows], np.float64)
    longest = tf.where(height >= width, most / rows, most / columns)
    along = tf.cast(tf.reduce_max(image), tf.float64) / (count - (count - 1) * windows.tiling.overlap)
    side = tf.math.ceil(along * tf.cast(longest, tf.float64))
    return tf.minimum(tf.cast(tf.maximum(tf.round(side * shape / most), 1), tf.int32), image)
