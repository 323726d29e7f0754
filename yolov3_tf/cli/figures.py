r"""Draws one of the paper's figures from formulas, real images, checkpoints or finished runs.

  yolov3-tf figures giou_over_iou --out=fig6.png
  yolov3-tf figures equal_l2 --out=fig4.png
  yolov3-tf figures slots --data=voc:BCCD:val --index=3 --checkpoint=runs/NAME/checkpoints/best.h5 \
      --threshold=0.5 --out=fig7.png
  yolov3-tf figures objectness --runs=runs/A,runs/B --out=objectness.png
  yolov3-tf figures counts --data=voc:BCCD:val --image_size=416 --out=counts.png

Numbers behind a figure are printed; ``counts`` also writes a CSV, a line an image, beside its PNG.

Exit code: 0; 2 when the input cannot be used.
"""
from __future__ import annotations

import os
import pathlib
from typing import Callable, NamedTuple

from absl import flags, logging

from yolov3_tf.assign import ASSIGNERS
from yolov3_tf.choices import choose
from yolov3_tf.cli.program import exit_code
from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.figures import objectness, overlaps, slots
from yolov3_tf.losses import criterion

FLAGS = flags.FLAGS

OF_SLOTS = ('data', 'checkpoint', 'image_size', 'threshold', 'ignore_scope', 'assigner', 'seed')


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests give values of their own."""
    flags.DEFINE_string('out', None, 'PNG to write', flag_values=values)
    flags.DEFINE_integer('pairs', 6000, 'giou_over_iou: random pairs of boxes', flag_values=values)
    flags.DEFINE_integer('seed', 0, 'giou_over_iou: of the pairs; slots, counts: of random weights', lower_bound=0,
                         upper_bound=2**32 - 1, flag_values=values)
    flags.DEFINE_list('runs', [], 'objectness: folders of two or more runs of train.py', flag_values=values)
    flags.DEFINE_string('data', None, 'slots, counts: labelled images: voc:DIR:SPLIT[+SPLIT], list:FILE, '
                        'coco:JSON:DIR, shapes[:N]', flag_values=values)
    flags.DEFINE_integer('index', None, 'slots: number of the image in --data, from 0', flag_values=values)
    flags.DEFINE_string('image', None, 'slots: name or file name of the image in --data', flag_values=values)
    flags.DEFINE_string('checkpoint', None, 'slots, counts: network to ask (.h5); without it one with random weights', flag_values=values)
    flags.DEFINE_integer('image_size', None, 'slots, counts: input size, a multiple of 32 (default: the checkpoint\'s own, '
                         '416 without one)', lower_bound=32, flag_values=values)
    flags.DEFINE_float('threshold', .5, 'slots, counts: IoU from which a slot without object is ignored', flag_values=values)
    flags.DEFINE_enum('ignore_scope', 'scale', sorted(criterion.IGNORE_SCOPES),
                      'slots, counts: objects that IoU is taken with', flag_values=values)
    flags.DEFINE_enum('assigner', 'best_anchor', sorted(ASSIGNERS), 'slots, counts: which slots answer for an object', flag_values=values)


class Figure(NamedTuple):
    """``draw`` writes the PNG at a path and returns the text to print; ``flags`` are those it reads."""
    draw: Callable[[pathlib.Path], str]
    flags: tuple[str, ...]


def main(argv):
    logging.set_verbosity(logging.WARNING)
    return exit_code(lambda: run(argv[1:]))


def run(names: list[str]) -> int:
    if len(names) != 1:
        raise InputError(f'expected one figure, {", ".join(sorted(FIGURES))}, got {" ".join(names) or "none"}: '
                         'yolov3-tf figures NAME --out=FILE.png')
    figure = choose(FIGURES, names[0], 'figure')
    for name in sorted(set().union(*(one.flags for one in FIGURES.values())) - set(figure.flags)):
        if FLAGS[name].present:
            raise InputError(f'--{name} is no flag of {names[0]}: it takes '
                             f'{", ".join(f"--{one}" for one in ("out", *figure.flags))}')
    if not FLAGS.out or pathlib.Path(FLAGS.out).suffix != '.png':
        raise InputError(f'--out={FLAGS.out or ""}: expected the PNG to write, such as {names[0]}.png')
    print(figure.draw(pathlib.Path(FLAGS.out)))
    print(f'figure {FLAGS.out}')
    return 0


def draw_slots(out) -> str:
    network, dataset, settings = asked()
    return slots.draw(out, network, dataset, slots.choose_record(dataset, FLAGS.index, FLAGS.image), settings)


def draw_counts(out) -> str:
    network, dataset, settings = asked()
    counts = slots.count(network, dataset, settings)
    height, width = network.config.image_size
    text = slots.draw_counts(out, counts, f'{len(counts.image_ids)} images of {short(FLAGS.data)}\n{network.name}, '
                             f'input {width} x {height}, ignored from IoU {FLAGS.threshold:g} on')
    return f'{text}\ntable {slots.write_csv(out.with_suffix(".csv"), counts)}'


def short(spec) -> str:
    """A data spec without the folders that its files lie in."""
    return ':'.join(os.path.basename(part.rstrip('/')) for part in spec.split(':'))


def asked():
    """Network, data and loss settings of the flags; what is cheap to check comes first."""
    settings = criterion.LossSettings(
        ignore_thresh=FLAGS.threshold, ignore_scope=FLAGS.ignore_scope, assigner=FLAGS.assigner)
    criterion.check(settings)
    if not FLAGS.data:
        raise InputError('--data says which labelled images to look at, for example voc:VOCdevkit:2007_test')
    dataset = specs.load(FLAGS.data, split='val')
    return slots.load_network(FLAGS.checkpoint, FLAGS.image_size, FLAGS.seed), dataset, settings


FIGURES: dict[str, Figure] = {
    'giou_over_iou': Figure(lambda out: overlaps.giou_over_iou(out, FLAGS.pairs, FLAGS.seed), ('pairs', 'seed')),
    'equal_l2': Figure(overlaps.equal_l2, ()),
    'slots': Figure(draw_slots, (*OF_SLOTS, 'index', 'image')),
    'objectness': Figure(lambda out: objectness.draw(out, FLAGS.runs), ('runs',)),
    'counts': Figure(draw_counts, OF_SLOTS),
}
