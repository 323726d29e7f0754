"""Augmentations that need several images: mosaic, cutmix, mix-up, in that order, before all others.

As in ``augment``, ``draw_*(seed)`` draws the numbers and the function of the same name applies them. These cannot be
plans over one stored image, so each makes a new image, a ``Canvas``; what follows treats it as the stored one.
Each is applied to half of the images (``CHANCE``); the other half costs nothing more.

The others are drawn from the whole set, by stateless numbers of the sample that takes them in, so a batch still
follows from (seed, epoch, step) alone, however it is divided. (The reference draws its partner from the batch, a
random part of the set: the same pairs, but never an image with itself in a batch of one.) An image that
cannot be used is no partner: the sample stays as it is, or a tile of the mosaic grey.
"""
from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple, Union

import tensorflow as tf

from yolov3_tf import boxes as box_ops
from yolov3_tf import geometry
from yolov3_tf.data import image_files
from yolov3_tf.data.augment import LEAST_VISIBLE, Augmentation, Sample

CHANCE = .5
MIXUP_BETA = 1.5            # both parameters of the Beta distribution (reference)
LEAST_SHARE = 1e-3          # of either image in a mix-up: no box gets the weight 0, which marks padding
MOSAIC_CUT = (.3, .7)       # where the four tiles meet, a share of the width and of the height


class Canvas(NamedTuple):
    """An image in pixels, uint8 [h, w, 3] RGB, with its objects as in ``augment.Sample``."""
    pixels: Any
    boxes: Any
    classes: Any
    weights: Any


Size = tuple[Union[int, tf.Tensor], Union[int, tf.Tensor]]     # height, width of the network input
# (number in 0..1 that chooses the image, (height, width) -> rectangle int32 [4] of it) -> Canvas of that part,
# without a pixel where the image cannot be used.
Others = Callable[[Any, Callable[[Any, Any], Any]], Canvas]


class Mosaic(NamedTuple):
    """cut: [2] in 0..1, x and y of the meeting point; others: [3]; positions: [4, 2] of what each tile shows."""
    chosen: Any
    cut: Any
    others: Any
    positions: Any


def draw_mosaic(seed: tf.Tensor) -> Mosaic:
    """The numbers of one mosaic."""
    numbers = tf.random.stateless_uniform([14], seed)
    return Mosaic(numbers[0] < CHANCE, numbers[1:3], numbers[3:6], tf.reshape(numbers[6:], [4, 2]))


def mosaic(canvas: Canvas, others: Others, draw: Mosaic, size: Size) -> Canvas:
    """Four images around a point, each filling its tile; the whole has the network's size.

    A tile shows the largest part of its image that has the tile's proportions. After YOLOv4 (Bochkovskiy et al.
    2020), without its free scale and shift, which ``expand`` and ``crop`` bring.
    """
    height, width = size
    whole = tf.cast(tf.stack([width, height]), tf.float32)
    x, y = tf.unstack(tf.cast(tf.round((MOSAIC_CUT[0] + draw.cut * (MOSAIC_CUT[1] - MOSAIC_CUT[0])) * whole), tf.int32))
    tiles = []
    for k, (left, top, right, bottom) in enumerate([(0, 0, x, y), (x, 0, width, y), (0, y, x, height),
                                                    (x, y, width, height)]):
        wide, high = right - left, bottom - top

        def window(image_height, image_width, wide=wide, high=high, position=draw.positions[k]):
            return _largest_part(image_height, image_width, high, wide, position)
        shape = tf.shape(canvas.pixels)
        part = others(draw.others[k - 1], window) if k else cut_out(canvas, window(shape[0], shape[1]))
        tiles.append(_shift(_stretch(part, high, wide), left, top))
    rows = [tf.concat([tiles[k].pixels, tiles[k + 1].pixels], 1) for k in (0, 2)]
    objects = (tf.concat(column, 0) for column in zip(*[tile[1:] for tile in tiles]))
    return Canvas(tf.concat(rows, 0), *objects)


class Cutmix(NamedTuple):
    """area: share of the image that is replaced; source, target: [2] in 0..1, where the part comes from and goes."""
    chosen: Any
    area: Any
    other: Any
    source: Any
    target: Any


def draw_cutmix(seed: tf.Tensor) -> Cutmix:
    """The numbers of one cutmix."""
    numbers = tf.random.stateless_uniform([7], seed)
    return Cutmix(numbers[0] < CHANCE, numbers[1], numbers[2], numbers[3:5], numbers[5:7])


