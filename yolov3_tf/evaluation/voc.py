"""Average precision as PASCAL VOC defines it, for every class of a set. Needs NumPy only,
and imports no other module of this package.

The rules are those of the VOC development kit (VOCevaldet.m): detections of a class are taken best
score first over the whole set; each is compared with the object of its class and image that it
overlaps most; the first detection that overlaps an object by MORE than the threshold is a hit, every later one a
false positive; a detection whose object is marked difficult is ignored, however many there are.
"More than" is the wording of the VOC paper (Everingham et al., IJCV 2010) and of the Python port most
published numbers come from; the kit's own code accepts equality, which integer boxes can reach.

Boxes are x1, y1, x2, y2 in pixels with the far edge exclusive. VOC's inclusive corners
xmin, ymin, xmax, ymax are such boxes once written xmin - 1, ymin - 1, xmax, ymax, so its
"width = xmax - xmin + 1" is plain x2 - x1 here.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Truth(NamedTuple):
    """Objects of one image.

    boxes float [m, 4] pixels; classes int [m] in 0..C-1; difficult bool [m], objects to ignore.
    """
    boxes: np.ndarray
    classes: np.ndarray
    difficult: np.ndarray


class Pairing(NamedTuple):
    """Every detection of the set, best score first (ties in the order given), with the object it overlaps most.

    Attributes:
      scores: float64 [n].
      classes: int64 [n].
      overlaps: float64 [n] overlap with the object of its class and image that it overlaps most; -inf if there is none.
      objects: int64 [n] number of that object in the set; has no meaning where the overlap is -inf.
      difficult: bool [n], whether that object is ignored.
      positives: int64 [C] objects of each class, without the ignored ones.
    """
    scores: np.ndarray
    classes: np.ndarray
    overlaps: np.ndarray
    objects: np.ndarray
    difficult: np.ndarray
    positives: np.ndarray


class Curve(NamedTuple):
    """Precision and recall of one class after each of its k detections that are not ignored, best score first.

    recall, precision, scores: float64 [k]; positives: the number of objects. Recall is nan if there are none.
    """
    recall: np.ndarray
    precision: np.ndarray
    scores: np.ndarray
    positives: int


def iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union in 0..1, boxes [..., 4] broadcast; 0 for two boxes without area."""
    shared = _area(np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:]))
    return _ratio(shared, _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - shared)


def giou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Generalised IoU in -1..1: IoU - (hull - union) / hull (Rezatofighi et al., CVPR 2019, algorithm 1)."""
    shared = _area(np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:]))
    union = _area(a[..., :2], a[..., 2:]) + _area(b[..., :2], b[..., 2:]) - shared
    hull = _area(np.minimum(a[..., :2], b[..., :2]), np.maximum(a[..., 2:], b[..., 2:]))
    return _ratio(shared, union) - _ratio(hull - union, hull)


CRITERIA = {'iou': iou, 'giou': giou}


def pair(truths: Sequence[Truth], detections: Sequence[Any], num_classes: int,
         criterion: str = 'iou') -> Pairing:
    """Finds for every detection the object it overlaps most; thresholds come later, in ``curve``.

    The object that a detection is compared with does not depend on other detections, so one table of overlaps
    for each image is enough and no loop over detections is needed.

    Args:
      truths: one for each image.
      detections: one for each image in the same order, with attributes boxes float [n, 4] pixels,
        scores float [n], classes int [n].
      num_classes: C.
      criterion: 'iou', or 'giou' for the GIoU authors' AP, whose overlap is GIoU at the same thresholds.

    Raises:
      ValueError: unknown criterion, another number of images, or a class outside 0..C-1.
    """
    if criterion not in CRITERIA:
        raise ValueError(f'unknown criterion {criterion!r}: expected one of {", ".join(sorted(CRITERIA))}')
    if len(truths) != len(detections):
        raise ValueError(f'expected detections of {len(truths)} images, got those of {len(detections)}')
    columns, seen = [(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, bool))], 0
    for truth, found in zip(truths, detections):
        columns.append(_nearest(truth, found, CRITERIA[criterion], seen))
        seen += len(truth.boxes)
    overlaps, objects, difficult = (np.concatenate(column) for column in zip(*columns))
    scores = _join([found.scores for found in detections], np.float64)
    classes = _checked([found.classes for found in detections], num_classes)
    order = np.argsort(-scores, kind='stable')
    return Pairing(scores[order], classes[order], overlaps[order], objects[order], difficult[order],
                   _positives(truths, num_classes))


def curve(pairing: Pairing, class_id: int, threshold: float = .5) -> Curve:
    """Precision and recall of class ``class_id`` where a hit overlaps its object by more than ``threshold``."""
    mine = pairing.classes == class_id
    near = pairing.overlaps[mine] > threshold
    ignored = near & pairing.difficult[mine]
    claims = np.flatnonzero(near & ~ignored)
    _, first = np.unique(pairing.objects[mine][claims], return_index=True)
    hit = np.zeros(len(near), bool)
    hit[claims[first]] = True
    hits = np.cumsum(hit[~ignored])
    positives = int(pairing.positives[class_id])
    return Curve(recall=hits / positives if positives else np.full(len(hits), np.nan),
                 precision=hits / np.arange(1, len(hits) + 1),
                 scores=pairing.scores[mine][~ignored], positives=positives)


def by_class(pairing: Pairing) -> list[Pairing]:
    """The pairing of each class alone, for several calls of ``curves``."""
    count = len(pairing.positives)
    order = np.argsort(pairing.classes, kind='stable')
    ends = np.cumsum(np.bincount(pairing.classes, minlength=count))
    columns = [np.split(column[order], ends[:-1]) if count else [] for column in pairing[:-1]]
    return [Pairing(scores, classes, overlaps, objects, difficult, pairing.positives)
            for scores, classes, overlaps, objects, difficult in zip(*columns)]


def curves(pairing: Pairing | Sequence[Pairing], threshold: float = .5) -> list[Curve]:
    """The curve of each class; of a pairing, or of its parts ``by_class``."""
    parts = by_class(pairing) if isinstance(pairing, Pairing) else pairing
    return [curve(part, class_id, threshold) for class_id, part in enumerate(parts)]


def hits(of: Curve) -> np.ndarray:
    """bool [k]: which of the curve's detections are hits; none without objects."""
    return np.diff(of.recall, prepend=0.) > 0 if of.positives else np.zeros(len(of.scores), bool)


