"""The data types that modules exchange. The shape, dtype, unit and padding of every array are described here, once.

Boxes are float32 [..., 4]: x1, y1, x2, y2 in pixels, far edge exclusive, origin at the top left.
Any other format is named where it appears (``boxes_cxcywh``, ``boxes_yxyx_unit``).
"""
from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from yolov3_tf.errors import InputError


class Record(NamedTuple):
    """One annotated image as its annotation file describes it; the image itself is not read.

    Attributes:
      image_path: file of the image, or its record in a TFRecord shard (``data.image_files.Location``).
      image_id: name of the image in result files (VOC: the stem; COCO: the number as text).
      width, height: size in pixels as annotated, 0 where it is not annotated.
      boxes: float32 [n, 4] pixels of the image; finite, positive area, inside the annotated size.
      classes: int32 [n], index into ``Dataset.class_names``.
      difficult: bool [n], VOC's mark: evaluation ignores the object.
      crowd: bool [n], COCO's ``iscrowd``: never a training target, ignored by evaluation.
      areas: float32 [n] square pixels; COCO's segmentation area, else the area of the box.
      annotation_file: its annotation file, for messages; '' where unknown.
      annotation_lines: int64 [n] line of each object in that file (COCO: id of the annotation), None where unknown.
      orientation: EXIF orientation that ``boxes``, ``width`` and ``height`` allow for: they are those of the image
        turned upright by it. 0 where nobody looked, -1 where the file has one and the annotation does not say what it
        is for, so that the image cannot be used.
      kind: format of the file by its header ('JPEG'), '' where nobody looked.
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
    annotation_file: str = ''
    annotation_lines: np.ndarray | None = None
    orientation: int = 0
    kind: str = ''


class Dataset(NamedTuple):
    """The records of one data spec, and the names of their classes.

    ``problems`` holds one message (with file and line) for every annotation that was dropped or repaired, ``notes``
    what was read in another way than it is written, such as paths of another machine.
    """
    records: list[Record]
    class_names: list[str]
    problems: list[str]
    notes: Sequence[str] = ()


class GroundTruth(NamedTuple):
    """Boxes of a batch, padded to the largest count N of the batch (N may be 0; there is no upper limit).

    Attributes:
      boxes: float32 [B, N, 4] pixels of the network input; zeros where padded.
      classes: int32 [B, N]; 0 where padded.
      valid: bool [B, N]; False where padded. Nothing else (no zero, no -1) marks padding.
      weights: float32 [B, N]; mix-up weight in (0, 1], 1 without mix-up, 0 where padded.
    """
    boxes: Any
    classes: Any
    valid: Any
    weights: Any


class RawPredictions(NamedTuple):
    """The network's outputs before any non-linearity, one row for each slot.

    The S slots are ordered by level (stride 8, 16, 32), and inside a level by row, column, anchor.

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
      strides: float32 [S] side of a cell in pixels.
      anchors: float32 [S, 2] width, height of the prior in pixels.
      levels: int32 [S] 0 for the finest level.
      table: the ``Anchors`` that the slots were made from.
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


