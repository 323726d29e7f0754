"""One choice, one table: the look-up that names the entries when it fails."""
from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from yolov3_tf.errors import InputError

T = TypeVar('T')


def choose(table: Mapping[str, T], name: str, what: str) -> T:
    """The entry ``name`` of ``table``; ``what`` names the choice in the message.

    Raises:
      InputError: the name is not in the table; the message lists those that are.
    """
    if name not in table:
        raise InputError(f'unknown {what} {name!r}: expected one of {", ".join(sorted(table))}')
    return table[name]
