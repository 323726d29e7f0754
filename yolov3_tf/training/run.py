"""One training run from data to an exported model; both the command ``train`` and Python call it."""
from __future__ import annotations

import contextlib
import os
import pathlib
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import tensorflow as tf

from yolov3_tf import export
from yolov3_tf.drawing import plots
from yolov3_tf.evaluation import classification, report, results, validation
from yolov3_tf.evaluation.report import DetectionReport
from yolov3_tf.models import checkpoints
from yolov3_tf.models.keras_policy import keras_policy
from yolov3_tf.run_report import card, classifier_page, contents, lock, page
from yolov3_tf.structures import Dataset
from yolov3_tf.training import (
    agreement,
    distribution,
    fitted_anchors,
    flag_texts,
    plan,
    precision,
    preview,
    recipe,
    recipe_check,
    rehearsal,
    run_data,
    settings,
    starting_weights,
)
from yolov3_tf.training.distribution import Distribution
from yolov3_tf.training.recipe import Recipe
from yolov3_tf.training.run_folder import RunFolder
from yolov3_tf.training.stopping import Interrupted
from yolov3_tf.training.trainer import Trainer

TRAINED, EVALUATED = 'trained', 'evaluated again'


class Run(NamedTuple):
    """A finished run.

    Attributes:
      folder: the folder of its files (``run_folder``).
      checkpoint: best.h5, the checkpoint with the highest validation mAP; it exists only after a detection stage.
      saved_model: the export of that checkpoint, or None.
      report: evaluates that checkpoint on the validation data; None without a detection stage, and on all workers
        except the chief.
      status: ``TRAINED``, or ``EVALUATED`` if nothing was left to train.
    """
    folder: pathlib.Path
    checkpoint: pathlib.Path
    saved_model: pathlib.Path | None
    report: DetectionReport | None
    status: str


def train(asked: Recipe) -> Run:
    """Trains, or continues a run that was stopped; then evaluates, plots and exports the best checkpoint.

    During the call the Keras policy is that of the recipe; afterwards it is the caller's again.

    Raises:
      InputError: settings, data or files cannot be used.
      Interrupted: Ctrl-C, SIGTERM or a closed terminal; a checkpoint is written, and the same call continues from it.
      NonFiniteLoss: the loss or a gradient is not finite.
      PeerLost: the connection to another worker is lost.
    """
    with _started(asked) as (precise, devices), distribution.watched(devices):
        return _train(asked, precise, devices)


def rehearse(asked: Recipe) -> str:
    """Finds out what a training will take (``rehearsal``), without writing anything; the lines to print.

    Raises:
      InputError: as ``train``, except for what only the run's folder can tell.
    """
    with _started(asked) as (precise, devices):
        prepared = _prepare(asked._replace(cache='none', profile=False), precise, devices, writes=False)
        text = rehearsal.describe(rehearsal.rehearse(prepared.trainer), prepared.trainer)
        there = run_data.folder_of(asked)
        return text + (f'\nnote: {there.root} is there already: the command goes on with that run; another --name '
                       'begins a new one' if there.last.exists() else '')


@contextlib.contextmanager
def _started(asked: Recipe) -> Iterator[tuple[str, Distribution]]:
    """Checks the recipe and starts the devices: (precision, devices). Afterwards the Keras policy is as before."""
    recipe_check.check(asked)
    policy = tf.keras.mixed_precision.global_policy()
    try:
        precision.check(asked.mixed_precision)
        precision.grow_memory()
        if idle := precision.unused_gpus():
            print(f'note: {idle}', file=sys.stderr)
        devices = distribution.start(asked.strategy, asked.logical_devices)
        choice = precision.apply(asked.mixed_precision)     # after the devices: it may compute
        print(choice.describe())
        settings.check(plan.settings_of(asked, False, choice.precision), devices.replicas)
        if asked.deterministic:
            tf.config.experimental.enable_op_determinism()
        yield choice.precision, devices
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)


