"""Biases that let fresh prediction layers start from how often the data have an object, and of which class.

With biases of 0 every slot starts from a probability of .5, although one of a hundred or a thousand has an object:
the first hundreds of steps then only learn that objects are rare, and their gradients swamp all others.

    bias = log(p / (1 - p))         p the share of the slots that are positive, or of the positive slots of a class

Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, section 4.1, with p = .01 instead of a count.
"""
from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf import anchors as anchors_module
from yolov3_tf import codec
from yolov3_tf.assign import ASSIGNERS
from yolov3_tf.data import pipeline
from yolov3_tf.data import windows as parts
from yolov3_tf.data.windows import Windows
from yolov3_tf.losses.criterion import LossSettings
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.models.darknet import cfg
from yolov3_tf.models.head import BOX
from yolov3_tf.structures import Dataset
from yolov3_tf.tiling import Tiling

MOST_IMAGES = 200      # counted, evenly spread over the set
BATCH = 50
LEAST = 1e-4            # objectness, in 0..1
LEAST_CLASS = .01       # a class, and 1 minus the highest


class Frequencies(NamedTuple):
    """objectness: share of positive slots among all; classes: float64 [C], shares of the positive slots."""
    objectness: float
    classes: np.ndarray


def count(dataset: Dataset, config: ModelConfig, loss: LossSettings) -> Frequencies:
    """Counts the slots that the assigner makes positive in images as they are, without augmentation."""
    height, width = config.image_size
    priors = anchors_module.lay_out(config.anchors, height, width)
    decoded = codec.decode(tf.zeros([len(priors.strides), 4]), priors)
    records = dataset.records[::-(-len(dataset.records) // MOST_IMAGES)]
    positives, images = np.zeros(len(config.class_names)), 0
    for batch in _batches(dataset._replace(records=records), config):
        same = tf.repeat(decoded[None], tf.shape(batch.indices)[0], axis=0)
        found = ASSIGNERS[loss.assigner](batch.truth, priors, same, loss.assign_thresh)
        classes = tf.gather(batch.truth.classes, found.truth_index, batch_dims=1)[found.positive]
        positives += np.bincount(classes.numpy(), minlength=len(positives))
        images += len(batch.indices)
    total = positives.sum()
    if not total:               # no image can be read, or none has an object
        return Frequencies(LEAST, np.full(len(positives), 1 / len(positives)))
    objectness = total / (images * len(decoded))
    return Frequencies(float(np.clip(objectness, LEAST, .5)), np.clip(positives / total, LEAST_CLASS, 1 - LEAST_CLASS))


def _batches(dataset, config):
    """Images as they are, in batches; under tiles those of as many images as have about ``MOST_IMAGES`` of them."""
    if not config.tiles:
        height, width = config.image_size
        yield from pipeline.evaluation_batches(dataset, height, width, config.letterbox, BATCH)
        return
    windows = Windows(Tiling(config.tiles), config.image_size)
    mean = sum(parts.times(dataset.records, windows)) / len(dataset.records)
    records = dataset.records[::math.ceil(len(dataset.records) * mean / MOST_IMAGES)]
    for batch, _ in pipeline.tile_batches(dataset._replace(records=records), windows, config.letterbox, BATCH):
        yield batch


def start_from(model: tf.keras.Model, frequencies: Frequencies) -> None:
    """Sets the biases of objectness and classes in all prediction layers; their other weights stay."""
    score = [frequencies.objectness, *frequencies.classes]
    logits = np.log(score) - np.log1p(-np.asarray(score))
    pattern = cfg.outputs(model)
    for layer in model.layers:
        if not (re.match(pattern, layer.name) and getattr(layer, 'use_bias', False)
                and '_box_' not in layer.name):
            continue
        # Rows are box, objectness, classes; in the class branch of a separated head there is no box.
        fields = len(logits) + (0 if '_class_' in layer.name else BOX)
        rows = np.array(tf.convert_to_tensor(layer.bias)).reshape(-1, fields)
        rows[:, -len(logits):] = logits
        layer.bias.assign(rows.reshape(-1))
