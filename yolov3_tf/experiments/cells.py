"""Cells of a table as recipes, every fault found before the first step and named with its place.

Names and numbers are read here. What takes the tables of choices, and with them TensorFlow, is looked at in a
process of its own, so that the runner, which waits for hours beside its trainings, stays small.
"""
from __future__ import annotations

import multiprocessing
from collections.abc import Mapping, Sequence

from yolov3_tf.errors import InputError
from yolov3_tf.experiments.table_file import Cell
from yolov3_tf.training import flag_texts, recipe
from yolov3_tf.training.flag_texts import Token
from yolov3_tf.training.recipe import Recipe

SET_BY_RUNNER = ('name', 'runs_dir', 'seed')
OF_ASYMPTOTIC = ('asymptotic_epochs', 'asymptotic_lr')


def read(cells: Sequence[Cell], common: Sequence[Token]) -> dict[str, Recipe]:
    """Cell -> its recipe; of two values of a setting the later counts. No run is exported.

    A common flag of the asymptotic stage is dropped from a cell without that stage: the protocol serves both.

    Args:
      common: flags that all cells have; their own are stronger.

    Raises:
      InputError: a flag is unknown, cannot be read, has a bad value, or is the runner's own. Every fault is named,
        a line each.
    """
    tokens = list(dict.fromkeys(token for cell in cells for token in (*common, *cell.flags)))
    faults = {token: fault for token in tokens if (fault := _fault(token))}
    if faults:
        readable = [token for token in tokens if token not in faults]
        faults.update(zip(readable, _elsewhere(_value_faults, readable)))
        raise InputError('\n'.join(faults[token] for token in tokens if faults[token]))
    return {cell.name: _recipe(common, cell.flags) for cell in cells}


def check(cells: Sequence[Cell], common: Sequence[Token], recipes: Mapping[str, Recipe],
          shared: Mapping[str, Recipe]):
    """Everything that can be wrong with the values: of each flag, then of each cell, then of the runs they share.

    Args:
      recipes: what ``read`` made of the cells.
      shared: name, for messages -> recipe of a run that the plan made.

    Raises:
      InputError: every fault is named, a line each.
    """
    tokens = list(dict.fromkeys(token for cell in cells for token in (*common, *cell.flags)))
    named = [(f'{cell.flags[-1].where if cell.flags else cell.where}: cell {cell.name}', recipes[cell.name])
             for cell in cells] + list(shared.items())
    faults = _elsewhere(_all_faults, (tokens, named))
    if faults:
        raise InputError('\n'.join(faults))


def _recipe(common, own) -> Recipe:
    settings = flag_texts.settings_of([*common, *own])
    if not settings.get('asymptotic'):
        common = [token for token in common if flag_texts.read_token(token)[0] not in OF_ASYMPTOTIC]
        settings = flag_texts.settings_of([*common, *own])
    return recipe.make(**settings)._replace(export=False)


def _fault(token: Token) -> str:
    """What is wrong with a flag by itself, as far as that is seen without the tables of choices."""
    try:
        name, value = flag_texts.read_token(token)
        if name in SET_BY_RUNNER:
            return f'{token.where}: {token.text}: the runner gives --{name} itself: leave the flag out'
        recipe.check_value(name, value)
    except InputError as error:
        return str(error) if str(error).startswith(token.where) else f'{token.where}: {error}'
    return ''


def _elsewhere(work, *arguments):
    """``work(*arguments)`` in a process of its own, whose memory is given back."""
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(work, arguments)


def _value_faults(tokens: Sequence[Token]) -> list[str]:
    """What is wrong with each flag's value, '' for nothing."""
    choices, faults = recipe.choices(), []
    for token in tokens:
        name, value = flag_texts.read_token(token)
        try:
            recipe.check_value(name, value, choices.get(name))
            faults.append('')
        except InputError as error:
            faults.append(f'{token.where}: {error}')
    return faults


def _all_faults(question) -> list[str]:
    tokens, named = question
    faults = [fault for fault in _value_faults(tokens) if fault]
    for what, one in named if not faults else ():
        try:
            recipe.check(one)
        except InputError as error:
            faults.append(f'{what}: {error}')
    return faults
