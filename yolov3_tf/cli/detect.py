"""Detects objects in images, a video or a camera: drawn copies, detections.json and .csv in --output.

    python detect.py --model=runs/NAME/checkpoints/best.h5 image.jpg folder/
    python detect.py --model=runs/NAME/saved_model video.mp4
    python detect.py --model=runs/NAME/saved_model camera:0        until Ctrl-C, or --max_frames

Nothing is written beside the inputs. Images that cannot be read are named, passed over and counted.
Exit codes: 0 done, 1 nothing could be read, 2 wrong input.
"""
from __future__ import annotations

import json
import os
import sys
import time

from absl import flags

from yolov3_tf import atomic_file, export
from yolov3_tf.cli.program import exit_code
from yolov3_tf.data.readers.class_files import is_text
from yolov3_tf.errors import InputError
from yolov3_tf.inference import detector, sources
from yolov3_tf.training import precision

FLAGS = flags.FLAGS


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests give values of their own."""
    flags.DEFINE_string('model', None, 'checkpoint (.h5) or exported model', required=True, flag_values=values)
    flags.DEFINE_string('output', 'runs/detect', 'folder for drawn images (or the video), detections.json and .csv', flag_values=values)
    flags.DEFINE_float('score_threshold', .3, 'detections must score above this', 0, 1, flag_values=values)
    flags.DEFINE_integer('batch_size', 8, 'images a call of the network', lower_bound=1, flag_values=values)
    flags.DEFINE_integer('max_frames', None, 'of a video or camera, then stop (default: all)', lower_bound=1, flag_values=values)


def main(argv):
    sys.exit(exit_code(lambda: _run(argv[1:])))


def _run(paths) -> int:
    inputs = _inputs(paths)
    for line in inputs.notes:
        print(line)
    if not inputs.images and not inputs.videos:
        return _tell(sources.RunReport([], [], 0.), inputs.problems, 0.)
    precision.grow_memory()
    model = detector.load(FLAGS.model, export.DEFAULTS._replace(score_threshold=FLAGS.score_threshold))
    if model.settings.score_threshold > FLAGS.score_threshold:
        print(f'note: {FLAGS.model} was exported with score_threshold={model.settings.score_threshold}')
    os.makedirs(FLAGS.output, exist_ok=True)
    choices = (FLAGS.output, FLAGS.score_threshold, FLAGS.batch_size)
    start = time.perf_counter()
    if inputs.videos:
        report = sources.detect_video(model, inputs.videos[0], *choices, FLAGS.max_frames)
    else:
        report = sources.detect_images(model, inputs.images, *choices)
    _write_results('frames' if inputs.videos else 'images', inputs, report)
    return _tell(report, inputs.problems + report.problems, time.perf_counter() - start)


def _inputs(paths):
    """What to run on; refuses what would mix two kinds of output or write beside an input."""
    if not paths:
        raise InputError('expected images, folders, one video or camera:0 after the flags, got nothing')
    inputs = _named_in_text(sources.find_inputs(paths))
    if len(inputs.videos) > 1 or (inputs.videos and inputs.images):
        raise InputError(f'expected images or one video, got {len(inputs.videos)} videos and '
                         f'{len(inputs.images)} images: run them one after the other')
    files = [path for path in inputs.images + inputs.videos if not path.startswith(sources.CAMERA)]
    for path in files:
        if os.path.realpath(os.path.dirname(path)) == os.path.realpath(FLAGS.output):
            raise InputError(f'--output={FLAGS.output} holds the input {path}: choose another folder')
    return inputs


def _named_in_text(inputs):
    """The inputs without images whose names are not UTF-8 and could stand in no results; those become problems."""
    text, other = [], []
    for path in inputs.images:
        (text if is_text(path) else other).append(path)
    problems = [f'{path!r}: the name is not UTF-8, so rename the file' for path in other]
    return inputs._replace(images=text, problems=inputs.problems + problems)


def _write_results(kind, inputs, report):
    results = {'model': FLAGS.model, 'score_threshold': FLAGS.score_threshold}
    if inputs.videos:
        results['file'] = inputs.videos[0]
    results[kind] = report.entries
    path = os.path.join(FLAGS.output, 'detections.json')
    atomic_file.write_text(path, json.dumps(results, indent=1))
    sources.write_csv(os.path.join(FLAGS.output, 'detections.csv'), report.entries)


def _tell(report, problems, seconds) -> int:
    for problem in problems:
        print(f'skipped: {problem}', file=sys.stderr)
    count = len(report.entries)
    found = sum(len(entry['detections']) for entry in report.entries)
    if count:
        print(f'{count} images, {found} detections, {count / seconds:.2f} images/s '
              f'({count / report.seconds:.2f} without reading, drawing and writing) -> {FLAGS.output}')
    if problems:
        print(f'{len(problems)} inputs could not be used or not wholly', file=sys.stderr)
    return 0 if count else 1
