"""Evaluates a detector on annotated images: VOC07 11-point, VOC area, COCO .5:.95, GIoU; per class.

    python evaluate.py --model=runs/NAME --data=voc:VOCdevkit:2007_test
    python evaluate.py --model=runs/NAME/saved_model --data=...
    python evaluate.py --results=DIR_OF_COMP4_FILES --data=...

The last evaluates the results of any detector, without a network.
"""
from __future__ import annotations

import contextlib
import functools
import json
import os
import pathlib
import sys

from absl import flags, logging

from yolov3_tf import atomic_file
from yolov3_tf.cli import tile_flags
from yolov3_tf.data.readers import specs
from yolov3_tf.data.readers.class_files import read_class_file
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import report, results
from yolov3_tf.models import model_files
from yolov3_tf.training import flag_texts

OF_CHECKPOINTS = ('image_size', 'score_threshold', 'iou_threshold', 'max_per_class', 'nms', 'top_k')
# Flags of earlier versions or other programs -> what to type here.
ANSWERS = {
    'nms_threshold': 'it is --iou_threshold now',
    'checkpoint': 'it is --model here', 'weights': 'it is --model here',
    'test_data': 'it is --data here', 'val_data': 'it is --data here',
    'size': 'it is --image_size', 'out': 'it is --output'}


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    string, integer, number, boolean = (functools.partial(define, flag_values=values) for define in (
        flags.DEFINE_string, flags.DEFINE_integer, flags.DEFINE_float, flags.DEFINE_bool))
    string('model', None, f'The model to evaluate: {model_files.KINDS}.')
    string('results', None, 'Instead of a model: a folder of VOC comp4 text files, or COCO results (.json).')
    string('data', None, 'The annotated images: a labelled folder (its held-out part, if it has one), or a dataset '
           'spec: voc:DIR:SPLIT[+SPLIT], xml:DIR, list:FILE, csv:FILE, coco:JSON:DIR, labelme:DIR, via:FILE, '
           'cvat:FILE, createml:FILE, supervisely:DIR, kitti:DIR, darknet:LIST[:NAMES], yolo:YAML:SPLIT, '
           'tfrecord:PATTERN, shapes[:N], or several joined by commas.')
    string('classes', None, 'A file of class names, one a line (default: those of the model, or those found '
           'in the data).')
    string('output', None, 'The folder for metrics.json, plots and result files (default: beside the model).')
    string('json', None, 'Also write the scores as JSON to this file, or to standard output for "-": images, '
           'objects, class_names, metrics, per_class, skipped.')
    integer('image_size', None, 'Height and width of the network input, for a checkpoint (default: its own).',
            lower_bound=32)
    integer('batch_size', 8, 'Images in one call of the network.', lower_bound=1)
    number('score_threshold', .01, 'Detections must score above it; for a checkpoint.', 0., 1.)
    number('iou_threshold', .45, 'Of two boxes that overlap more, the one with the lower score is removed; for '
           'a checkpoint.', 0., 1.)
    integer('max_per_class', 150, 'Most detections of a class in an image; for a checkpoint.', lower_bound=1)
    string('nms', 'per_class', 'The kind of suppression, for a checkpoint: per_class, agnostic, diou or soft.')
    integer('top_k', None, 'How many of the best pairs of a slot and a class enter suppression, for a '
            'checkpoint (default: all per_class, else 1000).', lower_bound=1)
    tile_flags.define(values)
    string('image_set', 'test', 'The name of the image set in the comp4 files.')
    boolean('strict', False, 'Stop at the first faulty annotation or image.')


def run(arguments: list[str], options: flags.FlagValues) -> int:
    """Evaluates as the flags say, prints the table and writes the files; returns the exit status."""
    if arguments:
        raise InputError(f'unexpected argument {arguments[0]!r}: every setting is a flag, --name=value')
    logging.set_verbosity(logging.WARNING)
    if bool(options.model) == bool(options.results):
        raise InputError('give either --model or --results')
    if options.results and options.tiles:
        raise InputError('--tiles beside --results: result files are evaluated as they are; leave the flag out')
    if not options.data:
        raise InputError('--data: expected annotated images to evaluate on, such as voc:VOCdevkit:2007_test, got none')
    options.data = own_held_out(options)
    folder = output_folder(options)
    classes = read_class_file(options.classes) if options.classes else None
    notes: list[str] = []
    dataset, detections, skipped = of_model(options, classes) if options.model else of_results(options, classes, notes)
    # With --json=- the standard output has only the JSON.
    with contextlib.redirect_stdout(sys.stderr) if options.json == '-' else contextlib.nullcontext():
        for note in [*dataset.notes, *notes]:
            print(f'note: {note}', file=sys.stderr)
        for problem in dataset.problems:
            print(f'annotation: {problem}', file=sys.stderr)
        for why in skipped.values():
            print(f'skipped: {why}', file=sys.stderr)
        evaluated = report.evaluate(report.read_part(dataset, skipped), detections)
        print(report.table(evaluated))
        if skipped:
            print(report.describe_skipped(dataset, skipped))
        write(options, folder, dataset, detections, evaluated)
    if options.json:
        write_json(options.json, evaluated, skipped)
    return 0


