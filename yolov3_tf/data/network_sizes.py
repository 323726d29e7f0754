"""Shapes of a set's boxes as the network will see them."""
from __future__ import annotations

import numpy as np

from yolov3_tf.data.readers import headers
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset


def of_boxes(dataset: Dataset, height: int, width: int, letterbox: bool) -> np.ndarray:
    """Widths and heights of all boxes but crowds, in pixels of a network input without augmentation.

    Args:
      dataset: ``Dataset``; where a Record does not hold its image's size, the file's header is read.
      height, width: of the network input.
      letterbox: images keep their proportions.

    Returns:
      float64 [n, 2]; boxes of images whose size is unknown are left out.

    Raises:
      InputError: no box is left.
    """
    parts = [np.zeros([0, 2])]
    for record in dataset.records:
        if not len(record.boxes):
            continue
        header = None if record.width and record.height else headers.of_file(record.image_path)
        sides = (header.width, header.height) if header else (record.width, record.height)
        if all(sides):
            scale = np.array([width, height], np.float64) / sides
            scale = np.full(2, scale.min()) if letterbox else scale
            boxes = record.boxes[~record.crowd].astype(np.float64)
            parts.append((boxes[:, 2:] - boxes[:, :2]) * scale)
    sizes = np.concatenate(parts)
    if not len(sizes):
        raise InputError('there is no box to compare anchors with: none of the images has one')
    return sizes
