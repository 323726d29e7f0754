"""Augmentations of one image: sample -> sample, the randomness is drawn apart from the geometry.

``draw_*(seed)`` draws the numbers, and the function of the same name applies them: the same numbers give the
same sample. A sample is a plan. Its boxes stay in pixels of the stored image, its view says which rectangle
will fill the network input, and no pixel is touched before the pipeline renders the plan, once (``rendering``).
The order is that of ``AUGMENTATIONS``, the reference's: colour, expand, crop, resize, flip; the others are ours.
Augmentations of several images come before all of these (``mix``).
"""
from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf import boxes as box_ops
from yolov3_tf.data.rendering import RESIZES

MAX_EXPANSION = 4.
CROP_TRIALS = 50
CROP_SCALE = (.3, 1.)
CROP_ASPECT = 2.
CROP_MIN_IOU = (.1, .3, .5, .7, .9, -1.)        # -1: any crop
BRIGHTNESS, HUE, SATURATION, VALUE = 32., 2 * math.pi * 18 / 180, .5, .5
GREY_CHANCE, BLUR_CHANCE, BLUR_SIGMA = .1, .1, (.5, 2.)         # sigma in pixels of the network input
JITTER_SCALE, JITTER_SHIFT, JITTER_ASPECT = (.5, 1.5), .1, 1.05
LEAST_VISIBLE = .3      # of a box's area: with less in a part, or left by a pasted one, it is dropped
_YIQ = np.array([[.299, .587, .114], [.596, -.274, -.322], [.211, -.523, .312]], np.float32)      # NTSC
_YIQ[1:] -= _YIQ[1:].mean(axis=1, keepdims=True)        # the printed digits leave grey a trace of colour
_RGB = np.linalg.inv(_YIQ)


class Sample(NamedTuple):
    """An image's objects and the plan of what will be seen of it.

    Attributes:
      height, width: int32 scalars, pixels of the stored image.
      boxes: float32 [n, 4] pixels of the stored image.
      classes: int32 [n].
      weights: float32 [n].
      view: int32 [4] x1, y1, x2, y2 pixels of the stored image that fill the network input; it may reach
        beyond the image, where there is grey.
      mirrored: bool scalar, the view is seen left-right reversed.
      upended: bool scalar, it is seen top-bottom reversed.
      turned: bool scalar, its x and y are exchanged, before either reversal; the three make all quarter turns.
      matrix: float32 [3, 3] and
      offset: float32 scalar: colour = matrix @ RGB + offset, in 0..255. Grey stays grey under the matrix.
      interpolation: int32 scalar, index into ``RESIZES``.
      blur: float32 scalar, sigma in pixels of the network input, 0 for none.
    """
    height: Any
    width: Any
    boxes: Any
    classes: Any
    weights: Any
    view: Any
    mirrored: Any
    upended: Any
    turned: Any
    matrix: Any
    offset: Any
    interpolation: Any
    blur: Any


def whole_image(height: tf.Tensor, width: tf.Tensor, boxes: tf.Tensor, classes: tf.Tensor,
                weights: tf.Tensor | None = None) -> Sample:
    """Sample that shows all of the image as it is; boxes cut at its edges, those without area left out.

    Args and dtypes as in ``Sample``; ``weights`` are 1 where they are not given.
    """
    boxes = box_ops.clip(boxes, height, width)
    weights = tf.ones_like(boxes[:, 0]) if weights is None else weights
    sample = Sample(height, width, boxes, classes, weights, tf.stack([0, 0, width, height]),
                    tf.constant(False), tf.constant(False), tf.constant(False), tf.eye(3), tf.constant(0.),
                    tf.constant(0), tf.constant(0.))
    return keep(sample, has_area(boxes))


def has_area(boxes: tf.Tensor) -> tf.Tensor:
    """[n, 4] -> bool [n]; a box with a NaN has none."""
    return tf.reduce_all(boxes[:, 2:] > boxes[:, :2], axis=1)


def keep(sample: Sample, mask: tf.Tensor) -> Sample:
    """Keeps the boxes where ``mask`` (bool [n]) holds, with their classes and weights."""
    rows = tf.where(mask)[:, 0]
    return sample._replace(boxes=tf.gather(sample.boxes, rows), classes=tf.gather(sample.classes, rows),
                           weights=tf.gather(sample.weights, rows))


class Expansion(NamedTuple):
    """ratio in 1..4 of the canvas to the view; left, top in 0..1: share of the added margin on those sides."""
    ratio: Any
    left: Any
    top: Any


