"""The network of the asymptotic step: a detector's backbone under ImageNet's pooling and one output a class."""
from __future__ import annotations

import re

import tensorflow as tf

from yolov3_tf.errors import InputError
from yolov3_tf.models.yolov3_network import BACKBONE

OUTPUT = 'classifier_output'


def classifier(detector: tf.keras.Model, num_classes: int) -> tf.keras.Model:
    """A classifier of which classes occur in an image.

    It shares the layers of the backbone with the detector, so that training it trains the detector.
    The end is Darknet-53's: the mean over all cells and one output a class, without softmax.

    Args:
      detector: a network whose backbone's layers match ``BACKBONE`` (``models.yolov3``).

    Returns:
      Model from float32 RGB in 0..1 [B, H, W, 3] to float32 logits [B, C].

    Raises:
      InputError: no layer of the detector matches ``BACKBONE``.
    """
    backbone = [layer for layer in detector.layers if re.search(BACKBONE, layer.name)]
    if not backbone:
        raise InputError('asymptotic fine tuning trains the backbone, and this network has none by name '
                         f'(expected layers that match {BACKBONE})')
    features = tf.keras.layers.GlobalAveragePooling2D(dtype='float32', name='classifier_pool')(backbone[-1].output)
    logits = tf.keras.layers.Dense(num_classes, dtype='float32', name=OUTPUT)(features)
    return tf.keras.Model(detector.inputs, logits, name='classifier')
