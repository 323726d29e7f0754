"""Checkpoints: one HDF5 file with a model, all that is needed to rebuild it, and, for a run, to resume training.

Keras's own ``.weights.h5`` names variables differently in Keras 2 and 3; here a variable is
``weights/LAYER/VARIABLE``, so a checkpoint made with one Keras is read with the other. Everything
that is not an array is JSON text in the file's attributes: reading one never runs code.
"""
from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf import array_file, printable, tiling
from yolov3_tf.anchors import YOLOV3_ANCHORS, Anchors, check_size
from yolov3_tf.array_file import ArrayFile
from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.models import yolov3_network
from yolov3_tf.models.darknet import cfg as darknet_cfg
from yolov3_tf.models.head import HEADS
from yolov3_tf.tiling import Tiling

FORMAT = 1
WEIGHTS, OPTIMIZER = 'weights/', 'optimizer/'
MOST_PIXELS_A_SIDE = 8192  # of the network's input
MOST_CLASSES = 10_000


class ModelConfig(NamedTuple):
    """All that is needed to use a model, beside its weights.

    Attributes:
      class_names: C names, in the order of the outputs.
      width_multiplier: see ``models.yolov3_network.build``.
      image_size: height, width in pixels of the network input.
      letterbox: images keep their proportions (grey margins) or are stretched.
      anchors: the priors its outputs are relative to.
      head: see ``models.yolov3_network.build``; files from before there was a choice are coupled.
      cfg: text of the darknet cfg that describes the network; '' is YOLOv3 itself.
      backbone_layers: of that cfg, see ``models.darknet.cfg.parse``.
      tiles: what it was trained to see of large images, ``tiling.Tiling.tiles``; '' is whole images.
    """
    class_names: tuple[str, ...]
    width_multiplier: float
    image_size: tuple[int, int]
    letterbox: bool
    anchors: Anchors = YOLOV3_ANCHORS
    head: str = 'coupled'
    cfg: str = ''
    backbone_layers: int = 0
    tiles: str = ''


class Progress(NamedTuple):
    """The state of a training: its optimiser's arrays by name, and counters as JSON values."""
    optimizer: dict[str, np.ndarray]
    counters: dict[str, Any]


def save_model(path: str, model: tf.keras.Model, config: ModelConfig, progress: Progress | None = None) -> None:
    """Writes a checkpoint so that a kill at any moment leaves the old file or the new one, whole.

    Raises:
      InputError: the file cannot be written; an older one is unchanged.
    """
    weights, optimizer = _variables(model), progress.optimizer if progress is not None else {}
    size = sum(int(np.prod(value.shape)) * tf.as_dtype(value.dtype).size for value in weights.values())
    size += sum(np.asarray(array).nbytes for array in optimizer.values())
    texts = {'description': json.dumps(_known_to_all(config))}
    if progress is not None:
        texts['counters'] = json.dumps(progress.counters)
    arrays = [*((f'weights/{name}', variable.numpy) for name, variable in weights.items()),
              *((f'optimizer/{name}', functools.partial(np.asarray, array)) for name, array in optimizer.items())]
    try:
        array_file.write(path, FORMAT, texts, arrays, size)
    except OSError as error:
        raise InputError(f'{path}: cannot be written: {os.strerror(error.errno) if error.errno else error}. An '
                         'older checkpoint there is unchanged: repair the cause and resume') from error


def _known_to_all(config):
    """The fields to write; without tiles they are those of files before there were any."""
    return {name: value for name, value in config._asdict().items() if name != 'tiles' or value}


def load_model(path: str) -> tuple[tf.keras.Model, ModelConfig]:
    """Rebuilds the network of a checkpoint with its weights; errors as in ``describe`` and ``load_weights``."""
    config, floats = _described(path)
    _check_size(config, floats, path)
    model = build(config)
    load_weights(path, model)
    return model, config


def build(config: ModelConfig, folded: bool = False) -> tf.keras.Model:
    """The network of a config, with random weights; ``folded`` as in ``models.yolov3_network.build``."""
    classes = len(config.class_names)
    if config.cfg:
        network = darknet_cfg.parse(config.cfg, 'cfg', classes, config.backbone_layers)
        return darknet_cfg.build(network, folded=folded, head=config.head)
    return yolov3_network.build(classes, config.width_multiplier, folded, config.head)