def draw_expand(seed: tf.Tensor) -> Expansion:
    """Half of the draws leave the view as it is."""
    coin, ratio, left, top = tf.unstack(tf.random.stateless_uniform([4], seed))
    return Expansion(tf.where(coin < .5, 1 + ratio * (MAX_EXPANSION - 1), 1.), left, top)


def expand(sample: Sample, draw: Expansion) -> Sample:
    """Puts the view somewhere on a larger canvas of its own aspect (SSD's zoom out)."""
    size = sample.view[2:] - sample.view[:2]
    canvas = tf.cast(tf.cast(size, tf.float32) * draw.ratio, tf.int32)
    added = tf.cast(canvas - size, tf.float32)
    near = sample.view[:2] - tf.cast(added * tf.stack([draw.left, draw.top]), tf.int32)
    return sample._replace(view=tf.concat([near, near + canvas], 0))


class Jitter(NamedTuple):
    """scale of objects in .5..1.5; aspect: factor on their width : height, 5 % either way; shift: [2] in -.1..+.1 of
    the view."""
    scale: Any
    aspect: Any
    shift: Any


def draw_jitter(seed: tf.Tensor) -> Jitter:
    """The numbers of one jitter: scale and shift uniform, as in YOLOv5; aspect uniform in its logarithm."""
    numbers = tf.random.stateless_uniform([4], seed)
    lowest, highest = JITTER_SCALE
    return Jitter(lowest + numbers[0] * (highest - lowest), JITTER_ASPECT ** (2 * numbers[1] - 1),
                  (2 * numbers[2:] - 1) * JITTER_SHIFT)


def jitter(sample: Sample, draw: Jitter) -> Sample:
    """Scales and moves what is seen, a little and in one step; grey where the view reaches beyond the image.

    YOLOv5's "random affine" (scale .5, translate .1) without its turn and shear, behind which boxes are not tight.
    Gentler than ``expand`` and ``crop``: objects get .25 to 2.25 times their area, not .06 to 11 times. A box of
    which less than ``LEAST_VISIBLE`` remains is dropped, others are cut. A view that would miss the image stays.
    """
    near, size = sample.view[:2], tf.cast(sample.view[2:] - sample.view[:2], tf.float32)
    wide = tf.sqrt(draw.aspect)
    sides = tf.maximum(tf.round(size / draw.scale / tf.stack([wide, 1 / wide])), 1.)
    corner = tf.cast(near, tf.float32) + (size - sides) / 2 - draw.shift * sides
    corner = tf.cast(tf.round(corner), tf.int32)
    view = tf.concat([corner, corner + tf.cast(sides, tf.int32)], 0)
    image = tf.stack([sample.width, sample.height])
    meets = tf.reduce_all(tf.minimum(view[2:], image) > tf.maximum(view[:2], 0))
    view = tf.where(meets, view, sample.view)
    edges = tf.cast(view, tf.float32)
    inside = box_ops.intersection(sample.boxes, edges) >= LEAST_VISIBLE * box_ops.area(sample.boxes)
    return _cut_at(keep(sample, inside), view)


class Crop(NamedTuple):
    """One number in 0..1 a trial for size, shape and position; one a rule, the highest that can be met wins."""
    scale: Any          # [50]
    aspect: Any         # [50]
    left: Any           # [50]
    top: Any            # [50]
    priorities: Any     # [7] whole view, then CROP_MIN_IOU


def draw_crop(seed: tf.Tensor) -> Crop:
    """The numbers of all trials and rules."""
    numbers = tf.random.stateless_uniform([4 * CROP_TRIALS + 1 + len(CROP_MIN_IOU)], seed)
    return Crop(*tf.split(numbers, [CROP_TRIALS] * 4 + [1 + len(CROP_MIN_IOU)]))


def crop(sample: Sample, draw: Crop) -> Sample:
    """SSD's constrained crop, as the reference has it, all trials at once.

    Each rule asks that the crop's IoU with every box be at least its minimum, and takes the first trial that
    meets it and holds the centre of a box. One of the rules met, or the whole view, is chosen at random.
    Boxes whose centre stays inside are kept and cut at the crop's edges.
    """
    crops = tf.concat([sample.view[None], _crop_trials(sample.view, draw)], 0)        # [51, 4]
    usable = _is_usable(sample, tf.cast(crops, tf.float32)) & (tf.range(CROP_TRIALS + 1) > 0)
    overlaps = box_ops.iou(tf.cast(crops, tf.float32)[:, None], sample.boxes)         # [51, n]
    lowest = tf.reduce_min(overlaps, axis=1)                                          # +inf without boxes
    met = (lowest >= tf.constant(CROP_MIN_IOU)[:, None]) & usable                     # [6, 51]
    firsts = tf.concat([[0], tf.argmax(met, axis=1, output_type=tf.int32)], 0)        # [7]
    allowed = tf.concat([[True], tf.reduce_any(met, axis=1)], 0)                      # [7]
    chosen = crops[firsts[tf.argmax(tf.where(allowed, draw.priorities, -1.))]]
    return _crop_to(sample, chosen)