class BatchedDetections(NamedTuple):
    """Detections of a batch as tensors, best score first, padded to K.

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


class Detection(NamedTuple):
    """One detection: box x1, y1, x2, y2 in pixels of the image, score in 0..1, and its class."""
    box: tuple[float, float, float, float]
    score: float
    class_name: str
    class_id: int


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """What was found in one image, best score first; NumPy arrays without padding.

    ``len(found)`` is their number, iteration yields each as a ``Detection``, and ``found[found.scores > .5]`` selects
    some by a mask, a slice or an array of indices.

    Attributes:
      image_id: name of the image in result files.
      boxes: float32 [n, 4] x1, y1, x2, y2 in pixels of the image, far edge exclusive.
      scores: float32 [n] in 0..1.
      classes: int32 [n] class ids.
      names: name of every class id of the model; empty where unknown.
      source: the image: its file, its encoded bytes or its uint8 [h, w, 3] RGB pixels; None where unknown.
      track_ids: int [n] the object that each is, the same in all frames of a video, from 1; None without tracking.
    """
    image_id: str
    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...] = ()
    source: str | bytes | np.ndarray | None = None
    track_ids: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def __iter__(self) -> Iterator[Detection]:
        for box, score, name, class_id in zip(self.boxes, self.scores, self.class_names, self.classes):
            yield Detection(tuple(box.tolist()), float(score), name, int(class_id))

    def __getitem__(self, keep) -> Detections:
        return dataclasses.replace(
            self, boxes=self.boxes[keep].reshape(-1, 4), scores=np.atleast_1d(self.scores[keep]),
            classes=np.atleast_1d(self.classes[keep]),
            track_ids=None if self.track_ids is None else np.atleast_1d(self.track_ids[keep]))

    def __repr__(self) -> str:
        marks = [''] * len(self) if self.track_ids is None else [f'#{number} ' for number in self.track_ids]
        shown = [f'{mark}{name} {100 * score:.0f}% ({", ".join(f"{x:.0f}" for x in box)})'
                 for mark, (box, score, name, _) in zip(marks, self[:3])]
        more = ['...'] if len(self) > 3 else []
        return f'Detections({self.image_id!r}, {len(self)}{": " if shown else ""}{", ".join(shown + more)})'

    @property
    def class_names(self) -> list[str]:
        """The class name of each detection; its class id as text where the names are unknown."""
        return [self.names[class_id] if self.names else str(class_id) for class_id in self.classes]

    @property
    def path(self) -> str | None:
        """The image's file, None where the image came as bytes or pixels."""
        return self.source if isinstance(self.source, str) else None

    def above(self, score: float) -> Detections:
        """The detections that score higher than ``score``."""
        return self[np.asarray(self.scores) > score]

    def with_tracks(self, rows: np.ndarray, track_ids: np.ndarray) -> Detections:
        """The detections at ``rows`` int [k], as seen of the tracks ``track_ids`` int [k]."""
        return dataclasses.replace(self[rows], track_ids=track_ids)

    def draw(self, image: np.ndarray | None = None) -> np.ndarray:
        """A copy of the image with all boxes drawn, uint8 [h, w, 3] RGB.

        Args:
          image: what to draw on, uint8 [h, w, 3] RGB; default: the image itself, read again where it is a file.

        Raises:
          InputError: no image is given and none is known, or its file can no longer be read.
        """
        from yolov3_tf.drawing import boxes
        names = self.names or [str(class_id) for class_id in range(max(self.classes, default=-1) + 1)]
        return boxes.draw_detections(self._pixels() if image is None else image, self.boxes, self.classes, self.scores,
                                     names, self.track_ids)

    def save(self, path: str | os.PathLike, overwrite: bool = False):
        """Writes ``draw()`` as an image file in the format that the ending of ``path`` names.

        Raises:
          InputError: the file exists and ``overwrite`` is not set, the format is unknown, or see ``draw``.
        """
        from yolov3_tf import rgb_images
        rgb_images.write(path, self.draw(), overwrite)

    def to_coco(self, image_id: int | str | None = None,
                category_ids: Sequence[int | None] | None = None) -> list[dict[str, Any]]:
        """Entries of a COCO results file: image_id, category_id, bbox [x, y, width, height], score.

        Args:
          image_id: COCO's number of the image; default: ``image_id`` of these detections, as a number where it is one.
          category_ids: COCO's number of each class id, default 1, 2, ...; classes whose number is None are left out.
        """
        if image_id is None:
            image_id = self._coco_image_id()
        boxes_xywh = np.array(self.boxes, np.float64).reshape(-1, 4)
        boxes_xywh[:, 2:] -= boxes_xywh[:, :2]
        numbers = category_ids if category_ids is not None else range(1, max(self.classes, default=0) + 2)
        # Nine digits restore every float32 exactly.
        return [{'image_id': image_id, 'category_id': int(numbers[class_id]), 'bbox': [float(f'{x:.9g}') for x in box],
                 'score': float(f'{score:.9g}')}
                for box, score, class_id in zip(boxes_xywh.tolist(), self.scores, self.classes)
                if numbers[class_id] is not None]

    def _coco_image_id(self):
        """COCO's ids are numbers; a name that a number cannot represent exactly (000005, 2008_000008) stays text."""
        name = self.image_id
        return int(name) if name.isdecimal() and str(int(name)) == name else name

    def _pixels(self):
        from yolov3_tf import rgb_images
        if self.source is None:
            raise InputError(f'detections of {self.image_id!r} have no image: expected draw(image) with its pixels, '
                             'uint8 [h, w, 3] RGB')
        if isinstance(self.source, str):
            return rgb_images.read(self.source)
        return rgb_images.decode(self.source) if isinstance(self.source, bytes) else self.source