def describe(path: str) -> ModelConfig:
    """Reads a checkpoint's ModelConfig, without the weights.

    Raises:
      InputError: no checkpoint, or its config is damaged.
    """
    return _described(path)[0]


def _described(path) -> tuple[ModelConfig, int]:
    """The config, and how many weights the file has."""
    with _open(path) as file:
        fields = file.json('description')
        floats = sum(math.prod(array.shape) for name, array in file.arrays.items() if name.startswith(WEIGHTS))
    try:
        sizes, strides, *sensitivity = fields['anchors']      # files before grid sensitivity hold two
        anchors = Anchors(tuple(tuple(tuple(pair) for pair in level) for level in sizes), tuple(strides),
                          *map(tuple, sensitivity))
        height, width = fields['image_size']
        config = ModelConfig(tuple(fields['class_names']), float(fields['width_multiplier']),
                             (int(height), int(width)), bool(fields['letterbox']), anchors,
                             str(fields.get('head', 'coupled')), str(fields.get('cfg', '')),
                             int(fields.get('backbone_layers', 0)), str(fields.get('tiles', '')))
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(f'{path}: its config of the model is damaged ({error!r}): '
                         'take another checkpoint') from error
    _check(config, path)
    return config, floats


def _check_size(config, floats, path):
    """Raises InputError for a description of a network with more weights than the ``floats`` of the file."""
    least = yolov3_network.least_parameters(len(config.class_names), config.width_multiplier)
    if config.cfg:
        network = darknet_cfg.parse(config.cfg, f'{path}, its cfg', len(config.class_names), config.backbone_layers)
        least = sum(layer.floats for layer in network.layers[:network.backbone_layers])
    if floats < least:
        raise InputError(f'{path}: describes a network of {least:,} weights or more and holds {floats:,}: its config '
                         'of the model is damaged, or the file is incomplete')


def _check(config, path):
    """Raises InputError for a description that no network has."""
    choose(HEADS, config.head, f'head in {path}')
    names = config.class_names
    if not 0 < len(names) <= MOST_CLASSES or not all(map(_is_name, names)) or len(set(names)) < len(names):
        raise InputError(f'{path}: expected 1 to {MOST_CLASSES:,} different class names of one line each: its config '
                         'of the model is damaged')
    if not 0 < config.width_multiplier < math.inf:
        raise InputError(f'{path}: expected a positive width, got {config.width_multiplier}: its config is damaged')
    _check_anchors(config.anchors, path)
    if config.tiles:
        try:
            tiling.check(Tiling(config.tiles))
        except InputError as error:
            raise InputError(f'{path}: its config of the model is damaged: {error}') from None
    levels = [(3, stride) for stride in YOLOV3_ANCHORS.strides]
    if config.cfg:
        network = darknet_cfg.parse(config.cfg, f'{path}, its cfg', len(names), config.backbone_layers)
        levels = [(len(pairs), stride) for pairs, stride in zip(network.anchors.sizes, network.anchors.strides)]
    if levels != [(len(pairs), stride) for pairs, stride in zip(config.anchors.sizes, config.anchors.strides)]:
        raise InputError(f'{path}: its anchors are not those of its network: its config is damaged')
    check_size(config.anchors, *config.image_size)
    if max(config.image_size) > MOST_PIXELS_A_SIDE:
        raise InputError(f'{path}: expected an input of at most {MOST_PIXELS_A_SIDE} pixels a side: its config of the '
                         'model is damaged')


def _is_name(name):
    return isinstance(name, str) and bool(name) and name == printable.clean_name(name)


def _check_anchors(anchors, path):
    numbers = [number for level in anchors.sizes for pair in level for number in pair]
    if not (all(len(pair) == 2 for level in anchors.sizes for pair in level)
            and all(isinstance(number, (int, float)) and 0 < number < 1e6 for number in numbers)
            and all(isinstance(stride, int) and stride > 0 for stride in anchors.strides)
            and len(anchors.sensitivity) in (0, len(anchors.strides))
            and all(isinstance(scale, (int, float)) and 1 <= scale <= 2 for scale in anchors.sensitivity)
            and len(anchors.sizes) == len(anchors.strides)):
        raise InputError(f'{path}: its anchors are damaged: take another checkpoint')


