"""One table on one data set: its plan, its runs, their state and costs, and the written results."""
from __future__ import annotations

import os
import pathlib
import re
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from yolov3_tf.data.readers import specs
from yolov3_tf.drawing import plots
from yolov3_tf.errors import InputError
from yolov3_tf.experiments import cells, costs, plan, run_state, runner, table_file, tabulate
from yolov3_tf.progress import clock
from yolov3_tf.training.recipe import Recipe

TRAIN = ('-m', 'yolov3_tf', 'train')
TABLE_SECONDS = 60.     # between two tables while runs are trained


class Experiment:
    """A table and everything needed to train it; nothing is written before ``run`` or ``write``.

    Args:
      common: flags of every cell; later ones override earlier ones, and the table's own flags override them all.
      seeds: number of runs of each cell.
      out: folder of the runs and tables, or None for a name from the data.
      script: replaces ``train`` in tests.
      resamples: number of resamples of the validation images, for the intervals.

    Raises:
      InputError: seeds, data or flags cannot be used.
    """

    def __init__(self, table: table_file.Table, common: Sequence[table_file.Token], seeds: int,
                 out: str | None = None, script: str | None = None, resamples: int = 2000):
        if seeds < 1:
            raise InputError(f'--seeds={seeds}: expected the number of runs of each cell, 1 or more')
        self.table, self.seeds = table, range(seeds)
        self.command = [sys.executable, *([str(script)] if script else TRAIN)]
        common = (*common, *table.flags)
        recipes = cells.read(table.cells, common)
        self.data = data_of(recipes)
        for spec, split in zip(self.data, ('train', 'val')):
            specs.load(spec, split=split)               # missing data are reported now, not by every run
        self.out = pathlib.Path(os.path.normpath(out or default_out(self.data[0])))
        self.parts = plan.parts(recipes)
        check_distinct(table, self.parts)
        cells.check(table.cells, common, recipes, shared_recipes(self.parts))
        existing = [path.name for path in self.out.iterdir() if path.is_dir()] if self.out.is_dir() else []
        self.runs = plan.runs(self.parts, self.seeds, existing)
        self.finished_runs = tabulate.FinishedRuns(self.data[1], resamples)
        self.costs = costs.Costs(self.out)
        self.done: dict[str, run_state.State] = {}      # cache: finished runs do not change
        self.written = time.monotonic()

    def run(self) -> int:
        """Trains what is not finished and writes the table; returns the exit code."""
        done = [run for run in self.runs if self.state(run).finished]
        print(f'{self.table.title}: {self.size()}; {len(done)} of {len(self.runs)} runs are finished', flush=True)
        worker = runner.Runner(self.out, self.command, self.runs, self.costs.expected, self.after)
        try:
            failures = worker.run()
        except runner.Stopped:
            count = sum(self.state(run).finished for run in self.runs)
            print(f'stopped; {count} of {len(self.runs)} runs are finished. The same command goes on from there.')
            return 130
        self.write()
        for failure in failures:
            print(f'failed: {failure.run.name} ({", ".join(failure.run.cells)}): {failure.why}\n{failure.tail}',
                  file=sys.stderr)
        if failures:
            print(f'{len(failures)} of {len(self.runs)} runs failed; the same command continues them, or starts '
                  f'again where a folder in {self.out} was deleted', file=sys.stderr)
        return 1 if failures else 0

    def describe(self) -> str:
        """The plan as text, with a line for each run."""
        lines = [f'{self.table.title}: {self.size()}', f'in {self.out}', '']
        for number, run in enumerate(self.runs, start=1):
            state = self.state(run)
            steps, seconds = self.costs.steps(run), self.costs.expected(run)
            cost = (f'{"unknown" if steps is None else f"at most {steps}"} steps, '
                    f'{"unknown time" if seconds is None else "about " + clock(seconds)}')
            known = f'at step {state.steps}, of ' if state.begun else 'to do, '
            lines.append(f'{number:4} {run.name}: '
                         + (f'finished, {state.steps} steps' if state.finished else known + cost)
                         + (f', starts from {run.needs}' if run.needs else '')
                         + (f', serves {", ".join(run.cells)}' if run.part.kind != 'cell' else ''))
        return '\n'.join([*lines, '', *self._total(), '', 'commands of the first seed:', *self._first_commands()])

    def size(self) -> str:
        """The number of cells, seeds and shared runs, as text."""
        shared = sum(run.part.kind != 'cell' for run in self.runs)
        text = f'{len(self.table.cells)} cells, seeds 0 to {self.seeds[-1]}'
        return text + (f'; stages they share are {shared} runs of their own' if shared else '')

    def state(self, run: plan.Run) -> run_state.State:
        """The state of a run; the folder of a finished run is not read again."""
        if run.name not in self.done:
            state = run_state.read(self.out / run.name, run.part.kind)
            if not state.finished:
                return state
            self.done[run.name] = state
        return self.done[run.name]

    def after(self, run: plan.Run) -> None:
        """Called when a run has finished: writes the table so far, but not more often than ``TABLE_SECONDS``."""
        if run.part.kind == 'cell' and time.monotonic() - self.written > TABLE_SECONDS:
            self.written = time.monotonic()
            try:
                self.write(quietly=True)
            except (InputError, OSError) as error:      # reported again at the end; the other runs go on
                print(f'no table yet: {error}', file=sys.stderr)

    def write(self, quietly: bool = False) -> None:
        """Writes the table of the finished runs, with curves and times."""
        finished = self._finished()
        scored = {cell: {seed: self.finished_runs.of(folder) for seed, folder in folders.items()}
                    for cell, folders in finished.items()}
        found = tabulate.rows(self.table, scored)
        self.out.mkdir(parents=True, exist_ok=True)
        figure = ''
        if any(finished.values()):
            figure = plots.compared_curves(
                {cell: [folder / 'metrics.jsonl' for folder in folders.values()] for cell, folders in finished.items()},
                self.out / f'{self.table.name}.png').name
        page = tabulate.to_markdown(self.table, found, self.seeds, self._about(), figure, self.commands())
        written = tabulate.write(self.out, self.table, found, page, self.seeds)
        times = tabulate.write_times(self.out / f'{self.table.name}-times.csv', self.costs.times(self.runs))
        if not quietly:
            print(f'{page.split("## Commands")[0].strip()}\n\nwritten: {", ".join(map(str, (*written, times)))}')

    def commands(self) -> dict[str, list[list[str]]]:
        """Cell -> the commands of its first seed."""
        by_key = {run.part.key: run for run in self.runs if run.seed == self.seeds[0]}
        return {cell: [['yolov3-tf', 'train', *by_key[part.key].arguments(self.out)] for part in last.chain()]
                for cell, last in self.parts.items()}

    def _finished(self) -> dict[str, dict[int, pathlib.Path]]:
        finished: dict[str, dict[int, pathlib.Path]] = {cell: {} for cell in self.parts}
        for run in self.runs:
            if run.part.kind == 'cell' and self.state(run).finished:
                finished[run.cells[0]][run.seed] = self.out / run.name
        return finished

    def _about(self) -> list[str]:
        data = self.finished_runs.dataset
        images = f': {len(data.records)} images, {len(data.class_names)} classes' if data else ''
        lines = [f'Evaluated on `{self.data[1]}`{images}. AP in %: mean over seeds ± standard deviation (n - 1), '
                 f'{len(self.seeds)} seeds a cell; intervals from {self.finished_runs.count} resamples. '
                 '"-": not evaluated.']
        left = sum(not self.state(run).finished for run in self.runs)
        return lines + ([f'**Not complete: {left} of {len(self.runs)} runs are missing.**'] if left else [])

    def warn(self) -> None:
        """Prints a warning where a comparison may not be fair."""
        if any(plan.epochs(run.part) is None for run in self.runs):
            print('the flags do not set the epochs, and training may choose others for a pretrained backbone: give '
                  '--head_epochs, --full_epochs and --full_lr in the protocol for equal budgets', file=sys.stderr)

    def _total(self) -> list[str]:
        left = [run for run in self.runs if not self.state(run).finished]
        known = [seconds for run in left if (seconds := self.costs.expected(run)) is not None]
        cost = 'none'
        if left:
            cost = ('unknown, no run of this size is finished' if len(known) < len(left)
                    else f'about {clock(sum(known))}')
        return [f'{len(self.runs)} runs: {len(self.runs) - len(left)} finished, {len(left)} left; time left: {cost}']

    def _first_commands(self) -> list[str]:
        return [f'  {cell}: ' + '\n    then '.join(' '.join(command) for command in chain)
                for cell, chain in self.commands().items()]


