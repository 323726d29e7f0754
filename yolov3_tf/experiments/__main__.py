r"""Trains and compares a table of experiments: cells x seeds, with error bars.

  python -m yolov3_tf.experiments II --data=voc:BCCD:train,voc:BCCD:val --protocol=bccd --seeds=5

TABLE is I, II, III or IV (the paper's), or a file of your own (see yolov3_tf/experiments/tables.py, and
experiments/tables/ for examples). What several runs share is trained once. The same command again goes on
where it was stopped, however it was stopped; a finished run is never trained again, whichever table it
was made for. Below --out stand the run folders, TABLE.md, TABLE.csv, TABLE.png and TABLE-times.csv.

Exit code: 0; 1 when a run failed (its cell stays '-'); 2 when the input cannot be used; 130 when stopped.
"""
from __future__ import annotations

import os
import pathlib
import re
import sys
from typing import Dict, List, Optional, Tuple

from absl import app, flags

from yolov3_tf import plots
from yolov3_tf.choices import InputError, exit_code
from yolov3_tf.experiments import costs, plan, run_state, runner, tables, tabulate, train_flags
from yolov3_tf.progress import clock

FLAGS = flags.FLAGS
flags.DEFINE_string('data', None, 'TRAIN,VAL: pictures to train on and to measure on, as train.py takes them '
                    '(voc:BCCD:train,voc:BCCD:val); shapes brings its own. Default: as --protocol says')
flags.DEFINE_integer('seeds', 3, 'runs of every cell, with seeds 0, 1, ...')
flags.DEFINE_string('protocol', None, 'file of train.py\'s flags common to every cell (size, epochs ...), or the name '
                    'of one in experiments/protocols/')
flags.DEFINE_string('flags', '', 'more flags common to every cell, separated by spaces; stronger than --protocol')
flags.DEFINE_string('out', None, 'folder of the runs and tables (default: runs/experiments/DATA)')
flags.DEFINE_bool('dry_run', False, 'print the runs, what they share and what they cost, and train nothing')
flags.DEFINE_bool('table_only', False, 'write the table from the runs that are finished, and train nothing')
flags.DEFINE_integer('resamples', 2000, 'of the validation pictures, for the intervals', lower_bound=100)
flags.DEFINE_string('train_script', str(tables.ROOT / 'train.py'), 'what trains')

PROTOCOLS = tables.ROOT / 'experiments' / 'protocols'


def main(argv):
    return exit_code(lambda: run(argv[1:]))


def run(names: List[str]) -> int:
    if len(names) != 1:
        raise InputError(f'expected one table, {", ".join(tables.BUILT_IN)} or a file, got '
                         f'{" ".join(names) or "none"}: python -m yolov3_tf.experiments TABLE --data=TRAIN,VAL')
    if FLAGS.seeds < 1:
        raise InputError(f'--seeds={FLAGS.seeds}: expected how many runs every cell gets, 1 or more')
    experiment = Experiment(tables.read(tables.find(names[0])))
    if FLAGS.dry_run:
        print(experiment.describe())
        experiment.warn()
        return 0
    with runner.only_one(experiment.out):
        return experiment.run()


