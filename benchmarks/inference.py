"""Inference, images/s: the exported model beside the bare network and OpenCV's dnn module, on the same weights.

    python benchmarks/inference.py [--rounds=5] [--batches=1,8] [--image_size=416] [--classes=20] [--width=1]
        [--cfg=FILE]

The exported model takes JPEG files (500 x 375) and includes everything: decoding, letterbox, network, boxes,
per-class suppression at score .01. The bare network takes the images as float32 and stops at its raw
outputs: the same folded network in a tf.function. OpenCV takes the images too and decodes boxes, without
suppression. Weights are random, but the output convolutions are scaled so that raw scores spread as a
trained detector's do (``SPREAD``; the count above .01 is printed): suppression among the flat scores of an
untrained network would cost many times what it costs in use.

All variants take turns within a round; medians are printed. On a busy machine the ratios are more reliable
than the images/s, and CPU time for an image is the most reliable.
"""
from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

import cv2
import numpy as np
import tensorflow as tf

from yolov3_tf import (
    export,
    geometry,
)
from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.models import yolov3_network
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.models.darknet import weights as darknet_weights
from yolov3_tf.models.darknet import yolov3_cfg
from yolov3_tf.training import cpu_speed

# Mean and deviation over the slots of an image: box offsets, objectness logit, class logits.
SPREAD = (0., .5), (-7., 2.), (-5., 2.)
BARE, EXPORTED, OPENCV = 'bare network', 'exported, JPEG in, boxes out', 'OpenCV dnn'


def parse_flags():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--batches', type=lambda text: [int(part) for part in text.split(',')], default=[1, 8])
    parser.add_argument('--precisions', type=lambda text: text.split(','), default=['float32', 'bfloat16'])
    parser.add_argument('--cfg', help='darknet cfg of YOLOv3 for OpenCV; default: written for the occasion')
    for name, default in (('rounds', 5), ('image_size', 416), ('classes', 20)):
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--width', type=float, default=1., help='other than 1: without OpenCV')
    return parser.parse_args()


def draw_jpegs(count):
    """Soft coloured spots, as JPEG files of 500 x 375."""
    random = np.random.RandomState(0)
    spots = [random.randint(0, 256, [12, 16, 3]).astype(np.uint8) for _ in range(count)]
    images = [cv2.resize(image, (500, 375), interpolation=cv2.INTER_CUBIC) for image in spots]
    return [cv2.imencode('.jpg', image)[1].tobytes() for image in images]


def to_images(jpegs, size):
    """JPEG files -> float32 [B, size, size, 3] as the network takes them."""
    placed = [geometry.place_image(tf.io.decode_jpeg(jpeg, 3), size, size, True)[0] for jpeg in jpegs]
    return tf.cast(tf.stack(placed), tf.float32) / 255.


def trained_like(flags, images):
    """A network of random weights whose raw outputs for ``images`` have mean and deviation ``SPREAD``."""
    tf.keras.utils.set_random_seed(0)
    model = yolov3_network.build(flags.classes, flags.width)
    outputs = [conv for conv, norm in yolov3_network.convolutions(model) if norm is None]
    raw = tf.keras.Model(model.inputs, [conv.output for conv in outputs])(images[:1], training=False)
    wanted = np.array([SPREAD[0]] * 4 + [SPREAD[1]] + [SPREAD[2]] * flags.classes).T
    for conv, values in zip(outputs, raw):
        values = values.numpy().reshape(-1, 3, wanted.shape[1])
        mean, deviation = values.mean(0), values.std(0) + 1e-6
        kernel, bias = conv.get_weights()
        scale = wanted[1] / deviation
        conv.set_weights([kernel * scale.ravel(), (bias.reshape(3, -1) - mean).ravel() * scale.ravel()
                          + np.tile(wanted[0], 3)])
    return model


def bare(model, flags, dtype):
    """Function of images -> raw outputs: the folded network alone."""
    tf.keras.mixed_precision.set_global_policy(dtype)
    folded = yolov3_network.build(flags.classes, flags.width, folded=True)
    tf.keras.mixed_precision.set_global_policy('float32')
    yolov3_network.fold(model, folded)
    network = tf.function(folded, input_signature=[tf.TensorSpec([None, flags.image_size, flags.image_size, 3])])
    return lambda _, images: network(images).numpy()