def corners(of: Curve) -> Curve:
    """The curve's points where recall changes, one a hit: best precision, and so every AP, depends on no other."""
    kept = hits(of)
    return Curve(of.recall[kept], of.precision[kept], of.scores[kept], of.positives)


def area_ap(of: Curve) -> float:
    """All-point AP (VOC2010 on): area under the precision made non-increasing; nan without objects."""
    if not of.positives:
        return float('nan')
    steps = np.diff(of.recall, prepend=0.)
    return float(np.sum(steps * _envelope(of.precision)))


def eleven_point_ap(of: Curve) -> float:
    """VOC07 AP: mean of the best precision at recall >= 0, .1, ... 1; nan for a class without objects.

    The levels are multiples of the float .1, as in the Python port and the toolkits that figures are
    published from: .3, .6 and .7 come out one rounding too high, so a recall of exactly 9 / 15 does
    not reach .6. It matters when a recall hits a level exactly, and the published figures need it.
    """
    return float(np.mean(precision_at(of, np.linspace(0, 1, 11))))


def precision_at(of: Curve, levels: Sequence[float] | np.ndarray) -> np.ndarray:
    """Best precision at a recall of at least each level, 0 where it is never reached; nan without objects."""
    if not of.positives:
        return np.full(len(levels), np.nan)
    reached = np.searchsorted(of.recall, levels, side='left')
    return np.append(_envelope(of.precision), 0.)[reached]


def mean(values: ArrayLike) -> float:
    """Mean over the classes that have objects; those without (nan) are left out. nan where none has."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    return float(known.mean()) if len(known) else float('nan')


def _nearest(truth, found, overlap, seen):
    """For each detection the object of its class that it overlaps most: overlap, number and mark, three arrays [n]."""
    n = len(found.boxes)
    if not n or not len(truth.boxes):
        return np.full(n, -np.inf), np.zeros(n, np.int64), np.zeros(n, bool)
    boxes, objects = np.asarray(found.boxes, np.float64), np.asarray(truth.boxes, np.float64)
    table = overlap(boxes[:, None], objects[None])    # [detections, objects]
    table[np.asarray(found.classes)[:, None] != np.asarray(truth.classes)] = -np.inf
    best = table.argmax(axis=1)
    return table[np.arange(n), best], best + seen, np.asarray(truth.difficult, bool)[best]


def _positives(truths, num_classes):
    classes = _checked([truth.classes for truth in truths], num_classes)
    counted = ~_join([truth.difficult for truth in truths], bool)
    return np.bincount(classes[counted], minlength=num_classes)


def _checked(parts, num_classes):
    classes = _join(parts, np.int64)
    if len(classes) and not 0 <= classes.min() <= classes.max() < num_classes:
        raise ValueError(f'expected classes in 0..{num_classes - 1}, got {classes.min()}..{classes.max()}')
    return classes


def _join(parts, dtype):
    return np.concatenate([np.zeros(0, dtype)] + [np.asarray(part, dtype) for part in parts])


def _envelope(precision):
    return np.maximum.accumulate(precision[::-1])[::-1]


def _area(near, far):
    size = np.maximum(far - near, 0.)
    return size[..., 0] * size[..., 1]


def _ratio(part, whole):
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
