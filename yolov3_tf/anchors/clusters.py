"""Anchors from the boxes of a dataset: k-means under the IoU of shapes, and how well anchors fit boxes."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from yolov3_tf.errors import InputError

ITERATIONS = 300
RESTARTS = 5
DECIMALS = 6                # of a pixel, to which shapes are rounded when they are counted
MOST_BOXES = 100_000        # clustered; of more boxes a sample is, whose clusters differ by less than restarts do
COVERED = .5                # IoU from which an anchor counts as fitting a box


class Quality(NamedTuple):
    """How well anchors fit the shapes of boxes.

    Attributes:
      average_iou: mean over the boxes of the IoU with their best anchor, both with the same centre.
      recall: share of the boxes whose best anchor has an IoU of ``COVERED`` or more: the best possible recall at
        that IoU of a network that only found every object and left the anchor's shape as it is.
    """
    average_iou: float
    recall: float


def shape_iou(sizes: ArrayLike, priors: ArrayLike) -> np.ndarray:
    """IoU of boxes [n, 2] and priors [k, 2] (width, height) with the same centre, float64 [n, k]."""
    sizes, priors = np.asarray(sizes, np.float64)[:, None], np.asarray(priors, np.float64)[None]
    shared = np.minimum(sizes, priors).prod(axis=-1)
    return shared / (sizes.prod(axis=-1) + priors.prod(axis=-1) - shared)


def quality(sizes: ArrayLike, priors: ArrayLike) -> Quality:
    """Evaluates anchors [k, 2] on boxes [n, 2], both in pixels of the network input; n at least 1."""
    best = shape_iou(sizes, np.reshape(priors, [-1, 2])).max(axis=1)
    return Quality(float(best.mean()), float((best >= COVERED).mean()))


def cluster(sizes: ArrayLike, count: int, seed: int = 0) -> np.ndarray:
    """k-means with the distance 1 - IoU (Redmon & Farhadi 2017, section 2), the best of several starts.

    A start takes boxes far from those it has (k-means++); a cluster is moved to the mean of its boxes. A cluster
    that has lost all its boxes takes the box that fits worst, so none stays empty. Means need not better the
    average IoU in every step, so the best state found is returned.

    Args:
      sizes: float [n, 2] widths and heights of the boxes in pixels of the network input, all positive.
      count: clusters wanted.
      seed: int; the same seed and boxes give the same clusters.

    Returns:
      float64 [count, 2], by area.

    Raises:
      InputError: fewer different shapes than clusters.
    """
    boxes = np.asarray(sizes, np.float64).reshape(-1, 2)
    rng = np.random.default_rng(seed)
    if len(boxes) > MOST_BOXES:
        boxes = boxes[rng.choice(len(boxes), MOST_BOXES, replace=False)]
    shapes = len(np.unique(boxes.round(DECIMALS), axis=0))
    if shapes < count:
        raise InputError(f'{count} anchors from {len(boxes)} boxes of {shapes} different shapes: ask for fewer anchors')
    found = [_descend(boxes, _start(boxes, count, rng)) for _ in range(RESTARTS)]
    best = max(found, key=lambda one: one[0])[1]
    return best[np.argsort(best.prod(axis=1), kind='stable')]


def levels(sizes: ArrayLike, counts: Sequence[int], seed: int = 0) -> tuple[tuple[tuple[float, float], ...], ...]:
    """Anchors as ``Anchors.sizes`` from ``cluster``, to a tenth of a pixel; the first level takes the smallest.

    Args:
      counts: anchors of each level, finest level first.

    Raises:
      InputError: as ``cluster``.
    """
    priors = cluster(sizes, sum(counts), seed).round(1).clip(.1)
    pairs = [(width, height) for width, height in priors.tolist()]
    return tuple(tuple(pairs[end - count:end]) for count, end in zip(counts, np.cumsum(counts).tolist()))


def _start(sizes, count, rng):
    """Boxes of different shapes: each is drawn with the square of its distance to those drawn before."""
    chosen = [int(rng.integers(len(sizes)))]
    while len(chosen) < count:
        far = (1 - shape_iou(sizes, sizes[chosen]).max(axis=1)).clip(0) ** 2
        chosen.append(int(rng.choice(len(sizes), p=far / far.sum() if far.any() else None)))
    return sizes[chosen]


def _descend(sizes, priors):
    """(average IoU, priors) of the best state between a start and convergence."""
    best, before = (-1., priors), None
    for _ in range(ITERATIONS):
        overlaps = shape_iou(sizes, priors)
        nearest, fits = overlaps.argmax(axis=1), overlaps.max(axis=1)
        best = max(best, (fits.mean(), priors), key=lambda one: one[0])
        if before is not None and (nearest == before).all():
            break
        before = nearest
        priors = _means(sizes, nearest, fits, len(priors))
    return best


def _means(sizes, nearest, fits, count):
    worst = iter(np.argsort(fits, kind='stable'))
    members = np.bincount(nearest, minlength=count)
    totals = np.stack([np.bincount(nearest, sizes[:, side], count) for side in (0, 1)], axis=1)
    means = totals / np.maximum(members, 1)[:, None]
    for number in np.flatnonzero(members == 0):
        means[number] = sizes[next(worst)]
    return means
