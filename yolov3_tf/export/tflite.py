"""TensorFlow Lite: takes one image of the network's size and returns boxes; only the resize is left to the client.

    images              uint8 [1, H, W, 3]    RGB, letterboxed or stretched by the client (``metadata``)

    detection_boxes     float32 [1, N, 4]     ymin, xmin, ymax, xmax as fractions of ``images``
    detection_scores    float32 [1, N]        and detection_classes, num_detections [1], as in ``saved_model``

Only TensorFlow Lite's built-in operations are used, so any of its interpreters runs the file. A file is also
a ZIP archive of the two texts of ``metadata``, as with TensorFlow Lite's own tools: ``unzip -p FILE labels.txt``.

An int8 file has integer weights and activations in the whole network and floats in the few operations on its
outputs, because an integer exp would move boxes by many pixels. For the same reason the output convolutions
are split into box, objectness and classes, so that each has its own scale.
"""
from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Iterable
from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf import anchors, atomic_file, codec, geometry, regular_file
from yolov3_tf.choices import choose
from yolov3_tf.data import image_files
from yolov3_tf.errors import InputError
from yolov3_tf.export import folded_network, metadata
from yolov3_tf.export.settings import Settings, check
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.models.head import BOX, OBJECTNESS
from yolov3_tf.structures import BatchedDetections, Dataset

SCOPE = 'detections'            # the names of operations that stay float in int8 begin with this
LARGEST_METADATA = 4_000_000       # bytes of the two texts
TYPES = ('float32', 'float16', 'int8')


class Part(NamedTuple):
    """An output convolution: its input, its weights, and the columns of a slot that it computes."""
    features: Any
    kernel: np.ndarray
    bias: np.ndarray
    first: int
    end: int


def write(path: str | os.PathLike, model: tf.keras.Model, config: ModelConfig, settings: Settings,
          kind: str = 'float32', calibration: Iterable[np.ndarray] | None = None) -> None:
    """Writes a file of the number type ``kind``, of ``TYPES``.

    Args:
      calibration: for int8: typical images, uint8 [h, w, 3] RGB of any sizes.

    Raises:
      InputError: this format does not support a setting, or there are no images for int8.
    """
    _check(settings, kind, calibration)
    network = folded_network.folded(model, config)
    function = _function(network, config, settings)
    if kind == 'int8':
        size = (*config.image_size, config.letterbox)
        inputs = [geometry.place_image(tf.constant(image), *size)[0][None] for image in calibration or ()]
        if not inputs:
            raise InputError('int8: expected images to calibrate with, got none')
        content = _quantized(function, network, inputs)
    else:
        converter = _converter(function, network)
        if kind == 'float16':
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        content = converter.convert()
    _write(path, content, metadata.texts(config, settings, number_type=kind))


def read_metadata(path: str | os.PathLike) -> metadata.Metadata:
    """The metadata of a file that ``write`` wrote.

    Raises:
      InputError: no such file, or another kind of file.
    """
    try:
        with open(path, 'rb', opener=regular_file.opener) as file, zipfile.ZipFile(file) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST_METADATA:
                raise InputError(f'{path}: its archive unpacks to more than {LARGEST_METADATA:,} bytes: '
                                 'not a file of this package')
            found = {name: archive.read(name).decode() for name in archive.namelist()}
    except FileNotFoundError:
        raise InputError(f'no model at {path}') from None
    except (OSError, zipfile.BadZipFile, UnicodeError) as error:
        raise InputError(f'{path}: expected a TensorFlow Lite model of export_saved_model.py: {error}') from error
    return metadata.read(found, path)