def load_weights(path: str, model: tf.keras.Model, fresh: str = '^$') -> list[str]:
    """Reads a checkpoint's weights into a model of the same structure; nothing is assigned unless all fit.

    Args:
      fresh: pattern of layer names that keep their present values when the file's do not fit them
        (``models.yolov3_network.OUTPUTS`` for another number of classes or another head).

    Returns:
      Names of the variables left as they were.

    Raises:
      InputError: a variable is missing, of another shape, or not finite.
    """
    return _load(path, _variables(model), fresh)


def load_backbone(path: str, model: tf.keras.Model) -> None:
    """Reads the backbone's weights, and nothing else, from a checkpoint of any head and any classes.

    Raises:
      InputError: as in ``load_weights``, or the model has no layer that ``models.yolov3_network.BACKBONE`` names.
    """
    variables = {name: variable for name, variable in _variables(model).items()
                 if re.match(yolov3_network.BACKBONE, name)}
    if not variables:
        raise InputError(f'{path}: expected to read a backbone, but the network has no layer of such a name: '
                         'start it from a whole network with --init_weights')
    _load(path, variables, fresh='^$')


def _load(path, variables, fresh):
    kept, values = [], []
    with _open(path) as file:
        for name, variable in variables.items():
            stored = file.arrays.get(WEIGHTS + name)
            if stored is not None and stored.shape == tuple(variable.shape):
                if stored.dtype != 'float32':
                    raise InputError(f'{path}: expected {name} as float32, got {stored.dtype}')
                values.append((variable, file.read(WEIGHTS + name)))
                if not np.isfinite(values[-1][1]).all():
                    raise InputError(f'{path}: {name} holds values that are not finite: take an earlier checkpoint')
            elif re.match(fresh, name.split('/')[0]):
                kept.append(name)
            else:
                raise InputError(f'{path}: expected {name} of shape {tuple(variable.shape)}, got '
                                 f'{stored and stored.shape}: the file holds another network (see its '
                                 '--width_multiplier, --head and classes)')
    for variable, value in values:
        variable.assign(value)
    return kept


def load_progress(path: str) -> Progress:
    """Reads the state of the training that wrote this checkpoint.

    Raises:
      InputError: no checkpoint, or it is damaged, or it holds a model only.
    """
    with _open(path) as file:
        if 'counters' not in file.texts:
            raise InputError(f'{path} holds a model but no training to resume')
        counters = file.json('counters', finite=False)      # epochs before the first validation have infinite losses
        if not isinstance(counters, dict):
            raise InputError(f'{path}: the counters of its training are damaged: take another checkpoint')
        optimizer = {name[len(OPTIMIZER):]: file.read(name) for name in file.arrays if name.startswith(OPTIMIZER)}
        if 'pictures' in counters:              # the key before version 0.2
            counters['images'] = counters.pop('pictures')
        return Progress(optimizer, counters)


def load_counters(path: str) -> dict[str, Any]:
    """The counters of the training that wrote this checkpoint; empty where it cannot be read or holds none."""
    try:
        with _open(path) as file:
            counters = file.json('counters', finite=False) if 'counters' in file.texts else {}
            return counters if isinstance(counters, dict) else {}
    except InputError:
        return {}


def _variables(model) -> dict[str, Any]:
    """LAYER/VARIABLE -> variable, in the model's order; the same names in both Keras versions."""
    return {f'{layer.name}/{variable.name.split("/")[-1].split(":")[0]}': variable
            for layer in model.layers for variable in layer.weights}


@contextlib.contextmanager
def _open(path) -> Iterator[ArrayFile]:
    with array_file.reading(path) as file:
        if file.format != FORMAT or 'description' not in file.texts:
            raise InputError(f'{path} is an HDF5 file but not a checkpoint of this program (expected format {FORMAT}); '
                             'darknet files go through convert_darknet_weights.py, plain Keras weights through '
                             'models.yolov3_network.build(...).load_weights')
        yield file