def cutmix(canvas: Canvas, others: Others, draw: Cutmix, size: Size) -> Canvas:
    """Replaces a rectangle by one of the same pixels from elsewhere in another image.

    The area is uniform in 0..1 of the image, its proportions the image's (Yun et al. 2019, alpha 1), as far as
    the other image is large enough. Boxes that it hides in part shrink to what can be seen (``uncovered``).
    """
    del size
    whole = tf.reverse(tf.shape(canvas.pixels)[:2], [0])                              # width, height
    wanted = tf.cast(tf.cast(whole, tf.float32) * tf.sqrt(draw.area), tf.int32)

    def window(height, width):
        available = tf.stack([width, height])
        sides = tf.clip_by_value(wanted, 1, available)
        near = tf.cast(draw.source * tf.cast(available - sides, tf.float32), tf.int32)
        return tf.concat([near, near + sides], 0)
    part = others(draw.other, window)
    sides = tf.reverse(tf.shape(part.pixels)[:2], [0])
    near = tf.cast(draw.target * tf.cast(whole - sides, tf.float32), tf.int32)
    far = near + sides
    hidden = tf.cast(tf.concat([near, far], 0), tf.float32)
    seen = uncovered(canvas.boxes, hidden)
    left = box_ops.area(canvas.boxes) - box_ops.intersection(canvas.boxes, hidden)
    kept = _keep(canvas._replace(boxes=seen), left >= LEAST_VISIBLE * box_ops.area(canvas.boxes))
    rows = canvas.pixels[near[1]:far[1]]
    middle = tf.concat([rows[:, :near[0]], part.pixels, rows[:, far[0]:]], 1)
    pixels = tf.concat([canvas.pixels[:near[1]], middle, canvas.pixels[far[1]:]], 0)
    part = _shift(part, near[0], near[1])
    return Canvas(pixels, *(tf.concat(column, 0) for column in zip(kept[1:], part[1:])))


def uncovered(boxes: tf.Tensor, rectangle: tf.Tensor) -> tf.Tensor:
    """The bounding boxes of what a rectangle [4] leaves of boxes [n, 4].

    A side moves where the rectangle hides the box over the full width or height of that side; a hidden corner or
    a hole moves none. What is hidden altogether gets no area.
    """
    x1, y1, x2, y2 = tf.unstack(boxes, axis=1)
    left, top, right, bottom = tf.unstack(rectangle)
    tall, wide = (top <= y1) & (bottom >= y2), (left <= x1) & (right >= x2)
    meets = (left < x2) & (right > x1) & (top < y2) & (bottom > y1)
    move_x, move_y = tall & meets, wide & meets
    return tf.stack([tf.where(move_x & (left <= x1), tf.minimum(right, x2), x1),
                     tf.where(move_y & (top <= y1), tf.minimum(bottom, y2), y1),
                     tf.where(move_x & (right >= x2) & (left > x1), left, x2),
                     tf.where(move_y & (bottom >= y2) & (top > y1), top, y2)], axis=1)


class Mixup(NamedTuple):
    """share: of the image itself in the mixture, the other has the rest."""
    chosen: Any
    share: Any
    other: Any


def draw_mixup(seed: tf.Tensor) -> Mixup:
    """The numbers of one mix-up; its share is Beta(MIXUP_BETA, MIXUP_BETA)."""
    coin, other = tf.unstack(tf.random.stateless_uniform([2], seed))
    one, two = tf.unstack(tf.random.stateless_gamma([2], tf.random.experimental.stateless_fold_in(seed, 0), MIXUP_BETA))
    return Mixup(coin < CHANCE, tf.clip_by_value(one / (one + two), LEAST_SHARE, 1 - LEAST_SHARE), other)


def mixup(canvas: Canvas, others: Others, draw: Mixup, size: Size) -> Canvas:
    """The weighted mean of two images, top left corners together, black where one does not reach (reference).

    Boxes of both are kept, weighted with their image's share, and keep the weight into the loss
    (Zhang et al. 2018; Beta(1.5, 1.5) after Zhang et al. 2019, "Bag of Freebies").
    """
    del size
    other = others(draw.other, lambda height, width: tf.stack([0, 0, width, height]))
    height, width = tf.unstack(tf.maximum(tf.shape(canvas.pixels), tf.shape(other.pixels))[:2])
    share = tf.where(tf.size(other.pixels) > 0, draw.share, 1.)
    mixed = (share * tf.cast(geometry.pad(canvas.pixels, 0, 0, height, width, 0), tf.float32)
             + (1 - share) * tf.cast(geometry.pad(other.pixels, 0, 0, height, width, 0), tf.float32))
    return Canvas(geometry.to_uint8(mixed), tf.concat([canvas.boxes, other.boxes], 0),
                  tf.concat([canvas.classes, other.classes], 0),
                  tf.concat([share * canvas.weights, (1 - share) * other.weights], 0))


