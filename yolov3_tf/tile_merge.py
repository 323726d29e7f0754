"""One result of the detections in all tiles of an image (``tiling``).

Each tile finds parts of what its edges cut. A part is recognised by an edge on an inner edge of its tile, and

* is dropped where a box of another tile (or of the whole image), at least half as sure, covers it, and either is what
  this tile would see of that box, cut at the tile's edges, or lies in a tile that sees more of the object;
* is joined with the parts of its neighbours where both agree in what the two tiles share;
* is kept as it is otherwise: a box cut short is better than none.

Small objects inside a large one of their class survive, for they are not what a tile would see of the large one.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yolov3_tf import postprocess
from yolov3_tf.structures import Detections

# Detections of an image: a network that has learnt little sees hundreds in each tile, and all pairs are compared.
MOST_MERGED = 5_000
# How near the edge of a box is to the tile's edge that cuts it: a share of the tile's side, or of the box's.
EDGE_OF_TILE, EDGE_OF_BOX = .02, .1
WEAKER = .5             # a box of less than this share of a part's score is no reason to drop the part
COVERED = .5            # share of a part's area from which another box covers it; that box is taken EDGE_OF_BOX larger


def merge(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, tile: np.ndarray, windows: np.ndarray,
          suppression: postprocess.Suppression, num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One result of the detections of all tiles, best score first; of more than ``MOST_MERGED`` only the best count.

    Args:
      boxes: float32 [n, 4] in pixels of the image; scores: [n]; classes: int [n].
      tile: int [n] the row of ``windows`` that each was found in.
      windows: float32 [t, 4] the tiles; one that is the whole image cuts nothing.
      suppression: its ``nms`` and ``iou_threshold`` are applied (``soft`` would keep doubles: ``per_class`` instead).

    Returns:
      boxes, scores, classes.
    """
    if len(scores) > MOST_MERGED:
        best = np.sort(np.argsort(-scores, kind='stable')[:MOST_MERGED])
        boxes, scores, classes, tile = boxes[best], scores[best], classes[best], tile[best]
    image = np.concatenate([windows[:, :2].min(0), windows[:, 2:].max(0)]) if len(windows) else np.zeros(4)
    cuts = _cuts(boxes, windows[tile], image)
    whole = ~cuts.any(1)
    kept = _suppressed(boxes[whole], scores[whole], classes[whole], suppression, num_classes)
    sources = tile[whole][kept.rows]
    parts = np.flatnonzero(~whole)
    parts = parts[~_are_parts_of_others(parts, boxes, scores, classes, tile, windows, cuts, kept, sources, suppression)]
    joined = _joined(boxes[parts], scores[parts], classes[parts], tile[parts], windows, suppression.iou_threshold)
    last = _suppressed(np.concatenate([kept.boxes, joined.boxes]), np.concatenate([kept.scores, joined.scores]),
                       np.concatenate([kept.classes, joined.classes]), suppression, num_classes)
    return last.boxes, last.scores, last.classes