class _Prepared(NamedTuple):
    """A run before its first step. new: it has no checkpoint yet."""
    folder: RunFolder
    data: run_data.Data
    trainer: Trainer
    new: bool


def _prepare(asked: Recipe, precise: str, devices: Distribution, writes: bool = True) -> _Prepared:
    """Reads the data and makes the network; ``writes``: the run has a folder."""
    data = run_data.load(asked)
    tf.keras.utils.set_random_seed(asked.seed)
    folder = run_data.folder_of(asked) if writes else RunFolder(os.devnull)
    config = _with_anchors(asked, plan.network_of(asked, data.train.class_names), data.train, folder)
    with devices.scope():
        new = not folder.last.exists()          # otherwise the checkpoint brings all weights
        start = starting_weights.start(asked, config, data.train if new else None, data.on_shapes)
    if new:
        print(f'weights: {start.origin}')
    chosen = plan.settings_of(asked, start.pretrained, precise)
    return _Prepared(folder, data, Trainer(folder, start.model, config, data.train, data.val, chosen, devices), new)


def _train(asked: Recipe, precise: str, devices: Distribution) -> Run:
    folder, data, trainer, new = _prepare(asked, precise, devices)
    devices.by_chief(lambda: folder.claim(flag_texts.texts_of(asked), data.train.class_names,
                                          recipe.MAY_DIFFER + recipe.MAY_GROW, flag_texts.texts_of(recipe.DEFAULTS),
                                          agreement.of_annotations(data.train, data.val)))
    devices.by_chief(lambda: data.keep(folder.split))
    print(f'run {folder.root}: {len(data.train.records)} training and {len(data.val.records)} validation images, '
          f'{len(data.train.class_names)} classes, {trainer.model.count_params():,} parameters, {precise}, '
          f'{devices.describe()}')
    if trainer.config.tiles:
        print(f'tiles    {trainer.config.tiles}: {trainer.steps * asked.batch_size} windows an epoch; validated in '
              'tiles, as detect and evaluate will look')
    if new:
        devices.by_chief(lambda: preview.write_truth(folder.validation_truth, data.val))
        print(f'see      {folder.validation_truth}, {folder.first_batches}')
    try:
        status = TRAINED if trainer.run() else EVALUATED
    except KeyboardInterrupt:
        raise Interrupted(folder.last if folder.last.exists() else None) from None
    if status == EVALUATED:
        print('this run is finished; it is evaluated again (--extend=10 trains it ten more epochs)')
    finished: list[Run] = []        # only on the chief: a report is not a JSON value, so the others cannot receive it
    devices.by_chief(lambda: finished.append(_finish(folder, trainer, data.val, asked.export, status)))
    if trainer.history.skipped:
        print(f'{len(trainer.history.skipped)} images were skipped:')
        for why in trainer.history.skipped.values():
            print(f'  {why}')
    return finished[0] if finished else Run(folder.root, folder.best, None, None, status)


def _with_anchors(asked, config, train_set, folder) -> checkpoints.ModelConfig:
    """The config with anchors fitted to the data under ``--anchors=auto``; a run that goes on keeps those it has."""
    if asked.anchors != recipe.AUTO:
        return config
    if folder.last.exists():
        before = checkpoints.describe(str(folder.last))
        return config._replace(anchors=before.anchors, cfg=before.cfg)
    fit = fitted_anchors.fit(config, train_set)
    print(fit.message)
    return fit.config


def _finish(folder: RunFolder, trainer: Trainer, val_set: Dataset, wanted_export: bool, status: str) -> Run:
    """Writes the results of a run, by the task of its last stage."""
    if trainer.settings.stages[-1].task == 'detection':
        found, saved_model = evaluate_best(folder, trainer, val_set, wanted_export)
        return Run(folder.root, folder.best, saved_model, found, status)
    _finish_classification(folder, trainer)
    return Run(folder.root, folder.best, None, None, status)


