"""Turns cells into runs: which stages they share, the order of the runs, and their names.

A run is identified by a key, a hash of the settings that change its result, so a cell that occurs in several
tables is trained once. Two stages can become separate runs, from which other runs start:

* the asymptotic stage (``--asymptotic``): a run without detection epochs, with only the settings that matter to this
  stage, so cells that differ in loss, head or detection schedule share it. The cells then start from its checkpoint
  by ``--backbone_weights``. A cell with ``--init_weights`` does not share the stage, because a backbone alone would
  lose its other weights.
* the head stage, where several cells of the table are equal up to its end: a run without the full stage. The cells
  start from its checkpoint by ``--init_weights``. The same cell without such a partner, in another table, is then
  another run.

Each seed has its own runs. The key of a run that starts from another run includes the key of that run.
"""
from __future__ import annotations

import collections
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from yolov3_tf.experiments.cells import SET_BY_RUNNER
from yolov3_tf.training import flag_texts
from yolov3_tf.training.recipe import DEFAULTS, MAY_DIFFER, Recipe, given

# Settings that belong to some stages only; a setting in none of these lists changes every stage.
OF_ASYMPTOTIC = ('asymptotic', 'asymptotic_epochs', 'asymptotic_lr')
OF_HEAD = ('head_epochs', 'head_lr')
OF_FULL = ('full_epochs', 'full_lr', 'minutes', 'schedule', 'decay_power', 'restart_cycles', 'restart_factor',
           'extend', 'mix_free_epochs')
OF_DETECTION = (*OF_HEAD, *OF_FULL, 'patience', 'frozen_bn', 'warmup_epochs', 'head', 'formulation', 'loss',
                'focal', 'ignore_thresh', 'ignore_scope', 'matched', 'label_smoothing', 'assigner', 'assign_thresh',
                'objectness', 'objectness_target', 'classification', 'positive_weight', 'box_weight', 'class_weight',
                'background_weight', 'grid_sensitivity')
WEIGHTS = ('backbone_weights', 'init_weights')
NO_FULL: dict[str, Any] = {'full_epochs': (0,), 'full_lr': (1.,)}       # the rate is not used
NO_HEAD: dict[str, Any] = {'head_epochs': 0}
# Set by the runner, or without an effect on the evaluation.
NEVER_SHAPE = (*SET_BY_RUNNER, *MAY_DIFFER)
DIGITS = 8      # of a key, 32 bits


class Part(NamedTuple):
    """One training, for any seed.

    Attributes:
      kind: 'asymptotic', 'head' or 'cell'.
      recipe: without the settings that the runner adds.
      needs: the part that it starts from, or None.
      takes: the setting that gets the checkpoint of that part.
    """
    kind: str
    recipe: Recipe
    needs: Part | None = None
    takes: str = ''

    @property
    def key(self) -> str:
        """A hash of everything that changes the result, except the seed."""
        shaping = [text for name, text in flag_texts.arguments_of(self.recipe).items() if name not in NEVER_SHAPE]
        content = [self.kind, sorted(shaping), [self.takes, self.needs.key] if self.needs else None]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:DIGITS]

    def chain(self) -> list[Part]:
        """All parts that it needs, in their order, and itself last."""
        return (self.needs.chain() if self.needs else []) + [self]


class Run(NamedTuple):
    """One part with one seed. name: name of its folder; needs: name of the run that it starts from, or None; cells: the
    cells that use it."""
    name: str
    part: Part
    seed: int
    needs: str | None
    cells: tuple[str, ...]

    def arguments(self, out: str | os.PathLike) -> list[str]:
        """The arguments for ``train``; ``out`` is the folder of the runs."""
        start = [f'--{self.part.takes}={checkpoint(out, self.needs)}'] if self.needs else []
        return [*flag_texts.arguments_of(self.part.recipe).values(), *start, f'--seed={self.seed}',
                f'--runs_dir={out}', f'--name={self.name}']


def checkpoint(out: str | os.PathLike, name: str) -> pathlib.Path:
    """The checkpoint of a run that other runs start from."""
    return pathlib.Path(out) / name / 'checkpoints' / 'last.h5'


def parts(cells: Mapping[str, Recipe]) -> dict[str, Part]:
    """The last part of each cell; the parts before it are linked by ``needs``."""
    found = {name: _split_asymptotic(_without(recipe, SET_BY_RUNNER)) for name, recipe in cells.items()}
    firsts = {name: _head(part) for name, part in found.items()}
    sharing = collections.Counter(first.key for first in firsts.values() if first)
    return {name: _after_head(part, first) if (first := firsts[name]) and sharing[first.key] > 1 else part
            for name, part in found.items()}


def runs(cells: Mapping[str, Part], seeds: Sequence[int], existing: Sequence[str] = ()) -> list[Run]:
    """All runs in order: seed by seed, so that a table stopped half way has equally many runs of every cell.

    Args:
      existing: names of existing folders; an existing run keeps its name.
    """
    wanted: dict[tuple[str, int], tuple[Part, str]] = {}
    users: dict[tuple[str, int], list[str]] = collections.defaultdict(list)
    for seed in seeds:
        for cell, last in cells.items():
            for part in last.chain():
                wanted.setdefault((part.key, seed), (part, cell if part.kind == 'cell' else part.kind))
                users[part.key, seed].append(cell)
    known = {name.split('-')[-2] + name.split('-')[-1]: name for name in existing if name.count('-') >= 2}
    names = {(key, seed): known.get(f'{key}seed{seed}', f'{label}-{key}-seed{seed}')
             for (key, seed), (_, label) in wanted.items()}
    return [Run(names[key, seed], part, seed, names[part.needs.key, seed] if part.needs else None,
                tuple(users[key, seed])) for (key, seed), (part, _) in wanted.items()]


def epochs(part: Part) -> int | None:
    """The largest number of epochs of a part (patience may end it earlier); None if the settings do not define it."""
    recipe, count = part.recipe, 0
    if part.kind != 'asymptotic':
        if recipe.head_epochs is None or recipe.full_epochs is None:
            return None
        count = recipe.head_epochs + sum(recipe.full_epochs) + recipe.warmup_epochs
    return count + (recipe.asymptotic_epochs if recipe.asymptotic else 0)


def _split_asymptotic(recipe: Recipe) -> Part:
    if not recipe.asymptotic:
        return Part('cell', _without(recipe, OF_ASYMPTOTIC))
    if given(recipe, 'init_weights'):
        return Part('cell', recipe)
    first = Part('asymptotic', _without(recipe, OF_DETECTION)._replace(**NO_HEAD, **NO_FULL))
    return Part('cell', _without(recipe, (*OF_ASYMPTOTIC, *WEIGHTS)), first, 'backbone_weights')


def _head(part: Part) -> Part | None:
    """The run of only a cell's head stage; None where the settings do not define both stages."""
    recipe = part.recipe
    if recipe.asymptotic or not recipe.head_epochs or not sum(recipe.full_epochs or ()):
        return None
    return Part('head', _without(recipe, OF_FULL)._replace(**NO_FULL), part.needs, part.takes)


def _after_head(part: Part, first: Part) -> Part:
    """The part of a cell after its head stage; the warm-up belongs to the first stage, so it is not repeated."""
    recipe = _without(part.recipe, (*OF_HEAD, *WEIGHTS, 'warmup_epochs'))._replace(**NO_HEAD)
    return Part('cell', recipe, first, 'init_weights')


def _without(recipe: Recipe, names: Iterable[str]) -> Recipe:
    """The recipe with these settings at their defaults."""
    return recipe._replace(**{name: getattr(DEFAULTS, name) for name in names})
