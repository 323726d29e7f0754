"""The objectness term over every slot: positive, negative (background), and the ignored ones between them.

Three choices, a table each: the target of a positive slot, the distance from the target, and the weight of positive
slots; and the rule (``background``) that makes the others negative or ignored.
"""
from __future__ import annotations

import tensorflow as tf

from yolov3_tf import boxes as box_ops
from yolov3_tf import replicas
from yolov3_tf.losses.box import Matched


def background(boxes: tf.Tensor, truth_boxes: tf.Tensor, considered: tf.Tensor, threshold: float) -> tf.Tensor:
    """Slots whose prediction overlaps no object are negative (the reference's ignore mask), without gradient.

    A prediction that overlaps an object well, yet is not matched with it, is ignored.

    Args:
      boxes: float32 [B, S, 4] decoded predictions, pixels.
      truth_boxes: float32 [B, N, 4].
      considered: bool, broadcasts to [B, N, S]; the objects a slot is compared with.
      threshold: IoU in 0..1; a slot is background where its best IoU is strictly below.

    Returns:
      float32 [B, S]: 1 negative, 0 ignored. Nothing considered: 1.
    """
    # The longest axis last: an image has few objects and thousands of slots.
    overlap = box_ops.iou(boxes[:, None], truth_boxes[:, :, None])                    # [B, N, S]
    reached = tf.reduce_any(considered & (overlap >= threshold), axis=1)
    return tf.stop_gradient(1 - tf.cast(reached, tf.float32))


def one(matched: Matched) -> tf.Tensor:
    """1, whatever the slot predicts: float32 [B, M] (YOLOv3)."""
    return tf.ones_like(matched.strides)


def overlap(matched: Matched) -> tf.Tensor:
    """IoU of the decoded prediction with its object, float32 [B, M] in 0..1, without gradient (YOLOv1, YOLOv2)."""
    return tf.stop_gradient(box_ops.iou(matched.boxes, matched.truth_boxes))


TARGETS = {'one': one, 'iou': overlap}


def cross_entropy(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy: float32 [B, S] each."""
    return tf.nn.sigmoid_cross_entropy_with_logits(target, logits)


def squared_error(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """(target - confidence)^2 (YOLOv1, YOLOv2): float32 [B, S] each."""
    return tf.square(target - tf.sigmoid(logits))


OBJECTNESS_LOSSES = {'bce': cross_entropy, 'squared': squared_error}


def focal_factor(target: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """|target - sigmoid|^2; the gradient flows through it as well.

    Lin et al., ICCV 2017, with gamma 2 and alpha 1 on both sides; where the target is an IoU this is the
    quality focal loss of Li et al., "Generalized Focal Loss", NeurIPS 2020, equation 2.
    """
    return tf.square(target - tf.sigmoid(logits))


def unweighted(positive: tf.Tensor) -> tf.Tensor:
    """1: float32 scalar."""
    del positive
    return tf.constant(1.)


def balanced(positive: tf.Tensor) -> tf.Tensor:
    """(n_predictions - n_labels) / n_labels * .5: positive slots together weigh half as much as all others.

    Args:
      positive: float32 [B, S], 1 where a slot is positive. Over the whole batch n_predictions is the number of slots,
        B S, ignored ones included, and n_labels (the paper's name) the number of positive ones: an object counts
        once for every slot it is matched with. The batch is that of all replicas.

    Returns:
      float32 scalar; 0 without positive slots, when there is nothing to weigh.
    """
    matched, slots = replicas.total([tf.reduce_sum(positive), tf.cast(tf.size(positive), tf.float32)])
    return tf.math.divide_no_nan(slots - matched, matched) * .5


POSITIVE_WEIGHTS = {'none': unweighted, 'balanced': balanced}
