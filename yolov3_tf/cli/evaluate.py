"""Measures a detector on labelled images: VOC07 11-point, VOC area, COCO .5:.95, GIoU; per class.

    python evaluate.py --model=runs/NAME/checkpoints/best.h5 --data=voc:VOCdevkit:2007_test
    python evaluate.py --model=runs/NAME/saved_model --data=...
    python evaluate.py --results=DIR_OF_COMP4_FILES --data=...      any detector's results, no network
"""
from __future__ import annotations

import os
import sys

from absl import app, flags, logging

from yolov3_tf.cli.program import exit_code
from yolov3_tf.data.readers import specs
from yolov3_tf.data.readers.class_files import read_class_file
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import report, results

FLAGS = flags.FLAGS
OF_CHECKPOINTS = ('image_size', 'score_threshold', 'nms_threshold', 'max_per_class', 'nms', 'top_k')


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests give values of their own."""
    flags.DEFINE_string('model', None, 'a checkpoint (.h5) or an exported model', flag_values=values)
    flags.DEFINE_string('results', None, 'instead of a model: a folder of VOC comp4 text files, or COCO results (.json)', flag_values=values)
    flags.DEFINE_string('data', None, 'labelled images: voc:DIR:SPLIT[+SPLIT], list:FILE, coco:JSON:DIR, '
                        'darknet:LIST[:NAMES], yolo:YAML:SPLIT, tfrecord:PATTERN, shapes[:N], or several joined by commas', flag_values=values)
    flags.DEFINE_string('classes', None, 'file of class names, one a line (default: the model\'s, or as found in the data)', flag_values=values)
    flags.DEFINE_string('output', None, 'folder for metrics.json, plots and result files (default: beside the model)', flag_values=values)
    flags.DEFINE_integer('image_size', None, 'input size for a checkpoint (default: its own)', lower_bound=32, flag_values=values)
    flags.DEFINE_integer('batch_size', 8, 'images at once', lower_bound=1, flag_values=values)
    flags.DEFINE_float('score_threshold', .01, 'lowest score that counts, for a checkpoint', lower_bound=0., upper_bound=1., flag_values=values)
    flags.DEFINE_float('nms_threshold', .45, 'IoU from which the weaker of two boxes goes, for a checkpoint',
                       lower_bound=0., upper_bound=1., flag_values=values)
    flags.DEFINE_integer('max_per_class', 150, 'most detections of a class in an image, for a checkpoint', lower_bound=1, flag_values=values)
    flags.DEFINE_string('nms', 'per_class', 'kind of suppression, for a checkpoint: per_class, agnostic, diou or soft', flag_values=values)
    flags.DEFINE_integer('top_k', None, 'best pairs of a slot and a class that enter suppression, for a checkpoint '
                         '(default: all per_class, else 1000)', lower_bound=1, flag_values=values)
    flags.DEFINE_string('image_set', 'test', 'name of the image set in the comp4 files', flag_values=values)
    flags.DEFINE_bool('strict', False, 'stop at the first bad label or image', flag_values=values)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f'unexpected argument {argv[1]!r}: every setting is a flag, --name=value')
    logging.set_verbosity(logging.WARNING)
    return exit_code(run)


def run() -> int:
    if bool(FLAGS.model) == bool(FLAGS.results):
        raise InputError('give either --model or --results')
    if not FLAGS.data:
        raise InputError('--data says which labelled images to measure on, for example voc:VOCdevkit:2007_test')
    folder = output_folder()
    classes = read_class_file(FLAGS.classes) if FLAGS.classes else None
    dataset, detections, skipped = of_model(classes) if FLAGS.model else of_results(classes)
    for problem in dataset.problems:
        print(f'label: {problem}', file=sys.stderr)
    for why in skipped.values():
        print(f'skipped: {why}', file=sys.stderr)
    measured = report.evaluate(report.read_part(dataset, skipped), detections)
    print(report.table(measured))
    if skipped:
        print(report.say_skipped(dataset, skipped))
    write(folder, dataset, detections, measured)
    return 0


def of_results(classes):
    dataset = specs.load(FLAGS.data, classes, FLAGS.strict, 'val')
    if not FLAGS.results.endswith('.json'):
        return dataset, results.read_voc(FLAGS.results, dataset), {}
    return dataset, results.read_coco(FLAGS.results, dataset, category_ids(dataset)), {}


def category_ids(dataset, partly=False):
    """COCO's own numbers of the classes where the data is COCO's alone, else None (1, 2, ...)."""
    parts = specs.parse(FLAGS.data)
    if len(parts) > 1 or not parts[0].is_coco:
        return None
    return results.read_category_ids(parts[0].category_file, dataset.class_names, partly)


def of_model(classes):
    """The set, its detections, and file -> why of what could not be read."""
    # Loaded here, so that measuring result files needs no TensorFlow.
    from yolov3_tf import postprocess
    from yolov3_tf.evaluation import validation
    from yolov3_tf.inference import detector
    from yolov3_tf.models import checkpoints
    from yolov3_tf.training import precision
    precision.grow_memory()
    if not FLAGS.model.endswith('.h5'):
        given = [name for name in OF_CHECKPOINTS if FLAGS[name].present]
        if given:
            raise InputError(f'--{given[0]} is fixed in an exported model: export it anew, or measure the checkpoint')
        served = detector.load(FLAGS.model)
        check_classes(classes, served.class_names)
        dataset = specs.load(FLAGS.data, list(served.class_names), FLAGS.strict, 'val')
        return (dataset, *validation.detect_each(served, dataset, FLAGS.strict))
    if FLAGS.nms == 'soft' and FLAGS['nms_threshold'].present:
        raise InputError('--nms_threshold beside --nms=soft: soft suppression has no threshold; give one of them')
    postprocess.check(FLAGS.nms, FLAGS.top_k)
    model, config = checkpoints.load_model(FLAGS.model)
    if FLAGS.image_size:
        config = config._replace(image_size=(FLAGS.image_size, FLAGS.image_size))
    check_classes(classes, config.class_names)
    dataset = specs.load(FLAGS.data, list(config.class_names), FLAGS.strict, 'val')
    suppression = validation.Suppression(FLAGS.score_threshold, FLAGS.nms_threshold, FLAGS.max_per_class,
                                         FLAGS.nms, FLAGS.top_k)
    outcome = validation.Validator(model, config, dataset, FLAGS.batch_size, suppression=suppression,
                                   strict=FLAGS.strict).run()
    return dataset, outcome.detections, outcome.skipped


def check_classes(given, of_model):
    """A model's outputs mean its own classes; a file that says otherwise would only relabel them."""
    if given is not None and list(given) != list(of_model):
        raise InputError(f'--classes names {", ".join(given)}, but the model was trained for {", ".join(of_model)}: '
                         'leave the flag out')