def evaluate_best(folder: RunFolder, trainer: Trainer, val_set: Dataset, wanted_export: bool
                  ) -> tuple[DetectionReport, pathlib.Path | None]:
    """Evaluates, plots and exports the best checkpoint, and writes the run's page; it can be repeated."""
    with keras_policy('float32'):
        model, config = checkpoints.load_model(str(folder.best))
    validator = validation.Validator(model, config, val_set)
    outcome = validator.run()
    results.write_coco(folder.evaluation / 'detections.json', outcome.detections)
    found = report.evaluate(report.read_part(val_set, outcome.skipped), outcome.detections)
    print(f'\nbest checkpoint, {len(outcome.detections)} validation images:\n{report.table(found)}')
    if outcome.skipped:
        print(report.describe_skipped(val_set, outcome.skipped))
    written = report.write(folder.evaluation, found)
    print(f'scores   {written}')
    saved = None
    if wanted_export:
        settings = export.DEFAULTS._replace(operating=found.operating)
        saved = pathlib.Path(export.export(model, config, folder.saved_model, 1, settings, overwrite=True))
        print(f'serve    {saved}')
    _draw('curves', lambda: plots.training_curves(folder.metrics, folder.root / 'curves.png'))
    _draw('', lambda: plots.precision_recall(written, folder.evaluation / 'precision_recall.png'))
    _draw('report', lambda: _report(folder, trainer, outcome, found, model.count_params(), validator.speed()))
    return found, saved


def _draw(name, work):
    """Prints the name and file of a drawing; one that fails is a note, for the model is there and is what counts."""
    try:
        path = work()
    except Exception as error:
        print(f'note: {name or "a plot"} could not be drawn ({type(error).__name__}: {error})', file=sys.stderr)
    else:
        if name:
            print(f'{name:8} {path}')


def _report(folder, trainer, outcome, found, parameters, speed) -> pathlib.Path:
    """Writes the page, the model card and the lock of a run; returns the path of the page."""
    made_with = _lock(folder, trainer, parameters, speed, folder.best)
    flags = flag_texts.read_values(folder.flags)
    shown = contents.gather(folder.root.name, contents.evaluated_on(flags), trainer.val_set, outcome.detections, found,
                            made_with, contents.read_metrics(folder.metrics), outcome.skipped)
    card.write(folder.root, shown)
    return page.write(folder.root / page.NAME, shown)


def _lock(folder, trainer, parameters, speed, checkpoint) -> dict[str, Any]:
    """Writes what a run was made with; returns it."""
    config = trainer.config
    made_with = lock.describe(
        folder.root.name, flag_texts.read_values(folder.flags),
        lock.Network(config.image_size, config.letterbox, parameters, config.tiles),
        lock.Course(trainer.history.seconds / 60, trainer.position.global_step, speed), trainer.train_set,
        trainer.val_set, checkpoint)
    lock.write(folder.root, made_with)
    return made_with


def _finish_classification(folder, trainer):
    """Writes the results of a run with only the asymptotic stage: classification scores, curves and a page."""
    task = trainer.tasks['classification']
    result = task.validate()
    flags, images = flag_texts.read_values(folder.flags), len(trainer.val_set.records) - len(result.skipped)
    made_with = _lock(folder, trainer, trainer.model.count_params(), 0., folder.last)
    page_file = classifier_page.write(folder.root / page.NAME, classifier_page.render(
        folder.root.name, contents.evaluated_on(flags), task.report, images, contents.read_metrics(folder.metrics),
        made_with, folder.last))
    print(f'\n{classification.table(task.report)}\n'
          f'scores   {classification.write(folder.evaluation, task.report)}\n'
          f'curves   {plots.training_curves(folder.metrics, folder.root / "curves.png")}\n'
          f'report   {page_file}\n'
          f'backbone {folder.last} (go on with --backbone_weights={folder.last})')
