"""The dataset of a program that reads one: ``yolov3-tf check SPEC``, or ``--data=SPEC`` as in every other program."""
from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from yolov3_tf.errors import InputError


def define(values: flags.FlagValues):
    """Adds ``--data``."""
    flags.DEFINE_string('data', None, 'Labelled folder or dataset spec, the same as the word SPEC without a flag '
                        '(docs/DATA.md).', flag_values=values)


def given(arguments: Sequence[str], options: flags.FlagValues, example: str) -> str:
    """The one spec of the words and ``--data``.

    Args:
      arguments: the words that are no flags.
      example: the usage, for the message.

    Raises:
      InputError: there is none, or more than one.
    """
    specs = [*arguments, *([options.data] if options.data else [])]
    if len(specs) != 1:
        raise InputError(f'expected one data spec, got {" and ".join(specs) or "none"}: {example}')
    return specs[0]