def output_folder():
    """--output, or a folder of its own: beside a model, below runs/ for result files, which are the user's."""
    if FLAGS.output:
        if FLAGS.results and os.path.abspath(FLAGS.output) in (
                os.path.abspath(FLAGS.results), os.path.dirname(os.path.abspath(FLAGS.results))):
            raise InputError(f'--output={FLAGS.output} holds the results that are measured: choose another folder')
        return FLAGS.output
    parent, name = os.path.split(os.path.abspath(FLAGS.model or FLAGS.results))
    return os.path.join(parent if FLAGS.model else 'runs', f'evaluation-{os.path.splitext(name)[0]}')


def write(folder, dataset, detections, measured):
    from yolov3_tf.drawing import plots
    metrics = report.write(folder, measured)
    plot = plots.precision_recall(metrics, os.path.join(folder, 'precision_recall.png'))
    submission = results.write_submission(os.path.join(folder, 'comp4.tar'), detections, dataset.class_names,
                                          image_set=FLAGS.image_set)
    numbers = category_ids(dataset, partly=True)
    coco = results.write_coco(os.path.join(folder, 'coco_results.json'), detections, numbers)
    print(f'written: {metrics}, {plot}, {submission}, {coco}')
    unknown = [name for name, number in zip(dataset.class_names, numbers or ()) if number is None]
    if unknown:
        print(f'note: {coco} leaves out what {FLAGS.data} has no category for: {", ".join(unknown)}')
