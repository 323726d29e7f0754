"""How every program starts: one table of commands; the user's mistakes are one line and exit status 2."""
from __future__ import annotations

import importlib
import os
import sys
from typing import Callable, NamedTuple

from absl import app, flags

from yolov3_tf.errors import InputError


class Command(NamedTuple):
    """module: of this package. summary: one line of help."""
    module: str
    summary: str


COMMANDS = {
    'train': Command('train', 'train a detector, evaluate it and export it'),
    'evaluate': Command('evaluate', 'evaluate a detector, or result files, on annotated images'),
    'detect': Command('detect', 'detect objects in images, videos or a camera'),
    'export': Command('export', 'write a checkpoint as SavedModel, TensorFlow Lite, ONNX or darknet files'),
    'convert': Command('convert', 'convert weights between darknet and Keras, both ways'),
    'check': Command('check', 'find what is wrong with a data set'),
    'anchors': Command('anchors', 'find anchors for a data set'),
    'contact-sheet': Command('contact_sheet', 'draw what the network sees of a data set'),
    'shards': Command('shards', 'write a data set as TFRecord shards'),
    'figures': Command('figures', 'draw the paper\'s figures'),
    'experiments': Command('experiments', 'run the paper\'s tables, or one of your own'),
    'voc-annotations': Command('voc_annotations', 'turn a VOCdevkit into checked annotation lists'),
}


def main(name: str | None = None):
    """Runs a command with the arguments of the process; ``name`` None: the first argument is the command."""
    if name is None:
        if len(sys.argv) < 2 or sys.argv[1] in ('-h', '--help', 'help'):
            print(usage())
            sys.exit(0)
        name = sys.argv.pop(1)
        if name not in COMMANDS:
            sys.exit(_refuse(f'unknown command {name!r}: expected one of {", ".join(COMMANDS)}'))
        sys.argv[0] = f'{os.path.basename(sys.argv[0])} {name}'
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
    module = importlib.import_module(f'yolov3_tf.cli.{COMMANDS[name].module}')
    if hasattr(module, 'define_flags'):
        module.define_flags()
    start(module.main)


def usage() -> str:
    """The commands, a line each."""
    width = max(map(len, COMMANDS))
    lines = [f'  {name:{width}}  {command.summary}' for name, command in COMMANDS.items()]
    return '\n'.join(['usage: yolov3-tf COMMAND [--flag=value ...]', '', *lines, '',
                      'yolov3-tf COMMAND --help lists the flags of a command.'])


def start(run: Callable):
    """``absl.app.run`` with the user's mistakes told in one line: unknown flags, values out of range, stray words."""
    def told(argv):
        try:
            return run(argv)
        except app.UsageError as error:
            return _refuse(error)

    app.run(told, flags_parser=_parse)


def _parse(argv):
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        sys.exit(_refuse(error))


def _refuse(error) -> int:
    text = ' '.join(str(error).split())
    print(f'error: {text} (--help lists the flags)', file=sys.stderr)
    return 2


def exit_code(run: Callable[[], int | None]) -> int:
    """Runs a script's work; what the user must mend becomes one line on stderr instead of a traceback.

    Returns:
      What ``run`` returns (None counts as 0), 2 after an InputError or OSError, 130 after Ctrl-C.
    """
    try:
        return run() or 0
    except InputError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    except OSError as error:
        where = f'{error.filename}: ' if error.filename else ''
        print(f'error: {where}{error.strerror or error}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print('stopped', file=sys.stderr)
        return 130
