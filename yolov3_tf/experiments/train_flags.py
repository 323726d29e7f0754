"""Reads flag sets as the training script itself reads them, before anything is trained.

The script's flags are defined when it is imported, TensorFlow and all, so that happens in a process of
its own, this file run with -m: it takes flag sets as JSON on stdin and answers in JSON. The runner
stays small, and every unknown flag and every bad value is found before the first step.

A script may have a function ``check_flags()``: it raises InputError where flags that are each right
contradict each other. ``MAY_DIFFER``, if it has it, names flags that do not shape a run's result.
"""
from __future__ import annotations

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from absl import flags
from absl.testing import flagsaver

from yolov3_tf.errors import InputError
from yolov3_tf.experiments.table_file import ROOT, Token

SET_BY_RUNNER = ('name', 'runs_dir', 'seed')
OF_ASYMPTOTIC = ('asymptotic_epochs', 'asymptotic_lr')


class Question(NamedTuple):
    """A flag set to read. name: of it, in messages; common: flags that others have too; own: stronger ones."""
    name: str
    common: Sequence[Token]
    own: Sequence[Token]


class FlagSet(NamedTuple):
    """One flag set as the script reads it.

    given: name -> the argument to type, of each flag that differs from its default; in the script's order.
    values: name -> value as text, of every flag that has one.
    """
    given: dict[str, str]
    values: dict[str, str]


class Script(NamedTuple):
    """names: of its flags. neutral: those of them that do not shape a run's result. sets: one a question."""
    names: tuple[str, ...]
    neutral: tuple[str, ...]
    sets: tuple[FlagSet, ...]


def read(script, questions: Sequence[Question]) -> Script:
    """Reads flag sets as the script would; of two values of a flag the later counts.

    A common flag of the asymptotic stage is dropped from a set without that stage: the protocol serves both.

    Raises:
      InputError: the script does not start, or a flag is unknown, has a bad value or contradicts another.
        Every fault is named, a line each.
    """
    if not pathlib.Path(script).is_file():
        raise InputError(f'{script}: expected the script that trains, got nothing: run from the repository, or '
                         'give --train_script')
    question = json.dumps([(name, list(common), list(own)) for name, common, own in questions])
    paths = [str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])]      # found from any folder
    process = subprocess.run([sys.executable, '-m', __name__, str(script)], input=question, text=True, check=False,
                             capture_output=True, env={**os.environ, 'PYTHONPATH': os.pathsep.join(paths)})
    if process.returncode:
        raise InputError(f'{script} cannot be imported to read its flags:\n{process.stderr.strip()[-2000:]}')
    answer = json.loads(process.stdout.splitlines()[-1])
    if answer['faults']:
        raise InputError('\n'.join(answer['faults']))
    return Script(tuple(answer['names']), tuple(answer['neutral']),
                  tuple(FlagSet(*flag_set) for flag_set in answer['sets']))


def main(script: str, question: list[Any]) -> dict[str, Any]:
    """The other process's side of ``read``: imports the script and answers."""
    module = _import(script)
    names = [flag.name for flag in module.FLAGS.get_key_flags_for_module(module)]
    tokens = dict.fromkeys(tuple(token) for _, common, own in question for token in (*common, *own))
    faults = [fault for token in tokens for fault in _faults(module, *token)]
    sets = []
    for name, common, own in [] if faults else question:
        with flagsaver.flagsaver():
            _parse(module, [*common, *own])
            if not getattr(module.FLAGS, 'asymptotic', None):
                _parse(module, [token for token in common if not _sets(module, token, OF_ASYMPTOTIC)] + own)
            faults += _contradictions(module, name, own)
            sets.append(_read(module))
    return dict(names=names, neutral=list(getattr(module, 'MAY_DIFFER', ())), faults=faults, sets=sets)


def _import(script):
    """The script as a module, as ``python script`` would find what it imports; train.py's own is in the package."""
    if pathlib.Path(script).resolve() == ROOT / 'train.py':
        from yolov3_tf.cli import train
        train.define_flags()
        return train
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    spec = importlib.util.spec_from_file_location('training_script', script)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _parse(module, tokens):
    module.FLAGS.unparse_flags()
    module.FLAGS([module.__name__, *(text for text, _ in tokens)])


def _sets(module, token, names) -> list[str]:
    """Which of these flags a token gives a value."""
    with flagsaver.flagsaver():
        _parse(module, [token])
        return [name for name in names if name in module.FLAGS and module.FLAGS[name].present]


def _faults(module, text, where):
    """A flag by itself, so that a message names the one that is wrong and where it stands."""
    try:
        for name in _sets(module, (text, where), SET_BY_RUNNER):
            yield f'{where}: {text}: the runner gives --{name} itself: leave the flag out'
    except flags.Error as error:
        message = str(error).replace('\n', ' ')
        yield f'{where}: {text}: {message}'


def _contradictions(module, name, own):
    check = getattr(module, 'check_flags', None)
    try:
        if check is not None:
            check()
    except InputError as error:
        yield f'{own[-1][1] if own else name}: {name}: {error}'


def _read(module):
    given, values = {}, {}
    for flag in module.FLAGS.get_key_flags_for_module(module):
        if flag.value is not None:
            values[flag.name] = ','.join(map(str, flag.value)) if isinstance(flag.value, list) else str(flag.value)
            if flag.value != flag.default:
                given[flag.name] = flag.serialize()
    return given, values


if __name__ == '__main__':
    print(json.dumps(main(sys.argv[1], json.load(sys.stdin))))
