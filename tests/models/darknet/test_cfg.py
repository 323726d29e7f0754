"""models.cfg: networks from cfg texts against the hand-written one, published figures and hand arithmetic."""
import re

import numpy as np
import pytest
import tensorflow as tf
from fixtures import narrow_network
from fixtures.small_cfg import TEXT as SMALL

from yolov3_tf import anchors
from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.errors import InputError
from yolov3_tf.models import yolov3_network
from yolov3_tf.models.blocks import BatchNorm
from yolov3_tf.models.darknet import cfg, cfg_file


def yolov3_text(classes, narrow=8):
    """yolov3.cfg as its report describes it (table 1 and section 2.3), with filters divided by ``narrow``."""
    def conv(filters, size, stride=1):
        filters = filters if narrow == 1 else max(8, filters // narrow)
        return (f'[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\n'
                'activation=leaky\n')

    sections = ['[net]\nwidth=416\nheight=416\nchannels=3\n', conv(32, 3)]
    for filters, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)):
        sections += [conv(filters, 3, 2)]
        sections += [conv(filters // 2, 1), conv(filters, 3), '[shortcut]\nfrom=-3\nactivation=linear\n'] * blocks
    for filters, mask, finer in ((512, '6,7,8', 61), (256, '3,4,5', 36), (128, '0,1,2', None)):
        sections += [conv(filters, 1), conv(2 * filters, 3)] * 3
        sections += [f'[convolutional]\nfilters={3 * (5 + classes)}\nsize=1\nstride=1\npad=1\nactivation=linear\n',
                     f'[yolo]\nmask={mask}\nanchors=10,13,  16,30,  33,23,  30,61,  62,45,  59,119,  116,90,  '
                     f'156,198,  373,326\nclasses={classes}\nnum=9\njitter=.3\nignore_thresh=.7\nrandom=1\n']
        if finer:
            sections += ['[route]\nlayers=-4\n', conv(filters // 2, 1), '[upsample]\nstride=2\n',
                         f'[route]\nlayers=-1,{finer}\n']
    return '\n'.join(sections)


def randomised(model, seed=0):
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, BatchNorm):
            layer.set_weights([rng.uniform(.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return model


def test_equals_the_hand_written_network():
    """Variable for variable in file order, and output for output once both add the same epsilon."""
    theirs = randomised(narrow_network.fresh(3))
    network = cfg.parse(yolov3_text(3))
    ours = cfg.build(network)
    assert network.anchors == YOLOV3_ANCHORS and network.size == (416, 416) and network.num_classes == 3
    pairs = list(zip(yolov3_network.convolutions(theirs), yolov3_network.convolutions(ours)))
    assert len(pairs) == 75
    for (conv, norm), (other_conv, other_norm) in pairs:
        other_conv.set_weights(conv.get_weights())
        assert conv.name.split('_')[0] == other_conv.name.split('_')[0]     # backbone or head
        if norm is not None:
            other_norm.set_weights(norm.get_weights())
            other_norm.epsilon = norm.epsilon
    image = np.random.default_rng(1).random((2, 64, 96, 3), np.float32)
    np.testing.assert_array_equal(theirs(image), ours(image))


def test_published_parameter_counts():
    """C = 80: 61,949,149 trained and 52,608 moving values; the file of 248,007,048 bytes has a header of 20."""
    network = cfg.parse(yolov3_text(80, narrow=1))
    floats = sum(layer.floats for layer in network.layers)
    assert floats == 61_949_149 + 52_608 == (248_007_048 - 20) // 4
    assert network.backbone_layers == 74 and len(network.layers) == 107
    assert cfg.cut_for(network, (162_482_580 - 20) // 4).backbone_layers == 74      # darknet53.conv.74


def test_small_network_by_hand():
    network = cfg.parse(SMALL)
    assert network.size == (32, 64) and network.num_classes == 7
    assert network.anchors == anchors.Anchors(((((3., 4.), (1., 2.)), ((5., 6.),))), (2, 4), (1., 1.1))
    shapes = [(layer.rows, layer.columns, layer.channels) for layer in network.layers]
    assert shapes[:11] == [(16, 32, 8)] * 3 + [(1, 1, 8)] * 2 + [(16, 32, 8)] * 2 + [(8, 16, 16)] * 2 + [
        (8, 16, 32), (8, 16, 12)]
    assert shapes[12:15] == [(8, 16, 16), (16, 32, 16), (16, 32, 24)]
    # 3x3x3x8 + 4 x 8, depthwise 3x3x8 + 4 x 8, 8x8 + 8, 3x3x4x16 + 4 x 16, 32 x 12 + 12, 16 x 24 + 24
    assert [layer.floats for layer in network.layers if layer.floats] == [248, 104, 72, 640, 396, 408]
    model = cfg.build(network)
    assert model.count_params() == 248 + 104 + 72 + 640 + 396 + 408
    slots = anchors.lay_out(network.anchors, 32, 64)
    assert model(np.zeros((2, 32, 64, 3), np.float32)).shape == (2, slots.cells.shape[0], 12)
    assert [conv.name for conv, _ in yolov3_network.convolutions(model)] == [
        'backbone_conv_000', 'backbone_conv_001', 'head_conv_004', 'head_conv_007', 'head_conv_010', 'head_conv_014']
    outputs = [conv.name for conv, _ in yolov3_network.convolutions(model) if re.search(cfg.outputs(model), conv.name)]
    assert outputs == ['head_conv_010', 'head_conv_014']


def test_slots_stand_finest_first_by_row_column_anchor():
    """An output whose kernel is 0 puts out its bias: 0..23 in the fine level's cells, 100..111 in the coarse one's."""
    model = cfg.build(cfg.parse(SMALL))
    for name, first, count in (('head_conv_014', 0, 24), ('head_conv_010', 100, 12)):
        layer = model.get_layer(name)
        layer.set_weights([np.zeros(layer.kernel.shape), np.arange(first, first + count)])
    rows = model(np.zeros((1, 8, 4, 3), np.float32)).numpy()[0]             # 4 x 2 fine cells, 2 x 1 coarse ones
    np.testing.assert_array_equal(rows[:16], np.tile(np.arange(24.).reshape(2, 12), (8, 1)))
    np.testing.assert_array_equal(rows[16:], np.tile(np.arange(100., 112.), (2, 1)))


def test_trains_every_variable():
    """On the CPU, groups and all: a gradient for each, none of them zero."""
    model = cfg.build(cfg.parse(SMALL))
    images = np.random.default_rng(0).random((2, 32, 64, 3), np.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images, training=True) ** 2)
    for variable, gradient in zip(model.trainable_variables, tape.gradient(loss, model.trainable_variables)):
        assert gradient is not None and np.abs(gradient).max() > 0, variable.name


def test_another_class_count():
    model = cfg.build(cfg.parse(SMALL), 3)
    assert model.output_shape == (None, None, 8)
    assert [model.get_layer(f'head_conv_{i}').filters for i in ('010', '014')] == [8, 16]
    assert cfg.parse(SMALL, num_classes=3).num_classes == 3


def test_folding_keeps_the_outputs():
    network = cfg.parse(SMALL)
    model, folded = randomised(cfg.build(network)), cfg.build(network, folded=True)
    yolov3_network.fold(model, folded)
    image = np.random.default_rng(1).random((1, 32, 64, 3), np.float32)
    assert not any(isinstance(layer, BatchNorm) for layer in folded.layers)
    np.testing.assert_allclose(model(image), folded(image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('old, new, message', [
    ('[avgpool]', '[gru]', r'small.cfg:23: \[gru\] is not supported: expected one of avgpool'),
    ('groups=8', 'dilation=2', 'small.cfg:18: dilation=2: expected 1, nothing else'),
    ('groups=8', 'shiny=1', 'small.cfg:18: option shiny of .convolutional. is not supported'),
    ('groups=8', 'groups=3', 'small.cfg:12: groups=3 does not divide both'),
    ('groups=8', 'groups', 'small.cfg:18: expected .section. or option=value'),
    ('from=-2', 'from=-9', 'small.cfg:20: .shortcut. 2 names layer -9'),
    ('filters=12', 'filters=13', r'small.cfg:47: expected filters=12 before .yolo. \(1 in mask= x \(5 \+ 7'),
    ('classes=7\nscale', 'classes=6\nscale', 'small.cfg:47: expected filters=11'),
    ('mask=2', 'mask=3', 'small.cfg:52: expected num=3 pairs'),
    ('mask=2', 'mask=x', 'small.cfg:53: mask=x: expected a whole number'),
    ('num=3\nclasses=7\nscale_x_y=1.1', 'num=3\nclasses=7\nscale_x_y=nan', '=nan: expected a number from 1 to 2'),
    ('filters=16', 'filters=1000000', 'small.cfg:36: filters=1000000: expected a whole number from 1 to'),
    ('width=64', 'width=63', 'small.cfg:52: a grid of 8 x 16 does not divide the input of 32 x 63'),
    ('[net]', '[yolo]', r'small.cfg:1: expected one \[net\]'),
    ('layers=-3', 'layers=-1', r'reads layer 11, which is \[yolo\]'),
])
def test_what_is_not_supported_is_refused_by_line(old, new, message):
    assert SMALL.count(old) >= 1
    with pytest.raises(InputError, match=message) as caught:
        cfg.parse(SMALL.replace(old, new, 1), 'small.cfg')
    assert '\n' not in str(caught.value)


def test_separated_heads_replace_the_outputs():
    """block(128) + block(64) a level instead of its output convolution, and the same slots."""
    network = cfg.parse(SMALL)
    model = cfg.build(network, head='separated')
    slots = anchors.lay_out(network.anchors, 32, 64)
    assert model(np.zeros((2, 32, 64, 3), np.float32)).shape == (2, slots.cells.shape[0], 12)
    names = [conv.name for conv, _ in yolov3_network.convolutions(model)]
    assert len(names) == 4 + 2 * 14 and names[4] == 'head_10_box_conv_01' and names[-1] == 'head_14_class_conv_07'
    yolov3_network.fold(randomised(model), cfg.build(network, folded=True, head='separated'))
    with pytest.raises(InputError, match='unknown head of a cfg network .separated_early.: expected one of coupled'):
        cfg.build(network, head='separated_early')


def test_text_for_other_classes():
    """The same network as the original text with that class count asked for; other lines stay, comments too."""
    text = cfg_file.with_classes(SMALL, 3)
    assert cfg.parse(text)[2:] == cfg.parse(SMALL, num_classes=3)[2:]
    changed = [(old, new) for old, new in zip(SMALL.splitlines(), text.splitlines()) if old != new]
    assert changed == [('filters=12', 'filters=8'), ('classes=7', 'classes=3'), ('filters=24', 'filters=16'),
                       ('classes=7', 'classes=3')]
    # darknet's default is 20
    without = SMALL.replace('classes=7\n', '').replace('filters=12', 'filters=25').replace('filters=24', 'filters=50')
    assert cfg.parse(without).num_classes == 20
    assert cfg.parse(cfg_file.with_classes(without, 3))[3:6] == cfg.parse(SMALL, num_classes=3)[3:6]
