"""Trains a network through its stages; a run can be killed at any moment and resumed.

Everything in a run follows from its settings, its seed and its counters: the position in the data, the
learning rate and the order of events are functions of (stage, epoch, step). A checkpoint holds the
weights, the optimiser and the counters, so a run that was killed and resumed writes the same weights and the same
metrics as an uninterrupted one. This does not depend on the number of devices (``step``, ``distribution``); with
several workers only the chief uses the folder.
"""
from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Callable

import numpy as np
import tensorflow as tf

from yolov3_tf.data import caches, pipeline
from yolov3_tf.errors import InputError
from yolov3_tf.models import checkpoints
from yolov3_tf.models.blocks import BatchNorm
from yolov3_tf.progress import Bar
from yolov3_tf.structures import Dataset
from yolov3_tf.training import agreement, counters, finite, kept_features, pacing, preview, stages
from yolov3_tf.training import step as training_step
from yolov3_tf.training.averaging import Average
from yolov3_tf.training.batches import Batches
from yolov3_tf.training.distribution import ALONE, Distribution
from yolov3_tf.training.optimizers import Optimizer
from yolov3_tf.training.profiling import Profiler
from yolov3_tf.training.run_folder import RunFolder
from yolov3_tf.training.settings import TrainingSettings, check
from yolov3_tf.training.stopping import Interrupted, StopRequest
from yolov3_tf.training.tasks import TASKS, Task


