"""Why detections are wrong, and how much AP each kind of error costs: TIDE (Bolya et al., ECCV 2020).

Detections of an image are matched best score first, each with the object of its class that it overlaps most among
those that are free, from IoU .5 on; at most the 100 best of an image count. Of those that match nothing:

    localisation    IoU with an object of its class in [.1, .5]
    classification  IoU with an object of another class of at least .5
    duplicate       IoU with an object of its class of at least .5, which a better detection has
    background      IoU with any object at most .1
    both            the rest: another class, and IoU in between

in this order, the first that fits; ``missed`` are the objects without a detection that no localisation or
classification error could become. The cost of a kind is how much AP rises where its errors alone are repaired: the
best localisation or classification error of a free object becomes right (with the object's class), other errors of
the kind disappear, missed objects do not count. AP is COCO's at IoU .5 with 101 recalls.

Objects to ignore are regions, as in TIDE: a detection without a match that lies by more than half in one of its class
counts neither way, but can still be the repaired one. One difference from ``tidecv``: a class without objects is in no
mean, as everywhere here, where tidecv counts it as an AP of 0 while it has detections.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yolov3_tf.evaluation import voc
from yolov3_tf.evaluation.confusion import inside
from yolov3_tf.structures import Detections, Record

KINDS = ('classification', 'localisation', 'both', 'duplicate', 'background', 'missed')
FOREGROUND, BACKGROUND = .5, .1     # IoU
MOST = 100                          # detections of an image
LEVELS = np.arange(101) / 100       # of recall
RIGHT = -1                          # in place of the number of a kind
NONE = -1


class Errors(NamedTuple):
    """Attributes:
      ap: mean AP at IoU .5, 0..1; nan without objects.
      costs: kind -> rise of ``ap`` without its errors, at least 0.
      counts: kind -> number of its errors.
    """
    ap: float
    costs: dict[str, float]
    counts: dict[str, int]


class _Rows(NamedTuple):
    """One row a detection: score, class, kind (or RIGHT), whether ignored, and the free object it could become."""
    scores: np.ndarray
    classes: np.ndarray
    kinds: np.ndarray
    ignored: np.ndarray
    objects: np.ndarray


def find(records: Sequence[Record], detections: Sequence[Detections], num_classes: int) -> Errors:
    """The errors of detections; one item a record, in the same order."""
    rows, truth_classes, free = _all_rows(records, detections)
    positives = np.bincount(truth_classes, minlength=num_classes)
    counted = positives > 0
    repairs = _first_of_each(rows.objects)
    missed = np.setdiff1d(np.flatnonzero(free), rows.objects[repairs])
    ap = _mean_ap(rows, positives, counted, np.zeros(len(rows.scores), bool))
    cost, late = {}, rows.kinds == RIGHT
    for number, kind in enumerate(KINDS):
        if kind == 'missed':
            fixed, left = rows, positives - np.bincount(truth_classes[missed], minlength=num_classes)
        else:
            fixed, left = _repaired(rows, number, repairs, truth_classes), positives
        without = _mean_ap(fixed, left, counted, late)
        cost[kind] = max((1. if np.isnan(without) else without) - ap, 0.) if counted.any() else 0.    # nan: all done
    shown = rows.kinds[~rows.ignored]
    count = {kind: int((shown == number).sum()) for number, kind in enumerate(KINDS)}
    return Errors(ap, cost, {**count, 'missed': len(missed)})


def _all_rows(records, detections):
    """Rows of all detections, in the order of images and then scores; class and freedom of every object."""
    parts, classes, free, seen = [], [np.zeros(0, int)], [np.zeros(0, bool)], 0
    for record, found in zip(records, detections):
        part, of_image, unused = _rows(record, found)
        parts.append(part._replace(objects=np.where(part.objects == NONE, NONE, part.objects + seen)))
        classes.append(of_image)
        free.append(unused)
        seen += len(of_image)
    none = np.zeros(0, int)
    empty = _Rows(np.zeros(0), none, none, np.zeros(0, bool), none)
    joined = _Rows(*(np.concatenate(columns) for columns in zip(empty, *parts)))
    return joined, np.concatenate(classes), np.concatenate(free)


def _rows(record, found):
    """Rows of one image, and class and freedom of its objects that count."""
    order = np.argsort(-np.asarray(found.scores, np.float64), kind='stable')[:MOST]
    boxes = np.asarray(found.boxes, np.float64).reshape(-1, 4)[order]
    classes = np.asarray(found.classes, int)[order]
    skip = np.asarray(record.difficult, bool) | np.asarray(record.crowd, bool)
    truth, truth_classes = np.asarray(record.boxes, np.float64).reshape(-1, 4), np.asarray(record.classes, int)
    overlaps = voc.iou(boxes[:, None], truth[None, ~skip])
    same = classes[:, None] == truth_classes[None, ~skip]
    owner = _match(overlaps * same)
    right = np.isin(np.arange(len(order)), owner)
    inside_region = (inside(boxes, truth[skip]) > FOREGROUND) & (classes[:, None] == truth_classes[skip])
    kinds, objects = _kinds(overlaps, same, owner, right)
    return (_Rows(np.asarray(found.scores, np.float64)[order], classes, kinds, ~right & inside_region.any(axis=1),
                  objects), truth_classes[~skip], owner == NONE)


def _match(overlaps):
    """int [m]: the detection (best score first) of each object, or NONE; overlaps [n, m] are 0 for another class."""
    owner, left = np.full(overlaps.shape[1], NONE), overlaps.copy()
    for row in np.flatnonzero((overlaps >= FOREGROUND).any(axis=1)):
        best = left[row].argmax()
        if left[row, best] >= FOREGROUND:
            owner[best], left[:, best] = row, 0.
    return owner


def _kinds(overlaps, same, owner, right):
    """The kind of each detection, and the free object that it could become (NONE: it would only disappear)."""
    n, m = overlaps.shape
    if not m:
        return np.full(n, KINDS.index('background')), np.full(n, NONE)
    own, other = overlaps * same, overlaps * ~same
    taken = (own * (owner != NONE)).max(axis=1)
    conditions = [right, (own.max(axis=1) >= BACKGROUND) & (own.max(axis=1) <= FOREGROUND),
                  other.max(axis=1) >= FOREGROUND, taken >= FOREGROUND, overlaps.max(axis=1) <= BACKGROUND]
    names = ['localisation', 'classification', 'duplicate', 'background']
    kinds = np.select(conditions, [RIGHT, *map(KINDS.index, names)], KINDS.index('both'))
    target = np.where(kinds == KINDS.index('localisation'), own.argmax(axis=1), other.argmax(axis=1))
    movable = np.isin(kinds, [KINDS.index('localisation'), KINDS.index('classification')])
    return kinds, np.where(movable & (owner[target] == NONE), target, NONE)


def _first_of_each(objects):
    """Rows that repair an object: of those that could, the one with the best score, which comes first."""
    values, first = np.unique(objects, return_index=True)
    return first[values != NONE]


def _repaired(rows, kind, repairs, truth_classes):
    """The rows with the errors of one kind repaired or taken away."""
    fixed = repairs[rows.kinds[repairs] == kind]
    classes, kinds, ignored = rows.classes.copy(), rows.kinds.copy(), rows.ignored | (rows.kinds == kind)
    classes[fixed], kinds[fixed], ignored[fixed] = truth_classes[rows.objects[fixed]], RIGHT, False
    return rows._replace(classes=classes, kinds=kinds, ignored=ignored)


def _mean_ap(rows, positives, counted, late):
    """COCO's AP at one threshold, mean over the counted classes that still have objects or detections.

    Of equal scores the ``late`` rows come last: tidecv adds what was right before after the repaired errors.
    """
    shown = np.flatnonzero(~rows.ignored)
    order = shown[np.lexsort((late[shown], -rows.scores[shown]))]
    classes, right = rows.classes[order], rows.kinds[order] == RIGHT
    scores = [_ap(right[classes == k], positives[k]) for k in np.flatnonzero(counted)
              if positives[k] or (classes == k).any()]
    return float(np.mean(scores)) if scores else float('nan')


def _ap(right, positives):
    if not positives:
        return 0.
    hits = np.cumsum(right)
    return float(voc.precision_at(voc.Curve(hits / positives, hits / np.arange(1, len(hits) + 1),
                                            np.zeros(len(hits)), int(positives)), LEVELS).mean())
