"""One text with everything that must be equal on all workers before they train together."""
from __future__ import annotations

import hashlib
import os

import tensorflow as tf

from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.structures import Dataset
from yolov3_tf.training.distribution import Distribution
from yolov3_tf.training.settings import TrainingSettings


def fingerprint(settings: TrainingSettings, config: ModelConfig, model: tf.keras.Model, train_set: Dataset,
                val_set: Dataset, distribution: Distribution) -> str:
    """The settings, network, annotations, precision and versions of this worker, as text to compare."""
    shapes = [tuple(variable.shape) for variable in model.weights]
    versions = [tf.__version__, tf.keras.mixed_precision.global_policy().name,
                len(distribution.strategy.extended.worker_devices)]
    return repr([settings, config, shapes, versions, len(train_set.records), of_annotations(train_set, val_set)])


def of_annotations(*sets: Dataset) -> str:
    """SHA-256 of all images' file names, boxes and classes, in order, without the folders that they are in."""
    digest = hashlib.sha256()
    for dataset in sets:
        for record in dataset.records:
            name = os.path.basename(record.image_path).encode(errors='surrogateescape')
            digest.update(b'%d %d ' % (len(name), len(record.boxes)) + name
                          + record.boxes.tobytes() + record.classes.tobytes())
    return digest.hexdigest()
