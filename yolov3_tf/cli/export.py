"""Exports a model: a SavedModel for serving, or with --format a file for another runtime.

  yolov3-tf export --model=runs/NAME --version=2
  yolov3-tf export --model=best.h5 --format=onnx --output=best.onnx
  yolov3-tf export --model=best.h5 --format=tflite --tflite_type=int8 \\
      --calibration_data=voc:VOCdevkit:2012_train --output=best-int8.tflite
  yolov3-tf export --model=best.h5 --format=darknet --output=best.weights

Convert a darknet cfg and its weights to a checkpoint first: yolov3-tf convert. docs/SERVING.md shows clients for each
format.
"""
from __future__ import annotations

import os

import tensorflow as tf
from absl import flags

from yolov3_tf import export
from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import operating_points
from yolov3_tf.export import formats, tflite
from yolov3_tf.models import checkpoints, model_files
from yolov3_tf.postprocess import NMS
from yolov3_tf.training import cpu_speed

DEFAULTS = export.DEFAULTS.suppression
MAIN_FLAGS = ('model', 'format', 'output', 'version', 'overwrite', 'score_threshold', 'iou_threshold', 'max_total',
              'nms', 'precision', 'tflite_type', 'calibration_data')


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    at = dict(flag_values=values)
    flags.DEFINE_string('model', None, 'The folder of a run, or a checkpoint (.h5).', **at)
    flags.DEFINE_enum('format', 'saved_model', sorted(formats.FORMATS), 'What to write.', **at)
    flags.DEFINE_string('output', None, 'A folder of versions, or the file. Default: saved_model in the run, or beside '
                        'the checkpoint; for another format the checkpoint\'s name with its ending.', **at)
    flags.DEFINE_integer('version', 1, 'The version of a SavedModel. Servers load the largest.', lower_bound=1, **at)
    flags.DEFINE_bool('overwrite', False, 'Replace this version, or file, if it exists.', **at)
    flags.DEFINE_float('score_threshold', DEFAULTS.score_threshold, 'Detections score above this.', 0, 1, **at)
    flags.DEFINE_float('iou_threshold', DEFAULTS.iou_threshold, 'Of two boxes with a higher IoU, the one with '
                       'the lower score is removed.', 0, 1, **at)
    flags.DEFINE_integer('max_per_class', DEFAULTS.max_per_class, 'Most detections of a class in an image.',
                         lower_bound=1, **at)
    flags.DEFINE_integer('max_total', DEFAULTS.max_total, 'Most detections in an image, the N of the outputs.',
                         lower_bound=1, **at)
    flags.DEFINE_enum('nms', DEFAULTS.nms, sorted(NMS), 'The kind of suppression.', **at)
    flags.DEFINE_integer('top_k', DEFAULTS.top_k, 'Best pairs of a slot and a class that enter suppression. Default: '
                         'all for per_class, else 1000.', lower_bound=1, **at)
    flags.DEFINE_enum('precision', export.DEFAULTS.precision, sorted(export.PRECISIONS), 'Precision of the network in '
                      'a SavedModel. bfloat16 is faster only where the hardware multiplies it.', **at)
    flags.DEFINE_integer('class_offset', export.DEFAULTS.class_offset, 'Number of the first class: 1 (Object Detection '
                         'API) or 0 (Model Garden).', 0, 1, **at)
    flags.DEFINE_enum('tflite_type', 'float32', tflite.TYPES, 'Number type of a TensorFlow Lite file.', **at)
    flags.DEFINE_string('calibration_data', None, 'Dataset spec of images for --tflite_type=int8. Training images are '
                        'best.', **at)
    flags.DEFINE_integer('calibration_images', 100, 'How many images of --calibration_data to use.', lower_bound=1,
                         **at)


def run(arguments, options) -> int:
    """Writes the file or SavedModel and explains how to use it; returns the exit code."""
    _check_flags(arguments, options)
    checkpoint = model_files.resolve(options.model, checkpoint=True)
    model, config = checkpoints.load_model(checkpoint)
    settings = export.Settings.from_flat({name: options[name].value for name in export.NAMES})
    settings = settings._replace(operating=operating_points.of_checkpoint(checkpoint))
    if settings.precision == 'bfloat16' and not tf.config.list_physical_devices('GPU'):
        note_speed()
    output = options.output or _default_output(options.model, checkpoint, options.format)
    chosen = formats.Options(settings, options.overwrite, options.version, options.tflite_type,
                             _calibration(config.class_names, options))
    path = formats.write(options.format, output, model, config, chosen)
    _explain(path, output, options.format)
    return 0


def note_speed():
    """Prints a note where bfloat16 is no faster on this CPU, as it is measured for training."""
    if not cpu_speed.has_bfloat16():
        print('note: this CPU does not multiply bfloat16: half the memory, but no faster here than float32')
    elif (speed := cpu_speed.bfloat16_speed()) < 1:
        print(f'note: bfloat16 measured {speed:.2f} times as fast as float32 on this CPU: it only halves the memory')


def _check_flags(arguments, options):
    """Raises InputError for missing flags and for flags without effect."""
    if arguments:
        raise InputError(f'expected flags only, got {" ".join(arguments)}')
    if not options.model:
        raise InputError('--model: expected the folder of a run or a checkpoint (.h5), got none')
    for name, chosen in formats.FORMATS.items():
        for flag in chosen.own:
            if options[flag].present and name != options.format:
                raise InputError(f'--{flag} is for --format={name}, got --format={options.format}: leave it out')
    if (options.tflite_type == 'int8') != bool(options.calibration_data):
        raise InputError(f'--tflite_type={options.tflite_type} and --calibration_data={options.calibration_data}: '
                         'int8, and only int8, needs images to calibrate with: give both, or neither')


def _default_output(model, checkpoint, kind):
    suffix = formats.FORMATS[kind].suffix
    if suffix:
        return os.path.splitext(checkpoint)[0] + suffix
    return os.path.join(model if os.path.isdir(model) else os.path.dirname(model), 'saved_model')


def _calibration(class_names, options):
    if not options.calibration_data:
        return None
    dataset = specs.load(options.calibration_data, list(class_names))
    return tflite.calibration_images(dataset, options.calibration_images)


def _explain(path, output, kind):
    """Prints what was written and how to use it."""
    if kind == 'saved_model':
        _print_signatures(path)
        _print_serving(output)
    else:
        for file in formats.FORMATS[kind].files(path):
            print(f'wrote {file}, {os.path.getsize(file):,} bytes')
    print(f'Detect with it:\n  yolov3-tf detect --model={output} image.jpg\n'
          f'Evaluate it:\n  yolov3-tf evaluate --model={output} --data=...')


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
Send it an image:
  echo '{{"instances": [{{"b64": "'$(base64 -w0 image.jpg)'"}}]}}' | \\
    curl -s -d @- http://localhost:8501/v1/models/yolov3:predict""")
