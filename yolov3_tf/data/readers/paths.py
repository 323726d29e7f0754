"""Finds the file that an annotation file names, although it was written on another machine.

A path is tried as it is written first. Only where nothing is there is it repaired: backslashes and drive letters
(Windows), the absolute path of another machine, a first folder that does not exist here (CVAT's ``data/``), ``%20`` for
a blank, quotes around it, and letter case or accents that another file system does not tell apart. Of a path's ends the
longest that exists is taken, so ``C:\\set\\images\\a.jpg`` is ``images/a.jpg`` where both that and ``a.jpg`` are here.
"""
from __future__ import annotations

import collections
import os
import re
import unicodedata
import urllib.parse
from collections.abc import Iterator
from typing import Callable

_DRIVE = re.compile(r'[A-Za-z][A-Za-z0-9+.-]+://[^/]*|[A-Za-z]:')        # or the host of a URL
LONGEST = 4096          # characters of a path; longer ones are no paths


class Finder:
    """Finds files, and counts what it had to repair.

    Args:
      folders: what the paths are relative to, tried in order. Repairs are tried below the first only.
      inside: never leave the first folder: absolute paths and ``..`` are not followed, only repaired.
      exists: what counts as found, ``os.path.isfile`` or ``os.path.exists``.

    Attributes:
      repaired: what was repaired -> how often.
      example: what was repaired -> (path as written, path found) of the first.
    """

    def __init__(self, *folders: str, inside: bool = False, exists: Callable[[str], bool] = os.path.isfile):
        self.folders, self.inside, self.exists = folders, inside, exists
        self.repaired: collections.Counter[str] = collections.Counter()
        self.example: dict[str, tuple[str, str]] = {}
        self._listed: dict[str, dict[str, list[str]]] = {}

    def find(self, name: str) -> str | None:
        """The path of the file that ``name`` names, None where there is none."""
        if not 0 < len(name) <= LONGEST or '\0' in name:
            return None
        if not (self.inside and leads_out(name)):
            for folder in self.folders:
                path = os.path.join(folder, name)
                if self.exists(path):
                    return path
        for what, candidate in repairs(name):
            path = os.path.join(self.folders[0], candidate)
            if self.exists(path):
                return self._note(what, name, path)
        for _, candidate in repairs(name):
            path = self._alike(candidate)
            if path is not None and self.exists(path):
                return self._note('in other letters', name, path)
        return None

    def notes(self, file: str) -> list[str]:
        """A sentence for each kind of repair; ``file``: the one that holds the paths."""
        return [f'{file}: {count} {"paths" if count > 1 else "path"} {what}, such as '
                f'{self.example[what][0][:120]!r}: read from {self.example[what][1]}'
                for what, count in self.repaired.items()]

    def _note(self, what, name, path):
        self.repaired[what] += 1
        self.example.setdefault(what, (name, path))
        return path

    def _alike(self, candidate):
        """The one file whose path differs in nothing but letter case and the coding of accents, or None."""
        path = self.folders[0]
        for part in candidate.split('/'):
            if os.path.lexists(os.path.join(path, part)):
                path = os.path.join(path, part)
                continue
            if path not in self._listed:
                self._listed[path] = _by_plain_name(path)
            found = self._listed[path].get(_plain(part), ())
            if len(found) != 1:
                return None
            path = os.path.join(path, found[0])
        return path


def repairs(name: str) -> Iterator[tuple[str, str]]:
    """Yields (what is wrong, relative path) of everything that a path of another machine may mean here, best first.

    None of the paths is absolute or holds ``..``.
    """
    stripped = name.strip().strip('\'"')
    if '://' in stripped:           # what a link asks its server, behind the path
        stripped = re.split('[?#]', stripped, maxsplit=1)[0]
    for text, coded in ((stripped, ''), (urllib.parse.unquote(stripped), ' with %-codes')):
        if coded and text == stripped:
            return
        plain = _DRIVE.sub('', text, count=1).replace('\\', '/') if _is_foreign(text) else text
        absolute = plain.startswith('/') or plain != text.replace('\\', '/')
        parts = [part for part in plain.split('/') if part not in ('', '.')]
        last_up = max((position for position, part in enumerate(parts) if part == '..'), default=-1)
        parts = parts[last_up + 1:]
        for start in range(len(parts)):
            what = ('of another machine' if absolute else 'with backslashes' if '\\' in text and not start else
                    'beginning in another folder' if start or last_up >= 0 else 'in quotes')
            yield what + coded, '/'.join(parts[start:])


def leads_out(name: str) -> bool:
    """Whether a path is absolute, or may leave the folder that it is relative to."""
    return os.path.isabs(name) or bool(_DRIVE.match(name)) or '..' in name.replace('\\', '/').split('/')


def _is_foreign(text):
    return '\\' in text or bool(_DRIVE.match(text))


def _plain(name):
    return unicodedata.normalize('NFC', name).casefold()


def _by_plain_name(folder):
    """{name without letter case: names} of a folder's files; empty where there is no such folder."""
    try:
        listed = sorted(os.listdir(folder or '.'))
    except (OSError, ValueError):
        listed = []
    found: dict[str, list[str]] = {}
    for one in listed:
        found.setdefault(_plain(one), []).append(one)
    return found
