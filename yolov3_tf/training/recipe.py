"""All settings of a training run with their defaults, types, ranges and choices.

A setting has the same name as a field of ``Recipe``, a flag of ``train``, a line of run.flags and an argument of
``train_with``. TensorFlow is imported only where choices are asked for, a recipe is checked (``recipe_check``) or
trained, so that a program that only plans runs (``experiments``) needs little memory.
"""
from __future__ import annotations

import difflib
import inspect
import math
import os
import re
from collections.abc import Collection
from typing import Any, NamedTuple

from yolov3_tf.errors import InputError


class Recipe(NamedTuple):
    """One training run. None means the value that fits the other settings (formulation, data, starting weights).

    Attributes:
      train_data: Images to train on: a labelled folder, or a data spec such as voc:DIR:SPLIT or yolo:YAML:SPLIT, or
        several joined by commas (docs/DATA.md). Without it VOCdevkit/ is taken where there is one.
      val_data: Images to validate on, as a data spec or folder; else the validation part of the folder to train on, or
        one that is drawn. shapes brings its own.
      val_fraction: Share of the training images that is drawn to validate on where no validation data are given.
      classes: File of class names, one a line. Without it VOC's twenty are taken if they fit, else the names found.
      strict: Stop at the first bad annotation or image instead of skipping and naming it.
      backbone_weights: Weights that the backbone starts from: imagenet (the default on real data), a darknet
        backbone file, a checkpoint (.h5) whose backbone is taken, or none.
      download: Fetch the weights named imagenet or coco from their publisher if they are not there.
      init_weights: Weights that the whole network starts from: coco (yolov3.weights of weights/), a checkpoint (.h5)
        or another darknet file. Output layers start afresh where the number of classes differs.
      cfg: Darknet cfg of the network to train instead of YOLOv3; it brings its own anchors.
      anchors: File of anchors, as yolov3-tf anchors writes it, instead of the published nine; auto fits the network's
        own to the training boxes where these have few good ones.
      width_multiplier: Scales the filters of every layer; 1 is the published network.
      head: Prediction layers: one output a level (coupled), or box and class apart.
      image_size: One input size in pixels, a multiple of 32, for training and validation.
      train_sizes: Input sizes to train at, changed every 10 batches (without image_size).
      val_size: Input size to validate and export at (without image_size).
      train_tiles: For small objects in large images: train on random windows of them, and validate in tiles, of the
        network's input size (auto), so many along the longer side (2 to 31) or so many pixels (32 or more).
      letterbox: Keep the proportions of images between grey margins instead of stretching them.
      augment: Augmentations of training images, applied in the order of their table; empty for none.
      balance_classes: Show images with rare classes more often, others less; an epoch has as many images as before.
      mixed_precision: Arithmetic of the network; auto takes what is fast on this GPU or, by a measurement, CPU.
      formulation: Version of YOLO whose loss is taken; a setting given beside it replaces that part.
      loss: Box term of the loss.
      focal: Focal loss on objectness.
      ignore_thresh: IoU with an object from which a prediction that is not positive is ignored.
      ignore_scope: Objects that this IoU is taken with.
      matched: Object that an overlap loss compares a prediction with.
      label_smoothing: Class targets of .99 y + .01 / C instead of y.
      assigner: Rule that says which anchors are positive for an object.
      assign_thresh: Threshold of the assigner, where it has one.
      objectness: Objectness term of the loss.
      objectness_target: What the objectness of a positive slot should be.
      positive_weight: Weight of the objectness of positive slots.
      classification: Class term of the loss.
      box_weight: Factor on the box term.
      class_weight: Factor on the class term.
      background_weight: Factor on the objectness of slots without object.
      output_prior: Fresh prediction layers start from how often the training data have an object and each class,
        instead of from a probability of .5.
      grid_sensitivity: How far beyond its cell a centre can be predicted, a factor a level from the finest, such as
        1.2,1.1,1.05.
      asymptotic: Asymptotic fine tuning: first let the backbone learn which classes an image holds.
      asymptotic_epochs: Epochs of the asymptotic stage.
      asymptotic_lr: Learning rate of the asymptotic stage.
      head_epochs: Most epochs of the head stage, which trains the head on the frozen backbone (default 50; 0 from
        random weights).
      head_lr: Learning rate of the head stage.
      patience: Epochs without lower validation loss that end the head stage, or a piece of the plateau schedule; 0
        for never.
      full_epochs: Epochs of the full stage, which trains everything, a count a learning rate (default 30,10; 60,20
        from random weights).
      full_lr: Learning rates of the full stage (default 1e-4,1e-5; 1e-3,1e-4 from random weights).
      minutes: Minutes that the whole run may take, instead of epochs: after the first epoch of the full stage, as many
        more are planned as fit, and the schedule ends with them.
      schedule: How the learning rate of the full stage falls.
      decay_power: Exponent of the power schedule.
      restart_cycles: Cycles of the restarts schedule.
      restart_factor: How many times as long as the one before a cycle of the restarts schedule is.
      warmup_epochs: Epochs of linear warm-up before everything else.
      bn_momentum: Share of BatchNorm's averages that a step keeps.
      frozen_bn: What BatchNorm does in a frozen backbone.
      keep_features: Compute a frozen backbone once for each image and train the head on the kept results: for the head
        stage with frozen_bn=fixed, one image_size and no augmentation but flips and quarter turns.
      stop_after: Epochs without better mAP that end the full stage; 0 for never.
      extend: Epochs after the end of the plan, at a tenth of the full stage's first rate falling to 0; a finished run
        goes on with them.
      mix_free_epochs: Last epochs of the full stage in which no image is mixed with others (mosaic, cutmix, mixup).
      batch_size: Images a step, over all devices and workers.
      accumulate_steps: Pieces that a batch is worked through in, one after another: the batch stays what it is and
        takes as much less memory.
      optimizer: Update rule.
      momentum: Momentum of sgd.
      weight_decay: Weight decay of convolution kernels.
      clip_norm: Largest norm of a gradient tensor; inf for no clip.
      ema_decay: Decay of a moving average of the weights, for example 0.9998, which is then validated and exported; 0
        takes the weights themselves.
      strategy: Who trains together: one device, all of this machine, or all workers of TF_CONFIG
        (docs/DISTRIBUTED.md).
      logical_devices: Devices that a machine without GPU is split into, to try strategies on it.
      sync_batch_norm: BatchNorm normalises by the images of all devices, not by those of its own.
      deterministic: The same bits from every run on a GPU too, more slowly.
      name: Folder of the run below runs_dir; without it one made of data and loss.
      runs_dir: Folder of all runs.
      export: End with a SavedModel of the best checkpoint.
      seed: Seed of weights, order and augmentation.
      log_steps: Steps a line of metrics.
      epochs_between_eval: Epochs from one validation to the next; the last epoch of a stage always has one.
      cache: Keep the files of images, once read, in memory or in the run's folder: for data on a slow disk or network.
        auto takes memory if they fit in a quarter of what is free.
      profile: Keep a trace of five steps for TensorBoard.
      checkpoint_steps: Steps between checkpoints inside an epoch; 0 for one at its end only.
    """
    train_data: str | None = None
    val_data: str | None = None
    val_fraction: float = .2
    classes: str | None = None
    strict: bool = False
    backbone_weights: str | None = None
    download: bool = False
    init_weights: str | None = None
    cfg: str | None = None
    anchors: str | None = None
    width_multiplier: float = 1.
    head: str = 'coupled'
    image_size: int | None = None
    train_sizes: tuple[int, ...] = tuple(range(320, 641, 32))
    val_size: int = 416
    train_tiles: str | None = None
    letterbox: bool = True
    augment: tuple[str, ...] = ('colour', 'expand', 'crop', 'interpolation', 'flip')
    balance_classes: bool = False
    mixed_precision: str = 'auto'
    formulation: str = 'yolov3'
    loss: str | None = None
    focal: bool | None = None
    ignore_thresh: float | None = None
    ignore_scope: str | None = None
    matched: str | None = None
    label_smoothing: bool | None = None
    assigner: str | None = None
    assign_thresh: float | None = None
    objectness: str | None = None
    objectness_target: str | None = None
    positive_weight: str | None = None
    classification: str | None = None
    box_weight: float | None = None
    class_weight: float | None = None
    background_weight: float | None = None
    output_prior: bool = False
    grid_sensitivity: tuple[float, ...] | None = None
    asymptotic: bool = False
    asymptotic_epochs: int = 10
    asymptotic_lr: float = 1e-3
    head_epochs: int | None = None
    head_lr: float = 1e-3
    patience: int = 5
    full_epochs: tuple[int, ...] | None = None
    full_lr: tuple[float, ...] | None = None
    minutes: float | None = None
    schedule: str = 'piecewise'
    decay_power: float = 1.
    restart_cycles: int = 3
    restart_factor: float = 2.
    warmup_epochs: int = 0
    bn_momentum: float = .99
    frozen_bn: str = 'adapt'
    keep_features: bool = False
    stop_after: int = 0
    extend: int = 0
    mix_free_epochs: int = 0
    batch_size: int = 4
    accumulate_steps: int = 1
    optimizer: str = 'sgd'
    momentum: float = .9
    weight_decay: float = 5e-4
    clip_norm: float = 100.
    ema_decay: float = 0.
    strategy: str = 'auto'
    logical_devices: int = 1
    sync_batch_norm: bool = False
    deterministic: bool = False
    name: str | None = None
    runs_dir: str = 'runs'
    export: bool = True
    seed: int = 0
    log_steps: int = 20
    epochs_between_eval: int = 1
    cache: str = 'none'
    profile: bool = False
    checkpoint_steps: int = 500


