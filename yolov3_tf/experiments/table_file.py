"""Table files: the sets of flags to compare, and the paper's result of each.

    [table]
    title = Table I: the box term            the only key of [table] that is required
    question = Does GIoU beat IoU?
    flags = --ignore_thresh=0.5              common to every cell; flags are separated by spaces or lines
    baseline = mse                           every other cell is compared with it (default: the first)
    compare = giou - iou                     or: these pairs instead, one on each line

    [giou]                                   one section for each cell
    flags = --loss=giou
    paper = 83.11                            the paper's AP at IoU .5 in %, if it has one
    note = a line to print below the table
"""
from __future__ import annotations

import configparser
import difflib
import os
import pathlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from yolov3_tf.errors import InputError
from yolov3_tf.training.flag_texts import Token

HERE = pathlib.Path(__file__).resolve().parent
BUILT_IN = {'I': 'table1.ini', 'II': 'table2.ini', 'III': 'table3.ini', 'IV': 'table4.ini'}
HEAD = 'table'
HEAD_KEYS = ('title', 'question', 'flags', 'baseline', 'compare')
CELL_KEYS = ('flags', 'paper', 'note')
CELL_NAME = r'[A-Za-z0-9][A-Za-z0-9._+-]*'      # it becomes part of a folder's name


class Cell(NamedTuple):
    """One set of flags. paper: AP at IoU .5 in %, or None; note: a line to print; where: file:line."""
    name: str
    flags: tuple[Token, ...]
    paper: float | None
    note: str
    where: str


class Table(NamedTuple):
    """name: name of its result files; flags: flags of every cell; comparisons: pairs of names of cells to compare."""
    name: str
    title: str
    question: str
    flags: tuple[Token, ...]
    cells: tuple[Cell, ...]
    comparisons: tuple[tuple[str, str], ...]


def find(name: str, folder: str | os.PathLike = HERE / 'tables') -> pathlib.Path:
    """The file of a built-in table (I to IV, or a name in ``tables``), or the user's own.

    Raises:
      InputError: there is neither.
    """
    named = pathlib.Path(folder) / BUILT_IN.get(name, f'{name}.ini')
    path = named if name in BUILT_IN or named.is_file() else pathlib.Path(name)
    if not path.is_file():
        raise InputError(f'{name}: expected a table, {", ".join(BUILT_IN)} or a file, got '
                         f'{"a folder" if path.is_dir() else f"nothing at {path}"}; see {__name__} for the format')
    return path


def read(path: str | os.PathLike) -> Table:
    """Reads a table file.

    Raises:
      InputError: it is not a table file; the message gives the line and what to write there.
    """
    path = pathlib.Path(path)
    try:
        text = path.read_text(encoding='utf-8-sig')
    except UnicodeDecodeError as error:
        raise InputError(f'{path}: expected UTF-8 text, got other bytes at {error.start}') from error
    return _Reader(path, text).table()


def tokens(text: str, where: str) -> tuple[Token, ...]:
    """The flags of a text, separated by spaces, each with its location.

    Raises:
      InputError: a word is not a flag.
    """
    for word in text.split():
        if not re.match(r'--\w', word):
            raise InputError(f'{where}: expected flags as --name=value or --name, got {word!r}; write the value '
                             'after an = without spaces')
    return tuple(Token(word, where) for word in text.split())


class _Parser(configparser.ConfigParser):
    """Keeps upper and lower case in the names of keys."""

    def optionxform(self, optionstr):
        return optionstr


