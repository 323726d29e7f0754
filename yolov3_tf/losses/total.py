"""The criterion: raw predictions and ground truth in, named scalars out.

    loss = 1/B sum [ positive q (box + class) + F (positive q + background) BCE(objectness) ]

over all slots of all pictures of a batch of B; q is an object's mix-up weight, F the focal factor.
Semantics of the YOLOv3 TF1 implementation by wizyoung, with the IoU and GIoU terms of the paper.
"""
from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from yolov3_tf import codec
from yolov3_tf.assign import ASSIGNERS, Assignment, has_area
from yolov3_tf.choices import InputError, choose
from yolov3_tf.losses import classes as class_loss
from yolov3_tf.losses import objectness
from yolov3_tf.losses.box import BOX_LOSSES, OVERLAPS, Matched
from yolov3_tf.structures import GroundTruth, Priors, RawPredictions

IGNORE_SCOPES = {'scale': 'objects that own a slot of the same scale (the reference)',
                 'image': 'all objects of the picture (darknet)'}
MATCHES = {'assigned': 'the object the slot answers for (the paper\'s text)',
           'best': 'the best object of the scale (the paper\'s published code)'}


class LossSettings(NamedTuple):
    """What the criterion is made of; names are keys of the tables.

    Attributes:
      box: of ``BOX_LOSSES``.
      focal: focal factor on objectness.
      ignore_thresh: IoU from which a slot without object is left in peace.
      ignore_scope: of ``IGNORE_SCOPES``.
      matched: of ``MATCHES``; 'best' is for overlap losses only.
      label_smoothing: .99 y + .01 / C class targets.
      assigner: of ``ASSIGNERS``.
    """
    box: str = 'giou'
    focal: bool = False
    ignore_thresh: float = .5
    ignore_scope: str = 'scale'
    matched: str = 'assigned'
    label_smoothing: bool = False
    assigner: str = 'best_anchor'


def check(settings: LossSettings):
    """Raises InputError for an unknown name, a threshold outside 0..1 or parts that contradict each other."""
    choose(BOX_LOSSES, settings.box, 'loss')
    choose(IGNORE_SCOPES, settings.ignore_scope, 'ignore_scope')
    choose(MATCHES, settings.matched, 'matched')
    choose(ASSIGNERS, settings.assigner, 'assigner')
    if not 0 < settings.ignore_thresh <= 1:
        raise InputError(f'ignore_thresh {settings.ignore_thresh} is not in 0..1: it is an IoU, for example 0.5')
    if settings.matched == 'best' and settings.box not in OVERLAPS:
        raise InputError(f'matched=best needs an overlap to be best at, and loss={settings.box} has none: '
                         f'use matched=assigned or one of {", ".join(sorted(OVERLAPS))}')


def detection_loss(raw: RawPredictions, truth: GroundTruth, priors: Priors, settings: LossSettings):
    """Named scalars of one batch: the parts, each summed and divided by B, and their sum ``total``.

    Args:
      raw: predictions of B pictures over the S slots of ``priors``, float32 (``codec.split``).
      truth: N boxes a picture, pixels of the network input; N may be 0.

    Returns:
      {'xy', 'wh'} or {the overlap's name}, 'objectness', 'classes', 'total': float32 scalars, finite for
      every finite input. Weight decay is not part of it (``training``).
    """
    decoded = codec.decode(raw.t, priors)                                             # [B, S, 4]
    assignment = ASSIGNERS[settings.assigner](truth, priors)
    level = tf.gather(priors.levels, assignment.slots)                                # [B, M]
    matched = _match(raw, decoded, truth, priors, assignment)
    if settings.matched == 'best':
        same_scale = (level[:, :, None] == level[:, None, :]) & assignment.positive[:, None, :]
        matched = matched._replace(rivals=(matched.truth_boxes, same_scale))
    weight = tf.cast(assignment.positive, tf.float32) * _gather(truth.weights, assignment.truth_index)
    parts = {name: _sum(weight, loss) for name, loss in BOX_LOSSES[settings.box](matched).items()}

    logits = _gather(raw.classes, assignment.slots)                                   # [B, M, C]
    labels = _gather(truth.classes, assignment.truth_index)
    parts['classes'] = _sum(weight, class_loss.cross_entropy(logits, labels, settings.label_smoothing))

    if settings.ignore_scope == 'scale':
        considered = assignment.positive[:, :, None] & (level[:, :, None] == priors.levels)
        background = objectness.background(decoded, matched.truth_boxes, considered, settings.ignore_thresh)
    else:
        background = objectness.background(decoded, truth.boxes, has_area(truth)[:, :, None], settings.ignore_thresh)
    owned = _spread(tf.cast(assignment.positive, tf.float32), assignment, priors)     # [B, S]
    slot_weight = tf.where(owned > 0, _spread(weight, assignment, priors), background)
    parts['objectness'] = tf.reduce_sum(
        objectness.cross_entropy(raw.objectness, owned, slot_weight, settings.focal))

    batch = tf.cast(tf.shape(raw.t)[0], tf.float32)
    parts = {name: value / batch for name, value in parts.items()}
    return {**parts, 'total': tf.add_n(list(parts.values()))}


def _match(raw, decoded, truth, priors, assignment: Assignment) -> Matched:
    truth_boxes = _gather(truth.boxes, assignment.truth_index)                        # [B, M, 4]
    size = truth_boxes[..., 2:] - truth_boxes[..., :2]
    rows_columns = priors.grids[0] * priors.table.strides[0]                          # input height, width
    picture_area = tf.cast(tf.reduce_prod(rows_columns), tf.float32)
    return Matched(
        t=_gather(raw.t, assignment.slots), boxes=_gather(decoded, assignment.slots),
        truth_t=codec.encode(truth_boxes, priors, assignment.slots), truth_boxes=truth_boxes,
        anchors=tf.gather(priors.anchors, assignment.slots), strides=tf.gather(priors.strides, assignment.slots),
        sensitivity=tf.gather(priors.sensitivity, assignment.slots),
        smallness=2 - tf.minimum(size[..., 0] * size[..., 1] / picture_area, 1.))


def _gather(values, index):
    """Rows of values [B, K, ...] at index int32 [B, M]; picture by picture."""
    return tf.gather(values, index, batch_dims=1)


def _sum(weight, loss):
    """Sum of weighted losses [B, M]; candidates without weight add exactly 0, whatever their loss."""
    return tf.reduce_sum(weight * tf.where(weight > 0, loss, 0.))


def _spread(values, assignment: Assignment, priors: Priors):
    """Values [B, M] of the positive candidates laid out over the slots, [B, S]; 0 elsewhere."""
    batch, slots = tf.shape(values)[0], tf.shape(priors.strides)[0]
    segment = assignment.slots + slots * tf.range(batch)[:, None]
    flat = tf.math.unsorted_segment_sum(tf.where(assignment.positive, values, 0.), segment, batch * slots)
    return tf.reshape(flat, [batch, slots])
