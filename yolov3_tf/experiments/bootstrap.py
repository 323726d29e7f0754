"""A paired bootstrap over images: how much a difference between detectors could change on other images.

The object that a detection hits depends only on its own image. So a set of images drawn with replacement is the same
set with a weight on each image: the hits are found once (by ``evaluation.voc`` and by COCOeval), and one matrix
product weights all resamples. Weights of 1 give the scores of ``evaluation.report``.

The interval is the percentile interval of Efron and Tibshirani (An Introduction to the Bootstrap, 1993, ch. 13). The
seeds are not resampled, so it does not cover the variation over seeds.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yolov3_tf.evaluation import coco, voc
from yolov3_tf.structures import Detections, Record

MEASURES = ('mAP', 'mAP_07', 'mAP_giou', 'coco_AP')         # names of evaluation.report's summary
ELEVEN, HUNDRED = np.linspace(0, 1, 11), np.linspace(0, 1, 101)         # levels of recall: VOC07's, COCO's
CELLS = 1 << 22                                 # largest number of entries in one table of counts


class Hits(NamedTuple):
    """Detections of one class, best score first, without the ignored ones.

    images: int [n] index of the image of each; hit: bool [n]; positives: int [P] objects of the class in each image.
    """
    images: np.ndarray
    hit: np.ndarray
    positives: np.ndarray


def resamples(images: int, count: int, seed: int = 0) -> np.ndarray:
    """Weights [1 + count, images] float32: a row of ones, then for each resample how often each image is drawn."""
    drawn = np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=count)
    return np.concatenate([np.ones((1, images)), drawn]).astype(np.float32)


def evaluate(records: Sequence[Record], detections: Sequence[Detections], num_classes: int,
             weights: np.ndarray) -> dict[str, np.ndarray]:
    """Each of ``MEASURES`` under each row of weights, float64 [rows], 0..1; nan where no object is drawn.

    Args:
      records, detections: one item an image, in the same order.
      weights: float32 [rows, P] with whole numbers; P is the number of images.
    """
    truths = [voc.Truth(one.boxes, one.classes, np.asarray(one.difficult, bool) | np.asarray(one.crowd, bool))
              for one in records]
    by_iou, by_giou = (hits(truths, detections, num_classes, criterion) for criterion in ('iou', 'giou'))
    eleven_points = [average_precisions(of, weights, ELEVEN) for of in by_iou]
    decided = coco.decide(records, detections, num_classes)
    return dict(mAP=_mean([average_precisions(of, weights) for of in by_iou]), mAP_07=_mean(eleven_points),
                mAP_giou=_mean([average_precisions(of, weights) for of in by_giou]),
                coco_AP=_mean([_over_thresholds(of, weights) for of in decided]))


def hits(truths: Sequence[voc.Truth], detections: Sequence[Detections], num_classes: int, criterion: str = 'iou',
         threshold: float = .5) -> list[Hits]:
    """The hits of each class; ``voc.curve`` decides what is a hit and what is ignored."""
    pairing = voc.pair(truths, detections, num_classes, criterion)
    scores = np.concatenate([np.zeros(0)] + [np.asarray(found.scores, np.float64) for found in detections])
    images = np.repeat(np.arange(len(detections)), [len(found.scores) for found in detections])
    images = images[np.argsort(-scores, kind='stable')]         # the order of the pairing
    found = []
    for class_id, of in enumerate(voc.curves(pairing, threshold)):
        counted = (pairing.classes == class_id) & ~((pairing.overlaps > threshold) & pairing.difficult)
        positives = np.array([np.sum((np.asarray(truth.classes) == class_id) & ~np.asarray(truth.difficult, bool))
                              for truth in truths], np.int64)
        found.append(Hits(images[counted], np.diff(of.recall, prepend=0.) > 0, positives))
    return found


def average_precisions(of: Hits, weights: np.ndarray, levels: np.ndarray | None = None) -> np.ndarray:
    """AP of one class under each row of weights, float64 [rows]; nan without objects.

    Only precision and recall at the hits are needed: between two hits precision falls and recall does not change.

    Args:
      levels: of recall, increasing from 0, at which the best precision at this recall or more is averaged; None for
        all points.
    """
    positives = weights.astype(np.float64) @ of.positives
    positions = np.flatnonzero(of.hit)
    gained = weights[:, of.images[positions]].astype(np.float64)             # [rows, hits]
    reached, seen = np.cumsum(gained, axis=1), _seen(of, positions, weights)
    precision = np.divide(reached, seen, out=np.zeros_like(reached), where=seen > 0)
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    known = np.where(positives > 0, positives, np.nan)
    if levels is None:
        return np.sum(gained * best, axis=1) / known
    recall = reached / np.maximum(positives, 1)[:, None]
    passed = np.searchsorted(levels, recall.ravel(), side='right').reshape(recall.shape)     # levels up to each hit
    return np.sum(np.diff(passed, axis=1, prepend=0) * best, axis=1) / len(levels) / np.where(positives > 0, 1, np.nan)


def _over_thresholds(of: coco.Decisions, weights) -> np.ndarray:
    """COCO's AP of one class: mean over its thresholds of the precision at 101 levels."""
    aps = [average_precisions(Hits(of.images[~ignored], hit[~ignored], of.positives), weights, HUNDRED)
           for hit, ignored in zip(of.hit, of.ignored)]
    return np.mean(aps, axis=0)


def _seen(of: Hits, positions, weights) -> np.ndarray:
    """The weight of all detections up to and including each hit, [rows, hits]; the sums are exact below 2^24."""
    segment = np.searchsorted(positions, np.arange(len(of.hit)))            # the hit that each is or comes before
    images, width = weights.shape[1], max(CELLS // weights.shape[1], 1)
    found = np.zeros((len(weights), len(positions)))
    for first in range(0, len(positions), width):
        last = min(first + width, len(positions))
        inside = (segment >= first) & (segment < last)
        cells = of.images[inside] * (last - first) + segment[inside] - first
        table = np.bincount(cells, minlength=images * (last - first)).reshape(images, last - first)
        found[:, first:last] = weights @ table.astype(np.float32)
    return np.cumsum(found, axis=1)


def interval(samples: np.ndarray, level: float = .95) -> tuple[float, float]:
    """The middle ``level`` of samples [n]; nan (a resample without objects) is left out."""
    known = samples[~np.isnan(samples)]
    if not len(known):
        return float('nan'), float('nan')
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _mean(per_class) -> np.ndarray:
    """The mean over the classes that have objects: C arrays [rows] -> [rows]."""
    table = np.array(per_class)
    known = ~np.isnan(table)
    return np.divide(np.where(known, table, 0.).sum(axis=0), known.sum(axis=0),
                     out=np.full(table.shape[1], np.nan), where=known.any(axis=0))
