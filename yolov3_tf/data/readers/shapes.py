"""Draws one annotated image of the built-in set: shapes on a cluttered ground.

A class can be recognised by its outline alone: colour, size, tilt, squeeze and position are independent
of it. Everything comes from the one NumPy generator passed in.
"""
from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

CLASS_NAMES = ('circle', 'cross', 'square', 'star', 'triangle')
LEAST_VISIBLE = .75  # of an object's pixels; what would hide more of another object is not placed
LEAST_DIFFERENCE = 150  # of an object's colour from the ground under it, summed over the channels
SMALLEST, LARGEST = 44., .7  # pixels; share of the image's short side
FEWEST_OBJECTS, MOST_OBJECTS = 2, 6  # tried; what would hide too much of another is left out
NOISE = .02, .08  # least and most, of the whole range of a channel
MOST_TURN = .4  # radians from upright: the set must be learnable in minutes


class DrawnObject(NamedTuple):
    """Class name, box (x1, y1, x2, y2) around the visible pixels, and whether little of it is visible."""
    name: str
    box: tuple[int, int, int, int]
    difficult: bool


class Drawing(NamedTuple):
    """An image, uint8 BGR [h, w, 3], and its objects from back to front."""
    image: np.ndarray
    objects: list[DrawnObject]


def draw(rng: np.random.Generator) -> Drawing:
    """Draws one image of 200 to 320 pixels a side with up to six objects."""
    height, width = (int(side) for side in rng.integers(200, 321, 2))
    image = _ground(rng, height, width)
    masks: list[np.ndarray] = []
    names = []
    for _ in range(int(rng.integers(FEWEST_OBJECTS, MOST_OBJECTS + 1))):
        name = str(rng.choice(CLASS_NAMES))
        mask = _mask(rng, name, height, width)
        if not _hides_too_much(mask, masks):
            _paint(rng, image, mask)
            masks.append(mask >= 128)
            names.append(name)
    noise = rng.integers(0, 256, image.shape, np.uint8).astype(np.float32)  # ten times faster than normal
    image += (noise - 127.5) * np.float32(rng.uniform(*NOISE))
    image = np.clip(image, 0, 255).astype(np.uint8)
    return Drawing(image, [_object(name, mask, visible)
                           for name, mask, visible in zip(names, masks, _visible(masks))])


