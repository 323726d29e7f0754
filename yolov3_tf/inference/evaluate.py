"""Runs a detector over an annotated set, whatever format its file has, and evaluates its detections."""
from __future__ import annotations

import os
from typing import NamedTuple

from absl import logging

from yolov3_tf import postprocess
from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import report, validation
from yolov3_tf.evaluation.report import DetectionReport
from yolov3_tf.inference import detector as detectors
from yolov3_tf.inference.tiles import Tiled, Tiling
from yolov3_tf.models import checkpoints, model_files
from yolov3_tf.postprocess import Suppression
from yolov3_tf.structures import Dataset, Detections


class Found(NamedTuple):
    """The detections of a detector in a set.

    Attributes:
      dataset: the set.
      detections: one item for each image that could be read.
      skipped: file -> reason, for every image that could not be read.
    """
    dataset: Dataset
    detections: list[Detections]
    skipped: dict[str, str]

    def report(self) -> DetectionReport:
        """Evaluates the detections with every score, over the images that could be read."""
        return report.evaluate(report.read_part(self.dataset, self.skipped), self.detections)


def evaluate(detector: detectors.Detector | str | os.PathLike, data: str | Dataset,
             suppression: Suppression | None = None, image_size: int | None = None, batch_size: int = 8,
             strict: bool = False, tiling: Tiling | None = None) -> DetectionReport:
    """Evaluates a detector on annotated images: VOC, COCO and GIoU scores, also for each class.

    Images that cannot be read are not part of the scores; a warning gives their number. Arguments and errors are those
    of ``detect_dataset``.
    """
    found = detect_dataset(detector, data, suppression, image_size, batch_size, strict, tiling)
    for line in [*found.dataset.notes, *found.dataset.problems, *found.skipped.values()]:
        logging.warning('%s', line)
    if found.skipped:
        logging.warning('%s', report.describe_skipped(found.dataset, found.skipped))
    return found.report()


def detect_dataset(detector: detectors.Detector | str | os.PathLike, data: str | Dataset,
                   suppression: Suppression | None = None, image_size: int | None = None, batch_size: int = 8,
                   strict: bool = False, tiling: Tiling | None = None) -> Found:
    """Runs a detector over all images of a set.

    Args:
      detector: from ``detector.load``, or a path for it.
      data: dataset spec, such as ``voc:VOCdevkit:2007_test``, or a loaded set with the detector's classes.
      suppression: for a checkpoint; default: the reference's evaluation. It is fixed in an exported model.
      image_size: height and width of the network input, for a checkpoint; default: its own.
      batch_size: images in one call of the network, for a checkpoint; other models take one image at a time.
      strict: the first faulty annotation or unreadable image raises an error instead of being left out.
      tiling: look at each image in tiles, see ``tiles``; None for the whole image alone.

    Raises:
      InputError: there is no such model or data, ``suppression`` or ``image_size`` is given for an exported model, or
        none of the images can be read (under ``strict``: one of them cannot).
    """
    checkpoint = _checkpoint(detector)
    if checkpoint is not None:
        return _of_checkpoint(checkpoint, data, suppression or validation.REFERENCE, image_size, batch_size, strict,
                              tiling)
    for name, value in (('suppression', suppression), ('image_size', image_size)):
        if value is not None:
            raise InputError(f'{name} {value}: fixed in an exported model: export it anew, or evaluate the checkpoint')
    opened = detector if isinstance(detector, detectors.Detector) else detectors.load(detector)
    dataset = _load(data, opened.class_names, strict)
    return Found(dataset, *validation.detect_each(Tiled(opened, tiling, batch_size) if tiling else opened, dataset,
                                                  strict))


def _checkpoint(detector):
    """The path of the checkpoint of a detector or path; None for an exported model."""
    if isinstance(detector, detectors.Detector):
        return detector.checkpoint
    path = model_files.resolve(detector)
    return path if path.endswith(model_files.CHECKPOINT) else None


def _of_checkpoint(path, data, suppression, image_size, batch_size, strict, tiling):
    postprocess.check(suppression)
    model, config = checkpoints.load_model(path)
    if image_size is not None:
        config = config._replace(image_size=(image_size, image_size))
    dataset = _load(data, config.class_names, strict)
    outcome = validation.Validator(model, config._replace(tiles=''), dataset, batch_size, suppression=suppression,
                                   strict=strict, tiling=tiling).run()
    return Found(dataset, outcome.detections, outcome.skipped)


def _load(data, class_names, strict):
    if isinstance(data, str):
        return specs.load(data, list(class_names), strict, 'val')
    if list(data.class_names) != list(class_names):
        raise InputError(f'the data has the classes {", ".join(data.class_names)}, the model {", ".join(class_names)}: '
                         'load the data with the classes of the model')
    return data
