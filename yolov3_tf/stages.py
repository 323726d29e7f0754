"""Training stages as data: what rests, for how long, at which learning rate."""
from __future__ import annotations

import re
from typing import NamedTuple, Sequence, Tuple

from yolov3_tf.choices import InputError, choose
from yolov3_tf.models.blocks import BatchNorm
from yolov3_tf.models.yolov3 import BACKBONE

FROZEN_BN = {'adapt': 'resting BatchNorm layers go on normalising by the batch and moving their averages (reference)',
             'fixed': 'resting BatchNorm layers use their stored averages (Keras)'}
NOTHING = '^$'


class Stage(NamedTuple):
    """Attributes:
      name: in logs, checkpoints and plots.
      frozen: pattern of the layer names that rest.
      rates: (epochs, learning rate) pieces, one after another.
      warmup_epochs: epochs before the first piece in which the rate rises linearly from 0 to it; the
        pieces start counting afterwards.
      patience: the stage ends early after this many epochs without a lower validation loss; 0: never.
      frozen_bn: of ``FROZEN_BN``.
    """
    name: str
    frozen: str
    rates: Tuple[Tuple[int, float], ...]
    warmup_epochs: int = 0
    patience: int = 0
    frozen_bn: str = 'adapt'

    @property
    def epochs(self) -> int:
        return self.warmup_epochs + sum(epochs for epochs, _ in self.rates)


def two_stages(head_rates, all_rates, warmup_epochs=0, patience=0, frozen_bn='adapt') -> Tuple[Stage, ...]:
    """The paper's order: the head on a resting backbone until it no longer improves, then everything.

    A part without epochs is left out; the warm-up belongs to whichever comes first.
    """
    choose(FROZEN_BN, frozen_bn, 'frozen_bn')
    parts = (Stage('head', BACKBONE, tuple(head_rates), patience=patience, frozen_bn=frozen_bn),
             Stage('all', NOTHING, tuple(all_rates)))
    stages = tuple(stage for stage in parts if stage.epochs)
    if not stages:
        raise InputError('no epoch to train: give --stage1_epochs or --stage2_epochs a positive number')
    return (stages[0]._replace(warmup_epochs=warmup_epochs),) + stages[1:]


def pieces(epochs: Sequence[int], rates: Sequence[float], what: str) -> Tuple[Tuple[int, float], ...]:
    """Pairs up two equally long lists of flags, leaving out pieces of no epochs.

    Raises:
      InputError: lists of different length, a negative count, a rate that is not positive and finite.
    """
    if len(epochs) != len(rates):
        raise InputError(f'--{what}_epochs and --{what}_lr: expected as many learning rates as epoch counts, got '
                         f'{len(rates)} and {len(epochs)}; a flag not given has its default')
    if any(count < 0 for count in epochs) or any(not 0 < rate < float('inf') for rate in rates):
        raise InputError(f'{what}: expected counts of 0 or more and positive rates, got {list(epochs)}, {list(rates)}')
    return tuple((count, rate) for count, rate in zip(epochs, rates) if count)


def rate_at(stage: Stage, step: int, steps_per_epoch: int) -> float:
    """Learning rate of a step, both counted from 0 at the stage's start."""
    warmup = stage.warmup_epochs * steps_per_epoch
    if step < warmup:
        return stage.rates[0][1] * step / warmup
    epoch = (step - warmup) // steps_per_epoch
    for epochs, rate in stage.rates:
        if epoch < epochs:
            return rate
        epoch -= epochs
    return stage.rates[-1][1]


def has_settled(stage: Stage, losses: Sequence[float]) -> bool:
    """Whether ``patience`` epochs have passed since the lowest of the stage's validation losses."""
    if not stage.patience or not losses:
        return False
    return len(losses) - 1 - min(range(len(losses)), key=losses.__getitem__) >= stage.patience


def freeze(model, stage: Stage):
    """Marks the layers whose name matches ``stage.frozen`` as resting, all others as training.

    Raises:
      InputError: a pattern that matches no layer, or every layer with weights.
    """
    layers = [layer for layer in model.layers if layer.weights]
    rests = [bool(re.search(stage.frozen, layer.name)) for layer in layers]
    if stage.frozen != NOTHING and (not any(rests) or all(rests)):
        raise InputError(f'stage {stage.name}: the pattern {stage.frozen!r} matches {sum(rests)} of {len(layers)} '
                         'layers; expected some but not all')
    for layer, rest in zip(layers, rests):
        layer.trainable = not rest
        if isinstance(layer, BatchNorm):
            layer.adapt = stage.frozen_bn == 'adapt'
