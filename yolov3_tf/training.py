"""Trains a network through its stages; can be killed at any moment and gone on with.

Everything a run does follows from its settings, its seed and its counters: the data position, the
learning rate and the order of events are functions of (stage, epoch, step). A checkpoint holds the
weights, the optimiser and the counters, so a run that was killed and started again writes the same
weights and the same metrics as one that was not.
"""
from __future__ import annotations

import math
import signal
import time
from typing import NamedTuple, Tuple

import tensorflow as tf

from yolov3_tf import checkpoints, stages
from yolov3_tf.choices import InputError
from yolov3_tf.data import pictures, pipeline
from yolov3_tf.losses import total
from yolov3_tf.optimizers import Optimizer, OptimizerSettings
from yolov3_tf.progress import Bar
from yolov3_tf.run_folder import RunFolder
from yolov3_tf.structures import Dataset
from yolov3_tf.tasks import TASKS


class TrainingSettings(NamedTuple):
    """Attributes:
      stages: run one after another.
      loss, optimizer, batches: settings of the criterion, the optimiser and the input pipeline.
      seed: of the order of pictures and of every augmentation.
      log_steps: steps a line of metrics.
      checkpoint_steps: steps between checkpoints inside an epoch, 0 for none; one is always written at an
        epoch's end.
      validation_batch: pictures at once when validating.
      loss_scaling: for float16.
    """
    stages: Tuple[stages.Stage, ...]
    loss: total.LossSettings
    optimizer: OptimizerSettings
    batches: pipeline.PipelineSettings
    seed: int = 0
    log_steps: int = 20
    checkpoint_steps: int = 500
    validation_batch: int = 8
    loss_scaling: bool = False


class NonFiniteLoss(RuntimeError):
    """The loss or a gradient is not finite. No weight was changed by it; the message names the batch."""


class Interrupted(Exception):
    """The user asked to stop; everything is saved."""


def make_step(compute_loss, optimizer: Optimizer, signature):
    """One training step as a graph: (images, truth, learning rate) -> named scalars.

    ``l2`` is the weight decay's share, which reaches the weights through the optimiser; ``applied`` is 1
    where every gradient was finite and the weights moved.

    Args:
      compute_loss: (images, truth, training) -> named scalars; ``total`` is what is minimised (``tasks``).
    """
    # Nothing in it needs AutoGraph, whose conversion takes five seconds of every start.
    @tf.function(input_signature=[*signature, tf.TensorSpec([], tf.float32)], autograph=False)
    def step(images, truth, rate):
        # Only what trains is watched, so nothing of a resting backbone is kept for the way back.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(optimizer.variables_)
            parts = compute_loss(images, truth, training=True)
            scaled = parts['total'] * optimizer.scale
        l2 = optimizer.decay_term()
        applied = optimizer.apply(tape.gradient(scaled, optimizer.variables_), rate)
        return {**parts, 'l2': l2, 'applied': tf.cast(applied, tf.float32)}
    return step


