"""Assigners: which slots are positive, and for which object. One signature, one table.

An assigner sees the padded ground truth of a batch, the priors of its input size, and what the network
predicts there; it proposes candidates (object, slot). Only the cells that hold an object's centre are
ever proposed, one on each level, and by ``neighbours`` and ``dynamic`` the two beside it; assigners differ
in which priors of those cells they take. Where two candidates meet in one slot the later object keeps it,
class included (the reference overwrites the box but keeps both classes); so an object may lose some of its
slots, or all.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from yolov3_tf import boxes as box_ops
from yolov3_tf.structures import GroundTruth, Priors


class Assignment(NamedTuple):
    """M candidates an image, each one object and a slot that may be matched with it.

    Attributes:
      slots: int32 [B, M] slot, in 0..S-1 also where not positive.
      truth_index: int32 [B, M] object, index into ``GroundTruth``.
      positive: bool [B, M]; False for padding, for boxes without area, for priors that do not fit, and for
        an object that lost its slot to a later one. At most one candidate of a slot is positive.
    """
    slots: Any
    truth_index: Any
    positive: Any


def best_anchor(truth: GroundTruth, priors: Priors, decoded: tf.Tensor | None = None,
                threshold: float | None = None) -> Assignment:
    """The reference's rule: the one prior of all levels with the best shape IoU, in the cell of the centre.

    Shape IoU lays both boxes on the same centre; ties go to the lowest prior. A centre exactly on the
    right or lower border belongs to the last cell.

    Args (those of every assigner):
      truth: B images of N boxes; N may be 0.
      decoded: float32 [B, S, 4] predicted boxes, pixels; only ``best_prediction`` and ``dynamic`` read them.
      threshold: as in ``THRESHOLDS``; assigners without one ignore it.

    Returns:
      M candidates an image: N where an object takes one slot, N A where it may take several, one for each of the
      A priors, 3 N A with the neighbouring cells.
    """
    del decoded, threshold
    boxes_cxcywh = box_ops.to_cxcywh(truth.boxes)                                     # [B, N, 4]
    best = _best_shape(boxes_cxcywh[..., None, 2:], _prior_sizes(priors))
    return _one_slot_each(truth, boxes_cxcywh, best, priors)


def shape_ratio(truth: GroundTruth, priors: Priors, decoded: tf.Tensor | None = None,
                threshold: float | None = None) -> Assignment:
    """Every prior with |w ratio - 1| + |h ratio - 1| < threshold (2); the best anchor where none fits.

    A ratio is the object's side by the prior's. So an object may be matched with slots on several scales; one that
    is smaller than a prior in both sides always fits it at a threshold of 2, and 1 is a stricter choice.
    """
    del decoded
    limit = THRESHOLDS['shape_ratio'] if threshold is None else threshold
    boxes_cxcywh, sizes = box_ops.to_cxcywh(truth.boxes), _prior_sizes(priors)
    fits = tf.reduce_sum(tf.abs(boxes_cxcywh[..., None, 2:] / sizes - 1), axis=-1) < limit     # [B, N, A]
    return _in_own_cells(truth, boxes_cxcywh, _or_best_shape(fits, boxes_cxcywh, sizes), priors)


def iou_threshold(truth: GroundTruth, priors: Priors, decoded: tf.Tensor | None = None,
                  threshold: float | None = None) -> Assignment:
    """YOLOv4's rule: every prior whose shape IoU with the object exceeds the threshold (.213), and the best one.

    Source: ``iou_thresh`` of yolov4.cfg.
    """
    del decoded
    limit = THRESHOLDS['iou_threshold'] if threshold is None else threshold
    boxes_cxcywh, sizes = box_ops.to_cxcywh(truth.boxes), _prior_sizes(priors)
    exceeds = shape_iou(boxes_cxcywh[..., None, 2:], sizes) > limit                   # [B, N, A]
    return _in_own_cells(truth, boxes_cxcywh, exceeds | _is_best_shape(boxes_cxcywh, sizes), priors)


def neighbours(truth: GroundTruth, priors: Priors, decoded: tf.Tensor | None = None,
               threshold: float | None = None) -> Assignment:
    """YOLOv5's rule: every prior whose sides are within a factor of the object's, in three cells of its level.

    The factor is max(w / w_prior, w_prior / w, and the same of h) < threshold (4); where no prior fits, the best
    anchor is taken. The cells are the centre's own and its nearest neighbours left or right and above or below, so
    that a centre's offset from the cell reaches from -.5 to 1.5: predictions need a grid sensitivity of 2. Where
    candidates meet, one in its own cell wins.

    Source: ``build_targets`` of ultralytics/yolov5.
    """
    del decoded
    slots, fits = _neighbourhood(truth, priors, THRESHOLDS['neighbours'] if threshold is None else threshold)
    return _several_slots_each(slots, fits, priors, NEAR_CELLS)


def dynamic(truth: GroundTruth, priors: Priors, decoded: tf.Tensor | None = None,
            threshold: float | None = None) -> Assignment:
    """The best few of ``neighbours``: those whose present predictions overlap the object most.

    Their number is the sum of the ten highest IoUs of an object's candidates, rounded down, at least 1: many where
    predictions are good, so few slots compete while they are not. The choice carries no gradient.

    Source: Ge et al., "YOLOX", 2021, section 2.1 (SimOTA), with 1 - IoU as the only cost, among the candidates of
    Wang et al., "YOLOv7", 2022.
    """
    slots, fits = _neighbourhood(truth, priors, THRESHOLDS['dynamic'] if threshold is None else threshold)
    overlap = box_ops.iou(tf.gather(decoded, tf.maximum(slots, 0), batch_dims=1), truth.boxes[:, :, None])
    overlap = tf.where(fits, overlap, -1.)                                            # [B, N, 3 A]
    best = tf.sort(overlap, direction='DESCENDING')
    wanted = tf.maximum(tf.cast(tf.reduce_sum(tf.maximum(best[..., :DYNAMIC_SUM], 0.), -1), tf.int32), 1)
    least = tf.gather(best, wanted - 1, batch_dims=2)                                 # [B, N]
    return _several_slots_each(slots, tf.stop_gradient(fits & (overlap >= least[..., None])), priors, NEAR_CELLS)


def _neighbourhood(truth: GroundTruth, priors: Priors, limit: float):
    """The slots of all priors in three cells, and whether their shapes fit the object.

    Returns:
      int32 [B, N, 3 A]: beside, above or below, and at the centre, -1 where there is no such cell; bool [B, N, 3 A].
    """
    boxes_cxcywh, sizes = box_ops.to_cxcywh(truth.boxes), _prior_sizes(priors)
    ratios = boxes_cxcywh[..., None, 2:] / sizes
    fits = tf.reduce_max(tf.maximum(ratios, tf.math.divide_no_nan(1., ratios)), axis=-1) < limit     # [B, N, A]
    fits = _or_best_shape(fits, boxes_cxcywh, sizes) & has_area(truth)[..., None]
    own = _slots_of_all_priors(boxes_cxcywh, sizes, priors)                           # [B, N, A]
    near = _neighbour_slots(boxes_cxcywh[..., None, :2], own, priors)                 # [B, N, A, 2]
    slots = tf.concat([near[..., 0], near[..., 1], own], -1)
    return slots, tf.tile(fits, [1, 1, NEAR_CELLS]) & (slots >= 0)


def _neighbour_slots(centres, own, priors: Priors):
    """Slots of the same prior in the cell beside and the cell above or below, whichever is nearer the centre.

    Args:
      centres: float32 [B, N, 1, 2] x, y in pixels.
      own: int32 [B, N, A] slots of the cells that hold the centres.

    Returns:
      int32 [B, N, A, 2]; -1 where there is no such cell.
    """
    level = tf.gather(priors.levels, own)
    grid = tf.gather(priors.grids, level)                                             # rows, columns
    each = tf.gather(tf.constant([len(level) for level in priors.table.sizes]), level)
    cell = tf.cast(tf.gather(priors.cells, own), tf.int32)                            # column, row
    fraction = centres / tf.gather(priors.strides, own)[..., None] - tf.cast(cell, tf.float32)
    aside = tf.where(fraction < .5, -1, 1)
    inside = (cell + aside >= 0) & (cell + aside < tf.reverse(grid, [-1]))
    step = aside * tf.stack([each, each * grid[..., 1]], -1)
    return tf.where(inside, own[..., None] + step, -1)


def best_prediction(truth: GroundTruth, priors: Priors, decoded: tf.Tensor | None = None,
                    threshold: float | None = None) -> Assignment:
    """YOLOv1's rule: the slot that predicts the object best at present, by IoU, in the cells of the centre.

    All priors of all levels compete; ties go to the lowest. Where no prediction overlaps the object at
    all, the best anchor is taken. The choice carries no gradient. Source: Redmon et al., "You Only Look
    Once", CVPR 2016, section 2.2 (one predictor is "responsible").
    """
    del threshold
    boxes_cxcywh, sizes = box_ops.to_cxcywh(truth.boxes), _prior_sizes(priors)
    slots = _slots_of_all_priors(boxes_cxcywh, sizes, priors)                         # [B, N, A]
    overlap = box_ops.iou(tf.gather(decoded, slots, batch_dims=1), truth.boxes[:, :, None])
    by_overlap = tf.argmax(overlap, axis=-1, output_type=tf.int32)
    by_shape = _best_shape(boxes_cxcywh[..., None, 2:], sizes)
    best = tf.where(tf.reduce_max(overlap, axis=-1) > 0, by_overlap, by_shape)
    return _one_slot_each(truth, boxes_cxcywh, best, priors)


ASSIGNERS = {'best_anchor': best_anchor, 'shape_ratio': shape_ratio, 'iou_threshold': iou_threshold,
             'neighbours': neighbours, 'dynamic': dynamic, 'best_prediction': best_prediction}
# The default threshold of each assigner that has one: a sum of two ratio differences, a shape IoU, ratios of sides.
THRESHOLDS = {'shape_ratio': 2., 'iou_threshold': .213, 'neighbours': 4., 'dynamic': 4.}
# The least grid sensitivity with which predictions reach the slots of an assigner; where it is not listed, 1.
SENSITIVITIES = {'neighbours': 2., 'dynamic': 2.}
NEAR_CELLS = 3          # beside the centre's cell, above or below it, and that cell itself
DYNAMIC_SUM = 10        # highest IoUs whose sum is the number of an object's positive slots


def _prior_sizes(priors: Priors):
    """Width, height of the A priors of all levels, finest first: float32 [A, 2]."""
    return tf.constant([pair for level in priors.table.sizes for pair in level], tf.float32)


def _best_shape(object_sizes, sizes):
    """Index of the prior with the best shape IoU, int32 [B, N]; object_sizes float32 [B, N, 1, 2]."""
    return tf.argmax(shape_iou(object_sizes, sizes), axis=-1, output_type=tf.int32)


def _is_best_shape(boxes_cxcywh, sizes):
    """bool [B, N, A]."""
    best = _best_shape(boxes_cxcywh[..., None, 2:], sizes)
    return best[..., None] == tf.range(tf.shape(sizes)[0])


def _or_best_shape(fits, boxes_cxcywh, sizes):
    """``fits``, bool [B, N, A], and the best shape for an object that nothing fits."""
    return fits | _is_best_shape(boxes_cxcywh, sizes) & ~tf.reduce_any(fits, axis=-1, keepdims=True)


def _slots_of_all_priors(boxes_cxcywh, sizes, priors: Priors):
    """Slots of every prior in the cells that hold the centre: int32 [B, N, A]."""
    each = tf.zeros_like(boxes_cxcywh[..., :1], tf.int32) + tf.range(tf.shape(sizes)[0])
    return slot_at(boxes_cxcywh[..., None, :2], each, priors)


def _one_slot_each(truth: GroundTruth, boxes_cxcywh, prior_index, priors: Priors) -> Assignment:
    """The objects as candidates, each with the slot of its prior, int32 [B, N]."""
    slots = slot_at(boxes_cxcywh[..., :2], prior_index, priors)
    objects = tf.broadcast_to(tf.range(tf.shape(slots)[1])[None], tf.shape(slots))
    return Assignment(slots, objects, keep_last(slots, has_area(truth), tf.shape(priors.strides)[0]))


def _in_own_cells(truth: GroundTruth, boxes_cxcywh, fits, priors: Priors) -> Assignment:
    """Every (object, prior) in the cells of the centre as a candidate that counts where ``fits``, bool [B, N, A]."""
    slots = _slots_of_all_priors(boxes_cxcywh, _prior_sizes(priors), priors)
    return _several_slots_each(slots, fits & has_area(truth)[..., None], priors)


def _several_slots_each(slots, fits, priors: Priors, parts: int = 1) -> Assignment:
    """Every (object, slot) as a candidate, object by object, that counts where ``fits``.

    Args:
      slots: int32 [B, N, K] of each object; below 0 where there is none.
      fits: bool [B, N, K].
      parts: K is divided into so many; the last part of all objects comes last, where a candidate keeps its slot.
    """
    batch, count, each = tf.unstack(tf.shape(slots))
    objects = tf.broadcast_to(tf.range(count)[None, :, None], tf.shape(slots))

    def flat(x):
        by_part = tf.transpose(tf.reshape(x, [batch, count, parts, each // parts]), [0, 2, 1, 3])
        return tf.reshape(by_part, [batch, count * each])
    slots, objects, fits = flat(tf.maximum(slots, 0)), flat(objects), flat(fits)
    return Assignment(slots, objects, keep_last(slots, fits, tf.shape(priors.strides)[0]))


def shape_iou(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """IoU of two boxes on the same centre, given as width, height [..., 2]; broadcasts."""
    shared = tf.reduce_prod(tf.minimum(a, b), axis=-1)
    return tf.math.divide_no_nan(shared, tf.reduce_prod(a, -1) + tf.reduce_prod(b, -1) - shared)


def has_area(truth: GroundTruth) -> tf.Tensor:
    """bool [B, N]: real objects (not padding) with a positive width and height."""
    return truth.valid & tf.reduce_all(truth.boxes[..., 2:] > truth.boxes[..., :2], axis=-1)


def slot_at(centres: tf.Tensor, prior_index: tf.Tensor, priors: Priors) -> tf.Tensor:
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
    cell = tf.clip_by_value(cell, 0, tf.reverse(grid, [-1]) - 1)                             # [..., 2] column, row
    first_slot = tf.cumsum(tf.reduce_prod(priors.grids, axis=-1) * per_level, exclusive=True)
    inside = (cell[..., 1] * grid[..., 1] + cell[..., 0]) * tf.gather(per_level, level)
    return tf.gather(first_slot, level) + inside + prior_index - tf.gather(first_prior, level)


def keep_last(slots: tf.Tensor, candidate: tf.Tensor, slot_count: int | tf.Tensor) -> tf.Tensor:
    """Leaves one candidate a slot, the last one: bool [B, M] from slots int32 [B, M], candidate bool [B, M].

    A segment maximum instead of a scatter, for the order of a scatter's duplicates is undefined.
    """
    batch, count = tf.shape(slots)[0], tf.shape(slots)[1]
    segment = slots + slot_count * tf.range(batch)[:, None]                           # [B, M]
    order = tf.broadcast_to(tf.range(count)[None], tf.shape(slots))
    # Candidates that do not count get order -1; empty segments hold the lowest integer. Neither is ever equal.
    last = tf.math.unsorted_segment_max(tf.where(candidate, order, -1), segment, batch * slot_count)
    return candidate & (tf.gather(last, segment) == order)
