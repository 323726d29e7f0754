"""What ``tune`` searches on: the recipe as the flags give it, and real trainings, each in its own process."""
from __future__ import annotations

import json
import math
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.experiments import experiment, run_state, runner
from yolov3_tf.experiments.plan import Part, Run
from yolov3_tf.experiments.tuning import Outcome, OutOfTime, name_of
from yolov3_tf.training import flag_texts
from yolov3_tf.training import recipe as recipes
from yolov3_tf.training.flag_texts import Token
from yolov3_tf.training.recipe import DEFAULTS, Recipe

SCORES = {'mAP': 'mAP', 'AP': 'coco_AP'}        # --score -> its name in evaluation/metrics.json
NOT_FINITE = 3                                  # exit code of train
OF_RUN = ('name', 'runs_dir')                   # settings of a single run; a recipe may be run.flags of one


class TrainingFailed(Exception):
    """A training failed for a reason that is not its candidate's values; the message says where to read it."""


def recipe_of(name: str, more: Sequence[Token]) -> Recipe:
    """The recipe to start from.

    Args:
      name: of a recipe, or the path of one; its name and folder of a run are ignored.
      more: flags that override it.

    Raises:
      InputError: there is no such recipe, a flag cannot be used, or there are no data.
    """
    settings: dict[str, Any] = flag_texts.read_recipe(name)
    for setting in OF_RUN:
        settings.pop(setting, None)
    given = flag_texts.settings_of(more)
    for setting in OF_RUN:
        if setting in given:
            raise InputError(f'--flags: --{setting}: the search sets it itself: leave the flag out, --output is the '
                             'folder of the search')
    recipe = recipes.make(**{**settings, **given})
    for spec, split in zip(experiment.data_of({name: recipe}), ('train', 'val')):
        specs.load(spec, split=split)           # missing data are reported now
    return recipe


class Trainings:
    """Trains candidates below one folder by the runner of experiments; a training that was stopped continues.

    Args:
      score: of ``SCORES``.
      script: replaces ``train`` in tests.
    """

    def __init__(self, out: pathlib.Path, score: str, script: str | None = None):
        self.out, self.score, self.status = out, score, runner.Status()
        self.command = [sys.executable, *([str(script)] if script else experiment.TRAIN)]

    def train(self, number: int, recipe: Recipe, limit: float) -> Outcome:
        """Trains one candidate.

        Raises:
          OutOfTime: it was not finished after ``limit`` seconds.
          Stopped: after Ctrl-C or SIGTERM.
          TrainingFailed: it failed, but its loss was finite.
        """
        part = Part('cell', recipe._replace(seed=DEFAULTS.seed, export=False))
        run = Run(name_of(number), part, recipe.seed, None, (name_of(number),))
        attempts = run_state.Attempts(self.out / 'logs', run.name)
        if attempts.over():                     # only then; the training of a killed search may still be running
            limit -= attempts.seconds() or 0.
        if limit <= 0 and not run_state.read(self.out / run.name, part.kind).finished:
            raise OutOfTime
        worker = runner.Runner(self.out, self.command, [run], lambda _: None, lambda _: None, self.status, limit)
        try:
            failures = worker.run()
        except runner.Stopped:
            if worker.late:
                raise OutOfTime from None
            raise
        seconds = attempts.seconds() or 0.
        if not failures:
            return Outcome(self._score(run.name), seconds)
        if failures[0].code != NOT_FINITE:
            raise TrainingFailed(f'candidate {number} failed: {failures[0].why}')
        return Outcome(0., seconds, runner.last_line(attempts.log).removeprefix('error: '))

    def _score(self, name) -> float:
        path = self.out / name / 'evaluation' / 'metrics.json'
        value = json.loads(path.read_text(encoding='utf-8'))['summary'][SCORES[self.score]]
        return float(value) if value is not None and math.isfinite(value) else 0.
