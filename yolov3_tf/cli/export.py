"""Exports a checkpoint as a model that serves: a SavedModel, or by --format a file for another runtime.

    python export_saved_model.py --checkpoint=runs/NAME/checkpoints/best.h5 --output=runs/NAME/saved_model --version=2
    python export_saved_model.py --checkpoint=best.h5 --format=onnx --output=best.onnx
    python export_saved_model.py --checkpoint=best.h5 --format=tflite --tflite_type=int8 \\
        --calibration_data=voc:VOCdevkit:2012_train --output=best-int8.tflite
    python export_saved_model.py --checkpoint=best.h5 --format=darknet --output=best.weights

From a darknet cfg and its weights, first make a checkpoint: convert_darknet_weights.py --cfg=... --weights=...
docs/SERVING.md shows clients of each format.
"""
from __future__ import annotations

import os
import sys

import tensorflow as tf
from absl import flags

from yolov3_tf import export
from yolov3_tf.cli.program import exit_code
from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.export import formats, tflite
from yolov3_tf.models import checkpoints
from yolov3_tf.postprocess import NMS
from yolov3_tf.training import precision

DEFAULTS = export.DEFAULTS.suppression
FLAGS = flags.FLAGS


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests give values of their own."""
    flags.DEFINE_string('checkpoint', None, 'of train.py or convert_darknet_weights.py', required=True, flag_values=values)
    flags.DEFINE_enum('format', 'saved_model', sorted(formats.FORMATS), 'what to write', flag_values=values)
    flags.DEFINE_string('output', None, 'SavedModel: a folder of versions (default: saved_model beside the checkpoint); '
                        'other formats: the file (default: the checkpoint\'s name with another ending)', flag_values=values)
    flags.DEFINE_integer('version', 1, 'of a SavedModel; servers take the largest', lower_bound=1, flag_values=values)
    flags.DEFINE_bool('overwrite', False, 'replace this version, or file, if it exists', flag_values=values)
    flags.DEFINE_float('score_threshold', DEFAULTS.score_threshold, 'detections must score above this', 0, 1, flag_values=values)
    flags.DEFINE_float('iou_threshold', DEFAULTS.iou_threshold, 'of two that overlap more, the weaker goes', 0, 1, flag_values=values)
    flags.DEFINE_integer('max_per_class', DEFAULTS.max_per_class, 'detections a class and image', lower_bound=1, flag_values=values)
    flags.DEFINE_integer('max_total', DEFAULTS.max_total, 'detections an image: N of the outputs', lower_bound=1, flag_values=values)
    flags.DEFINE_enum('nms', DEFAULTS.nms, sorted(NMS), 'kind of suppression', flag_values=values)
    flags.DEFINE_integer('top_k', DEFAULTS.top_k, 'best pairs of a slot and a class that enter suppression (default: all '
                         'per_class, else 1000)', lower_bound=1, flag_values=values)
    flags.DEFINE_enum('precision', export.DEFAULTS.precision, sorted(export.PRECISIONS),
                      'of the network in a SavedModel; bfloat16 is faster only where the hardware multiplies it', flag_values=values)
    flags.DEFINE_integer('class_offset', export.DEFAULTS.class_offset,
                         'number of the first class: 1 (Object Detection API) or 0 (Model Garden)', 0, 1, flag_values=values)
    flags.DEFINE_enum('tflite_type', 'float32', tflite.TYPES, 'numbers of a TensorFlow Lite file', flag_values=values)
    flags.DEFINE_string('calibration_data', None, 'images for --tflite_type=int8, a data spec as in train.py; best some '
                        'of the training images', flag_values=values)
    flags.DEFINE_integer('calibration_images', 100, 'how many of them', lower_bound=1, flag_values=values)


def main(argv):
    sys.exit(exit_code(lambda: _run(argv[1:])))


def _run(rest):
    if rest:
        raise InputError(f'expected flags only, got {" ".join(rest)}')
    _check_flags()
    if FLAGS.checkpoint.endswith('.weights'):
        raise InputError(f'--checkpoint={FLAGS.checkpoint}: expected a checkpoint (.h5), got a darknet file: make one '
                         'with convert_darknet_weights.py --cfg=... --weights=...')
    model, config = checkpoints.load_model(FLAGS.checkpoint)
    settings = export.Settings.from_flat({name: FLAGS[name].value for name in export.NAMES})
    on_gpu = tf.config.list_physical_devices('GPU')
    if settings.precision == 'bfloat16' and not (on_gpu or precision.cpu_has_bfloat16()):
        print('note: this CPU does not multiply bfloat16: half the memory, but no faster here than float32')
    output = FLAGS.output or _default_output()
    options = formats.Options(settings, FLAGS.overwrite, FLAGS.version, FLAGS.tflite_type,
                              _calibration(config.class_names))
    path = formats.write(FLAGS.format, output, model, config, options)
    _tell(path, output)


def _check_flags():
    """Refuses what would have no effect."""
    for name, chosen in formats.FORMATS.items():
        for flag in chosen.own:
            if FLAGS[flag].present and name != FLAGS.format:
                raise InputError(f'--{flag} is for --format={name}, got --format={FLAGS.format}: leave it out')
    if (FLAGS.tflite_type == 'int8') != bool(FLAGS.calibration_data):
        raise InputError(f'--tflite_type={FLAGS.tflite_type} and --calibration_data={FLAGS.calibration_data}: int8, '
                         'and only int8, needs images to calibrate with: give both, or neither')


def _default_output():
    stem, suffix = os.path.splitext(FLAGS.checkpoint)[0], formats.FORMATS[FLAGS.format].suffix
    return f'{stem}{suffix}' if suffix else os.path.join(os.path.dirname(FLAGS.checkpoint), 'saved_model')


def _calibration(class_names):
    if not FLAGS.calibration_data:
        return None
    dataset = specs.load(FLAGS.calibration_data, list(class_names))
    return tflite.calibration_images(dataset, FLAGS.calibration_images)


def _tell(path, output):
    if FLAGS.format == 'saved_model':
        _print_signatures(path)
        _print_serving(output)
    else:
        for file in formats.FORMATS[FLAGS.format].files(path):
            print(f'wrote {file}, {os.path.getsize(file):,} bytes')
    print(f'Detect with it:\n  python detect.py --model={output} image.jpg\n'
          f'Measure it:\n  python evaluate.py --model={output} --data=...')


def _print_signatures(path):
    print(f'{path}:')
    for name, function in sorted(tf.saved_model.load(path).signatures.items()):
        print(f'  {name}')
        for direction, tensors in (('in ', function.structured_input_signature[1]),
                                   ('out', function.structured_outputs)):
            for key, spec in sorted(tensors.items()):
                shape = str(spec.shape.as_list()).replace('None', '?')
                print(f'    {direction} {key:18} {spec.dtype.name:8} {shape}')


def _print_serving(output):
    print(f"""Serve it:
  tensorflow_model_server --rest_api_port=8501 --model_name=yolov3 --model_base_path={os.path.abspath(output)}
Ask it:
  echo '{{"instances": [{{"b64": "'$(base64 -w0 image.jpg)'"}}]}}' | \\
    curl -s -d @- http://localhost:8501/v1/models/yolov3:predict""")
