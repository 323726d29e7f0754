"""What can be wrong with an annotation, and what is done about it: one policy for every reader.

A fault of one annotation or one image never stops a run: it is repaired or dropped, and one message
with file and line (JSON: the annotation's id) goes to ``Dataset.problems``. ``strict`` turns the first
into an ``InputError``. What makes the whole set useless (a missing split, an unknown class) always stops.
"""
from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Callable

import numpy as np

from yolov3_tf.errors import InputError
from yolov3_tf.structures import Record

Corners = tuple[float, float, float, float]     # x1, y1, x2, y2
# Beyond this a float32 pixel is no longer exact, and no image is that large.
LARGEST_COORDINATE = 2. ** 24
# COCO rounds to hundredths of a pixel, so boxes that touch the border may pass it by that much.
ROUNDING = .05


class Problems:
    """Collects messages, of which ``strict`` raises the first instead, and notes, which stop nothing."""

    def __init__(self, strict: bool = False):
        self.strict = strict
        self.messages: list[str] = []
        self.notes: list[str] = []

    def add(self, fault: str, done: str) -> None:
        """Notes a fault (where and what) and what was done about it."""
        if self.strict:
            raise InputError(f'{fault}; correct it, or go on without --strict')
        self.messages.append(f'{fault}; {done}')

    def note(self, *sentences: str) -> None:
        """Notes what was read in another way than it is written; no fault, also under ``strict``."""
        self.notes += sentences


def order(corners: Corners) -> tuple[Corners | None, str]:
    """Puts the corners (x1, y1, x2, y2) of a box in order, in pixels of the image.

    Returns:
      The box, or None where nothing usable is left, and a remark on what was wrong ('' for nothing).
    """
    if not all(abs(value) <= LARGEST_COORDINATE for value in corners):  # NaN fails this as well
        return None, f'coordinates {_text(corners)} are not finite pixels'
    x1, y1, x2, y2 = corners
    if x1 == x2 or y1 == y2:
        return None, f'box {_text(corners)} has no area'
    if x1 < x2 and y1 < y2:
        return corners, ''
    ordered = min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
    return ordered, f'corners of box {_text(corners)} are swapped'


def clip(box: Corners, width: float, height: float) -> tuple[Corners | None, str]:
    """Cuts an ordered box at the image's edges; a size of 0 (unknown) leaves that far edge as it is.

    Returns:
      The box or None, and a remark, as ``order`` does.
    """
    right, bottom = width or LARGEST_COORDINATE, height or LARGEST_COORDINATE
    x1, y1, x2, y2 = box
    if x1 >= 0 and y1 >= 0 and x2 <= right and y2 <= bottom:
        return box, ''
    inside = max(x1, 0.), max(y1, 0.), min(x2, right), min(y2, bottom)
    size = f'{width}x{height} image' if width and height else 'image'
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        return None, f'box {_text(box)} lies outside the {size}'
    if max(abs(a - b) for a, b in zip(inside, box)) <= ROUNDING:
        return inside, ''
    return inside, f'box {_text(box)} reaches outside the {size}'


def repair(where: str, corners: Corners, width: float, height: float, problems: Problems,
           convert: Callable[[Corners], Corners] | None = None) -> Corners | None:
    """Orders, converts and clips one box, and notes what was wrong with it.

    Args:
      where: file and line of the object, for the message.
      corners: x1, y1, x2, y2 as the annotation has them.
      width, height: of the image in pixels, 0 where unknown.
      problems: the collector.
      convert: applied to the ordered corners, for annotations in another pixel convention.

    Returns:
      The box, inside the image and with area, or None where it was dropped.
    """
    x1, y1, x2, y2 = corners
    if 0 <= x1 < x2 <= width <= LARGEST_COORDINATE and 0 <= y1 < y2 <= height <= LARGEST_COORDINATE:
        inside = convert(corners) if convert else corners       # the ordinary box: what follows would not touch it
        if inside[0] >= 0 and inside[1] >= 0 and inside[2] <= width and inside[3] <= height:
            return inside
    box, swapped = order(corners)
    outside = ''
    if box is not None:
        box, outside = clip(convert(box) if convert else box, width, height)
    if swapped or outside:
        done = ' and '.join(['put in order'] * bool(swapped) + ['clipped'] * bool(outside))
        problems.add(f'{where}: {", ".join(filter(None, (swapped, outside)))}',
                     'object dropped' if box is None else done)
    return box


def record(image_path: str, image_id: str, width: int, height: int, objects: Sequence[tuple],
           annotation_file: str = '') -> Record:
    """Builds a Record from ``objects``, tuples (box, class index, difficult, crowd, area or None, line).

    Boxes are x1, y1, x2, y2 in pixels of the image; an area of None is that of the box.
    """
    return records([(image_path, image_id, width, height, objects, annotation_file)])[0]


def records(images: Sequence[tuple[str, str, int, int, Sequence[tuple], str]]) -> list[Record]:
    """Builds many Records at once, from tuples of the arguments of ``record``: in half the time of one by one."""
    objects = [item for image in images for item in image[4]]
    boxes_of, classes_of, difficult_of, crowd_of, areas_of, lines_of = zip(*objects) if objects else ((),) * 6
    corners = np.fromiter(itertools.chain.from_iterable(boxes_of), np.float64, 4 * len(objects)).reshape(-1, 4)
    areas = (corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1])
    stated = [(number, area) for number, area in enumerate(areas_of) if area is not None]
    if stated:
        numbers, values = zip(*stated)
        areas[list(numbers)] = values
    boxes, areas = corners.astype(np.float32), areas.astype(np.float32)
    classes, lines = np.array(classes_of, np.int32), np.array(lines_of, np.int64)
    difficult, crowd = np.array(difficult_of, bool), np.array(crowd_of, bool)
    built, near = [], 0
    for path, image_id, width, height, items, file in images:
        part = slice(near, near + len(items))
        near = part.stop
        built.append(Record(path, image_id, width, height, boxes[part], classes[part], difficult[part], crowd[part],
                            areas[part], file, lines[part]))
    return built


def _text(corners):
    return '(' + ', '.join(f'{value:g}' for value in corners) + ')'