DEFAULTS = Recipe()
AUTO = 'auto'       # of anchors, which otherwise are a file
# A resumed run may change these; every other setting changes its result.
MAY_DIFFER = ('name', 'runs_dir', 'download', 'checkpoint_steps', 'strict', 'export', 'strategy', 'logical_devices',
              'profile', 'cache')
MAY_GROW = ('extend',)          # a finished run goes on with more of it
# (setting, setting, why they contradict each other)
CONTRADICTIONS = (
    ('image_size', 'train_sizes', 'one is a single size, the other is several'),
    ('image_size', 'val_size', 'the first already says at which size to validate'),
    ('init_weights', 'backbone_weights', 'the first already brings a backbone'),
    ('cfg', 'anchors', 'the cfg brings its own'),
    ('cfg', 'width_multiplier', 'the cfg says how wide every layer is'),
    ('minutes', 'full_epochs', 'the first plans the second'),
    ('keep_features', 'train_tiles', 'every window is a new image, whose features were not kept'),
    ('asymptotic', 'train_tiles', 'its stage learns which classes whole images hold'))


class Range(NamedTuple):
    """Numbers from ``lowest`` to ``highest``; with ``above``, the lowest itself is excluded."""
    lowest: float
    highest: float = math.inf
    above: bool = False

    def holds(self, value: float) -> bool:
        """Whether the value is in the range."""
        return (value > self.lowest if self.above else value >= self.lowest) and value <= self.highest

    def __str__(self):
        if self.highest == math.inf:
            return f'more than {self.lowest:g}' if self.above else f'{self.lowest:g} or more'
        return f'{"more than" if self.above else "from"} {self.lowest:g} to {self.highest:.12g}'