class Trainer:
    """One run: a model, its data, its folder, and where it stands.

    Args:
      folder: made for this run (``RunFolder.claim``).
      model: starts from its present weights, or from the folder's last checkpoint where there is one.
      description: goes into every checkpoint.
    """

    def __init__(self, folder: RunFolder, model: tf.keras.Model, description: checkpoints.Description,
                 train_set: Dataset, val_set: Dataset, settings: TrainingSettings):
        total.check(settings.loss)
        pipeline.check(settings.batches)
        self.folder, self.model, self.description, self.settings = folder, model, description, settings
        self.train_set, self.val_set = train_set, val_set
        self.steps = pipeline.steps_per_epoch(len(train_set.records), settings.batches.batch_size)
        self.tasks = {name: TASKS[name](model, description, val_set, settings.loss, settings.validation_batch,
                                        settings.batches.strict)
                      for name in dict.fromkeys(stage.task for stage in settings.stages)}
        self.optimizer, self.task, self.step, self.stop = None, None, None, False
        # Every counter is a JSON value: together with the weights they are the whole state of the run.
        self.at = dict(stage=0, epoch=0, step=0, data_epoch=0, global_step=0, sums={}, summed=0, val_losses=[],
                       best=-1., skipped={}, metrics_bytes=0, finished=False, updates=0,
                       pictures=len(train_set.records))

    def run(self) -> bool:
        """Trains to the end of the last stage; False where nothing was left to do.

        Raises:
          Interrupted: Ctrl-C or SIGTERM; a checkpoint is written.
          NonFiniteLoss: names the batch's files and the terms; the last checkpoint is kept.
        """
        resumed = self._resume()
        if self.at['finished']:
            return False
        if self.at['global_step']:
            print(f'going on from {self.folder.last}: step {self.at["global_step"]}', flush=True)
        # One endless stream for all stages: an epoch's pictures do not depend on the stage.
        batches = pipeline.training_batches(self.train_set, self.settings.batches, self.settings.seed,
                                            self.at['data_epoch'], self.at['step'])
        stream = iter(batches)
        previous = {number: signal.signal(number, self._ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while not self.at['finished']:
                self._run_stage(self.settings.stages[self.at['stage']], stream, resumed)
                resumed = None
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        return True

    def _run_stage(self, stage: stages.Stage, stream, resumed):
        stages.freeze(self.model, stage)
        self.task = self.tasks[stage.task]
        self.optimizer = Optimizer(self.task.model.trainable_variables, self.settings.optimizer,
                                   self.settings.loss_scaling)
        if resumed:
            self.optimizer.restore(resumed)
            for name, variable in self.task.own_weights().items():
                variable.assign(resumed[name])
        self.step = make_step(self.task.compute_loss, self.optimizer, stream.element_spec[:2])
        bar = Bar(f'stage {stage.name}', stage.epochs * self.steps, self.at['epoch'] * self.steps + self.at['step'])
        try:
            while not stages.is_over(stage, self.at['epoch'], self.at['val_losses']):
                self._run_epoch(stage, stream, bar)
        finally:
            bar.close()
        self.at.update(stage=self.at['stage'] + 1, epoch=0, val_losses=[])
        self.at['finished'] = self.at['stage'] == len(self.settings.stages)
        self.optimizer = self.task = None
        self._save()

    def _run_epoch(self, stage, stream, bar):
        while self.at['step'] < self.steps:
            self._run_step(stage, self._next(stream), bar)
            checkpoint_due = self.settings.checkpoint_steps and self.at['step'] % self.settings.checkpoint_steps == 0
            if self.stop or checkpoint_due and self.at['step'] < self.steps:
                self._save()
            if self.stop:
                raise Interrupted
        if not self.at['updates']:
            first = next(iter(self.at['skipped'].values()), '')
            raise InputError(f'none of the {len(self.train_set.records)} training pictures can be used: {first}')
        began = time.monotonic()
        self.at.update(step=0, epoch=self.at['epoch'] + 1, data_epoch=self.at['data_epoch'] + 1)
        self._validate(stage, bar)
        self._save()
        bar.pause(time.monotonic() - began)
        if self.stop:
            raise Interrupted

    def _next(self, stream):
        try:
            return next(stream)
        except tf.errors.OpError as error:          # only under strict: the pipeline leaves bad pictures out
            raise pipeline.blame(self.train_set, self._expected(), error) from error

    def _expected(self):
        """Records that the batch at hand should hold."""
        return pipeline.batch_indices(len(self.train_set.records), self.settings.batches.batch_size,
                                      self.settings.seed, self.at['data_epoch'], self.at['step'])

    def _run_step(self, stage, batch, bar):
        images, truth, indices = batch
        self._name_skipped(indices, bar)
        rate = stages.rate_at(stage, self.at['epoch'] * self.steps + self.at['step'], self.steps,
                              self.at['val_losses'])
        parts = {}
        if len(indices):                    # a batch of nothing but bad pictures is a step without update
            parts = {name: float(value)
                     for name, value in self.step(images, truth, tf.constant(rate, tf.float32)).items()}
            self._check_finite(parts, indices)
            del parts['applied']
            self.at['summed'] += 1
            self.at['updates'] += 1
        self.at['step'] += 1
        self.at['global_step'] += 1
        for name, value in parts.items():
            self.at['sums'][name] = self.at['sums'].get(name, 0.) + value
        bar.advance(len(indices), {'lr': rate, **parts})
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

    def _name_skipped(self, indices, bar):
        expected = self._expected()
        if len(indices) == len(expected):
            return
        for place, index in enumerate(expected):
            path = self.train_set.records[index].image_path
            if index in indices.numpy() or path in self.at['skipped']:
                continue
            why = pictures.explain(path)
            if why is None:                 # nothing wrong with the picture: make the true error appear
                position = self.at['step'] * self.settings.batches.batch_size + place
                pipeline.reproduce(self.train_set, self.settings.batches, self.settings.seed,
                                   self.at['data_epoch'], position)
                why = pipeline.reason(path)
            self.at['skipped'][path] = why
            bar.message(f'skipped: {why}')

    def _log_train(self, stage, rate, bar):
        means = {name: value / max(self.at['summed'], 1) for name, value in self.at['sums'].items()}
        self.at.update(sums={}, summed=0)
        self._log('train', stage, {'lr': rate, **means})
        self.folder.scalars(self.at['global_step'], {'images_per_second': bar.speed()})

    def _log(self, kind, stage, values):
        epoch = self.at['data_epoch'] + (kind == 'train')       # counted from 1, over all stages
        self.at['metrics_bytes'] = self.folder.append(
            {'kind': kind, 'stage': stage.name, 'epoch': epoch, 'step': self.at['global_step'], **values})
        self.folder.scalars(self.at['global_step'], {f'{kind}/{name}': value for name, value in values.items()})

    def _validate(self, stage, bar):
        verdict = self.task.validate()
        self.at['val_losses'].append(verdict.losses.get('total', float('inf')))
        for path, why in verdict.skipped.items():
            if self.at['skipped'].setdefault(path, why) is why:
                bar.message(f'skipped: {why}')
        self._log('val', stage, {**verdict.losses, self.task.measure: verdict.score})
        bar.message(f'stage {stage.name}, epoch {self.at["epoch"]}/{stage.epochs}: validation loss '
                    f'{self.at["val_losses"][-1]:.4g}, {self.task.shown} {100 * verdict.score:.1f} %')
        if verdict.page is not None:
            self.folder.pictures(self.at['global_step'], 'validation', verdict.page)
        if self.task.picks_best and (verdict.score > self.at['best'] or not self.folder.best.exists()):
            self.at['best'] = verdict.score
            checkpoints.save_model(str(self.folder.best), self.model, self.description)

    def _save(self):
        state = self.optimizer.state() if self.optimizer else {}
        if self.task:
            state.update({name: variable.numpy() for name, variable in self.task.own_weights().items()})
        checkpoints.save_model(str(self.folder.last), self.model, self.description,
                               checkpoints.Progress(state, self.at))

    def _resume(self):
        """Takes up the last checkpoint; returns the optimiser's arrays, or None for a new run."""
        if not self.folder.last.exists():
            self.folder.rewind_metrics(0)
            return None
        checkpoints.load_weights(str(self.folder.last), self.model)
        progress = checkpoints.load_progress(str(self.folder.last))
        if progress.counters['pictures'] != self.at['pictures']:
            raise InputError(f'{self.folder.root} was trained on {progress.counters["pictures"]} pictures, now there '
                             f'are {self.at["pictures"]}: restore the data to go on, or choose another --name')
        self.at.update(progress.counters)
        self.folder.rewind_metrics(self.at['metrics_bytes'])
        return progress.optimizer

    def _ask_to_stop(self, number, frame):
        del frame
        if self.stop:                       # asked twice: at once
            raise KeyboardInterrupt
        self.stop = True
        print(f'\n{signal.Signals(number).name}: finishing this step, then saving ...', flush=True)
