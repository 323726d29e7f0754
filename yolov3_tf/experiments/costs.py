"""The costs of runs: steps from the settings, seconds from the finished runs in the same folder."""
from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.experiments import plan, run_state
from yolov3_tf.training import flag_texts

# Settings that change the time of a step; runs with equal values are compared.
SIZE = ('train_data', 'width_multiplier', 'cfg', 'image_size', 'train_sizes', 'batch_size', 'mixed_precision', 'head')


class Costs:
    """The costs of the runs below one folder."""

    def __init__(self, out):
        self.out = pathlib.Path(out)
        self.finished: dict[str, tuple[tuple, int, float]] = {}      # folder -> size, steps, seconds

    def steps(self, run: plan.Run) -> int | None:
        """The largest number of optimiser steps; None where the settings or the data do not define it."""
        epochs, images = plan.epochs(run.part), _images(run.part.recipe.train_data)
        if epochs is None or images is None:
            return None
        return epochs * max(images // run.part.recipe.batch_size, 1)

    def expected(self, run: plan.Run) -> float | None:
        """Expected seconds of a whole run, from finished runs of its size; None where there are none."""
        self._read_finished()
        size = _size(run.part.kind, flag_texts.texts_of(run.part.recipe).get)
        alike = [(steps, seconds) for other, steps, seconds in self.finished.values() if other == size]
        steps, spent = self.steps(run), sum(seconds for _, seconds in alike)
        if not alike:
            return None
        made = sum(steps for steps, _ in alike)
        return spent / len(alike) if not steps or not made else spent * steps / made

    def times(self, runs: Sequence[plan.Run]) -> list[dict[str, Any]]:
        """Name, kind, steps and seconds of each finished run."""
        self._read_finished()
        return [dict(run=run.name, kind=run.part.kind, steps=self.finished[run.name][1],
                     seconds=self.finished[run.name][2]) for run in runs if run.name in self.finished]

    def _read_finished(self):
        """Reads the runs that have finished since the last call."""
        logs = self.out / 'logs'
        for path in sorted(logs.glob('*.attempts')) if logs.is_dir() else []:
            name = path.stem
            attempts = run_state.Attempts(logs, name)
            if name in self.finished or not attempts.over():
                continue
            values = flag_texts.read_values(self.out / name / 'run.flags')
            kind = 'asymptotic' if values.get('asymptotic') == 'True' and values.get('full_epochs') == '0' else 'cell'
            state = run_state.read(self.out / name, kind)
            seconds = attempts.seconds()
            if state.finished and seconds is not None:
                self.finished[name] = (_size(kind, values.get), state.steps, seconds)


def _size(kind, value_of) -> tuple:
    return (kind == 'asymptotic', *(value_of(name) for name in SIZE))


@functools.cache
def _images(spec) -> int | None:
    """The number of images of a training spec; None where it cannot be read, which training will report."""
    try:
        return len(specs.load(spec).records) if spec else None
    except (InputError, OSError):
        return None
