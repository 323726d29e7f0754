"""Any network of the YOLOv3 family from darknet's own config of it, with the same outputs as ``yolov3``.

    network = cfg.load('MobileNetV2-YOLOv3-Nano-voc.cfg')
    model = cfg.build(network, num_classes=6)

``cfg_file`` reads the text, ``cfg_plan`` works out the shapes, this builds the layers.
"""
from __future__ import annotations

import functools
import os
import re
from typing import Any, NamedTuple

import tensorflow as tf

from yolov3_tf.anchors import Anchors
from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.models.blocks import BatchNorm, ConvStack, LeakyReLU, upsample
from yolov3_tf.models.darknet import cfg_file, cfg_plan
from yolov3_tf.models.darknet.cfg_plan import IMAGE, Layer, Level
from yolov3_tf.models.darknet.conv import ChannelGroup, Conv
from yolov3_tf.models.head import separate
from yolov3_tf.models.yolov3_network import BRANCHES

# Added to BatchNorm's variances: darknet's (and OpenCV's) own. The TensorFlow ports, which ``yolov3`` follows, have
# 1e-5. MobileNetV2-YOLOv3-Nano has channels of almost no variance: its outputs differ by .02 between the two (of at
# most 21), its mAP on 150 images of VOC2012 not at all.
EPSILON = 1e-6
NAME = 'darknet'


class Network(NamedTuple):
    """A cfg that has been read and found good.

    Attributes:
      text: the cfg, as ``parse`` takes it again.
      name: of its file, for messages.
      size: height, width of its [net] section: the input it was made for.
      num_classes: of its [yolo] sections, or what was asked for instead.
      anchors: finest level first, with ``scale_x_y`` as sensitivity.
      backbone_layers: layers 0 .. backbone_layers - 1 are named ``backbone_...``.
      layers, levels: see ``cfg_plan``; levels finest first.
    """
    text: str
    name: str
    size: tuple[int, int]
    num_classes: int
    anchors: Anchors
    backbone_layers: int
    layers: tuple[Layer, ...]
    levels: tuple[Level, ...]


def load(path, num_classes: int | None = None, backbone_layers: int = 0) -> Network:
    """Reads a cfg file; see ``parse``.

    Raises:
      InputError: it cannot be read, too.
    """
    try:
        with open(path, encoding='utf-8', errors='replace') as file:
            text = file.read(cfg_file.MOST_TEXT + 1)
    except OSError as error:
        raise InputError(f'{path}: expected a darknet cfg, got {error.strerror or error}: check the path') from error
    return parse(text, os.fspath(path), num_classes, backbone_layers)


def parse(text: str, name: str = 'cfg', num_classes: int | None = None, backbone_layers: int = 0) -> Network:
    """Reads a cfg's text and checks all of it; nothing is built.

    Args:
      num_classes: instead of the cfg's own, by changing the filters of the convolutions before [yolo].
      backbone_layers: where the backbone ends, as in the names of darknet's partial files
        (``darknet53.conv.74``); 0: at the last [shortcut] before the first [yolo], which is where
        those of yolov3, yolov3-spp and MobileNetV2-Nano end, and without any [shortcut] at the first
        output convolution (``yolov3-tiny.conv.15``).

    Raises:
      InputError: 'FILE:LINE: what was expected, what came'.
    """
    if num_classes is not None and not 1 <= num_classes <= cfg_file.MOST_CLASSES:
        raise InputError(f'expected 1 to {cfg_file.MOST_CLASSES} classes, got {num_classes}')
    sections = cfg_file.read(text, name)
    layers, levels = cfg_plan.lay_out(sections, num_classes)
    first_output = min(level.output for level in levels)
    if not 0 <= backbone_layers <= first_output:
        raise InputError(f'{name}: backbone_layers={backbone_layers}: expected 0 to {first_output}, the first '
                         'layer whose shape depends on the classes')
    shortcuts = [index for index in range(first_output) if layers[index].kind == 'shortcut']
    net = sections[0].values
    return Network(text, name, (net['height'], net['width']), layers[levels[0].yolo].section.values['classes'],
                   cfg_plan.anchors_of(levels), backbone_layers or max(shortcuts, default=first_output), layers, levels)


def cut_for(network: Network, floats: int) -> Network:
    """The network with its backbone ending where a partial weights file of ``floats`` values ends.

    Raises:
      InputError: the file ends inside a layer, or beyond the first output.
    """
    for index, total in enumerate(cfg_plan.cumulative_floats(network.layers)):
        if total == floats and floats:
            return parse(network.text, network.name, network.num_classes, index + 1)
    raise InputError(f'{network.name}: a file of {floats:,} values ends with none of its layers: it is of another '
                     'network')