def _crop_trials(view, draw):
    """int32 [50, 4] rectangles inside the view; aspect between 1:2 and 2:1 as far as the view allows."""
    near, size = view[:2], tf.cast(view[2:] - view[:2], tf.float32)
    scale = CROP_SCALE[0] + draw.scale * (CROP_SCALE[1] - CROP_SCALE[0])
    low, high = tf.maximum(1 / CROP_ASPECT, scale ** 2), tf.minimum(CROP_ASPECT, scale ** -2)
    aspect = tf.sqrt(low + draw.aspect * (high - low))
    sides = tf.stack([scale * aspect, scale / aspect], axis=1) * size                 # [50, 2]
    sides = tf.clip_by_value(tf.floor(sides), 1., size)
    corner = near + tf.cast(tf.stack([draw.left, draw.top], axis=1) * (size - sides), tf.int32)
    return tf.concat([corner, corner + tf.cast(sides, tf.int32)], axis=1)


def _is_usable(sample, crops):
    """Whether a crop holds the centre of a box; without boxes, whether it shows any of the image. [51]."""
    image = tf.cast(tf.stack([0, 0, sample.width, sample.height]), tf.float32)
    if_empty = box_ops.intersection(crops, image) > 0
    some = tf.reduce_any(_centres_inside(sample.boxes, crops[:, None]), axis=1)
    return tf.where(tf.shape(sample.boxes)[0] > 0, some, if_empty)


def _centres_inside(boxes, rectangles):
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    return tf.reduce_all((centres >= rectangles[..., :2]) & (centres < rectangles[..., 2:]), axis=-1)


def _crop_to(sample, view):
    return _cut_at(keep(sample, _centres_inside(sample.boxes, tf.cast(view, tf.float32))), view)


def _cut_at(sample, view):
    """The sample with this view, its boxes cut at the view's edges."""
    edges = tf.cast(view, tf.float32)
    return sample._replace(view=view, boxes=tf.clip_by_value(sample.boxes, tf.tile(edges[:2], [2]),
                                                             tf.tile(edges[2:], [2])))


class Colour(NamedTuple):
    """brightness in -32..32 added, hue in radians, saturation and value as factors in .5..1.5."""
    brightness: Any
    hue: Any
    saturation: Any
    value: Any


def draw_colour(seed: tf.Tensor) -> Colour:
    """Each part is unchanged with probability one half."""
    numbers = tf.random.stateless_uniform([4, 2], seed)
    parts = tf.where(numbers[:, 0] < .5, 2 * numbers[:, 1] - 1, 0.) * [BRIGHTNESS, HUE, SATURATION, VALUE]
    return Colour(parts[0], parts[1], 1 + parts[2], 1 + parts[3])


def colour(sample: Sample, draw: Colour) -> Sample:
    """Brightness, then hue, saturation and value as one matrix: a turn and a stretch of the I-Q plane of YIQ.

    In HSV these are a cylinder's coordinates and need branches for every pixel; turning the chroma plane is
    the linear form of the same, so all of it is one 3 x 3 product.
    """
    chroma = draw.saturation * tf.stack([tf.cos(draw.hue), tf.sin(draw.hue)])
    turned = tf.stack([tf.constant([1., 0., 0.]), tf.stack([0., chroma[0], -chroma[1]]),
                       tf.stack([0., chroma[1], chroma[0]])])
    matrix = draw.value * tf.matmul(_RGB, tf.matmul(turned, _YIQ))
    return sample._replace(matrix=tf.matmul(matrix, sample.matrix),
                           offset=draw.value * (sample.offset + draw.brightness))


def draw_grey(seed: tf.Tensor) -> tf.Tensor:
    """bool scalar."""
    return tf.random.stateless_uniform([], seed) < GREY_CHANCE


def grey(sample: Sample, draw: tf.Tensor) -> Sample:
    """Removes the colour: every channel becomes the luma."""
    luma = tf.tile(tf.constant(_YIQ[:1]), [3, 1])
    matrix = tf.where(draw, tf.matmul(luma, sample.matrix), sample.matrix)
    return sample._replace(matrix=matrix)


