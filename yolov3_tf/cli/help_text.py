"""The texts of ``--help``, ``--helpfull`` and ``--version``: the docstring of a module and its flags."""
from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from types import ModuleType

from absl import flags

ASKED = {'--help': 'short', '-help': 'short', '-h': 'short', '--helpshort': 'short', '-?': 'short',
         '--helpfull': 'full', '-helpfull': 'full', '--version': 'version', '-version': 'version'}
WIDEST = 100            # most columns of a line, also in a wider terminal
LONGEST_NAME = 26       # most characters of --name=default in the short help; a longer default is left out


def asked(arguments: Sequence[str]) -> str:
    """'short', 'full' or 'version' if one of the arguments asks for it, else ''."""
    before = arguments[:arguments.index('--')] if '--' in arguments else arguments
    return next((ASKED[argument] for argument in before if argument in ASKED), '')


def version() -> str:
    """The line of --version."""
    package = __name__.partition('.')[0]
    return f'{package} {sys.modules[package].__version__}'


def commands(summaries: Mapping[str, str]) -> str:
    """The help of the program itself; ``summaries``: a line for each command."""
    width = max(map(len, summaries))
    lines = [f'  {name:{width}}  {summary}' for name, summary in summaries.items()]
    return '\n'.join(['usage: yolov3-tf COMMAND [--flag=value ...]', '', *lines, '',
                      'COMMAND --help lists the flags of a command, --version prints the version.'])


def command(name: str, module: ModuleType, own: Sequence[flags.Flag], full: bool) -> str:
    """The help of a command.

    Args:
      name: of the command.
      module: its docstring describes the command; ``ARGUMENTS``, if it has them, are the words beside the flags,
        and ``MAIN_FLAGS`` the flags of the short help.
      own: its flags, in order.
      full: every flag with its whole text, instead of one line for each main flag.
    """
    width = min(shutil.get_terminal_size().columns, WIDEST) - 1
    main = () if full else getattr(module, 'MAIN_FLAGS', ())
    chosen = [flag for flag in own if not main or flag.name in main]
    words = [name, getattr(module, 'ARGUMENTS', ''), '[--flag=value ...]']
    usage = ' '.join(['usage: yolov3-tf', *filter(None, words)])
    lines = [usage, '', *_reflowed(module.__doc__ or '', width), '']
    if full:
        lines += [line for flag in chosen for line in _whole(flag, width)]
    else:
        lines += _one_line_each(chosen, width)
        lines += ['', f'--helpfull for all {len(own)} flags, with more about each' if len(chosen) < len(own) else
                      '--helpfull for more about each flag']
    return '\n'.join(lines)


def _reflowed(text, width):
    """Wraps paragraphs at the width; indented lines, the examples, do not change."""
    paragraphs: list[list[str]] = [[]]
    for line in textwrap.dedent(text).strip().splitlines():
        if line.startswith(' '):
            paragraphs += [[line], []]
        elif line:
            paragraphs[-1].append(line)
        else:
            paragraphs += [[''], []]
    for lines in filter(None, paragraphs):
        yield from lines if lines[0][:1] in ('', ' ') else textwrap.wrap(' '.join(lines), width)


def _one_line_each(chosen, width):
    names = [_name(flag) for flag in chosen]
    column = max(map(len, names), default=0)
    for flag, name in zip(chosen, names):
        sentence = _text(flag).partition('. ')[0].rstrip('.')
        yield f'  {name:{column}}  {textwrap.shorten(sentence, max(width - column - 4, 20), placeholder=" ...")}'


def _text(flag):
    """The help text as it was written; absl puts the values of an enum before it."""
    return re.sub(r'^<[^>]*>: ', '', ' '.join((flag.help or '').split()))


def _name(flag, longest=LONGEST_NAME):
    """``--name=default`` as it is typed; ``--[no]name`` for a boolean flag."""
    if flag.boolean:
        return f'--[no]{flag.name}'
    value = ','.join(map(str, flag.value)) if isinstance(flag.value, (list, tuple)) else flag.value
    name = f'--{flag.name}={value}'
    return name if value not in (None, '') and len(name) <= longest else f'--{flag.name}=...'


def _whole(flag, width):
    yield f'  {_name(flag, 200)}'
    text = _text(flag)
    choices = getattr(flag.parser, 'enum_values', None)
    if choices:
        text += f' One of: {", ".join(choices)}.'
    if flag.boolean:
        text += f' Default: {"yes" if flag.value else "no"}.'
    yield from textwrap.wrap(text, width, initial_indent=' ' * 6, subsequent_indent=' ' * 6)
