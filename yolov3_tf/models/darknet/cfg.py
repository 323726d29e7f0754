"""Any network of the YOLOv3 family from darknet's own config of it, with the same outputs as ``yolov3``.

    network = cfg.load('MobileNetV2-YOLOv3-Nano-voc.cfg')
    model = cfg.build(network, num_classes=6)

``cfg_file`` reads the text, ``cfg_plan`` works out the shapes, this builds the layers.
"""
from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from yolov3_tf import regular_file
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
    """A cfg that has been read and validated.

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


def load(path: str | os.PathLike, num_classes: int | None = None, backbone_layers: int = 0) -> Network:
    """Reads a cfg file; see ``parse``.

    Raises:
      InputError: the file cannot be read, or as in ``parse``.
    """
    try:
        with open(path, encoding='utf-8', errors='replace', opener=regular_file.opener) as file:
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
      InputError: with file and line, what was expected and what is there.
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


def with_anchors(network: Network, sizes: Sequence[Sequence[tuple[float, float]]]) -> Network:
    """The network with other anchors, as many a level; sizes: of each level, finest first."""
    in_file = sorted(zip(network.levels, sizes), key=lambda one: one[0].yolo)
    text = cfg_file.with_anchors(network.text, [own for _, own in in_file])
    return parse(text, network.name, network.num_classes, network.backbone_layers)


def build(network: Network, num_classes: int | None = None, folded: bool = False,
          head: str = 'coupled') -> tf.keras.Model:
    """The network as a functional Keras model; precision follows the global Keras policy.

    Layers are named ``backbone_conv_000`` or ``head_conv_068`` (with ``.._bn_..`` beside) by their
    index in the cfg.

    Args:
      num_classes: see ``parse``.
      folded: convolutions with bias and no BatchNorm, for inference (``models.yolov3_network.fold``).
      head: ``coupled``: the cfg's own; ``separated``: the two branches of ``head.separate`` replace each output
        convolution.

    Returns:
      Model from float32 RGB in 0..1 [B, H, W, 3], H and W multiples of the coarsest stride, to float32
      [B, S, 5 + C], slots ordered as in ``structures.Priors``: the finest level first, wherever its
      [yolo] section is in the cfg.
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
        if index in levels or layer.kind == 'yolo':
            tensors[index] = None           # an output is read by its [yolo] alone, a [yolo] by none
            continue
        part = 'backbone' if index < network.backbone_layers else 'head'
        tensors[index] = BUILDERS[layer.kind](inputs, _Building(layer.section.values, part, index, folded))
    rows = [slots[level.output] for level in network.levels]
    if len(rows) == 1:
        joined = tf.keras.layers.Activation('linear', dtype='float32', name='raw_predictions')(rows[0])
    else:
        joined = tf.keras.layers.Concatenate(axis=1, dtype='float32', name='raw_predictions')(rows)
    return tf.keras.Model(images, joined, name=NAME)


def _coupled(network, level, x, folded):
    """A level's slots, float32 [B, rows * columns * A, 5 + C], by its own output convolution."""
    del folded          # no BatchNorm in it
    x = Conv(network.layers[level.output].channels, 1, use_bias=True, dtype='float32',
             name=f'head_conv_{level.output:03d}')(x)
    return tf.keras.layers.Reshape([-1, cfg_plan.BOX + network.num_classes], dtype='float32',
                                   name=f'head_slots_{level.output:03d}')(x)


def _separated(network, level, x, folded):
    stack = ConvStack(folded=folded)
    stack.part, stack.count = 'head', level.output - 1
    return separate(x, network.num_classes, len(level.sizes), stack)


HEADS = {'coupled': _coupled, 'separated': _separated}


class _Building(NamedTuple):
    """One cfg layer in the making: its options, the parts of its Keras layers' names, whether they are folded."""
    values: dict[str, Any]
    part: str
    number: int
    folded: bool

    def name(self, what):
        return f'{self.part}_{what}_{self.number:03d}'


def _convolutional(inputs, layer):
    values = layer.values
    normalised = values['batch_normalize'] and not layer.folded
    x = Conv(values['filters'], values['size'], values['stride'], cfg_plan.padding(values), values['groups'],
             use_bias=not normalised, name=layer.name('conv'))(inputs[0])
    if normalised:
        x = BatchNorm(epsilon=EPSILON, name=layer.name('bn'))(x)
    return _activate(x, layer)


def _activate(x, layer):
    kind = layer.values['activation']
    if kind == 'linear':
        return x
    if kind == 'leaky':
        return LeakyReLU(inference=layer.folded, name=layer.name('leaky'))(x)
    if kind in ('relu', 'relu6'):
        return tf.keras.layers.ReLU(6. if kind == 'relu6' else None, name=layer.name(kind))(x)
    return tf.keras.layers.Activation('sigmoid' if kind == 'logistic' else kind, name=layer.name(kind))(x)


def _route(inputs, layer):
    groups = layer.values['groups']
    if groups > 1:
        inputs = [ChannelGroup(groups, layer.values['group_id'], name=f'{layer.name("group")}_{i}')(x)
                  for i, x in enumerate(inputs)]
    return inputs[0] if len(inputs) == 1 else tf.keras.layers.Concatenate(name=layer.name('join'))(inputs)


def _maxpool(inputs, layer):
    values = layer.values
    return tf.keras.layers.MaxPooling2D(values['size'], values['stride'], 'same', name=layer.name('max'))(inputs[0])


# Section -> (input tensors, _Building) -> output tensor; [yolo] itself builds nothing.
BUILDERS = {
    'convolutional': _convolutional,
    'route': _route,
    'maxpool': _maxpool,
    'shortcut': lambda inputs, layer: _activate(tf.keras.layers.Add(name=layer.name('add'))(inputs), layer),
    'scale_channels': lambda inputs, layer: _activate(
        tf.keras.layers.Multiply(name=layer.name('scale'))(inputs), layer),
    'sam': lambda inputs, layer: _activate(tf.keras.layers.Multiply(name=layer.name('sam'))(inputs), layer),
    'upsample': lambda inputs, layer: upsample(layer.values['stride'], layer.folded, layer.name('up'))(inputs[0]),
    'avgpool': lambda inputs, layer: tf.keras.layers.GlobalAveragePooling2D(
        keepdims=True, name=layer.name('average'))(inputs[0]),
    'dropout': lambda inputs, layer: tf.keras.layers.Dropout(
        layer.values['probability'], name=layer.name('dropout'))(inputs[0]),
}


def outputs(model: tf.keras.Model) -> str:
    """Pattern of the layers of a model, of this module or of ``yolov3``, that another class count or head lacks."""
    numbers = [layer.name.rsplit('_', 1)[1] for layer in model.layers if re.match(r'head_slots_\d+$', layer.name)]
    return '|'.join([*(f'^head_conv_{number}$' for number in numbers), BRANCHES])
