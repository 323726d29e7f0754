"""The score to show detections from: where F1 is best, for each class and over all of them.

A detection is right where VOC's rules count a hit at IoU .5 (``voc.curve``). With TP right ones among n detections that
score above the threshold, and m objects: precision TP / n, recall TP / m, F1 = 2 TP / (n + m), their harmonic mean.
Over all classes TP, n and m are sums, so that precision is the part of all shown boxes that are right; a class
without objects adds its false positives. Of equal F1 the higher score is taken: it shows fewer boxes.

A threshold lies between the score of the last detection shown and the first one hidden, with as few decimals as fit,
because every program here shows what scores ABOVE its threshold.
"""
from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from yolov3_tf.evaluation import voc
from yolov3_tf.evaluation.voc import Curve

CHECKPOINT = ('checkpoints', 'best.h5')                 # of a run, and where the run keeps the numbers of it:
METRICS = ('evaluation', 'metrics.json')
KEY = 'operating_point'                                 # in metrics.json and in the metadata of an export


class OperatingPoint(NamedTuple):
    """Attributes: ``score``, the threshold to exceed; f1, precision and recall there, 0..1."""
    score: float
    f1: float
    precision: float
    recall: float


class OperatingPoints(NamedTuple):
    """Attributes: ``overall``, over all classes; per_class: the same by class name, without classes that have none.

    There is none without objects, or where no detection is right.
    """
    overall: OperatingPoint
    per_class: dict[str, OperatingPoint]


class F1Curve(NamedTuple):
    """F1, precision and recall of the detections that score at least ``scores``, each distinct score, highest first.

    All float64 [k].
    """
    scores: np.ndarray
    f1: np.ndarray
    precision: np.ndarray
    recall: np.ndarray


def find(class_names: Sequence[str], curves: Sequence[Curve]) -> OperatingPoints | None:
    """The operating points of a report's curves; None where no detection is right."""
    overall = best(f1_curve(pooled(curves)))
    if overall is None:
        return None
    points = {name: best(f1_curve(curve)) for name, curve in zip(class_names, curves)}
    return OperatingPoints(overall, {name: point for name, point in points.items() if point is not None})


def pooled(curves: Sequence[Curve]) -> Curve:
    """One curve of the detections and objects of all classes."""
    scores = np.concatenate([np.zeros(0), *(curve.scores for curve in curves)])
    hit = np.concatenate([np.zeros(0, bool), *(voc.hits(curve) for curve in curves)])
    order = np.argsort(-scores, kind='stable')
    count, positives = np.cumsum(hit[order]), sum(curve.positives for curve in curves)
    return Curve(count / positives if positives else np.full(len(count), np.nan),
                 count / np.arange(1, len(count) + 1), scores[order], positives)


def f1_curve(curve: Curve) -> F1Curve:
    """F1 over the distinct scores; empty for a class without objects."""
    if not curve.positives or not len(curve.scores):
        return F1Curve(*[np.zeros(0)] * 4)
    last = np.append(np.flatnonzero(np.diff(curve.scores)), len(curve.scores) - 1)    # of each run of equal scores
    hits = np.cumsum(voc.hits(curve))[last]
    return F1Curve(curve.scores[last], 2 * hits / (last + 1 + curve.positives), hits / (last + 1),
                   hits / curve.positives)


def best(of: F1Curve) -> OperatingPoint | None:
    """The point of the highest F1, or None where it is 0 everywhere."""
    if not len(of.f1) or of.f1.max() <= 0:
        return None
    chosen = int(of.f1.argmax())                        # the first, which has the higher score
    above = float(of.scores[chosen])
    hidden = float(of.scores[chosen + 1]) if chosen + 1 < len(of.scores) else min(0., above - 1)
    return OperatingPoint(between(hidden, above), *(float(values[chosen]) for values in of[1:]))


def between(low: float, high: float) -> float:
    """A number in [low, high) with few decimals, near the middle; also as float32, in which scores are compared."""
    middle = (low + high) / 2
    for digits in range(1, 9):
        value = round(middle, digits)
        if low <= value < high and np.float32(value) < np.float32(high):
            return value
    return low


def to_values(points: OperatingPoints | None) -> dict[str, Any] | None:
    """JSON values: score, f1, precision, recall, and per_class with the same by class name."""
    if points is None:
        return None
    per_class = {name: point._asdict() for name, point in points.per_class.items()}
    return {**points.overall._asdict(), 'per_class': per_class}


def from_values(values: Mapping[str, Any] | None) -> OperatingPoints | None:
    """The inverse of ``to_values``.

    Raises:
      ValueError: the values are something else.
    """
    if values is None:
        return None
    try:
        return OperatingPoints(_point(values), {str(name): _point(row) for name, row in values['per_class'].items()})
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f'expected an operating point, got {error!r}') from error


def of_checkpoint(path: str | os.PathLike) -> OperatingPoints | None:
    """What the run of a best checkpoint found on its validation data; None where there is none."""
    folder, name = os.path.split(os.path.abspath(path))
    if (os.path.basename(folder), name) != CHECKPOINT:
        return None
    try:
        with open(os.path.join(os.path.dirname(folder), *METRICS), encoding='utf-8') as file:
            return from_values(json.load(file).get(KEY))
    except (OSError, ValueError, AttributeError):       # none yet, or damaged: the default will do
        return None


def _point(values) -> OperatingPoint:
    point = OperatingPoint(*(float(values[name]) for name in OperatingPoint._fields))
    if not all(map(math.isfinite, point)):
        raise ValueError(f'expected finite numbers, got {tuple(point)}')
    return point