POSITIVE, COUNT, AT_LEAST_ONE = Range(0, above=True), Range(0), Range(1)
RANGES = {
    'val_fraction': Range(0, .9, above=True),
    'width_multiplier': POSITIVE, 'image_size': Range(32), 'train_sizes': Range(32), 'val_size': Range(32),
    'ignore_thresh': Range(0, 1, above=True), 'assign_thresh': POSITIVE, 'box_weight': POSITIVE,
    'class_weight': POSITIVE, 'background_weight': POSITIVE, 'bn_momentum': Range(0, .9999),
    'grid_sensitivity': Range(1, 2), 'asymptotic_epochs': AT_LEAST_ONE, 'asymptotic_lr': POSITIVE,
    'head_epochs': COUNT, 'head_lr': POSITIVE, 'patience': COUNT, 'full_epochs': COUNT, 'full_lr': POSITIVE,
    'minutes': POSITIVE, 'decay_power': COUNT, 'restart_cycles': AT_LEAST_ONE, 'restart_factor': Range(1, 10),
    'warmup_epochs': COUNT, 'stop_after': COUNT,
    'extend': COUNT, 'mix_free_epochs': COUNT,
    'batch_size': AT_LEAST_ONE, 'accumulate_steps': AT_LEAST_ONE, 'momentum': Range(0, .9999), 'weight_decay': COUNT,
    'clip_norm': Range(1e-6), 'ema_decay': Range(0, .999999), 'logical_devices': AT_LEAST_ONE,
    'seed': Range(0, 2**32 - 1), 'log_steps': AT_LEAST_ONE, 'epochs_between_eval': AT_LEAST_ONE,
    'checkpoint_steps': COUNT}
MAY_BE_INFINITE = ('clip_norm',)


class Kind(NamedTuple):
    """The type of a setting. type: of one value; several: it is a tuple of such values; optional: it may be None."""
    type: type
    several: bool
    optional: bool


