"""The one kind of error that is the user's to put right."""
from __future__ import annotations


class InputError(ValueError):
    """Something the user gave (a flag, a file, a label) cannot be used.

    The message says what was expected, what came, where (file, line) and what to do. Scripts print
    it as one line and exit with 2; no traceback is shown, for nothing in the program is at fault.
    """