def exported(model, flags, dtype, folder):
    """Function of JPEG files -> boxes: written and loaded as a server would."""
    names = tuple(f'class_{i}' for i in range(flags.classes))
    config = ModelConfig(names, flags.width, (flags.image_size, flags.image_size), True, YOLOV3_ANCHORS)
    settings = export.DEFAULTS._replace(precision=dtype)
    served = tf.saved_model.load(export.export(model, config, os.path.join(folder, dtype), settings=settings))
    return lambda jpegs, _: served.encoded(tf.constant(jpegs))['detection_boxes'].numpy()


def opencv(model, flags, folder):
    """Function of images -> decoded boxes, from the same weights as a darknet file."""
    weights, cfg = os.path.join(folder, 'net.weights'), flags.cfg or os.path.join(folder, 'net.cfg')
    darknet_weights.write(weights, model)
    if not flags.cfg:
        with open(cfg, 'w') as file:
            file.write(yolov3_cfg.text(flags.classes, flags.image_size, flags.image_size))
    net = cv2.dnn.readNetFromDarknet(cfg, weights)
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    names = net.getUnconnectedOutLayersNames()

    def run(_, images):
        net.setInput(np.ascontiguousarray(images.numpy().transpose(0, 3, 1, 2)))
        return net.forward(names)
    return run


def measure(variants, jpegs, images, rounds):
    """name -> (median seconds, median CPU seconds) of one call."""
    seconds = {name: [] for name in variants}
    for round_ in range(rounds + 1):                    # the first traces and warms up
        for name, call in variants.items():
            cpu, start = time.process_time(), time.perf_counter()
            call(jpegs, images)
            if round_:
                seconds[name].append((time.perf_counter() - start, time.process_time() - cpu))
    return {name: tuple(statistics.median(values) for values in zip(*pairs)) for name, pairs in seconds.items()}


def report(batch, seconds):
    base = seconds[f'{BARE}, float32']
    print(f'\nbatch {batch}:')
    for name, (wall, cpu) in seconds.items():
        print(f'{batch / wall:8.2f} images/s {cpu / batch:7.3f} CPU s an image   against bare float32: '
              f'{base[0] / wall:5.2f}, by CPU time {base[1] / cpu:5.2f}   {name}')
    for dtype in ('float32', 'bfloat16'):
        mine = f'{EXPORTED}, {dtype}'
        if mine in seconds:
            kept = [a / b for a, b in zip(seconds[f'{BARE}, {dtype}'], seconds[mine])]
            goal = ' (goal: at least .95)' if dtype == 'float32' else ''
            print(f'the export keeps {kept[0]:.3f} of the bare network in {dtype}, by CPU time {kept[1]:.3f}{goal}')
        if mine in seconds and OPENCV in seconds:
            ratio = [a / b for a, b in zip(seconds[OPENCV], seconds[mine])]
            goal = ' (goal with bfloat16 hardware: at least 1.5)' if dtype == 'bfloat16' else ''
            print(f'the export in {dtype} is {ratio[0]:.2f} times as fast as OpenCV, by CPU time {ratio[1]:.2f}{goal}')


def main():
    flags = parse_flags()
    print(f'{platform.machine()}, {os.cpu_count()} cores, bfloat16 in hardware: {cpu_speed.has_bfloat16()}, '
          f'load {os.getloadavg()[0]:.1f}; TensorFlow {tf.__version__}, OpenCV {cv2.__version__}; YOLOv3 at '
          f'{flags.image_size}, {flags.classes} classes, width {flags.width:g}; median of {flags.rounds} rounds')
    jpegs = draw_jpegs(max(flags.batches))
    images = to_images(jpegs, flags.image_size)
    model = trained_like(flags, images)
    with tempfile.TemporaryDirectory() as folder:
        variants = {}
        for dtype in flags.precisions:
            variants[f'{BARE}, {dtype}'] = bare(model, flags, dtype)
            variants[f'{EXPORTED}, {dtype}'] = exported(model, flags, dtype, folder)
        if flags.width == 1:
            variants[OPENCV] = opencv(model, flags, folder)
        raw = variants[f'{BARE}, float32'](None, images[:1])
        scores = tf.sigmoid(raw[0, :, 4:5]) * tf.sigmoid(raw[0, :, 5:])
        print(f'{np.count_nonzero(scores > .01)} of {tf.size(scores)} scores of an image are above .01')
        for batch in flags.batches:
            report(batch, measure(variants, jpegs[:batch], images[:batch], flags.rounds))


if __name__ == '__main__':
    main()
