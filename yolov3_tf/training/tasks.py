"""The tasks that a network learns in a stage: the loss of each task and its validation.

    detection        boxes: the criterion of ``losses.criterion``, scored by mAP
    classification   which classes occur in an image: the paper's asymptotic step between ImageNet and detection
"""
from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from yolov3_tf import anchors as priors_of
from yolov3_tf import codec
from yolov3_tf.data import image_files, pipeline
from yolov3_tf.drawing import boxes as draw
from yolov3_tf.evaluation import classification, report
from yolov3_tf.evaluation.validation import Validator, batches_of, nothing_read
from yolov3_tf.losses import criterion
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.models.classifier import OUTPUT, classifier
from yolov3_tf.structures import Dataset, GroundTruth

DRAWN = 9           # validation images on TensorBoard's page
DRAWN_SCORE = .3    # detections with a lower score are not drawn


class ValidationResult(NamedTuple):
    """The result of one validation.

    Attributes:
      losses: named means over the images; patience depends on ``total``.
      score: in 0..1, higher is better; its name in the metrics is the task's ``measure``.
      skipped: file -> reason, for images that could not be read.
      page: uint8 [h, w, 3] RGB, some images with their detections, or None.
    """
    losses: dict[str, float]
    score: float
    skipped: dict[str, str]
    page: np.ndarray | None = None


class Task(Protocol):
    """What the trainer needs of a task.

    Attributes:
      model: takes images and returns the outputs of the task; the stage trains its trainable weights.
      network: what gives those outputs in a training step: the model, or it with ``kept_features``.
      measure: name of the score in the metrics.
      shown: name of the score on the progress line.
      picks_best: whether its score decides which checkpoint is the best.
    """
    measure: str
    shown: str
    picks_best: bool
    model: Any
    network: Any

    def __init__(self, model: tf.keras.Model, config: ModelConfig, val_set: Dataset,
                 loss: criterion.LossSettings, batch_size: int, strict: bool): ...

    def compute_loss(self, images: tf.Tensor, truth: GroundTruth, training: bool) -> dict[str, Any]:
        """Named float32 scalars of a batch; ``total`` is minimised."""

    def validate(self) -> ValidationResult:
        """Validates on the whole set; raises InputError if none of its images can be read."""

    def own_weights(self) -> dict[str, Any]:
        """The variables, by name, that are not part of a checkpoint of the detector."""


class Detection:
    """Detection of boxes, scored by mAP at IoU .5 over the validation set, which also picks the best checkpoint."""
    measure, shown, picks_best = 'mAP', 'mAP@.5', True

    def __init__(self, model: tf.keras.Model, config: ModelConfig, val_set: Dataset,
                 loss: criterion.LossSettings, batch_size: int, strict: bool):
        self.model, self.anchors, self.loss, self.val_set = model, config.anchors, loss, val_set
        self.network: Any = model
        self.validator = Validator(model, config, val_set, batch_size, loss, strict=strict)

    def compute_loss(self, images: tf.Tensor, truth: GroundTruth, training: bool) -> dict[str, Any]:
        return compute_loss(self.network, images, truth, self.anchors, self.loss, training)

    def validate(self) -> ValidationResult:
        """Loss and mAP at IoU .5 over the images that can be read, and a page of images with detections."""
        outcome = self.validator.run()
        read = report.read_part(self.val_set, outcome.skipped)
        return ValidationResult(outcome.losses, report.mean_ap(read, outcome.detections), outcome.skipped,
                       self._page(outcome.detections))

    def own_weights(self) -> dict[str, Any]:
        """None: a checkpoint of the detector has all variables."""
        return {}

    def _page(self, detections):
        records = {record.image_id: record for record in self.val_set.records}
        drawn = []
        for found in detections[:DRAWN]:
            sure = found.scores >= DRAWN_SCORE
            record = records[found.image_id]
            drawn.append(draw.draw_detections(
                image_files.read_image(record.image_path, record.orientation), found.boxes[sure], found.classes[sure],
                found.scores[sure], self.val_set.class_names))
        return draw.grid(drawn, columns=3)


