"""Applies the plan of a sample (``augment``) to its pixels, each step once: turn, resize, blur, colour."""
from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import tensorflow as tf

from yolov3_tf import geometry

if TYPE_CHECKING:
    from yolov3_tf.data.augment import Sample

BLUR_RADIUS = 4


def _nearest(image, height, width):
    resized = tf.raw_ops.ResizeNearestNeighbor(images=image[None], size=[height, width], half_pixel_centers=True)
    return tf.cast(resized[0], tf.float32)


def _bicubic(image, height, width):
    return tf.raw_ops.ResizeBicubic(images=image[None], size=[height, width], half_pixel_centers=True)[0]


def _area(image, height, width):
    return tf.raw_ops.ResizeArea(images=image[None], size=[height, width])[0]


# The reference's five without Lanczos, which takes five times as long as the others.
RESIZES = (geometry.resize, _nearest, _bicubic, _area)


def turn(pixels: tf.Tensor, sample: Sample) -> tf.Tensor:
    """[h, w, 3] -> the same pixels with x and y exchanged, then top and bottom, where the sample is so."""
    turned = tf.cond(sample.turned, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    return tf.cond(sample.upended, lambda: tf.reverse(turned, [0]), lambda: turned)


def mirror(pixels: tf.Tensor, sample: Sample) -> tf.Tensor:
    """[h, w, 3] -> the same pixels with left and right exchanged, where the sample is so."""
    return tf.cond(sample.mirrored, lambda: tf.reverse(pixels, [1]), lambda: pixels)


def resize(image: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor, sample: Sample) -> tf.Tensor:
    """uint8 [h, w, 3] -> float32 [height, width, 3] by the sample's kernel; bicubic leaves 0..255 at edges."""
    return tf.switch_case(sample.interpolation, [functools.partial(kernel, image, height, width) for kernel in RESIZES])


def soften(image: tf.Tensor, sample: Sample) -> tf.Tensor:
    """The sample's Gaussian blur on float32 [h, w, 3], edges repeated; weights add up to 1."""
    def softened():
        near = tf.range(-BLUR_RADIUS, BLUR_RADIUS + 1)
        weights = tf.exp(-.5 * tf.square(tf.cast(near, tf.float32) / sample.blur))
        weights = tf.unstack(weights / tf.reduce_sum(weights))
        result = image
        for axis in (0, 1):
            length = tf.shape(image)[axis]
            padded = tf.gather(result, tf.clip_by_value(tf.range(-BLUR_RADIUS, length + BLUR_RADIUS), 0, length - 1),
                               axis=axis)
            windows = [padded[start:start + length] if axis == 0 else padded[:, start:start + length]
                       for start in range(len(weights))]
            result = tf.add_n([weight * window for weight, window in zip(weights, windows)])
        return result
    return tf.cond(sample.blur > 0, softened, lambda: image)


def paint(canvas: tf.Tensor, sample: Sample) -> tf.Tensor:
    """Applies the sample's colour to float32 [H, W, 3] of its view; W a multiple of eight. Not rounded.

    Eight pixels are multiplied at once by a block diagonal: more arithmetic, a third of the time of the
    [N, 3] x [3, 3] product, whose rows are shorter than the processor's vectors.
    """
    blocks = tf.eye(8)[:, None, :, None] * tf.transpose(sample.matrix)[None, :, None, :]
    rows = tf.matmul(tf.reshape(canvas, [-1, 24]), tf.reshape(blocks, [24, 24]))
    return tf.reshape(tf.nn.bias_add(rows, tf.fill([24], sample.offset)), tf.shape(canvas))


def grey_to_paint(sample: Sample, grey: float) -> tf.Tensor:
    """The level that ``paint`` turns into ``grey``, so that the bars around the image keep their grey."""
    return (grey - sample.offset) / tf.reduce_sum(sample.matrix[0])
