"""The YOLOv3 network: images in, one row of raw predictions for each slot out."""
from __future__ import annotations

import re

import tensorflow as tf

from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.models.blocks import ConvStack
from yolov3_tf.models.darknet53 import darknet53
from yolov3_tf.models.head import HEADS

ANCHORS_A_LEVEL = 3
BACKBONE = '^backbone_'
# Layers of separated heads, which darknet does not have: ``head_59_class_conv_01`` and the like.
BRANCHES = r'^.+_(class|box)_(conv|bn)_\d+$'
# Layers that weights for other classes, or of another head, may lack or hold in another shape.
OUTPUTS = f'^head_conv_(59|67|75)$|{BRANCHES}'


def build(num_classes: int, width_multiplier: float = 1., folded: bool = False,
          head: str = 'coupled') -> tf.keras.Model:
    """The network as a functional Keras model; precision follows the global Keras policy.

    Layers are named ``backbone_conv_01`` .. ``backbone_conv_52`` and ``head_conv_53`` ..
    ``head_conv_75`` (with ``.._bn_..`` beside), numbered as in darknet's weight files. Separated heads
    have branches in place of some of them (``models.head``).

    Args:
      num_classes: C, at least 1.
      width_multiplier: 1 is the published network: 61,949,149 trainable parameters at C = 80,
        61,626,049 at C = 20, beside 52,608 moving statistics.
      folded: convolutions with bias and no BatchNorm, for inference (``fold``).
      head: of ``head.HEADS``.

    Returns:
      Model from float32 RGB in 0..1 [B, H, W, 3], H and W multiples of 32, to float32 [B, S, 5 + C]:
      tx, ty, tw, th, objectness logit, class logits; slots ordered as in ``structures.Priors``.

    Raises:
      InputError: no class, a width multiplier that is not positive, or an unknown head.
    """
    levels = choose(HEADS, head, 'head')
    if num_classes < 1 or not 0 < width_multiplier < float('inf'):
        raise InputError(f'expected at least 1 class and a positive width multiplier (and no infinite one), '
                         f'got {num_classes} and {width_multiplier}')
    stack = ConvStack(width_multiplier, folded)
    images = tf.keras.Input([None, None, 3], name='images')
    routes = darknet53(images, stack)
    stack.part = 'head'
    slots = levels(routes, num_classes, ANCHORS_A_LEVEL, stack)
    outputs = tf.keras.layers.Concatenate(axis=1, dtype='float32', name='raw_predictions')(slots)
    return tf.keras.Model(images, outputs, name='yolov3')


def least_parameters(num_classes: int, width_multiplier: float) -> int:
    """A lower bound of the network's parameters, known without building it: its largest kernel and an output."""
    wide, widest = 512 * width_multiplier - 8, 1024 * width_multiplier - 8      # widths are rounded to eights
    return int(9 * max(8., wide) * max(8., widest) + 8 * ANCHORS_A_LEVEL * (5 + num_classes))


def darknet53_backbone(width_multiplier: float = 1., folded: bool = False) -> tf.keras.Model:
    """Darknet-53 without its classifier, as a functional Keras model; layers are named as in ``build``.

    Returns:
      Model from float32 RGB in 0..1 [B, H, W, 3], H and W multiples of 32, to the features at stride 8 (256
      channels), 16 (512) and 32 (1024).
    """
    images = tf.keras.Input([None, None, 3], name='images')
    return tf.keras.Model(images, darknet53(images, ConvStack(width_multiplier, folded)), name='darknet53')


def convolutions(model: tf.keras.Model) -> list[tuple]:
    """Pairs (convolution, its BatchNorm or None) in the order of darknet's weight files.

    The branches of a separated head are at the position of the convolutions they replace.
    """
    layers = {layer.name: layer for layer in model.layers}
    names = sorted((name for name in layers if '_conv_' in name), key=_position)
    return [(layers[name], layers.get(name.replace('_conv_', '_bn_'))) for name in names]


def _position(name):
    """``head_59_box_conv_07`` -> (59, name), ``head_conv_58`` -> (58, name)."""
    return int(re.findall(r'\d+', name)[0]), name


def fold(model: tf.keras.Model, folded: tf.keras.Model) -> None:
    """Copies ``model`` into ``folded`` (built with ``folded=True``), BatchNorm multiplied into the kernels.

    kernel' = kernel gamma / sqrt(variance + epsilon), bias' = beta - mean gamma / sqrt(variance + epsilon).
    """
    for (conv, norm), (target, _) in zip(convolutions(model), convolutions(folded)):
        if norm is None:
            target.set_weights(conv.get_weights())
            continue
        gamma, beta, mean, variance = norm.get_weights()
        factor = gamma / (variance + norm.epsilon) ** .5
        target.set_weights([conv.get_weights()[0] * factor, beta - mean * factor])
