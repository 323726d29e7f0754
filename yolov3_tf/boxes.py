"""The box format, its conversions, and the overlaps of two boxes (IoU and its relatives).

Boxes are [..., 4] x1, y1, x2, y2 in pixels, far edge exclusive, so width is x2 - x1 with no "+1".
Every overlap broadcasts: for all pairs pass ``a[..., :, None, :]`` and ``b[..., None, :, :]``. All
are finite, with finite gradients, for every box below 1e18 pixels, degenerate and inverted ones included.

Sides are taken apart before arithmetic: [..., 2] intermediates were three to seven times slower
over all pairs of predictions and objects.
"""
from __future__ import annotations

import math

import tensorflow as tf


def to_cxcywh(boxes: tf.Tensor) -> tf.Tensor:
    """[..., 4] x1, y1, x2, y2 -> [..., 4] centre x, centre y, width, height."""
    near, far = boxes[..., :2], boxes[..., 2:]
    return tf.concat([(near + far) / 2, far - near], axis=-1)


def from_cxcywh(boxes_cxcywh: tf.Tensor) -> tf.Tensor:
    """[..., 4] centre x, centre y, width, height -> [..., 4] x1, y1, x2, y2."""
    centre, half = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2
    return tf.concat([centre - half, centre + half], axis=-1)


def to_yxyx_unit(boxes: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Pixels of an image of this size -> y1, x1, y2, x2 as fractions of it (TensorFlow's image ops)."""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    height, width = tf.cast(height, boxes.dtype), tf.cast(width, boxes.dtype)
    return tf.stack([y1 / height, x1 / width, y2 / height, x2 / width], axis=-1)


def from_yxyx_unit(boxes_yxyx_unit: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """y1, x1, y2, x2 as fractions of an image of this size -> pixels."""
    y1, x1, y2, x2 = tf.unstack(boxes_yxyx_unit, axis=-1)
    height, width = tf.cast(height, y1.dtype), tf.cast(width, y1.dtype)
    return tf.stack([x1 * width, y1 * height, x2 * width, y2 * height], axis=-1)


def clip(boxes: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Cuts boxes at the edges of an image of this size in pixels; height and width broadcast to [...]."""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    height, width = tf.cast(height, boxes.dtype), tf.cast(width, boxes.dtype)
    return tf.stack([tf.clip_by_value(x1, 0., width), tf.clip_by_value(y1, 0., height),
                     tf.clip_by_value(x2, 0., width), tf.clip_by_value(y2, 0., height)], axis=-1)


def area(boxes: tf.Tensor) -> tf.Tensor:
    """Square pixels, [..., 4] -> [...]; an inverted box has none."""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return tf.maximum(x2 - x1, 0.) * tf.maximum(y2 - y1, 0.)


def intersection(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Square pixels shared by a and b, broadcast over [...]."""
    left, top, right, bottom = tf.unstack(a, axis=-1)
    x1, y1, x2, y2 = tf.unstack(b, axis=-1)
    width = tf.maximum(tf.minimum(right, x2) - tf.maximum(left, x1), 0.)
    return width * tf.maximum(tf.minimum(bottom, y2) - tf.maximum(top, y1), 0.)


def iou(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Intersection over union in 0..1, broadcast over [...]; 0 for two boxes without area."""
    shared = intersection(a, b)
    return tf.math.divide_no_nan(shared, area(a) + area(b) - shared)


def giou(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Generalised IoU in -1..1: IoU - (hull - union) / hull (Rezatofighi et al., CVPR 2019, algorithm 1).

    The hull of two boxes without area may have none either; the penalty is 0 then.
    """
    shared = intersection(a, b)
    union = area(a) + area(b) - shared
    hull_size = _hull_size(a, b)
    hull = hull_size[..., 0] * hull_size[..., 1]
    return tf.math.divide_no_nan(shared, union) - tf.math.divide_no_nan(hull - union, hull)


def diou(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Distance IoU in -1..1: IoU - squared centre distance / squared hull diagonal (Zheng et al., AAAI 2020)."""
    apart = (a[..., :2] + a[..., 2:] - b[..., :2] - b[..., 2:]) / 2
    distance = tf.reduce_sum(apart * apart, axis=-1)
    diagonal = tf.reduce_sum(tf.square(_hull_size(a, b)), axis=-1)
    return iou(a, b) - tf.math.divide_no_nan(distance, diagonal)


def ciou(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Complete IoU: DIoU - alpha v (Zheng et al., AAAI 2020); ``b`` is the ground truth.

    v = 4 / pi^2 (atan(w_b / h_b) - atan(w_a / h_a))^2, alpha = v / (1 - IoU + v) without gradient.
    atan2 keeps the angle finite, value and gradient, for boxes without height.
    """
    v = tf.square(_aspect_angle(b) - _aspect_angle(a)) * (4 / math.pi ** 2)
    alpha = tf.stop_gradient(tf.math.divide_no_nan(v, 1 - iou(a, b) + v))
    return diou(a, b) - alpha * v


def _hull_size(a, b):
    """Width and height of the smallest box that holds both, [..., 2]."""
    return tf.maximum(tf.maximum(a[..., 2:], b[..., 2:]) - tf.minimum(a[..., :2], b[..., :2]), 0.)


def _aspect_angle(boxes):
    """Angle atan(w / h) in 0..pi/2; the floor of 1e-4 pixel keeps its gradient finite at a point box."""
    size = tf.maximum(boxes[..., 2:] - boxes[..., :2], 1e-4)
    return tf.math.atan2(size[..., 0], size[..., 1])