def data_flags(data: str | None) -> tuple[table_file.Token, ...]:
    """The flags of train that ``--data`` means; none where it is not given.

    Args:
      data: ``TRAIN,VAL``, two data specs, or only ``shapes`` or a folder which has a validation part.

    Raises:
      InputError: another number of specs, or one that is not understood.
    """
    if data is None:
        return ()
    parts, found = specs.joined_texts(data), specs.recognised(data)
    if len(parts) == 1 and found and found[0].val:
        parts = [found[0].train, found[0].val]
    pair = [spec for part, split in zip(parts, ('train', 'val')) for spec in specs.parse(part, split)]
    if len(parts) > 2 or (len(parts) == 1 and not pair[0].is_builtin):
        raise InputError(f'--data={data}: expected TRAIN,VAL, for example voc:BCCD:train,voc:BCCD:val, or shapes or a '
                         'folder that has a validation part')
    return tuple(table_file.Token(f'--{name}={spec}', '--data') for name, spec in zip(('train_data', 'val_data'), pair))


def data_of(recipes: Mapping[str, Recipe]) -> tuple[str, str]:
    """The training and validation spec of the first cell; all cells must have the same validation set.

    Raises:
      InputError: a cell has no data, or the validation sets differ.
    """
    train = [recipe.train_data for recipe in recipes.values() if recipe.train_data is not None]
    if len(train) < len(recipes):
        raise InputError('no data: give --data=TRAIN,VAL, for example --data=voc:BCCD:train,voc:BCCD:val, or '
                         '--data=shapes:200')
    for name, recipe in recipes.items():
        if recipe.val_data is None and (specs.is_folder(str(recipe.train_data)) or not all(
                spec.is_builtin for spec in specs.parse(str(recipe.train_data)))):
            raise InputError(f'{name}: --train_data={recipe.train_data} without --val_data: runs that are compared '
                             'need one validation set for all, so none is drawn; give --val_data too')
    held_out = {recipe.val_data or spec for recipe, spec in zip(recipes.values(), train)}
    if len(held_out) > 1:
        raise InputError(f'cells are evaluated on different data, {", ".join(sorted(held_out))}: expected one '
                         '--val_data for all')
    return train[0], held_out.pop()


def default_out(spec: str) -> str:
    """The default folder of the runs on a training spec."""
    return os.path.join('runs', 'experiments', re.sub(r'[^A-Za-z0-9.+]+', '-', spec).strip('-.'))


def check_distinct(table: table_file.Table, parts: Mapping[str, plan.Part]) -> None:
    """Raises InputError for two cells with the same flags: they would be the same run, and their difference zero."""
    names: dict[str, str] = {}
    for cell in table.cells:
        first = names.setdefault(parts[cell.name].key, cell.name)
        if first != cell.name:
            raise InputError(f'{cell.where}: cell {cell.name} has the same flags as {first}, so they are the same '
                             'runs: change one or delete it')


def shared_recipes(parts: Mapping[str, plan.Part]) -> dict[str, Recipe]:
    """Name for messages -> recipe of each run that the plan split from cells, with its starting checkpoint."""
    return {f'{cell}, split into runs: {part.kind}': _with_start(part)
            for cell, last in parts.items() if last.needs for part in last.chain()}


def _with_start(part: plan.Part) -> Recipe:
    """The recipe of a part, with a placeholder for the checkpoint that it starts from."""
    start: dict[str, Any] = {part.takes: 'shared.h5'} if part.takes else {}
    return part.recipe._replace(**start)
