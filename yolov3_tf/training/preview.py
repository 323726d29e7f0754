"""See before you train: the first training images as the network gets them, and the boxes it is validated against.

    first_batches.jpg       the first images of the run, augmented, with their boxes
    validation_truth.jpg    images of the validation data with their annotated boxes

A wrong annotation format, a box format mixed up or too strong an augmentation is seen here at a glance.
"""
from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from yolov3_tf import rgb_images
from yolov3_tf.data import image_files
from yolov3_tf.drawing import boxes as draw
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, GroundTruth

IMAGES = 16         # of a sheet
COLUMNS = 4
CELL = 360          # pixels


class FirstBatches:
    """Collects the images of the first steps, and writes them once there are ``IMAGES``.

    Args:
      path: file to write.
      class_names: of the classes.
    """

    def __init__(self, path: str | os.PathLike, class_names: Sequence[str]):
        self.path, self.class_names = path, class_names
        self.drawn: list[np.ndarray] = []
        self.written = False

    def add(self, images: Any, truth: GroundTruth) -> None:
        """Draws a batch, uint8 [B, H, W, 3], with its boxes; does nothing once the sheet is written."""
        if self.written:
            return
        boxes, classes, valid, weights = (np.asarray(part) for part in truth)
        for row, image in enumerate(np.asarray(images)[:IMAGES - len(self.drawn)]):
            seen = valid[row]
            self.drawn.append(draw_mixed(*_enlarged(image, boxes[row][seen]), classes[row][seen], weights[row][seen],
                                         self.class_names))
        if len(self.drawn) == IMAGES:
            self.end()

    def end(self) -> None:
        """Writes what there is, where the run ends before the sheet is full."""
        if self.drawn and not self.written:
            _write(self.path, self.drawn)
        self.written = True


def write_truth(path: str | os.PathLike, dataset: Dataset) -> None:
    """Draws the annotated boxes of images spread over a dataset; images that cannot be read are left out."""
    records = [dataset.records[index] for index in
               np.linspace(0, len(dataset.records) - 1, min(IMAGES, len(dataset.records))).round().astype(int)]
    drawn = []
    for record in records:
        try:
            image = image_files.read_image(record.image_path, record.orientation)
        except InputError:
            continue                # named when it is validated
        drawn.append(draw.draw_detections(*_enlarged(image, record.boxes), record.classes, None, dataset.class_names))
    if drawn:
        _write(path, drawn)


def draw_mixed(image: np.ndarray, boxes: np.ndarray, classes: np.ndarray, weights: np.ndarray,
               class_names: Sequence[str]) -> np.ndarray:
    """Draws boxes of weight 1 with their class name, others (mix-up) with their weight in percent too.

    Args:
      image: uint8 [h, w, 3] RGB.
      boxes: float32 [n, 4]; classes: int32 [n]; weights: float32 [n] in (0, 1].
    """
    full = weights == 1
    image = draw.draw_detections(image, boxes[full], classes[full], None, class_names)
    if full.all():
        return image
    return draw.draw_detections(image, boxes[~full], classes[~full], weights[~full], class_names)


def _enlarged(image: np.ndarray, boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A small image and its boxes at the size of a cell, so that lines and letters stay small beside the objects."""
    scale = max(1, round(CELL / max(image.shape[:2])))
    if scale == 1:
        return image, boxes
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR), boxes * scale


def _write(path, drawn):
    try:
        rgb_images.write(path, draw.grid(drawn, COLUMNS, CELL), overwrite=True)
    except OSError as error:        # a drawing never stops a training
        print(f'note: {path} cannot be written: {error.strerror or error}', file=sys.stderr)
