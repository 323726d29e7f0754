r"""Writes a data set as TFRecord shards that hold its images.

  yolov3-tf shards voc:VOCdevkit:2012_train --output=gs://bucket/voc/train

writes gs://bucket/voc/train-00000-of-00006.tfrecord and so on, and classes.names in the same folder, to be used as
--train_data='tfrecord:gs://bucket/voc/train-*.tfrecord'. Images that cannot be used are named and left out.

Exit code: 0; 2 when the input cannot be used.
"""
from __future__ import annotations

import sys

from absl import flags

from yolov3_tf.cli import data_spec
from yolov3_tf.data.readers import shards, specs
from yolov3_tf.data.readers.class_files import read_class_file
from yolov3_tf.errors import InputError

ARGUMENTS = 'SPEC'


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    data_spec.define(values)
    at = dict(flag_values=values)
    flags.DEFINE_string('output', None, 'Folder and start of the shards\' names, such as data/train.', **at)
    flags.DEFINE_integer('shards', None, f'Number of shards. Default: one for every {shards.IMAGES_PER_SHARD} images.',
                         lower_bound=1, upper_bound=99999, **at)
    flags.DEFINE_string('classes', None, 'File of class names, one a line. Default: as in training.', **at)
    flags.DEFINE_enum('split', 'train', ['train', 'val'], 'Part of the built-in shapes to write.', **at)
    flags.DEFINE_bool('strict', False, 'Stop at the first fault of an annotation instead of repairing or dropping.',
                      **at)


def run(arguments, options) -> int:
    """Writes the shards of a spec; returns the exit code."""
    usage = 'yolov3-tf shards SPEC --output=PREFIX'
    spec = data_spec.given(arguments, options, usage)
    if not options.output:
        raise InputError(f'expected one data spec and --output: {usage}')
    classes = read_class_file(options.classes) if options.classes else None
    dataset = specs.load(spec, classes, options.strict, options.split)
    print(specs.describe(spec, dataset))
    written = shards.write(dataset, options.output, options.shards)
    for note in dataset.notes:
        print(f'note: {note}', file=sys.stderr)
    for problem in dataset.problems:
        print(f'annotation: {problem}', file=sys.stderr)
    for why in written.left_out:
        print(f'left out: {why}', file=sys.stderr)
    print(f'{len(written.paths)} shards with {len(dataset.records) - len(written.left_out)} images\n'
          f'spec     tfrecord:{written.pattern}')
    return 0
