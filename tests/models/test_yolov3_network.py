"""models.yolov3_network: published parameter counts, slots against the priors' layout, folding, freezing, precision."""
import re

import numpy as np
import pytest
import tensorflow as tf
from fixtures import narrow_network

from yolov3_tf.anchors import YOLOV3_ANCHORS, lay_out
from yolov3_tf.errors import InputError
from yolov3_tf.models import yolov3_network
from yolov3_tf.models.blocks import BatchNorm

CLASSES = 3


@pytest.fixture
def model():
    return liven(narrow_network.fresh(CLASSES))


def liven(model):
    """Gives a network averages as a training leaves them: none is at its start."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, BatchNorm):
            layer.set_weights([rng.uniform(.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return model


@pytest.fixture(scope='module')
def image():
    return np.random.default_rng(1).random((1, 64, 96, 3), np.float32)


@pytest.fixture
def policy():
    before = tf.keras.mixed_precision.global_policy()
    yield tf.keras.mixed_precision.set_global_policy
    tf.keras.mixed_precision.set_global_policy(before)


def count(variables):
    return sum(int(np.prod(variable.shape)) for variable in variables)


@pytest.mark.parametrize('classes, trainable', [(80, 61_949_149), (20, 61_626_049)])
def test_published_parameter_counts(classes, trainable):
    model = yolov3_network.build(classes)
    assert count(model.trainable_variables) == trainable
    assert count(model.non_trainable_variables) == 52_608
    backbone = [layer for layer in model.layers if re.match(yolov3_network.BACKBONE, layer.name)]
    assert sum(count(layer.trainable_variables) for layer in backbone) == 40_584_928


def block_parameters(inputs, f):
    """Of 1x1 f, 3x3 2f, three times, with gamma and beta each."""
    wide, narrow = 3 * 3 * f * 2 * f + 2 * 2 * f, 2 * f * f + 2 * f
    return inputs * f + 2 * f + 2 * narrow + 3 * wide


def test_published_parameter_count_of_the_separated_head():
    """The paper's +3,836,544 at C = 20, of 1024, 512 and 256 channels before the outputs."""
    expected = sum(block_parameters(n, 128) + 3 * (1 + 20) * (256 + 1) + block_parameters(n, 64) + 3 * 4 * (128 + 1)
                   - 3 * (5 + 20) * (n + 1) for n in (1024, 512, 256))
    assert expected == 3_836_544
    assert count(yolov3_network.build(20, head='separated').trainable_variables) == 61_626_049 + expected


def test_parameter_count_of_the_early_separation():
    """Three more blocks; the two outputs 63 (n + 1) + 12 (n + 1) are as large as the one of 75 (n + 1)."""
    expected = block_parameters(1024, 512) + block_parameters(768, 256) + block_parameters(384, 128)
    assert expected == 20_741_888
    assert count(yolov3_network.build(20, head='separated_early').trainable_variables) == 61_626_049 + expected


