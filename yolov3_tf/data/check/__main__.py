r"""Checks a labelled set: every problem by file and line, class balance, box sizes against the anchors.

  python -m yolov3_tf.data.check voc:BCCD:trainval --output=report --fix=fixed/trainval.txt

prints the report, writes it as report/report.txt and, with pictures, as report/index.html (one file, to be opened
or sent as it is), and writes a corrected list to use as --train_data=list:fixed/trainval.txt. The set's own files are
only read.

Exit code: 0 without a problem (there may be notes); 1 with problems; 2 when the input cannot be used.
"""
from __future__ import annotations

import os

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

from absl import app, flags, logging  # noqa: E402

from yolov3_tf.anchors import YOLOV3_ANCHORS, files  # noqa: E402
from yolov3_tf.choices import InputError, exit_code  # noqa: E402
from yolov3_tf.data import check, lists, specs  # noqa: E402
from yolov3_tf.data.check import page  # noqa: E402
from yolov3_tf.data.labels import read_class_file  # noqa: E402

FLAGS = flags.FLAGS
flags.DEFINE_string('output', None, 'folder for report.txt and index.html; made where missing')
flags.DEFINE_string('fix', None, 'corrected list to write; neither it nor classes.names beside it may be there')
flags.DEFINE_integer('pictures', 60, 'most pictures with problems to show', lower_bound=0)
flags.DEFINE_string('anchors', None, 'anchor file to hold the boxes against; default: the published nine')
flags.DEFINE_integer('size', 416, 'network input that boxes are looked at in', lower_bound=32)
flags.DEFINE_bool('letterbox', True, 'pictures keep their proportions, as in training')
flags.DEFINE_string('classes', None, 'file of class names, one a line; default as in training')
flags.DEFINE_enum('split', 'train', ['train', 'val'], 'shapes: the part to check')


def main(argv):
    logging.set_verbosity(logging.WARNING)
    return exit_code(lambda: run(argv[1:]))


def run(arguments) -> int:
    if len(arguments) != 1:
        raise InputError('expected one data spec: python -m yolov3_tf.data.check SPEC [--output=DIR] [--fix=FILE]')
    spec, = arguments
    anchors = files.read(FLAGS.anchors) if FLAGS.anchors else YOLOV3_ANCHORS
    priors = [pair for level in anchors.sizes for pair in level]
    dataset = specs.load(spec, read_class_file(FLAGS.classes) if FLAGS.classes else None, split=FLAGS.split)
    report = check.check(dataset, priors, FLAGS.size, FLAGS.size, FLAGS.letterbox)
    print('\n'.join(filter(None, [check.text(report), specs.describe(spec, dataset), check.summary(dataset, report)])))
    if FLAGS.output:
        write(spec, dataset, report, {FLAGS.anchors or 'published anchors': priors})
    if FLAGS.fix:
        if os.path.dirname(FLAGS.fix):
            os.makedirs(os.path.dirname(FLAGS.fix), exist_ok=True)
        count = check.write_fixed(FLAGS.fix, dataset, report)
        print(f'fixed   {FLAGS.fix}: {count} of {len(dataset.records)} pictures (use it as list:{FLAGS.fix})')
    return 1 if report.problems else 0


def write(spec, dataset, report, anchors):
    os.makedirs(FLAGS.output, exist_ok=True)
    texts = {'report.txt': f'{spec}\n{check.summary(dataset, report)}\n\n{check.text(report)}\n',
             'index.html': page.render(spec, dataset, report, anchors, FLAGS.pictures)}
    for name, text in texts.items():
        lists.write_whole(os.path.join(FLAGS.output, name), text)
        print(f'report  {os.path.join(FLAGS.output, name)}')


if __name__ == '__main__':
    app.run(main)
