"""What runs cost: steps from the settings, seconds from the runs that are finished in the same folder."""
from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.experiments import plan, run_state
from yolov3_tf.training import flag_texts

# Settings on which the time of a step depends; runs equal in these are compared.
SIZE = ('train_data', 'width_multiplier', 'cfg', 'image_size', 'train_sizes', 'batch_size', 'mixed_precision', 'head')


class Costs:
    """Of the runs below one folder."""

    def __init__(self, out):
        self.out = pathlib.Path(out)
        self.finished: dict[str, tuple[tuple, int, float]] = {}      # folder -> size, steps, seconds

    def steps(self, run: plan.Run) -> int | None:
        """Optimiser steps at the most; None where the settings or the data do not say."""
        epochs, images = plan.epochs(run.part), _images(run.part.recipe.train_data)
        if epochs is None or images is None:
            return None
        return epochs * max(images // run.part.recipe.batch_size, 1)

    def expected(self, run: plan.Run) -> float | None:
        """Seconds of a whole run, at the pace of finished runs of its size; None where there are none."""
        self._look()
        size = _size(run.part.kind, flag_texts.texts_of(run.part.recipe).get)
        alike = [(steps, seconds) for other, steps, seconds in self.finished.values() if other == size]
        steps, spent = self.steps(run), sum(seconds for _, seconds in alike)
        if not alike:
            return None
        made = sum(steps for steps, _ in alike)
        return spent / len(alike) if not steps or not made else spent * steps / made

    def times(self, runs: Sequence[plan.Run]) -> list[dict[str, Any]]:
        """Kind, steps and seconds of the runs that are finished."""
        self._look()
        return [dict(run=run.name, kind=run.part.kind, steps=self.finished[run.name][1],
                     seconds=self.finished[run.name][2]) for run in runs if run.name in self.finished]

    def _look(self):
        """Reads the runs that have finished since the last look."""
        logs = self.out / 'logs'
        for path in sorted(logs.glob('*.attempts')) if logs.is_dir() else []:
            name = path.stem
            attempts = run_state.Attempts(logs, name)
            if name in self.finished or not attempts.over():
                continue
            values = flag_texts.read_values(self.out / name / 'run.flags')
            kind = 'asymptotic' if values.get('asymptotic') == 'True' and values.get('full_epochs') == '0' else 'cell'
            state = run_state.look(self.out / name, kind)
            seconds = attempts.seconds()
            if state.finished and seconds is not None:
                self.finished[name] = (_size(kind, values.get), state.steps, seconds)


def _size(kind, value_of) -> tuple:
    return (kind == 'asymptotic', *(value_of(name) for name in SIZE))


@functools.cache
def _images(spec) -> int | None:
    """How many images a training spec has; None where it cannot be read, which training will say."""
    try:
        return len(specs.load(spec).records) if spec else None
    except (InputError, OSError):
        return None
