"""The three-level head: each level refines its features, predicts, and passes them up to the finer level."""
from __future__ import annotations

import tensorflow as tf

from yolov3_tf.models.blocks import ConvStack


def coupled(routes, channels: int, stack: ConvStack):
    """YOLOv3's own head: one output convolution a level holds box, objectness and classes.

    Args:
      routes: features at stride 8, 16 and 32.
      channels: anchors a level times (5 + classes).

    Returns:
      [B, H / stride, W / stride, channels] at stride 8, 16 and 32.
    """
    fine, middle, coarse = routes
    route, net = _block(coarse, 512, stack)
    outputs = [stack.output(net, channels)]
    for finer, filters in ((middle, 256), (fine, 128)):
        route, net = _block(_join(route, finer, filters, stack), filters, stack)
        outputs.append(stack.output(net, channels))
    return outputs[::-1]


def _block(x, filters, stack):
    """Alternating 1x1 and 3x3 convolutions -> (the fifth, for the finer level; the sixth, for the output)."""
    for _ in range(2):
        x = stack.conv(x, filters, 1)
        x = stack.conv(x, 2 * filters, 3)
    route = stack.conv(x, filters, 1)
    return route, stack.conv(route, 2 * filters, 3)


def _join(route, finer, filters, stack):
    """Halves the coarse features' channels, doubles their size and lays them before the finer ones."""
    x = stack.conv(route, filters, 1)
    x = tf.keras.layers.UpSampling2D(2, name=f'head_up_{stack.count:02d}')(x)
    return tf.keras.layers.Concatenate(name=f'head_join_{stack.count:02d}')([x, finer])
