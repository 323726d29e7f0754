"""Which class is taken for which: the confusion matrix with background, at one score threshold.

In each image, detections and objects are paired whatever their classes, best overlap first, each at most once, where
they overlap by more than half; of equal overlaps a pair of the same class comes first, then the higher score. A
detection without an object is "background" taken for its class (a false positive); an object without a detection is
taken for background (missed). That is how the known tools count (ultralytics, supervision), which differ in ties.

Objects to ignore (difficult, crowd) are in no row. A detection that pairs with no other object and lies by more than
half inside one of them is in no column, whatever its class: nobody said what is there.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yolov3_tf.evaluation import voc
from yolov3_tf.structures import Detections, Record

OVERLAP = .5


class Matches(NamedTuple):
    """How the detections of an image, those above the threshold, meet its objects; positions in the image's arrays.

    Attributes:
      pairs: int [k, 2] detection and object.
      false: int [f] detections without an object.
      missed: int [m] objects without a detection.
      wrong: number of pairs of two classes.
    """
    pairs: np.ndarray
    false: np.ndarray
    missed: np.ndarray
    wrong: int


class Confusion(NamedTuple):
    """Attributes:
      matrix: int64 [C + 1, C + 1]: rows are true classes, columns predicted ones; the last of each is background.
      matches: one for each image.
      score: the threshold; detections score above it.
    """
    matrix: np.ndarray
    matches: list[Matches]
    score: float

    @property
    def confused(self) -> list[tuple[int, int, int]]:
        """(true class, predicted class, count) of the pairs of two classes, the most frequent first."""
        table = self.matrix[:-1, :-1].copy()
        np.fill_diagonal(table, 0)
        true, predicted = np.nonzero(table)
        order = np.argsort(-table[true, predicted], kind='stable')
        return [(int(true[k]), int(predicted[k]), int(table[true[k], predicted[k]])) for k in order]


def find(records: Sequence[Record], detections: Sequence[Detections], num_classes: int, score: float) -> Confusion:
    """The matrix over all images.

    Args:
      records: one for each image; detections: one for each, in the same order.
      score: the threshold, for example the operating point's.
    """
    matrix = np.zeros((num_classes + 1, num_classes + 1), np.int64)
    matches = [match(record, found, score) for record, found in zip(records, detections)]
    for record, found, of in zip(records, detections, matches):
        true, predicted = np.asarray(record.classes, int), np.asarray(found.classes, int)
        np.add.at(matrix, (true[of.pairs[:, 1]], predicted[of.pairs[:, 0]]), 1)
        np.add.at(matrix, (num_classes, predicted[of.false]), 1)
        np.add.at(matrix, (true[of.missed], num_classes), 1)
    return Confusion(matrix, matches, score)


def match(record: Record, found: Detections, score: float) -> Matches:
    """Pairs the detections above the score with the objects of one image."""
    shown = np.flatnonzero(np.asarray(found.scores) > score)
    ignored = np.asarray(record.difficult, bool) | np.asarray(record.crowd, bool)
    objects = np.flatnonzero(~ignored)
    boxes, truth = (np.asarray(part, np.float64).reshape(-1, 4) for part in (found.boxes, record.boxes))
    overlaps = voc.iou(boxes[shown][:, None], truth[objects][None])
    rows, columns = np.nonzero(overlaps > OVERLAP)
    near, close = shown[rows], objects[columns]
    differ = np.asarray(found.classes)[near] != np.asarray(record.classes)[close]
    pairs, used, claimed = [], set(), set()
    for k in np.lexsort((close, near, -np.asarray(found.scores)[near], differ, -overlaps[rows, columns])):
        detection, one = int(near[k]), int(close[k])
        if detection not in used and one not in claimed:
            used.add(detection)
            claimed.add(one)
            pairs.append((detection, one))
    false = np.array([k for k in shown if k not in used], int)
    false = false[~(inside(boxes[false], truth[ignored]) > OVERLAP).any(axis=1)]
    kept = np.array(pairs, int).reshape(-1, 2)
    wrong = int((np.asarray(found.classes)[kept[:, 0]] != np.asarray(record.classes)[kept[:, 1]]).sum())
    return Matches(kept, false, np.array([k for k in objects if k not in claimed], int), wrong)


def inside(boxes: np.ndarray, regions: np.ndarray) -> np.ndarray:
    """float64 [n, m]: the part of each box that lies in each region, 0 for a box without area. Boxes [n, 4], [m, 4]."""
    shared = np.maximum(np.minimum(boxes[:, None, 2:], regions[None, :, 2:]) -
                        np.maximum(boxes[:, None, :2], regions[None, :, :2]), 0.).prod(axis=-1)
    areas = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.).prod(axis=-1)[:, None]
    return np.divide(shared, areas, out=np.zeros_like(shared), where=areas > 0)
