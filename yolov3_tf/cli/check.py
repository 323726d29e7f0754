r"""Checks a data set: every problem by file and line, class balance, box sizes against the anchors.

  yolov3-tf check voc:BCCD:trainval --output=report --fix=fixed/trainval.txt
  yolov3-tf check coco:instances.json:images --json=-

The first prints the report, writes it as report/report.txt and, with images, as report/index.html (one file, without
others), and writes a corrected list to use as --train_data=list:fixed/trainval.txt. With --fix=FOLDER the list is
FOLDER/list.txt, and images that EXIF turns have upright copies there. The files of the set itself do not change.
--json writes one object: {"images": n, "objects": n, "class_names": [...], "problems": [{"file", "line", "what"}]};
a line is null where a problem has none, and the id of the annotation where the file is COCO's JSON. With --json=- it
goes to standard output and everything else to standard error.

Exit code: 0 without a problem (there may be notes); 1 with problems; 2 when the input cannot be used.
"""
from __future__ import annotations

import os
import sys

from absl import flags

from yolov3_tf import atomic_file
from yolov3_tf.anchors import YOLOV3_ANCHORS, files
from yolov3_tf.cli import data_spec, tile_flags
from yolov3_tf.data.readers import specs
from yolov3_tf.data.readers.class_files import read_class_file
from yolov3_tf.data_check import check, json_report, page

ARGUMENTS = 'SPEC'
STDOUT = '-'


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    data_spec.define(values)
    at = dict(flag_values=values)
    flags.DEFINE_string('output', None, 'Folder for report.txt and index.html. Created if needed.', **at)
    flags.DEFINE_string('json', None, 'File for the result as JSON, or - for standard output.', **at)
    flags.DEFINE_string('fix', None, 'Corrected list to write; it and classes.names beside it must not exist. For a '
                        'folder: list.txt, and upright copies of the images that EXIF turns.', **at)
    flags.DEFINE_integer('images', 60, 'Most images with problems to show.', lower_bound=0, **at)
    flags.DEFINE_string('anchors', None, 'File of anchors to compare the boxes with. Default: the published nine.',
                        **at)
    flags.DEFINE_integer('image_size', 416, 'Input size of the network that boxes are compared in.', lower_bound=32,
                         **at)
    flags.DEFINE_bool('letterbox', True, 'Images keep their proportions, as in training.', **at)
    flags.DEFINE_string('train_tiles', None, 'Compare boxes as tiles of large images show them, as in training with '
                        'this flag.', **at)
    flags.DEFINE_string('classes', None, 'File of class names, one a line. Default: as in training.', **at)
    flags.DEFINE_enum('split', 'train', ['train', 'val'], 'Part of the built-in shapes to check.', **at)


def run(arguments, options) -> int:
    """Reads and checks the set and writes the report; returns 1 if there is a problem, else 0."""
    spec = data_spec.given(arguments, options, 'yolov3-tf check SPEC [--output=DIR] [--fix=FILE]')
    anchors = files.read(options.anchors) if options.anchors else YOLOV3_ANCHORS
    priors = [pair for level in anchors.sizes for pair in level]
    dataset = specs.load(spec, read_class_file(options.classes) if options.classes else None, split=options.split)
    size = options.image_size
    if options.train_tiles:
        tile_flags.checked(options.train_tiles, '--train_tiles')
    report = check.check(dataset, priors, size, size, options.letterbox, options.train_tiles or '')
    out = sys.stderr if options.json == STDOUT else sys.stdout
    parts = [check.text(report), specs.describe(spec, dataset), check.summary(dataset, report)]
    print('\n'.join(filter(None, parts)), file=out)
    if options.output:
        write(spec, dataset, report, {options.anchors or 'published anchors': priors}, options, out)
    if options.fix:
        fix(options.fix, dataset, report, out)
    if options.json:
        write_json(options.json, json_report.text(dataset, report))
    return 1 if report.problems else 0


def fix(path, dataset, report, out):
    """Writes the corrected list, or into a folder (a path without an ending) with upright copies of turned images."""
    copied = ''
    if os.path.isdir(path) or not os.path.splitext(path)[1]:
        os.makedirs(path, exist_ok=True)
        path, count, copies = check.write_upright(path, dataset, report)
        copied = f', {copies} of them turned upright in {os.path.dirname(path)}/images' if copies else ''
    else:
        os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
        count = check.write_fixed(path, dataset, report)
    print(f'fixed   {path}: {count} of {len(dataset.records)} images{copied} (use it as list:{path})', file=out)


def write(spec, dataset, report, anchors, options, out):
    """Writes the report as text and as a page; ``anchors``: name -> [(width, height)] pixels of the network input."""
    os.makedirs(options.output, exist_ok=True)
    texts = {'report.txt': f'{spec}\n{check.summary(dataset, report)}\n\n{check.text(report)}\n',
             'index.html': page.render(spec, dataset, report, anchors, options.images)}
    for name, text in texts.items():
        atomic_file.write_text(os.path.join(options.output, name), text)
        print(f'report  {os.path.join(options.output, name)}', file=out)


def write_json(path: str, text: str) -> None:
    """Writes to the file, or to standard output for '-'."""
    if path == STDOUT:
        print(text)
    else:
        atomic_file.write_text(path, f'{text}\n')
