"""The settings of a training on a folder of one's own: the recipe ``fast``, from the best weights at hand.

They are taken where the training data are a folder and no recipe is named; every flag that is given replaces one. The
choice of weights is made once: a run that goes on keeps those it began with.
"""
from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.models import checkpoints
from yolov3_tf.models.darknet import pretrained
from yolov3_tf.training import flag_texts, recipe, run_data

RECIPE = 'fast'
WEIGHTS = ('init_weights', 'backbone_weights')
_WHOLE = 'yolov3.weights'


class Settings(NamedTuple):
    """settings: those given and those of the recipe. message: one line that says so, '' if nothing was added."""
    settings: dict[str, Any]
    message: str


class _Weights(NamedTuple):
    """setting and value: of ``WEIGHTS``. why: for the message."""
    setting: str
    value: str
    why: str


def complete(given: Mapping[str, Any], folder: str = 'weights') -> Settings:
    """Adds the recipe and the weights to the settings of a training on a folder; others are not changed.

    Args:
      given: settings that the user gave, without a recipe.
      folder: of weights that were fetched.
    """
    if not given.get('train_data') or not specs.is_folder(os.fspath(given['train_data'])):
        return Settings(dict(given), '')
    settings = {**_fitting(flag_texts.read_recipe(RECIPE), given), **given}
    shown = f'recipe: {RECIPE}, for a folder of your own (--recipe=NAME for another)'
    if any(given.get(name) for name in (*WEIGHTS, 'cfg')):
        return Settings(settings, shown)
    chosen = _before(settings) or _at_hand(float(settings.get('width_multiplier', 1.)), folder)
    settings = {name: value for name, value in settings.items() if name not in WEIGHTS}
    return Settings({**settings, chosen.setting: chosen.value}, f'{shown}; weights: {chosen.why}')


def replace_data(settings: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a recipe with those given; a folder replaces its training and its validation data."""
    train_data = given.get('train_data')
    other = (train_data is not None and train_data != settings.get('train_data')
             and specs.is_folder(os.fspath(train_data)))
    kept = {name: value for name, value in settings.items() if not (other and name == 'val_data')}
    return {**kept, **given}


def _fitting(added, given):
    """The settings of the recipe that do not contradict those given."""
    excluded = {other for pair in recipe.CONTRADICTIONS for one, other in (pair[:2], pair[1::-1]) if one in given}
    return {name: value for name, value in added.items() if name not in excluded}


def _before(settings):
    """The weights of the run that these settings go on with, or None."""
    try:
        run = run_data.folder_of(recipe.make(**settings))
    except InputError:
        return None
    if not run.last.exists():
        return None
    flags = flag_texts.read_values(run.flags)
    name = next((name for name in WEIGHTS if name in flags), None)
    return _Weights(name, flags[name], f'{flags[name]}, as this run began') if name else None


def _at_hand(width, folder):
    """The best weights in a folder that fit the width: COCO's, else a backbone, else a checkpoint's, else none."""
    whole, backbone = (os.path.join(folder, name) for name in (_WHOLE, pretrained.BACKBONE))
    complete_files = [path for path in (whole, backbone) if os.path.isfile(path) and
                      os.path.getsize(path) == pretrained.PUBLISHED[os.path.basename(path)].size]
    if complete_files and width == 1:
        setting = 'init_weights' if complete_files[0] == whole else 'backbone_weights'
        return _Weights(setting, complete_files[0], complete_files[0])
    for path in map(str, sorted(pathlib.Path(folder).glob('*.h5'))):
        try:
            config = checkpoints.describe(path)
        except InputError:
            continue
        if config.width_multiplier == width and not config.cfg:
            return _Weights('backbone_weights', path, f'the backbone of {path}')
    larger = f' ({complete_files[0]} fits --width_multiplier=1)' if complete_files else ''
    return _Weights('backbone_weights', 'none', f'random, none in {folder}/ fit{larger}')
