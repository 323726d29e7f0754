"""Training stages as data: what is learned, what is frozen, for how long, at which learning rate."""
from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from typing import Callable, NamedTuple

import tensorflow as tf

from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.models.blocks import BatchNorm
from yolov3_tf.models.yolov3_network import BACKBONE

FROZEN_BN = {'adapt': 'frozen BatchNorm layers go on normalising by the batch and moving their averages (reference)',
             'fixed': 'frozen BatchNorm layers use their stored averages (Keras)'}
NOTHING = '^$'
EXTENDED = 'extended'           # name of the stage after the plan
EXTENSION_RATE = .1             # of the full stage's first rate: the network is trained already
Pieces = Sequence[tuple[int, float]]        # (epochs, learning rate), one after another


class Stage(NamedTuple):
    """Attributes:
      name: its name in logs, checkpoints and plots.
      frozen: regular expression for the names of the frozen layers.
      rates: (epochs, learning rate) pieces, one after another.
      warmup_epochs: epochs before the first piece in which the rate rises linearly from 0 to it; the
        pieces start counting afterwards.
      patience: epochs without a lower validation loss that end the stage early, or under the plateau schedule
        the piece; 0: never.
      stop_after: epochs without a better score (mAP) that end the stage; 0: never.
      mix_free_epochs: last epochs in which no image is mixed with others (``are_mixed``).
      frozen_bn: one of ``FROZEN_BN``.
      schedule: one of ``SCHEDULES``.
      power: exponent of the power schedule.
      cycles: number of cycles of the restarts schedule.
      growth: how many times as long as the one before a cycle of the restarts schedule is.
      task: what the network learns, one of ``tasks.TASKS``.
    """
    name: str
    frozen: str
    rates: tuple[tuple[int, float], ...]
    warmup_epochs: int = 0
    patience: int = 0
    frozen_bn: str = 'adapt'
    schedule: str = 'piecewise'
    power: float = 1.
    task: str = 'detection'
    stop_after: int = 0
    mix_free_epochs: int = 0
    cycles: int = 1
    growth: float = 1.

    @property
    def epochs(self) -> int:
        """The largest number of epochs; a stage with patience may end earlier (``is_over``)."""
        return self.warmup_epochs + sum(epochs for epochs, _ in self.rates)


def asymptotic(epochs: int, rate: float) -> Stage:
    """The paper's step between ImageNet and detection: the backbone learns which classes occur in an image."""
    return Stage('asymptotic', NOTHING, ((epochs, rate),), task='classification')


def extension(epochs: int, rate: float) -> Stage:
    """More epochs after the end of a plan, from a part of its first rate down to 0."""
    return Stage(EXTENDED, NOTHING, ((epochs, EXTENSION_RATE * rate),), schedule='cosine')


def two_stages(head_rates: Pieces, all_rates: Pieces, warmup_epochs: int = 0, patience: int = 0,
               frozen_bn: str = 'adapt', schedule: str = 'piecewise', power: float = 1.,
               stop_after: int = 0, mix_free_epochs: int = 0, cycles: int = 1,
               growth: float = 1.) -> tuple[Stage, ...]:
    """The paper's order: the head on a frozen backbone until it no longer improves, then all layers.

    A stage without epochs is left out; the warm-up belongs to the first stage that remains. The schedule,
    ``stop_after`` and ``mix_free_epochs`` apply to the full stage; the head stage keeps its rate.

    Raises:
      InputError: a name is unknown, or the schedule does not fit these rates.
    """
    choose(FROZEN_BN, frozen_bn, 'frozen_bn')
    needs = choose(SCHEDULES, schedule, 'schedule')
    if needs.one_piece and len(all_rates) > 1:
        raise InputError(f'schedule={schedule} falls from one rate by itself: expected one epoch count and one rate '
                         f'of the full stage, got {len(all_rates)}')
    if needs.patience and not patience:
        raise InputError(f'schedule={schedule} waits for patience epochs without a lower validation loss: expected '
                         '--patience of 1 or more, got 0')
    if needs.restarts and all_rates:
        _check_cycles(all_rates[0][0], cycles, growth)
    parts = (Stage('head', BACKBONE, tuple(head_rates), patience=patience, frozen_bn=frozen_bn),
             Stage('full', NOTHING, tuple(all_rates), patience=patience if needs.patience else 0,
                   schedule=schedule, power=power, stop_after=stop_after, mix_free_epochs=mix_free_epochs,
                   cycles=cycles, growth=growth))
    stages = tuple(stage for stage in parts if stage.epochs)
    return (stages[0]._replace(warmup_epochs=warmup_epochs), *stages[1:]) if stages else ()


