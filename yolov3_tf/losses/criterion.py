"""The criterion: raw predictions and ground truth in, named scalars out.

    loss = 1/B sum [ positive q (v box + class) + F (positive q p + background b) objectness ]

over all slots of all images of a batch of B; q is an object's mix-up weight, F the focal factor, v the
weight of the box terms, p that of the objectness of positive slots, b that of negative (background) ones. By default
v, p and b are 1 and the semantics are those of the YOLOv3 TF1 implementation by wizyoung, with the IoU
and GIoU terms of the paper; ``losses.formulations`` names other sets.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from yolov3_tf import codec
from yolov3_tf.assign import ASSIGNERS, THRESHOLDS, Assignment, has_area
from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.losses import classes as class_loss
from yolov3_tf.losses import objectness
from yolov3_tf.losses.box import BOX_LOSSES, OVERLAPS, Matched
from yolov3_tf.losses.classes import CLASS_LOSSES
from yolov3_tf.losses.objectness import OBJECTNESS_LOSSES, POSITIVE_WEIGHTS, TARGETS
from yolov3_tf.structures import GroundTruth, Priors, RawPredictions

IGNORE_SCOPES = {'scale': 'objects that are matched with a slot of the same scale (the reference)',
                 'image': 'all objects of the image (darknet)'}
MATCHES = {'assigned': 'the object the slot is matched with (the paper\'s text)',
           'best': 'the best object of the scale (the paper\'s published code)'}


class LossSettings(NamedTuple):
    """The parts of the criterion; names are keys of the tables.

    Attributes:
      box: of ``BOX_LOSSES``.
      focal: focal factor on objectness.
      ignore_thresh: IoU from which a slot without object is ignored.
      ignore_scope: of ``IGNORE_SCOPES``.
      matched: of ``MATCHES``; 'best' is for overlap losses only.
      label_smoothing: .99 y + .01 / C class targets.
      assigner: of ``ASSIGNERS``.
      assign_thresh: of an assigner in ``assign.THRESHOLDS``; None: that table's.
      box_weight: factor on the box terms.
      background_weight: factor on the objectness of negative (background) slots.
      objectness: of ``OBJECTNESS_LOSSES``.
      objectness_target: of ``objectness.TARGETS``, of the objectness of positive slots.
      classification: of ``CLASS_LOSSES``.
      class_weight: factor on the class term.
      positive_weight: of ``POSITIVE_WEIGHTS``, on the objectness of positive slots.
    """
    box: str = 'giou'
    focal: bool = False
    ignore_thresh: float = .5
    ignore_scope: str = 'scale'
    matched: str = 'assigned'
    label_smoothing: bool = False
    assigner: str = 'best_anchor'
    assign_thresh: float | None = None
    box_weight: float = 1.
    background_weight: float = 1.
    class_weight: float = 1.
    objectness: str = 'bce'
    objectness_target: str = 'one'
    classification: str = 'bce'
    positive_weight: str = 'none'


def check(settings: LossSettings) -> None:
    """Raises InputError for an unknown name, a number out of its range or parts that contradict each other."""
    choose(BOX_LOSSES, settings.box, 'loss')
    choose(IGNORE_SCOPES, settings.ignore_scope, 'ignore_scope')
    choose(MATCHES, settings.matched, 'matched')
    choose(ASSIGNERS, settings.assigner, 'assigner')
    choose(OBJECTNESS_LOSSES, settings.objectness, 'objectness')
    choose(TARGETS, settings.objectness_target, 'objectness_target')
    choose(CLASS_LOSSES, settings.classification, 'classification')
    choose(POSITIVE_WEIGHTS, settings.positive_weight, 'positive_weight')
    if not 0 < settings.ignore_thresh <= 1:
        raise InputError(f'ignore_thresh {settings.ignore_thresh} is not in 0..1: it is an IoU, for example 0.5')
    for name in ('box_weight', 'background_weight', 'class_weight'):
        if not 0 < getattr(settings, name) < math.inf:
            raise InputError(f'{name} {getattr(settings, name)}: expected a positive number, 1 for no weight')
    _check_assign_thresh(settings)
    _check_contradictions(settings)


def _check_assign_thresh(settings: LossSettings):
    threshold, assigner = settings.assign_thresh, settings.assigner
    if threshold is None:
        return
    if assigner not in THRESHOLDS:
        raise InputError(f'assign_thresh={threshold} with assigner={assigner}, which has no threshold: leave it out, '
                         f'or use one of {", ".join(sorted(THRESHOLDS))}')
    highest = 1 if assigner == 'iou_threshold' else math.inf
    if not 0 < threshold < highest:
        raise InputError(f'assign_thresh {threshold} is not between 0 and {highest}, where assigner={assigner} has '
                         f'its threshold, by default {THRESHOLDS[assigner]}')


def _check_contradictions(settings: LossSettings):
    if settings.matched == 'best' and settings.box not in OVERLAPS:
        raise InputError(f'matched=best needs an overlap to be best at, and loss={settings.box} has none: '
                         f'use matched=assigned or one of {", ".join(sorted(OVERLAPS))}')
    if settings.focal and settings.objectness != 'bce':
        raise InputError(f'focal weighs a cross-entropy, and objectness={settings.objectness} is none (its gradient '
                         'fades on easy slots by itself): use objectness=bce or leave focal out')
    if settings.label_smoothing and settings.classification != 'bce':
        raise InputError('label_smoothing keeps a cross-entropy from pulling logits without end, and '
                         f'classification={settings.classification} does not: use classification=bce or leave '
                         'label_smoothing out')


def detection_loss(raw: RawPredictions, truth: GroundTruth, priors: Priors,
                   settings: LossSettings) -> dict[str, tf.Tensor]:
    """Named scalars of one batch: the parts, each summed and divided by B, and their sum ``total``.

    Args:
      raw: predictions of B images over the S slots of ``priors``, float32 (``codec.split``).
      truth: N boxes an image, pixels of the network input; N may be 0.

    Returns:
      {'xy', 'wh'} or {the overlap's name}, 'objectness', 'classes', 'total': float32 scalars, weights
      included, finite for every finite input. Weight decay is not part of it (``training``).
    """
    decoded = codec.decode(raw.offsets, priors)                                             # [B, S, 4]
    assignment = ASSIGNERS[settings.assigner](truth, priors, decoded, settings.assign_thresh)
    matched = _match(raw, decoded, truth, priors, assignment)
    if settings.matched == 'best':
        level = tf.gather(priors.levels, assignment.slots)                            # [B, M]
        matches = _matched_levels(assignment, truth, priors)                          # [B, N, L]
        same_scale = tf.gather(tf.transpose(matches, [0, 2, 1]), level, batch_dims=1)    # [B, M, N]
        matched = matched._replace(rivals=(truth.boxes, same_scale))
    weight = tf.cast(assignment.positive, tf.float32) * _gather(truth.weights, assignment.truth_index)
    parts = {name: settings.box_weight * _sum(weight, loss)
             for name, loss in BOX_LOSSES[settings.box](matched).items()}

    logits = _gather(raw.classes, assignment.slots)                                   # [B, M, C]
    classes = _gather(truth.classes, assignment.truth_index)
    target = class_loss.targets(classes, tf.shape(logits)[-1], settings.label_smoothing)
    parts['classes'] = settings.class_weight * _sum(weight, CLASS_LOSSES[settings.classification](target, logits))

    background = background_slots(decoded, truth, priors, assignment, settings)
    parts['objectness'] = _objectness(raw.objectness, background, matched, weight, assignment, priors, settings)

    batch = tf.cast(tf.shape(raw.offsets)[0], tf.float32)
    parts = {name: value / batch for name, value in parts.items()}
    return {**parts, 'total': tf.add_n(list(parts.values()))}


def background_slots(decoded: tf.Tensor, truth: GroundTruth, priors: Priors, assignment: Assignment,
                     settings: LossSettings) -> tf.Tensor:
    """Which slots are negative unless they are positive, float32 [B, S] (``objectness.background``).

    Args:
      decoded: float32 [B, S, 4] predicted boxes, pixels of the network input.
      settings: its ignore_thresh and ignore_scope.
    """
    if settings.ignore_scope == 'scale':
        considered = _over_slots(_matched_levels(assignment, truth, priors), priors)  # [B, N, S]
    else:
        considered = has_area(truth)[:, :, None]
    return objectness.background(decoded, truth.boxes, considered, settings.ignore_thresh)


def _objectness(logits, background, matched, weight, assignment, priors, settings: LossSettings):
    """Sum over all slots; background float32 [B, S], weight float32 [B, M] of the candidates."""
    positive = _spread(tf.cast(assignment.positive, tf.float32), assignment, priors)  # [B, S]
    target = _spread(TARGETS[settings.objectness_target](matched), assignment, priors)
    positive_weight = POSITIVE_WEIGHTS[settings.positive_weight](positive)
    slot_weight = tf.where(positive > 0, positive_weight * _spread(weight, assignment, priors),
                           settings.background_weight * background)
    loss = slot_weight * OBJECTNESS_LOSSES[settings.objectness](target, logits)
    return tf.reduce_sum(loss * objectness.focal_factor(target, logits) if settings.focal else loss)


def _matched_levels(assignment: Assignment, truth: GroundTruth, priors: Priors):
    """Whether an object is matched with a slot of a level: bool [B, N, L]."""
    batch, count, levels = tf.shape(truth.boxes)[0], tf.shape(truth.boxes)[1], len(priors.table.strides)
    level = tf.gather(priors.levels, assignment.slots)                                # [B, M]
    segment = (assignment.truth_index + count * tf.range(batch)[:, None]) * levels + level
    matched = tf.math.unsorted_segment_max(tf.cast(assignment.positive, tf.int32), segment, batch * count * levels)
    return tf.reshape(matched > 0, [batch, count, levels])


def _over_slots(by_level, priors: Priors):
    """Values [B, N, L] of the levels at every slot, [B, N, S]. By broadcasting: a gather is six times slower."""
    batch, count, _ = tf.unstack(tf.shape(by_level))
    slots = tf.reduce_prod(priors.grids, axis=-1) * [len(level) for level in priors.table.sizes]
    return tf.concat([tf.broadcast_to(by_level[..., level:level + 1], [batch, count, slots[level]])
                      for level in range(len(priors.table.sizes))], axis=-1)


def _match(raw, decoded, truth, priors, assignment: Assignment) -> Matched:
    truth_boxes = _gather(truth.boxes, assignment.truth_index)                        # [B, M, 4]
    size = truth_boxes[..., 2:] - truth_boxes[..., :2]
    rows_columns = priors.grids[0] * priors.table.strides[0]                          # input height, width
    image_area = tf.cast(tf.reduce_prod(rows_columns), tf.float32)
    return Matched(
        offsets=_gather(raw.offsets, assignment.slots), boxes=_gather(decoded, assignment.slots),
        truth_offsets=codec.encode(truth_boxes, priors, assignment.slots), truth_boxes=truth_boxes,
        anchors=tf.gather(priors.anchors, assignment.slots), strides=tf.gather(priors.strides, assignment.slots),
        sensitivity=tf.gather(priors.sensitivity, assignment.slots),
        smallness=2 - tf.minimum(size[..., 0] * size[..., 1] / image_area, 1.),
        image=tf.cast(tf.reverse(rows_columns, [0]), tf.float32))


def _gather(values, index):
    """Rows of values [B, K, ...] at index int32 [B, M]; image by image."""
    return tf.gather(values, index, batch_dims=1)


def _sum(weight, loss):
    """Sum of weighted losses [B, M]; candidates without weight add exactly 0, whatever their loss."""
    return tf.reduce_sum(weight * tf.where(weight > 0, loss, 0.))


def _spread(values, assignment: Assignment, priors: Priors):
    """Values [B, M] of the positive candidates placed at their slots, [B, S]; 0 elsewhere."""
    batch, slots = tf.shape(values)[0], tf.shape(priors.strides)[0]
    segment = assignment.slots + slots * tf.range(batch)[:, None]
    flat = tf.math.unsorted_segment_sum(tf.where(assignment.positive, values, 0.), segment, batch * slots)
    return tf.reshape(flat, [batch, slots])
