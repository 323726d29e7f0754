"""Darknet's weight files and our network: one walk in file order serves reading and writing.

After its header (``weights_file``) a file holds, for every convolution in the order of the cfg,

    with BatchNorm       beta, gamma, moving mean, moving variance, kernel
    without              bias, kernel

as little-endian float32 without names, counts or padding. Kernels are [out, in, rows, columns], in
Keras [rows, columns, in, out]. As nothing in a file describes its contents, its exact size and all of
its values are checked before the model is changed.

Source: darknet, src/parser.c (``load_convolutional_weights``, ``save_convolutional_weights``).
"""
from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf import atomic_file
from yolov3_tf.errors import InputError
from yolov3_tf.models.darknet import cfg, weights_file
from yolov3_tf.models.darknet.weights_file import FLOAT, Header
from yolov3_tf.models.yolov3_network import BACKBONE, BRANCHES, convolutions


class Run(NamedTuple):
    """A run of floats in the file that is one variable of the model.

    Attributes:
      layer, what: such as ``head_conv_59``, ``kernel``.
      variable: it is read into and written from; None: skipped.
      shape: in the file.
    """
    layer: str
    what: str
    variable: Any
    shape: tuple[int, ...]


def walk(model: tf.keras.Model, part: str = '') -> list[Run]:
    """The runs of ``model``'s file, first to last; ``part``: only convolutions of this name pattern."""
    runs = []
    for conv, norm in convolutions(model):
        if not re.search(part, conv.name):
            continue
        vectors = ([(conv, 'bias')] if norm is None else
                   [(norm, what) for what in ('beta', 'gamma', 'moving_mean', 'moving_variance')])
        for layer, what in vectors:
            variable = getattr(layer, what)
            runs.append(Run(layer.name, what, variable, tuple(variable.shape)))
        rows, columns, inputs, outputs = conv.kernel.shape
        runs.append(Run(conv.name, 'kernel', conv.kernel, (outputs, inputs, rows, columns)))
    return runs


def count(runs: list[Run]) -> int:
    """Floats of all runs together."""
    return sum(int(np.prod(run.shape)) for run in runs)


def to_keras(values: np.ndarray) -> np.ndarray:
    """[out, in, rows, columns] -> [rows, columns, in, out]; vectors stay."""
    return values.transpose(2, 3, 1, 0) if values.ndim == 4 else values


def to_darknet(values: np.ndarray) -> np.ndarray:
    """[rows, columns, in, out] -> [out, in, rows, columns]; vectors stay."""
    return values.transpose(3, 2, 0, 1) if values.ndim == 4 else values


def read(path: str | os.PathLike, model: tf.keras.Model) -> Header:
    """Reads a file of the whole network (``yolov3.weights``) into ``model``.

    Raises:
      InputError: the file is missing, is not darknet's, has not this model's size, or holds values that
        no training produces (NaN, infinity, a negative variance); the model is then unchanged. Or the
        model has a separated head, which no cfg describes.
    """
    _check_head(path, model)
    runs = walk(model)
    return _read(path, model, runs, f'a whole network of {_classes(model)} classes')


def read_backbone(path: str | os.PathLike, model: tf.keras.Model) -> Header:
    """Reads a file of exactly the backbone's convolutions (``darknet53.conv.74``); see ``read``.

    For a network from a cfg, ``fit_backbone`` finds the layer at which the file ends.
    """
    return _read(path, model, walk(model, BACKBONE), 'the backbone alone')


