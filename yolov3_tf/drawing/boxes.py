"""Boxes with class names on images, and contact sheets. Images are uint8 RGB [h, w, 3]; none is ever changed.

Line widths and letters grow with the image, so a drawing is as legible at 300 as at 3000 pixels.
"""
from __future__ import annotations

import collections
import colorsys
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike

FONT = cv2.FONT_HERSHEY_SIMPLEX
CAPITAL = 22.         # height in pixels of this font's capitals at scale 1
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
PAPER = 24            # grey level behind a contact sheet
PLATES_SHARE = .12   # of the image that names may cover; where they would cover more, a legend names the classes
MOST_DRAWN = 300      # boxes of an image that are drawn, the best ones; the legend counts the others

Colour = tuple[int, int, int]
Corners = tuple[int, int, int, int]    # x1, y1, x2, y2


class Pen(NamedTuple):
    """Sizes in pixels that fit one image: box lines, height of capitals, their strokes, padding around text."""
    line: int
    capital: int
    stroke: int
    pad: int


def class_colour(class_id: int) -> Colour:
    """RGB of a class. It depends on the class id alone, and neighbours are far apart on the colour circle.

    Hues step by the golden section, which never returns close to a recent one; brightness alternates.
    """
    hue = (.02 + class_id * .618034) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, (.85, .6)[class_id // 7 % 2], (1., .8)[class_id // 14 % 2])
    return round(255 * red), round(255 * green), round(255 * blue)


def draw_detections(image: np.ndarray, boxes: ArrayLike, classes: Sequence[int] | np.ndarray,
                    scores: Sequence[float] | np.ndarray | None, class_names: Sequence[str],
                    track_ids: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
    """A copy of the image with solid boxes, each with its class name and score in percent.

    Where names would cover more than ``PLATES_SHARE`` of the image, lines are thin and a legend at the foot names each
    class once, with its number of boxes. At most ``MOST_DRAWN`` boxes are drawn, those of the highest scores.

    Args:
      image: uint8 [h, w, 3] RGB.
      boxes: float [n, 4] pixels of the image, cut at its edges; one outside is left out.
      classes: int [n]; scores: float [n] in 0..1, or None to write no scores.
      class_names: names of the class ids.
      track_ids: int [n] of objects in a video: each has its own colour in all frames, and its number before its name;
        with a legend the number alone, where all of them fit.

    Raises:
      ValueError: not a uint8 RGB image, or lengths that differ.
    """
    texts = [class_names[class_id] for class_id in classes]
    if scores is not None:
        texts = [f'{text} {100 * score:.0f}%' for text, score in zip(texts, _same_length(scores, classes))]
    marks = [f'#{number}' for number in _same_length(track_ids, classes)] if track_ids is not None else []
    texts = [' '.join(parts) for parts in zip(marks, texts)] if marks else texts
    colours = [class_colour(int(number)) for number in (classes if track_ids is None else track_ids)]
    order = range(len(texts)) if scores is None else np.argsort(np.asarray(scores), kind='stable')
    canvas, corners = _prepare(image, boxes, classes)
    inside = [(k, corner) for k in order if (corner := corners[k]) is not None]     # the best last, so on top
    shown = inside[-MOST_DRAWN:]
    pen = pen_for(image)
    crowded = _is_crowded([texts[k] for k, _ in shown], image, pen) or len(shown) < len(inside)
    width = max(1, pen.line // 2) if crowded else pen.line
    for k, corner in shown:
        cv2.rectangle(canvas, corner[:2], corner[2:], colours[k], width)
    if not crowded:
        _plates(canvas, texts, colours, shown, pen)
        return canvas
    if marks and not _is_crowded([marks[k] for k, _ in shown], image, pen):
        _plates(canvas, marks, colours, shown, pen)
    _legend(canvas, [int(classes[k]) for k, _ in shown], len(inside) - len(shown), class_names, pen, bool(marks))
    return canvas


def draw_truth(image: np.ndarray, boxes: ArrayLike, classes: Sequence[int] | np.ndarray | None = None,
               class_names: Sequence[str] | None = None) -> np.ndarray:
    """A copy of the image with the annotated boxes as white dashes on black, distinct from detections.

    With ``classes`` int [n] and ``class_names`` each box carries its name at the lower edge, so that
    detections drawn over it keep the upper one; where names would cover too much of the image, none is written.
    """
    canvas, corners = _prepare(image, boxes, boxes if classes is None else classes)
    pen = pen_for(image)
    names = [class_names[number] for number in classes] if classes is not None and class_names is not None else []
    crowded = _is_crowded(names, image, pen)
    for k, corner in enumerate(corners):
        if corner is not None:
            _dashes(canvas, corner, pen._replace(line=1) if crowded else pen)
            if names and not crowded:
                foot = (corner[0], corner[3], corner[2], corner[3])
                _write(canvas, names[k], _plate(names[k], foot, image.shape[:2], pen, []), WHITE, pen)
    return canvas


def grid(images: Sequence[np.ndarray], columns: int, cell: int = 480) -> np.ndarray:
    """Contact sheet: images in rows of ``columns``, each fitted into ``cell`` x ``cell`` pixels.

    Proportions are kept and small images are enlarged; a row is as high as its highest image.

    Raises:
      ValueError: no image, fewer than one column, or not a uint8 RGB image.
    """
    if not images or columns < 1:
        raise ValueError(f'expected images and at least 1 column, got {len(images)} and {columns}')
    columns, gap = min(columns, len(images)), max(2, cell // 80)
    fitted = [_fit(_checked(image), cell) for image in images]
    rows = [fitted[start:start + columns] for start in range(0, len(fitted), columns)]
    heights = [max(len(image) for image in row) for row in rows]
    sheet = np.full((sum(heights) + gap * (len(rows) + 1), columns * (cell + gap) + gap, 3), PAPER, np.uint8)
    top = gap
    for row, height in zip(rows, heights):
        for column, image in enumerate(row):
            h, w = image.shape[:2]
            y, x = top + (height - h) // 2, gap + column * (cell + gap) + (cell - w) // 2
            sheet[y:y + h, x:x + w] = image
        top += height + gap
    return sheet


def pen_for(image: np.ndarray) -> Pen:
    """Capitals of a fortieth of the image's mean side, never under 9 pixels: smaller ones are not legible."""
    capital = max(9, round(sum(image.shape[:2]) / 2 / 40))
    return Pen(line=round(capital / 5), capital=capital, stroke=max(1, capital // 10), pad=capital // 3)


def _prepare(image, boxes, classes) -> tuple[np.ndarray, list[Corners | None]]:
    """Copy of the image, and each box as its outermost pixels x1, y1, x2, y2 inside it (None outside)."""
    canvas = np.ascontiguousarray(_checked(image)).copy()
    boxes = np.asarray(_same_length(boxes, classes), np.float64).reshape(-1, 4)
    height, width = image.shape[:2]
    corners: list[Corners | None] = []
    for x1, y1, x2, y2 in boxes:
        finite = np.isfinite([x1, y1, x2, y2]).all()
        if not (finite and max(x1, 0) < min(x2, width) and max(y1, 0) < min(y2, height)):
            corners.append(None)
            continue
        left, top = min(round(max(x1, 0)), width - 1), min(round(max(y1, 0)), height - 1)
        right, bottom = round(min(x2, width)) - 1, round(min(y2, height)) - 1
        corners.append((left, top, max(left, right), max(top, bottom)))
    return canvas, corners


def _plates(canvas, texts, colours, shown, pen):
    """Writes the texts on plates at their boxes; ``shown`` are pairs of an index and its corners, the best last."""
    plates: list[Corners] = []
    for k, corner in reversed(shown):   # the best chooses its position first
        plates.append(_plate(texts[k], corner, canvas.shape[:2], pen, plates))
    for (k, _), plate in zip(shown, reversed(plates)):
        _write(canvas, texts[k], plate, colours[k], pen)


def _plate(text, corner, size, pen, taken) -> Corners:
    """A plate for the text at the first free position: above its box, in it, below it.

    Far edges are exclusive. Where none is free it is above the box, behind the plates of better ones.
    """
    height, width = size
    wide, high = _size_of(text, pen)
    lefts = {max(0, min(left, width - wide)): None for left in (corner[0], corner[2] + 1 - wide)}
    tops = [top for top in (corner[1] - high, corner[1], corner[3] + 1) if 0 <= top <= height - high] or [0]
    plates = [(left, top, left + wide, top + high) for left in lefts for top in tops]
    return next((one for one in plates if not any(_overlap(one, other) for other in taken)), plates[0])


def _size_of(text, pen) -> tuple[int, int]:
    """Width and height in pixels of the plate of a text."""
    (letters, _), _ = cv2.getTextSize(_ascii(text), FONT, pen.capital / CAPITAL, pen.stroke)
    return letters + 2 * pen.pad, pen.capital + 2 * pen.pad


def _is_crowded(texts, image, pen) -> bool:
    """Whether the plates of these texts would cover too much of the image; a few never do."""
    area = sum(wide * high for wide, high in (_size_of(text, pen) for text in texts))
    return len(texts) > 4 and area > PLATES_SHARE * image.shape[0] * image.shape[1]


def _legend(canvas, classes, left_out, class_names, pen, neutral=False):
    """Writes each class with its number of boxes in rows at the foot, and how many boxes are not drawn.

    ``neutral``: in black, because colours stand for something else than classes.
    """
    entries = [(f'{class_names[number]} {count}', BLACK if neutral else class_colour(number))
               for number, count in collections.Counter(classes).most_common()]
    entries += [(f'{left_out} more', BLACK)] * bool(left_out)
    height, width = canvas.shape[:2]
    rows: list[list[tuple[str, Colour, int]]] = [[]]
    for text, colour in entries:
        wide, high = _size_of(text, pen)
        if rows[-1] and sum(one[2] for one in rows[-1]) + wide > width:
            rows.append([])
        rows[-1].append((text, colour, wide))
    rows = rows[:max(1, height // (4 * high))] if entries else []       # never more than a quarter of the image
    for number, row in enumerate(reversed(rows)):
        left, foot = 0, height - number * high
        for text, colour, wide in row:
            _write(canvas, text, (left, foot - high, left + wide, foot), colour, pen)
            left += wide


def _write(canvas, text, plate, colour, pen):
    cv2.rectangle(canvas, plate[:2], (plate[2] - 1, plate[3] - 1), colour, cv2.FILLED)
    foot = plate[0] + pen.pad, plate[3] - 1 - pen.pad
    cv2.putText(canvas, _ascii(text), foot, FONT, pen.capital / CAPITAL, _ink(colour), pen.stroke,
                cv2.LINE_AA)


def _ascii(text):
    """Text with ? for what is not ASCII: the font has no other letters."""
    return text.encode('ascii', 'replace').decode()


def _overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _ink(colour) -> Colour:
    """Black or white, whichever has more contrast with the colour (luma of ITU-R BT.601)."""
    return BLACK if .299 * colour[0] + .587 * colour[1] + .114 * colour[2] > 110 else WHITE


def _dashes(canvas, corner, pen):
    """A black rectangle with white dashes on it, visible on any background."""
    x1, y1, x2, y2 = corner
    cv2.rectangle(canvas, (x1, y1), (x2, y2), BLACK, pen.line)
    dash = 4 * pen.line + 2
    for start in range(x1, x2 + 1, 2 * dash):
        for y in (y1, y2):
            cv2.line(canvas, (start, y), (min(start + dash, x2), y), WHITE, pen.line)
    for start in range(y1, y2 + 1, 2 * dash):
        for x in (x1, x2):
            cv2.line(canvas, (x, start), (x, min(start + dash, y2)), WHITE, pen.line)


def _fit(image, cell):
    height, width = image.shape[:2]
    scale = cell / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)


def _checked(image):
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise ValueError(f'expected a uint8 RGB image [h, w, 3], got {image.dtype} {list(image.shape)}')
    return image


def _same_length(values, others):
    if len(values) != len(others):
        raise ValueError(f'expected one value a box, got {len(values)} for {len(others)}')
    return values
