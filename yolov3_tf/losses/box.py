"""Box terms: how far a positive slot's box is from its object. One table, one signature.

Each takes ``Matched`` and returns named losses, each [B, M], before weighting and masking.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from yolov3_tf import boxes as box_ops
from yolov3_tf.codec import LARGEST_OFFSET, fraction_of


class Matched(NamedTuple):
    """Predictions of the matched slots beside their objects; M candidates an image.

    Attributes:
      offsets: float32 [B, M, 4] raw tx, ty, tw, th.
      boxes: float32 [B, M, 4] the same decoded, pixels.
      truth_offsets: float32 [B, M, 4] fraction of the cell x, y; log size ratios (``codec.encode``).
      truth_boxes: float32 [B, M, 4] pixels.
      anchors: float32 [B, M, 2] prior width, height in pixels.
      strides: float32 [B, M].
      smallness: float32 [B, M] 2 - w h / (W H) of the object: small boxes weigh up to twice as much.
      sensitivity: float32 [B, M] grid sensitivity of the slot's level.
      image: float32 [2] width, height of the network input in pixels.
      rivals: [B, N, 4] boxes and bool [B, M, N] mask of the objects that ``matched='best'`` may choose
        from, or None to compare with the assigned object.
    """
    offsets: Any
    boxes: Any
    truth_offsets: Any
    truth_boxes: Any
    anchors: Any
    strides: Any
    smallness: Any
    sensitivity: Any
    image: Any
    rivals: Any = None


def mse(matched: Matched) -> dict[str, tf.Tensor]:
    """The reference's squared error in t-space, (2 - wh) sum of squares, centre and size apart."""
    size = tf.square(matched.truth_offsets[..., 2:] - matched.offsets[..., 2:])
    return {'xy': matched.smallness * _centre_squares(matched), 'wh': matched.smallness * tf.reduce_sum(size, -1)}


def sqrt_wh(matched: Matched) -> dict[str, tf.Tensor]:
    """YOLOv1: squared error of x, y and of sqrt w, sqrt h, so that a pixel counts more on a small box.

    x, y as fractions of the cell, w, h as fractions of the input (as in the paper), which keeps every term
    below about 1. Source: Redmon et al., "You Only Look Once", CVPR 2016, equation 3.
    """
    target = tf.sqrt(_size_in_image(matched))
    # Half the exponent, because the square root of a decoded size has no finite gradient near 0.
    size = tf.sqrt(matched.anchors / matched.image) * tf.exp(_bounded(matched.offsets[..., 2:]) / 2)
    return {'xy': _centre_squares(matched), 'wh': tf.reduce_sum(tf.square(target - size), -1)}


def plain_wh(matched: Matched) -> dict[str, tf.Tensor]:
    """YOLOv2: (2 - wh) times the squared error of x, y, w, h; units as in ``sqrt_wh``."""
    size = matched.anchors / matched.image * tf.exp(_bounded(matched.offsets[..., 2:]))
    squares = tf.reduce_sum(tf.square(_size_in_image(matched) - size), -1)
    return {'xy': matched.smallness * _centre_squares(matched), 'wh': matched.smallness * squares}


def _centre_squares(matched: Matched):
    fraction = fraction_of(matched.offsets[..., :2], matched.sensitivity)
    return tf.reduce_sum(tf.square(matched.truth_offsets[..., :2] - fraction), -1)


def _size_in_image(matched: Matched):
    """Width and height of the objects as fractions of the network input, [B, M, 2]."""
    return tf.maximum(matched.truth_boxes[..., 2:] - matched.truth_boxes[..., :2], 0.) / matched.image


def _bounded(t_wh):
    """Bounded as in ``codec.decode``: beyond, the size has no gradient."""
    return tf.clip_by_value(t_wh, -LARGEST_OFFSET, LARGEST_OFFSET)


def smooth_l1(matched: Matched) -> dict[str, tf.Tensor]:
    """Smooth L1 (beta 1) over SSD's four offsets from the prior on its cell's centre (the paper's eq. 3).

    The two centres differ by (fraction of the offsets - fraction of the object) strides, so the cell's own position
    cancels; the size offsets log(w / w_anchor) are tw, th themselves.
    """
    fraction = fraction_of(matched.offsets[..., :2], matched.sensitivity) - matched.truth_offsets[..., :2]
    centre = fraction * matched.strides[..., None] / matched.anchors
    away = tf.abs(tf.concat([centre, matched.offsets[..., 2:] - matched.truth_offsets[..., 2:]], axis=-1))
    return {'smooth_l1': tf.reduce_sum(tf.where(away < 1, away * away / 2, away - .5), axis=-1)}


def _overlap_loss(name, overlap):
    def loss(matched: Matched):
        if matched.rivals is None:
            return {name: 1 - overlap(matched.boxes, matched.truth_boxes)}
        boxes, mask = matched.rivals
        every = overlap(matched.boxes[..., :, None, :], boxes[..., None, :, :])         # [B, M, N]
        return {name: 1 - tf.reduce_max(tf.where(mask, every, -2.), axis=-1)}
    loss.__name__ = name
    loss.__doc__ = (f'1 - {name} of the decoded box and its object (``boxes.{name}``), without the (2 - wh) weight; '
                    'with rivals, the published code\'s maximum over all objects of the scale.')
    return loss


iou = _overlap_loss('iou', box_ops.iou)
giou = _overlap_loss('giou', box_ops.giou)
diou = _overlap_loss('diou', box_ops.diou)
ciou = _overlap_loss('ciou', box_ops.ciou)

BOX_LOSSES = {'mse': mse, 'sqrt_wh': sqrt_wh, 'plain_wh': plain_wh, 'smooth_l1': smooth_l1,
              'iou': iou, 'giou': giou, 'diou': diou, 'ciou': ciou}
# Losses of an overlap, which can be taken with the best object of the scale.
OVERLAPS = frozenset(('iou', 'giou', 'diou', 'ciou'))