def pieces(epochs: Sequence[int], rates: Sequence[float], what: str) -> tuple[tuple[int, float], ...]:
    """Pairs the items of two flags, epochs and rates, and leaves out pieces without epochs.

    Raises:
      InputError: the lists have different lengths, a count is negative, or a rate is not positive and finite.
    """
    if len(epochs) != len(rates):
        raise InputError(f'--{what}_epochs and --{what}_lr: expected as many learning rates as epoch counts, got '
                         f'{len(rates)} and {len(epochs)}; a flag not given has its default')
    if any(count < 0 for count in epochs) or any(not 0 < rate < float('inf') for rate in rates):
        raise InputError(f'{what}: expected counts of 0 or more and positive rates, got {list(epochs)}, {list(rates)}')
    return tuple((count, rate) for count, rate in zip(epochs, rates) if count)


def rate_at(stage: Stage, step: int, steps_per_epoch: int, losses: Sequence[float] = ()) -> float:
    """The learning rate of a step, counted from 0 at the start of the stage.

    Args:
      losses: the validation losses of the stage so far, one for each epoch; only the plateau schedule uses them.
    """
    warmup = stage.warmup_epochs * steps_per_epoch
    if step < warmup:
        return stage.rates[0][1] * step / warmup
    return SCHEDULES[stage.schedule].rate(stage, (step - warmup) / steps_per_epoch, losses)


def is_over(stage: Stage, epoch: int, losses: Sequence[float], scores: Sequence[float] = ()) -> bool:
    """Whether the stage ends before this epoch, counted from 0; of ``losses`` lower, of ``scores`` higher is better."""
    if stage.stop_after and scores and len(scores) - 1 - scores.index(max(scores)) >= stage.stop_after:
        return True
    if SCHEDULES[stage.schedule].patience:
        return _piece_on_plateau(stage, losses) == len(stage.rates)
    return epoch >= stage.epochs or has_settled(stage, losses)


def are_mixed(stage: Stage, epoch: int) -> bool:
    """Whether images may be mixed with others in this epoch, counted from 0.

    In the last ``mix_free_epochs`` the network sees whole images, as it will in use (YOLOX, Ge et al. 2021, leaves out
    mosaic and mix-up so). They are counted from the largest number of epochs: a stage that ends early has fewer.
    """
    return epoch < stage.epochs - stage.mix_free_epochs


def has_settled(stage: Stage, losses: Sequence[float]) -> bool:
    """Whether ``patience`` epochs have passed since the lowest of these validation losses."""
    if not stage.patience or not losses:
        return False
    return len(losses) - 1 - min(range(len(losses)), key=losses.__getitem__) >= stage.patience


def _piecewise(stage, epochs, losses):
    """The rate of the piece that contains this time, in epochs since the warm-up."""
    del losses
    for length, rate in stage.rates:
        if epochs < length:
            return rate
        epochs -= length
    return stage.rates[-1][1]


def _plateau(stage, epochs, losses):
    """The next piece's rate as soon as the validation loss has settled, or the piece's epochs are over."""
    del epochs
    return stage.rates[min(_piece_on_plateau(stage, losses), len(stage.rates) - 1)][1]


def _piece_on_plateau(stage, losses):
    """The number of the piece that follows these validation losses; the number of pieces if the last one is over."""
    return _piece_after(stage, tuple(losses))


@functools.lru_cache(maxsize=4)         # called at every step, but the losses change only once in an epoch
def _piece_after(stage, losses):
    piece, since = 0, stage.warmup_epochs
    for end in range(since + 1, len(losses) + 1):
        if piece < len(stage.rates) and (end - since >= stage.rates[piece][0] or has_settled(stage, losses[since:end])):
            piece, since = piece + 1, end
    return piece


