"""A genetic search over the continuous settings of a recipe, as YOLOv5's ``evolve`` does it for YOLOv4's idea.

Candidate 0 is the recipe unchanged. Every later one is a child of one of the best so far: the better its score, the
more probably it is taken. Each value of the child is mutated with a probability, by a log-normal factor. Candidate k
depends only on the seed and the results of the candidates before it, so a search that was stopped goes on with the
candidate that it would have tried.

Source: Bochkovskiy et al., YOLOv4, 2020, section 3.4, and ``evolve`` in train.py of ultralytics/yolov5.
"""
from __future__ import annotations

import functools
import json
import math
import pathlib
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Callable, NamedTuple

import numpy as np

from yolov3_tf import atomic_file
from yolov3_tf.errors import InputError
from yolov3_tf.experiments import tuning_genes
from yolov3_tf.experiments.tuning_genes import Gene, Genes
from yolov3_tf.progress import clock
from yolov3_tf.training import flag_texts
from yolov3_tf.training.recipe import MAY_DIFFER, Recipe

PARENTS = 5             # best candidates that have children; as in YOLOv5
PROBABILITY = .8        # of a value to mutate; as in YOLOv5
LEAST = 1e-6            # weight of the worst of the parents, whose score is subtracted from all; as in YOLOv5
TRIES = 100             # children drawn before the search ends because all are known
LATE = 1.1              # part of the budget after which a training is stopped in its middle
SHOWN = 5               # candidates in the table beside the recipe
COLUMNS = 79            # of a line


class Outcome(NamedTuple):
    """score: 0..1, higher is better; seconds: of the training; why: the reason of a failure, whose score is 0."""
    score: float
    seconds: float
    why: str = ''


class Result(NamedTuple):
    """One finished candidate; parent: the number of the candidate that it is a child of, None for the recipe."""
    number: int
    parent: int | None
    values: dict[str, float]
    score: float
    seconds: float
    why: str


class OutOfTime(Exception):
    """A training was stopped because the budget is over; it has saved its state."""


# Trains a candidate: its number, its recipe, the seconds after which to stop. Raises OutOfTime.
Train = Callable[[int, Recipe, float], Outcome]


def name_of(number: int) -> str:
    """The name of a candidate's folder."""
    return f'candidate-{number:03}'


def propose(number: int, seed: int, genes: Mapping[str, Gene], results: Sequence[Result]
            ) -> tuple[int, dict[str, float]] | None:
    """Parent and values of a candidate after the first; None where only known values are drawn."""
    random = np.random.default_rng([seed, number])
    best = ranked(results)[:PARENTS]
    weights = np.array([one.score for one in best]) - best[-1].score + LEAST
    for _ in range(TRIES):
        parent = best[int(random.choice(len(best), p=weights / weights.sum()))]
        values = {}
        for name, gene in genes.items():        # the same numbers are drawn whether a value mutates or not
            mutates, factor = random.random() < PROBABILITY, math.exp(random.normal(0, gene.spread))
            values[name] = (tuning_genes.mutated(gene, parent.values[name], factor) if mutates
                            else parent.values[name])
        if all(values != one.values for one in results):
            return parent.number, values
    return None


def ranked(results: Sequence[Result]) -> list[Result]:
    """The results, best first; of equal scores the earlier one."""
    return sorted(results, key=lambda one: (-one.score, one.number))


