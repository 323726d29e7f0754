"""Figures of runs, drawn from their files alone: metrics.jsonl of training, metrics.json of evaluation.

Matplotlib is imported where it draws and used without pyplot, so no display is needed and no
window stays open. Figures are sized for a column of text, 200 dots an inch.
"""
from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Union

import numpy as np

from yolov3_tf.errors import InputError

SCORES = {'mAP': 'detection', 'class_mAP': 'classes present'}
NOT_LOSSES = {'kind', 'stage', 'epoch', 'step', 'lr', *SCORES}
# Okabe and Ito's colours, distinct for colour-blind readers too.
COLOURS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9')
GREY = '#666666'
NAMED_CURVES = 24    # with more classes a legend is useless
STYLE = {'text.parse_math': False, 'font.size': 8, 'axes.titlesize': 8, 'figure.titlesize': 9, 'legend.fontsize': 7,
         'legend.title_fontsize': 7, 'legend.frameon': False, 'axes.grid': True, 'grid.alpha': .25,
         'axes.axisbelow': True, 'axes.spines.top': False, 'axes.spines.right': False}
VALIDATION = dict(linestyle=(0, (4, 2)), marker='o', markersize=2.5)    # on the validation set
BESIDE = dict(loc='upper left', bbox_to_anchor=(1.01, 1.02))          # a legend right of its panel


Path = Union[str, 'os.PathLike[str]']


class Series(NamedTuple):
    """One line of a figure: steps and values, both float64 [n]."""
    steps: np.ndarray
    values: np.ndarray


def training_curves(metrics_file: Path, figure_file: Path) -> pathlib.Path:
    """Draws losses, validation mAP and learning rate over the steps, with the stages marked.

    Args:
      metrics_file: one JSON object a line, ``kind`` 'train' or 'val', ``stage``, ``step`` counted over
        the run, then numbers: ``lr``, ``mAP`` at .5 and ``class_mAP`` in 0..1, and every other name is a part
        of the loss or their sum ``total``.
      figure_file: PNG to write.

    Raises:
      InputError: the file is missing or empty, or a line is not such an object. A last line that a
        killed run left unfinished is ignored.
    """
    lines = read_metrics(metrics_file)
    scored = any(len(series(lines, 'val', name).steps) for name in SCORES)
    rate = series(lines, 'train', 'lr')
    panels = [(_draw_losses, 3.)] + [(_draw_score, 2.)] * scored
    panels += [(_draw_rate, 1.3)] * bool(len(rate.steps))
    with styled():
        figure, axes = _figure(7., [height for _, height in panels])
        for axis, (draw, _) in zip(axes, panels):
            draw(axis, lines)
            axis.margins(x=.01)
        _mark_stages(axes, lines)
        axes[-1].set_xlabel('step')
        return save(figure, figure_file)


def precision_recall(report_file: Path, figure_file: Path) -> pathlib.Path:
    """Draws precision over recall at IoU .5, one line a class and their mean, from a report's metrics.json.

    Precision is the best at this recall or beyond, so the area under each line is the AP beside its name, also for
    the mean (``staircase``).

    Raises:
      InputError: the file is missing or not a report.
    """
    content = _read_report(pathlib.Path(report_file))
    classes = [(row['class'], row['voc_area'], curve) for row, curve in
               zip(content['per_class'], content['curves']) if row['voc_area'] is not None]
    classes.sort(key=lambda one: -one[1])
    with styled():
        figure, (axis,) = _figure(5.6, [4.])
        for number, (name, ap, curve) in enumerate(classes):
            axis.plot(*staircase([curve]), linewidth=.9, drawstyle='steps-post',
                      **_class_style(number, len(classes), f'{100 * ap:.1f}  {name}'))
        if classes:
            axis.plot(*staircase([curve for _, _, curve in classes]), 'k', linewidth=2., drawstyle='steps-post',
                      label=f'{100 * content["summary"]["mAP"]:.1f}  mean of {len(classes)}')
            handles, labels = axis.get_legend_handles_labels()
            axis.legend(handles[-1:] + handles[:-1], labels[-1:] + labels[:-1], title='AP in %',
                        alignment='left', **BESIDE)
        axis.set(xlabel='recall', ylabel='precision', xlim=(0, 1.003), ylim=(0, 1.02))
        return save(figure, figure_file)


