"""The objectness term, over every slot: objects, background, and the slots left in peace between them.

Four choices, a table each: what a slot that owns an object should say, how far it is from it, how much
owners count, and (``background``) which slots count as having none.
"""
from __future__ import annotations

import tensorflow as tf

from yolov3_tf import boxes as box_ops
from yolov3_tf import replicas
from yolov3_tf.losses.box import Matched


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
    # The long axis innermost: an image has few objects and thousands of slots.
    overlap = box_ops.iou(boxes[:, None], truth_boxes[:, :, None])                    # [B, N, S]
    reached = tf.reduce_any(considered & (overlap >= threshold), axis=1)
    return tf.stop_gradient(1 - tf.cast(reached, tf.float32))


def one(matched: Matched):
    """1, whatever the slot predicts: float32 [B, M] (YOLOv3)."""
    return tf.ones_like(matched.strides)


def overlap(matched: Matched):
    """IoU of the decoded prediction with its object, float32 [B, M] in 0..1, without gradient (YOLOv1, YOLOv2)."""
    return tf.stop_gradient(box_ops.iou(matched.boxes, matched.truth_boxes))


TARGETS = {'one': one, 'iou': overlap}


def cross_entropy(target, logits):
    """Binary cross-entropy: float32 [B, S] each."""
    return tf.nn.sigmoid_cross_entropy_with_logits(target, logits)


def squared_error(target, logits):
    """(target - confidence)^2 (YOLOv1, YOLOv2): float32 [B, S] each."""
    return tf.square(target - tf.sigmoid(logits))


OBJECTNESS_LOSSES = {'bce': cross_entropy, 'squared': squared_error}


def focal_factor(target, logits):
    """|target - sigmoid|^2; the gradient flows through it as well.

    Lin et al., ICCV 2017, with gamma 2 and alpha 1 on both sides; where the target is an IoU this is the
    quality focal loss of Li et al., "Generalized Focal Loss", NeurIPS 2020, equation 2.
    """
    return tf.square(target - tf.sigmoid(logits))


def unweighted(owned):
    """1: float32 scalar."""
    del owned
    return tf.constant(1.)


def balanced(owned):
    """(n_predictions - n_labels) / n_labels * .5: owners together count half as much as all other slots.

    Args:
      owned: float32 [B, S], 1 where a slot owns an object. Over the whole batch n_predictions is their
        number B S, ignored ones included, and n_labels the number of 1s (slots, not objects: an object
        counts once for every slot it owns). The batch is that of all replicas.

    Returns:
      float32 scalar; 0 without labels, when there is nothing for it to weigh.
    """
    labels, slots = replicas.total([tf.reduce_sum(owned), tf.cast(tf.size(owned), tf.float32)])
    return tf.math.divide_no_nan(slots - labels, labels) * .5


POSITIVE_WEIGHTS = {'none': unweighted, 'balanced': balanced}