def draw_interpolation(seed: tf.Tensor) -> tf.Tensor:
    """int32 scalar, index into ``RESIZES``; bilinear (0), as without augmentation, is one of them."""
    return tf.random.stateless_uniform([], seed, 0, len(RESIZES), tf.int32)


def interpolate(sample: Sample, draw: tf.Tensor) -> Sample:
    """Chooses the kernel that will resize the pixels; all have pixel centres at half integers."""
    return sample._replace(interpolation=draw)


def draw_flip(seed: tf.Tensor) -> tf.Tensor:
    """bool scalar."""
    return tf.random.stateless_uniform([], seed) < .5


def flip(sample: Sample, draw: tf.Tensor) -> Sample:
    """Exchanges left and right of what is seen."""
    return sample._replace(mirrored=tf.not_equal(sample.mirrored, draw))


def draw_vflip(seed: tf.Tensor) -> tf.Tensor:
    """bool scalar."""
    return tf.random.stateless_uniform([], seed) < .5


def vflip(sample: Sample, draw: tf.Tensor) -> Sample:
    """Exchanges top and bottom of what is seen: for images without an "up"."""
    return sample._replace(upended=tf.not_equal(sample.upended, draw))


def draw_rot90(seed: tf.Tensor) -> tf.Tensor:
    """int32 scalar, quarter turns 0 to 3."""
    return tf.random.stateless_uniform([], seed, 0, 4, tf.int32)


def rot90(sample: Sample, draw: tf.Tensor) -> Sample:
    """Turns what is seen by quarters, counterclockwise as ``np.rot90``: for images without an "up".

    A quarter exchanges x and y and reverses top and bottom; the reflections before it change their places.
    """
    mirrored, upended = sample.mirrored, sample.upended
    not_mirrored, not_upended = tf.logical_not(mirrored), tf.logical_not(upended)
    return sample._replace(turned=tf.not_equal(sample.turned, draw % 2 == 1),
                           mirrored=tf.stack([mirrored, upended, not_mirrored, not_upended])[draw],
                           upended=tf.stack([upended, not_mirrored, not_upended, mirrored])[draw])


def draw_blur(seed: tf.Tensor) -> tf.Tensor:
    """float32 scalar, sigma; 0 for none."""
    coin, share = tf.unstack(tf.random.stateless_uniform([2], seed))
    return tf.where(coin < BLUR_CHANCE, BLUR_SIGMA[0] + share * (BLUR_SIGMA[1] - BLUR_SIGMA[0]), 0.)


def blur(sample: Sample, draw: tf.Tensor) -> Sample:
    """Blurs what is seen a little, as if out of focus."""
    return sample._replace(blur=draw)


class Augmentation(NamedTuple):
    """A row of the table of augmentations, those of ``mix`` included.

    Attributes:
      stream: keeps its random numbers apart; a number that is in use never changes, so that old runs repeat.
      draw: int64 [2] seed -> the numbers.
      apply: (sample, the numbers) -> sample.
      changes: what it plans, a part of the pipeline that is left out where no augmentation asks for it: 'images'
        (the pixels of several), 'view' (geometry: which part is seen, and whether in a mirror), 'turn' (which side
        is up), 'kernel' (of the resizing), 'colour' or 'focus'.
    """
    stream: int
    draw: Callable
    apply: Callable
    changes: str


# name -> augmentation, in the order of application
AUGMENTATIONS = {
    'colour': Augmentation(0, draw_colour, colour, 'colour'),
    'grey': Augmentation(5, draw_grey, grey, 'colour'),
    'expand': Augmentation(1, draw_expand, expand, 'view'),
    'jitter': Augmentation(7, draw_jitter, jitter, 'view'),     # behind expand and before crop, which sees what it left
    'crop': Augmentation(2, draw_crop, crop, 'view'),
    'interpolation': Augmentation(3, draw_interpolation, interpolate, 'kernel'),
    'blur': Augmentation(6, draw_blur, blur, 'focus'),
    'rot90': Augmentation(9, draw_rot90, rot90, 'turn'),
    'vflip': Augmentation(8, draw_vflip, vflip, 'turn'),
    'flip': Augmentation(4, draw_flip, flip, 'view'),
}


def augment(sample: Sample, names: Iterable[str], seed: tf.Tensor) -> Sample:
    """Applies the named augmentations in the table's order; int64 [2] ``seed`` decides everything.

    Each draws from a stream of its own, so leaving one out does not change the others.
    """
    for name, one in AUGMENTATIONS.items():
        if name in names:
            sample = one.apply(sample, one.draw(tf.random.experimental.stateless_fold_in(seed, one.stream)))
    return sample