def _cosine(stage, epochs, losses):
    """rate (1 + cos(pi t)) / 2, t in 0..1 (Loshchilov & Hutter 2017, eq. 5, one cycle down to 0)."""
    del losses
    (length, rate), = stage.rates
    return rate * (1 + math.cos(math.pi * min(epochs / length, 1))) / 2


def _restarts(stage, epochs, losses):
    """rate (1 + cos(pi t)) / 2, t in 0..1 in each cycle (Loshchilov & Hutter 2017, eq. 5); 0 after the last one."""
    del losses
    (length, rate), = stage.rates
    start = 0
    for end in cycle_ends(length, stage.cycles, stage.growth):
        if epochs < end:
            return rate * (1 + math.cos(math.pi * (epochs - start) / (end - start))) / 2
        start = end
    return 0.


def cycle_ends(epochs: int, cycles: int, growth: float) -> list[int]:
    """The epoch at which each cycle of the restarts schedule ends; the last one ends with the stage.

    A cycle is ``growth`` times as long as the one before. Its end is rounded to a whole epoch, because the network is
    best where the rate is 0 and is validated after whole epochs. Two ends are equal where the epochs are too few.
    """
    lengths = [growth ** (cycle - cycles + 1) for cycle in range(cycles)]       # relative to the last: no overflow
    return [math.floor(epochs * sum(lengths[:number]) / sum(lengths) + .5) for number in range(1, cycles + 1)]


def _check_cycles(epochs, cycles, growth):
    """Raises InputError where a cycle would be shorter than an epoch."""
    ends = cycle_ends(epochs, cycles, growth) if cycles <= epochs else []
    if not ends or any(end <= start for start, end in zip([0, *ends], ends)):
        raise InputError(f'--restart_cycles={cycles} of --restart_factor={growth:g} in {epochs} epochs of the full '
                         'stage: a cycle would be shorter than an epoch; expected fewer cycles or more epochs')


def _power(stage, epochs, losses):
    """rate (1 - t)^power, t in 0..1 (darknet's ``policy=poly``); with a warm-up before it, the tutorials' schedule."""
    del losses
    (length, rate), = stage.rates
    return rate * (1 - min(epochs / length, 1)) ** stage.power


class Schedule(NamedTuple):
    """How a learning rate falls, and which settings it needs.

    Attributes:
      rate: (stage, epochs since the warm-up, validation losses so far) -> learning rate.
      description: for help.
      one_piece: it takes one rate and one number of epochs, because it falls by itself; others take several.
      patience: it needs patience, because a piece ends after patience epochs without a lower validation loss.
      power: it has an exponent.
      restarts: it has cycles.
    """
    rate: Callable[[Stage, float, Sequence[float]], float]
    description: str
    one_piece: bool = False
    patience: bool = False
    power: bool = False
    restarts: bool = False


SCHEDULES = {
    'piecewise': Schedule(_piecewise, 'each rate for its epochs'),
    'plateau': Schedule(_plateau, 'the next rate when the validation loss no longer falls', patience=True),
    'cosine': Schedule(_cosine, 'one rate falls to 0 as a cosine', one_piece=True),
    'power': Schedule(_power, 'one rate falls to 0 as a power of the time left', one_piece=True, power=True),
    'restarts': Schedule(_restarts, 'one rate falls to 0 as a cosine, again and again', one_piece=True, restarts=True)}


def freeze(model: tf.keras.Model, stage: Stage) -> None:
    """Freezes the layers whose name matches ``stage.frozen``; all others train.

    Raises:
      InputError: the pattern matches no layer, or every layer with weights.
    """
    layers = [layer for layer in model.layers if layer.weights]
    frozen = [bool(re.search(stage.frozen, layer.name)) for layer in layers]
    if stage.frozen != NOTHING and (not any(frozen) or all(frozen)):
        raise InputError(f'stage {stage.name}: the pattern {stage.frozen!r} matches {sum(frozen)} of {len(layers)} '
                         'layers; expected some but not all')
    for layer, matches in zip(layers, frozen):
        layer.trainable = not matches
        if isinstance(layer, BatchNorm):
            layer.adapt = stage.frozen_bn == 'adapt'
