"""Turns a recipe into the plan of stages, the settings of the trainer, the network and the run's name."""
from __future__ import annotations

import os
import re
from collections.abc import Sequence

from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.anchors import files as anchor_files
from yolov3_tf.assign import SENSITIVITIES
from yolov3_tf.data.pipeline import PipelineSettings
from yolov3_tf.data.readers import specs
from yolov3_tf.data.windows import Windows
from yolov3_tf.errors import InputError
from yolov3_tf.losses import formulations
from yolov3_tf.losses.criterion import LossSettings
from yolov3_tf.models import checkpoints
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.models.darknet import cfg, weights_file
from yolov3_tf.tiling import Tiling
from yolov3_tf.training import stages
from yolov3_tf.training.optimizers import OptimizerSettings
from yolov3_tf.training.recipe import AUTO, Recipe
from yolov3_tf.training.settings import TrainingSettings

# Epochs and learning rates of the full stage, by whether the network is pretrained when the stage begins.
FULL: dict[bool, tuple[tuple[int, ...], tuple[float, ...]]] = {
    True: ((30, 10), (1e-4, 1e-5)), False: ((60, 20), (1e-3, 1e-4))}
HEAD_EPOCHS = {True: 50, False: 0}


def settings_of(recipe: Recipe, pretrained: bool, precision: str = 'float32') -> TrainingSettings:
    """All settings of the trainer.

    Args:
      pretrained: whether the backbone starts from pretrained weights.
      precision: one of ``precision.POLICIES``, but not auto.

    Raises:
      InputError: settings contradict each other.
    """
    return TrainingSettings(
        stages=stages_of(recipe, pretrained), loss=loss_of(recipe), batches=batches_of(recipe),
        optimizer=OptimizerSettings(recipe.optimizer, recipe.momentum, recipe.weight_decay, recipe.clip_norm),
        seed=recipe.seed, log_steps=recipe.log_steps, checkpoint_steps=recipe.checkpoint_steps,
        loss_scaling=precision == 'float16', sync_batch_norm=recipe.sync_batch_norm,
        accumulate_steps=recipe.accumulate_steps, ema_decay=recipe.ema_decay,
        epochs_between_eval=recipe.epochs_between_eval, minutes=recipe.minutes, cache=recipe.cache,
        profile=recipe.profile, keep_features=recipe.keep_features)


def stages_of(recipe: Recipe, pretrained: bool) -> tuple[stages.Stage, ...]:
    """The plan: the asymptotic stage if asked for, the head on a frozen backbone, then the full network.

    Raises:
      InputError: epochs and rates do not fit each other or the schedule, or there is no epoch to train.
    """
    trained = pretrained or recipe.asymptotic
    epochs, rates = FULL[trained]
    if stages.SCHEDULES[recipe.schedule].one_piece:         # all epochs in one piece, from the first rate
        epochs, rates = (sum(epochs),), rates[:1]
    epochs = recipe.full_epochs if recipe.full_epochs is not None else epochs
    rates = recipe.full_lr if recipe.full_lr is not None else rates
    head_epochs = recipe.head_epochs if recipe.head_epochs is not None else HEAD_EPOCHS[trained]
    plan = stages.two_stages(
        stages.pieces([head_epochs], [recipe.head_lr], 'head'),
        stages.pieces(epochs, rates, 'full') if epochs != (0,) else (),
        recipe.warmup_epochs, recipe.patience, recipe.frozen_bn, recipe.schedule, recipe.decay_power,
        recipe.stop_after, recipe.mix_free_epochs, recipe.restart_cycles, recipe.restart_factor)
    if recipe.asymptotic:
        (piece,) = stages.pieces([recipe.asymptotic_epochs], [recipe.asymptotic_lr], 'asymptotic')
        plan = (stages.asymptotic(*piece), *plan)
    if plan and recipe.extend:
        plan = (*plan, stages.extension(recipe.extend, rates[0]))
    if not plan:
        raise InputError('no epoch to train: give --head_epochs or --full_epochs a positive number')
    return plan


def loss_of(recipe: Recipe) -> LossSettings:
    """The formulation's loss, with the parts that the recipe replaces."""
    parts = {name: getattr(recipe, name) for name in LossSettings._fields if name != 'box'}
    return formulations.settings(recipe.formulation, box=recipe.loss, **parts)


