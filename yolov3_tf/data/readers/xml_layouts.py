"""An ordinary XML file without a call of Python for every tag: cut at its tags, whose order most files of a set share.

One program wrote a set, so its files differ in their texts and in the number of objects. The tags of a file, in their
order, are its layout. Expat reads each new layout once, with numbers in place of the texts, and so says which text is
what, and refuses what is no XML. Of every further file of this layout only the texts are looked at.

Whatever a text could change about the meaning of a file is excluded before (``Layouts.cut``). What is excluded or
refused goes to the strict reader, which alone reports errors, so both ways read the same.
"""
from __future__ import annotations

import re
from typing import Callable, NamedTuple

# What XML 1.0 forbids, & of references, ! of comments, CDATA and document types, ] of ]]>, the first byte of U+FFFE.
_EXCLUDED = bytes(sorted({*range(32), *b'&!]\xef'} - {*b'\t\n\r'}))
_DECLARATION = re.compile(r'<\?xml version="1\.0"(?: encoding="[Uu][Tt][Ff]-8")?(?: standalone="(?:yes|no)")? ?\?>')
_NO_BRACKETS = bytes(sorted({*range(256)} - {*b'<>'}))
_BLANKS = ' \t\n'
MOST_KEPT = 8 << 20         # letters of all layouts that are remembered
OPENED, CLOSED, OBJECT = 'annotation', '/annotation', 'object'
LONGEST = 1 << 16           # letters of one, some hundred objects


class Layout(NamedTuple):
    """What the pieces of a file are, by their numbers: piece 0 is a text, 1 a tag, 2 a text, ...

    Attributes:
      head: {name: number} of the texts outside objects; an empty element has 0, the blank text before the root.
      objects: of each object the number of its tag, and {name: number} of its texts.
    """
    head: dict[str, int]
    objects: list[tuple[int, dict[str, int]]]


class Layouts:
    """The layouts seen so far.

    Args:
      read: the strict reader: a document -> {name: text} of the elements outside objects, and for each object its
        line and the same of its elements.
      refusals: what ``read`` raises where it refuses a document.
    """

    def __init__(self, read: Callable[[bytes], tuple[dict[str, str], list[tuple[int, dict[str, str]]]]],
                 refusals: tuple[type[Exception], ...]):
        self._read, self._refusals = read, refusals
        self._known: dict[str, Layout | None] = {}
        self._kept = 0

    def cut(self, content: bytes) -> tuple[list[str], Layout] | None:
        """The pieces of a file and what they are; None where it is not ordinary.

        Ordinary is UTF-8 without a mark and without characters that XML forbids, references, comments, CDATA,
        instructions and document types, with ``<`` and ``>`` in turn, and with nothing but blanks outside the root.
        Then every ``<`` opens a tag, the next ``>`` closes it, and no text changes what a tag means. (A ``>`` in
        quotes closes none, but then the layout has an open quote before its next ``<``, which expat refuses.)
        """
        brackets = content.translate(None, _NO_BRACKETS)
        if brackets != b'<>' * (len(brackets) // 2) or len(content.translate(None, _EXCLUDED)) != len(content):
            return None
        try:
            text = content.decode('utf-8')
        except UnicodeDecodeError:
            return None
        if '\r' in text:                            # XML 1.0, 2.11
            text = text.replace('\r\n', '\n').replace('\r', '\n')
        if '<?' in text:
            declaration = _DECLARATION.match(text)  # on one line, so that lines are counted without it
            text = text[declaration.end():] if declaration else text
            if '<?' in text:
                return None
        pieces = text.replace('>', '<').split('<')
        tags = pieces[1::2]
        if pieces[0].strip(_BLANKS) or pieces[-1].strip(_BLANKS) or not tags:
            return None
        layout = self._of(tags, self._composed)
        return (pieces, layout) if layout else None

    def _of(self, tags, learn):
        """The layout of these tags, from memory or learned."""
        key = '<'.join(tags)
        if key in self._known:
            return self._known[key]
        layout = learn(tags)
        if key not in self._known and len(key) <= LONGEST and self._kept + len(key) <= MOST_KEPT:
            self._known[key] = layout
            self._kept += len(key)
        return layout

    def _composed(self, tags) -> Layout | None:
        """The layout of a file's tags from those of its parts: what is before the first object, and each object.

        Files with many kinds of objects have a row of tags each, but few kinds of parts. A part with the root around
        it is a document of its own. If expat takes all of them, it takes the file: each has one root, so what stands
        between its tags opens and closes alike.
        """
        if tags[-1] != CLOSED:
            return self._learn(tags)
        cuts = [0, *(number for number, tag in enumerate(tags) if tag == OBJECT and number), len(tags) - 1]
        head: dict[str, int] = {}
        objects = []
        for near, far in zip(cuts, cuts[1:]):
            part = self._of([OPENED, *tags[near:far], CLOSED] if near else [*tags[:far], CLOSED], self._learn)
            if part is None:                            # an object inside another element
                return self._learn(tags)
            moved = 2 * (near - 1) if near else 0
            for name, number in part.head.items():
                head.setdefault(name, number and number + moved)
            objects += [(tag + moved, {name: number and number + moved for name, number in found.items()})
                        for tag, found in part.objects]
        return Layout(head, objects)

    def _learn(self, tags) -> Layout | None:
        """The layout of these tags, None where the strict reader refuses it."""
        # Each tag on a line of its own, with the number of its text behind it; the last text is outside the root.
        lines = [f'<{tag}>{2 * number + 2}'.replace('\n', ' ') for number, tag in enumerate(tags)]
        lines[-1:] = [f'<{tag}>' for tag in tags[-1:]]
        try:
            head, objects = self._read('\n'.join(lines).encode())
        except self._refusals:
            return None
        return Layout(_numbers(head), [(2 * line - 1, _numbers(found)) for line, found in objects])


def _numbers(found):
    return {name: int(text) if text else 0 for name, text in found.items()}