NAMED = {'int': int, 'float': float, 'str': str, 'bool': bool}
IN_WORDS = {int: 'a whole number', float: 'a number', str: 'a text', bool: 'true or false'}
SEVERAL_IN_WORDS = {int: 'whole numbers', float: 'numbers', str: 'names'}


def kind(name: str) -> Kind:
    """The type of a setting, from its annotation."""
    annotation = Recipe.__annotations__[name]
    text = getattr(annotation, '__forward_arg__', str(annotation))
    return Kind(NAMED[re.findall('int|float|str|bool', text)[0]], text.startswith('tuple'), 'None' in text)


def descriptions() -> dict[str, str]:
    """Setting -> its description in the docstring of ``Recipe``."""
    text = inspect.cleandoc(Recipe.__doc__ or '').partition('Attributes:\n')[2]
    return {name: ' '.join(words.split()) for name, words in re.findall(r'^  (\w+): (.*(?:\n    .*)*)', text, re.M)}


def choices() -> dict[str, Collection[str]]:
    """Setting -> its allowed names, in the order of their tables. Imports TensorFlow."""
    from yolov3_tf.assign import ASSIGNERS
    from yolov3_tf.data.caches import CACHES
    from yolov3_tf.data.pipeline import AUGMENTATIONS
    from yolov3_tf.losses import box, classes, criterion, formulations, objectness
    from yolov3_tf.models.head import HEADS
    from yolov3_tf.training import distribution, optimizers, precision, stages
    tables: dict[str, Collection[str]] = dict(
        head=HEADS, augment=AUGMENTATIONS, mixed_precision=precision.POLICIES, formulation=formulations.FORMULATIONS,
        loss=box.BOX_LOSSES, ignore_scope=criterion.IGNORE_SCOPES, matched=criterion.MATCHES, assigner=ASSIGNERS,
        objectness=objectness.OBJECTNESS_LOSSES, objectness_target=objectness.TARGETS,
        positive_weight=objectness.POSITIVE_WEIGHTS, classification=classes.CLASS_LOSSES, schedule=stages.SCHEDULES,
        frozen_bn=stages.FROZEN_BN, optimizer=optimizers.KINDS, strategy=distribution.STRATEGIES, cache=CACHES)
    return {name: tuple(table) for name, table in tables.items()}


def make(**settings: Any) -> Recipe:
    """A recipe of these settings and the defaults. Lists become tuples, and a single value a tuple of one.

    Raises:
      InputError: a setting is unknown or has another type. ``recipe_check.check`` checks the ranges.
    """
    for name in settings:
        check_name(name)
    return Recipe(**{name: typed(name, value) for name, value in settings.items()})


def check_name(name: str):
    """Raises InputError for an unknown setting; the message lists the most similar ones, or all."""
    if name not in Recipe._fields:
        near = difflib.get_close_matches(name, Recipe._fields, 3)
        raise InputError(f'unknown setting {name!r}: '
                         + (f'is it {" or ".join(near)}?' if near else f'expected one of {", ".join(Recipe._fields)}'))


def typed(name: str, value: Any) -> Any:
    """``value`` in the setting's type: a list becomes a tuple, a whole number a float, a path a text.

    Raises:
      InputError: it has another type.
    """
    wanted, several, optional = kind(name)
    if value is None and optional:
        return None
    if not several:
        return _one(name, wanted, value)
    values = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(_one(name, wanted, one) for one in values)


def _one(name, wanted, value):
    if wanted is str and isinstance(value, os.PathLike):
        return os.fspath(value)
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        raise InputError(f'{name}={value!r}: expected {IN_WORDS[wanted]}, got {type(value).__name__}')
    return value


def given(recipe: Recipe, name: str) -> bool:
    """Whether a setting differs from its default; run.flags of an earlier run contains the defaults too."""
    return getattr(recipe, name) not in (None, '', (), getattr(DEFAULTS, name))


def check_value(name: str, value: Any, names: Collection[str] | None = None):
    """Raises InputError for a number outside its range, or a value that is not in ``names``."""
    values = [one for one in (value if isinstance(value, tuple) else (value,)) if one is not None]
    for one in values:
        shown = f'--{name}={one}'
        if isinstance(one, float) and not math.isfinite(one) and not (name in MAY_BE_INFINITE and one > 0):
            raise InputError(f'{shown}: expected a finite number')
        if name in RANGES and not RANGES[name].holds(one):
            raise InputError(f'{shown}: expected {RANGES[name]}')
        if names is not None and one not in names:
            raise InputError(f'{shown}: expected one of {", ".join(sorted(names))}')
