"""The one kind of error that the user has to correct."""
from __future__ import annotations


class InputError(ValueError):
    """Something the user gave (a flag, a file, an annotation) cannot be used.

    The message says what was expected, what was given, where (file, line) and what to do. Programs print
    it as one line and exit with 2; no traceback is shown, because the program itself has no fault.
    """
