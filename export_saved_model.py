"""Exports a checkpoint as a SavedModel that serves: encoded pictures in, boxes of the original pictures out.

    python export_saved_model.py --checkpoint=runs/NAME/checkpoints/best.h5 --output=runs/NAME/saved_model --version=2
"""
from __future__ import annotations

import os
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

import tensorflow as tf  # noqa: E402
from absl import app, flags  # noqa: E402

from yolov3_tf import checkpoints, export, precision  # noqa: E402
from yolov3_tf.choices import InputError, exit_code  # noqa: E402
from yolov3_tf.postprocess import NMS  # noqa: E402

DEFAULTS = export.DEFAULTS
flags.DEFINE_string('checkpoint', None, 'of train.py or convert_darknet_weights.py', required=True)
flags.DEFINE_string('output', None, 'folder of versions; default: saved_model beside the checkpoint')
flags.DEFINE_integer('version', 1, 'servers take the largest', lower_bound=1)
flags.DEFINE_bool('overwrite', False, 'replace this version if it exists')
flags.DEFINE_float('score_threshold', DEFAULTS.score_threshold, 'detections must score above this', 0, 1)
flags.DEFINE_float('iou_threshold', DEFAULTS.iou_threshold, 'of two that overlap more, the weaker goes', 0, 1)
flags.DEFINE_integer('max_per_class', DEFAULTS.max_per_class, 'detections a class and picture', lower_bound=1)
flags.DEFINE_integer('max_total', DEFAULTS.max_total, 'detections a picture: N of the outputs', lower_bound=1)
flags.DEFINE_enum('nms', DEFAULTS.nms, sorted(NMS), 'kind of suppression')
flags.DEFINE_integer('top_k', DEFAULTS.top_k, 'best pairs of a slot and a class that enter suppression (default: all '
                     'per_class, else 1000)', lower_bound=1)
flags.DEFINE_enum('precision', DEFAULTS.precision, sorted(export.PRECISIONS),
                  'of the network; bfloat16 is faster only where the hardware multiplies it')
flags.DEFINE_integer('class_offset', DEFAULTS.class_offset,
                     'number of the first class: 1 (Object Detection API) or 0 (Model Garden)', 0, 1)
FLAGS = flags.FLAGS


def main(argv):
    sys.exit(exit_code(lambda: _run(argv[1:])))


def _run(rest):
    if rest:
        raise InputError(f'expected flags only, got {" ".join(rest)}')
    model, description = checkpoints.load_model(FLAGS.checkpoint)
    settings = export.Settings(**{name: FLAGS[name].value for name in export.Settings._fields})
    on_gpu = tf.config.list_physical_devices('GPU')
    if settings.precision == 'bfloat16' and not (on_gpu or precision.cpu_has_bfloat16()):
        print('note: this CPU does not multiply bfloat16: half the memory, but no faster here than float32')
    output = FLAGS.output or os.path.join(os.path.dirname(FLAGS.checkpoint), 'saved_model')
    path = export.export(model, description, output, FLAGS.version, settings, FLAGS.overwrite)
    _print_signatures(path)
    _print_usage(output)


def _print_signatures(path):
    print(f'{path}:')
    for name, function in sorted(tf.saved_model.load(path).signatures.items()):
        print(f'  {name}')
        for direction, tensors in (('in ', function.structured_input_signature[1]),
                                   ('out', function.structured_outputs)):
            for key, spec in sorted(tensors.items()):
                shape = str(spec.shape.as_list()).replace('None', '?')
                print(f'    {direction} {key:18} {spec.dtype.name:8} {shape}')


def _print_usage(output):
    print(f"""Serve it:
  tensorflow_model_server --rest_api_port=8501 --model_name=yolov3 --model_base_path={os.path.abspath(output)}
Ask it:
  echo '{{"instances": [{{"b64": "'$(base64 -w0 picture.jpg)'"}}]}}' | \\
    curl -s -d @- http://localhost:8501/v1/models/yolov3:predict
Detect with it:
  python detect.py --model={output} picture.jpg""")


if __name__ == '__main__':
    app.run(main)
