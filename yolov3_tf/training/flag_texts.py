"""Settings as texts: ``--name=value`` of command lines, tables and files, and back.

A file of flags has one flag on each line, and lines of comments that begin with ``#`` or ``//``. Such files are
run.flags of a run, the recipes in ``recipes/`` and the protocols of ``experiments``.
"""
from __future__ import annotations

import difflib
import os
import pathlib
import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from yolov3_tf.errors import InputError
from yolov3_tf.training import recipe as recipes
from yolov3_tf.training.recipe import Recipe

RECIPES = pathlib.Path(__file__).resolve().parent / 'recipes'
# Names of settings before version 0.2, as in run.flags of older runs.
OLD_NAMES = {'stage1_epochs': 'head_epochs', 'stage1_lr': 'head_lr', 'stage2_epochs': 'full_epochs',
             'stage2_lr': 'full_lr'}
TRUE, FALSE = ('true', 't', '1'), ('false', 'f', '0')


class Token(NamedTuple):
    """One flag as written, ``--name=value`` or ``--name``, and where it is from (file:line, or a flag)."""
    text: str
    where: str


def value_of(name: str, text: str) -> Any:
    """The value of a setting from its text; items of lists are separated by commas.

    Raises:
      InputError: the text cannot be read; the message gives what was expected, but not the name of the setting.
    """
    wanted, several, _ = recipes.kind(name)
    parts = [part.strip() for part in text.split(',')] if several else [text]
    if several and not text:
        return ()
    try:
        values = tuple(_boolean(part) if wanted is bool else wanted(part) for part in parts)
    except ValueError:
        expected = (f'{recipes.SEVERAL_IN_WORDS[wanted]} separated by commas' if several
                    else recipes.IN_WORDS[wanted])
        raise InputError(f'expected {expected}, got {text!r}') from None
    return values if several else values[0]


def _boolean(text):
    if text.lower() not in (*TRUE, *FALSE):
        raise ValueError(text)
    return text.lower() in TRUE


def text_of(value: Any) -> str:
    """The text that ``value_of`` reads back. Numbers in lists have one form: 1e-3 is written as 0.001."""
    if isinstance(value, tuple):
        return ','.join(one if isinstance(one, str) else f'{one:.9g}' for one in value)
    return str(value)


def texts_of(recipe: Recipe) -> dict[str, str]:
    """Setting -> text, for every setting that is not None: the content of run.flags."""
    return {name: text_of(value) for name, value in recipe._asdict().items() if value is not None}


def arguments_of(recipe: Recipe) -> dict[str, str]:
    """Setting -> its flag as it is typed, for every setting that differs from its default."""
    return {name: _argument(name, getattr(recipe, name)) for name in Recipe._fields
            if getattr(recipe, name) not in (None, getattr(recipes.DEFAULTS, name))}


def _argument(name, value):
    if isinstance(value, bool):
        return f'--{name}' if value else f'--no{name}'
    return f'--{name}={text_of(value)}'


def read_token(token: Token) -> tuple[str, Any]:
    """Name and value of one flag; ``--name`` and ``--noname`` set a boolean.

    Raises:
      InputError: the name is unknown or the value cannot be read; the message says where.
    """
    name, equals, text = token.text[2:].partition('=')
    name = OLD_NAMES.get(name, name)
    if not equals and name.startswith('no') and name not in Recipe._fields:
        name, equals, text = name[2:], '=', 'false'
    if name not in Recipe._fields:
        near = difflib.get_close_matches(token.text[2:].partition('=')[0], Recipe._fields, 3)
        raise InputError(f'{token.where}: {token.text}: unknown flag'
                         + (f'; is it --{" or --".join(near)}?' if near else ' of train'))
    if not equals and recipes.kind(name).type is bool:
        text = 'true'
    elif not equals:
        raise InputError(f'{token.where}: {token.text}: expected a value, --{name}=...')
    try:
        return name, value_of(name, text)
    except InputError as error:
        raise InputError(f'{token.where}: {token.text}: {error}') from None


def settings_of(tokens: Iterable[Token]) -> dict[str, Any]:
    """Setting -> value of several flags; the last flag of a setting is taken.

    Raises:
      InputError: see ``read_token``.
    """
    return dict(read_token(token) for token in tokens)


def read_file(path: str | os.PathLike) -> tuple[Token, ...]:
    """Reads the flags of a file.

    Raises:
      InputError: there is no such file, or a line is not a flag.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f'{path}: expected a file of flags, got {"a folder" if path.exists() else "nothing"}')
    found: list[Token] = []
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), start=1):
        line = line.strip()
        if line and not line.startswith(('#', '//')):
            if not re.match(r'--\w', line):
                raise InputError(f'{path}:{number}: expected a flag as --name=value or --name, got {line!r}')
            found.append(Token(line, f'{path}:{number}'))
    return tuple(found)


def read_values(path: str | os.PathLike) -> dict[str, str]:
    """Setting -> text of a run.flags, under the current names; empty if there is no such file."""
    path = pathlib.Path(path)
    lines = path.read_text(encoding='utf-8').splitlines() if path.is_file() else []
    pairs = (line[2:].partition('=')[::2] for line in lines if line.startswith('--'))
    return {OLD_NAMES.get(name, name): text for name, text in pairs}


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in RECIPES.glob('*.flags'))


def read_recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe by its name, or of a file of flags by its path.

    Raises:
      InputError: there is no such recipe (the message lists all), or a line cannot be read.
    """
    named = RECIPES / f'{name}.flags'
    path = named if named.is_file() and re.fullmatch(r'\w+', name) else pathlib.Path(name)
    if not path.is_file():
        raise InputError(f'--recipe={name}: expected {", ".join(recipe_names())} or a file of flags, got '
                         f'{"a folder" if path.is_dir() else f"nothing at {path}"}')
    return settings_of(read_file(path))
