r"""Writes a labelled set as TFRecord shards that hold its images.

  yolov3-tf shards voc:VOCdevkit:2012_train --output=gs://bucket/voc/train

writes gs://bucket/voc/train-00000-of-00006.tfrecord and so on, and classes.names beside them, to be used as
--train_data='tfrecord:gs://bucket/voc/train-*.tfrecord'. Images that cannot be used are named and left out.

Exit code: 0; 2 when the input cannot be used.
"""
from __future__ import annotations

import sys

from absl import flags, logging

from yolov3_tf.cli.program import exit_code
from yolov3_tf.data.readers import shards, specs
from yolov3_tf.data.readers.class_files import read_class_file
from yolov3_tf.errors import InputError


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests give values of their own."""
    flags.DEFINE_string('output', None, 'folder and start of the shards\' names, such as data/train',
                        flag_values=values)
    flags.DEFINE_integer('shards', None, f'how many (default: one for every {shards.IMAGES_PER_SHARD} images)',
                         lower_bound=1, upper_bound=99999, flag_values=values)
    flags.DEFINE_string('classes', None, 'file of class names, one a line; default as in training', flag_values=values)
    flags.DEFINE_enum('split', 'train', ['train', 'val'], 'shapes: the part to write', flag_values=values)
    flags.DEFINE_bool('strict', False, 'stop at the first label fault instead of repairing or dropping',
                      flag_values=values)


def main(argv):
    logging.set_verbosity(logging.WARNING)
    return exit_code(lambda: run(argv[1:], flags.FLAGS))


def run(arguments, options) -> int:
    """Writes the shards of a spec; the exit code."""
    if len(arguments) != 1 or not options.output:
        raise InputError('expected one data spec and --output: yolov3-tf shards SPEC --output=PREFIX')
    spec, = arguments
    classes = read_class_file(options.classes) if options.classes else None
    dataset = specs.load(spec, classes, options.strict, options.split)
    print(specs.describe(spec, dataset))
    written = shards.write(dataset, options.output, options.shards)
    for problem in dataset.problems:
        print(f'label: {problem}', file=sys.stderr)
    for why in written.left_out:
        print(f'left out: {why}', file=sys.stderr)
    print(f'{len(written.paths)} shards with {len(dataset.records) - len(written.left_out)} images\n'
          f'spec     tfrecord:{written.pattern}')
    return 0