def open_model(path: str | os.PathLike) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Returns a function of uint8 [B, H, W, 3] that returns the named outputs; it runs the images one after another."""
    try:
        run = _interpreter(model_path=str(path), num_threads=os.cpu_count()).get_signature_runner()
    except ValueError as error:
        raise InputError(f'{path}: TensorFlow Lite cannot open it: {error}') from error

    def call(images):
        rows = [run(images=image[None]) for image in images]
        return {name: np.concatenate([row[name] for row in rows]) for name in metadata.OUTPUTS}

    return call


def calibration_images(dataset: Dataset, count: int) -> list[np.ndarray]:
    """Up to ``count`` images, evenly spread over a ``Dataset``; images that cannot be read are left out.

    Raises:
      InputError: none can be read.
    """
    records = dataset.records[::max(1, len(dataset.records) // count)]
    found = []
    for record in records[:count]:
        if image_files.explain(record.image_path, record.orientation) is None:
            found.append(image_files.read_image(record.image_path, record.orientation))
    if not found:
        raise InputError(f'none of the {len(records)} calibration images can be used: '
                         f'{image_files.explain(records[0].image_path, records[0].orientation)}')
    return found


def _check(settings, kind, calibration):
    check(settings)
    choose(dict.fromkeys(TYPES), kind, 'number type of TensorFlow Lite')
    nms, top_k = settings.suppression.nms, settings.suppression.top_k
    if nms != 'per_class' or top_k is not None:
        raise InputError(f'nms {nms}, top_k {top_k}: TensorFlow Lite has per_class suppression '
                         'without top_k among its own operations: leave both out, or export a SavedModel')
    if settings.precision != 'float32':
        raise InputError(f'precision {settings.precision}: expected float32; for a smaller TensorFlow Lite file '
                         'choose its number type float16 or int8')
    if kind == 'int8' and calibration is None:
        raise InputError('int8: expected images to calibrate with (--calibration_data), got none')


def _function(network, config, settings):
    height, width = config.image_size
    parts = _output_parts(network)
    features = tf.keras.Model(network.inputs, [part.features for level in parts for part in level])

    @tf.function(input_signature=[tf.TensorSpec([1, height, width, 3], tf.uint8, name='images')], autograph=False)
    def detect(images):
        inputs = iter(tf.nest.flatten(features(codec.to_input(images))))
        columns = [[column for part in level for column in _convolve(next(inputs), part)] for level in parts]
        with tf.name_scope(SCOPE):
            # Level by level, because tensors concatenated before a sigmoid or an exp would share one scale in int8.
            decoded = [_decode(level, priors) for level, priors in zip(columns, _priors(config))]
            boxes, scores = (tf.concat(of_levels, 1) for of_levels in zip(*decoded))
            found = _suppress(boxes, scores, settings.suppression)
            return folded_network.named(found, height, width, settings.class_offset)

    return detect


def _output_parts(network) -> list[list[Part]]:
    """The output convolutions of each level, finest level first; in a level ordered by their columns."""
    makers = {id(layer.output): layer for layer in network.layers}

    def parts(tensor, first):
        slots = makers[id(tensor)]
        if isinstance(slots, tf.keras.layers.Concatenate):          # of a separated head: box, then the other columns
            box, rest = slots.input
            return [*parts(box, first), *parts(rest, first + box.shape[-1])]
        conv = makers[id(slots.input)]
        kernel, bias = conv.get_weights()
        return [Part(conv.input, kernel, bias, first, first + tensor.shape[-1])]

    return [parts(tensor, 0) for tensor in tf.nest.flatten(network.layers[-1].input)]


def _convolve(x, part):
    """Yields the columns of ``part``, one tensor [1, slots, n] for each of box, objectness and classes that it has."""
    fields = part.end - part.first
    kernel = part.kernel.reshape([part.kernel.shape[2], -1, fields])            # [inputs, A, fields]
    bias = part.bias.reshape([-1, fields])
    cuts = [0, *(cut - part.first for cut in (BOX, BOX + OBJECTNESS) if part.first < cut < part.end), fields]
    for near, far in zip(cuts, cuts[1:]):
        piece = kernel[..., near:far].reshape([1, 1, kernel.shape[0], -1])
        y = tf.nn.bias_add(tf.nn.conv2d(x, piece, 1, 'VALID'), bias[:, near:far].ravel())
        yield tf.reshape(y, [1, -1, far - near])


def _priors(config):
    """The priors of each level, finest first."""
    sizes, strides, sensitivity = config.anchors
    for level, (pairs, stride) in enumerate(zip(sizes, strides)):
        alone = anchors.Anchors((pairs,), (stride,), sensitivity[level:level + 1])
        yield anchors.lay_out(alone, *config.image_size)


def _decode(level, priors):
    """The boxes [1, S, 4] and scores [1, S, C] of a level's columns."""
    offsets, objectness, classes = level
    return codec.decode(offsets, priors), tf.sigmoid(objectness) * tf.sigmoid(classes)


