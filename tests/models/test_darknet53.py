"""models.darknet53: table 1 of the paper, and the residual sum."""
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.models.blocks import ConvStack
from yolov3_tf.models.darknet53 import CONVOLUTIONS, darknet53


@pytest.fixture(scope='module')
def backbone():
    stack = ConvStack(.125)
    images = tf.keras.Input([None, None, 3])
    model = tf.keras.Model(images, darknet53(images, stack))
    assert stack.count == CONVOLUTIONS == 52
    return model


@pytest.mark.parametrize('height, width', [(32, 32), (64, 96), (160, 32)])
def test_routes_at_stride_8_16_and_32(backbone, height, width):
    routes = backbone(np.zeros((2, height, width, 3), np.float32))
    # 256, 512 and 1024 channels at the published width.
    assert [tuple(route.shape) for route in routes] == [
        (2, height // 8, width // 8, 32), (2, height // 16, width // 16, 64), (2, height // 32, width // 32, 128)]


def test_residual_blocks_lie_after_each_down_sampling(backbone):
    """1, 2, 8, 8 and 4 blocks of two convolutions, each group after one convolution of stride 2."""
    down, number = [], 2
    for blocks in (1, 2, 8, 8, 4):
        down.append(number)
        number += 1 + 2 * blocks
    convs = [layer for layer in backbone.layers if isinstance(layer, tf.keras.layers.Conv2D)]
    assert [int(conv.name[-2:]) for conv in convs if conv.strides[0] == 2] == down
    assert sum(isinstance(layer, tf.keras.layers.Add) for layer in backbone.layers) == 1 + 2 + 8 + 8 + 4


def test_residual_block_adds_to_what_it_is_given(backbone):
    """Convolution 27 halves the size to stride 16; blocks 28-29 to 42-43 follow. A block whose BatchNorm
    has gamma zero and beta b adds exactly LeakyReLU(b)."""
    for number in range(29, 44, 2):
        norm = backbone.get_layer(f'backbone_bn_{number}')
        norm.gamma.assign(np.zeros(norm.gamma.shape))
        norm.beta.assign(np.full(norm.beta.shape, number))
    ends = tf.keras.Model(backbone.input, [backbone.get_layer(name).output for name in (
        'backbone_leaky_27', 'backbone_add_43')])
    before, after = ends(np.random.default_rng(0).random((1, 32, 64, 3), np.float32))
    np.testing.assert_allclose(after, before + sum(range(29, 44, 2)), rtol=1e-6)
