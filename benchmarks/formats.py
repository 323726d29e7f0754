"""Compares export formats: mAP, ms for an image, file size, largest box difference from the Keras model.

    python benchmarks/formats.py --model=best.h5 --data=voc:VOCdevkit:2012_val \\
        --calibration_data=voc:VOCdevkit:2012_train [--images=N] [--rounds=20] [--threads=2]

Every format is written, opened by ``detector.load`` and evaluated on the same images: VOC's 11-point mAP at IoU .5.
Differences are those of detections above score .3, in pixels of the image, each from the nearest detection of its
class; detections without a partner at IoU .5 are counted separately.

Speed is that of the runtimes alone, on one image of the network's size that is already in memory. All take turns within
a round, and medians are printed with ratios to the Keras model. OpenCV decodes boxes but does not suppress them.
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
    boxes,
    codec,
    export,
    geometry,
)
from yolov3_tf.data import image_files
from yolov3_tf.data.readers import specs
from yolov3_tf.evaluation import (
    report,
    validation,
)
from yolov3_tf.export import (
    folded_network,
    formats,
    tflite,
)
from yolov3_tf.inference import detector
from yolov3_tf.models import checkpoints

KERAS, OPENCV, CLEAR = 'Keras checkpoint', 'OpenCV dnn', .3
# Name in the table -> format, file, and options.
VARIANTS = {
    'SavedModel': ('saved_model', 'saved_model', {}),
    'TFLite float32': ('tflite', 'float32.tflite', {}),
    'TFLite float16': ('tflite', 'float16.tflite', {'tflite_type': 'float16'}),
    'TFLite int8': ('tflite', 'int8.tflite', {'tflite_type': 'int8'}),
    'ONNX Runtime': ('onnx', 'net.onnx', {}),
    'darknet .weights': ('darknet', 'net.weights', {}),
}


def parse_flags():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ('model', 'data'):
        parser.add_argument(f'--{name}', required=True)
    parser.add_argument('--calibration_data', help='for int8; default: without int8')
    parser.add_argument('--images', type=int, help='use only the first N images')
    for name, default in (('rounds', 20), ('threads', os.cpu_count())):
        parser.add_argument(f'--{name}', type=int, default=default)
    return parser.parse_args()


def write(flags, model, config, folder):
    """Name -> path of every format that can be written here."""
    settings, written = export.DEFAULTS, {}
    for name, (kind, file, options) in VARIANTS.items():
        if options.get('tflite_type') == 'int8':
            if not flags.calibration_data:
                continue
            dataset = specs.load(flags.calibration_data, list(config.class_names))
            options = {**options, 'calibration': tflite.calibration_images(dataset, 100)}
        formats.write(kind, os.path.join(folder, file), model, config, formats.Options(settings, **options))
        written[name] = os.path.join(folder, file)
    return written


def size_of(path):
    """Bytes of a file, with its cfg where it has one, or of all files of a folder."""
    if os.path.isdir(path):
        return sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(path) for name in names)
    cfg = f'{os.path.splitext(path)[0]}.cfg'
    return os.path.getsize(path) + (os.path.getsize(cfg) if path.endswith('.weights') else 0)


def difference(found, expected):
    """-> (largest distance of a clear detection's edges from its nearest partner's, clear ones without a partner)."""
    largest, alone = 0., 0
    for one, other in zip(found, expected):
        for box, class_id in zip(other.boxes[other.scores > CLEAR], other.classes[other.scores > CLEAR]):
            same = one.boxes[one.classes == class_id]
            near = same[boxes.iou(same, box[None]).numpy() > .5] if len(same) else same
            if len(near):
                largest = max(largest, float(np.abs(near - box).max(1).min()))
            else:
                alone += 1
    return largest, alone


def evaluate_formats(models, expected, dataset):
    """Name -> (mAP, largest difference, without a partner); ``expected``: detections of the Keras model."""
    rows = {KERAS: (map_of(dataset, expected), 0., 0)}
    for name, opened in models.items():
        detections, _ = validation.detect_each(opened, dataset)
        rows[name] = (map_of(dataset, detections), *difference(detections, expected))
    return rows


def map_of(dataset, detections):
    """VOC07's 11-point mean."""
    return report.evaluate(dataset, detections).summary['mAP_07']


