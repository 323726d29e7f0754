"""Trains YOLOv3 on images with boxes, evaluates it and exports it for serving.

    yolov3-tf train FOLDER --minutes=20
    python train.py --loss=giou --focal --ignore_thresh=0.45
    yolov3-tf train --recipe=bccd --seed=1

The first takes any labelled folder (docs/DATA.md) and the recipe "fast", and holds out a fifth of the images if needed.
The same command continues where it was stopped. See docs/TRAINING.md.
"""
from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

from yolov3_tf.errors import InputError
from yolov3_tf.training import distribution, flag_texts, own_folder
from yolov3_tf.training import recipe as recipes
from yolov3_tf.training import run as runs
from yolov3_tf.training.finite import NonFiniteLoss
from yolov3_tf.training.recipe import Recipe
from yolov3_tf.training.stopping import Interrupted

ARGUMENTS = '[FOLDER]'
MAIN_FLAGS = ('recipe', 'train_data', 'val_data', 'val_fraction', 'name', 'loss', 'focal', 'ignore_thresh',
              'backbone_weights', 'download', 'init_weights', 'cfg', 'image_size', 'width_multiplier', 'augment',
              'batch_size', 'optimizer', 'head_epochs', 'head_lr', 'full_epochs', 'full_lr', 'asymptotic',
              'extend', 'mixed_precision', 'seed', 'dry_run')
# Flags of other programs, or of versions before 0.2 -> what to type here (cli/program.py prints it).
ANSWERS = {
    'epochs': 'a training has stages: expected --full_epochs (everything) and --head_epochs (the head on the frozen '
              'backbone), for example --full_epochs=30,10 --full_lr=1e-4,1e-5',
    'lr': 'a training has stages: expected --full_lr (everything, a rate for each count of --full_epochs) and '
          '--head_lr (the head on the frozen backbone)',
    'resume': 'there is no such flag: type the same command again, and it goes on from the last checkpoint of its '
              'run (--name)',
    'batch': 'expected --batch_size=N, the images a step over all devices',
    'imgsz': 'expected --image_size=N, one input size in pixels for training and validation, or --train_sizes and '
             '--val_size',
    'weights': 'expected --init_weights=FILE for a whole network, or --backbone_weights=FILE for its backbone alone',
    'data': 'expected a labelled folder, yolov3-tf train FOLDER, or --train_data=SPEC and --val_data=SPEC, for example '
            '--train_data=voc:DIR:train --val_data=voc:DIR:val or --train_data=yolo:DATA.yaml:train (docs/DATA.md)',
    **{old: f'it is --{new} now' for old, new in flag_texts.OLD_NAMES.items()}}


class _Parser(flags.ArgumentParser):
    """Parses one setting like the files of flags."""

    def __init__(self, name: str):
        wanted, several, _ = recipes.kind(name)
        self.name = name
        self.syntactic_help = recipes.SEVERAL_IN_WORDS[wanted] + ' separated by commas' if several else ''

    def parse(self, argument):
        return flag_texts.value_of(self.name, argument) if isinstance(argument, str) else argument

    def flag_type(self):
        return recipes.kind(self.name).type.__name__


class _Serializer(flags.ArgumentSerializer):
    def serialize(self, value):
        return flag_texts.text_of(value)


def define_flags(values=flags.FLAGS):
    """Adds a flag for every setting of ``Recipe``, and --recipe; tests pass their own ``values``."""
    flags.DEFINE_string('recipe', None, f'A file of settings for a whole run: {", ".join(flag_texts.recipe_names())} '
                        'or the path of one, '
                        'such as run.flags of an earlier run. Other flags override it.', flag_values=values)
    flags.DEFINE_bool('dry_run', False, 'Only print the plan, and how many minutes and how much memory it takes by '
                      'trying a few steps; nothing is written.', flag_values=values)
    descriptions, choices = recipes.descriptions(), recipes.choices()
    for name, default in recipes.DEFAULTS._asdict().items():
        text = descriptions[name] + (f' One of {", ".join(choices[name])}.' if name in choices else '')
        if recipes.kind(name).type is bool:
            flags.DEFINE_bool(name, default, text, flag_values=values)
        else:
            flags.DEFINE(_Parser(name), name, default, text, flag_values=values, serializer=_Serializer())


def run(arguments: list[str], options: flags.FlagValues) -> int:
    """Trains with the settings of the flags; see ``train`` for the exit status."""
    recipe = recipe_of(options, arguments)
    if options.dry_run:
        print(runs.rehearse(recipe))
        return 0
    return train(recipe)


def recipe_of(values, arguments: Sequence[str] = ()) -> Recipe:
    """The recipe of parsed flags.

    Args:
      arguments: the words that are no flags: a labelled folder, or a dataset spec, in place of --train_data.

    Raises:
      InputError: there is no such --recipe, or it cannot be read; or there is more than one word, or one beside
        --train_data.
    """
    given = {name: values[name].value for name in Recipe._fields if values[name].present}
    if arguments:
        given['train_data'] = _word(arguments, given.get('train_data'))
    if values.recipe:
        return recipes.make(**own_folder.replace_data(flag_texts.read_recipe(values.recipe), given))
    if len(given) > len(Recipe._fields) // 2:       # nobody types that many: --flagfile=run.flags, which says it all
        return recipes.make(**given)
    completed = own_folder.complete(given)
    if completed.message:
        print(completed.message)
    return recipes.make(**completed.settings)


def _word(arguments, train_data):
    """The one word that names the training data."""
    if len(arguments) > 1 or train_data is not None:
        rest = [*arguments, *([f'--train_data={train_data}'] if train_data is not None else [])]
        raise InputError(f'expected one folder to train on, got {" and ".join(rest)}; every other setting is a flag, '
                         '--name=value')
    if '=' in arguments[0] and arguments[0].partition('=')[0] in Recipe._fields:
        raise InputError(f'unexpected argument {arguments[0]!r}: a setting is a flag, --{arguments[0]}')
    return arguments[0]


def train(recipe: Recipe) -> int:
    """Trains, and prints why a training ended early.

    Returns:
      0; 3 if a loss was not finite, 75 if another worker was lost, 130 if the user stopped it.
    """
    try:
        runs.train(recipe)
    except Interrupted as stopped:
        print(f'stopped; saved in {stopped}. The same command goes on from there.' if stopped.checkpoint else
              'stopped before the first checkpoint. The same command starts anew.')
        return 130
    except NonFiniteLoss as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    except distribution.PeerLost as error:
        print(f'error: {error}', file=sys.stderr)
        return distribution.TRY_AGAIN
    return 0