class Experiment:
    """One table on one data set: its cells as runs, and what is known of them."""

    def __init__(self, table: tables.Table):
        self.table, self.seeds = table, range(FLAGS.seeds)
        common = common_flags(table)
        script = train_flags.read(FLAGS.train_script, [train_flags.Question('no flag', (), ())] + [
            train_flags.Question(f'cell {cell.name}', common, cell.flags) for cell in table.cells])
        cells = {cell.name: quiet(script, flag_set) for cell, flag_set in zip(table.cells, script.sets[1:])}
        self.data = data_of(cells)
        self.out = pathlib.Path(os.path.normpath(FLAGS.out or default_out(self.data[0])))
        self.parts = plan.parts(cells, script.neutral)
        check_shared(self.parts)
        there = [path.name for path in self.out.iterdir() if path.is_dir()] if self.out.is_dir() else []
        self.runs = plan.runs(self.parts, self.seeds, there)
        self.measurer = tabulate.Measurer(self.data[1], FLAGS.resamples)
        self.costs = costs.Costs(self.out, script.sets[0].values)
        self.done: Dict[str, run_state.State] = {}      # finished runs stay finished

    def run(self) -> int:
        done = [run for run in self.runs if self.state(run).finished]
        print(f'{self.table.title}: {self.size()}; {len(done)} of {len(self.runs)} runs are finished', flush=True)
        self.warn()
        if FLAGS.table_only:
            self.write()
            return 0
        at_work = runner.Runner(self.out, FLAGS.train_script, self.runs, self.costs.expected, self.after)
        try:
            failures = at_work.run()
        except runner.Stopped:
            done = sum(self.state(run).finished for run in self.runs)
            print(f'stopped; {done} of {len(self.runs)} runs are finished. The same command goes on from there.')
            return 130
        self.write()
        for failure in failures:
            print(f'failed: {failure.run.name} ({", ".join(failure.run.cells)}): {failure.why}\n{failure.tail}',
                  file=sys.stderr)
        if failures:
            print(f'{len(failures)} of {len(self.runs)} runs failed; the same command tries them again',
                  file=sys.stderr)
        return 1 if failures else 0

    def describe(self) -> str:
        """The plan in words: a line a run."""
        lines = [f'{self.table.title}: {self.size()}', f'in {self.out}', '']
        for place, run in enumerate(self.runs, start=1):
            state = self.state(run)
            known = 'finished' if state.finished else f'at step {state.steps}' if state.begun else 'to do'
            steps, seconds = self.costs.steps(run), self.costs.expected(run)
            lines.append(f'{place:4} {run.name}: {known}, {"unknown" if steps is None else f"at most {steps}"} steps, '
                         f'{"unknown time" if seconds is None else "about " + clock(seconds)}'
                         + (f', starts from {run.needs}' if run.needs else '')
                         + (f', serves {", ".join(run.cells)}' if run.part.kind != 'cell' else ''))
        return '\n'.join([*lines, '', *self._total(), '', 'commands of the first seed:', *self._first_commands()])

    def size(self) -> str:
        shared = sum(run.part.kind != 'cell' for run in self.runs)
        text = f'{len(self.table.cells)} cells, seeds 0 to {self.seeds[-1]}'
        return text + (f'; stages they share are {shared} runs of their own' if shared else '')

    def state(self, run) -> run_state.State:
        if run.name not in self.done:
            state = run_state.look(self.out / run.name, run.part.kind)
            if not state.finished:
                return state
            self.done[run.name] = state
        return self.done[run.name]

    def after(self, run):
        """What there is to do when a run has finished: the table as far as it is."""
        if run.part.kind == 'cell':
            try:
                self.write(quietly=True)
            except (InputError, OSError) as error:      # is said again at the end; the other runs go on
                print(f'no table yet: {error}', file=sys.stderr)

    def write(self, quietly=False):
        """The table of what is finished, with curves and times."""
        finished = self._finished()
        measured = {cell: {seed: self.measurer.of(folder) for seed, folder in folders.items()}
                    for cell, folders in finished.items()}
        found = tabulate.rows(self.table, measured)
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

    def commands(self) -> Dict[str, List[List[str]]]:
        """Cell -> commands of its first seed."""
        by_key = {run.part.key: run for run in self.runs if run.seed == self.seeds[0]}
        script = os.path.basename(FLAGS.train_script)
        return {cell: [['python', script, *by_key[part.key].arguments(self.out)] for part in last.chain()]
                for cell, last in self.parts.items()}

    def _finished(self) -> Dict[str, Dict[int, pathlib.Path]]:
        finished: Dict[str, Dict[int, pathlib.Path]] = {cell: {} for cell in self.parts}
        for run in self.runs:
            if run.part.kind == 'cell' and self.state(run).finished:
                finished[run.cells[0]][run.seed] = self.out / run.name
        return finished

    def _about(self) -> List[str]:
        data = self.measurer.dataset
        pictures = f': {len(data.records)} pictures, {len(data.class_names)} classes' if data else ''
        return [f'Measured on `{self.data[1]}`{pictures}. AP in %; ours: mean over seeds ± standard deviation '
                f'(n - 1); {len(self.seeds)} seeds a cell. "-": not measured.']

    def warn(self):
        """Says what makes a comparison less than fair."""
        if any(plan.epochs(run.part, self.costs.defaults) is None for run in self.runs):
            print('the flags leave the epochs to the script, which may choose others for a pretrained backbone: give '
                  '--stage1_epochs, --stage2_epochs and --stage2_lr in the protocol for equal budgets', file=sys.stderr)

    def _total(self) -> List[str]:
        left = [run for run in self.runs if not self.state(run).finished]
        seconds = [self.costs.expected(run) for run in left]
        cost = 'none'
        if left:
            cost = 'unknown, no run of this size is finished' if None in seconds else f'about {clock(sum(seconds))}'
        return [f'{len(self.runs)} runs: {len(self.runs) - len(left)} finished, {len(left)} left; time left: {cost}']

    def _first_commands(self) -> List[str]:
        return [f'  {cell}: ' + '\n    then '.join(' '.join(command) for command in chain)
                for cell, chain in self.commands().items()]


