"""What may stand in a name, and how any text is shown: nothing that moves a cursor, breaks a line or cannot be written.

Names of classes and files come from other people's data. A line break in one would shift every later class of a label
file, an escape sequence would write to the terminal by itself, and half of a surrogate pair fits in no file.
"""
from __future__ import annotations

import re
import unicodedata

BREAKS = 'Cc', 'Zl', 'Zp'       # controls (escape, line feed, U+0085 ...) and the separators U+2028, U+2029
_TURNS = re.compile('[\u202a-\u202e\u2066-\u2069]')      # would show what follows from right to left


def is_text(name: str) -> bool:
    """Whether a file's name can be printed and written.

    Python reads bytes of a name that are not UTF-8 as lone surrogates, which can be neither.
    """
    return name.encode('utf-8', 'replace').decode() == name


def clean_name(name: str) -> str:
    """A class name as one line of text that every file can hold, the same wherever it is read.

    Blanks around it go, a line break or another control character becomes a blank, and half of a surrogate pair
    (possible in JSON) U+FFFD. Other letters stay, slashes too.
    """
    if name.isprintable():          # none of these letters
        return name.strip()
    text = ''.join(' ' if unicodedata.category(letter) in BREAKS else letter for letter in name)
    return re.sub('[\ud800-\udfff]', '\ufffd', text).strip()


def printable(text: str, encoding: str = 'utf-8') -> str:
    """A text for the terminal: line feeds, carriage returns and tabs stay, what else is not to be shown is escaped.

    Args:
      encoding: of the terminal; letters that it has not are escaped too.
    """
    shown = text if text.isascii() and text.isprintable() else ''.join(
        letter if letter in '\n\r\t' or unicodedata.category(letter) not in BREAKS else _escaped(letter)
        for letter in text)
    return _TURNS.sub(lambda found: _escaped(found[0]), shown).encode(encoding, 'backslashreplace').decode(encoding)


def _escaped(letter):
    return letter.encode('unicode_escape').decode('ascii')
