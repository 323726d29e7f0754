"""Runs a network over an annotated set in one pass: its loss and its detections."""
from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from yolov3_tf import anchors as anchors_module
from yolov3_tf import codec, postprocess, tile_merge
from yolov3_tf.codec import to_input
from yolov3_tf.data import image_files, pipeline
from yolov3_tf.data.windows import Windows
from yolov3_tf.errors import InputError
from yolov3_tf.losses import criterion
from yolov3_tf.models import checkpoints
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.models.keras_policy import keras_policy
from yolov3_tf.structures import Dataset, Detections
from yolov3_tf.tiling import Tiling

# As the reference implementation evaluates: the number of detections of a class is limited, that of an image is not.
REFERENCE = postprocess.Suppression(max_total=None)


class Outcome(NamedTuple):
    """Attributes:
      detections: one item for each image that could be read, in pixels of the image.
      losses: named means over the images; empty without loss settings.
      skipped: file -> reason, for every image that could not be read.
    """
    detections: list[Detections]
    losses: dict[str, float]
    skipped: dict[str, str]


class DetectsImages(Protocol):
    """Anything that detects in encoded images, such as ``inference.detector.Detector``."""

    def detect(self, images: Sequence[bytes | np.ndarray], image_ids: Sequence[str]) -> Sequence[Detections]:
        """The detections of each of these images, encoded or uint8 [h, w, 3] RGB, one item for each image."""


class Validator:
    """Runs a model over one set in float32, with the input size and the resize that its config defines.

    A model that computes in half precision is evaluated as its checkpoint will be: in a float32 network of its
    config that takes over its float32 weights, so that a checkpoint has one score.

    Args:
      model: of ``models.yolov3``, or any model with its outputs. In half precision: the network of ``config``.
      loss: settings of the criterion to average over the images, or None.
      strict: an image that cannot be read raises an error instead of being skipped.
      tiling: look at each image in tiles too, and merge what is found; the loss is then the mean over all tiles and
        whole images. None: as the config's ``tiles`` say.
    """

    def __init__(self, model: tf.keras.Model, config: ModelConfig, dataset: Dataset, batch_size: int = 8,
                 loss: criterion.LossSettings | None = None, suppression: postprocess.Suppression = REFERENCE,
                 strict: bool = False, tiling: Tiling | None = None):
        self.model, self.config, self.dataset, self.loss, self.suppression = model, config, dataset, loss, suppression
        tiling = tiling or (Tiling(config.tiles) if config.tiles else None)
        self.windows = Windows(tiling, config.image_size) if tiling else None
        self._network: tf.keras.Model | None = None         # what computes
        self._looks = 1.                                    # of the network at an image, on average
        self.priors = anchors_module.lay_out(config.anchors, *config.image_size)
        self.batches = pipeline.evaluation_batches(
            dataset, *config.image_size, letterbox=config.letterbox, batch_size=batch_size, strict=strict)
        self.tile_batches = self.windows and pipeline.tile_batches(
            dataset, self.windows, config.letterbox, batch_size, strict)
        self._step = tf.function(self._evaluate, reduce_retracing=True, autograph=False)

    def run(self) -> Outcome:
        """Makes one pass over the set; the weights and BatchNorm's averages do not change.

        Raises:
          InputError: none of the images can be read, or, under ``strict``, one of them cannot.
        """
        self._take_weights()
        detections, seen = [], []
        sums: dict[str, float] = {}
        for found, indices, losses in self._in_tiles() if self.windows else self._whole():
            detections += found
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.) + float(value) * len(indices)
            seen += indices
        if not seen:
            raise nothing_read(self.dataset)
        read = set(seen)
        self._looks = len(seen) / len(read)
        missing = [record for index, record in enumerate(self.dataset.records) if index not in read]
        means = {name: value / len(seen) for name, value in sums.items()}
        return Outcome(detections, means, {
            record.image_path: pipeline.reason(record.image_path, record.orientation) for record in missing})

    def speed(self) -> float:
        """Images per second of the network with suppression, without reading, measured on one batch after ``run``.

        In tiles, an image takes as many of the network's as it had windows.
        """
        batch = next(iter(batches_of(self.batches, self.dataset)))
        start = time.perf_counter()
        found, _ = self._step(batch.images, batch.truth, batch.placement, batch.sizes)
        np.asarray(found.boxes)                         # waits for the device
        return len(batch.indices.numpy()) / (time.perf_counter() - start) / self._looks

    def _whole(self):
        """Yields, for every batch: the detections of its images, their indices, and the losses."""
        for batch in batches_of(self.batches, self.dataset):
            found, losses = self._step(batch.images, batch.truth, batch.placement, batch.sizes)
            indices = batch.indices.numpy().tolist()
            yield self._by_image(found, indices), indices, losses

    def _in_tiles(self):
        """The same for every batch of tiles; the detections of an image come behind those of its last batch."""
        found: list[Detections] = []
        windows: list[np.ndarray] = []
        index = -1
        for batch, some in batches_of(self.tile_batches, self.dataset):
            of_batch, losses = self._step(batch.images, batch.truth, batch.placement, batch.sizes)
            indices = batch.indices.numpy().tolist()
            if windows and indices[0] != index:
                yield [self._merged(index, found, np.concatenate(windows))], [], {}
                found, windows = [], []
            index = indices[0]
            found += self._by_image(of_batch, indices)
            windows.append(some.numpy())
            yield [], indices, losses
        if windows:
            yield [self._merged(index, found, np.concatenate(windows))], [], {}

    def _merged(self, index, found, windows):
        """The detections of an image from those in its windows, the first of which is the whole image."""
        record, names = self.dataset.records[index], tuple(self.dataset.class_names)
        return Detections(record.image_id, *tile_merge.merge_found(found, windows, self.suppression, len(names)), names,
                          record.image_path)

    def _take_weights(self):
        """Makes the float32 network of the current weights."""
        if self._network is None:
            # Only now, when no distribution strategy's scope is open and the optimiser has its memory.
            self._network = self.model if _is_float32(self.model) else _in_float32(self.config)
        if self._network is not self.model:
            for own, trained in zip(self._network.weights, self.model.weights):
                own.assign(tf.convert_to_tensor(getattr(trained, '_value', trained)))

    def _evaluate(self, images, truth, placement, sizes):
        assert self._network is not None
        outputs = self._network(to_input(images), training=False)
        found = postprocess.detect(outputs, self.priors, self.suppression)
        found = postprocess.undo_resize(found, placement, sizes)
        losses: dict[str, Any] = {}
        if self.loss is not None:
            losses = criterion.detection_loss(codec.split(outputs), truth, self.priors, self.loss)
        return found, losses

    def _by_image(self, found, indices):
        boxes, scores, classes, count = (np.asarray(part) for part in found)
        records, names = self.dataset.records, tuple(self.dataset.class_names)
        return [Detections(records[index].image_id, boxes[row, :count[row]], scores[row, :count[row]],
                           classes[row, :count[row]], names, records[index].image_path)
                for row, index in enumerate(indices)]


