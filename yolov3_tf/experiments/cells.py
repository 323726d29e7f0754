"""Turns the cells of a table into recipes; finds every fault before the first step and reports where it is.

Names and numbers are read here. Checks that need the tables of choices, and with them TensorFlow, run in another
process, so that the runner, which waits for hours while its runs are trained, needs little memory.
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
    """Cell -> its recipe; the last value of a setting is taken. No run is exported.

    Common flags of the asymptotic stage are ignored for cells without that stage, so one protocol is enough for both.

    Args:
      common: flags of all cells; the flags of a cell override them.

    Raises:
      InputError: a flag is unknown, cannot be read, has a bad value, or is set by the runner. The message has a line
        for each fault.
    """
    tokens = list(dict.fromkeys(token for cell in cells for token in (*common, *cell.flags)))
    faults = {token: fault for token in tokens if (fault := _fault(token))}
    if faults:
        readable = [token for token in tokens if token not in faults]
        faults.update(zip(readable, elsewhere(_value_faults, readable)))
        raise InputError('\n'.join(faults[token] for token in tokens if faults[token]))
    return {cell.name: _recipe(common, cell.flags) for cell in cells}


def check(cells: Sequence[Cell], common: Sequence[Token], recipes: Mapping[str, Recipe],
          shared: Mapping[str, Recipe]):
    """Checks the values of each flag, then the recipe of each cell, then the runs that cells share.

    Args:
      recipes: the result of ``read`` for these cells.
      shared: name for messages -> recipe of a run that the plan made.

    Raises:
      InputError: there are faults; the message has a line for each.
    """
    tokens = list(dict.fromkeys(token for cell in cells for token in (*common, *cell.flags)))
    named = [(f'{cell.flags[-1].where if cell.flags else cell.where}: cell {cell.name}', recipes[cell.name])
             for cell in cells] + list(shared.items())
    faults = elsewhere(_all_faults, (tokens, named))
    if faults:
        raise InputError('\n'.join(faults))


def _recipe(common, own) -> Recipe:
    settings = flag_texts.settings_of([*common, *own])
    if not settings.get('asymptotic'):
        common = [token for token in common if flag_texts.read_token(token)[0] not in OF_ASYMPTOTIC]
        settings = flag_texts.settings_of([*common, *own])
    return recipe.make(**settings)._replace(export=False)


def _fault(token: Token) -> str:
    """The fault of a single flag that can be found without the tables of choices; '' for none."""
    try:
        name, value = flag_texts.read_token(token)
        if name in SET_BY_RUNNER:
            return f'{token.where}: {token.text}: the runner sets --{name} itself: leave the flag out'
        recipe.check_value(name, value)
    except InputError as error:
        return str(error) if str(error).startswith(token.where) else f'{token.where}: {error}'
    return ''


def elsewhere(work, *arguments):
    """Calls ``work(*arguments)`` in another process, which releases its memory at the end."""
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(work, arguments)


def _value_faults(tokens: Sequence[Token]) -> list[str]:
    """The fault of each flag's value; '' for none."""
    choices, faults = recipe.choices(), []
    for token in tokens:
        name, value = flag_texts.read_token(token)
        try:
            recipe.check_value(name, value, choices.get(name))
            faults.append('')
        except InputError as error:
            faults.append(f'{token.where}: {error}')
    return faults


def _all_faults(work) -> list[str]:
    from yolov3_tf.training import recipe_check  # it needs TensorFlow, the runner does not
    tokens, named = work
    faults = [fault for fault in _value_faults(tokens) if fault]
    for what, one in named if not faults else ():
        try:
            recipe_check.check(one)
        except InputError as error:
            faults.append(f'{what}: {error}')
    return faults