def _ground(rng, height, width):
    """Background, float32 [h, w, 3]: a coarse texture, perhaps stripes or checks, lines and blobs."""
    coarse = rng.uniform(30, 225, (int(rng.integers(2, 6)), int(rng.integers(2, 6)), 3)).astype(np.float32)
    contrast = rng.uniform(.15, .6)
    image = cv2.resize(coarse.mean((0, 1)) + contrast * (coarse - coarse.mean((0, 1))), (width, height),
                       interpolation=cv2.INTER_CUBIC)
    fine = rng.normal(0, rng.uniform(2, 14), (height // 8, width // 8, 3)).astype(np.float32)
    image += cv2.resize(fine, (width, height), interpolation=cv2.INTER_LINEAR)
    image += _pattern(rng, height, width)[..., None] * rng.uniform(-1, 1, 3).astype(np.float32)
    for _ in range(int(rng.integers(0, 7))):
        _distract(rng, image, height, width)
    return np.clip(image, 0, 255)


def _pattern(rng, height, width):
    """Stripes, checks or nothing, float32 [h, w] in about -30..30."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    turn, period = rng.uniform(0, math.pi), rng.uniform(12, 60)
    along = np.sin((x * math.cos(turn) + y * math.sin(turn)) * (2 * math.pi / period))
    across = np.sin((y * math.cos(turn) - x * math.sin(turn)) * (2 * math.pi / period))
    kind = rng.integers(0, 4)
    return (np.zeros_like(along), 25 * along, 25 * np.sign(along * across), 30 * along * across)[kind]


def _distract(rng, image, height, width):
    """Something that is no object: a line, an arc, or a blob without an outline."""
    colour = rng.uniform(20, 235, 3)
    points = rng.uniform(0, 1, (2, 2)) * (width, height)
    kind = rng.integers(0, 3)
    if kind == 2:
        soft = np.zeros((height // 4, width // 4), np.float32)  # a blur has no detail to lose
        cv2.circle(soft, _pixel(points[0] / 4), int(rng.integers(2, 10)), .7, -1)
        soft = cv2.GaussianBlur(soft, (0, 0), rng.uniform(2, 5))
        soft = cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)[..., None]
        image += soft * (colour.astype(np.float32) - image)
    elif kind == 1:
        axes = _pixel(rng.uniform(15, 120, 2))
        start, length, turn = rng.uniform(0, 360), rng.uniform(60, 200), rng.uniform(0, 180)
        cv2.ellipse(image, _pixel(points[0]), axes, turn, start, start + length, colour,
                    int(rng.integers(1, 4)), cv2.LINE_AA)
    else:
        cv2.line(image, _pixel(points[0]), _pixel(points[1]), colour, int(rng.integers(1, 4)), cv2.LINE_AA)


def _mask(rng, name, height, width):
    """Coverage of one shape, uint8 [h, w] with soft edges."""
    half = rng.uniform(SMALLEST ** .5, (LARGEST * min(height, width)) ** .5) ** 2 / 2  # more small than large
    turn, squeeze = rng.uniform(-MOST_TURN, MOST_TURN), rng.uniform(.75, 1.)
    points = OUTLINES[name] * (half, half * squeeze)
    points = points @ np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    margin = .7 * half  # so some pass the border a bit
    points += margin + rng.uniform(0, 1, 2) * (np.array([width, height]) - 2 * margin)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.round(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    return mask


def _hides_too_much(mask, masks):
    """Whether the new mask would leave too little of an earlier one."""
    return any((left & (mask < 128)).sum() < LEAST_VISIBLE * whole.sum()
               for left, whole in zip(_visible(masks), masks))


def _visible(masks):
    """What later masks leave of each, bool [h, w] each."""
    if not masks:
        return []
    covered = np.zeros_like(masks[0])
    visible = []
    for mask in reversed(masks):
        visible.append(mask & ~covered)
        covered = covered | mask
    return visible[::-1]


def _paint(rng, image, mask):
    """Fills the mask with a colour that differs from the ground, plain, shaded or striped."""
    left, top, width, height = cv2.boundingRect(mask)
    window = slice(top, top + height), slice(left, left + width)
    under = image[mask >= 128].mean(0)
    colour = rng.uniform(0, 255, 3)
    while np.abs(colour - under).sum() < LEAST_DIFFERENCE:
        colour = rng.uniform(0, 255, 3)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    turn, period = rng.uniform(0, math.pi), rng.uniform(8, 24)
    along = x * math.cos(turn) + y * math.sin(turn)
    stripes = np.sign(np.sin(along * (2 * math.pi / period)))
    shade = (np.zeros_like(along), 25 * np.sin(along / 40), 22 * stripes)[rng.integers(0, 3)]
    cover = mask[window][..., None].astype(np.float32) / 255
    image[window] += cover * (colour.astype(np.float32) + shade[..., None] - image[window])


def _object(name, mask, visible):
    rows, columns = (np.flatnonzero(visible.any(axis)) for axis in (1, 0))
    box = int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
    return DrawnObject(name, box, bool(visible.sum() < .5 * mask.sum()))


def _pixel(point):
    return tuple(round(value) for value in point)


def _polar(radii, count):
    """Corners at even angles, their radii taken in turn, float [count, 2] within the unit circle."""
    angles = np.arange(count) * (2 * np.pi / count)
    return np.tile(radii, count // len(radii))[:, None] * np.stack([np.cos(angles), np.sin(angles)], -1)


_BAR = .3  # half width of the cross's bars
_CROSS = [(1, _BAR), (_BAR, _BAR), (_BAR, 1), (-_BAR, 1), (-_BAR, _BAR), (-1, _BAR),
          (-1, -_BAR), (-_BAR, -_BAR), (-_BAR, -1), (_BAR, -1), (_BAR, -_BAR), (1, -_BAR)]
OUTLINES = {'circle': _polar([.9], 72), 'cross': np.array(_CROSS), 'square': _polar([1.], 4),
            'star': _polar([1., .42], 10), 'triangle': _polar([1.], 3)}
