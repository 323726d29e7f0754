"""Small objects in large images: a detector over overlapping tiles and the whole image, and one result of all.

A network sees an image of 3000 pixels at 416, where an object of 12 pixels has less than 2. In tiles of the network's
own size it has all 12. What is large is cut by the tiles, and found in the whole image, which is one more tile.
``tiling`` cuts and merges.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from yolov3_tf.errors import InputError
from yolov3_tf.export import Settings
from yolov3_tf.structures import Detections
from yolov3_tf.tile_merge import merge_found
from yolov3_tf.tiling import AUTO, DEFAULTS, Tiling, check, lay_out


class DetectsArrays(Protocol):
    """A ``detector.Detector``, as far as it is needed here."""
    class_names: tuple[str, ...]
    settings: Settings
    image_size: tuple[int, int] | None

    def detect(self, images: Sequence[np.ndarray | bytes], image_ids: Sequence[str] | None = None) -> list[Detections]:
        """The detections of each image."""


class Tiled:
    """A detector that looks at each image in tiles; it is used like the detector itself.

    Raises:
      InputError: the tiling cannot be understood.
    """

    def __init__(self, detector: DetectsArrays, tiling: Tiling = DEFAULTS, batch_size: int = 8):
        check(tiling)
        if tiling.tiles == AUTO and detector.image_size is None:
            raise InputError(f'tiles {AUTO}: the input size of this model is unknown: give a tile\'s side in pixels')
        self.detector, self.tiling, self.batch_size = detector, tiling, batch_size
        self.class_names, self.settings, self.image_size = detector.class_names, detector.settings, detector.image_size

    def detect(self, images: Sequence[np.ndarray | bytes], image_ids: Sequence[str] | None = None) -> list[Detections]:
        """Detects in each image; arguments and result as in ``detector.Detector.detect``."""
        names = [str(index) for index in range(len(images))] if image_ids is None else image_ids
        return [self._in_one(image, name) for image, name in zip(images, names)]

    def _in_one(self, image, name):
        pixels = image if isinstance(image, np.ndarray) else _decoded(image)
        height, width = pixels.shape[:2]
        windows = lay_out(self.tiling, height, width, self.image_size)
        found = self.detector.detect([image], [name])
        if not len(windows):
            return found[0]
        for start in range(0, len(windows), self.batch_size):
            some = windows[start:start + self.batch_size]
            found += self.detector.detect([np.ascontiguousarray(pixels[y1:y2, x1:x2]) for x1, y1, x2, y2 in some])
        windows = np.concatenate([[[0, 0, width, height]], windows])
        boxes, scores, classes = merge_found(found, windows, self.settings.suppression, len(self.class_names))
        return Detections(name, boxes, scores, classes, tuple(self.class_names))


def _decoded(content):
    # As the detector itself decodes it, so that boxes lie in the same pixels.
    from yolov3_tf.export import preprocess
    return preprocess.decode(content).numpy()
