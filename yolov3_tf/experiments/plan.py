"""From cells to runs: which stages they share, in which order they run, and what each is called.

A run is known by a key, a hash of the flags that shape its result, so a cell that stands in several
tables is trained once. Two stages become runs of their own, from which others start:

* the asymptotic stage (``--asymptotic``): a run without any detection epoch, of the flags that matter to
  it, so cells that differ in loss, head or detection schedule have the same one. The cell then starts
  from its ``--backbone_weights``. A cell that starts from ``--init_weights`` keeps the stage to itself, for a
  backbone alone would lose the rest of them.
* the head stage, where several cells of the table are the same up to its end: a run without the full stage, of which the
  cells take the ``--init_weights``. A cell trained alone in another table is then another run.

Each seed has its own. A run that starts from another has that run's key in its own.
"""
from __future__ import annotations

import collections
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from yolov3_tf.experiments.train_flags import SET_BY_RUNNER, FlagSet

# What a stage does not look at; a flag of neither list shapes every stage.
OF_ASYMPTOTIC = ('asymptotic', 'asymptotic_epochs', 'asymptotic_lr')
OF_HEAD = ('head_epochs', 'head_lr')
OF_FULL = ('full_epochs', 'full_lr', 'schedule', 'decay_power')
OF_DETECTION = (*OF_HEAD, *OF_FULL, 'patience', 'frozen_bn', 'warmup_epochs', 'head', 'formulation', 'loss',
                'focal', 'ignore_thresh', 'ignore_scope', 'matched', 'label_smoothing', 'assigner', 'assign_thresh',
                'objectness', 'objectness_target', 'classification', 'positive_weight', 'box_weight',
                'background_weight', 'grid_sensitivity')
WEIGHTS = ('backbone_weights', 'init_weights')
NO_FULL = {'full_epochs': '--full_epochs=0', 'full_lr': '--full_lr=1'}     # a rate of no epochs
NO_HEAD = {'head_epochs': '--head_epochs=0'}
# Of the runner itself, or without a trace in what is measured.
NEVER_SHAPE = (*SET_BY_RUNNER, 'export')
DIGITS = 8      # of a key, 32 bits


class Part(NamedTuple):
    """One training, whatever its seed.

    Attributes:
      kind: 'asymptotic', 'head' or 'cell'.
      given: name -> argument of every flag off its default, without those the runner gives.
      needs: the part it starts from, or None; takes: the flag that its checkpoint goes to.
      shaping: names in ``given`` that shape the result.
    """
    kind: str
    given: Mapping[str, str]
    shaping: tuple[str, ...]
    needs: Part | None = None
    takes: str = ''

    @property
    def key(self) -> str:
        content = [self.kind, sorted(self.given[name] for name in self.shaping),
                   [self.takes, self.needs.key] if self.needs else None]
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

    def arguments(self, out) -> list[str]:
        """What the training script is called with; ``out`` is the folder of the runs."""
        start = [f'--{self.part.takes}={checkpoint(out, self.needs)}'] if self.needs else []
        return [*self.part.given.values(), *start, f'--seed={self.seed}', f'--runs_dir={out}', f'--name={self.name}']


def checkpoint(out, name) -> pathlib.Path:
    """What other runs start from."""
    return pathlib.Path(out) / name / 'checkpoints' / 'last.h5'


def parts(cells: Mapping[str, FlagSet], neutral: Sequence[str] = ()) -> dict[str, Part]:
    """The last training of each cell; what comes before it hangs on its ``needs``.

    Args:
      neutral: names of flags that do not shape a result.
    """
    found = {name: _split_asymptotic(flag_set, {*NEVER_SHAPE, *neutral}) for name, flag_set in cells.items()}
    firsts = {name: _head(part, cells[name].values) for name, part in found.items()}
    sharing = collections.Counter(first.key for first in firsts.values() if first)
    return {name: _after_head(part, firsts[name]) if firsts[name] and sharing[firsts[name].key] > 1 else part
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


def epochs(part: Part, defaults: Mapping[str, str]) -> int | None:
    """Epochs of a part at the most (patience may end it earlier); None where the flags leave it to the script."""
    counts = [] if part.kind == 'asymptotic' else [
        _sum(value(part, 'head_epochs', defaults)), _sum(value(part, 'full_epochs', defaults)),
        _sum(value(part, 'warmup_epochs', defaults) or '0')]
    if 'asymptotic' in part.given:
        counts.append(_sum(value(part, 'asymptotic_epochs', defaults)))
    return None if None in counts else sum(counts)


def value(part: Part, name: str, defaults: Mapping[str, str]) -> str | None:
    """A flag's value as text, None where it has none."""
    return part.given[name].partition('=')[2] if name in part.given else defaults.get(name)


def _sum(counts: str | None) -> int | None:
    """Sum of whole numbers separated by commas; None for anything else."""
    parts = (counts or '').split(',')
    return sum(map(int, parts)) if all(part.isdecimal() for part in parts) else None


def _part(kind, given, silent, needs=None, takes='') -> Part:
    return Part(kind, given, tuple(name for name in given if name not in silent), needs, takes)


def _split_asymptotic(flag_set: FlagSet, silent) -> Part:
    given = {name: text for name, text in flag_set.given.items() if name not in SET_BY_RUNNER}
    if flag_set.values.get('asymptotic') != 'True':
        return _part('cell', _without(given, OF_ASYMPTOTIC), silent)
    if 'init_weights' in given:
        return _part('cell', given, silent)
    first = _part('asymptotic', {**_without(given, OF_DETECTION), **NO_HEAD, **NO_FULL}, silent)
    return _part('cell', _without(given, (*OF_ASYMPTOTIC, *WEIGHTS)), silent, first, 'backbone_weights')


def _head(part: Part, values) -> Part | None:
    """The run of a cell's the head stage alone; None where the flags do not say that there are both stages."""
    if 'asymptotic' in part.given or not _sum(values.get('head_epochs')) or not _sum(values.get('full_epochs')):
        return None
    silent = set(part.given) - set(part.shaping)
    return _part('head', {**_without(part.given, OF_FULL), **NO_FULL}, silent, part.needs, part.takes)


def _after_head(part: Part, first: Part) -> Part:
    """The warm-up belongs to the stage that comes first, so it is not repeated."""
    given = {**_without(part.given, (*OF_HEAD, *WEIGHTS, 'warmup_epochs')), **NO_HEAD}
    return _part('cell', given, set(part.given) - set(part.shaping), first, 'init_weights')


def _without(given, names):
    return {name: text for name, text in given.items() if name not in names}
