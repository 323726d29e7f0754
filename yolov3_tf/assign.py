"""Which slot answers for which object. One signature, one table.

An assigner sees the padded ground truth of a batch and the priors of its input size and proposes
candidates (object, slot). Where two candidates meet in one slot the later object keeps it, class
included (the reference overwrites the box but leaves both classes standing).
"""
from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from yolov3_tf import boxes as box_ops
from yolov3_tf.structures import GroundTruth, Priors


class Assignment(NamedTuple):
    """M candidates a picture, each one object and the slot that answers for it.

    Attributes:
      slots: int32 [B, M] slot, in 0..S-1 also where not positive.
      truth_index: int32 [B, M] object, index into ``GroundTruth``.
      positive: bool [B, M]; False for padding, for boxes without area and for an object that lost its
        slot to a later one. At most one candidate of a slot is positive.
    """
    slots: Any
    truth_index: Any
    positive: Any


def best_anchor(truth: GroundTruth, priors: Priors) -> Assignment:
    """The reference's rule: the one prior of all levels with the best shape IoU, in the cell of the centre.

    Shape IoU lays both boxes on the same centre; ties go to the lowest prior. A centre exactly on the
    right or lower border belongs to the last cell.
    """
    boxes_cxcywh = box_ops.to_cxcywh(truth.boxes)                                     # [B, N, 4]
    sizes = tf.constant([pair for level in priors.table.sizes for pair in level], tf.float32)
    best = tf.argmax(shape_iou(boxes_cxcywh[..., None, 2:], sizes), axis=-1, output_type=tf.int32)
    slots = slot_at(boxes_cxcywh[..., :2], best, priors)
    objects = tf.broadcast_to(tf.range(tf.shape(slots)[1])[None], tf.shape(slots))
    return Assignment(slots, objects, keep_last(slots, has_area(truth), tf.shape(priors.strides)[0]))


ASSIGNERS = {'best_anchor': best_anchor}


def shape_iou(a, b):
    """IoU of two boxes on the same centre, given as width, height [..., 2]; broadcasts."""
    shared = tf.reduce_prod(tf.minimum(a, b), axis=-1)
    return tf.math.divide_no_nan(shared, tf.reduce_prod(a, -1) + tf.reduce_prod(b, -1) - shared)


def has_area(truth: GroundTruth):
    """bool [B, N]: real objects (not padding) with a positive width and height."""
    return truth.valid & tf.reduce_all(truth.boxes[..., 2:] > truth.boxes[..., :2], axis=-1)


def slot_at(centres, prior_index, priors: Priors):
    """Slot of the prior ``prior_index`` (counted over all levels) in the cell that holds the centre.

    Args:
      centres: float32 [..., 2] x, y in pixels.
      prior_index: int32 [...].

    Returns:
      int32 [...].
    """
    per_level = tf.constant([len(level) for level in priors.table.sizes])
    first_prior = tf.cumsum(per_level, exclusive=True)
    level_of_prior = tf.repeat(tf.range(len(priors.table.sizes)), per_level)
    level = tf.gather(level_of_prior, prior_index)
    stride = tf.gather(tf.constant(priors.table.strides, tf.float32), level)
    grid = tf.gather(priors.grids, level)                                             # [..., 2] rows, columns
    cell = tf.cast(tf.floor(centres / stride[..., None]), tf.int32)
    cell = tf.clip_by_value(cell, 0, grid[..., ::-1] - 1)                             # [..., 2] column, row
    first_slot = tf.cumsum(tf.reduce_prod(priors.grids, axis=-1) * per_level, exclusive=True)
    inside = (cell[..., 1] * grid[..., 1] + cell[..., 0]) * tf.gather(per_level, level)
    return tf.gather(first_slot, level) + inside + prior_index - tf.gather(first_prior, level)


def keep_last(slots, candidate, slot_count):
    """Leaves one candidate a slot, the last one: bool [B, M] from slots int32 [B, M], candidate bool [B, M].

    A segment maximum instead of a scatter, for the order of a scatter's duplicates is undefined.
    """
    batch, count = tf.shape(slots)[0], tf.shape(slots)[1]
    segment = slots + slot_count * tf.range(batch)[:, None]                           # [B, M]
    order = tf.broadcast_to(tf.range(count)[None], tf.shape(slots))
    # Candidates that do not count get order -1; empty segments hold the lowest integer. Neither is ever equal.
    last = tf.math.unsorted_segment_max(tf.where(candidate, order, -1), segment, batch * slot_count)
    return candidate & (tf.gather(last, segment) == order)