class _Reader:
    """Reads one file; knows the line of each section and key."""

    def __init__(self, path, text):
        self.path, self.text, self.lines = path, text.splitlines(), _line_numbers(text)
        self.parser = _Parser(interpolation=None, default_section='', delimiters=('=',), comment_prefixes=('#',))
        self._parse(text)

    def table(self) -> Table:
        if HEAD not in self.parser:
            raise InputError(f'{self.path}:1: expected a section [{HEAD}] with a title, got '
                             f'{self._named(self.parser.sections())}')
        self._check_keys(HEAD, HEAD_KEYS)
        head = self.parser[HEAD]
        if not head.get('title', '').strip():
            raise InputError(f'{self.where(HEAD)}: [{HEAD}] needs a line title = ...')
        cells = tuple(self._cell(name) for name in self.parser.sections() if name != HEAD)
        if not cells:
            raise InputError(f'{self.path}: expected a section for every cell, [NAME] and flags = ..., got none')
        return Table(self.path.stem, _one_line(head['title']), _one_line(head.get('question', '')),
                     self._flags(HEAD), cells, self._comparisons([cell.name for cell in cells]))

    def where(self, section, key='') -> str:
        return f'{self.path}:{self.lines.get((section, key), 1)}'

    def _parse(self, text):
        try:
            self.parser.read_string(text, str(self.path))
        except configparser.DuplicateSectionError as error:
            raise InputError(f'{self.path}:{error.lineno}: a second [{error.section}], the first is on line '
                             f'{self.lines[error.section, ""]}: give the cell another name') from error
        except configparser.DuplicateOptionError as error:
            raise InputError(f'{self.path}:{error.lineno}: a second {error.option!r} in [{error.section}]: keep '
                             'one; a value continues on indented lines') from error
        except configparser.MissingSectionHeaderError as error:
            raise InputError(f'{self.path}:{error.lineno}: expected [{HEAD}] or the [name] of a cell first, got '
                             f'{error.line.strip()!r}') from error
        except configparser.ParsingError as error:
            number, line = error.errors[0]
            raise InputError(f'{self.path}:{number}: expected key = value, got {line}') from error

    def _check_keys(self, section, known):
        for key in self.parser[section]:
            if key not in known:
                near = difflib.get_close_matches(key, known, 1)
                raise InputError(f'{self.where(section, key)}: unknown key {key!r} in [{section}]: expected one of '
                                 f'{", ".join(known)}' + (f'; is it {near[0]}?' if near else ''))

    def _cell(self, name) -> Cell:
        if not re.fullmatch(CELL_NAME, name):
            raise InputError(f'{self.where(name)}: expected a cell\'s name of letters, digits and . _ + -, got '
                             f'{name!r}: it becomes part of a folder\'s name')
        self._check_keys(name, CELL_KEYS)
        if 'flags' not in self.parser[name]:
            raise InputError(f'{self.where(name)}: cell {name} needs a line flags = ... (it may be empty)')
        note = _one_line(self.parser[name].get('note', ''))
        return Cell(name, self._flags(name), self._paper(name), note, self.where(name))

    def _flags(self, section) -> tuple[Token, ...]:
        return tuple(token for row, where in self._rows(section, 'flags') for token in tokens(row, where))

    def _rows(self, section, key) -> Iterator[tuple[str, str]]:
        """Yields the lines of a value with their locations. The parser drops comments, so each line is searched for."""
        number = self.lines.get((section, key), 1)
        for row in filter(None, self.parser[section].get(key, '').split('\n')):
            while row not in self.text[number - 1]:
                number += 1
            yield row, f'{self.path}:{number}'

    def _paper(self, name) -> float | None:
        text = self.parser[name].get('paper', '').strip()
        try:
            value = float(text) if text else None
        except ValueError:
            value = -1.
        if value is not None and not 0 <= value <= 100:
            raise InputError(f'{self.where(name, "paper")}: expected the paper\'s AP in %, a number from 0 to 100, '
                             f'got {text!r}')
        return value

    def _comparisons(self, names) -> tuple[tuple[str, str], ...]:
        head = self.parser[HEAD]
        baseline = head.get('baseline', names[0]).strip()
        self._check_cell(baseline, names, self.where(HEAD, 'baseline'))
        if 'compare' not in head:
            return tuple((name, baseline) for name in names if name != baseline)
        return tuple(self._pair(row, names, where) for row, where in self._rows(HEAD, 'compare'))

    def _pair(self, row, names, where) -> tuple[str, str]:
        pair = re.split(r'\s+-\s+', row.strip())
        if len(pair) != 2:
            raise InputError(f'{where}: expected two cells as A - B, with spaces around the -, got {row.strip()!r}')
        for name in pair:
            self._check_cell(name, names, where)
        if pair[0] == pair[1]:
            raise InputError(f'{where}: expected two different cells, got {row.strip()!r}')
        return pair[0], pair[1]

    def _check_cell(self, name, names, where):
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            raise InputError(f'{where}: there is no cell {name!r}: expected one of {", ".join(names)}'
                             + (f'; is it {near[0]}?' if near else ''))

    def _named(self, sections: Sequence[str]) -> str:
        return ', '.join(f'[{name}]' for name in sections) if sections else 'no section at all'


def _line_numbers(text) -> dict[tuple[str, str], int]:
    """(section, key) -> number of its first line, from 1; the line of the section itself has the key ''."""
    lines: dict[tuple[str, str], int] = {}
    section = ''
    for number, line in enumerate(text.splitlines(), start=1):
        head, key = re.match(r'\[(.+)\]', line), re.match(r'([^\s#=\[][^=]*?)\s*=', line)
        if head:
            section = head.group(1)
            lines.setdefault((section, ''), number)
        elif key:
            lines.setdefault((section, key.group(1)), number)
    return lines


def _one_line(text) -> str:
    return ' '.join(text.split())
