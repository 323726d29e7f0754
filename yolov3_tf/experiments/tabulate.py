"""Writes the table: the paper's results and ours, with the spread over seeds and an interval over images.

The table holds only what was evaluated; '-' means not evaluated. Equal runs give equal files, so wall times are in a
separate file.
"""
from __future__ import annotations

import csv
import io
import json
import math
import os
import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from yolov3_tf import atomic_file
from yolov3_tf.data.readers import specs
from yolov3_tf.data.readers.class_files import read_class_file
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import report, results
from yolov3_tf.experiments import bootstrap
from yolov3_tf.experiments.table_file import Table
from yolov3_tf.structures import Dataset

# Name in evaluation/metrics.json -> title of the column.
MEASURES = {'mAP': 'AP@.5 area', 'mAP_07': 'AP@.5 11-point', 'coco_AP': 'AP .5:.95 (COCO)', 'mAP_giou': 'AP@.5 by GIoU'}
THE_SCORE = 'mAP'       # the score that the paper reports
AGREE = 1e-3            # largest allowed difference between a run's own mAP and that of its detections


class Scored(NamedTuple):
    """One finished run. summary: from its metrics.json; samples: name of a score -> its value for each resample."""
    summary: dict[str, float]
    samples: dict[str, np.ndarray]


class Row(NamedTuple):
    """One score of a cell, or of a difference, in %.

    values: seed -> value. low, high: ends of the interval, None where there is none.
    """
    kind: str
    name: str
    measure: str
    paper: float | None
    values: dict[int, float]
    low: float | None = None
    high: float | None = None

    @property
    def mean(self) -> float | None:
        """The mean over seeds; None without values."""
        return float(np.mean(list(self.values.values()))) if self.values else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation over seeds, with n - 1; None for fewer than two."""
        return float(np.std(list(self.values.values()), ddof=1)) if len(self.values) > 1 else None

    @property
    def same_sign(self) -> int:
        """The number of seeds whose value has the sign of the mean."""
        mean = self.mean
        return 0 if mean is None else sum(value * mean > 0 for value in self.values.values())


class FinishedRuns:
    """Reads the finished runs on one validation set. Each is read once, because a table is written after every run.

    Args:
      spec: the validation data; split and strictness are those of training.
      count: number of resamples.
    """

    def __init__(self, spec: str, count: int):
        self.spec, self.count = spec, count
        self.dataset: Dataset | None = None
        self.weights: np.ndarray | None = None
        self.known: dict[str, Scored] = {}

    def of(self, folder: str | os.PathLike) -> Scored:
        """The scores of a run; raises InputError if its detections do not give the score that the run reported."""
        folder = pathlib.Path(folder)
        if folder.name not in self.known:
            self.known[folder.name] = self._evaluate(folder)
        return self.known[folder.name]

    def _evaluate(self, folder) -> Scored:
        dataset, weights = self._load(read_class_file(folder / 'labels.txt'))
        summary = json.loads((folder / 'evaluation' / 'metrics.json').read_text(encoding='utf-8'))['summary']
        path = folder / 'evaluation' / 'detections.json'
        detections = report.align(dataset, results.read_coco(path, dataset))
        samples = bootstrap.evaluate(dataset.records, detections, len(dataset.class_names), weights)
        again, own = float(samples[THE_SCORE][0]), _number(summary[THE_SCORE])
        if not (abs(again - own) < AGREE or (math.isnan(again) and math.isnan(own))):
            raise InputError(f'{path}: its detections give a mAP of {again:.4f} on {self.spec}, but the run '
                             f'reported {own:.4f}: were the annotations changed since? Delete its evaluation/ to '
                             'evaluate it again')
        return Scored({name: _number(value) for name, value in summary.items()}, samples)

    def _load(self, class_names) -> tuple[Dataset, np.ndarray]:
        """The set, and the weights of its images in each resample; both are made once."""
        if self.dataset is None or self.weights is None:
            self.dataset = specs.load(self.spec, class_names, split='val')
            self.weights = bootstrap.resamples(len(self.dataset.records), self.count)
        if list(self.dataset.class_names) != list(class_names):
            raise InputError(f'runs of other classes are compared: {", ".join(self.dataset.class_names)} and '
                             f'{", ".join(class_names)}; give them the same --classes')
        return self.dataset, self.weights


def rows(table: Table, scored: Mapping[str, Mapping[int, Scored]]) -> list[Row]:
    """Every score of every cell, then of every difference.

    Args:
      scored: cell -> seed -> run, for the finished runs.
    """
    found = []
    for cell in table.cells:
        for name in MEASURES:
            values = {seed: 100 * run.summary[name] for seed, run in scored[cell.name].items()}
            found.append(Row('cell', cell.name, name, cell.paper if name == THE_SCORE else None, values))
    paper = {cell.name: cell.paper for cell in table.cells}
    for first, second in table.comparisons:
        for name in MEASURES:
            one, other = paper[first], paper[second]
            known = one - other if name == THE_SCORE and one is not None and other is not None else None
            found.append(_difference(f'{first} - {second}', name, known, scored[first], scored[second]))
    return found


def _difference(name, measure, paper, first, second) -> Row:
    """The difference over the seeds that both cells have; all runs use the same resamples."""
    seeds = [seed for seed in first if seed in second]
    values = {seed: 100 * (first[seed].summary[measure] - second[seed].summary[measure]) for seed in seeds}
    low = high = None
    if seeds:
        samples = np.mean([first[seed].samples[measure] - second[seed].samples[measure] for seed in seeds], axis=0)
        low, high = (100 * end for end in bootstrap.interval(samples[1:]))
    return Row('difference', name, measure, paper, values, low, high)


def to_csv(found: Sequence[Row], seeds: Sequence[int]) -> str:
    """CSV text with a line for each row, in % with four decimals; empty where not evaluated."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['kind', 'name', 'measure', 'paper', 'runs', 'mean', 'deviation', 'low', 'high', 'same_sign',
                     *(f'seed_{seed}' for seed in seeds)])
    for row in found:
        numbers = [row.mean, row.deviation, row.low, row.high]
        writer.writerow([row.kind, row.name, row.measure, _decimals(row.paper, 2), len(row.values),
                         *(_decimals(number, 4) for number in numbers),
                         row.same_sign if row.kind == 'difference' and row.values else '',
                         *(_decimals(row.values.get(seed), 4) for seed in seeds)])
    return text.getvalue()