def fit_backbone(path: str | os.PathLike, network: cfg.Network) -> cfg.Network:
    """The network with its backbone ending where the partial file at ``path`` ends (``MobileNetV2-Nano.57``).

    Raises:
      InputError: no darknet file, or it ends inside a layer of the network or beyond its backbone.
    """
    header, size = weights_file.inspect(path)
    if size % FLOAT.itemsize:
        raise InputError(f'{path}: expected whole floats after a header of {header.size} bytes, got {size:,} bytes: '
                         f'{weights_file.AGAIN}')
    try:
        return cfg.cut_for(network, size // FLOAT.itemsize)
    except InputError as error:
        raise InputError(f'{path}: {error}') from error


def read_transfer(path: str | os.PathLike, model: tf.keras.Model) -> list[str]:
    """Reads a file of the whole network whatever its class count, which follows from its size.

    With another class count than the model's the output convolutions are skipped and keep the
    model's values; with the same, everything is read.

    Returns:
      Names of the variables left as they were, as ``checkpoints.load_weights`` does. Errors as in ``read``.
    """
    _check_head(path, model)
    runs, here, outputs = walk(model), _classes(model), cfg.outputs(model)
    classes = infer_classes(weights_file.inspect(path)[1], model)
    if classes not in (None, here):
        runs = [_of_other_classes(run, here, classes) if re.search(outputs, run.layer) else run for run in runs]
    _read(path, model, runs, 'a whole network of this width')
    return [f'{run.layer}/{run.what}' for run in runs if run.variable is None]


def write(path: str | os.PathLike, model: tf.keras.Model, header: Header | None = None) -> None:
    """Writes ``model`` as a file of the whole network; an older file is replaced only by a complete one.

    Args:
      header: what ``read`` returned, for a file equal to the one read; None: version 0.2, nothing seen.

    Raises:
      InputError: a value or a head that ``read`` would refuse, or the file cannot be written.
    """
    _check_head(path, model)
    _write(path, walk(model), header)


def write_backbone(path: str | os.PathLike, model: tf.keras.Model, header: Header | None = None) -> None:
    """Writes the backbone's convolutions alone, as ``darknet53.conv.74`` holds them; see ``write``."""
    _write(path, walk(model, BACKBONE), header)


def infer_classes(size: int, model: tf.keras.Model) -> int | None:
    """Class count at which a whole network of ``model``'s width takes ``size`` bytes; None: there is none."""
    if _has_branches(model):
        return None
    runs = walk(model)
    here, outputs = _classes(model), cfg.outputs(model)
    a_class = count([run for run in runs if re.search(outputs, run.layer)]) // (5 + here)
    more, rest = divmod(size - FLOAT.itemsize * count(runs), FLOAT.itemsize * a_class)
    return here + more if not rest and here + more >= 1 else None


def _has_branches(model):
    return any(re.search(BRANCHES, layer.name) for layer in model.layers)


def _check_head(path, model):
    if _has_branches(model):
        raise InputError(f'{path}: expected a network that darknet can describe, got one with separated prediction '
                         'layers: use --head=coupled, a backbone file (--backbone_weights), or a checkpoint (.h5)')


def _classes(model):
    return model.output_shape[-1] - 5


def _of_other_classes(run, here, classes):
    anchors = run.shape[0] // (5 + here)
    return run._replace(variable=None, shape=(anchors * (5 + classes), *run.shape[1:]))


def _read(path, model, runs, what):
    """Checks everything, then assigns: a bad file leaves the model unchanged."""
    header, size = weights_file.inspect(path)
    floats = count(runs)
    if size != FLOAT.itemsize * floats:
        raise InputError(
            f'{path}: expected {header.size + FLOAT.itemsize * floats:,} bytes for {what} (a header of '
            f'{header.size}, {floats:,} floats), got {header.size + size:,}. '
            + _advise(size, FLOAT.itemsize * floats, model))
    ends = np.cumsum([int(np.prod(run.shape)) for run in runs])
    values = np.split(weights_file.read_floats(path, header, floats), ends[:-1])
    for run, piece in zip(runs, values):
        _check_values(path, run, piece.reshape(run.shape))
    for run, piece in zip(runs, values):
        if run.variable is not None:
            run.variable.assign(to_keras(piece.reshape(run.shape)))
    return header


def _advise(size, expected, model):
    """What to do with a file of another size than expected."""
    classes = infer_classes(size, model)
    if classes:
        return (f'It fits a whole network of {classes} classes: set that class count, or start a training '
                'from it with --init_weights, which takes all but the output layers')
    if size == FLOAT.itemsize * count(walk(model, BACKBONE)):
        return 'It fits the backbone alone: start a training from it with --backbone_weights'
    difference = abs(size - expected)
    if difference < 4096:
        bytes_, fault = 'byte' if difference == 1 else 'bytes', 'missing' if size < expected else 'too many'
        return f'{difference:,} {bytes_} {fault}: {weights_file.AGAIN}'
    if model.name == cfg.NAME:
        return f'It is cut off or of another cfg: give the cfg it was trained with, or {weights_file.AGAIN}'
    return ('It is cut off or of another network: the published files fit width_multiplier 1 only; '
            f'set the width it was trained with, or {weights_file.AGAIN}')


def _write(path, runs, header):
    with atomic_file.writing(path) as file:
        file.write((header or Header()).pack())
        for run in runs:
            values = to_darknet(run.variable.numpy()).astype(FLOAT)
            _check_values(path, run, values)
            file.write(values.tobytes())


def _check_values(path, run, values):
    """A negative variance, like a NaN, shows that a file of the right size has another network's order."""
    bad, expected = ~np.isfinite(values), 'finite values'
    if run.what == 'moving_variance':
        bad, expected = bad | (values < 0), 'finite variances that are not negative'
    if bad.any():
        index = [int(i) for i in np.argwhere(bad)[0]]
        raise InputError(
            f'{path}: expected {expected}, got {values[tuple(index)]} in {run.layer} {run.what}{index} '
            f'({int(bad.sum()):,} of its {values.size:,} values are bad): the file is damaged, of another '
            'network or of a training that diverged; use another')
