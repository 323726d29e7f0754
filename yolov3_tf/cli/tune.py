r"""Searches better values of a recipe's continuous settings: rates, weights of the loss, thresholds, decays.

  yolov3-tf tune --recipe=bccd --budget=240 --flags=--full_epochs=8,3

A genetic search: the first candidate is the recipe unchanged, every later one a mutated child of one of the best.
Each is a training of its own, as long as the recipe says, so shorten it by --flags. The same command continues where
it was stopped, even by a kill. The folder --output has results.jsonl, the runs, and best.flags, a recipe:
yolov3-tf train --recipe=FOLDER/best.flags

Exit code: 0; 1 when the search cannot go on; 2 when the input cannot be used; 130 when stopped.
"""
from __future__ import annotations

import os
import pathlib
import shlex
import sys

from absl import flags

from yolov3_tf.cli import startup_lines
from yolov3_tf.errors import InputError
from yolov3_tf.experiments import cells, experiment, runner, table_file, tuning, tuning_genes, tuning_runs
from yolov3_tf.progress import clock
from yolov3_tf.training import flag_texts
from yolov3_tf.training.recipe import Recipe

TYPED = ('recipe', 'data', 'flags', 'settings', 'score', 'budget', 'candidates', 'seed', 'output')


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    flags.DEFINE_string('recipe', None, f'The recipe to start from: {", ".join(flag_texts.recipe_names())} or the path '
                        'of one.',
                        flag_values=values)
    flags.DEFINE_float('budget', None, 'Minutes of training, of all candidates together. Earlier starts of the same '
                       'command count too.', flag_values=values)
    flags.DEFINE_string('data', None, 'Images to train and to validate on, TRAIN,VAL. As train takes them '
                        '(voc:BCCD:train,voc:BCCD:val); shapes, or a folder with parts, has both. '
                        'Default: those of --recipe.',
                        flag_values=values)
    flags.DEFINE_string('flags', '', 'Flags of train that override the recipe\'s. They are separated by spaces.',
                        flag_values=values)
    flags.DEFINE_list('settings', [], 'Settings to search (default: all that the recipe uses). Out of '
                      f'{", ".join(tuning_genes.NAMES)}.', flag_values=values)
    flags.DEFINE_enum('score', 'mAP', list(tuning_runs.SCORES), 'Score to search by: mAP at IoU .5, or COCO\'s AP.',
                      flag_values=values)
    flags.DEFINE_integer('candidates', None, 'Most candidates (default: what the budget has time for).',
                         lower_bound=1, flag_values=values)
    flags.DEFINE_integer('seed', 0, 'Seed of the search. The seed of the trainings is that of the recipe.',
                         lower_bound=0, flag_values=values)
    flags.DEFINE_string('output', None, 'Folder of the search (default: runs/tune/RECIPE).', flag_values=values)
    flags.DEFINE_string('train_script', None, 'A script that replaces train, for tests.', flag_values=values)


def run(arguments: list[str], options: flags.FlagValues) -> int:
    """Searches, prints the best candidates and writes best.flags; returns the exit status."""
    if arguments:
        raise InputError(f'unexpected argument {arguments[0]!r}: expected flags only, '
                         'yolov3-tf tune --recipe=NAME --budget=MINUTES')
    if not options.recipe:
        raise InputError('expected --recipe=NAME, the recipe to start from')
    if options.budget is None or not 0 < options.budget < float('inf'):
        raise InputError(f'--budget={options.budget}: expected the minutes that the search may take, more than 0')
    more = (*table_file.tokens(options.flags, '--flags'), *experiment.data_flags(options.data))
    recipe = tuning_runs.recipe_of(options.recipe, more)
    genes = cells.elsewhere(genes_of, recipe, options.settings)
    name = pathlib.Path(options.recipe).stem
    out = pathlib.Path(os.path.normpath(options.output or os.path.join('runs', 'tune', name)))
    search = tuning.Search(out, recipe, genes, options.seed, options.score, command(options))
    with runner.only_one(out):
        print(describe(search, options.budget))
        return _search(search, tuning_runs.Trainings(out, options.score, options.train_script), options)


def genes_of(recipe: Recipe, asked: list[str]) -> tuning_genes.Genes:
    """``tuning_genes.of_recipe``, for another process: this one waits for hours and should need little memory."""
    startup_lines.hide()
    return tuning_genes.of_recipe(recipe, asked)


def _search(search, trainings, options) -> int:
    status = 0
    try:
        why = search.run(trainings.train, 60 * options.budget, options.candidates)
    except tuning.OutOfTime:
        status = 0 if search.results else 1
        why = (f'the budget of {clock(60 * options.budget)} ended in the middle of candidate {len(search.results)}; '
               'with a larger one the same command goes on')
    except runner.Stopped:
        status, why = 130, 'stopped; the same command goes on from there'
    except tuning_runs.TrainingFailed as failure:
        status, why = 1, f'{failure}. The same command tries it again'
    print(tuning.wrapped(why), file=sys.stderr if status == 1 else sys.stdout, flush=True)
    if search.results:
        print(f'\n{search.table()}\n\nwritten: {search.write_best()}')
    return status


def describe(search: tuning.Search, budget: float) -> str:
    """What is searched, a line for each setting, and what is not."""
    genes = search.genes
    width = max(map(len, genes.genes))
    lines = [tuning.wrapped(f'{_count(len(genes.genes), "setting")} by {search.measure}, seed {search.seed}, '
                            f'{clock(60 * budget)} of training, in {search.out}')]
    lines += [f'  {name:{width}}  {genes.start[name]:<8.6g} from {gene.lowest:g} to {gene.highest:g}'
              for name, gene in genes.genes.items()]
    if genes.left_out:
        lines.append(tuning.wrapped('not searched: ' + ', '.join(
            f'{name} ({why})' for name, why in genes.left_out.items())))
    if search.results:
        lines.append(f'{_count(len(search.results), "candidate")} finished before')
    return '\n'.join(lines)


def _count(number, what) -> str:
    return f'{number} {what}' + ('' if number == 1 else 's')


def command(options: flags.FlagValues) -> str:
    """The command as it was typed, for best.flags."""
    given = [name for name in TYPED if options[name].present]
    return shlex.join(['yolov3-tf', 'tune', *(f'--{name}={_text(options[name].value)}' for name in given)])


def _text(value) -> str:
    return ','.join(value) if isinstance(value, list) else f'{value:g}' if isinstance(value, float) else str(value)