@pytest.mark.parametrize('height, width', [(32, 32), (64, 96), (352, 32)])
def test_any_multiple_of_32_gives_the_slots_of_the_priors(model, height, width):
    outputs = model(np.zeros((2, height, width, 3), np.float32))
    slots = lay_out(YOLOV3_ANCHORS, height, width).cells.shape[0]
    assert outputs.shape == (2, slots, 5 + CLASSES) and outputs.dtype == tf.float32
    assert slots == 3 * sum((height // stride) * (width // stride) for stride in (8, 16, 32))


@pytest.mark.parametrize('head', ['coupled', 'separated', 'separated_early'])
def test_slots_are_ordered_as_the_priors_are(head):
    """Plants (stride, row, column, anchor, field) where the output convolutions put theirs out."""
    height, width = 64, 96
    model = narrow_network.fresh(CLASSES, head=head)
    planted = []
    for stride in (8, 16, 32):
        rows, columns = height // stride, width // stride
        level = np.empty((1, rows, columns, 3 * (5 + CLASSES)), np.float32)
        for row in range(rows):
            for column in range(columns):
                for anchor in range(3):
                    for field in range(5 + CLASSES):
                        level[0, row, column, anchor * (5 + CLASSES) + field] = (
                            100_000 * stride + 5_000 * row + 100 * column + 10 * anchor + field)
        planted.append(level)
    names = [f'head_conv_{number}' for number in (75, 67, 59)]
    if head != 'coupled':       # the same values where the two branches of a level put theirs out
        numbers = (75, 67, 59) if head == 'separated' else (69, 61, 53)
        names = [f'head_{number}_{what}_conv_07' for number in numbers for what in ('box', 'class')]
        by_anchor = [level.reshape(*level.shape[:3], 3, 5 + CLASSES) for level in planted]
        planted = [part.reshape(*part.shape[:3], -1)
                   for level in by_anchor for part in (level[..., :4], level[..., 4:])]
    convs = [model.get_layer(name).output for name in names]
    outputs = tf.keras.Model(convs, model.output)(planted).numpy()[0]

    priors = lay_out(YOLOV3_ANCHORS, height, width)
    sizes = np.float32(YOLOV3_ANCHORS.sizes)
    for slot, values in enumerate(outputs):
        column, row = priors.cells[slot].numpy()
        stride, level = priors.strides[slot].numpy(), int(priors.levels[slot])
        anchor = int(np.flatnonzero((sizes[level] == priors.anchors[slot].numpy()).all(axis=1))[0])
        np.testing.assert_array_equal(
            values, 100_000 * stride + 5_000 * row + 100 * column + 10 * anchor + np.arange(5 + CLASSES))


def test_names_are_numbered_as_in_darknets_files(model):
    pairs = yolov3_network.convolutions(model)
    assert [conv.name for conv, _ in pairs] == [
        f'{"backbone" if number <= 52 else "head"}_conv_{number:02d}' for number in range(1, 76)]
    assert [conv.name for conv, norm in pairs if norm is None] == ['head_conv_59', 'head_conv_67', 'head_conv_75']
    assert all(norm.name == conv.name.replace('conv', 'bn') for conv, norm in pairs if norm is not None)
    assert [conv.name for conv, _ in pairs if re.match(yolov3_network.OUTPUTS, conv.name)] == [
        'head_conv_59', 'head_conv_67', 'head_conv_75']
    assert sum(bool(re.match(yolov3_network.BACKBONE, conv.name)) for conv, _ in pairs) == 52


@pytest.mark.parametrize('head, first', [('separated', 59), ('separated_early', 53)])
def test_branches_are_in_the_position_of_the_convolutions_they_replace(head, first):
    names = [conv.name for conv, _ in yolov3_network.convolutions(narrow_network.fresh(CLASSES, head=head))]
    numbers = [int(re.search(r'\d+', name).group()) for name in names]
    assert numbers == sorted(numbers) and numbers[first - 1:first + 13] == [first] * 14
    assert all(re.match(yolov3_network.OUTPUTS, name) for name in names[first - 1:first + 13])
    # Darknet's 75 less its 3 outputs, and the level's own blocks if they are in the branches; 6 x 7 instead.
    assert len(names) == 75 - 3 - (18 if head == 'separated_early' else 0) + 42


@pytest.mark.parametrize('head', ['coupled', 'separated', 'separated_early'])
def test_folded_network_gives_the_same(image, head):
    model = liven(narrow_network.fresh(CLASSES, head=head))
    folded = narrow_network.fresh(CLASSES, head=head, folded=True)
    yolov3_network.fold(model, folded)
    assert not any(isinstance(layer, BatchNorm) for layer in folded.layers)
    expected = model(image, training=False).numpy()
    assert expected.std(axis=1).min() > 1e-3            # not merely the biases
    np.testing.assert_allclose(folded(image, training=False), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize('adapt', [False, True])
def test_frozen_backbone_keeps_or_adapts_its_averages(image, adapt):
    model = narrow_network.fresh(CLASSES)
    backbone = [layer for layer in model.layers if re.match(yolov3_network.BACKBONE, layer.name)]
    for layer in backbone:
        layer.trainable = False
        if isinstance(layer, BatchNorm):
            layer.adapt = adapt
    head = count(model.trainable_variables)
    assert 0 < head == count(variable for layer in model.layers if layer.name.startswith('head_')
                             for variable in layer.trainable_variables)
    before = {layer.name: layer.get_weights() for layer in model.layers}
    model(image, training=True)
    for layer in model.layers:
        if isinstance(layer, BatchNorm):
            same = [np.array_equal(*pair) for pair in zip(before[layer.name], layer.get_weights())]
            moves = layer not in backbone or adapt
            assert same == [True, True, not moves, not moves], layer.name


def test_outputs_are_float32_under_mixed_precision(policy, image):
    policy('mixed_bfloat16')
    half = yolov3_network.build(CLASSES, .125)
    outputs = half(image, training=True)
    assert outputs.dtype == tf.float32 and np.isfinite(outputs).all()
    inside = tf.keras.Model(half.input, [half.get_layer(name).output for name in (
        'backbone_conv_01', 'backbone_bn_01', 'head_leaky_74', 'head_conv_75')])(image)
    assert [tensor.dtype for tensor in inside] == [tf.bfloat16, tf.bfloat16, tf.bfloat16, tf.float32]
    assert {variable.dtype for variable in half.get_weights()} == {np.dtype('float32')}


@pytest.mark.parametrize('classes, width', [(0, 1.), (-1, 1.), (3, 0.), (3, -1.)])
def test_impossible_networks_are_refused(classes, width):
    with pytest.raises(InputError, match='at least 1 class and a positive width'):
        yolov3_network.build(classes, width)


def test_an_unknown_head_is_refused():
    with pytest.raises(InputError, match="unknown head 'split': expected one of coupled, separated, separated_early"):
        yolov3_network.build(3, .125, head='split')


def test_the_backbone_alone_has_its_three_routes_and_the_whole_networks_names():
    backbone = yolov3_network.darknet53_backbone(.125)
    assert [route.shape[1:] for route in backbone(np.zeros([1, 64, 96, 3], np.float32))] == [
        (8, 12, 32), (4, 6, 64), (2, 3, 128)]
    names = [conv.name for conv, _ in yolov3_network.convolutions(backbone)]
    assert names == [f'backbone_conv_{number:02d}' for number in range(1, 53)]
