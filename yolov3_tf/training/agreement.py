"""One text with everything that must be equal on all workers before they train together."""
from __future__ import annotations

import hashlib

import tensorflow as tf

from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.structures import Dataset
from yolov3_tf.training.distribution import Distribution
from yolov3_tf.training.settings import TrainingSettings


def fingerprint(settings: TrainingSettings, config: ModelConfig, model: tf.keras.Model, train_set: Dataset,
                val_set: Dataset, distribution: Distribution) -> str:
    """The settings, network, annotations, precision and versions of this worker, as text to compare."""
    annotations = hashlib.sha256()
    for record in (*train_set.records, *val_set.records):
        annotations.update(record.boxes.tobytes() + record.classes.tobytes() + bytes([len(record.boxes) % 256]))
    shapes = [tuple(variable.shape) for variable in model.weights]
    versions = [tf.__version__, tf.keras.mixed_precision.global_policy().name,
                len(distribution.strategy.extended.worker_devices)]
    return repr([settings, config, shapes, versions, len(train_set.records), annotations.hexdigest()])
