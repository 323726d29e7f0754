"""IoU and GIoU of two boxes: for random pairs, and for pairs of the same L2 distance."""
from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from yolov3_tf import boxes as box_ops
from yolov3_tf.drawing import plots
from yolov3_tf.errors import InputError

FIELD = 100.          # side in pixels of the square that contains the random boxes
MOST_DRAWN = 4000     # more points only hide each other


class Pairs(NamedTuple):
    """IoU and GIoU of n pairs of boxes, each float64 [n]."""
    iou: np.ndarray
    giou: np.ndarray


class Case(NamedTuple):
    """A prediction at a known L2 distance from the truth.

    Attributes:
      name: how the truth was changed.
      box: x1, y1, x2, y2 in pixels.
    """
    name: str
    box: np.ndarray


def random_pairs(count: int, seed: int) -> Pairs:
    """IoU and GIoU of random pairs of boxes in a square of 100 pixels.

    Half of the pairs are drawn independently with uniform corners. Such pairs seldom overlap much, so in the
    other half the second box is the first one with its corners moved by a normal error, whose size is different
    for each pair.

    Raises:
      InputError: fewer than 10 pairs.
    """
    if count < 10:
        raise InputError(f'--pairs={count}: expected at least 10 pairs of boxes')
    rng = np.random.default_rng(seed)
    first, second = (_boxes(rng.uniform(0, FIELD, (count, 2, 2))) for _ in range(2))
    near = count // 2
    error = rng.normal(size=(near, 2, 2)) * rng.uniform(0, FIELD / 4, (near, 1, 1))
    second[:near] = _boxes(first[:near].reshape(-1, 2, 2) + error)
    return Pairs(*(np.array(overlap(first, second)) for overlap in (box_ops.iou, box_ops.giou)))


def lowest_giou(iou: np.ndarray) -> np.ndarray:
    """The lowest GIoU that two overlapping boxes of this IoU u can have: u - ((1 - u) / (1 + u))^2.

    Let the overlap be x and y of the hull's width and height, and u < 1. Where neither box holds the other,
    union / hull is linear in each side of a box, so it is lowest where the boxes form a cross, and there it is
    x + y - xy. With u = xy / (x + y - xy) and x + y >= 2 sqrt(xy) that is at least 4 u / (1 + u)^2, for x = y.
    """
    return iou - ((1 - iou) / (1 + iou)) ** 2


def giou_over_iou(figure_file: plots.Path, count: int, seed: int) -> str:
    """Draws GIoU over IoU; the pairs that do not overlap, which all have IoU 0, are in a separate panel.

    Returns:
      Text with the numbers.
    """
    pairs = random_pairs(count, seed)
    apart = pairs.iou == 0
    with plots.styled():
        figure = _figure(6.2, 3.9)
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=[1, 2.6])
        left.hist(pairs.giou[apart], np.linspace(-1, 0, 41), orientation='horizontal', color=plots.COLOURS[1])
        left.set(xlabel='pairs', ylabel='GIoU', ylim=(-1.02, 1.02))
        left.set_title(f'no overlap: {apart.sum():,} pairs,\nall of IoU 0')
        shown = np.flatnonzero(~apart)[:MOST_DRAWN]
        right.plot(pairs.iou[shown], pairs.giou[shown], '.', markersize=2.2, color=plots.COLOURS[0],
                   markeredgewidth=0, alpha=.6)
        curve = np.linspace(0, 1, 101)
        right.plot(curve, curve, color='k', linewidth=1, label='most: GIoU = IoU, the hull is full')
        right.plot(curve, lowest_giou(curve), color='k', linewidth=1, linestyle='--',
                   label='least: IoU - ((1 - IoU) / (1 + IoU))², a cross')
        right.set(xlabel='IoU', xlim=(-.01, 1.01))
        right.set_title(f'overlap: {(~apart).sum():,} pairs\ncorrelation {_correlation(pairs, ~apart):.2f}')
        right.legend(loc='lower right', frameon=True, framealpha=.9, edgecolor='none')
        plots.save(figure, figure_file)
    return (f'{count:,} pairs: {(~apart).sum():,} overlap, correlation of GIoU and IoU '
            f'{_correlation(pairs, ~apart):.3f}; {apart.sum():,} do not, their IoU is 0 and their GIoU '
            f'{_range(pairs.giou[apart])}')