class Trainer:
    """One run: a model, its data, its folder and its position.

    Args:
      folder: the folder of this run (``RunFolder.claim``).
      model: starts from its current weights, or from the folder's last checkpoint if there is one.
      config: saved in every checkpoint.
      distribution: the devices and workers; the model must be created in its scope.
    """

    def __init__(self, folder: RunFolder, model: tf.keras.Model, config: checkpoints.ModelConfig,
                 train_set: Dataset, val_set: Dataset, settings: TrainingSettings,
                 distribution: Distribution = ALONE):
        check(settings, distribution.replicas)
        self.distribution = distribution
        self.folder, self.model, self.config, self.settings = folder, model, config, settings
        self.train_set, self.val_set = train_set, val_set
        self.steps = pipeline.order_of(train_set, settings.batches, settings.seed).steps
        with distribution.scope():
            self.tasks = {name: TASKS[name](model, config, val_set, settings.loss, settings.validation_batch,
                                            settings.batches.strict)
                          for name in dict.fromkeys(stage.task for stage in settings.stages)}
        norms = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
        for layer in norms:
            layer.synchronized = settings.sync_batch_norm
        self.statistics = [] if settings.sync_batch_norm else [
            variable for layer in norms for variable in (layer.moving_mean, layer.moving_variance)]
        self.optimizer: Optimizer | None = None         # of the current stage, as the task
        self.task: Task | None = None
        self.average: Average | None = None
        self.batches: Batches                           # set by run
        self.step: Callable[..., dict[str, Any]]        # set by _prepare
        self.stopping = StopRequest(distribution.workers)
        self.profiler = Profiler(folder.root / 'events' if settings.profile and distribution.chief else None)
        self.position, self.history = counters.Position(), counters.History(images=len(train_set.records))
        self.pace = pacing.Pace(settings.minutes or 0.)
        self.first_batches = preview.FirstBatches(folder.first_batches, train_set.class_names)

    def run(self) -> bool:
        """Trains to the end of the last stage; returns False if nothing was left to do.

        Raises:
          Interrupted: Ctrl-C, SIGTERM or a closed terminal; a checkpoint is written.
          NonFiniteLoss: the message names the files of the batch and the loss terms; the last checkpoint is kept.
        """
        if self.distribution.workers > 1:
            self.distribution.check_alike(
                'settings, network, annotations, precision or versions',
                agreement.fingerprint(self.settings, self.config, self.model, self.train_set, self.val_set,
                                      self.distribution))
        resumed = self._resume()
        self.pace.before = self.history.seconds
        self._extend()
        if self.position.finished:
            self._restore_best(resumed)
            return False
        self.first_batches.written = bool(self.position.global_step) or not self.distribution.chief
        if self.position.global_step and self.distribution.chief:
            print(f'going on from {self.folder.last}: step {self.position.global_step}', flush=True)
        share = self.distribution.worker, self.distribution.workers
        self.batches = Batches(self.train_set, self.settings, self.position, share,
                               caches.CACHES[self.settings.cache](
                                   self.folder.cache(*share),
                                   [record.image_path for record in self.train_set.records]))
        with contextlib.ExitStack() as exits:
            exits.callback(self.profiler.end)
            exits.callback(self.first_batches.end)
            exits.enter_context(self.stopping.listening())
            for stage in self.settings.stages[self.position.stage:]:
                self._run_stage(stage, resumed)
                resumed = None
        return True

    def _run_stage(self, stage: stages.Stage, resumed):
        self._prepare(stage, resumed)
        with self._bar(self._planned(stage)) as bar:
            while not stages.is_over(self._planned(stage), self.position.epoch, self.history.val_losses,
                                     self.history.scores):
                self._run_epoch(self._planned(stage), bar)
                if self.settings.is_paced(stage):
                    self._plan_epochs(stage, bar)
                self._save()
                if self.stopping.agreed:
                    raise Interrupted(self.folder.last)
        self.position.stage, self.position.epoch = self.position.stage + 1, 0
        self.history.val_losses, self.history.scores = [], []
        if stage.name == stages.EXTENDED:
            self.history.extended = stage.epochs
        self.position.finished = self.position.stage == len(self.settings.stages)
        self.optimizer = self.task = None
        self._save()

    def _run_epoch(self, stage, bar):
        self.batches.mix_images(stages.are_mixed(stage, self.position.epoch))
        self.pace.begin_epoch()
        while self.position.step < self.steps:
            began = time.monotonic()
            self._run_step(stage, self.batches.next(), bar)
            self.pace.add_step(time.monotonic() - began)
            every = self.settings.checkpoint_steps
            if self.stopping.agreed or (every and self.position.step % every == 0 and self.position.step < self.steps):
                self._save()
            if self.stopping.agreed:
                raise Interrupted(self.folder.last)
        if not self.history.updates:
            first = next(iter(self.history.skipped.values()), '')
            raise InputError(f'none of the {len(self.train_set.records)} training images can be used: {first}')
        began = time.monotonic()
        self.position.step = 0
        self.position.epoch += 1
        self.position.data_epoch += 1
        self._validate_if_due(stage, bar)
        bar.pause(time.monotonic() - began)

    def _planned(self, stage):
        """The stage as planned so far; only one is, to end on time."""
        return pacing.with_epochs(stage, self.history.planned) if self.settings.is_paced(stage) else stage

    def _is_unplanned(self, stage):
        """Whether the number of its epochs is still to be planned."""
        return self.settings.is_paced(stage) and not self.history.planned

    def _plan_epochs(self, stage, bar):
        """Plans the epochs of the last stage after one of them, and says so where the plan is new."""
        planned = self.distribution.by_chief(lambda: self.pace.plan(
            stage, self.position.epoch, self.history.planned, self.steps, self.settings.epochs_between_eval))
        if planned != self.history.planned:
            bar.message(self.pace.describe(planned, self.position.epoch, self.steps))
            self.history.planned, bar.total = planned, planned * self.steps

    def _run_step(self, stage, batch, bar):
        images, truth, indices = batch
        rate = stages.rate_at(stage, self.position.epoch * self.steps + self.position.step, self.steps,
                              self.history.val_losses)
        parts: dict[str, float] = {'images': 0, 'asked': self.stopping.asked}
        if len(indices) or self.distribution.workers > 1:   # only unusable images: a step without update
            self.profiler.before_step()
            self.first_batches.add(images, truth)
            parts = {name: float(value)
                     for name, value in self.step(images, truth, tf.constant(rate, tf.float32),
                                                  tf.constant(self.stopping.asked, tf.float32)).items()}
        count = round(parts.pop('images'))
        self.stopping.agreed |= bool(parts.pop('asked'))
        for path, why in self.batches.missing(indices.numpy(), count, self.history.skipped):
            self._skip(path, why, bar)
        if count:
            finite.check(parts, self.position.global_step,
                         [self.train_set.records[index].image_path for index in indices.numpy()],
                         self.settings.loss_scaling, self.folder.last)
            del parts['applied']
            self.history.summed += 1
            self.history.updates += 1
        else:
            parts = {}
        self.position.step += 1
        self.position.global_step += 1
        for name, value in parts.items():
            self.history.sums[name] = self.history.sums.get(name, 0.) + value
        bar.advance(count, {'lr': rate, **parts})
        if self.position.step % self.settings.log_steps == 0 or self.position.step == self.steps:
            self._log_train(stage, rate, bar)

    def _prepare(self, stage, resumed):
        """Freezes layers, and creates or restores the optimiser, the average and the step of a stage."""
        stages.freeze(self.model, stage)
        task = self.task = self.tasks[stage.task]
        task.network = task.model
        if self.settings.keep_features and kept_features.can_be_kept(stage):
            task.network = kept_features.KeptFeatures(task.model, *self.batches.stream.element_spec[0].shape[1:3])
        with self.distribution.scope():
            self.optimizer = Optimizer(task.model.trainable_variables, self.settings.optimizer,
                                       self.settings.loss_scaling)
            if self.settings.ema_decay and task.picks_best and not self.average:
                self.average = Average(self.model.weights, self.settings.ema_decay)
        if resumed and 'step' in resumed:       # a checkpoint between two stages has no optimiser
            self.optimizer.restore(resumed)
            for name, variable in task.own_weights().items():
                variable.assign(resumed[name])
        if resumed and self.average:
            self.average.restore(resumed)
        shares = training_step.Shares(self.distribution.strategy, self.settings.batches.batch_size,
                                      self.settings.accumulate_steps)
        self.step = training_step.make(task.compute_loss, self.optimizer, self.batches.stream.element_spec[:2],
                                       shares, self.average if task.picks_best else None, self.statistics)

    @contextlib.contextmanager
    def _bar(self, stage):
        """The progress line of a stage; only the chief shows it."""
        with contextlib.ExitStack() as exits:
            stream = None if self.distribution.chief else exits.enter_context(open(os.devnull, 'w'))
            # Before there is a plan, only the epoch that it is made after is known.
            unplanned = self._is_unplanned(stage)
            bar = Bar(f'stage {stage.name}', (self.position.epoch + 1 if unplanned else stage.epochs) * self.steps,
                      self.position.epoch * self.steps + self.position.step, stream)
            exits.callback(bar.close)
            if unplanned:
                bar.message('the first epoch tells how many fit into --minutes')
            if self.history.scores and self.history.scores[-1] >= 0:
                bar.score = _score(self.tasks[stage.task], self.history.scores[-1])
            yield bar

    def _skip(self, path, why, bar):
        """Reports an image that cannot be used, once."""
        if self.history.skipped.setdefault(path, why) is why:
            bar.message(f'skipped: {why}')

    def _validate_if_due(self, stage, bar):
        """Validates if it is due after this epoch; otherwise the epoch gets the results of the one before it."""
        losses, scores, epoch = self.history.val_losses, self.history.scores, self.position.epoch
        due = epoch % self.settings.epochs_between_eval == 0 or epoch == stage.epochs
        loss, score = (losses[-1], scores[-1]) if scores else (float('inf'), -1.)
        if due:
            began = time.monotonic()
            loss, score = self.distribution.by_chief(lambda: self._validate(stage, bar))
            self.pace.validation = time.monotonic() - began
        losses.append(loss)
        scores.append(score)
        if not due and stages.is_over(stage, epoch, losses, scores):        # a stage does not end without validation
            losses[-1], scores[-1] = self.distribution.by_chief(lambda: self._validate(stage, bar))

    def _validate(self, stage, bar):
        """Validates the network, or its average, and saves it if it is the best; returns [loss, score]."""
        task = self.tasks[stage.task]
        with self.average.in_place() if self.average and task.picks_best else contextlib.nullcontext():
            result = task.validate()
            if task.picks_best and (result.score > self.history.best or not self.folder.best.exists()):
                self.history.best = result.score
                checkpoints.save_model(str(self.folder.best), self.model, self.config)
        loss = result.losses.get('total', float('inf'))
        for path, why in result.skipped.items():
            self._skip(path, why, bar)
        self._log('val', stage, {**result.losses, task.measure: result.score})
        bar.score = _score(task, result.score)
        of_all = '' if self._is_unplanned(stage) else f'/{stage.epochs}'
        bar.message(f'stage {stage.name}, epoch {self.position.epoch}{of_all}: validation loss {loss:.4g}, {bar.score}')
        if result.page is not None:
            self.folder.images(self.position.global_step, 'validation', result.page)
        return [loss, result.score]

    def _log_train(self, stage, rate, bar):
        # Sorted, so that the order does not depend on the kind of step: plots choose colours by it.
        means = {name: value / max(self.history.summed, 1) for name, value in sorted(self.history.sums.items())}
        self.history.sums, self.history.summed = {}, 0
        self._log('train', stage, {'lr': rate, **means})
        if self.distribution.chief:
            self.folder.scalars(self.position.global_step, {'images_per_second': bar.speed()})

    def _log(self, kind, stage, values):
        if not self.distribution.chief:
            return
        epoch = self.position.data_epoch + (kind == 'train')        # counted from 1, over all stages
        self.history.metrics_bytes = self.folder.append(
            {'kind': kind, 'stage': stage.name, 'epoch': epoch, 'step': self.position.global_step, **values})
        self.folder.scalars(self.position.global_step, {f'{kind}/{name}': value for name, value in values.items()})

    def _save(self):
        if not self.distribution.chief:
            return
        state = self.optimizer.state() if self.optimizer else {}
        if self.task:
            state.update({name: variable.numpy() for name, variable in self.task.own_weights().items()})
        if self.average:
            state.update(self.average.state())
        self.history.seconds = self.pace.seconds
        self.history.flags, self.history.data = (self.folder.claimed.get(name, default)
                                                 for name, default in (('flags', {}), ('data', '')))
        self.folder.secure_metrics()        # a checkpoint needs them, also after a power failure
        checkpoints.save_model(str(self.folder.last), self.model, self.config,
                               checkpoints.Progress(state, counters.to_json(self.position, self.history)))

    def _extend(self):
        """Goes on with a finished run where more epochs are wanted after its plan than it has."""
        last = self.settings.stages[-1]
        if self.position.finished and last.name == stages.EXTENDED and self.history.extended < last.epochs:
            self.position.stage, self.position.epoch = len(self.settings.stages) - 1, self.history.extended
            self.position.finished = False

    def _restore_best(self, resumed):
        """Writes best.h5 of a finished run again where it was deleted, with the weights that the run ended with."""
        if self.folder.best.exists() or not self.distribution.chief or not self.tasks.get('detection'):
            return
        if self.settings.ema_decay:
            self.average = Average(self.model.weights, self.settings.ema_decay)
            self.average.restore(resumed)
        with self.average.in_place() if self.average else contextlib.nullcontext():
            checkpoints.save_model(str(self.folder.best), self.model, self.config)
        print(f'note: {self.folder.best} was gone; it is written again with the last weights of the run', flush=True)

    def _resume(self):
        """Loads the last checkpoint; returns the optimiser's arrays, or None for a new run."""
        arrays: dict[str, np.ndarray] = {}

        def load():
            progress = self.folder.load(self.model, len(self.train_set.records))
            if progress is not None:
                arrays.update(progress.optimizer)
            return progress and progress.counters

        found = self.distribution.by_chief(load)
        if self.distribution.workers > 1:       # the chief's weights replace those of the others
            self.distribution.send_variables(self.model.weights)
        if found is None:
            return None
        self.position, self.history = counters.from_json(found)
        return self.distribution.send(arrays)


def _score(task: Task, score) -> str:
    """The score for the progress line."""
    return f'{task.shown} {100 * score:.1f} %'
