"""The start of every program: a table of commands; a mistake of the user gives one line and exit status 2.

A command is a module of this package: a docstring with its usage, ``define_flags(values)``, and
``run(arguments, options) -> int``, given the words that are no flags and the values of the flags. It may have
``ARGUMENTS``, the name of these words in the help, ``MAIN_FLAGS``, the flags of the short help, and ``ANSWERS``, what
to say to a flag that it does not have.
"""
from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Callable, NamedTuple

from absl import app, flags, logging

from yolov3_tf.cli import help_text, startup_lines, terminal
from yolov3_tf.errors import InputError


class Command(NamedTuple):
    """module: its name in this package. summary: one line of help."""
    module: str
    summary: str


COMMANDS = {
    'train': Command('train', 'train a detector, evaluate it and export it'),
    'evaluate': Command('evaluate', 'evaluate a detector, or result files, on annotated images'),
    'report': Command('report', 'write the page of a run, or of any detector\'s results'),
    'detect': Command('detect', 'detect objects in images, videos or a camera'),
    'export': Command('export', 'export to SavedModel, TensorFlow Lite, ONNX or darknet files'),
    'convert': Command('convert', 'convert weights between darknet and Keras, both ways'),
    'data': Command('data', 'fetch a published data set or weights by name'),
    'check': Command('check', 'find what is wrong with a data set'),
    'anchors': Command('anchors', 'find anchors for a data set'),
    'contact-sheet': Command('contact_sheet', 'draw what the network sees of a data set'),
    'shards': Command('shards', 'write a data set as TFRecord shards'),
    'figures': Command('figures', 'draw the paper\'s figures'),
    'experiments': Command('experiments', 'run the paper\'s tables, or one of your own'),
    'tune': Command('tune', 'search better values of a recipe\'s settings'),
    'voc-annotations': Command('voc_annotations', 'turn a VOCdevkit into checked annotation lists'),
}
# Name of a flag in earlier versions or other programs -> its names here; the first that a command has is suggested.
RENAMED = {
    'nms_threshold': ('iou_threshold',), 'nms_thresh': ('iou_threshold',), 'threshold': ('score_threshold',),
    'conf': ('score_threshold',), 'checkpoint': ('model',), 'weights': ('model',), 'size': ('image_size',),
    'imgsz': ('image_size',), 'out': ('output',), 'batch': ('batch_size',), 'count': ('images',),
}
CLOSE = .75         # similarity from which another flag is suggested for an unknown one


def main(name: str | None = None):
    """Runs a command with the arguments of the process; if ``name`` is None, the first argument is the command."""
    arguments = sys.argv[1:]
    terminal.protect()
    if name is None:
        if not arguments or arguments[0] == 'help' or (arguments[0] not in COMMANDS and help_text.asked(arguments)):
            print(help_text.version() if help_text.asked(arguments) == 'version' else
                  help_text.commands({name: command.summary for name, command in COMMANDS.items()}))
            sys.exit(0)
        name, *arguments = arguments
        if name not in COMMANDS:
            near = difflib.get_close_matches(name.replace('_', '-'), COMMANDS, 1)
            sys.exit(_refuse(f'unknown command {name!r}: ' + (f'the nearest is {near[0]}' if near else
                                                              f'expected one of {", ".join(COMMANDS)}')))
    startup_lines.hide()
    start(name, importlib.import_module(f'yolov3_tf.cli.{COMMANDS[name].module}'), arguments)


def start(name: str, module: ModuleType, arguments: Sequence[str]):
    """Defines the flags of a command, reads them and runs it; ends the process with its exit status."""
    others = set(flags.FLAGS)
    module.define_flags()
    own = [flag for flag in flags.FLAGS if flag not in others]
    wanted = help_text.asked(arguments)
    if wanted:
        print(help_text.version() if wanted == 'version' else
              help_text.command(name, module, [flags.FLAGS[flag] for flag in own], wanted == 'full'))
        sys.exit(0)

    def parse(argv):
        try:
            return flags.FLAGS(argv)
        except flags.UnrecognizedFlagError as error:
            sys.exit(_refuse(_unknown(error.flagname, module, own)))
        except flags.Error as error:
            sys.exit(_refuse(str(error).replace('flag --', '--', 1)))

    def run(argv):
        if not flags.FLAGS['verbosity'].present:
            logging.set_verbosity(logging.WARNING)
        return exit_code(lambda: module.run(argv[1:], flags.FLAGS))

    app.run(run, [name, *arguments], flags_parser=parse)


def exit_code(run: Callable[[], int | None]) -> int:
    """Runs a program; an error that the user must correct becomes one line on stderr instead of a traceback.

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


def _unknown(name, module, own) -> str:
    """The message for a flag that the command does not have."""
    answers = getattr(module, 'ANSWERS', {})
    if name in answers:
        return f'--{name}: {answers[name]}'
    new = next((one for one in RENAMED.get(name, ()) if one in own), None)
    if new:
        return f'--{name}: it is --{new} now'
    near = difflib.get_close_matches(name, own, 1, CLOSE)
    return f'unknown flag --{name}' + (f': the nearest is --{near[0]}' if near else '')


def _refuse(error) -> int:
    text = ' '.join(str(error).split())
    print(f'error: {text} (--help lists the flags)', file=sys.stderr)
    return 2
