"""The class term: independent binary cross-entropies, for a picture's object may wear several labels."""
from __future__ import annotations

import tensorflow as tf


def cross_entropy(logits, classes, smoothing: bool):
    """Sum over classes of the binary cross-entropy with the object's class.

    Args:
      logits: float32 [..., C], before the sigmoid.
      classes: int32 [...].
      smoothing: targets become .99 y + .01 / C (the reference's delta).

    Returns:
      float32 [...].
    """
    count = tf.shape(logits)[-1]
    target = tf.one_hot(classes, count)
    if smoothing:
        target = .99 * target + .01 / tf.cast(count, tf.float32)
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(target, logits), axis=-1)
