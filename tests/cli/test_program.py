"""A mistyped command gives one line and status 2, whether absl or the program finds it; help fits a screen."""
import importlib
import os
import pathlib
import re
import subprocess
import sys

import pytest
from absl import flags

from yolov3_tf.cli import help_text, program

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = """
import sys, types
from absl import flags
from yolov3_tf.cli import program
from yolov3_tf.errors import InputError

def define_flags():
    flags.DEFINE_integer('images', 1, 'How many images. No more than there are.', lower_bound=1)
    flags.DEFINE_enum('kind', 'a', ['a', 'b'], 'Which kind.')
    flags.DEFINE_string('model', None, 'The model.')
    flags.DEFINE_bool('epochs_between_eval', True, 'Rarely used.')

def run(arguments, options):
    if arguments:
        raise InputError(f'unexpected argument {arguments[0]!r}')
    if options.model == 'absent':
        open('absent')
    if options.model == 'stop':
        raise KeyboardInterrupt
    print('ran', options.images)
    return 5

command = types.ModuleType('command', 'Does a thing.\\n\\n  an example\\n')
command.define_flags, command.run, command.MAIN_FLAGS, command.ARGUMENTS = define_flags, run, ('images', 'kind'), 'SPEC'
command.ANSWERS = {'epochs': 'there are none here'}
program.start('command', command, sys.argv[1:])
"""


def start(*arguments, program=('-c', SCRIPT), **environment):
    paths = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    return subprocess.run([sys.executable, *program, *arguments], capture_output=True, text=True, check=False,
                          env={**os.environ, 'PYTHONPATH': paths, 'COLUMNS': '80', **environment})


@pytest.mark.parametrize('argument, status, expected', [
    ('--images=3', 5, 'ran 3'), ('--imagse=3', 2, 'unknown flag --imagse: the nearest is --images'),
    ('--images=0', 2, 'images=0'), ('--kind=c', 2, 'should be one of <a|b>'), ('--flagfile=nowhere', 2, 'nowhere'),
    ('word', 2, "'word'"), ('--model=absent', 2, 'absent: No such file'), ('--model=stop', 130, 'stopped'),
    ('--weights=x', 2, '--weights: it is --model now'), ('--checkpoint', 2, '--checkpoint: it is --model now'),
    ('--count=3', 2, '--count: it is --images now'), ('--size=3', 2, 'unknown flag --size (--help'),
    ('--epochs=3', 2, '--epochs: there are none here'), ('--epoch=3', 2, 'unknown flag --epoch (--help')])
def test_one_line_and_a_status(argument, status, expected):
    run = start(argument)
    assert run.returncode == status
    shown = run.stdout if status == 5 else run.stderr
    assert expected in shown and len(shown.splitlines()) == 1, shown
    assert status != 2 or shown.startswith('error: ')


def test_help_of_a_command():
    run = start('--model=x', '--help')
    assert run.returncode == 0 and run.stdout.splitlines() == [
        'usage: yolov3-tf command SPEC [--flag=value ...]', '', 'Does a thing.', '', '  an example', '',
        '  --images=1  How many images', '  --kind=a    Which kind', '',
        '--helpfull for all 4 flags, with more about each']
    full = start('--helpfull').stdout
    for part in ('How many images. No more than there are.', 'Which kind. One of: a, b.', '--model=...',
                 '  --[no]epochs_between_eval\n      Rarely used. Default: yes.'):
        assert part in full
    assert '--logtostderr' not in full
    assert start('--', '--help').returncode == 2        # a word, not a flag


@pytest.mark.parametrize('arguments, status, expected', [
    ([], 0, 'voc-annotations'), (['--help'], 0, 'find anchors for a data set'),
    (['help'], 0, 'usage: yolov3-tf COMMAND'), (['--version'], 0, 'yolov3_tf '),
    (['chekc'], 2, "unknown command 'chekc': the nearest is check"),
    (['voc_annotations'], 2, 'the nearest is voc-annotations'), (['frobnicate'], 2, 'expected one of train, evaluate')])
def test_the_program_without_a_command(arguments, status, expected):
    run = start(*arguments, program=('-m', 'yolov3_tf'))
    assert run.returncode == status and expected in (run.stderr if status else run.stdout)
    assert max(map(len, run.stdout.splitlines()), default=0) <= 80 and run.stderr.count('\n') == bool(status)


@pytest.mark.parametrize('name', program.COMMANDS)
def test_help_fits_a_screen_and_every_flag_has_a_sentence(name, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    module = importlib.import_module(f'yolov3_tf.cli.{program.COMMANDS[name].module}')
    values = flags.FlagValues()
    module.define_flags(values)
    own = [values[flag] for flag in values]
    short, full = (help_text.command(name, module, own, full).splitlines() for full in (False, True))
    assert len(short) <= 40 and max(map(len, short)) <= 80, '\n'.join(short)
    assert not [line for line in short if line.endswith(' ...') and line.count(' ...') > 1]
    assert set(getattr(module, 'MAIN_FLAGS', ())) <= set(values)
    for flag in own:
        assert any(line.startswith((f'  --{flag.name}=', f'  --[no]{flag.name}')) for line in full), flag.name
        assert flag.help.rstrip().endswith(('.', '...')), f'--{flag.name}: {flag.help}'
    assert f'yolov3-tf {name}' in module.__doc__ or f'python {name}.py' in module.__doc__
    assert not set(values) & {'nms_threshold', 'threshold', 'checkpoint', 'weights', 'size', 'out'}


@pytest.mark.parametrize('name', program.COMMANDS)
def test_answers_are_to_flags_that_the_command_lacks_and_name_some_that_there_are(name):
    module = importlib.import_module(f'yolov3_tf.cli.{program.COMMANDS[name].module}')
    values = flags.FlagValues()
    module.define_flags(values)
    for typed, answer in getattr(module, 'ANSWERS', {}).items():
        assert typed not in values and not answer.startswith('--')      # the program puts what was typed before it
        named = re.findall(r'--(\w+)', answer)
        assert all(one in values for one in named) or 'export it with' in answer, answer