def own_held_out(options):
    """--data; of a folder without a validation part, the images that the model's run has held out of it."""
    found = specs.recognised(options.data)
    if not options.model or len(found) != 1 or found[0].val or len(specs.parse(options.data)) != 1:
        return options.data
    for folder in pathlib.Path(os.path.abspath(model_files.resolve(options.model))).parents:
        flags_of_run = flag_texts.read_values(folder / 'run.flags')
        val = folder / 'split' / 'val.txt'
        if flags_of_run:
            same = os.path.realpath(flags_of_run.get('train_data', '')) == os.path.realpath(options.data)
            if same and val.is_file():
                print(f'data: {options.data}, the images that {folder} has held out: list:{os.path.relpath(val)}',
                      file=sys.stderr)
                return f'list:{os.path.relpath(val)}'
            break
    return options.data


def of_results(options, classes, notes):
    """The set, the detections of the result files, and an empty dict of skipped images; adds to ``notes``."""
    return *read_results(options.results, options.data, classes, options.strict, notes), {}


def read_results(path, data, classes, strict, notes):
    """The set and the detections of result files: COCO's where the name ends in .json, else a folder of comp4 files."""
    dataset = specs.load(data, classes, strict, 'val')
    if not path.endswith('.json'):
        return dataset, results.read_voc(path, dataset, notes)
    return dataset, results.read_coco(path, dataset, category_ids(data, dataset), notes)


def category_ids(data, dataset, partly=False):
    """COCO's own numbers of the classes if all data is from COCO, else None (1, 2, ...)."""
    parts = specs.parse(data, 'val')
    path = parts[0].category_file
    if len(parts) > 1 or path is None:
        return None
    return results.read_category_ids(path, dataset.class_names, partly)


def of_model(options, classes):
    """The set, the model's detections, and file -> reason for images that could not be read."""
    # Imported here, so that evaluating result files needs no TensorFlow.
    from yolov3_tf.inference import detector
    from yolov3_tf.inference.evaluate import detect_dataset
    from yolov3_tf.models import checkpoints
    from yolov3_tf.postprocess import Suppression
    from yolov3_tf.training import precision
    precision.grow_memory()
    path = model_files.resolve(options.model)
    if not path.endswith(model_files.CHECKPOINT):
        given = [name for name in OF_CHECKPOINTS if options[name].present]
        if given:
            raise InputError(f'--{given[0]} is fixed in an exported model: export it anew, or evaluate the checkpoint')
        opened = detector.load(path)
        check_classes(classes, opened.class_names)
        tiling = tile_flags.of_model(options, opened.tiles)
        return detect_dataset(opened, options.data, strict=options.strict, tiling=tiling)
    if options.nms == 'soft' and options['iou_threshold'].present:
        raise InputError('--iou_threshold beside --nms=soft: soft suppression has no threshold; give one of them')
    config = checkpoints.describe(path)
    check_classes(classes, config.class_names)
    suppression = Suppression(options.score_threshold, options.iou_threshold, options.max_per_class, None, options.nms,
                              options.top_k)
    return detect_dataset(path, options.data, suppression, options.image_size, options.batch_size, options.strict,
                          tile_flags.of_model(options, config.tiles))


def check_classes(given, of_model):
    """Raises InputError if --classes differs from the model's classes: it would only rename them."""
    if given is not None and list(given) != list(of_model):
        raise InputError(f'--classes names {", ".join(given)}, but the model was trained for {", ".join(of_model)}: '
                         'leave the flag out')


def output_folder(options):
    """--output, or a new folder: beside the model, or below runs/ for result files, whose folder is the user's."""
    if options.output:
        if options.results and os.path.abspath(options.output) in (
                os.path.abspath(options.results), os.path.dirname(os.path.abspath(options.results))):
            raise InputError(f'--output={options.output} contains the results to evaluate: choose another folder')
        return options.output
    given = model_files.resolve(options.model) if options.model else options.results
    parent, name = os.path.split(os.path.abspath(given))
    return os.path.join(parent if options.model else 'runs', f'evaluation-{os.path.splitext(name)[0]}')


def write(options, folder, dataset, detections, evaluated):
    """Writes metrics.json, the plot and the result files, and prints where."""
    from yolov3_tf.drawing import plots
    metrics = report.write(folder, evaluated)
    plot = plots.precision_recall(metrics, os.path.join(folder, 'precision_recall.png'))
    submission = results.write_submission(os.path.join(folder, 'comp4.tar'), detections, dataset.class_names,
                                          image_set=options.image_set)
    numbers = category_ids(options.data, dataset, partly=True)
    coco = results.write_coco(os.path.join(folder, 'coco_results.json'), detections, numbers)
    print(f'written: {metrics}, {plot}, {submission}, {coco}')
    unknown = [name for name, number in zip(dataset.class_names, numbers or ()) if number is None]
    if unknown:
        print(f'note: {coco} leaves out what {options.data} has no category for: {", ".join(unknown)}')


def write_json(path, evaluated, skipped):
    """Writes the scores for other programs; '-' is standard output."""
    values = {**report.to_values(evaluated), 'skipped': [{'file': file, 'why': why} for file, why in skipped.items()]}
    text = json.dumps(values, indent=1, allow_nan=False) + '\n'
    if path == '-':
        sys.stdout.write(text)
    else:
        atomic_file.write_text(path, text)
