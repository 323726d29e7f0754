"""models.head: which level sees which features, and in which order they come out."""
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.models.blocks import ConvStack
from yolov3_tf.models.head import coupled

CHANNELS = 3 * (5 + 2)


@pytest.fixture(scope='module')
def head():
    stack = ConvStack(.125)
    stack.count, stack.part = 52, 'head'
    routes = [tf.keras.Input([None, None, channels]) for channels in (32, 64, 128)]
    model = tf.keras.Model(routes, coupled(routes, CHANNELS, stack))
    assert stack.count == 75
    return model


@pytest.fixture
def routes():
    """Features of a 64 x 96 picture at stride 8, 16 and 32."""
    rng = np.random.default_rng(0)
    return [rng.random((1, 64 // stride, 96 // stride, channels), np.float32)
            for stride, channels in ((8, 32), (16, 64), (32, 128))]


def test_finest_level_comes_first(head, routes):
    assert [tuple(level.shape) for level in head(routes)] == [
        (1, 8, 12, CHANNELS), (1, 4, 6, CHANNELS), (1, 2, 3, CHANNELS)]


def test_coarse_features_reach_finer_levels_and_not_the_other_way(head, routes):
    before = head(routes)
    for changed, levels in ((0, [0]), (1, [0, 1]), (2, [0, 1, 2])):
        others = [route + (index == changed) for index, route in enumerate(routes)]
        after = head([np.float32(route) for route in others])
        assert [index for index in range(3) if np.abs(after[index] - before[index]).max() > 1e-6] == levels


def test_up_sampled_features_lie_before_the_finer_ones(head):
    """Channels of the joint, by the paper: 256 up-sampled + 512 and 128 up-sampled + 256, an eighth of each."""
    for name, up, finer in (('head_join_60', 32, 64), ('head_join_68', 16, 32)):
        first, second = head.get_layer(name).input
        assert (first.shape[-1], second.shape[-1]) == (up, finer)


def test_up_sampling_repeats_the_nearest(head):
    layer = next(layer for layer in head.layers if isinstance(layer, tf.keras.layers.UpSampling2D))
    np.testing.assert_array_equal(layer(np.float32([[1, 2]])[None, ..., None])[0, ..., 0],
                                  [[1, 1, 2, 2], [1, 1, 2, 2]])


def test_outputs_are_the_published_convolutions_without_batch_norm(head):
    assert {layer.name for layer in head.layers if getattr(layer, 'use_bias', False)} == {
        'head_conv_59', 'head_conv_67', 'head_conv_75'}
    for number in (59, 67, 75):
        assert tuple(head.get_layer(f'head_conv_{number}').kernel.shape[:2]) == (1, 1)