def merge_found(found: Sequence[Detections], windows: np.ndarray, suppression: postprocess.Suppression,
                num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``merge`` of the detections of each window, in its own pixels; windows: [t, 4] in pixels of the image."""
    if len(found) == 1:
        return found[0].boxes, found[0].scores, found[0].classes
    moved = [one.boxes + np.tile(window[:2], 2).astype(np.float32) for one, window in zip(found, windows)]
    return merge(np.concatenate(moved), np.concatenate([one.scores for one in found]),
                 np.concatenate([one.classes for one in found]),
                 np.repeat(np.arange(len(found)), [len(one) for one in found]), windows.astype(np.float32),
                 suppression, num_classes)


class _Kept(NamedTuple):
    """boxes, scores, classes, and the rows that they were among what was given."""
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    rows: np.ndarray


def _cuts(boxes, windows, image):
    """bool [n, 4]: which edges of a box lie at an inner edge of its tile."""
    return (np.abs(boxes - windows) <= _margin(boxes, windows)) & (windows != image)


def _margin(boxes, windows):
    return np.tile(np.maximum(EDGE_OF_TILE * (windows[..., 2:] - windows[..., :2]),
                              EDGE_OF_BOX * (boxes[..., 2:] - boxes[..., :2])), 2)


def _suppressed(boxes, scores, classes, suppression, num_classes):
    if suppression.nms == 'soft':
        suppression = suppression._replace(nms='per_class')
    return _Kept(*postprocess.suppress(boxes, scores, classes, suppression, num_classes))


def _are_parts_of_others(parts, boxes, scores, classes, tile, windows, cuts, kept, sources, suppression):
    """Whether a kept box of another tile is, or sees more of, what a part shows: bool, of each of ``parts``."""
    grown = kept.boxes + EDGE_OF_BOX * np.tile(kept.boxes[:, 2:] - kept.boxes[:, :2], 2) * [-1, -1, 1, 1]
    found = np.zeros(len(parts), bool)
    for number in np.unique(tile[parts]):       # of a tile's parts, only what reaches into it can be another
        near = (_intersection(grown, windows[number]) > 0) & (sources != number)
        for row in np.flatnonzero(tile[parts] == number):
            part = parts[row]
            sure = near & (kept.classes == classes[part]) & (kept.scores >= WEAKER * scores[part])
            found[row] = _is_part_of_another(boxes[part], cuts[part], windows[number], kept.boxes[sure], grown[sure],
                                             windows[sources[sure]], suppression.iou_threshold)
    return found


def _is_part_of_another(box, cut, own, others, grown, their_windows, threshold):
    covers = _intersection(grown, box) > COVERED * _area(box)
    if not covers.any():
        return False
    seen_here = np.concatenate([np.maximum(others[:, :2], own[:2]), np.minimum(others[:, 2:], own[2:])], 1)
    return bool((covers & ((_iou(seen_here, box) > threshold) | _sees_more(box, cut, their_windows))).any())


def _sees_more(box, cut, windows):
    """Whether a part lies in each of these tiles, away from the edge that cuts it, so that they see what goes on."""
    beyond = np.where([True, True, False, False], box - windows, windows - box)        # [n, 4] how far inside
    margin = _margin(box, windows)
    return ((beyond >= -margin) & (~cut | (beyond > margin))).all(1)


def _joined(boxes, scores, classes, tile, windows, threshold):
    """Parts that agree in what their tiles share become their hull, with the best of their scores."""
    group = np.arange(len(boxes))
    order = [np.flatnonzero(tile == number) for number in range(len(windows))]
    shared = np.concatenate([np.maximum(windows[:, None, :2], windows[:, :2]),
                             np.minimum(windows[:, None, 2:], windows[:, 2:])], axis=2)
    filled = np.array([len(rows) > 0 for rows in order])
    meet = (shared[..., 2:] > shared[..., :2]).all(2) & filled & filled[:, None]
    for one, other in zip(*np.nonzero(np.triu(meet, 1))):
        rows, columns, common = order[one], order[other], shared[one, other]
        alike = _iou(_clipped(boxes[rows], common)[:, None], _clipped(boxes[columns], common)[None]) > threshold
        for row, column in zip(*np.nonzero(alike & (classes[rows][:, None] == classes[columns]))):
            first, second = group[rows[row]], group[columns[column]]
            group[group == max(first, second)] = min(first, second)
    groups = [np.flatnonzero(group == number) for number in np.unique(group)]
    hulls = [np.concatenate([boxes[rows, :2].min(0), boxes[rows, 2:].max(0)]) for rows in groups]
    return _Kept(np.array(hulls, np.float32).reshape(-1, 4),
                 np.array([scores[rows].max() for rows in groups], np.float32),
                 np.array([classes[rows[0]] for rows in groups], np.int32), group)


def _clipped(boxes, window):
    return np.concatenate([np.maximum(boxes[:, :2], window[:2]), np.minimum(boxes[:, 2:], window[2:])], 1)


def _area(boxes):
    return np.maximum(boxes[..., 2:] - boxes[..., :2], 0).prod(-1)


def _intersection(a, b):
    return np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0).prod(-1)


def _iou(a, b):
    shared = _intersection(a, b)
    union = _area(a) + _area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
