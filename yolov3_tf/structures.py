"""The tuples that cross rooms. Every array's shape, dtype, unit and padding mark is said here once.

Boxes are float32 [..., 4]: x1, y1, x2, y2 in pixels, far edge exclusive, origin at the top left.
Any other format is named where it appears (``boxes_cxcywh``, ``boxes_yxyx_unit``).
"""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Record(NamedTuple):
    """One labelled image as its label file states it; nothing of the image itself is read.

    Attributes:
      image_path: file of the image, or its place in a TFRecord shard (``images.Place``).
      image_id: name of the image in result files (VOC: the stem; COCO: the number as text).
      width, height: size in pixels as labelled, 0 where the labels do not say.
      boxes: float32 [n, 4] pixels of the image; finite, positive area, inside the labelled size.
      classes: int32 [n], index into ``Dataset.class_names``.
      difficult: bool [n], VOC's mark: a hit or a miss on it counts neither way.
      crowd: bool [n], COCO's ``iscrowd``: never a training target, ignored by evaluation.
      areas: float32 [n] square pixels; COCO's segmentation area, else the area of the box.
      label_file: where its labels stand, for messages; '' where unknown.
      label_lines: int64 [n] line of each object in that file (COCO: the annotation's id), None where unknown.
    """
    image_path: str
    image_id: str
    width: int
    height: int
    boxes: np.ndarray
    classes: np.ndarray
    difficult: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    label_file: str = ''
    label_lines: np.ndarray | None = None


class Dataset(NamedTuple):
    """Records of one data spec with the names their class indices point to.

    ``problems`` holds one ready message (with file and line) for every label that was dropped or repaired.
    """
    records: list[Record]
    class_names: list[str]
    problems: list[str]


class GroundTruth(NamedTuple):
    """Boxes of a batch, padded to the largest count N of the batch (N may be 0; there is no upper limit).

    Attributes:
      boxes: float32 [B, N, 4] pixels of the network input; zeros where padded.
      classes: int32 [B, N]; 0 where padded.
      valid: bool [B, N]; the padding mark. Nothing else (no zero, no -1) marks padding.
      weights: float32 [B, N]; mix-up weight in (0, 1], 1 without mix-up, 0 where padded.
    """
    boxes: Any
    classes: Any
    valid: Any
    weights: Any


class RawPredictions(NamedTuple):
    """The network's outputs before any non-linearity, one row a slot.

    S slots stand level by level (stride 8, 16, 32), inside a level by row, column, anchor.

    Attributes:
      offsets: float32 [B, S, 4] tx, ty, tw, th of the reference's box code.
      objectness: float32 [B, S] logits.
      classes: float32 [B, S, C] logits.
    """
    offsets: Any
    objectness: Any
    classes: Any


class Priors(NamedTuple):
    """Geometry of the S slots of one input size.

    Attributes:
      cells: float32 [S, 2] column, row of the slot's cell.
      strides: float32 [S] pixels a cell.
      anchors: float32 [S, 2] width, height of the prior in pixels.
      levels: int32 [S] 0 for the finest level.
      table: the ``Anchors`` the slots were laid out from.
      grids: int32 [L, 2] rows, columns of each level.
      sensitivity: float32 [S] grid sensitivity of the slot's level (``anchors.Anchors``).
    """
    cells: Any
    strides: Any
    anchors: Any
    levels: Any
    table: Any
    grids: Any
    sensitivity: Any


class Detections(NamedTuple):
    """Detections of a batch, best score first, padded to K.

    Attributes:
      boxes: float32 [B, K, 4] pixels (of the network input, or of the image after ``undo_resize``).
      scores: float32 [B, K] in 0..1; 0 where padded.
      classes: int32 [B, K]; 0 where padded.
      count: int32 [B]; rows at and beyond it are padding.
    """
    boxes: Any
    scores: Any
    classes: Any
    count: Any


class ImageDetections(NamedTuple):
    """Detections of one image as NumPy arrays without padding, in pixels of the image.

    boxes float32 [n, 4], scores float32 [n], classes int32 [n].
    """
    image_id: str
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