def staircase(curves: Sequence[Mapping[str, Any]]) -> Series:
    """The mean of the curves' best precision at a recall or beyond, as a line in steps.

    Args:
      curves: at least one; each with ``recall`` and ``precision`` [k], the points where its recall changes. Beyond its
        last one a curve is 0.

    Returns:
      Every recall of any curve after 0, and the height from each to the next, the last 0: the area under the steps is
      the mean of the areas, so of the all-point APs.
    """
    recalls = [np.asarray(curve['recall'], np.float64) for curve in curves]
    levels = np.unique(np.concatenate([np.zeros(1), *recalls]))
    heights = np.zeros(len(levels))
    for recall, curve in zip(recalls, curves):
        best = np.maximum.accumulate(np.asarray(curve['precision'], np.float64)[::-1])[::-1]
        heights += np.append(best, 0.)[np.searchsorted(recall, levels)]
    return Series(levels, np.append(heights[1:], 0.) / len(curves))


def compared_curves(cells: Mapping[str, Sequence[Any]], figure_file: Path) -> pathlib.Path:
    """Draws validation mAP over the steps, one line a cell: the mean of its runs over a band from lowest to highest.

    Runs that end at different steps are averaged as far as each goes.

    Args:
      cells: name -> metrics.jsonl of its runs, as ``training_curves`` takes them; a cell may have none.
      figure_file: PNG to write.
    """
    with styled():
        figure, (axis,) = _figure(7., [4.2])
        for number, (name, files) in enumerate(cells.items()):
            scores = [series(read_metrics(file), 'val', 'mAP') for file in files]
            steps, (low, mean, high) = spread([score for score in scores if len(score.steps)])
            if len(steps):
                style = _class_style(number, len(cells), f'{100 * mean[-1]:.1f}  {name}')
                axis.plot(steps, 100 * mean, linewidth=1.3, **style)
                axis.fill_between(steps, 100 * low, 100 * high, color=style['color'], alpha=.12, linewidth=0)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(title='mAP@.5 at the last step', alignment='left', **BESIDE)
        axis.set(xlabel='step', ylabel='validation mAP@.5 in %', ylim=(0, None))
        return save(figure, figure_file)


def spread(runs: Sequence[Series]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest, mean and highest value of several lines, [3, n], at every step [n] of any, straight between its own.

    Each line counts only from its first to its last step.
    """
    if not runs:
        return np.zeros(0), np.zeros((3, 0))
    steps = np.unique(np.concatenate([run.steps for run in runs]))
    table = np.array([np.interp(steps, *run, left=np.nan, right=np.nan) for run in runs])
    return steps, np.array([np.nanmin(table, axis=0), np.nanmean(table, axis=0), np.nanmax(table, axis=0)])


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Objects of a metrics.jsonl; errors as in ``training_curves``."""
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f'{path}: expected the metrics.jsonl of a run, got no such file')
    rows = path.read_text(encoding='utf-8').split('\n')
    lines = []
    for number, row in enumerate(rows, start=1):
        if row.strip():
            line = _metrics_line(row)
            if line is not None:
                lines.append(line)
            elif number < len(rows):    # the last has no line end: the run was killed
                raise InputError(f'{path}:{number}: expected a JSON object with kind, stage and step, '
                                 f'got {row[:80]}')
    if not lines:
        raise InputError(f'{path}: expected at least one line, got an empty file: has the run begun?')
    return lines


def series(lines: Sequence[dict[str, Any]], kind: str, name: str) -> Series:
    """The values of one name over the steps; those that are not finite are left out."""
    points = [(line['step'], line[name]) for line in lines if line['kind'] == kind
              and isinstance(line.get(name), (int, float)) and math.isfinite(line[name])]
    table = np.array(points, np.float64).reshape(-1, 2)
    return Series(table[:, 0], table[:, 1])


