"""The network with the weights that a run starts from."""
from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from yolov3_tf.models import checkpoints
from yolov3_tf.models.blocks import BatchNorm
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.models.darknet import cfg, pretrained
from yolov3_tf.models.darknet import weights as darknet_weights
from yolov3_tf.structures import Dataset
from yolov3_tf.training import output_prior, plan
from yolov3_tf.training.recipe import Recipe


class Start(NamedTuple):
    """Attributes:
      model: the network with its starting weights.
      pretrained: whether its backbone is pretrained.
      origin: a description of the weights, for the log.
    """
    model: tf.keras.Model
    pretrained: bool
    origin: str


def start(recipe: Recipe, config: ModelConfig, train_set: Dataset | None, on_shapes: bool) -> Start:
    """Builds the network and reads its starting weights.

    Args:
      train_set: its frequencies are the output prior, where the recipe asks for one; None for a run that goes on.
      on_shapes: the data are the built-in shapes, for which the default is random weights instead of ImageNet's.

    Raises:
      InputError: the weights do not exist or do not fit.
    """
    model = checkpoints.build(config)
    for layer in model.layers:
        if isinstance(layer, BatchNorm):
            layer.momentum = recipe.bn_momentum
    if recipe.output_prior and train_set is not None:
        output_prior.start_from(model, output_prior.count(train_set, config, plan.loss_of(recipe)))
    if recipe.init_weights:
        return _whole(pretrained.locate_whole(recipe.init_weights, recipe.download), model)
    choice = recipe.backbone_weights or ('none' if on_shapes else 'imagenet')
    path = pretrained.locate_backbone(choice, recipe.download)
    if path is None:
        why = 'on built-in shapes, ' if on_shapes and not recipe.backbone_weights else ''
        return Start(model, False, f'random ({why}nothing pretrained); all layers train from the first step')
    if path.endswith('.h5'):
        checkpoints.load_backbone(path, model)
    else:
        darknet_weights.read_backbone(path, model)
    return Start(model, True, f'backbone from {path}')


def _whole(path, model) -> Start:
    if path.endswith('.h5'):
        fresh = checkpoints.load_weights(path, model, cfg.outputs(model))
    else:
        fresh = darknet_weights.read_transfer(path, model)
    return Start(model, True, path + ('; prediction layers start afresh' if fresh else ''))
