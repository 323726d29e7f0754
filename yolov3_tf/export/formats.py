"""The table of file formats."""
from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Callable, NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf import atomic_file
from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.export import darknet, onnx, saved_model, tflite
from yolov3_tf.export.settings import DEFAULTS, Settings
from yolov3_tf.models.checkpoints import ModelConfig


class Options(NamedTuple):
    """Options of the formats.

    Attributes:
      settings: of every format.
      overwrite: whether existing files may be replaced.
      version: number of the version; only a SavedModel has one.
      tflite_type, calibration: see ``tflite.write``.
    """
    settings: Settings = DEFAULTS
    overwrite: bool = False
    version: int = 1
    tflite_type: str = 'float32'
    calibration: Sequence[np.ndarray] | None = None


class Format(NamedTuple):
    """Attributes:
      suffix: ending of the file; '' for a folder of versions.
      files: path -> all files that are written.
      write: (path, model, config, Options) -> path of the written file or folder.
      own: flags of export_saved_model.py that only this format has.
    """
    suffix: str
    files: Callable[[str], list[str]]
    write: Callable[..., str]
    own: Sequence[str]


def write(name: str, path: str | os.PathLike, model: tf.keras.Model, config: ModelConfig, options: Options) -> str:
    """Writes ``model`` in the format ``name`` of ``FORMATS`` and returns the path of the file or folder.

    Raises:
      InputError: the name is unknown, the path has another suffix, a file exists, or the format refuses a setting.
    """
    chosen, path = choose(FORMATS, name, 'format'), os.fspath(path)
    if chosen.suffix and not path.endswith(chosen.suffix):
        raise InputError(f'{path}: expected a name ending in {chosen.suffix} for the format {name}')
    atomic_file.check_free(*chosen.files(path), overwrite=options.overwrite)
    if chosen.suffix:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    return chosen.write(path, model, config, options)


def _saved_model(path, model, config, options):
    return saved_model.export(model, config, path, options.version, options.settings, options.overwrite)


def _tflite(path, model, config, options):
    tflite.write(path, model, config, options.settings, options.tflite_type, options.calibration)
    return path


def _onnx(path, model, config, options):
    onnx.write(path, model, config, options.settings)
    return path


def _darknet(path, model, config, options):
    darknet.write(path, model, config, options.settings)
    return path


FORMATS = {
    # It checks for an existing version itself.
    'saved_model': Format('', lambda _: [], _saved_model, ('version', 'precision')),
    'tflite': Format('.tflite', lambda path: [path], _tflite,
                     ('tflite_type', 'calibration_data', 'calibration_images')),
    'onnx': Format('.onnx', lambda path: [path], _onnx, ()),
    'darknet': Format('.weights', darknet.files, _darknet, ()),
}
