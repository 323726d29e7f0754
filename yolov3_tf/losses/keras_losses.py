"""IoU, GIoU, DIoU, CIoU and focal losses for anybody's Keras model: functions and ``tf.keras.losses.Loss`` classes.

    model.compile(loss={'boxes': GIoULoss(), 'object': FocalBinaryCrossentropy(from_logits=True)})

Boxes are [..., 4] x1, y1, x2, y2 in any unit (fractions of an image down to 1e-4 wide, or pixels); as every
overlap treats both axes alike, y1, x1, y2, x2 gives the same. Arithmetic is float32 whatever comes in, for
areas in pixels overflow float16. Functions return one loss for all axes but the last; classes then weight
by ``sample_weight`` (for boxes [B, N, 4]: [B, N], or [B, 1] for one an image) and reduce as all of Keras's losses
do. All are registered with Keras, so a saved model that was compiled with one is loaded again where this
module was imported.
"""
from __future__ import annotations

import math

import tensorflow as tf

from yolov3_tf import boxes as box_ops
from yolov3_tf.errors import InputError

_registered = tf.keras.utils.register_keras_serializable('yolov3_tf')
_NEAR_0 = 1e-7      # probabilities are kept that far from 0 and 1, as Keras does


@_registered
def iou_loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """1 - IoU of boxes [..., 4] -> float32 [...] in 0..1; without gradient where they do not overlap."""
    return 1 - box_ops.iou(_boxes(y_pred), _boxes(y_true))


@_registered
def giou_loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """1 - generalised IoU of boxes [..., 4] -> float32 [...] in 0..2 (Rezatofighi et al., CVPR 2019)."""
    return 1 - box_ops.giou(_boxes(y_pred), _boxes(y_true))


@_registered
def diou_loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """1 - distance IoU of boxes [..., 4] -> float32 [...] in 0..2 (Zheng et al., AAAI 2020)."""
    return 1 - box_ops.diou(_boxes(y_pred), _boxes(y_true))


@_registered
def ciou_loss(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
    """1 - complete IoU of boxes [..., 4] -> float32 [...] in 0..2.5 (Zheng et al., AAAI 2020)."""
    return 1 - box_ops.ciou(_boxes(y_pred), _boxes(y_true))


@_registered
def focal_binary_crossentropy(y_true: tf.Tensor, y_pred: tf.Tensor, alpha: float | None = None, gamma: float = 2.,
                              from_logits: bool = False) -> tf.Tensor:
    """Mean over the last axis of a |y - p|^gamma BCE(y, p) (Lin et al., ICCV 2017).

    Where y is 0 or 1 this is ``tf.keras.losses.BinaryFocalCrossentropy``; where y lies between (an IoU as
    the objectness to reach) it is the quality focal loss of Li et al., NeurIPS 2020, equation 2.

    Args:
      y_true: [..., C] in 0..1.
      y_pred: [..., C] probabilities, or logits with ``from_logits``, which is numerically stabler.
      alpha: a is alpha for y = 1, 1 - alpha for y = 0, in between by y; None: a is 1, as in ``losses.objectness``.
      gamma: 0 or more; 0 is the plain cross-entropy.

    Returns:
      float32 [...].

    Raises:
      InputError: alpha outside 0..1, gamma negative.
    """
    _check_focal(alpha, gamma)
    y_true, y_pred = tf.cast(y_true, tf.float32), tf.cast(y_pred, tf.float32)
    if from_logits:
        probability = tf.sigmoid(y_pred)
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(y_true, y_pred)
    else:
        probability = tf.clip_by_value(y_pred, _NEAR_0, 1 - _NEAR_0)
        entropy = -(y_true * tf.math.log(probability) + (1 - y_true) * tf.math.log1p(-probability))
    # A power below 1 has no finite slope at 0.
    loss = tf.maximum(tf.abs(y_true - probability), _NEAR_0) ** gamma * entropy
    if alpha is not None:
        loss *= y_true * alpha + (1 - y_true) * (1 - alpha)
    return tf.reduce_mean(loss, axis=-1)


class _OverlapLoss(tf.keras.losses.Loss):
    """Keras's reduction around the class's ``loss``."""

    def __init__(self, reduction='sum_over_batch_size', name=None):
        super().__init__(reduction=reduction, name=name or self.loss.__name__)

    def call(self, y_true, y_pred):
        return self.loss(y_true, y_pred)


@_registered
class IoULoss(_OverlapLoss):
    """``iou_loss`` as a class; reduction 'sum_over_batch_size' (the mean), 'sum' or 'none'."""
    loss = staticmethod(iou_loss)


@_registered
class GIoULoss(_OverlapLoss):
    """``giou_loss`` as a class; reduction 'sum_over_batch_size' (the mean), 'sum' or 'none'."""
    loss = staticmethod(giou_loss)


@_registered
class DIoULoss(_OverlapLoss):
    """``diou_loss`` as a class; reduction 'sum_over_batch_size' (the mean), 'sum' or 'none'."""
    loss = staticmethod(diou_loss)


@_registered
class CIoULoss(_OverlapLoss):
    """``ciou_loss`` as a class; reduction 'sum_over_batch_size' (the mean), 'sum' or 'none'."""
    loss = staticmethod(ciou_loss)


@_registered
class FocalBinaryCrossentropy(tf.keras.losses.Loss):
    """``focal_binary_crossentropy`` as a class; reduction 'sum_over_batch_size' (the mean), 'sum' or 'none'."""

    def __init__(self, alpha=None, gamma=2., from_logits=False, reduction='sum_over_batch_size',
                 name='focal_binary_crossentropy'):
        _check_focal(alpha, gamma)
        super().__init__(reduction=reduction, name=name)
        self.alpha, self.gamma, self.from_logits = alpha, gamma, from_logits

    def call(self, y_true, y_pred):
        return focal_binary_crossentropy(y_true, y_pred, self.alpha, self.gamma, self.from_logits)

    def get_config(self):
        return {**super().get_config(), 'alpha': self.alpha, 'gamma': self.gamma, 'from_logits': self.from_logits}


def _boxes(boxes):
    boxes = tf.convert_to_tensor(boxes)
    if boxes.shape.rank is not None and (not boxes.shape.rank or boxes.shape[-1] not in (4, None)):
        raise InputError(f'expected boxes [..., 4] x1, y1, x2, y2, got shape {boxes.shape}')
    return tf.cast(boxes, tf.float32)


def _check_focal(alpha, gamma):
    if alpha is not None and not 0 <= alpha <= 1:
        raise InputError(f'alpha {alpha} is not in 0..1: it is the weight of y = 1; None for no weight')
    if not 0 <= gamma < math.inf:
        raise InputError(f'gamma {gamma}: expected 0 or more; 0 is the plain cross-entropy')