def to_markdown(table: Table, found: Sequence[Row], seeds: Sequence[int], about: Sequence[str], figure: str,
                commands: Mapping[str, Sequence[Sequence[str]]]) -> str:
    """The page as Markdown: cells, differences, curves, commands.

    Args:
      about: sentences on data and protocol.
      figure: file name of the curves; empty if there is none.
      commands: cell -> the commands of its first seed, each a list of arguments.
    """
    by_name = {(row.kind, row.name, row.measure): row for row in found}
    blocks = [f'# {table.title}', table.question, '\n'.join(about), _cells(table, by_name, seeds)]
    blocks += [f'{cell.name}: {cell.note}' for cell in table.cells if cell.note]
    if table.comparisons:
        blocks += ['## Differences', *_differences(table, by_name, seeds)]
    if figure:
        blocks += ['## Curves', f'![validation mAP over the steps of each cell]({figure})']
    blocks += ['## Commands', _commands(commands, seeds)]
    return '\n\n'.join(block for block in blocks if block) + '\n'


def _cells(table, by_name, seeds) -> str:
    lines = [['cell', 'paper', *MEASURES.values(), 'runs']]
    for cell in table.cells:
        mine = [by_name['cell', cell.name, name] for name in MEASURES]
        lines.append([cell.name, _decimals(cell.paper, 2) or '-', *map(_spread, mine),
                      f'{len(mine[0].values)} of {len(seeds)}'])
    return _table(lines)


def _differences(table, by_name, seeds) -> list[str]:
    scores = [['difference', 'paper', 'ours', '95 % interval', *(f'seed {seed}' for seed in seeds), 'same sign']]
    others = [['difference', *(f'{MEASURES[name]}' for name in MEASURES if name != THE_SCORE)]]
    for first, second in table.comparisons:
        name = f'{first} - {second}'
        row = by_name['difference', name, THE_SCORE]
        scores.append([name, _signed(row.paper), _signed(row.mean), _interval(row),
                       *(_signed(row.values.get(seed)) for seed in seeds),
                       f'{row.same_sign} of {len(row.values)}' if row.values else '-'])
        rest = [by_name['difference', name, measure] for measure in MEASURES if measure != THE_SCORE]
        others.append([name, *(_signed(row.mean) + (f' {_interval(row)}' if row.low is not None else '')
                               for row in rest)])
    return [f'In points of {MEASURES[THE_SCORE]}, mean over seeds. The interval is a paired bootstrap over the '
            'validation images (both cells on the same resamples, seeds as they are): it shows what other images '
            'could change; the differences of the single seeds show what other seeds could change.', _table(scores),
            'By the other scores:', _table(others)]


def _commands(commands, seeds) -> str:
    lines = [f'With `--seed={seeds[0]}`; for other seeds replace the number, in the names of folders too.']
    for cell, chain in commands.items():
        lines.append(f'* {cell}: ' + ', then '.join(f'`{shlex.join(command)}`' for command in chain))
    return '\n'.join([lines[0], '', *lines[1:]])


def write(out: str | os.PathLike, table: Table, found: Sequence[Row], markdown: str,
          seeds: Sequence[int]) -> tuple[pathlib.Path, ...]:
    """Writes TABLE.md and TABLE.csv into ``out``; returns their paths."""
    paths = tuple(pathlib.Path(out) / f'{table.name}.{ending}' for ending in ('md', 'csv'))
    for path, text in zip(paths, (markdown, to_csv(found, seeds))):
        atomic_file.write_text(path, text)
    return paths


def write_times(path: str | os.PathLike, lines: Sequence[Mapping[str, Any]]) -> pathlib.Path:
    """Writes the wall time of each finished run: run, kind, steps, seconds, and seconds / median of its kind."""
    path = pathlib.Path(path)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['run', 'kind', 'steps', 'seconds', 'to_median'])
    for line in lines:
        kind = [other['seconds'] for other in lines if other['kind'] == line['kind']]
        writer.writerow([line['run'], line['kind'], line['steps'], f'{line["seconds"]:.0f}',
                         f'{line["seconds"] / max(float(np.median(kind)), 1e-9):.2f}'])
    atomic_file.write_text(path, text.getvalue())
    return path


def _table(lines: Sequence[Sequence[str]]) -> str:
    rule = ['---'] + ['---:'] * (len(lines[0]) - 1)
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in [lines[0], rule, *lines[1:]])


def _spread(row: Row) -> str:
    if row.mean is None or math.isnan(row.mean):
        return '-'
    return f'{row.mean:.2f}' + (f' ± {row.deviation:.2f}' if row.deviation is not None else '')


def _interval(row: Row) -> str:
    if row.low is None or math.isnan(row.low):
        return '-'
    return f'[{_signed(row.low)}, {_signed(row.high)}]'


def _signed(value: float | None) -> str:
    return '-' if value is None or math.isnan(value) else f'{value:+.2f}'


def _decimals(value: float | None, count: int) -> str:
    return '' if value is None or math.isnan(value) else f'{value:.{count}f}'


def _number(value) -> float:
    return float('nan') if value is None else float(value)
