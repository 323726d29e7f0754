"""Trains a network through its stages; can be killed at any moment and gone on with.

Everything a run does follows from its settings, its seed and its counters: the data position, the
learning rate and the order of events are functions of (stage, epoch, step). A checkpoint holds the
weights, the optimiser and the counters, so a run that was killed and started again writes the same
weights and the same metrics as one that was not. None of it depends on how many devices share the work (``step``,
``distribution``); of several workers the chief alone touches the folder.
"""
from __future__ import annotations

import contextlib
import hashlib
import math
import os
import signal
import time
from typing import NamedTuple

import tensorflow as tf

from yolov3_tf.data import caches, image_files, pipeline
from yolov3_tf.errors import InputError
from yolov3_tf.losses import criterion
from yolov3_tf.models import checkpoints
from yolov3_tf.models.blocks import BatchNorm
from yolov3_tf.progress import Bar
from yolov3_tf.structures import Dataset
from yolov3_tf.training import stages
from yolov3_tf.training import step as training_step
from yolov3_tf.training.averaging import Average
from yolov3_tf.training.distribution import ALONE, Distribution
from yolov3_tf.training.optimizers import Optimizer, OptimizerSettings
from yolov3_tf.training.run_folder import RunFolder
from yolov3_tf.training.tasks import TASKS

PROFILED = range(3, 8)      # steps of a process whose trace --profile keeps; the first ones build graphs


