"""models.head: which level sees which features, and in which order they come out; the published separation."""
import re

import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.models.blocks import ConvStack, Upsample
from yolov3_tf.models.head import HEADS, separate

CLASSES = 2


def build(head):
    """A head an eighth as wide as the published one, on features of its own."""
    stack = ConvStack(.125)
    stack.count, stack.part = 52, 'head'
    routes = [tf.keras.Input([None, None, channels]) for channels in (32, 64, 128)]
    model = tf.keras.Model(routes, HEADS[head](routes, CLASSES, 3, stack))
    assert stack.count == 75
    return model


@pytest.fixture(scope='module')
def heads():
    return {name: build(name) for name in HEADS}


@pytest.fixture(scope='module')
def head(heads):
    return heads['coupled']


@pytest.fixture
def routes():
    """Features of a 64 x 96 image at stride 8, 16 and 32."""
    rng = np.random.default_rng(0)
    return [rng.random((1, 64 // stride, 96 // stride, channels), np.float32)
            for stride, channels in ((8, 32), (16, 64), (32, 128))]


@pytest.mark.parametrize('name', HEADS)
def test_finest_level_comes_first(heads, routes, name):
    assert [tuple(level.shape) for level in heads[name](routes)] == [
        (1, 3 * 8 * 12, 7), (1, 3 * 4 * 6, 7), (1, 3 * 2 * 3, 7)]


@pytest.mark.parametrize('name', HEADS)
def test_coarse_features_reach_finer_levels_and_not_the_other_way(heads, routes, name):
    before = heads[name](routes)
    for changed, levels in ((0, [0]), (1, [0, 1]), (2, [0, 1, 2])):
        others = [route + (index == changed) for index, route in enumerate(routes)]
        after = heads[name]([np.float32(route) for route in others])
        for fields in (slice(4), slice(4, None)):               # the box; objectness and classes
            assert [index for index in range(3) if np.abs(
                after[index][..., fields] - before[index][..., fields]).max() > 1e-6] == levels


@pytest.mark.parametrize('name', HEADS)
def test_up_sampled_features_lie_before_the_finer_ones(heads, name):
    """Channels of the joint, by the paper: 256 up-sampled + 512 and 128 up-sampled + 256, an eighth of each."""
    for joint, up, finer in (('head_join_60', 32, 64), ('head_join_68', 16, 32)):
        first, second = heads[name].get_layer(joint).input
        assert (first.shape[-1], second.shape[-1]) == (up, finer)


def test_up_sampling_repeats_the_nearest(head):
    layer = next(layer for layer in head.layers if isinstance(layer, Upsample))
    np.testing.assert_array_equal(layer(np.float32([[1, 2]])[None, ..., None])[0, ..., 0],
                                  [[1, 1, 2, 2], [1, 1, 2, 2]])


@pytest.mark.parametrize('name, outputs', [
    ('coupled', ['head_conv_59', 'head_conv_67', 'head_conv_75']),
    ('separated', [f'head_{number}_{what}_conv_07' for number in (59, 67, 75) for what in ('box', 'class')]),
    ('separated_early', [f'head_{number}_{what}_conv_07' for number in (53, 61, 69) for what in ('box', 'class')])])
def test_outputs_are_the_published_convolutions_without_batch_norm(heads, name, outputs):
    head = heads[name]
    assert sorted(layer.name for layer in head.layers if getattr(layer, 'use_bias', False)) == outputs
    for output in outputs:
        conv = head.get_layer(output)
        assert tuple(conv.kernel.shape[:2]) == (1, 1)
        assert conv.kernel.shape[3] == {'bo': 12, 'cl': 9}.get(output[8:10], 21)


def test_separated_blocks_are_the_published_ones(heads):
    """Per level block(128) and block(64), an eighth as wide, on the 2f channels that coupled's output would read."""
    for number, inputs in ((59, 128), (67, 64), (75, 32)):
        for what, f, last in (('class', 16, 9), ('box', 8, 12)):
            convs = [heads['separated'].get_layer(f'head_{number}_{what}_conv_{k:02d}') for k in range(1, 8)]
            assert [tuple(conv.kernel.shape) for conv in convs] == [
                (1, 1, inputs, f), (3, 3, f, 2 * f), (1, 1, 2 * f, f), (3, 3, f, 2 * f), (1, 1, 2 * f, f),
                (3, 3, f, 2 * f), (1, 1, 2 * f, last)]


def test_early_blocks_are_the_levels_own_twice(heads):
    """block(512), (256), (128) once a branch, on the level's 1024, 768, 384 channels; an eighth of each."""
    for number, inputs, f in ((53, 128, 64), (61, 96, 32), (69, 48, 16)):
        for what, last in (('class', 9), ('box', 12)):
            convs = [heads['separated_early'].get_layer(f'head_{number}_{what}_conv_{k:02d}') for k in range(1, 8)]
            assert [tuple(conv.kernel.shape) for conv in convs] == [
                (1, 1, inputs, f), (3, 3, f, 2 * f), (1, 1, 2 * f, f), (3, 3, f, 2 * f), (1, 1, 2 * f, f),
                (3, 3, f, 2 * f), (1, 1, 2 * f, last)]


@pytest.mark.parametrize('name', ['separated', 'separated_early'])
def test_a_branch_moves_its_own_fields_alone_and_only_the_class_branch_feeds_finer_levels(heads, routes, name):
    """Changes the first convolution of each branch of the coarsest level in turn."""
    head, number = heads[name], {'separated': 59, 'separated_early': 53}[name]
    before = head(routes)
    for what, own in (('box', slice(4)), ('class', slice(4, None))):
        conv = head.get_layer(f'head_{number}_{what}_conv_01')
        weights = conv.get_weights()
        conv.set_weights([weights[0] * -1])
        after = head(routes)
        conv.set_weights(weights)
        moved = [np.abs(new - old).max(axis=(0, 1)) > 1e-6 for new, old in zip(after, before)]      # [level][field]
        assert np.flatnonzero(moved[2]).tolist() == list(range(7))[own]
        feeds = name == 'separated_early' and what == 'class'
        assert [level.any() for level in moved[:2]] == [feeds, feeds]


def test_fields_are_put_together_anchor_by_anchor():
    """Channels of the two output convolutions numbered: per anchor tx ty tw th, then objectness and classes."""
    stack = ConvStack(.125)
    stack.part = 'head'
    net = tf.keras.Input([None, None, 8])
    slots = separate(net, CLASSES, 3, stack)
    assert stack.count == 1
    model = tf.keras.Model(net, slots)
    boxes, scores = (model.get_layer(f'head_01_{what}_conv_07').output for what in ('box', 'class'))
    cells = np.float32([0, 100])[None, None, :, None]                                # two cells of one row
    planted = [cells + np.arange(12, dtype=np.float32), cells + np.arange(50, 59, dtype=np.float32)]
    slots = tf.keras.Model([boxes, scores], slots)(planted)[0].numpy().astype(int).tolist()
    assert slots == [
        [0, 1, 2, 3, 50, 51, 52], [4, 5, 6, 7, 53, 54, 55], [8, 9, 10, 11, 56, 57, 58],
        [100, 101, 102, 103, 150, 151, 152], [104, 105, 106, 107, 153, 154, 155],
        [108, 109, 110, 111, 156, 157, 158]]


def test_the_trunk_has_the_same_names_with_every_head(heads):
    """So that the weights of one head can be loaded into another."""
    def trunk(head):
        return {layer.name: tuple(layer.kernel.shape) for layer in heads[head].layers
                if re.match(r'head_conv_\d+$', layer.name)}
    coupled, separated, early = (trunk(name) for name in ('coupled', 'separated', 'separated_early'))
    assert set(coupled.items()) - set(separated.items()) == {
        (f'head_conv_{number}', (1, 1, channels, 21)) for number, channels in ((59, 128), (67, 64), (75, 32))}
    assert separated.items() <= coupled.items() and early.items() <= coupled.items()
    assert sorted(early) == ['head_conv_60', 'head_conv_68']