def _suppress(boxes, scores, suppression) -> BatchedDetections:
    """Like ``postprocess.detect`` with per_class, but with TensorFlow Lite's own operation, once for each class."""
    boxes, scores = boxes[0], tf.transpose(scores, [0, 2, 1])[0]                            # [S, 4], [C, S]
    most = min(suppression.max_per_class, boxes.shape[0])
    kept_boxes, kept_scores = [], []
    for of_class in tf.unstack(scores):
        rows, count = tf.raw_ops.NonMaxSuppressionV4(
            boxes=boxes, scores=of_class, max_output_size=most, iou_threshold=suppression.iou_threshold,
            score_threshold=suppression.score_threshold, pad_to_max_output_size=True)
        kept_boxes.append(tf.gather(boxes, rows))
        kept_scores.append(tf.where(tf.range(most) < count, tf.gather(of_class, rows), 0.))
    return _best(tf.concat(kept_boxes, 0), tf.concat(kept_scores, 0), most, suppression.max_total)


def _best(boxes, scores, per_class, max_total) -> BatchedDetections:
    """The best ``max_total`` of [C * per_class] detections, as a batch of one."""
    padding = max(0, max_total - scores.shape[0])
    scores, index = tf.math.top_k(tf.pad(scores, [[0, padding]]), max_total)
    real = scores > 0
    index = tf.where(real, index, 0)
    boxes = tf.where(real[:, None], tf.gather(boxes, index), 0.)
    return BatchedDetections(boxes[None], scores[None], tf.where(real, index // per_class, 0)[None],
                             tf.reduce_sum(tf.cast(real, tf.int32))[None])


def _converter(function, network):
    # The converter finds variables only through a module; others would lose their values (Keras 3).
    module = tf.Module()
    module.network_variables = folded_network.variables(network)
    return tf.lite.TFLiteConverter.from_concrete_functions([function.get_concrete_function()], module)


def _quantized(function, network, inputs) -> bytes:
    """An int8 file whose operations under ``SCOPE`` stay float; only the converter's debugger can exclude operations.

    Their names are read from a float file.
    """
    plain = _interpreter(model_content=_converter(function, network).convert())
    plain.allocate_tensors()
    floats = [tensor['name'] for tensor in plain.get_tensor_details() if tensor['name'].startswith(SCOPE)]
    converter = _converter(function, network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image] for image in inputs)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8, tf.lite.OpsSet.TFLITE_BUILTINS]
    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=floats)
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter, debug_dataset=converter.representative_dataset, debug_options=options)
    return debugger.get_nondebug_quantized_model()


def _interpreter(**source):
    with warnings.catch_warnings():         # TensorFlow 2.21 still has it, but warns that 2.20 removed it
        warnings.filterwarnings('ignore', '(?s).*tf.lite.Interpreter is deprecated')
        return tf.lite.Interpreter(**source)


def _write(path, content, texts):
    """Writes the file completely or not at all: the flatbuffer, then the archive, which flatbuffer readers ignore."""
    with atomic_file.writing(path) as file:
        file.write(content)
        with zipfile.ZipFile(file, 'a', zipfile.ZIP_DEFLATED) as archive:
            for name, text in texts.items():
                archive.writestr(name, text)
