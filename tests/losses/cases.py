"""Batches that hold every difficulty of the loss at once, and the two ways to compute it."""
import functools
from typing import Any, NamedTuple

import numpy as np
import slow_reference
import tensorflow as tf

from yolov3_tf import anchors, codec
from yolov3_tf.losses import total
from yolov3_tf.structures import GroundTruth, RawPredictions

# Priors that fit pictures of 32 to 96 pixels, none square, two of one shape on different levels.
SMALL_ANCHORS = anchors.Anchors(sizes=(((5., 7.), (8., 5.), (11., 9.)),
                                       ((12., 18.), (20., 13.), (17., 25.)),
                                       ((30., 22.), (24., 36.), (48., 31.))),
                                strides=(8, 16, 32))


class Case(NamedTuple):
    """Raw predictions, ground truth and geometry of one batch, all NumPy float32 (bool, int32)."""
    t: Any
    objectness: Any
    classes: Any
    boxes: Any
    labels: Any
    valid: Any
    weights: Any
    anchors: anchors.Anchors
    height: int
    width: int


def random_case(seed, batch, height, width, class_count, objects, table=SMALL_ANCHORS):
    """Truth near some predictions (some get ignored), two boxes in one slot, a third near; the last bare."""
    rng = np.random.default_rng(seed)
    slots = slow_reference.slots_of(table.sizes, table.strides, height, width, table.sensitivity)
    t = rng.normal(0, .5, (batch, len(slots), 4)).astype(np.float32)
    boxes = np.zeros((batch, objects, 4), np.float32)
    for b in range(batch):
        for n in range(objects):
            s = rng.integers(len(slots))
            boxes[b, n] = np.array(slow_reference.decode(t[b, s], slots[s])) + rng.normal(0, .7, 4)
    boxes[:, 1] = boxes[:, 0] + rng.uniform(-.05, .05, (batch, 4))
    boxes[:, 2] = boxes[:, 0] + rng.uniform(-6, 6, (batch, 1, 2)).repeat(2, 1).reshape(batch, 4)
    boxes = np.clip(boxes, 0, [width, height, width, height]).astype(np.float32)
    valid = np.arange(objects) < rng.integers(objects - 1, objects + 1, (batch, 1))
    valid[-1] = False
    boxes[~valid] = 0
    weights = np.where(valid, rng.uniform(.2, 1, valid.shape), 0).astype(np.float32)
    labels = np.where(valid, rng.integers(0, class_count, valid.shape), 0).astype(np.int32)
    objectness = rng.normal(-.5, 2, (batch, len(slots))).astype(np.float32)
    classes = rng.normal(0, 2, (batch, len(slots), class_count)).astype(np.float32)
    return Case(t, objectness, classes, boxes, labels, valid, weights, table, height, width)


def empty_case(height, width, class_count, boxes=(), labels=None, weights=None, table=anchors.YOLOV3_ANCHORS):
    """One picture, every raw prediction 0, the given boxes valid: the start of an example by hand."""
    slots = len(slow_reference.slots_of(table.sizes, table.strides, height, width))
    boxes = np.asarray(boxes, np.float32).reshape(1, -1, 4)
    count = boxes.shape[1]
    return Case(np.zeros((1, slots, 4), np.float32), np.zeros((1, slots), np.float32),
                np.zeros((1, slots, class_count), np.float32), boxes,
                np.zeros((1, count), np.int32) if labels is None else np.asarray([labels], np.int32),
                np.ones((1, count), bool),
                np.ones((1, count), np.float32) if weights is None else np.asarray([weights], np.float32),
                table, height, width)


def owners_of(case, b, **rule):
    """{slot: index of its box} of picture b, by the slow reference."""
    table = case.anchors
    slots = slow_reference.slots_of(table.sizes, table.strides, case.height, case.width, table.sensitivity)
    predictions = [slow_reference.decode(t, slot) for t, slot in zip(case.t[b], slots)]
    return slow_reference.assign(case.boxes[b], case.valid[b], table.sizes, table.strides, case.height, case.width,
                                 predictions=predictions, **rule)


def truth_of(case):
    return GroundTruth(tf.constant(case.boxes), tf.constant(case.labels), tf.constant(case.valid),
                       tf.constant(case.weights))


lay_out = functools.lru_cache(maxsize=None)(anchors.lay_out)


def loss_of(case, **settings):
    """The package's loss: {name: float}."""
    raw = RawPredictions(tf.constant(case.t), tf.constant(case.objectness), tf.constant(case.classes))
    priors = lay_out(case.anchors, case.height, case.width)
    parts = total.detection_loss(raw, truth_of(case), priors, total.LossSettings(**settings))
    return {name: float(value) for name, value in parts.items()}


def gradients_of(case, part='total', **settings):
    """One part and its gradients by the three raw predictions, which pass ``codec.split`` first."""
    outputs = tf.Variable(np.concatenate([case.t, case.objectness[..., None], case.classes], -1))
    priors = lay_out(case.anchors, case.height, case.width)
    settings = total.LossSettings(**settings)
    with tf.GradientTape() as tape:
        parts = total.detection_loss(codec.split(outputs), truth_of(case), priors, settings)
    gradient = tape.gradient(parts[part], outputs, unconnected_gradients='zero').numpy()
    return parts[part].numpy(), (gradient[..., :4], gradient[..., 4], gradient[..., 5:])


def slow_loss_of(case, held=None, **settings):
    """The slow reference's loss: {name: float}."""
    exact = [np.asarray(x, np.float64) for x in (case.t, case.objectness, case.classes, case.boxes)]
    return slow_reference.loss(*exact, case.labels, case.valid, np.asarray(case.weights, np.float64),
                               case.anchors.sizes, case.anchors.strides, case.height, case.width,
                               case.anchors.sensitivity, held=held, **settings)


def slot_at(case, level, row, column, number):
    """Index of one slot, by looking for it."""
    slots = slow_reference.slots_of(case.anchors.sizes, case.anchors.strides, case.height, case.width)
    same_cell = [s for s, slot in enumerate(slots) if slot[:3] == (level, row, column)]
    return same_cell[number]
