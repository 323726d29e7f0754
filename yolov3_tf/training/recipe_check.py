"""Checks a recipe by itself, before data and network cost time."""
from __future__ import annotations

import re

from yolov3_tf import tiling
from yolov3_tf.anchors import files as anchor_files
from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.models.darknet import cfg
from yolov3_tf.tiling import Tiling
from yolov3_tf.training import optimizers, plan, settings, stages
from yolov3_tf.training import recipe as recipes
from yolov3_tf.training.recipe import AUTO, Recipe, given


def check(recipe: Recipe):
    """Checks the settings by themselves, before data and network cost time.

    Raises:
      InputError: a value is outside its range, or settings contradict each other.
    """
    tables = recipes.choices()
    for name, value in recipe._asdict().items():
        if recipes.typed(name, value) != value and value == value:      # check_value refuses a NaN
            raise InputError(f'{name}={value!r}: expected a tuple, as recipe.make gives it')
        recipes.check_value(name, value, tables.get(name))
    check_contradictions(recipe)
    if recipe.cfg:
        choose(cfg.HEADS, recipe.head, 'head of a cfg network')
    if recipe.anchors and recipe.anchors != AUTO:
        anchor_files.read_for_yolov3(recipe.anchors)
    if recipe.name is not None and not re.fullmatch(r'(?!\.\.?$)[^/\\\0]+', recipe.name):
        raise InputError(f'--name={recipe.name}: expected the name of one folder below --runs_dir')
    if recipe.train_tiles:
        try:
            tiling.check(Tiling(recipe.train_tiles))
        except InputError as error:
            raise InputError(f'--train_tiles={recipe.train_tiles}: {error}') from None
    if not recipe.cfg:
        plan.sensitivity_of(recipe)
    settings.check(plan.settings_of(recipe, pretrained=True))
    settings.check(plan.settings_of(recipe, pretrained=False))


def check_contradictions(recipe: Recipe):
    """Raises InputError for two settings of which one leaves the other without effect, or without meaning."""
    for one, other, why in recipes.CONTRADICTIONS:
        if given(recipe, one) and given(recipe, other) and (other, recipe.anchors) != ('anchors', AUTO):
            raise InputError(f'--{one} beside --{other}: {why}; give one of them')
    if recipe.minutes and not stages.SCHEDULES[recipe.schedule].one_piece:
        names = [name for name, schedule in stages.SCHEDULES.items() if schedule.one_piece]
        raise InputError(f'--minutes beside --schedule={recipe.schedule}: a schedule that ends on time falls by '
                         f'itself; give --schedule={" or ".join(names)}')
    for name in ('asymptotic_epochs', 'asymptotic_lr'):
        if given(recipe, name) and not recipe.asymptotic:
            raise InputError(f'--{name} without --asymptotic: there is no such stage; give --asymptotic too')
    if given(recipe, 'decay_power') and not stages.SCHEDULES[recipe.schedule].power:
        names = [name for name, schedule in stages.SCHEDULES.items() if schedule.power]
        raise InputError(f'--decay_power beside --schedule={recipe.schedule}: only --schedule={" or ".join(names)} has '
                         'an exponent')
    for name in ('restart_cycles', 'restart_factor'):
        if given(recipe, name) and not stages.SCHEDULES[recipe.schedule].restarts:
            raise InputError(f'--{name} beside --schedule={recipe.schedule}: only --schedule=restarts has cycles')
    if given(recipe, 'momentum') and 'momentum' not in optimizers.KINDS[recipe.optimizer].slots:
        raise InputError(f'--momentum beside --optimizer={recipe.optimizer}: only sgd has it')
