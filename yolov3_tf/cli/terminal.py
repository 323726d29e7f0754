"""The program's two outputs: what is printed there moves no cursor, and that nobody reads them ends no program.

Names of files and classes are other people's texts. A terminal obeys escape sequences in them, and a console that has
fewer letters than they need would end the program. A closed output (``| head -1``, ``>&-``, a closed window) must not
cost the files that are still to be written.
"""
from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, TextIO

from yolov3_tf import printable


class Printable:
    """A text stream that writes ``printable.printable`` of everything, until nobody reads it any longer."""

    def __init__(self, stream: TextIO):
        self._stream: TextIO | None = stream
        self._encoding = stream.encoding or 'utf-8'

    def write(self, text: str) -> int:
        """Writes a text; returns its length."""
        self._try(lambda stream: stream.write(printable.printable(text, self._encoding)))
        return len(text)

    def flush(self):
        """Writes what the stream holds back."""
        self._try(lambda stream: stream.flush())

    def _try(self, work):
        if self._stream is None:
            return
        try:
            work(self._stream)
        except OSError:                 # a closed pipe or terminal, a full disk
            # Python flushes the descriptor once more when it ends, and would complain there.
            with contextlib.suppress(OSError), open(os.devnull, 'wb') as null:
                os.dup2(null.fileno(), self._stream.fileno())
            self._stream = None

    def isatty(self) -> bool:
        """Whether a person reads it."""
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__['_stream'] or sys.__stderr__, name)


def protect() -> None:
    """Puts both outputs behind ``Printable``; one that is closed is replaced by one that nobody reads."""
    for name in ('stdout', 'stderr'):
        stream = getattr(sys, name)
        if not isinstance(stream, Printable):
            setattr(sys, name, Printable(open(os.devnull, 'w') if stream is None else stream))
