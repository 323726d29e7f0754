"""The layers of a cfg with their shapes, worked out in plain Python before anything is built.

What Keras would find only while building (shapes that do not meet, a route to nowhere, a grid that
does not follow the input's size) is refused here with the line of its section.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from yolov3_tf.anchors import Anchors
from yolov3_tf.errors import InputError
from yolov3_tf.models.darknet.cfg_file import Section

IMAGE = -1
MOST_FLOATS, MOST_ACTIVATIONS = 1 << 28, 1 << 29
BOX = 5


class Layer(NamedTuple):
    """One layer, numbered by its position in the cfg.

    Attributes:
      inputs: indices of the layers it reads; ``IMAGE`` for the network's input.
      rows, columns, channels: of its output at the cfg's own input size.
      floats: it takes in a weights file.
    """
    section: Section
    inputs: tuple[int, ...]
    rows: int
    columns: int
    channels: int
    floats: int

    @property
    def kind(self) -> str:
        """Name of its section, such as ``convolutional``."""
        return self.section.kind


class Level(NamedTuple):
    """One [yolo] section: its index, the convolution before it, pixels a cell, its anchors."""
    yolo: int
    output: int
    stride: int
    sizes: tuple[tuple[float, float], ...]
    sensitivity: float


def lay_out(sections: list[Section], num_classes: int | None = None) -> tuple[tuple[Layer, ...], tuple[Level, ...]]:
    """The layers and, finest first, the levels of a cfg's sections.

    Args:
      num_classes: replaces the [yolo] sections' classes, and the filters of the
        convolutions before them accordingly.

    Raises:
      InputError: a section that is not supported or does not fit the others; with file and line.
    """
    net, sections = sections[0], _with_classes(sections[1:], num_classes)
    layers = _shapes(sections, net.values['height'], net.values['width'])
    _check_budget(layers, net)
    levels = sorted((_level(index, layers, net) for index, layer in enumerate(layers) if layer.kind == 'yolo'),
                    key=lambda level: level.stride)
    if not levels:
        raise InputError(f'{net.where}: expected at least one [yolo] section, got none: not a detector')
    if len({layers[level.yolo].section.values['classes'] for level in levels}) > 1:
        raise InputError(f'{net.where}: the [yolo] sections differ in classes=: expected one count for all')
    _check_all_used(layers, levels)
    _check_follows_input(sections, levels, net)
    return tuple(layers), tuple(levels)


def anchors_of(levels: Sequence[Level]) -> Anchors:
    """The anchors of the levels; sensitivity is empty where it is 1 everywhere, as in ``YOLOV3_ANCHORS``."""
    sensitivity = tuple(level.sensitivity for level in levels)
    return Anchors(tuple(level.sizes for level in levels), tuple(level.stride for level in levels),
                   sensitivity if set(sensitivity) != {1.} else ())


def _with_classes(sections, num_classes):
    """Section by section; a convolution before [yolo] gets the filters of another class count."""
    if num_classes is None:
        return sections
    sections = list(sections)
    for index, section in enumerate(sections):
        if section.kind != 'yolo':
            continue
        before = sections[index - 1] if index else None
        if before is not None and before.kind == 'convolutional':
            _check_filters(before, section)
            filters = len(section.values['mask']) * (BOX + num_classes)
            sections[index - 1] = before._replace(values={**before.values, 'filters': filters})
        sections[index] = section._replace(values={**section.values, 'classes': num_classes})
    return sections


def _shapes(sections, height, width) -> list[Layer]:
    layers: list[Layer] = []
    for index, section in enumerate(sections):
        inputs = _inputs(index, section)
        for before in inputs:
            if before != IMAGE and layers[before].kind == 'yolo':
                raise InputError(f'{section.where}: [{section.kind}] reads layer {before}, which is [yolo]: '
                                 'its boxes are the end of the network; expected a [route] around it')
        shapes = [(height, width, 3) if before == IMAGE else layers[before][2:5] for before in inputs]
        shape = SHAPES[section.kind](section, shapes)
        if min(shape) < 1:
            raise InputError(f'{section.where}: [{section.kind}] leaves nothing of an input of {shapes[0]}')
        rows, columns, channels = shape
        layers.append(Layer(section, inputs, rows, columns, channels, _floats(section, shapes[0][2])))
    return layers


def _inputs(index, section) -> tuple[int, ...]:
    """Layers that number ``index`` reads; negative numbers count back from it."""
    if section.kind == 'route':
        return tuple(_absolute(step, index, section) for step in section.values['layers'])
    if section.kind in ('shortcut', 'scale_channels', 'sam'):
        others = section.values['from']
        if section.kind != 'shortcut' and len(others) > 1:
            raise InputError(f'{section.where}: [{section.kind}] expected one layer in from=, got {len(others)}')
        if not index:
            raise InputError(f'{section.where}: [{section.kind}] expected a layer before it, got none')
        return (index - 1, *(_absolute(step, index, section) for step in others))
    return (index - 1,)         # IMAGE for the first


def _absolute(step, index, section):
    target = step if step >= 0 else index + step
    if not 0 <= target < index:
        raise InputError(f'{section.where}: [{section.kind}] {index} names layer {step}: expected one of the '
                         f'{index} layers before it')
    return target


def _convolutional(section, shapes):
    values, (rows, columns, channels) = section.values, shapes[0]
    if channels % values['groups'] or values['filters'] % values['groups']:
        raise InputError(f'{section.where}: groups={values["groups"]} does not divide both {channels} channels '
                         f'and {values["filters"]} filters')
    around = 2 * padding(values) - values['size']
    return (rows + around) // values['stride'] + 1, (columns + around) // values['stride'] + 1, values['filters']


def padding(values: Mapping[str, Any]) -> int:
    """Pixels of zeros on every side of the input of a [convolutional] with these options."""
    return values['size'] // 2 if values['pad'] else values['padding']


def _maxpool(section, shapes):
    size, stride = section.values['size'], section.values['stride']
    # Darknet pads (size - 1) // 2 pixels before, TensorFlow's 'same' (size - stride) // 2.
    if (size - 1) // 2 != max(size - stride, 0) // 2:
        raise InputError(f'{section.where}: [maxpool] size={size} stride={stride} is not supported: expected '
                         'stride=1, or size=2 stride=2')
    return -(-shapes[0][0] // stride), -(-shapes[0][1] // stride), shapes[0][2]


def _route(section, shapes):
    groups = section.values['groups']
    if any(shape[:2] != shapes[0][:2] for shape in shapes):
        raise InputError(f'{section.where}: [route] expected layers of one size, got {_written(shapes)}')
    if section.values['group_id'] >= groups or any(shape[2] % groups for shape in shapes):
        raise InputError(f'{section.where}: [route] groups={groups} group_id={section.values["group_id"]} does not '
                         f'divide {_written(shapes)}')
    return (*shapes[0][:2], sum(shape[2] // groups for shape in shapes))


def _same(section, shapes):
    if any(shape != shapes[0] for shape in shapes):
        raise InputError(f'{section.where}: [{section.kind}] expected layers of one shape, got {_written(shapes)}')
    return shapes[0]


def _scale_channels(section, shapes):
    if shapes[0] != (1, 1, shapes[1][2]):
        raise InputError(f'{section.where}: [scale_channels] expected 1 x 1 x {shapes[1][2]} before it, '
                         f'got {_written(shapes[:1])}')
    return shapes[1]


def _upsample(section, shapes):
    stride = section.values['stride']
    return shapes[0][0] * stride, shapes[0][1] * stride, shapes[0][2]


def _yolo(section, shapes):
    values, anchors = section.values, section.values['anchors']
    if len(anchors) != 2 * values['num'] or max(values['mask']) >= values['num']:
        raise InputError(f'{section.where}: expected num={values["num"]} pairs in anchors= and a mask= of numbers '
                         f'below it, got {len(anchors)} numbers and {max(values["mask"])}')
    return shapes[0]


def _average(section, shapes):
    del section
    return 1, 1, shapes[0][2]


def _unchanged(section, shapes):
    del section
    return shapes[0]


SHAPES = {'convolutional': _convolutional, 'maxpool': _maxpool, 'route': _route, 'shortcut': _same, 'sam': _same,
          'scale_channels': _scale_channels, 'upsample': _upsample, 'yolo': _yolo,
          'avgpool': _average, 'dropout': _unchanged}


def _written(shapes):
    return ', '.join(' x '.join(map(str, shape)) for shape in shapes)


def _floats(section, channels):
    if section.kind != 'convolutional':
        return 0
    values = section.values
    kernel = values['filters'] * (channels // values['groups']) * values['size'] ** 2
    return kernel + values['filters'] * (4 if values['batch_normalize'] else 1)


def _check_filters(before, yolo):
    values = yolo.values
    filters = len(values['mask']) * (BOX + values['classes'])
    if before.values['filters'] != filters:
        raise InputError(f'{before.where}: expected filters={filters} before [yolo] ({len(values["mask"])} in mask= x '
                         f'(5 + {values["classes"]} classes)), got {before.values["filters"]}')


def _level(index, layers, net) -> Level:
    """Reads a [yolo] section, and checks the layer before it: raw outputs that no other layer reads."""
    section, output = layers[index].section, layers[index].inputs[0]
    if output == IMAGE or layers[output].kind != 'convolutional':
        raise InputError(f'{section.where}: expected a [convolutional] right before [yolo]')
    before = layers[output].section
    plain = {'activation': 'linear', 'batch_normalize': 0, 'groups': 1, 'size': 1, 'stride': 1}
    if any(before.values[option] != value for option, value in plain.items()) or padding(before.values):
        raise InputError(f'{before.where}: before [yolo] expected ' + ', '.join(f'{k}={v}' for k, v in plain.items()))
    for reader in layers:
        if output in reader.inputs and reader is not layers[index]:
            raise InputError(f'{reader.section.where}: [{reader.kind}] reads layer {output}, whose shape depends on '
                             'the classes: expected only [yolo] to read it')
    _check_filters(before, section)
    strides = {size / cells for size, cells in ((net.values['height'], layers[output].rows),
                                                (net.values['width'], layers[output].columns))}
    stride = strides.pop()
    if strides or stride != int(stride):
        raise InputError(f'{section.where}: a grid of {layers[output].rows} x {layers[output].columns} does not divide '
                         f'the input of {net.values["height"]} x {net.values["width"]} (height x width in [net])')
    pairs = tuple(zip(section.values['anchors'][::2], section.values['anchors'][1::2]))
    return Level(index, output, int(stride), tuple(pairs[i] for i in section.values['mask']),
                 section.values['scale_x_y'])


def _check_budget(layers, net):
    floats = sum(layer.floats for layer in layers)
    # Summed, because many large layers take as much memory as a single larger one.
    activations = sum(layer.rows * layer.columns * layer.channels for layer in layers)
    if floats > MOST_FLOATS or activations > MOST_ACTIVATIONS:
        raise InputError(f'{net.where}: {floats:,} parameters and {activations:,} activations an image: expected at '
                         f'most {MOST_FLOATS:,} and {MOST_ACTIVATIONS:,}: the cfg is damaged, or give [net] a '
                         'smaller width and height')


def _check_all_used(layers, levels):
    """A convolution that no [yolo] depends on would have weights in the file and none in the model."""
    used, left = set(), [level.yolo for level in levels]
    while left:
        index = left.pop()
        if index != IMAGE and index not in used:
            used.add(index)
            left += layers[index].inputs
    for index, layer in enumerate(layers):
        if index not in used and layer.floats:
            raise InputError(f'{layer.section.where}: no [yolo] section depends on layer {index} [{layer.kind}]: '
                             'expected every convolution to lead to one')


def _check_follows_input(sections, levels, net):
    """Any multiple of the coarsest stride must work as an input size: multi-scale training changes it."""
    coarsest = max(level.stride for level in levels)
    height, width = 2 * coarsest, 3 * coarsest
    fault = InputError(f'{net.where}: the grids do not follow the input\'s size: expected {height} x {width} to work '
                       'as well; a pad=0 or an odd stride in between?')
    try:
        layers = _shapes(sections, height, width)
    except InputError as error:
        raise InputError(f'{fault} ({error})') from error
    for level in levels:
        if (layers[level.output].rows * level.stride, layers[level.output].columns * level.stride) != (height, width):
            raise fault


def cumulative_floats(layers: Sequence[Layer]) -> list[int]:
    """Floats in a weights file of layers 0..n, for every n."""
    total, sums = 0, []
    for layer in layers:
        total += layer.floats
        sums.append(total)
    return sums