def common_flags(table) -> Tuple[tables.Token, ...]:
    """Weakest first: the protocol, --flags, --data, the table's own."""
    protocol: Tuple[tables.Token, ...] = ()
    if FLAGS.protocol:
        named = PROTOCOLS / f'{FLAGS.protocol}.flags'
        protocol = tables.read_flags(named if named.is_file() else FLAGS.protocol)
    return (*protocol, *tables.tokens(FLAGS.flags, '--flags'), *data_flags(FLAGS.data), *table.flags)


def data_flags(data: Optional[str]) -> Tuple[tables.Token, ...]:
    if data is None:
        return ()
    pair = data.split(',')
    if len(pair) > 2 or not all(pair) or len(pair) == 1 and pair[0].split(':')[0] != 'shapes':
        raise InputError(f'--data={data}: expected TRAIN,VAL, for example voc:BCCD:train,voc:BCCD:val, or shapes, '
                         'which brings its own')
    return tuple(tables.Token(f'--{name}={spec}', '--data') for name, spec in zip(('train_data', 'val_data'), pair))


def data_of(cells) -> Tuple[str, str]:
    """Training and validation spec of the first cell; one validation set serves all."""
    train = [flag_set.values.get('train_data') for flag_set in cells.values()]
    held_out = {flag_set.values.get('val_data', flag_set.values.get('train_data')) for flag_set in cells.values()}
    if None in train:
        raise InputError('no data: give --data=TRAIN,VAL, for example --data=voc:BCCD:train,voc:BCCD:val, or '
                         '--data=shapes:200')
    if len(held_out) > 1:
        raise InputError(f'cells are measured on different data, {", ".join(sorted(held_out))}: expected one '
                         '--val_data for all')
    return train[0], held_out.pop()


def default_out(spec) -> str:
    return os.path.join('runs', 'experiments', re.sub(r'[^A-Za-z0-9.+]+', '-', spec).strip('-.'))


def check_shared(parts):
    """Lets the script read the flags of runs that the plan made of others', before anything is trained."""
    questions = []
    for cell, last in parts.items():
        for part in last.chain() if last.needs else []:
            start = [f'--{part.takes}=shared.h5'] if part.takes else []
            what = f'{cell}, split into runs: {part.kind}'
            questions.append(train_flags.Question(what, (), [
                tables.Token(text, what) for text in (*part.given.values(), *start)]))
    if questions:
        train_flags.read(FLAGS.train_script, questions)


def quiet(script, flag_set) -> train_flags.FlagSet:
    """Without an export of every run, where the script can do without."""
    if 'export' in script.names and 'export' not in flag_set.given:
        return flag_set._replace(given={**flag_set.given, 'export': '--noexport'})
    return flag_set


if __name__ == '__main__':
    app.run(main)
