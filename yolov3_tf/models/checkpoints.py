"""Checkpoints: one HDF5 file with a model, all that is needed to rebuild it, and, for a run, to resume training.

Keras's own ``.weights.h5`` names variables differently in Keras 2 and 3; here a variable is
``weights/LAYER/VARIABLE``, so a checkpoint made with one Keras is read with the other. Everything
that is not an array is JSON text in the file's attributes: reading one never runs code.
"""
from __future__ import annotations

import contextlib
import json
import os
import re
from typing import Any, NamedTuple

import h5py
import numpy as np
import tensorflow as tf

from yolov3_tf.anchors import YOLOV3_ANCHORS, Anchors, check_size
from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.models import yolov3_network
from yolov3_tf.models.darknet import cfg as darknet_cfg
from yolov3_tf.models.head import HEADS

FORMAT = 1
ARRAY_HEADER = 4096        # bytes a checkpoint takes at most beside the values of an array


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
    """
    class_names: tuple[str, ...]
    width_multiplier: float
    image_size: tuple[int, int]
    letterbox: bool
    anchors: Anchors = YOLOV3_ANCHORS
    head: str = 'coupled'
    cfg: str = ''
    backbone_layers: int = 0


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
    temporary = f'{path}.part'
    try:
        _reserve(temporary, size + ARRAY_HEADER * (1 + len(weights) + len(optimizer)))
        # The newest layout: older ones hold no attribute beyond 64 KiB (counters name every skipped image).
        with h5py.File(temporary, 'w', libver='latest') as file:
            file.attrs['format'] = FORMAT
            file.attrs['description'] = json.dumps(config._asdict())
            if progress is not None:
                file.attrs['counters'] = json.dumps(progress.counters)
            for name, value in weights.items():         # one after another: no second copy of them all in memory
                file[f'weights/{name}'] = value.numpy()
            for name, array in optimizer.items():
                file[f'optimizer/{name}'] = array
        with open(temporary, 'rb') as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.remove(temporary)
        raise InputError(f'{path}: cannot be written: {os.strerror(error.errno) if error.errno else error}. An '
                         'older checkpoint there is unchanged: repair the cause and resume') from error


def _reserve(path, size):
    """Raises OSError unless a file of ``size`` bytes fits there, because HDF5 crashes on a full disk."""
    with open(path, 'wb') as file:
        if hasattr(os, 'posix_fallocate'):              # not on macOS
            os.posix_fallocate(file.fileno(), 0, size)


def load_model(path: str) -> tuple[tf.keras.Model, ModelConfig]:
    """Rebuilds the network of a checkpoint with its weights; errors as in ``describe`` and ``load_weights``."""
    config = describe(path)
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
    with _open(path) as file:
        text = file.attrs['description']
    try:
        fields = json.loads(text)
        sizes, strides, *sensitivity = fields['anchors']      # files before grid sensitivity hold two
        anchors = Anchors(tuple(tuple(tuple(pair) for pair in level) for level in sizes), tuple(strides),
                          *map(tuple, sensitivity))
        height, width = fields['image_size']
        config = ModelConfig(tuple(fields['class_names']), float(fields['width_multiplier']),
                             (int(height), int(width)), bool(fields['letterbox']), anchors,
                             str(fields.get('head', 'coupled')), str(fields.get('cfg', '')),
                             int(fields.get('backbone_layers', 0)))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{path}: its config of the model is damaged ({error!r}): '
                         'take another checkpoint') from error
    choose(HEADS, config.head, f'head in {path}')
    if config.cfg:
        darknet_cfg.parse(config.cfg, f'{path}, its cfg', len(config.class_names), config.backbone_layers)
    check_size(anchors, *config.image_size)
    return config


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
        stored = file['weights']
        for name, variable in variables.items():
            shape = stored[name].shape if name in stored else None
            if shape == tuple(variable.shape):
                values.append((variable, stored[name][...]))
                if not np.isfinite(values[-1][1]).all():
                    raise InputError(f'{path}: {name} holds values that are not finite: take an earlier checkpoint')
            elif re.match(fresh, name.split('/')[0]):
                kept.append(name)
            else:
                raise InputError(f'{path}: expected {name} of shape {tuple(variable.shape)}, got {shape}: the file '
                                 'holds another network (see its --width_multiplier, --head and classes)')
    for variable, value in values:
        variable.assign(value)
    return kept


def load_progress(path: str) -> Progress:
    """Reads the state of the training that wrote this checkpoint.

    Raises:
      InputError: no checkpoint, or it holds a model only.
    """
    with _open(path) as file:
        if 'counters' not in file.attrs:
            raise InputError(f'{path} holds a model but no training to resume')
        optimizer = {}
        if 'optimizer' in file:
            file['optimizer'].visititems(
                lambda name, item: optimizer.update({name: item[...]}) if isinstance(item, h5py.Dataset) else None)
        counters = json.loads(file.attrs['counters'])
        if 'pictures' in counters:              # the key before version 0.2
            counters['images'] = counters.pop('pictures')
        return Progress(optimizer, counters)


def load_counters(path: str) -> dict[str, Any]:
    """The counters of the training that wrote this checkpoint; empty where it cannot be read or holds none."""
    try:
        with _open(path) as file:
            return json.loads(file.attrs.get('counters', '{}'))
    except (InputError, ValueError):
        return {}


def _variables(model) -> dict[str, Any]:
    """LAYER/VARIABLE -> variable, in the model's order; the same names in both Keras versions."""
    return {f'{layer.name}/{variable.name.split("/")[-1].split(":")[0]}': variable
            for layer in model.layers for variable in layer.weights}


def _open(path):
    if not os.path.isfile(path):
        raise InputError(f'no checkpoint at {path}')
    try:
        file = h5py.File(path, 'r')
    except OSError as error:
        raise InputError(f'{path} is not a readable checkpoint (truncated, or another kind of file): '
                         f'{error}') from error
    if file.attrs.get('format') != FORMAT or 'description' not in file.attrs or 'weights' not in file:
        file.close()
        raise InputError(f'{path} is an HDF5 file but not a checkpoint of this program (expected format {FORMAT}); '
                         'darknet files go through convert_darknet_weights.py, plain Keras weights through '
                         'models.yolov3_network.build(...).load_weights')
    return file
