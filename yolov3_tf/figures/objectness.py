"""The objectness loss during the training of several runs, with and without the focal factor."""
from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

from yolov3_tf.drawing import plots
from yolov3_tf.errors import InputError
from yolov3_tf.training.run_folder import RunFolder

NAME = 'objectness'
FOCAL, PLAIN = 'focal', 'without focal'


class Run(NamedTuple):
    """Attributes:
      name: name of its folder.
      kind: ``FOCAL`` or ``PLAIN``.
      train, val: the loss during training and on the validation set.
    """
    name: str
    kind: str
    train: plots.Series
    val: plots.Series


def read_run(folder: str | os.PathLike) -> Run:
    """Reads a run's metrics.jsonl, and from run.flags whether it is focal.

    Raises:
      InputError: the folder is not that of a run, or its metrics have no objectness loss.
    """
    files = RunFolder(folder)
    lines = plots.read_metrics(files.metrics)
    if not files.flags.is_file():
        raise InputError(f'{files.flags}: expected the flags of a run of train.py, got no such file')
    flags = files.flags.read_text(encoding='utf-8').splitlines()
    train = plots.series(lines, 'train', NAME)
    if not len(train.steps):
        raise InputError(f'{files.metrics}: expected lines with {NAME}, got none: '
                         'wait until its first detection stage has begun')
    return Run(pathlib.Path(folder).resolve().name, FOCAL if '--focal=True' in flags else PLAIN, train,
               plots.series(lines, 'val', NAME))


def draw(figure_file: plots.Path, folders: Sequence[str]) -> str:
    """Draws the loss of each run over its steps: during training above, on the validation set below.

    Runs of one kind have the same colour; the thick line is their mean. The focal factor is part of the loss, so the
    loss of a focal run is lower from the first step on: compare the shapes of the curves, not their heights.

    Returns:
      Text with the first, lowest and last value of each run.

    Raises:
      InputError: fewer than two runs, or as in ``read_run``.
    """
    if len(folders) < 2:
        raise InputError(f'--runs={",".join(folders)}: expected at least two runs to compare, separated by commas')
    runs = [read_run(folder) for folder in folders]
    with plots.styled():
        from matplotlib.figure import Figure
        figure = Figure((6.6, 4.8), layout='constrained')
        above, below = figure.subplots(2, 1, sharex=True)
        for kind, colour in ((PLAIN, plots.COLOURS[0]), (FOCAL, plots.COLOURS[1])):
            same = [run for run in runs if run.kind == kind]
            _draw_kind(above, [_smoothed(run) for run in same], colour, _label(kind, same))
            _draw_kind(below, [run.val for run in same if len(run.val.steps)], colour, None,
                       marker='o', markersize=2.5)
        for axis, title in ((above, 'training'), (below, 'validation')):
            plots.plain_log(axis)
            axis.set_ylabel('objectness loss')
            axis.set_title(title, loc='left')
        above.legend(title='the focal factor is part of the loss:\ncompare shapes, not heights')
        below.set_xlabel('step')
        plots.save(figure, figure_file)
    return '\n'.join(_line(run) for run in runs)


def _smoothed(run):
    """The running mean of the training loss over a fiftieth of the run."""
    return plots.Series(run.train.steps, plots.smooth(run.train.values, len(run.train.values) // 50))


def _draw_kind(axis, lines, colour, label, **style):
    """Draws each line thin, and their mean thick."""
    if not lines:
        return
    for line in lines if len(lines) > 1 else []:
        axis.plot(*line, color=colour, linewidth=.6, alpha=.5)
    steps, (_, mean, _) = plots.spread(lines)
    axis.plot(steps, mean, color=colour, linewidth=1.6, label=label, **style)


def _label(kind, runs):
    return f'{kind}: {runs[0].name}' if len(runs) == 1 else f'{kind}: mean of {len(runs)} runs'


def _line(run):
    curves = [(what, line) for what, line in (('training', run.train), ('validation', run.val)) if len(line.steps)]
    return f'{run.name} ({run.kind}): ' + '; '.join(
        f'{what} {line.values[0]:.4g} -> {line.values[-1]:.4g}, lowest {line.values.min():.4g} at step '
        f'{line.steps[line.values.argmin()]:.0f}' for what, line in curves)
