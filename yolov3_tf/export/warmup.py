"""Requests that TensorFlow Serving runs before it accepts clients, so that no client waits for the start-up.

The file is a TFRecord of ``tensorflow.serving.PredictionLog`` messages. Their Python classes are only in
tensorflow-serving-api, so the messages are encoded here, with these fields (proto files of TensorFlow Serving, apis/):

    PredictionLog   PredictLog predict_log = 6
    PredictLog      PredictRequest request = 1
    PredictRequest  ModelSpec model_spec = 1, map<string, TensorProto> inputs = 2   (an entry: key = 1, value = 2)
    ModelSpec       string name = 1, string signature_name = 3
"""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from yolov3_tf.export import preprocess

NAME = 'tf_serving_warmup_requests'
MODEL = 'yolov3'            # any name: a server sends the requests to the model that the file belongs to


def write(path: str, height: int, width: int, batches: Sequence[int]) -> None:
    """Writes requests for each signature and each number of images; the images are grey and have the input size."""
    with tf.io.TFRecordWriter(path) as writer:
        for signature, inputs in _requests(height, width, batches):
            writer.write(prediction_log(signature, inputs))


def _requests(height, width, batches) -> Iterator[tuple[str, dict[str, Any]]]:
    image = np.full([height, width, 3], 128, np.uint8)
    encoded = tf.io.encode_jpeg(image).numpy()
    feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
    example = tf.train.Example(features=tf.train.Features(feature={preprocess.ENCODED: feature})).SerializeToString()
    for batch in batches:
        yield 'serving_default', {'images': np.array([encoded] * batch, object)}
        yield 'serving_tf_example', {'examples': np.array([example] * batch, object)}
    yield 'serving_image_tensor', {'images': image[None]}


def prediction_log(signature: str, inputs: dict[str, Any]) -> bytes:
    """A serialised PredictionLog with one request; ``inputs``: name -> array."""
    request = _field(1, _field(1, MODEL.encode()) + _field(3, signature.encode()))
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += _field(2, _field(1, name.encode()) + _field(2, tensor))
    return _field(6, _field(1, request))


def _field(number, payload):
    """A field of protobuf's wire type 2: tag, length as a varint, bytes."""
    length, prefix = len(payload), bytearray([number << 3 | 2])
    while length > 0x7f:
        prefix.append(length & 0x7f | 0x80)
        length >>= 7
    return bytes(prefix) + bytes([length]) + payload