def stage_starts(lines: Sequence[dict[str, Any]]) -> list[tuple[float, str]]:
    """Step and name of each stage in turn; one begins at the last step of the one before it."""
    starts = [(lines[0]['step'], str(lines[0]['stage']))]
    for before, line in zip(lines, lines[1:]):
        if line['stage'] != before['stage']:
            starts.append((before['step'], str(line['stage'])))
    return starts


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over the window around each value, [n] -> [n]; at both ends over the part of it that exists."""
    sums = np.concatenate([[0.], np.cumsum(values)])
    centres = np.arange(len(values))
    first, end = np.maximum(centres - window // 2, 0), np.minimum(centres + window // 2 + 1, len(values))
    return (sums[end] - sums[first]) / (end - first)


def _metrics_line(row):
    try:
        line = json.loads(row)
    except json.JSONDecodeError:
        return None
    known = isinstance(line, dict) and {'kind', 'stage', 'step'} <= set(line)
    return line if known and isinstance(line['step'], (int, float)) else None


def _draw_losses(axis, lines):
    names = _loss_names(lines)
    edges = [step for step, _ in stage_starts(lines)[1:]]
    for number, name in enumerate(names):
        colour, width = ('k', 1.6) if name == 'total' else (COLOURS[number % len(COLOURS)], 1.)
        _draw_trained(axis, series(lines, 'train', name), edges, color=colour, linewidth=width, label=name)
        axis.plot(*series(lines, 'val', name), color=colour, linewidth=width, **VALIDATION)
    drawn = [series(lines, kind, name).values for kind in ('train', 'val') for name in names]
    if min(np.concatenate([*drawn, []]), default=0) > 0:
        plain_log(axis)
    if any(line['kind'] == 'val' for line in lines):
        axis.plot([], [], color=GREY, label='validation', **VALIDATION)
    axis.legend(**BESIDE)
    axis.set_ylabel('loss')


def _draw_trained(axis, train, edges, **style):
    """A running mean over a fiftieth of the line, restarted in each stage, over the pale raw values."""
    window = len(train.values) // 50
    if window > 1:
        axis.plot(*train, color=style['color'], linewidth=.4, alpha=.25)
    stages = np.split(train.values, np.searchsorted(train.steps, edges, side='right'))
    axis.plot(train.steps, np.concatenate([smooth(stage, window) for stage in stages]), **style)


def _loss_names(lines):
    """Parts of the loss in the order of their first appearance, their sum last so that it is on top."""
    numbers = {name: None for line in lines for name, value in line.items()
               if isinstance(value, (int, float)) and name not in NOT_LOSSES}
    return [name for name in numbers if name != 'total'] + ['total'] * ('total' in numbers)


def plain_log(axis: Any) -> None:
    """Logarithmic axis with labels such as 20, not 2 x 10^1."""
    from matplotlib.ticker import LogFormatter
    axis.set_yscale('log')
    axis.yaxis.set_major_formatter('{x:g}')
    axis.yaxis.set_minor_formatter(LogFormatter())


def _draw_score(axis, lines):
    highest = 0.
    for colour, (name, what) in zip((COLOURS[0], COLOURS[2]), SCORES.items()):
        score = series(lines, 'val', name)
        if not len(score.steps):
            continue
        best = int(score.values.argmax())
        highest = max(highest, score.values[best])
        axis.plot(score.steps, 100 * score.values, color=colour, linewidth=1.4, marker='o', markersize=2.5, label=what)
        axis.plot(score.steps[best], 100 * score.values[best], '*', color=COLOURS[1], markersize=9,
                  label=f'best {100 * score.values[best]:.1f}')
    axis.legend(**BESIDE)
    axis.set(ylabel='mAP in %', ylim=(0, 110 * highest or 1))


def _draw_rate(axis, lines):
    rate = series(lines, 'train', 'lr')
    axis.plot(*rate, color=GREY, linewidth=1.2, drawstyle='steps-post')
    if rate.values.min() > 0:
        axis.set_yscale('log')
    axis.set_ylabel('learning rate')


def _mark_stages(axes, lines):
    """A dotted line where one stage follows another, and the stages' names over the first panel."""
    for number, (step, name) in enumerate(stage_starts(lines)):
        for axis in axes if number else []:
            axis.axvline(step, color=GREY, linewidth=.8, linestyle=':')
        axes[0].annotate(name, (step, 1), xycoords=('data', 'axes fraction'), xytext=(3, 2),
                         textcoords='offset points', color=GREY, fontsize=7)


def _class_style(number, count, label) -> dict[str, Any]:
    """Six colours in four line styles distinguish 24 classes; more are a grey cloud around the mean."""
    if count > NAMED_CURVES:
        return dict(color='#999999', alpha=.35, label='a class' if number == 0 else None)
    dashes = ('-', '--', ':', '-.')[number // len(COLOURS)]
    return dict(color=COLOURS[number % len(COLOURS)], linestyle=dashes, label=label)


def _read_report(path):
    if not path.is_file():
        raise InputError(f'{path}: expected the metrics.json of an evaluation, got no such file')
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except json.JSONDecodeError as error:
        raise InputError(f'{path}:{error.lineno}: expected JSON, got: {error.msg}') from error
    if not isinstance(content, dict) or not {'summary', 'per_class', 'curves', 'mean_curve'} <= set(content):
        raise InputError(f'{path}: expected a report with summary, per_class, curves and mean_curve, as '
                         'evaluate.py writes it')
    return content


def styled():
    """A context in which matplotlib has the style of our figures."""
    import matplotlib
    return matplotlib.rc_context(STYLE)


def _figure(width: float, heights: Sequence[float]) -> tuple[Any, list[Any]]:
    """A figure and its panels, one below the other with a common x axis; sizes in inches."""
    from matplotlib.figure import Figure
    figure = Figure((width, sum(heights)), layout='constrained')
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)
    return figure, list(axes[:, 0])


def save(figure: Any, path: Path) -> pathlib.Path:
    """Writes the PNG without matplotlib's own version in it, so equal data make an equal file."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=200, format='png', metadata={'Software': None})
    return path