TRUTH = np.array([0., 0., 40., 40.])      # x1, y1, x2, y2 in pixels
DISTANCE = 30.


def equal_corners(distance: float = DISTANCE) -> list[Case]:
    """Predictions whose four corner coordinates x1, y1, x2, y2 are ``distance`` from the truth's (L2)."""
    moves = (('one side moved out', (0, 0, 1, 0)), ('grown', (-1, -1, 1, 1)), ('moved', (1, 1, 1, 1)),
             ('shrunk', (1, 1, -1, -1)))
    return [Case(name, TRUTH + _of_length(move, distance)) for name, move in moves]


def equal_centres(distance: float = DISTANCE) -> list[Case]:
    """Predictions whose centre and size x, y, w, h are ``distance`` from the truth's (L2)."""
    moves = (('wider', (0, 0, 1, 0)), ('larger', (0, 0, 1, 1)), ('narrower', (0, 0, -1, 0)), ('moved', (1, 1, 0, 0)))
    truth = np.array(box_ops.to_cxcywh(TRUTH))
    return [Case(name, np.array(box_ops.from_cxcywh(truth + _of_length(move, distance)))) for name, move in moves]


def equal_l2(figure_file: plots.Path) -> str:
    """Draws predictions that have the same L2 loss, with their IoU and GIoU.

    Returns:
      Text with the numbers.
    """
    rows = ((f'corners x1, y1, x2, y2: L2 = {DISTANCE:g}', equal_corners()),
            (f'centre and size x, y, w, h: L2 = {DISTANCE:g}', equal_centres()))
    lines = []
    with plots.styled():
        figure = _figure(7., 4.6)
        for part, (title, cases) in zip(figure.subfigures(2, 1, hspace=.04), rows):
            part.suptitle(title, fontsize=9)
            lines.append(title)
            for axis, case in zip(part.subplots(1, len(cases), sharex=True, sharey=True), cases):
                numbers = _numbers(case)
                _draw_case(axis, case, numbers)
                lines.append(f'  {case.name:20} {numbers}')
        figure.legend(*axis.get_legend_handles_labels(), loc='outside lower center', ncols=2)
        plots.save(figure, figure_file)
    return '\n'.join(lines)


def _boxes(corners):
    """Any two corners [n, 2, 2] -> x1, y1, x2, y2 [n, 4]."""
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)


def _correlation(pairs, chosen):
    """Pearson's correlation; NaN where fewer than two pairs are chosen."""
    return np.corrcoef(pairs.iou[chosen], pairs.giou[chosen])[0, 1] if chosen.sum() > 1 else math.nan


def _range(values):
    return f'{values.min():.2f} to {values.max():.2f}' if len(values) else 'without any'


def _of_length(direction, length):
    direction = np.array(direction, np.float64)
    return direction * length / np.linalg.norm(direction)


def _numbers(case):
    iou, giou = (float(overlap(case.box, TRUTH)) for overlap in (box_ops.iou, box_ops.giou))
    return f'IoU {iou:.2f}   GIoU {giou:.2f}'


def _draw_case(axis, case, numbers):
    from matplotlib.patches import Rectangle
    styles: tuple[tuple[np.ndarray, dict[str, Any]], ...] = (
        (TRUTH, dict(facecolor='#00000018', edgecolor='k', linestyle='--', label='truth')),
        (case.box, dict(facecolor=plots.COLOURS[1] + '30', edgecolor=plots.COLOURS[1], label='prediction')))
    for box, style in styles:
        axis.add_patch(Rectangle((box[0], box[1]), box[2] - box[0], box[3] - box[1], linewidth=1.5, **style))
    axis.set(xlim=(-20, 75), ylim=(68, -20), aspect='equal', title=case.name, xticks=[], yticks=[])
    axis.set_xlabel(numbers, fontsize=9)
    axis.grid(False)
    axis.spines[:].set_visible(False)


def _figure(width, height):
    """A figure of this size in inches."""
    from matplotlib.figure import Figure
    return Figure((width, height), layout='constrained')
