"""Whether a score can be read as the probability that the detection is right: reliability by score, and its error.

The expected calibration error (Naeini et al., AAAI 2015; Guo et al., ICML 2017) is the mean distance of precision from
mean score over bins of equal width, weighted by their detections. A detection is right where it is a hit at IoU .5;
those of classes without objects are wrong, and ignored ones are left out.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yolov3_tf.evaluation import operating_points, voc
from yolov3_tf.evaluation.voc import Curve

BINS = 10


class Calibration(NamedTuple):
    """Attributes:
      error: the expected calibration error, 0..1; nan without detections or with scores outside 0..1.
      counts: int [B] detections of each bin of scores, from 0 up.
      scores, precision: float64 [B] mean score and part that is right; nan for an empty bin.
    """
    error: float
    counts: np.ndarray
    scores: np.ndarray
    precision: np.ndarray


def find(curves: Sequence[Curve], least: float = 0.) -> Calibration:
    """The calibration of a report's detections that score at least ``least``, over all classes."""
    pooled = operating_points.pooled(curves)
    right, scores = voc.hits(pooled), pooled.scores
    right, scores = right[scores >= least], scores[scores >= least]
    if not len(scores) or scores.min() < 0 or scores.max() > 1:
        return Calibration(float('nan'), np.zeros(BINS, int), *np.full((2, BINS), np.nan))
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    means, precision = (_ratio(np.bincount(bins, weights, BINS), counts) for weights in (scores, right))
    error = np.nansum(counts * np.abs(precision - means)) / counts.sum()
    return Calibration(float(error), counts, means, precision)


def _ratio(sums, counts):
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
