"""The class term: an independent yes or no for every class, because an object may belong to several."""
from __future__ import annotations

import tensorflow as tf


def targets(classes: tf.Tensor, count: int | tf.Tensor, smoothing: bool) -> tf.Tensor:
    """Targets of the class probabilities: 1 for the object's class, 0 for all others.

    Args:
      classes: int32 [...] class ids.
      count: C, int or int32 scalar.
      smoothing: .99 y + .01 / C instead (the reference's delta).

    Returns:
      float32 [..., C].
    """
    target = tf.one_hot(classes, count)
    return .99 * target + .01 / tf.cast(count, tf.float32) if smoothing else target


def cross_entropy(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Sum over classes of the binary cross-entropy: target, logits float32 [..., C] -> [...]."""
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(target, logits), axis=-1)


def squared_error(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Sum over classes of (target - probability)^2, as in YOLOv1: float32 [..., C] -> [...]."""
    return tf.reduce_sum(tf.square(target - tf.sigmoid(logits)), axis=-1)


CLASS_LOSSES = {'bce': cross_entropy, 'squared': squared_error}
