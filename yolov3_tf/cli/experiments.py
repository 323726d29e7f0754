r"""Trains and compares a table of experiments: cells x seeds, with error bars.

  yolov3-tf experiments II --data=voc:BCCD:train,voc:BCCD:val \
      --protocol=bccd --seeds=5

TABLE is I, II, III or IV (the paper's), or a file of your own (see yolov3_tf/experiments/table_file.py, and
yolov3_tf/experiments/tables/ for examples). Stages that several runs share are trained once. The same command
continues where it was stopped, even by a kill; a finished run is never trained again, also if it was made for another
table. The folder --output has the run folders, TABLE.md, TABLE.csv, TABLE.png and TABLE-times.csv.

Exit code: 0; 1 when a run failed (its cell is '-'); 2 when the input cannot be used; 130 when stopped.
"""
from __future__ import annotations

from absl import flags

from yolov3_tf.errors import InputError
from yolov3_tf.experiments import experiment, runner, table_file
from yolov3_tf.training import flag_texts

ARGUMENTS = 'TABLE'
PROTOCOLS = table_file.HERE / 'protocols'


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    protocols = ', '.join(sorted(path.stem for path in PROTOCOLS.glob('*.flags')))
    flags.DEFINE_string('data', None, 'Images to train on and to validate on, TRAIN,VAL as train takes them '
                        '(voc:BCCD:train,voc:BCCD:val); shapes, or a folder with parts, has both. '
                        'Default: those of --protocol.',
                        flag_values=values)
    flags.DEFINE_integer('seeds', 3, 'Runs of every cell, with seeds from 0 on.', flag_values=values)
    flags.DEFINE_string('protocol', None, 'File of flags of train common to every cell (size, epochs ...), or one of '
                        f'{protocols}, or a recipe of train such as fast.', flag_values=values)
    flags.DEFINE_string('flags', '', 'More flags common to every cell, separated by spaces; they override --protocol.',
                        flag_values=values)
    flags.DEFINE_string('output', None, 'Folder of the runs and tables (default: runs/experiments/DATA).',
                        flag_values=values)
    flags.DEFINE_bool('dry_run', False, 'Print the runs, their shared stages and their costs, and train nothing.',
                      flag_values=values)
    flags.DEFINE_bool('table_only', False, 'Write the table from the finished runs, and train nothing.',
                      flag_values=values)
    flags.DEFINE_integer('resamples', 2000, 'Resamples of the validation images, for the intervals.', lower_bound=100,
                         flag_values=values)
    flags.DEFINE_string('train_script', None, 'A script that replaces train, for tests.', flag_values=values)


def run(arguments: list[str], options: flags.FlagValues) -> int:
    """Plans the table, and unless the flags say otherwise trains its runs and writes it; returns the exit status."""
    if len(arguments) != 1:
        raise InputError(f'expected one table, {", ".join(table_file.BUILT_IN)} or a file, got '
                         f'{" ".join(arguments) or "none"}: yolov3-tf experiments TABLE --data=TRAIN,VAL')
    table = table_file.read(table_file.find(arguments[0]))
    planned = experiment.Experiment(table, common_flags(options), options.seeds, options.output, options.train_script,
                                    options.resamples)
    planned.warn()
    if options.dry_run:
        print(planned.describe())
        return 0
    if options.table_only:
        planned.write()
        return 0
    with runner.only_one(planned.out):
        return planned.run()


def common_flags(options: flags.FlagValues) -> tuple[flag_texts.Token, ...]:
    """The flags of every cell; later ones override earlier ones: the protocol, --flags, --data."""
    protocol: tuple[flag_texts.Token, ...] = ()
    if options.protocol:
        named = [folder / f'{options.protocol}.flags' for folder in (PROTOCOLS, flag_texts.RECIPES)]
        protocol = flag_texts.read_file(next((path for path in named if path.is_file()), options.protocol))
    return (*protocol, *table_file.tokens(options.flags, '--flags'), *experiment.data_flags(options.data))
