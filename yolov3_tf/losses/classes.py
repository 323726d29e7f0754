"""The class term: every class by itself, for an image's object may wear several labels."""
from __future__ import annotations

import tensorflow as tf


def targets(classes, count, smoothing: bool):
    """What the class probabilities should be: the object's class 1, all others 0.

    Args:
      classes: int32 [...].
      count: C.
      smoothing: .99 y + .01 / C instead (the reference's delta).

    Returns:
      float32 [..., C].
    """
    target = tf.one_hot(classes, count)
    return .99 * target + .01 / tf.cast(count, tf.float32) if smoothing else target


def cross_entropy(target, logits):
    """Sum over classes of the binary cross-entropy: target, logits float32 [..., C] -> [...]."""
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(target, logits), axis=-1)


def squared_error(target, logits):
    """Sum over classes of (target - probability)^2, as in YOLOv1: float32 [..., C] -> [...]."""
    return tf.reduce_sum(tf.square(target - tf.sigmoid(logits)), axis=-1)


CLASS_LOSSES = {'bce': cross_entropy, 'squared': squared_error}