def _is_float32(model):
    return all(layer.compute_dtype == 'float32' for layer in model.layers)


def _in_float32(config):
    with keras_policy('float32'):
        return checkpoints.build(config)


def detect_each(detector: DetectsImages, dataset: Dataset,
                strict: bool = False) -> tuple[list[Detections], dict[str, str]]:
    """Runs a detector over the files of a set, one after another.

    Returns:
      Detections of the images that could be read, and file -> reason for the others.

    Raises:
      InputError: none of the images can be read, or, under ``strict``, one of them cannot.
    """
    detections: list[Detections] = []
    skipped: dict[str, str] = {}
    for record in dataset.records:
        why = image_files.explain(record.image_path, record.orientation)
        if why and strict:
            raise InputError(why)
        if why:
            skipped[record.image_path] = why
            continue
        image: bytes | np.ndarray = (
            image_files.read_image(record.image_path, record.orientation) if image_files.needs_pixels(record) else
            image_files.read_contents(record.image_path))
        detections += detector.detect([image], [record.image_id])
    if not detections:
        raise nothing_read(dataset)
    return detections, skipped


def batches_of(batches: tf.data.Dataset, dataset: Dataset) -> Iterator[Any]:
    """Iterates over what ``pipeline.evaluation_batches`` or ``tile_batches`` gives.

    Under ``strict`` an unusable image raises InputError with its name.
    """
    try:
        yield from batches
    except tf.errors.OpError as error:          # only under strict
        raise pipeline.explain_failure(dataset, range(len(dataset.records)), error) from error


def nothing_read(dataset: Dataset) -> InputError:
    """The error for a set of which no image can be read."""
    return InputError(f'none of the {len(dataset.records)} images to evaluate on can be used: '
                      f'{pipeline.reason(dataset.records[0].image_path, dataset.records[0].orientation)}')
