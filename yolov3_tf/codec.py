"""What the network takes and gives: its input's range, where its outputs' numbers lie, and the box code both ways.

    fraction = s sigmoid(t_xy) - (s - 1) / 2        of the cell; s is the level's grid sensitivity, 1 in YOLOv3
    centre   = (fraction + cell) * stride
    size     = anchor * exp(t_wh)                   t_wh = log(size / anchor)

Source: Redmon & Farhadi, "YOLOv3: An Incremental Improvement", 2018, section 2.1 and figure 2; s from
Bochkovskiy et al., "YOLOv4", 2020, section 3.3: with s > 1 a centre on a cell's edge needs no infinite offset.
"""
from __future__ import annotations

import tensorflow as tf

from yolov3_tf import boxes as box_ops
from yolov3_tf.structures import Priors, RawPredictions

# exp(10) times the largest prior is 8 million pixels: no box needs more, and areas of such boxes are
# still finite in float32. An unbounded exp is the most reported cause of NaN in the reference.
LARGEST_OFFSET = 10.
# A healthy training never leaves this range; inside it every square, sum and product is finite.
LARGEST_LOGIT = 1e4


def to_input(images: tf.Tensor) -> tf.Tensor:
    """uint8 [B, H, W, 3] RGB -> float32 in 0..1, as the network takes it."""
    return tf.cast(images, tf.float32) / 255.


def split(outputs: tf.Tensor) -> RawPredictions:
    """The network's output [B, S, 5 + C] -> its three parts, float32 and bounded to +-1e4.

    The bound changes no value of a healthy network. NaN passes through on purpose: the training loop
    stops on it and names the images.
    """
    outputs = tf.clip_by_value(tf.cast(outputs, tf.float32), -LARGEST_LOGIT, LARGEST_LOGIT)
    return RawPredictions(offsets=outputs[..., :4], objectness=outputs[..., 4], classes=outputs[..., 5:])


def decode(offsets: tf.Tensor, priors: Priors) -> tf.Tensor:
    """tx, ty, tw, th of all S slots -> boxes.

    Args:
      offsets: float32 [..., S, 4].

    Returns:
      float32 [..., S, 4] boxes in pixels of the network input; not clipped to it.
    """
    centre = (fraction_of(offsets[..., :2], priors.sensitivity) + priors.cells) * priors.strides[:, None]
    size = priors.anchors * tf.exp(tf.clip_by_value(offsets[..., 2:], -LARGEST_OFFSET, LARGEST_OFFSET))
    return box_ops.from_cxcywh(tf.concat([centre, size], axis=-1))


def fraction_of(t_xy: tf.Tensor, sensitivity: tf.Tensor) -> tf.Tensor:
    """Position of a centre in its cell, in -(s - 1) / 2..(s + 1) / 2 of the cell.

    Args:
      t_xy: float32 [..., 2] raw tx, ty.
      sensitivity: float32 [...] grid sensitivity s.

    Returns:
      float32 [..., 2] x, y.
    """
    scale = sensitivity[..., None]
    return scale * tf.sigmoid(t_xy) - (scale - 1) / 2


def encode(boxes: tf.Tensor, priors: Priors, slots: tf.Tensor) -> tf.Tensor:
    """Boxes -> the targets of the slots that are assigned to them.

    Args:
      boxes: float32 [B, N, 4] pixels of the network input.
      slots: int32 [B, N] slot of each box.

    Returns:
      float32 [B, N, 4]: x and y as the fraction of the cell (the target of ``fraction_of``, in 0..1 where
      the centre lies in the slot's cell), then log(width / anchor), log(height / anchor). Sizes under
      a hundredth of a pixel count as that, so that the logarithm is finite for boxes without area.
    """
    boxes_cxcywh = box_ops.to_cxcywh(boxes)
    centre = boxes_cxcywh[..., :2] / tf.gather(priors.strides, slots)[..., None] - tf.gather(priors.cells, slots)
    size = tf.math.log(tf.maximum(boxes_cxcywh[..., 2:], .01) / tf.gather(priors.anchors, slots))
    return tf.concat([centre, size], axis=-1)
