"""The settings of the trainer, and their check."""
from __future__ import annotations

from typing import NamedTuple

from yolov3_tf.data import pipeline
from yolov3_tf.errors import InputError
from yolov3_tf.losses import criterion
from yolov3_tf.training import kept_features, stages
from yolov3_tf.training.optimizers import OptimizerSettings
from yolov3_tf.training.stages import EXTENDED, Stage


class TrainingSettings(NamedTuple):
    """Attributes:
      stages: the stages in their order.
      loss, optimizer, batches: settings of the criterion, the optimiser and the input pipeline.
      seed: seed of the order of images and of all augmentations.
      log_steps: number of steps for each line of metrics.
      checkpoint_steps: number of steps between checkpoints inside an epoch, 0 for none; a checkpoint is always written
        at the end of an epoch.
      validation_batch: number of images in a batch of validation.
      loss_scaling: for float16.
      sync_batch_norm: BatchNorm normalises by the images of all replicas.
      accumulate_steps: number of pieces that a batch is divided into; they are processed one after another, which
        needs less memory.
      ema_decay: decay of an average of the weights that is validated and saved as the best; 0: the weights themselves.
      epochs_between_eval: number of epochs between two validations; the last epoch of a stage is always validated.
      minutes: minutes that the run may take: the epochs of its last stage are planned after the first of them; None:
        the stage says how many there are.
      cache: one of ``data.caches.CACHES``.
      keep_features: the frozen part of a network is computed once an image (``kept_features``).
      profile: keep a trace of some steps for TensorBoard.
    """
    stages: tuple[stages.Stage, ...]
    loss: criterion.LossSettings
    optimizer: OptimizerSettings
    batches: pipeline.PipelineSettings
    seed: int = 0
    log_steps: int = 20
    checkpoint_steps: int = 500
    validation_batch: int = 8
    loss_scaling: bool = False
    sync_batch_norm: bool = False
    accumulate_steps: int = 1
    ema_decay: float = 0.
    epochs_between_eval: int = 1
    minutes: float | None = None
    cache: str = 'none'
    keep_features: bool = False
    profile: bool = False

    def is_paced(self, stage: Stage) -> bool:
        """Whether the epochs of a stage are planned so that it ends on time: the last one before an extension."""
        planned = [one for one in self.stages if one.name != EXTENDED]
        return bool(self.minutes) and stage is planned[-1]


def check(settings: TrainingSettings, replicas: int = 1):
    """Raises InputError for settings that contradict each other, or a batch that the replicas cannot share equally."""
    criterion.check(settings.loss)
    pipeline.check(settings.batches)
    if settings.keep_features:
        kept_features.check(settings.batches, settings.stages, replicas)
    pieces, images = settings.accumulate_steps, settings.batches.batch_size
    if images % (replicas * pieces):
        raise InputError(f'--batch_size={images} is that of all replicas and pieces together: expected a multiple of '
                         f'{replicas} replicas x --accumulate_steps={pieces}')
    if pieces > 1 and settings.loss.positive_weight == 'balanced':
        raise InputError('--accumulate_steps beside --positive_weight=balanced: that weight is counted over the whole '
                         'batch, but a piece is only a part of it; leave one of them out')
    for stage in settings.stages:
        for name in ('patience', 'stop_after'):
            if 0 < getattr(stage, name) < settings.epochs_between_eval:
                raise InputError(f'--{name}={getattr(stage, name)} epochs beside --epochs_between_eval='
                                 f'{settings.epochs_between_eval}: stage {stage.name} would run out of patience before '
                                 f'it is validated again; give a larger --{name}, or 0 for no early end')