class TrainingSettings(NamedTuple):
    """Attributes:
      stages: run one after another.
      loss, optimizer, batches: settings of the criterion, the optimiser and the input pipeline.
      seed: of the order of images and of every augmentation.
      log_steps: steps a line of metrics.
      checkpoint_steps: steps between checkpoints inside an epoch, 0 for none; one is always written at an
        epoch's end.
      validation_batch: images at once when validating.
      loss_scaling: for float16.
      sync_batch_norm: BatchNorm normalises by the images of all replicas.
      accumulate_steps: pieces that a batch is worked through in, one after another, in as much less memory.
      ema_decay: of the average of the weights that is validated and kept as the best; 0: the weights themselves.
      epochs_between_eval: every so many epochs of a stage, and after its last, the network is validated.
      cache: of ``data.caches.CACHES``.
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
    cache: str = 'none'
    profile: bool = False


class NonFiniteLoss(RuntimeError):
    """The loss or a gradient is not finite. No weight was changed by it; the message names the batch."""


class Interrupted(Exception):
    """The user asked to stop; everything is saved, in the file that the message names."""


def check(settings: TrainingSettings, replicas: int = 1):
    """Raises InputError for settings that contradict each other, or cannot be shared by so many replicas."""
    criterion.check(settings.loss)
    pipeline.check(settings.batches)
    pieces, images = settings.accumulate_steps, settings.batches.batch_size
    if images % (replicas * pieces):
        raise InputError(f'--batch_size={images} is that of all replicas and pieces together: expected a multiple of '
                         f'{replicas} replicas x --accumulate_steps={pieces}')
    if pieces > 1 and settings.loss.positive_weight == 'balanced':
        raise InputError('--accumulate_steps beside --positive_weight=balanced: that weight is counted over the whole '
                         'batch, of which a piece sees a part; leave one of them out')
    for stage in settings.stages:
        for name in ('patience', 'stop_after'):
            if 0 < getattr(stage, name) < settings.epochs_between_eval:
                raise InputError(f'--{name}={getattr(stage, name)} epochs beside --epochs_between_eval='
                                 f'{settings.epochs_between_eval}: stage {stage.name} would run out of patience before '
                                 f'it is looked at again; give a larger --{name}, or 0 for no early end')


class Trainer:
    """One run: a model, its data, its folder, and where it stands.

    Args:
      folder: made for this run (``RunFolder.claim``).
      model: starts from its present weights, or from the folder's last checkpoint where there is one.
      config: goes into every checkpoint.
      distribution: who shares the work; the model must be made in its scope.
    """

    def __init__(self, folder: RunFolder, model: tf.keras.Model, config: checkpoints.ModelConfig,
                 train_set: Dataset, val_set: Dataset, settings: TrainingSettings,
                 distribution: Distribution = ALONE):
        check(settings, distribution.replicas)
        self.distribution = distribution
        self.folder, self.model, self.config, self.settings = folder, model, config, settings
        self.train_set, self.val_set = train_set, val_set
        self.steps = pipeline.steps_per_epoch(len(train_set.records), settings.batches.batch_size)
        with distribution.scope():
            self.tasks = {name: TASKS[name](model, config, val_set, settings.loss, settings.validation_batch,
                                            settings.batches.strict)
                          for name in dict.fromkeys(stage.task for stage in settings.stages)}
        norms = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
        for layer in norms:
            layer.synchronized = settings.sync_batch_norm
        self.statistics = [] if settings.sync_batch_norm else [
            variable for layer in norms for variable in (layer.moving_mean, layer.moving_variance)]
        self.optimizer, self.task, self.average, self.step = None, None, None, None
        self.asked = self.stop = False          # this process; all workers
        self.steps_made = 0                     # by this process
        # Every counter is a JSON value: together with the weights they are the whole state of the run.
        self.at = dict(stage=0, epoch=0, step=0, data_epoch=0, global_step=0, sums={}, summed=0, val_losses=[],
                       scores=[], best=-1., skipped={}, metrics_bytes=0, finished=False, updates=0,
                       images=len(train_set.records))

    def run(self) -> bool:
        """Trains to the end of the last stage; False where nothing was left to do.

        Raises:
          Interrupted: Ctrl-C or SIGTERM; a checkpoint is written.
          NonFiniteLoss: names the batch's files and the terms; the last checkpoint is kept.
        """
        if self.distribution.workers > 1:
            self.distribution.check_alike('settings, network, labels, precision or versions', self._fingerprint())
        resumed = self._resume()
        if self.at['finished']:
            return False
        if self.at['global_step'] and self.distribution.chief:
            print(f'going on from {self.folder.last}: step {self.at["global_step"]}', flush=True)
        # One endless stream for all stages: an epoch's images do not depend on the stage.
        batches = pipeline.training_batches(self.train_set, self.settings.batches, self.settings.seed,
                                            self.at['data_epoch'], self.at['step'],
                                            (self.distribution.worker, self.distribution.workers),
                                            caches.CACHES[self.settings.cache](self._cache_folder()))
        stream = iter(batches)
        previous = {number: signal.signal(number, self._ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while not self.at['finished']:
                self._run_stage(self.settings.stages[self.at['stage']], stream, resumed)
                resumed = None
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            self._end_profile()
        return True

    def _cache_folder(self):
        """Of this process alone: workers that share the run's folder hold different images."""
        several = self.distribution.workers > 1
        return self.folder.root / 'cache' / (f'worker-{self.distribution.worker}' if several else '')

    def _run_stage(self, stage: stages.Stage, stream, resumed):
        stages.freeze(self.model, stage)
        self.task = self.tasks[stage.task]
        with self.distribution.scope():
            self.optimizer = Optimizer(self.task.model.trainable_variables, self.settings.optimizer,
                                       self.settings.loss_scaling)
            if self.settings.ema_decay and self.task.picks_best and not self.average:
                self.average = Average(self.model.weights, self.settings.ema_decay)
        if resumed and 'step' in resumed:       # not between two stages
            self.optimizer.restore(resumed)
            for name, variable in self.task.own_weights().items():
                variable.assign(resumed[name])
        if resumed and self.average:
            self.average.restore(resumed)
        shares = training_step.Shares(self.distribution.strategy, self.settings.batches.batch_size,
                                      self.settings.accumulate_steps)
        self.step = training_step.make(self.task.compute_loss, self.optimizer, stream.element_spec[:2], shares,
                                       self.average if self.task.picks_best else None, self.statistics)
        bar = Bar(f'stage {stage.name}', stage.epochs * self.steps, self.at['epoch'] * self.steps + self.at['step'],
                  None if self.distribution.chief else open(os.devnull, 'w'))
        try:
            while not stages.is_over(stage, self.at['epoch'], self.at['val_losses'], self.at['scores']):
                self._run_epoch(stage, stream, bar)
        finally:
            bar.close()
        self.at.update(stage=self.at['stage'] + 1, epoch=0, val_losses=[], scores=[])
        self.at['finished'] = self.at['stage'] == len(self.settings.stages)
        self.optimizer = self.task = None
        self._save()

    def _run_epoch(self, stage, stream, bar):
        while self.at['step'] < self.steps:
            self._run_step(stage, self._next(stream), bar)
            checkpoint_due = self.settings.checkpoint_steps and self.at['step'] % self.settings.checkpoint_steps == 0
            if self.stop or (checkpoint_due and self.at['step'] < self.steps):
                self._save()
            if self.stop:
                raise Interrupted(self.folder.last)
        if not self.at['updates']:
            first = next(iter(self.at['skipped'].values()), '')
            raise InputError(f'none of the {len(self.train_set.records)} training images can be used: {first}')
        began = time.monotonic()
        self.at.update(step=0, epoch=self.at['epoch'] + 1, data_epoch=self.at['data_epoch'] + 1)
        self._judge(stage, bar)
        self._save()
        bar.pause(time.monotonic() - began)
        if self.stop:
            raise Interrupted(self.folder.last)

    def _next(self, stream):
        try:
            return next(stream)
        except tf.errors.OpError as error:          # only under strict: the pipeline leaves bad images out
            raise pipeline.explain_failure(self.train_set, self._expected(), error) from error

    def _expected(self):
        """Records that the batch at hand should hold."""
        return pipeline.batch_indices(len(self.train_set.records), self.settings.batches.batch_size,
                                      self.settings.seed, self.at['data_epoch'], self.at['step'])

    def _run_step(self, stage, batch, bar):
        images, truth, indices = batch
        rate = stages.rate_at(stage, self.at['epoch'] * self.steps + self.at['step'], self.steps,
                              self.at['val_losses'])
        parts = {'images': 0, 'asked': self.asked}
        if len(indices) or self.distribution.workers > 1:   # nothing but bad images: a step without update
            self._profile()
            parts = {name: float(value)
                     for name, value in self.step(images, truth, tf.constant(rate, tf.float32),
                                                  tf.constant(self.asked, tf.float32)).items()}
        count = round(parts.pop('images'))
        self.stop = self.stop or bool(parts.pop('asked'))
        self._name_skipped(indices, count, bar)
        if count:
            self._check_finite(parts, indices)
            del parts['applied']
            self.at['summed'] += 1
            self.at['updates'] += 1
        else:
            parts = {}
        self.at['step'] += 1
        self.at['global_step'] += 1
        for name, value in parts.items():
            self.at['sums'][name] = self.at['sums'].get(name, 0.) + value
        bar.advance(count, {'lr': rate, **parts})
        if self.at['step'] % self.settings.log_steps == 0 or self.at['step'] == self.steps:
            self._log_train(stage, rate, bar)

    def _check_finite(self, parts, indices):
        # Under loss scaling an overflowing gradient is the scale's business; a NaN in the loss never is.
        bad = [name for name, value in parts.items() if not math.isfinite(value)]
        if bad or not (parts['applied'] or self.settings.loss_scaling):
            files = '\n  '.join(self.train_set.records[index].image_path for index in indices.numpy())
            terms = ', '.join(f'{name} {value:.6g}' for name, value in parts.items())
            raise NonFiniteLoss(
                f'{"the loss" if bad else "a gradient"} is not finite at step {self.at["global_step"]} ({terms}). '
                f'No weight was changed by it; the last good checkpoint, if one was due yet, is {self.folder.last}. '
                f'A lower learning rate (under a new --name) usually helps. The batch:\n  {files}')

    def _name_skipped(self, indices, count, bar):
        expected = self._expected()
        if count == len(expected):
            return
        size = len(expected) // self.distribution.workers
        own = range(self.distribution.worker * size, (self.distribution.worker + 1) * size)
        for place, index in enumerate(expected):
            path = self.train_set.records[index].image_path
            if (place in own and index in indices.numpy()) or path in self.at['skipped']:
                continue
            why = image_files.explain(path)
            if why is None and place not in own:
                continue                    # another worker could read it
            if why is None:                 # nothing wrong with the image: make the true error appear
                position = self.at['step'] * self.settings.batches.batch_size + place
                pipeline.reproduce(self.train_set, self.settings.batches, self.settings.seed,
                                   self.at['data_epoch'], position)
                why = pipeline.reason(path)
            self.at['skipped'][path] = why
            bar.message(f'skipped: {why}')

    def _log_train(self, stage, rate, bar):
        # In one order, whichever way the step was made: plots give colours by it.
        means = {name: value / max(self.at['summed'], 1) for name, value in sorted(self.at['sums'].items())}
        self.at.update(sums={}, summed=0)
        self._log('train', stage, {'lr': rate, **means})
        if self.distribution.chief:
            self.folder.scalars(self.at['global_step'], {'images_per_second': bar.speed()})

    def _log(self, kind, stage, values):
        if not self.distribution.chief:
            return
        epoch = self.at['data_epoch'] + (kind == 'train')       # counted from 1, over all stages
        self.at['metrics_bytes'] = self.folder.append(
            {'kind': kind, 'stage': stage.name, 'epoch': epoch, 'step': self.at['global_step'], **values})
        self.folder.scalars(self.at['global_step'], {f'{kind}/{name}': value for name, value in values.items()})

    def _judge(self, stage, bar):
        """Validates where the epoch is one to; an epoch that is not stands as the one before it did."""
        losses, scores = self.at['val_losses'], self.at['scores']
        due = self.at['epoch'] % self.settings.epochs_between_eval == 0 or self.at['epoch'] == stage.epochs
        loss, score = (losses[-1], scores[-1]) if scores else (float('inf'), -1.)
        if due:
            loss, score = self.distribution.by_chief(lambda: self._validate(stage, bar))
        losses.append(loss)
        scores.append(score)
        if not due and stages.is_over(stage, self.at['epoch'], losses, scores):     # not before it is looked at
            losses[-1], scores[-1] = self.distribution.by_chief(lambda: self._validate(stage, bar))

    def _validate(self, stage, bar):
        """Measures the network, or its average, and keeps it where it is the best: (loss, score)."""
        with self.average.in_place() if self.average and self.task.picks_best else contextlib.nullcontext():
            verdict = self.task.validate()
            if self.task.picks_best and (verdict.score > self.at['best'] or not self.folder.best.exists()):
                self.at['best'] = verdict.score
                checkpoints.save_model(str(self.folder.best), self.model, self.config)
        loss = verdict.losses.get('total', float('inf'))
        for path, why in verdict.skipped.items():
            if self.at['skipped'].setdefault(path, why) is why:
                bar.message(f'skipped: {why}')
        self._log('val', stage, {**verdict.losses, self.task.measure: verdict.score})
        bar.message(f'stage {stage.name}, epoch {self.at["epoch"]}/{stage.epochs}: validation loss '
                    f'{loss:.4g}, {self.task.shown} {100 * verdict.score:.1f} %')
        if verdict.page is not None:
            self.folder.images(self.at['global_step'], 'validation', verdict.page)
        return [loss, verdict.score]

    def _save(self):
        if not self.distribution.chief:
            return
        state = self.optimizer.state() if self.optimizer else {}
        if self.task:
            state.update({name: variable.numpy() for name, variable in self.task.own_weights().items()})
        if self.average:
            state.update(self.average.state())
        self.folder.secure_metrics()        # a checkpoint counts on them, also after a power cut
        checkpoints.save_model(str(self.folder.last), self.model, self.config,
                               checkpoints.Progress(state, self.at))

    def _resume(self):
        """Takes up the last checkpoint; returns the optimiser's arrays, or None for a new run."""
        arrays = {}

        def load():
            if not self.folder.last.exists():
                self.folder.rewind_metrics(0)
                return None
            checkpoints.load_weights(str(self.folder.last), self.model)
            progress = checkpoints.load_progress(str(self.folder.last))
            if progress.counters['images'] != self.at['images']:
                raise InputError(
                    f'{self.folder.root} was trained on {progress.counters["images"]} images, now there are '
                    f'{self.at["images"]}: restore the data to go on, or choose another --name')
            self.folder.rewind_metrics(progress.counters['metrics_bytes'])
            arrays.update(progress.optimizer)
            return progress.counters

        found = self.distribution.by_chief(load)
        if self.distribution.workers > 1:       # the chief's, whatever the others started from
            names = [str(number) for number in range(len(self.model.weights))]
            sent = self.distribution.send(dict(zip(names, (variable.numpy() for variable in self.model.weights))))
            for name, variable in zip(names, self.model.weights):
                variable.assign(sent[name])
        if found is None:
            return None
        self.at.update(found)
        return self.distribution.send(arrays)

    def _fingerprint(self):
        """What all workers must agree on before they train together."""
        labels = hashlib.sha256()
        for record in (*self.train_set.records, *self.val_set.records):
            labels.update(record.boxes.tobytes() + record.classes.tobytes() + bytes([len(record.boxes) % 256]))
        shapes = [tuple(variable.shape) for variable in self.model.weights]
        versions = [tf.__version__, tf.keras.mixed_precision.global_policy().name,
                    len(self.distribution.strategy.extended.worker_devices)]
        return repr([self.settings, self.config, shapes, versions, len(self.train_set.records),
                     labels.hexdigest()])

    def _profile(self):
        """Starts and ends the trace, before a step."""
        if self.settings.profile and self.distribution.chief:
            if self.steps_made == PROFILED.start:
                tf.profiler.experimental.start(str(self.folder.root / 'events'))
            if self.steps_made == PROFILED.stop:
                self._end_profile()
        self.steps_made += 1

    def _end_profile(self):
        if self.settings.profile and self.distribution.chief and self.steps_made > PROFILED.start:
            tf.profiler.experimental.stop()
            self.steps_made = -math.inf         # once a process

    def _ask_to_stop(self, number, frame):
        del frame
        if self.asked:                      # asked twice: at once
            raise KeyboardInterrupt
        self.asked = True
        self.stop = self.distribution.workers == 1      # several stop after the same step
        print(f'\n{signal.Signals(number).name}: finishing this step, then saving ...', flush=True)
