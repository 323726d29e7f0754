"""Annotation files as text: UTF-8, UTF-16 and UTF-32 by their marks, and older codings where the file declares one.

Nothing is guessed: the bytes of one old coding are valid in another, so undeclared ones are refused with the way out.
"""
from __future__ import annotations

import codecs
import re

# What a file may declare, as Python names it. The others would need no text (base64), or too much time (idna).
_DECLARED = {'utf_8', 'ascii', 'latin_1', 'gb2312', 'gbk', 'gb18030', 'hz', 'big5', 'big5hkscs', 'cp950', 'shift_jis',
             'cp932', 'shift_jis_2004', 'euc_jp', 'iso2022_jp', 'euc_kr', 'cp949', 'johab', 'koi8_r', 'koi8_u',
             'utf_16', 'utf_16_le', 'utf_16_be', 'utf_32', 'mac_roman', 'tis_620', 'ptcp154', 'viscii',
             *(f'iso8859_{number}' for number in (*range(1, 12), *range(13, 17))),
             *(f'cp{number}' for number in (437, 850, 852, 866, 874, *range(1250, 1259)))}
_WIDER = {'gb2312': 'gb18030', 'gbk': 'gb18030', 'shift_jis': 'cp932', 'euc_kr': 'cp949'}       # what files really hold
_MARKS = ((codecs.BOM_UTF8, 'utf-8-sig'), (codecs.BOM_UTF32_LE, 'utf-32'), (codecs.BOM_UTF32_BE, 'utf-32'),
          (codecs.BOM_UTF16_LE, 'utf-16'), (codecs.BOM_UTF16_BE, 'utf-16'))
_CODING = re.compile(rb'^[ \t]*#.*?coding[:=][ \t]*([-\w.]+)')         # as Python's own files declare theirs


def is_number(text: str) -> bool:
    """Whether ``float`` reads the text; also 'nan' and 'inf'."""
    try:
        float(text)
    except ValueError:
        return False
    return True


class UnknownCoding(ValueError):
    """Bytes that are no text in any coding that is read; ``line`` counts from 1, ``found`` are the bytes there."""

    def __init__(self, line: int, found: bytes):
        self.line, self.found = line, found
        super().__init__(f'expected UTF-8 text, got the bytes {found[:40]!r}; in an older coding? Convert the file: '
                         'iconv -f GBK -t UTF-8 (or CP1252, CP1251, ...)')


def decode(content: bytes, declared: str | None = None) -> str:
    """The text of a file, without its byte order mark.

    UTF-8 is tried before what is declared: many files were converted and still declare their old coding.

    Args:
      declared: name of a coding in the file itself; by default that of a comment ``# coding: gbk`` in its first two
        lines.

    Raises:
      UnknownCoding: with the first line that is no text.
    """
    for mark, coding in _MARKS:
        if content.startswith(mark):
            return _strictly(content, coding)
    if 0 in content[:4] and (wide := _without_mark(content)):
        return _strictly(content, wide)
    try:
        return content.decode('utf-8')
    except UnicodeDecodeError as error:
        old = python_name(declared or _of_comment(content))
        if old is None or old.startswith('utf'):
            raise _unknown(content, error.start) from None
    return _strictly(content, old)


def lines(content: bytes) -> list[str]:
    """The lines of a text file, split at CR, LF and both; as ``decode``."""
    text = decode(content)
    if '\r' in text:
        text = text.replace('\r\n', '\n').replace('\r', '\n')
    return text.split('\n')


def python_name(declared: str | None) -> str | None:
    """Python's name of a coding that a file may declare, None for an unknown one."""
    try:
        name = codecs.lookup(declared).name.replace('-', '_') if declared else None
    except (LookupError, ValueError):
        return None
    return _WIDER.get(name, name) if name in _DECLARED else None


def _without_mark(content):
    """UTF-16 without its mark, by its first two letters: ASCII has every second byte zero."""
    zeros = [byte == 0 for byte in content[:4]]
    return {(False, True) * 2: 'utf-16-le', (True, False) * 2: 'utf-16-be'}.get(tuple(zeros))


def _strictly(content, coding):
    try:
        return content.decode(coding)
    except UnicodeDecodeError as error:
        raise _unknown(content, error.start) from None


def _unknown(content, position):
    line = content.count(b'\n', 0, position) + 1
    start = content.rfind(b'\n', 0, position) + 1
    return UnknownCoding(line, content[start:].split(b'\n', 1)[0].rstrip(b'\r'))


def _of_comment(content):
    for line in content.split(b'\n', 2)[:2]:
        match = _CODING.match(line)
        if match:
            return match.group(1).decode('ascii', 'replace')
    return None
