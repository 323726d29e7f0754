"""The network that every format stores: BatchNorm folded in, and outputs under the names that clients read."""
from __future__ import annotations

import tensorflow as tf

from yolov3_tf import anchors, boxes, postprocess
from yolov3_tf.export.settings import Settings
from yolov3_tf.models import checkpoints, yolov3_network
from yolov3_tf.models.keras_policy import keras_policy
from yolov3_tf.structures import BatchedDetections


def folded(model: tf.keras.Model, config: checkpoints.ModelConfig, precision: str = 'float32') -> tf.keras.Model:
    """A copy of ``model`` without BatchNorm, its variables stored in ``precision``; ``model`` does not change."""
    with keras_policy(precision):
        network = checkpoints.build(config, folded=True)
    yolov3_network.fold(model, network)
    return network


def variables(network: tf.keras.Model) -> list[tf.Variable]:
    """The network's variables as a SavedModel tracks them; Keras 3 wraps them."""
    return [variable if isinstance(variable, tf.Variable) else variable.value for variable in network.variables]


def detect(outputs: tf.Tensor, config: checkpoints.ModelConfig, settings: Settings) -> BatchedDetections:
    """The network's outputs [B, S, 5 + C] -> detections in pixels of its input."""
    priors = anchors.lay_out(config.anchors, *config.image_size)
    return postprocess.detect(outputs, priors, settings.suppression)


def named(found: BatchedDetections, heights: tf.Tensor | int, widths: tf.Tensor | int,
          class_offset: int) -> dict[str, tf.Tensor]:
    """Detections -> the outputs that clients read; ``heights``, ``widths`` of the images are of shape [B, 1] or []."""
    real = tf.sequence_mask(found.count, tf.shape(found.scores)[1])
    return {'detection_boxes': boxes.to_yxyx_unit(found.boxes, heights, widths),
            'detection_scores': found.scores,
            'detection_classes': tf.where(real, tf.cast(found.classes + class_offset, tf.float32), 0.),
            'num_detections': tf.cast(found.count, tf.float32)}
