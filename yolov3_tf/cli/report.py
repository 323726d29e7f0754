"""Writes the page of a run, or of any detector's results, as one HTML file without scripts: report.html.

  yolov3-tf report runs/NAME
  yolov3-tf report results.json --data=coco:instances.json:IMAGES
  yolov3-tf report DIR_OF_COMP4_FILES --data=voc:VOCdevkit:2007_test

A training writes the page at its end; this writes it again, from the detections that the run kept, without a network.
It shows scores by class, precision and recall, the best score thresholds, the confusion matrix, kinds of errors, the
worst images, calibration, what was trained, and what to try next.
"""
from __future__ import annotations

import os
import pathlib
import sys
import textwrap

from absl import flags

from yolov3_tf.cli import evaluate
from yolov3_tf.data import held_out
from yolov3_tf.data.readers import default_data, specs
from yolov3_tf.data.readers.class_files import read_class_file
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import report, results
from yolov3_tf.run_report import contents, lock, page
from yolov3_tf.training import flag_texts

ARGUMENTS = 'RUN_OR_RESULTS'
DETECTIONS = os.path.join('evaluation', 'detections.json')      # of a run
PRESENCE = os.path.join('evaluation', 'presence.json')
RESULTS = 'coco_results.json'                                   # of an evaluation's folder
COLUMNS = 79                                                    # of the printed text
# Flags of other commands -> what to type here.
ANSWERS = {
    'model': 'give the folder of the run after the command, without a flag; results of another model, which '
             'yolov3-tf evaluate writes, need --data',
    'results': 'give the results after the command, without a flag'}


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    at = dict(flag_values=values)
    flags.DEFINE_string('data', None, 'The annotated images that the detections were made on, as a dataset spec '
                        '(default for a run: its validation data).', **at)
    flags.DEFINE_string('output', None, 'The page to write (default: report.html in the run, or '
                        'runs/report-NAME/report.html).', **at)
    flags.DEFINE_integer('images', page.WORST, 'Most images with errors to show.', lower_bound=0, **at)
    flags.DEFINE_string('classes', None, 'A file of class names, one a line (default: those of the run, or those found '
                        'in the data).', **at)
    flags.DEFINE_bool('strict', False, 'Stop at the first faulty annotation.', **at)


def run(arguments: list[str], options: flags.FlagValues) -> int:
    """Writes the page and prints where, the operating point, and what to try next; returns the exit status."""
    if len(arguments) != 1:
        raise InputError(f'expected the folder of a run, or result files, got {" and ".join(arguments) or "nothing"}: '
                         'yolov3-tf report RUN_OR_RESULTS [--data=SPEC]')
    given = os.path.normpath(arguments[0])
    if not os.path.exists(given):
        raise InputError(f'{given}: nothing there: expected the folder of a run, a folder of comp4 files, or COCO '
                         'results (.json)')
    shown = of_run(given, options) if is_run(given) else of_results(given, options)
    path = page.write(options.output or _output(given), shown, options.images)
    print('\n'.join(report.describe_operating(shown.report.operating)))
    for text in shown.advice:
        print('\n'.join(textwrap.wrap(text, COLUMNS, initial_indent='* ', subsequent_indent='  ')))
    print(f'report  {path}')
    return 0


def is_run(path: str) -> bool:
    """Whether it is a folder that a training made."""
    return os.path.isfile(os.path.join(path, 'run.flags')) or os.path.isfile(os.path.join(path, DETECTIONS))


def of_run(folder: str, options: flags.FlagValues) -> contents.Contents:
    """The contents of a run's page, from its files and its validation data."""
    found = os.path.join(folder, DETECTIONS)
    if not os.path.isfile(found):
        if os.path.isfile(os.path.join(folder, PRESENCE)):
            raise InputError(f'{folder}: this run ends with the stage asymptotic, whose network finds no boxes; its '
                             f'page {os.path.join(folder, page.NAME)} is written at the end of its training')
        raise InputError(f'{folder}: expected {DETECTIONS} in this run, which the end of a training writes: type its '
                         'command again to finish it')
    settings = flag_texts.read_values(os.path.join(folder, 'run.flags'))
    labels = os.path.join(folder, 'labels.txt')
    classes = options.classes or (labels if os.path.isfile(labels) else None)
    names = read_class_file(classes) if classes else None
    spec = options.data or settings.get('val_data') or settings.get('train_data') or default_data.specs_here()[1]
    drawn = os.path.join(folder, 'split')
    try:
        is_drawn = not settings.get('val_data') and held_out.is_there(drawn)
        dataset = (_drawn_part(spec, drawn, names, options) if is_drawn else None) or specs.load(
            spec, names, options.strict, 'val')
    except InputError as error:
        if options.data:
            raise
        raise InputError(f'{error}. These are the validation data of the run: give them with --data=SPEC if they have '
                         'moved') from error
    name, evaluated_on = os.path.basename(os.path.abspath(folder)), options.data or contents.evaluated_on(settings)
    return contents.gather(name, evaluated_on, dataset, results.read_coco(found, dataset), lock=lock.read(folder),
                           metrics=contents.read_metrics(pathlib.Path(folder, 'metrics.jsonl')))


def _drawn_part(spec, drawn, names, options):
    """The images of a set that a run has held out; None where --data names others than the run had."""
    whole = specs.load(spec, names, options.strict, 'train')
    try:
        split = held_out.read(drawn, whole.records)
    except InputError:
        if options.data:
            return None
        raise
    return held_out.part(whole, split.val, problems=False)


def of_results(path: str, options: flags.FlagValues) -> contents.Contents:
    """The contents of a page about result files."""
    if not options.data:
        raise InputError(f'--data: expected the annotated images that {path} was made on, such as '
                         'voc:VOCdevkit:2007_test, got none')
    written = os.path.join(path, RESULTS)
    path, name = (written if os.path.isfile(written) else path), os.path.basename(os.path.abspath(path))
    classes = read_class_file(options.classes) if options.classes else None
    notes: list[str] = []
    dataset, detections = evaluate.read_results(path, options.data, classes, options.strict, notes)
    for note in [*dataset.notes, *notes]:
        print(f'note: {note}', file=sys.stderr)
    return contents.gather(os.path.splitext(name)[0], options.data, dataset, detections)


def _output(given):
    if is_run(given):
        return os.path.join(given, page.NAME)
    name = os.path.splitext(os.path.basename(os.path.abspath(given)))[0]
    return os.path.join('runs', f'report-{name}', page.NAME)
