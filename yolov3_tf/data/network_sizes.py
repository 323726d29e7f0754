"""Shapes of a set's boxes as the network will see them."""
from __future__ import annotations

import numpy as np

from yolov3_tf import tiling
from yolov3_tf.data.readers import headers
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, Record
from yolov3_tf.tiling import Tiling


def size_of(record: Record) -> tuple[int, int]:
    """Height and width of a record's image, from the file's header where the record does not hold them; 0 unknown."""
    header = None if record.width and record.height else headers.of_file(record.image_path)
    return (header.height, header.width) if header else (record.height, record.width)


def of_boxes(dataset: Dataset, height: int, width: int, letterbox: bool, tiles: str = '') -> np.ndarray:
    """Widths and heights of all boxes but crowds, in pixels of a network input without augmentation.

    Args:
      dataset: ``Dataset``; where a Record does not hold its image's size, the file's header is read.
      height, width: of the network input.
      letterbox: images keep their proportions.
      tiles: images are seen in tiles too (``tiling.Tiling.tiles``): boxes that fit into one have the size they have
        there.

    Returns:
      float64 [n, 2]; boxes of images whose size is unknown are left out.

    Raises:
      InputError: no box is left.
    """
    parts = [np.zeros([0, 2])]
    for record in dataset.records:
        if not len(record.boxes):
            continue
        rows, columns = size_of(record)
        if rows and columns:
            parts.append(in_image(record.boxes[~record.crowd], rows, columns, height, width, letterbox, tiles))
    sizes = np.concatenate(parts)
    if not len(sizes):
        raise InputError('there is no box to compare anchors with: none of the images has one')
    return sizes


def in_image(boxes: np.ndarray, rows: int, columns: int, height: int, width: int, letterbox: bool,
             tiles: str = '') -> np.ndarray:
    """The same of the boxes [n, 4] of one image of ``rows`` x ``columns`` pixels."""
    boxes = boxes.astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    seen = sides * _scale(rows, columns, height, width, letterbox)
    if tiles:
        tall, wide = tiling.sides(Tiling(tiles), rows, columns, (height, width))
        fits = (sides <= (wide, tall)).all(1)
        seen[fits] = sides[fits] * _scale(min(tall, rows), min(wide, columns), height, width, letterbox)
    return seen


def _scale(rows, columns, height, width, letterbox):
    """float64 [2]: pixels of the network input for one of an image of this size, along x and y."""
    scale = np.array([width, height], np.float64) / (columns, rows)
    return np.full(2, scale.min()) if letterbox else scale