def batches_of(recipe: Recipe) -> PipelineSettings:
    """How training batches are made."""
    sizes = (recipe.image_size,) if recipe.image_size else recipe.train_sizes
    side = _validation_size(recipe)
    windows = Windows(Tiling(recipe.train_tiles), (side, side)) if recipe.train_tiles else None
    return PipelineSettings(batch_size=recipe.batch_size, sizes=sizes, letterbox=recipe.letterbox,
                            augment=recipe.augment, balance_classes=recipe.balance_classes, strict=recipe.strict,
                            windows=windows)


def _validation_size(recipe):
    return recipe.image_size or recipe.val_size


def sensitivity_of(recipe: Recipe, levels: int = len(YOLOV3_ANCHORS.strides)) -> tuple[float, ...]:
    """The grid sensitivity of each level, finest level first; empty for 1 on all levels.

    Args:
      levels: of the network; one factor is taken for all of them.

    Raises:
      InputError: the number of factors is not the number of levels.
    """
    factors = recipe.grid_sensitivity
    if factors is None:
        factors = formulations.FORMULATIONS[recipe.formulation].sensitivity
    if len(factors) == 1:
        return factors * levels
    if factors and len(factors) != levels:
        raise InputError(f'--grid_sensitivity: expected one factor of 1 to 2, or {levels}, finest level first, got '
                         f'{",".join(map(str, factors))}')
    return factors


def network_of(recipe: Recipe, class_names: Sequence[str]) -> ModelConfig:
    """The config of the network to train, as its checkpoints store it; ``fitted_anchors`` may replace its anchors.

    Raises:
      InputError: the cfg, anchors or backbone file cannot be used, or its grid sensitivity does not fit the assigner.
    """
    config = _network_of(recipe, class_names)
    reach = min(config.anchors.sensitivity, default=1.)
    assigner = loss_of(recipe).assigner
    needed = SENSITIVITIES.get(assigner, 1.)
    if reach < needed:
        raise InputError(f'--assigner={assigner} with a grid sensitivity of {reach:g}: predictions do not reach the '
                         f'neighbouring cells; give --grid_sensitivity={needed:g} too')
    return config


def _network_of(recipe, class_names) -> ModelConfig:
    size = _validation_size(recipe)
    own = recipe.anchors not in (None, '', AUTO)
    anchors = anchor_files.read_for_yolov3(str(recipe.anchors)) if own else YOLOV3_ANCHORS
    config = ModelConfig(tuple(class_names), recipe.width_multiplier, (size, size), recipe.letterbox, head=recipe.head,
                         tiles=recipe.train_tiles or '')
    if not recipe.cfg:
        return config._replace(anchors=anchors._replace(sensitivity=sensitivity_of(recipe)))
    network = _cut_cfg(recipe, len(class_names))
    anchors = network.anchors
    if recipe.grid_sensitivity:             # instead of the cfg's scale_x_y
        anchors = anchors._replace(sensitivity=sensitivity_of(recipe, len(anchors.strides)))
    return config._replace(width_multiplier=1., anchors=anchors, cfg=network.text,
                           backbone_layers=network.backbone_layers)


def _cut_cfg(recipe, num_classes) -> cfg.Network:
    """The cfg's network; its backbone ends at the layer where the backbone of the starting weights ends."""
    weights = recipe.backbone_weights or 'imagenet'
    if weights.endswith('.h5'):
        return cfg.load(recipe.cfg, num_classes, checkpoints.describe(weights).backbone_layers)
    network = cfg.load(recipe.cfg, num_classes)
    if weights in ('none', 'imagenet'):
        return network
    _, size = weights_file.inspect(weights)
    return cfg.cut_for(network, size // weights_file.FLOAT.itemsize)


def name_of(recipe: Recipe, on_shapes: bool) -> str:
    """The name of the run's folder below ``runs_dir``."""
    if recipe.name:
        return recipe.name
    loss = loss_of(recipe)
    data = 'shapes' if on_shapes else _data_name(recipe.train_data) if recipe.train_data else 'voc'
    return f'{data}-{loss.box}{"-focal" if loss.focal else ""}-ignore{loss.ignore_thresh:g}'


def _data_name(train_data):
    """The name of a folder, else the format of a spec."""
    if specs.is_folder(train_data):
        name = re.sub(r'[^\w.-]+', '_', os.path.basename(os.path.abspath(train_data))).strip('._')
        return name or 'data'
    return specs.parse(train_data)[0].format
