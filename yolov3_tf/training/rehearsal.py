"""What a training will take, found by a few steps of it: nothing is written and no weight is kept."""
from __future__ import annotations

import statistics
import time
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf.data import caches
from yolov3_tf.progress import clock
from yolov3_tf.training import optimizers, pacing, stages
from yolov3_tf.training.batches import Batches
from yolov3_tf.training.tasks import TASKS
from yolov3_tf.training.trainer import Trainer

try:
    import resource
    COUNTED = True
except ImportError:         # Windows
    COUNTED = False

STEPS = 3                   # timed in each stage, after one that builds the graph
VALIDATED = 2               # batches of the timed validation
VALIDATED_IN_TILES = 1      # images


class StageCost(NamedTuple):
    """What one stage takes.

    Attributes:
      stage: as planned; under ``--minutes`` with the epochs that are likely to fit.
      steps: of an epoch.
      step, validation: seconds of one step and of one validation.
      validations: how many.
    """
    stage: stages.Stage
    steps: int
    step: float
    validation: float
    validations: int

    @property
    def seconds(self) -> float:
        """Of the whole stage, where it does not end early."""
        return self.stage.epochs * self.steps * self.step + self.validations * self.validation


def rehearse(trainer: Trainer) -> list[StageCost]:
    """Times some steps and a part of a validation of each stage; the trainer cannot be used afterwards.

    Steps of several input sizes are scaled from the size tried to their mean by the number of pixels.
    """
    settings = trainer.settings
    share = trainer.distribution.worker, trainer.distribution.workers
    trainer.batches = Batches(trainer.train_set, settings, trainer.position, share, caches.CACHES['none']('', []))
    validation = {name: _validation_seconds(trainer, name) for name in trainer.tasks}
    costs: list[StageCost] = []
    for stage in settings.stages:
        step = _step_seconds(trainer, stage)
        if settings.minutes and settings.is_paced(stage):
            left = 60 * settings.minutes - sum(cost.seconds for cost in costs)
            stage = pacing.with_epochs(stage, max(stage.warmup_epochs + 1, pacing.epochs_that_fit(
                left, trainer.steps * step, validation[stage.task], settings.epochs_between_eval)))
        count = -(-stage.epochs // settings.epochs_between_eval)
        costs.append(StageCost(stage, trainer.steps, step, validation[stage.task], count))
    return costs


def describe(costs: list[StageCost], trainer: Trainer) -> str:
    """The plan as lines of text: stages, epochs, rates, minutes, memory, and the size of a checkpoint."""
    lines = []
    for cost in costs:
        stage = cost.stage
        rates = ', '.join(f'{rate:g}' for _, rate in stage.rates)
        early = ' at most' if stage.patience or stage.stop_after else ''
        lines.append(f'stage {stage.name}: {stage.epochs} epochs of {cost.steps} steps{early}, {stage.schedule} from '
                     f'{rates}; {1000 * cost.step:.0f} ms a step, {cost.validations} validations of '
                     f'{cost.validation:.1f} s: {clock(cost.seconds)}')
    whole, minutes = sum(cost.seconds for cost in costs), trainer.settings.minutes
    late = f', more than --minutes={minutes:g}, for these are the fewest epochs' if minutes and (
        whole > pacing.LATE * 60 * minutes) else ''
    parameters = sum(int(np.prod(variable.shape)) for variable in trainer.model.weights)
    slots = len(optimizers.KINDS[trainer.settings.optimizer.kind].slots)
    copies = 2 + slots + bool(trainer.settings.ema_decay)       # best.h5, and last.h5 with what training needs
    lines.append(f'in all about {clock(whole)} on this machine{late}; memory at its highest '
                 f'{_peak_memory()}; checkpoints {4 * copies * parameters / 2**20:,.0f} MiB')
    lines.append('dry run: nothing was written; leave --dry_run out to train')
    return '\n'.join(lines)


def _step_seconds(trainer, stage) -> float:
    trainer._prepare(stage, None)
    seconds, pixels = [], 1
    for number in range(1 + STEPS):
        began = time.monotonic()
        images, truth, indices = trainer.batches.next()
        if len(indices):
            trainer.step(images, truth, tf.constant(0.), tf.constant(0.))['images'].numpy()
        pixels = int(np.prod(images.shape[1:3])) or pixels
        trainer.position.step += 1
        if number:
            seconds.append(time.monotonic() - began)
    trainer.position.step = 0
    sizes = trainer.settings.batches.sizes
    return statistics.median(seconds) * statistics.fmean(size * size for size in sizes) / pixels


def _validation_seconds(trainer, name) -> float:
    """Of the whole validation set, from a part of it."""
    settings, whole = trainer.settings, len(trainer.val_set.records)
    count = VALIDATED_IN_TILES if trainer.config.tiles else VALIDATED * settings.validation_batch
    part = trainer.val_set._replace(records=trainer.val_set.records[:count])
    task = TASKS[name](trainer.model, trainer.config, part, settings.loss, settings.validation_batch,
                       settings.batches.strict)
    task.validate()                     # builds the graph
    began = time.monotonic()
    task.validate()
    return (time.monotonic() - began) * whole / len(part.records)


def _peak_memory() -> str:
    if tf.config.list_physical_devices('GPU'):
        return f'{tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30:.1f} GiB of the GPU'
    if not COUNTED:
        return 'unknown'
    return f'{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB'
