r"""Draws one of the paper's figures from formulas, real images, checkpoints or finished runs.

  yolov3-tf figures giou_over_iou --output=fig6.png
  yolov3-tf figures equal_l2 --output=fig4.png
  yolov3-tf figures slots --data=voc:BCCD:val --index=3 --model=runs/NAME \
      --ignore_thresh=0.5 --output=fig7.png
  yolov3-tf figures objectness --runs=runs/A,runs/B --output=objectness.png
  yolov3-tf figures counts --data=voc:BCCD:val --output=counts.png

The numbers of a figure are printed; ``counts`` also writes a CSV file with a line for each image beside the PNG.

Exit code: 0; 2 when the input cannot be used.
"""
from __future__ import annotations

import os
import pathlib
from typing import Any, Callable, NamedTuple

from absl import flags

from yolov3_tf.assign import ASSIGNERS
from yolov3_tf.choices import choose
from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.figures import objectness, overlaps, slots
from yolov3_tf.losses import criterion
from yolov3_tf.models import model_files

OF_SLOTS = ('data', 'model', 'image_size', 'ignore_thresh', 'ignore_scope', 'assigner', 'seed')
ARGUMENTS = 'NAME'
ANSWERS = {'threshold': 'it is --ignore_thresh now'}


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    at = dict(flag_values=values)
    flags.DEFINE_string('output', None, 'PNG to write.', **at)
    flags.DEFINE_string('data', None, 'slots, counts: annotated images, a dataset spec as in training.', **at)
    flags.DEFINE_string('model', None, 'slots, counts: the folder of a run, or a checkpoint (.h5). Default: a network '
                        'with random weights.', **at)
    flags.DEFINE_integer('image_size', None, 'slots, counts: input size, a multiple of 32. Default: the checkpoint\'s '
                         'own, 416 without one.', lower_bound=32, **at)
    flags.DEFINE_float('ignore_thresh', .5, 'slots, counts: IoU from which a slot without object is ignored.', **at)
    flags.DEFINE_enum('ignore_scope', 'scale', sorted(criterion.IGNORE_SCOPES),
                      'slots, counts: objects that this IoU is taken with.', **at)
    flags.DEFINE_enum('assigner', 'best_anchor', sorted(ASSIGNERS), 'slots, counts: which slots are positive for an '
                      'object.', **at)
    flags.DEFINE_integer('index', None, 'slots: number of the image in --data, from 0.', **at)
    flags.DEFINE_string('image', None, 'slots: name or file name of the image in --data.', **at)
    flags.DEFINE_list('runs', [], 'objectness: folders of two or more runs.', **at)
    flags.DEFINE_integer('pairs', 6000, 'giou_over_iou: number of random pairs of boxes.', **at)
    flags.DEFINE_integer('seed', 0, 'giou_over_iou, slots, counts: seed of the pairs, or of random weights.',
                         lower_bound=0, upper_bound=2**32 - 1, **at)


class Figure(NamedTuple):
    """``draw`` takes a path and the options, writes the PNG and returns the text to print; ``flags``: those it uses."""
    draw: Callable[[pathlib.Path, Any], str]
    flags: tuple[str, ...]


def run(arguments, options) -> int:
    """Draws the named figure; returns the exit code."""
    if len(arguments) != 1:
        raise InputError(f'expected one figure, {", ".join(sorted(FIGURES))}, got {" ".join(arguments) or "none"}: '
                         'yolov3-tf figures NAME --output=FILE.png')
    figure = choose(FIGURES, arguments[0], 'figure')
    for name in sorted(set().union(*(one.flags for one in FIGURES.values())) - set(figure.flags)):
        if options[name].present:
            raise InputError(f'--{name} is no flag of {arguments[0]}: it takes '
                             f'{", ".join(f"--{one}" for one in ("output", *figure.flags))}')
    if not options.output or pathlib.Path(options.output).suffix != '.png':
        raise InputError(f'--output={options.output or ""}: expected the PNG to write, such as {arguments[0]}.png')
    print(figure.draw(pathlib.Path(options.output), options))
    print(f'figure {options.output}')
    return 0


def draw_slots(output: pathlib.Path, options: Any) -> str:
    """Draws the slots of one image; returns the text to print."""
    network, dataset, settings = read(options)
    return slots.draw(output, network, dataset, slots.choose_record(dataset, options.index, options.image), settings)


def draw_counts(output: pathlib.Path, options: Any) -> str:
    """Draws how many slots of each kind the images have, and writes a CSV; returns the text to print."""
    network, dataset, settings = read(options)
    counts = slots.count(network, dataset, settings)
    height, width = network.config.image_size
    text = slots.draw_counts(output, counts, f'{len(counts.image_ids)} images of {short(options.data)}\n'
                             f'{network.name}, input {width} x {height}, ignored from IoU {options.ignore_thresh:g} on')
    return f'{text}\ntable {slots.write_csv(output.with_suffix(".csv"), counts)}'


def short(spec: str) -> str:
    """A dataset spec without the folders of its files."""
    return ':'.join(os.path.basename(part.rstrip('/')) for part in spec.split(':'))


def read(options: Any):
    """The network, data and loss settings of the flags; the cheap checks come first."""
    settings = criterion.LossSettings(
        ignore_thresh=options.ignore_thresh, ignore_scope=options.ignore_scope, assigner=options.assigner)
    criterion.check(settings)
    if not options.data:
        raise InputError('--data: expected annotated images, for example voc:VOCdevkit:2007_test, got none')
    dataset = specs.load(options.data, split='val')
    checkpoint = model_files.resolve(options.model, checkpoint=True) if options.model else None
    return slots.load_network(checkpoint, options.image_size, options.seed), dataset, settings


FIGURES: dict[str, Figure] = {
    'giou_over_iou': Figure(lambda output, options: overlaps.giou_over_iou(output, options.pairs, options.seed),
                            ('pairs', 'seed')),
    'equal_l2': Figure(lambda output, _: overlaps.equal_l2(output), ()),
    'slots': Figure(draw_slots, (*OF_SLOTS, 'index', 'image')),
    'objectness': Figure(lambda output, options: objectness.draw(output, options.runs), ('runs',)),
    'counts': Figure(draw_counts, OF_SLOTS),
}
