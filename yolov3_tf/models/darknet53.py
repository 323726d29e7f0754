"""Darknet-53 without its classifier (Redmon & Farhadi 2018, table 1): 52 convolutions, three outputs."""
from __future__ import annotations

import tensorflow as tf

from yolov3_tf.models.blocks import ConvStack

CONVOLUTIONS = 52
# (filters after the down-sampling convolution, residual blocks that follow it)
STEPS = ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))


def darknet53(images: tf.Tensor, stack: ConvStack) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """images [B, H, W, 3] -> features at stride 8 (256 channels), 16 (512) and 32 (1024)."""
    x = stack.conv(images, 32, 3)
    routes = []
    for filters, blocks in STEPS:
        x = stack.conv(x, filters, 3, stride=2)
        for _ in range(blocks):
            x = _residual(x, filters, stack)
        routes.append(x)
    return routes[2], routes[3], routes[4]


def _residual(x, filters, stack):
    y = stack.conv(x, filters // 2, 1)
    y = stack.conv(y, filters, 3)
    return tf.keras.layers.Add(name=f'backbone_add_{stack.count:02d}')([x, y])
