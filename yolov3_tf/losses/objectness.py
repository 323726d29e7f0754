"""The objectness term, over every slot: objects, background, and the slots left in peace between them."""
from __future__ import annotations

import tensorflow as tf

from yolov3_tf import boxes as box_ops


def background(boxes, truth_boxes, considered, threshold: float):
    """Slots whose prediction overlaps no object: the ``keep`` of the reference, without gradient.

    A prediction that overlaps an object well, yet does not own it, is neither rewarded nor punished.

    Args:
      boxes: float32 [B, S, 4] decoded predictions, pixels.
      truth_boxes: float32 [B, N, 4].
      considered: bool, broadcasts to [B, N, S]; the objects a slot looks at.
      threshold: IoU in 0..1; a slot is background where its best IoU is strictly below.

    Returns:
      float32 [B, S]: 1 background, 0 ignored. Nothing considered: 1.
    """
    # The long axis innermost: a picture has few objects and thousands of slots.
    overlap = box_ops.iou(boxes[:, None], truth_boxes[:, :, None])                    # [B, N, S]
    reached = tf.reduce_any(considered & (overlap >= threshold), axis=1)
    return tf.stop_gradient(1 - tf.cast(reached, tf.float32))


def cross_entropy(logits, owned, weight, focal: bool):
    """Binary cross-entropy of every slot, weighted, optionally focal.

    Args:
      logits: float32 [B, S].
      owned: float32 [B, S], 1 where the slot answers for an object.
      weight: float32 [B, S].
      focal: multiplies by |owned - sigmoid|^2 (Lin et al., ICCV 2017, gamma 2, alpha 1 on both sides);
        the gradient flows through that factor as well.

    Returns:
      float32 [B, S].
    """
    loss = weight * tf.nn.sigmoid_cross_entropy_with_logits(owned, logits)
    return loss * tf.square(owned - tf.sigmoid(logits)) if focal else loss
