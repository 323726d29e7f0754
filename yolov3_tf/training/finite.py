"""A loss or gradient that is not finite ends a run before it changes a weight."""
from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence


class NonFiniteLoss(RuntimeError):
    """The loss or a gradient is not finite. No weight was changed by it; the message names the batch."""


def check(parts: Mapping[str, float], step: int, files: Sequence[str], loss_scaling: bool,
          last: str | os.PathLike) -> None:
    """Raises NonFiniteLoss for a step whose numbers are not finite.

    Args:
      parts: the scalars of the step; ``applied`` is 0 where a gradient was not finite.
      step: number of the step, for the message.
      files: images of the batch.
      loss_scaling: an overflowing gradient is no error, because the scale is then reduced; a NaN in the loss is one.
      last: path of the last checkpoint.
    """
    bad = [name for name, value in parts.items() if not math.isfinite(value)]
    if not bad and (parts['applied'] or loss_scaling):
        return
    terms = ', '.join(f'{name} {value:.6g}' for name, value in parts.items())
    raise NonFiniteLoss(
        f'{"the loss" if bad else "a gradient"} is not finite at step {step} ({terms}). '
        f'No weight was changed by it; the last good checkpoint, if one was written yet, is {last}. '
        'A lower learning rate (under a new --name) usually helps. The batch:\n  ' + '\n  '.join(files))