class Classification:
    """Classification of images: which classes occur in each.

    The loss is binary cross-entropy, the score the mean of VOC's classification AP.
    """
    measure, shown, picks_best = 'class_mAP', 'mean classification AP', False

    def __init__(self, model: tf.keras.Model, config: ModelConfig, val_set: Dataset,
                 loss: criterion.LossSettings, batch_size: int, strict: bool):
        del loss
        self.val_set, self.strict = val_set, strict
        self.model = self.network = classifier(model, len(config.class_names))
        self.batches = pipeline.evaluation_batches(
            val_set, *config.image_size, letterbox=config.letterbox, batch_size=batch_size, strict=strict)
        self._step = tf.function(self._evaluate, reduce_retracing=True, autograph=False)
        self.report: classification.ClassificationReport | None = None

    def compute_loss(self, images: tf.Tensor, truth: GroundTruth, training: bool) -> dict[str, Any]:
        loss = presence_loss(self.network(codec.to_input(images), training=training), truth)
        return {'presence': loss, 'total': loss}

    def validate(self) -> ValidationResult:
        """Loss and mean classification AP over the images that can be read.

        Raises:
          InputError: none of the images can be read.
        """
        scores = np.full((len(self.val_set.records), len(self.val_set.class_names)), np.nan)
        losses = 0.
        for batch in batches_of(self.batches, self.val_set):
            found, loss = self._step(batch.images, batch.truth)
            indices = batch.indices.numpy()
            scores[indices], losses = found.numpy(), losses + float(loss) * len(indices)
        read = ~np.isnan(scores).all(axis=1)
        if not read.any():
            raise nothing_read(self.val_set)
        records = self.val_set.records
        self.report = classification.evaluate([records[index] for index in np.flatnonzero(read)], scores[read],
                                        self.val_set.class_names)
        skipped = {records[index].image_path: pipeline.reason(records[index].image_path, records[index].orientation)
                   for index in np.flatnonzero(~read)}
        mean = losses / int(read.sum())
        return ValidationResult({'presence': mean, 'total': mean}, self.report.mean, skipped)

    def own_weights(self) -> dict[str, Any]:
        output = self.model.get_layer(OUTPUT)
        return {f'{OUTPUT}/kernel': output.kernel, f'{OUTPUT}/bias': output.bias}

    def _evaluate(self, images, truth):
        logits = self.model(codec.to_input(images), training=False)
        return tf.sigmoid(logits), presence_loss(logits, truth)


TASKS: dict[str, type[Task]] = {'detection': Detection, 'classification': Classification}


def compute_loss(model: tf.keras.Model, images: tf.Tensor, truth: GroundTruth, anchors: priors_of.Anchors,
                 settings: criterion.LossSettings, training: bool) -> dict[str, Any]:
    """The detection criterion on one batch: uint8 images [B, H, W, 3] and padded boxes -> named scalars."""
    size = tf.shape(images) if None in images.shape[1:3] else images.shape
    priors = priors_of.lay_out(anchors, size[1], size[2])
    outputs = model(codec.to_input(images), training=training)
    return criterion.detection_loss(codec.split(outputs), truth, priors, settings)


def presence_loss(logits: tf.Tensor, truth: GroundTruth) -> tf.Tensor:
    """Binary cross-entropy of which classes occur, summed over the classes, mean over the images.

    Args:
      logits: float32 [B, C].
      truth: ``GroundTruth`` of the batch; a class occurs if the augmented image still has one of its boxes.
    """
    occurs = tf.one_hot(truth.classes, tf.shape(logits)[1]) * tf.cast(truth.valid, tf.float32)[..., None]
    target = tf.minimum(tf.reduce_sum(occurs, axis=1), 1.)                            # [B, C], also without boxes
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(target, logits)
    return tf.reduce_mean(tf.reduce_sum(entropy, axis=1))