# name -> augmentation, in the order of application; their ``apply`` takes (canvas, others, the numbers, size)
MIXES = {
    'mosaic': Augmentation(100, draw_mosaic, mosaic, 'images'),
    'cutmix': Augmentation(101, draw_cutmix, cutmix, 'images'),
    'mixup': Augmentation(102, draw_mixup, mixup, 'images'),
}


def mix(image: image_files.Image, sample: Sample, names: Iterable[str], seed: tf.Tensor, others: Others,
        size: Size) -> tuple[image_files.Image, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Applies the named mixes in the table's order.

    Args:
      image: ``image_files.Image``.
      sample: its objects, nothing planned yet.
      names: of augmentations; those that are no mixes are ignored.
      seed: int64 [2].
      others: gives parts of other images.
      size: height, width of the network input.

    Returns:
      (Image, boxes, classes, weights); the image holds decoded pixels where it was mixed.
    """
    state = image, sample.boxes, sample.classes, sample.weights
    for name, one in MIXES.items():
        if name in names:
            draw = one.draw(tf.random.experimental.stateless_fold_in(seed, one.stream))
            applied = functools.partial(_applied, one, state, others, draw, size)
            state = tf.cond(draw.chosen, applied, lambda state=state: state)
    return state


def cut_out(canvas: Canvas, window: tf.Tensor) -> Canvas:
    """The part of a canvas within a rectangle int32 [4]; boxes of which enough is inside are cut at its edges."""
    x1, y1, x2, y2 = tf.unstack(window)
    return cut_objects(canvas._replace(pixels=canvas.pixels[y1:y2, x1:x2]), window)


def part_of(image: image_files.Image, sample: Sample, window: tf.Tensor) -> Canvas:
    """``cut_out`` of an image that is not decoded yet, decoded no further than needed."""
    pixels = image_files.decode_part(image, window)
    return cut_objects(Canvas(pixels, sample.boxes, sample.classes, sample.weights), window)


def cut_objects(canvas: Canvas, window: tf.Tensor) -> Canvas:
    """The boxes of a canvas within a rectangle int32 [4], in its pixels; those of which enough is inside, cut."""
    edges = tf.cast(window, tf.float32)
    inside = box_ops.intersection(canvas.boxes, edges) >= LEAST_VISIBLE * box_ops.area(canvas.boxes)
    cut = tf.clip_by_value(canvas.boxes, tf.tile(edges[:2], [2]), tf.tile(edges[2:], [2])) - tf.tile(edges[:2], [2])
    return _keep(canvas._replace(boxes=cut), inside)


def empty() -> Canvas:
    """A canvas without pixels and boxes: what ``Others`` returns for an image that cannot be used."""
    return Canvas(tf.zeros([0, 0, 3], tf.uint8), tf.zeros([0, 4]), tf.zeros([0], tf.int32), tf.zeros([0]))


def _applied(one, state, others, draw, size):
    image, boxes, classes, weights = state
    pixels = image_files.decode_part(image, tf.stack([0, 0, image.width, image.height]))
    canvas = one.apply(Canvas(pixels, boxes, classes, weights), others, draw, size)
    return image_files.of_pixels(canvas.pixels), canvas.boxes, canvas.classes, canvas.weights


def _largest_part(height, width, tile_height, tile_width, position):
    """Rectangle of an image with the proportions of a tile, at position [2] in 0..1 of the possible ones."""
    image = tf.cast(tf.stack([width, height]), tf.float32)
    tile = tf.cast(tf.stack([tile_width, tile_height]), tf.float32)
    sides = tf.clip_by_value(tf.round(tile / tf.reduce_max(tile / image)), 1., image)
    near = tf.floor(position * (image - sides))
    return tf.cast(tf.concat([near, near + sides], 0), tf.int32)


def _stretch(canvas, height, width):
    """Resized to height x width; grey where the canvas has no pixels."""
    sides = tf.reverse(tf.maximum(tf.shape(canvas.pixels)[:2], 1), [0])
    pixels = tf.cond(tf.size(canvas.pixels) > 0,
                     lambda: geometry.to_uint8(geometry.resize(canvas.pixels, height, width)),
                     lambda: tf.fill([height, width, 3], tf.constant(geometry.GREY, tf.uint8)))
    scale = tf.cast(tf.stack([width, height]), tf.float32) / tf.cast(sides, tf.float32)
    return canvas._replace(pixels=pixels, boxes=canvas.boxes * tf.tile(scale, [2]))


def _shift(canvas, left, top):
    return canvas._replace(boxes=canvas.boxes + tf.cast(tf.stack([left, top] * 2), tf.float32))


def _keep(canvas, mask):
    rows = tf.where(mask)[:, 0]
    return Canvas(canvas.pixels, *(tf.gather(column, rows) for column in canvas[1:]))