class Search:
    """A search in a folder, with the results that are there already.

    Args:
      out: its folder; ``results.jsonl`` says what is searched and holds a line for each finished candidate.
      measure: name of the score in texts.
      command: what was typed, for best.flags.
      show: prints a text.

    Raises:
      InputError: the folder belongs to another search, or its results cannot be read.
    """

    def __init__(self, out: pathlib.Path, recipe: Recipe, genes: Genes, seed: int, measure: str = 'mAP',
                 command: str = '', show: Callable[[str], object] = functools.partial(print, flush=True)):
        self.out, self.recipe, self.genes, self.seed = out, recipe, genes, seed
        self.measure, self.command, self.show = measure, command, show
        self.path = out / 'results.jsonl'
        self.results = self._read()

    @property
    def seconds(self) -> float:
        """Training time of all finished candidates."""
        return sum(one.seconds for one in self.results)

    @property
    def best(self) -> Result:
        """The best candidate so far; there must be one."""
        return ranked(self.results)[0]

    def expected(self) -> float | None:
        """Expected seconds of a training: the mean of those that did not fail; None where there is none."""
        whole = [one.seconds for one in self.results if not one.why]
        return sum(whole) / len(whole) if whole else None

    def run(self, train: Train, budget: float, most: int | None = None) -> str:
        """Trains candidates as long as the next one is expected to end within the budget; returns why it ended.

        Args:
          budget: seconds of training, earlier calls included. The first candidate is begun in any case.
          most: largest number of candidates.

        Raises:
          OutOfTime: the budget ended in the middle of a training, which continues with a larger one.
        """
        while most is None or len(self.results) < most:
            if self.results and self.seconds + (self.expected() or 0.) > budget:
                return f'the budget of {clock(budget)} has no time for another candidate'
            number = len(self.results)
            child = propose(number, self.seed, self.genes.genes, self.results) if number else (None, self.genes.start)
            if child is None:
                return 'every candidate that was drawn is known already'
            parent, values = child
            self.show(wrapped(f'candidate {number}: ' + (
                'the recipe unchanged' if parent is None else f'from {parent}, {self._changes(values)}')))
            recipe = tuning_genes.with_values(self.recipe, self.genes.start, values)
            outcome = train(number, recipe, LATE * budget - self.seconds)
            self._add(Result(number, parent, dict(values), *outcome))
            self.show(wrapped(self._progress(budget)))
        return f'{most} of {most} candidates are trained'

    def table(self) -> str:
        """The recipe and the best candidates side by side, a line for each setting."""
        columns = [self.results[0], *(one for one in ranked(self.results) if one.number)][:1 + SHOWN]
        lines = [['', 'recipe', *(f'#{one.number}' for one in columns[1:])],
                 [f'{self.measure} %', *(f'{100 * one.score:.2f}' for one in columns)]]
        lines += [[name, *(f'{one.values[name]:.6g}' for one in columns)] for name in self.genes.genes]
        width = max(len(line[0]) for line in lines)
        return '\n'.join(' '.join([f'{line[0]:{width}}', *(f'{cell:>9}' for cell in line[1:])]) for line in lines)

    def write_best(self) -> pathlib.Path:
        """Writes best.flags, a recipe file of the best candidate; returns its path. Each new best is written too."""
        best, first = self.best, self.results[0]
        recipe = tuning_genes.with_values(self.recipe, self.genes.start, best.values)
        about = [f'Question: which {", ".join(self.genes.genes)} suit these data?', f'Command:  {self.command}',
                 f'Data:     {recipe.train_data}, validated on {recipe.val_data or recipe.train_data}',
                 f'Time:     {clock(best.seconds)} (candidate {best.number} of {len(self.results)})',
                 f'Expected: {self.measure} {100 * best.score:.2f} % with seed {recipe.seed}; the recipe unchanged '
                 f'has {100 * first.score:.2f} %', '',
                 'It was chosen by this score, so expect less on other images and with other seeds.']
        text = ''.join(f'# {line}'.rstrip() + '\n' for line in about)
        text += ''.join(f'{flag}\n' for flag in flag_texts.arguments_of(recipe).values())
        path = self.out / 'best.flags'
        atomic_file.write_text(path, text)
        return path

    def _changes(self, values) -> str:
        start = self.genes.start
        return ' '.join(f'{name}={value:.6g}' for name, value in values.items() if value != start[name]) or 'unchanged'

    def _progress(self, budget) -> str:
        last, best = self.results[-1], self.best
        score = f'failed, {last.why}' if last.why else f'{self.measure} {100 * last.score:.2f} %'
        return (f'candidate {last.number}: {score} after {clock(last.seconds)}; best {100 * best.score:.2f} % '
                f'(#{best.number}); {clock(self.seconds)} of {clock(budget)}')

    def _add(self, result):
        """Writes a result, best.flags if it is the best, and deletes the checkpoints of all others."""
        self.results.append(result)
        lines = [dict(search=self._identity()), *(one._asdict() for one in self.results)]
        atomic_file.write_text(self.path, ''.join(json.dumps(line) + '\n' for line in lines))
        for one in self.results:
            if one is not self.best:
                shutil.rmtree(self.out / name_of(one.number) / 'checkpoints', ignore_errors=True)
        if result is self.best:
            self.write_best()

    def _identity(self) -> dict[str, Any]:
        """Everything that the candidates depend on; a search with other values is another search."""
        flags = flag_texts.arguments_of(self.recipe)
        bounds = {f'bounds of {name}': [gene.lowest, gene.highest, gene.spread, self.genes.start[name]]
                  for name, gene in self.genes.genes.items()}
        return dict({f'--{name}': flag for name, flag in flags.items() if name not in MAY_DIFFER}, **bounds,
                    settings=list(self.genes.genes), score=self.measure, seed=self.seed)

    def _read(self) -> list[Result]:
        if not self.path.is_file():
            return []
        try:
            lines = [json.loads(line) for line in self.path.read_text(encoding='utf-8').splitlines()]
            before, results = lines[0]['search'], [Result(**line) for line in lines[1:]]
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise InputError(f'{self.path}: expected the results of a search, one a line, got something else '
                             f'({error}): choose another --output') from error
        now = json.loads(json.dumps(self._identity()))
        changed = [f'{name}: {before.get(name)} (now {now.get(name)})' for name in dict.fromkeys([*before, *now])
                   if before.get(name) != now.get(name)]
        if changed:
            raise InputError(f'{self.out} holds another search: {"; ".join(changed)}. Choose another --output, or '
                             'repeat the old flags to go on with it')
        return results


def wrapped(text: str) -> str:
    """The text in lines of at most ``COLUMNS``."""
    return textwrap.fill(text, COLUMNS, subsequent_indent='  ', break_long_words=False, break_on_hyphens=False)