def keras_call(model, config):
    """Function of uint8 [1, H, W, 3]: the network as trained, BatchNorm and all, and ``postprocess``."""
    settings = export.DEFAULTS

    @tf.function(autograph=False)
    def detect(image):
        return folded_network.detect(model(codec.to_input(image), training=False), config, settings).count

    return lambda image: detect(tf.constant(image)).numpy()


def runtimes(keras, models, paths):
    """Name -> function of uint8 [1, H, W, 3]."""
    calls = {KERAS: keras, **{name: _whole(opened) for name, opened in models.items() if name in paths}}
    del calls['darknet .weights']               # the same network as the checkpoint's; OpenCV runs the file
    stem = os.path.splitext(paths['darknet .weights'])[0]
    net = cv2.dnn.readNetFromDarknet(f'{stem}.cfg', f'{stem}.weights')
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    names = net.getUnconnectedOutLayersNames()

    def opencv(image):
        net.setInput(cv2.dnn.blobFromImage(image[0], 1 / 255.))
        return net.forward(names)

    calls[OPENCV] = opencv
    return calls


def _whole(opened):
    run = getattr(opened._server, '_run', None)             # TensorFlow Lite and ONNX: without our resize
    return run or (lambda image: opened._server.image_tensor(tf.constant(image))['num_detections'].numpy())


def take_turns(calls, image, rounds):
    """Name -> median seconds of a call."""
    seconds = {name: [] for name in calls}
    for round_ in range(rounds + 3):                        # the first ones warm up
        for name, call in calls.items():
            start = time.perf_counter()
            call(image)
            if round_ >= 3:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def main():
    flags = parse_flags()
    tf.config.threading.set_intra_op_parallelism_threads(flags.threads)
    cv2.setNumThreads(flags.threads)
    model, config = checkpoints.load_model(flags.model)
    dataset = specs.load(flags.data, list(config.class_names), split='val')
    dataset = dataset._replace(records=dataset.records[:flags.images])
    with tempfile.TemporaryDirectory() as folder:
        paths = write(flags, model, config, folder)
        models = {name: detector.load(path) for name, path in paths.items()}
        pixels = tf.constant(image_files.read_image(dataset.records[0].image_path))
        image = geometry.place_image(pixels, *config.image_size, config.letterbox)[0][None].numpy()
        calls = runtimes(keras_call(model, config), models, paths)
        seconds = take_turns(calls, image, flags.rounds)
        outcome = validation.Validator(model, config, dataset).run()
        kept = evaluate_formats(models, outcome.detections, dataset)
        sizes = {KERAS: os.path.getsize(flags.model), **{name: size_of(path) for name, path in paths.items()}}
    print(f'{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; TensorFlow {tf.__version__}, '
          f'OpenCV {cv2.__version__}; {len(dataset.records)} images at {config.image_size}; median of '
          f'{flags.rounds} rounds')
    print('| format | mAP@.5 | ms per image | times as fast as Keras | bytes | largest box difference, px | '
          'clear detections lost |\n'
          '|---|---|---|---|---|---|---|')
    for name in [*kept, OPENCV]:
        time_ = seconds.get(name)
        speed = f'{1e3 * time_:.1f} | {seconds[KERAS] / time_:.2f}' if time_ else '- | -'
        if name in kept:
            score, largest, alone = kept[name]
            print(f'| {name} | {score:.4f} | {speed} | {sizes[name]:,} | {largest:.3f} | {alone} |')
        else:
            print(f'| {name} | - | {speed} | - | - | - |')


if __name__ == '__main__':
    main()
