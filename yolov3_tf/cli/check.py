r"""Checks a labelled set: every problem by file and line, class balance, box sizes against the anchors.

  yolov3-tf check voc:BCCD:trainval --output=report --fix=fixed/trainval.txt

prints the report, writes it as report/report.txt and, with images, as report/index.html (one file, to be opened
or sent as it is), and writes a corrected list to use as --train_data=list:fixed/trainval.txt. The set's own files are
only read.

Exit code: 0 without a problem (there may be notes); 1 with problems; 2 when the input cannot be used.
"""
from __future__ import annotations

import os

from absl import flags, logging

from yolov3_tf import atomic_file
from yolov3_tf.anchors import YOLOV3_ANCHORS, files
from yolov3_tf.cli.program import exit_code
from yolov3_tf.data.readers import specs
from yolov3_tf.data.readers.class_files import read_class_file
from yolov3_tf.data_check import (
    check,
    page,
)
from yolov3_tf.errors import InputError


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests give values of their own."""
    flags.DEFINE_string('output', None, 'folder for report.txt and index.html; made where missing', flag_values=values)
    flags.DEFINE_string('fix', None, 'corrected list to write; neither it nor classes.names beside it may be there',
                        flag_values=values)
    flags.DEFINE_integer('images', 60, 'most images with problems to show', lower_bound=0, flag_values=values)
    flags.DEFINE_string('anchors', None, 'anchor file to hold the boxes against; default: the published nine',
                        flag_values=values)
    flags.DEFINE_integer('size', 416, 'network input that boxes are looked at in', lower_bound=32, flag_values=values)
    flags.DEFINE_bool('letterbox', True, 'images keep their proportions, as in training', flag_values=values)
    flags.DEFINE_string('classes', None, 'file of class names, one a line; default as in training', flag_values=values)
    flags.DEFINE_enum('split', 'train', ['train', 'val'], 'shapes: the part to check', flag_values=values)


def main(argv):
    logging.set_verbosity(logging.WARNING)
    return exit_code(lambda: run(argv[1:], flags.FLAGS))


def run(arguments, options) -> int:
    """Reads, checks, reports; the exit code says whether there is a problem."""
    if len(arguments) != 1:
        raise InputError('expected one data spec: yolov3-tf check SPEC [--output=DIR] [--fix=FILE]')
    spec, = arguments
    anchors = files.read(options.anchors) if options.anchors else YOLOV3_ANCHORS
    priors = [pair for level in anchors.sizes for pair in level]
    dataset = specs.load(spec, read_class_file(options.classes) if options.classes else None, split=options.split)
    report = check.check(dataset, priors, options.size, options.size, options.letterbox)
    print('\n'.join(filter(None, [check.text(report), specs.describe(spec, dataset), check.summary(dataset, report)])))
    if options.output:
        write(spec, dataset, report, {options.anchors or 'published anchors': priors}, options)
    if options.fix:
        if os.path.dirname(options.fix):
            os.makedirs(os.path.dirname(options.fix), exist_ok=True)
        count = check.write_fixed(options.fix, dataset, report)
        print(f'fixed   {options.fix}: {count} of {len(dataset.records)} images (use it as list:{options.fix})')
    return 1 if report.problems else 0


def write(spec, dataset, report, anchors, options):
    """The report as text and as a page; ``anchors``: name -> [(width, height)] pixels of the network input."""
    os.makedirs(options.output, exist_ok=True)
    texts = {'report.txt': f'{spec}\n{check.summary(dataset, report)}\n\n{check.text(report)}\n',
             'index.html': page.render(spec, dataset, report, anchors, options.images)}
    for name, text in texts.items():
        atomic_file.write_text(os.path.join(options.output, name), text)
        print(f'report  {os.path.join(options.output, name)}')
