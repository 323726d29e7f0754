"""ONNX: takes a batch of images of the network's size and returns boxes; only the resize is left to the client.

    images              uint8 [B, H, W, 3]    RGB, letterboxed or stretched by the client (``metadata``); any B

    detection_boxes     float32 [B, N, 4]     ymin, xmin, ymax, xmax as fractions of ``images``
    detection_scores    float32 [B, N]        and detection_classes, num_detections [B], as in ``saved_model``

The two texts of ``metadata`` are the model's metadata (``metadata_props``). Writing needs tf2onnx, running needs
onnxruntime.
"""
from __future__ import annotations

import logging
import os
from typing import Any, Callable

import numpy as np
import tensorflow as tf

from yolov3_tf import atomic_file, codec
from yolov3_tf.errors import InputError
from yolov3_tf.export import folded_network, metadata
from yolov3_tf.export.settings import Settings, check
from yolov3_tf.models.checkpoints import ModelConfig

OPSET = 17
INSTALL = "pip install 'yolov3_tf[onnx]', or {} alone"


def write(path: str | os.PathLike, model: tf.keras.Model, config: ModelConfig, settings: Settings) -> None:
    """Writes the file completely or not at all.

    Raises:
      InputError: tf2onnx is not installed, or this format does not support a setting.
    """
    tf2onnx, onnx = _writers(path)
    _check(settings)
    function = _function(folded_network.folded(model, config), config, settings)
    logging.getLogger('tf2onnx').setLevel(logging.ERROR)                # it reports its progress as warnings
    written, _ = tf2onnx.convert.from_function(function, function.input_signature, opset=OPSET)
    _modernise(written)
    onnx.helper.set_model_props(written, metadata.texts(config, settings))
    onnx.checker.check_model(written)
    with atomic_file.writing(path) as file:
        file.write(written.SerializeToString())


def open_session(path: str | os.PathLike) -> Any:
    """Opens an onnxruntime.InferenceSession on the CPU.

    Raises:
      InputError: onnxruntime is not installed, there is no such file, or it cannot be opened.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f'{path}: running ONNX needs onnxruntime: {INSTALL.format("onnxruntime")}') from error
    if not os.path.isfile(path):
        raise InputError(f'no model at {path}')
    try:
        return onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    except Exception as error:          # onnxruntime's errors have no base of their own
        raise InputError(f'{path}: ONNX Runtime cannot open it: {error}') from error


def read_metadata(session: Any, path: str | os.PathLike) -> metadata.Metadata:
    """The metadata of a file that ``write`` wrote."""
    return metadata.read(session.get_modelmeta().custom_metadata_map, path)


def as_function(session: Any) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Returns a function of uint8 [B, H, W, 3] that returns the named outputs."""
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {'images': images})))


def _writers(path):
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise InputError(f'{path}: writing ONNX needs tf2onnx: {INSTALL.format("tf2onnx")}') from error
    return tf2onnx, onnx


def _modernise(model):
    """Sets the Resize mode that newer runtimes support too; for whole factors both modes take the same pixels."""
    modes = {'coordinate_transformation_mode': b'asymmetric', 'nearest_mode': b'floor'}
    for node in model.graph.node:
        if node.op_type == 'Resize':
            for attribute in node.attribute:
                if attribute.name in modes:
                    attribute.s = modes[attribute.name]


def _check(settings):
    check(settings)
    if settings.precision != 'float32':
        raise InputError(f'precision {settings.precision}: ONNX files are float32; leave it out')
    if settings.suppression.nms != 'per_class':
        raise InputError(f'nms {settings.suppression.nms}: ONNX has an operation only for per_class: leave it out, or '
                         'export a SavedModel')


def _function(network, config, settings):
    height, width = config.image_size

    @tf.function(input_signature=[tf.TensorSpec([None, height, width, 3], tf.uint8, name='images')], autograph=False)
    def detect(images):
        found = folded_network.detect(network(codec.to_input(images)), config, settings)
        return folded_network.named(found, height, width, settings.class_offset)

    return detect