def build(network: Network, num_classes: int | None = None, folded: bool = False,
          head: str = 'coupled') -> tf.keras.Model:
    """The network as a functional Keras model; precision follows the global Keras policy.

    Layers are named ``backbone_conv_000`` or ``head_conv_068`` (with ``.._bn_..`` beside) by their
    index in the cfg.

    Args:
      num_classes: see ``parse``.
      folded: convolutions with bias and no BatchNorm, for inference (``yolov3_network.fold``).
      head: ``coupled``: the cfg's own; ``separated``: each output convolution gives way to the two branches
        of ``head.separate``.

    Returns:
      Model from float32 RGB in 0..1 [B, H, W, 3], H and W multiples of the coarsest stride, to float32
      [B, S, 5 + C], slots ordered as in ``structures.Priors``: the finest level first, wherever its
      [yolo] section stands in the cfg.
    """
    if num_classes not in (None, network.num_classes):
        network = parse(network.text, network.name, num_classes, network.backbone_layers)
    predict = choose(HEADS, head, 'head of a cfg network')
    images = tf.keras.Input([None, None, 3], name='images')
    tensors: dict[int, Any] = {IMAGE: images}
    levels = {level.output: level for level in network.levels}
    slots = {}
    for index, layer in enumerate(network.layers):
        inputs = [tensors[i] for i in layer.inputs]
        if index in levels:
            slots[index] = predict(network, levels[index], inputs[0], folded)
            tensors[index] = None           # only its [yolo] reads it
            continue
        names = functools.partial(_name, 'backbone' if index < network.backbone_layers else 'head', index)
        tensors[index] = BUILDERS[layer.kind](layer, inputs, names, folded)
    rows = [slots[level.output] for level in network.levels]
    if len(rows) == 1:
        joined = tf.keras.layers.Activation('linear', dtype='float32', name='raw_predictions')(rows[0])
    else:
        joined = tf.keras.layers.Concatenate(axis=1, dtype='float32', name='raw_predictions')(rows)
    return tf.keras.Model(images, joined, name=NAME)


def _coupled(network, level, x, folded):
    """A level's slots, float32 [B, rows * columns * A, 5 + C], by its own output convolution."""
    x = Conv(network.layers[level.output].channels, 1, use_bias=True, dtype='float32',
             name=f'head_conv_{level.output:03d}')(x)
    return tf.keras.layers.Reshape([-1, cfg_plan.BOX + network.num_classes], dtype='float32',
                                   name=f'head_slots_{level.output:03d}')(x)


def _separated(network, level, x, folded):
    stack = ConvStack(folded=folded)
    stack.part, stack.count = 'head', level.output - 1
    return separate(x, network.num_classes, len(level.sizes), stack)


HEADS = {'coupled': _coupled, 'separated': _separated}


def _name(part, index, what):
    return f'{part}_{what}_{index:03d}'


def _convolutional(layer, inputs, names, folded):
    values = layer.section.values
    normalised = values['batch_normalize'] and not folded
    x = Conv(values['filters'], values['size'], values['stride'], cfg_plan.padding(layer.section), values['groups'],
             use_bias=not normalised, name=names('conv'))(inputs[0])
    if normalised:
        x = BatchNorm(epsilon=EPSILON, name=names('bn'))(x)
    return _activate(layer, x, names, folded)


def _activate(layer, x, names, folded):
    kind = layer.section.values['activation']
    if kind == 'linear':
        return x
    if kind == 'leaky':
        return LeakyReLU(inference=folded, name=names('leaky'))(x)
    if kind in ('relu', 'relu6'):
        return tf.keras.layers.ReLU(6. if kind == 'relu6' else None, name=names(kind))(x)
    return tf.keras.layers.Activation('sigmoid' if kind == 'logistic' else kind, name=names(kind))(x)


def _route(layer, inputs, names, folded):
    groups = layer.section.values['groups']
    if groups > 1:
        inputs = [ChannelGroup(groups, layer.section.values['group_id'], name=f'{names("group")}_{i}')(x)
                  for i, x in enumerate(inputs)]
    return inputs[0] if len(inputs) == 1 else tf.keras.layers.Concatenate(name=names('join'))(inputs)


def _maxpool(layer, inputs, names, folded):
    values = layer.section.values
    return tf.keras.layers.MaxPooling2D(values['size'], values['stride'], 'same', name=names('max'))(inputs[0])


BUILDERS = {
    'convolutional': _convolutional,
    'route': _route,
    'maxpool': _maxpool,
    'shortcut': lambda layer, inputs, names, folded: _activate(
        layer, tf.keras.layers.Add(name=names('add'))(inputs), names, folded),
    'scale_channels': lambda layer, inputs, names, folded: _activate(
        layer, tf.keras.layers.Multiply(name=names('scale'))(inputs), names, folded),
    'sam': lambda layer, inputs, names, folded: _activate(
        layer, tf.keras.layers.Multiply(name=names('sam'))(inputs), names, folded),
    'upsample': lambda layer, inputs, names, folded: upsample(
        layer.section.values['stride'], folded, names('up'))(inputs[0]),
    'avgpool': lambda layer, inputs, names, folded: tf.keras.layers.GlobalAveragePooling2D(
        keepdims=True, name=names('average'))(inputs[0]),
    'dropout': lambda layer, inputs, names, folded: tf.keras.layers.Dropout(
        layer.section.values['probability'], name=names('dropout'))(inputs[0]),
    'yolo': lambda layer, inputs, names, folded: None,
}


def outputs(model: tf.keras.Model) -> str:
    """Pattern of the layers of a model, of this room or of ``yolov3``, that another class count or head lacks."""
    numbers = [layer.name.rsplit('_', 1)[1] for layer in model.layers if re.match(r'head_slots_\d+$', layer.name)]
    return '|'.join([*(f'^head_conv_{number}$' for number in numbers), BRANCHES])
