"""From cells to runs: which stages they share, in which order they run, and what each is called.

A run is known by a key, a hash of the settings that shape its result, so a cell that stands in several
tables is trained once. Two stages become runs of their own, from which others start:

* the asymptotic stage (``--asymptotic``): a run without any detection epoch, of the settings that matter to
  it, so cells that differ in loss, head or detection schedule have the same one. The cell then starts
  from its ``--backbone_weights``. A cell that starts from ``--init_weights`` keeps the stage to itself, for a
  backbone alone would lose the rest of them.
* the head stage, where several cells of the table are the same up to its end: a run without the full stage, of
  which the cells take the ``--init_weights``. A cell trained alone in another table is then another run.

Each seed has its own. A run that starts from another has that run's key in its own.
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

# What a stage does not look at; a setting of neither list shapes every stage.
OF_ASYMPTOTIC = ('asymptotic', 'asymptotic_epochs', 'asymptotic_lr')
OF_HEAD = ('head_epochs', 'head_lr')
OF_FULL = ('full_epochs', 'full_lr', 'schedule', 'decay_power')
OF_DETECTION = (*OF_HEAD, *OF_FULL, 'patience', 'frozen_bn', 'warmup_epochs', 'head', 'formulation', 'loss',
                'focal', 'ignore_thresh', 'ignore_scope', 'matched', 'label_smoothing', 'assigner', 'assign_thresh',
                'objectness', 'objectness_target', 'classification', 'positive_weight', 'box_weight',
                'background_weight', 'grid_sensitivity')
WEIGHTS = ('backbone_weights', 'init_weights')
NO_FULL: dict[str, Any] = {'full_epochs': (0,), 'full_lr': (1.,)}       # a rate of no epochs
NO_HEAD: dict[str, Any] = {'head_epochs': 0}
# Of the runner itself, or without a trace in what is evaluated.
NEVER_SHAPE = (*SET_BY_RUNNER, *MAY_DIFFER)
DIGITS = 8      # of a key, 32 bits


class Part(NamedTuple):
    """One training, whatever its seed.

    Attributes:
      kind: 'asymptotic', 'head' or 'cell'.
      recipe: without what the runner gives.
      needs: the part it starts from, or None; takes: the setting that its checkpoint goes to.
    """
    kind: str
    recipe: Recipe
    needs: Part | None = None
    takes: str = ''

    @property
    def key(self) -> str:
        shaping = [text for name, text in flag_texts.arguments_of(self.recipe).items() if name not in NEVER_SHAPE]
        content = [self.kind, sorted(shaping), [self.takes, self.needs.key] if self.needs else None]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:DIGITS]

    def chain(self) -> list[Part]:
        """Itself after all it needs."""
        return (self.needs.chain() if self.needs else []) + [self]


class Run(NamedTuple):
    """One part with one seed. name: of its folder; cells: that come from it."""
    name: str
    part: Part
    seed: int
    needs: str | None
    cells: tuple[str, ...]

    def arguments(self, out: str | os.PathLike) -> list[str]:
        """What ``train`` is called with; ``out`` is the folder of the runs."""
        start = [f'--{self.part.takes}={checkpoint(out, self.needs)}'] if self.needs else []
        return [*flag_texts.arguments_of(self.part.recipe).values(), *start, f'--seed={self.seed}',
                f'--runs_dir={out}', f'--name={self.name}']


def checkpoint(out: str | os.PathLike, name: str) -> pathlib.Path:
    """What other runs start from."""
    return pathlib.Path(out) / name / 'checkpoints' / 'last.h5'


def parts(cells: Mapping[str, Recipe]) -> dict[str, Part]:
    """The last training of each cell; what comes before it hangs on its ``needs``."""
    found = {name: _split_asymptotic(_without(recipe, SET_BY_RUNNER)) for name, recipe in cells.items()}
    firsts = {name: _head(part) for name, part in found.items()}
    sharing = collections.Counter(first.key for first in firsts.values() if first)
    return {name: _after_head(part, first) if (first := firsts[name]) and sharing[first.key] > 1 else part
            for name, part in found.items()}


def runs(cells: Mapping[str, Part], seeds: Sequence[int], there: Sequence[str] = ()) -> list[Run]:
    """All runs in order: seed by seed, so that a table stopped half way has every cell equally often.

    Args:
      there: names of folders that exist already; a run that is there keeps the name it has.
    """
    wanted: dict[tuple[str, int], tuple[Part, str]] = {}
    users: dict[tuple[str, int], list[str]] = collections.defaultdict(list)
    for seed in seeds:
        for cell, last in cells.items():
            for part in last.chain():
                wanted.setdefault((part.key, seed), (part, cell if part.kind == 'cell' else part.kind))
                users[part.key, seed].append(cell)
    known = {name.split('-')[-2] + name.split('-')[-1]: name for name in there if name.count('-') >= 2}
    names = {(key, seed): known.get(f'{key}seed{seed}', f'{label}-{key}-seed{seed}')
             for (key, seed), (_, label) in wanted.items()}
    return [Run(names[key, seed], part, seed, names[part.needs.key, seed] if part.needs else None,
                tuple(users[key, seed])) for (key, seed), (part, _) in wanted.items()]


def epochs(part: Part) -> int | None:
    """Epochs of a part at the most (patience may end it earlier); None where the settings leave it to training."""
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
    """The run of a cell's head stage alone; None where the settings do not say that there are both stages."""
    recipe = part.recipe
    if recipe.asymptotic or not recipe.head_epochs or not sum(recipe.full_epochs or ()):
        return None
    return Part('head', _without(recipe, OF_FULL)._replace(**NO_FULL), part.needs, part.takes)


def _after_head(part: Part, first: Part) -> Part:
    """The warm-up belongs to the stage that comes first, so it is not repeated."""
    recipe = _without(part.recipe, (*OF_HEAD, *WEIGHTS, 'warmup_epochs'))._replace(**NO_HEAD)
    return Part('cell', recipe, first, 'init_weights')


def _without(recipe: Recipe, names: Iterable[str]) -> Recipe:
    """The recipe with these settings at their defaults."""
    return recipe._replace(**{name: getattr(DEFAULTS, name) for name in names})
