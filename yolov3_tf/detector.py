"""A trained network as one call, be it a checkpoint or a SavedModel: pictures in, boxes out."""
from __future__ import annotations

import os
from typing import List, Optional, Sequence, Union

import cv2
import numpy as np
import tensorflow as tf

from yolov3_tf import checkpoints
from yolov3_tf.choices import InputError
from yolov3_tf.export import DEFAULTS, Server, Settings, facts
from yolov3_tf.export.saved_model import EXTRA
from yolov3_tf.structures import PictureDetections


class Detector:
    """Pictures of any sizes in, detections in their pixels out.

    Attributes:
      class_names: what the class indices of the detections stand for.
      settings: thresholds and the rest, as exported.
    """

    def __init__(self, server, class_names: Sequence[str], settings: Settings):
        """``server`` is an ``export.Server`` or a loaded SavedModel of one."""
        self._server, self.class_names, self.settings = server, tuple(class_names), settings

    def detect(self, pictures: Sequence[Union[np.ndarray, bytes]],
               image_ids: Optional[Sequence[str]] = None) -> List[PictureDetections]:
        """One call of the network for all ``pictures``.

        Args:
          pictures: each uint8 [h, w, 3] RGB, or the bytes of a JPEG, PNG, BMP or GIF file.
          image_ids: names for the results; default '0', '1', ...

        Returns:
          One ``PictureDetections`` a picture, best score first, classes counted from 0.

        Raises:
          tf.errors.InvalidArgumentError: bytes that are no such picture.
        """
        if not len(pictures):
            return []
        sizes = np.array([_size(picture) for picture in pictures], np.float32)
        if all(isinstance(picture, np.ndarray) for picture in pictures) and (sizes == sizes[0]).all():
            found = self._server.image_tensor(tf.constant(np.stack(pictures)))
        else:
            found = self._server.encoded(tf.constant([_as_bytes(picture) for picture in pictures]))
        ids = [str(index) for index in range(len(pictures))] if image_ids is None else image_ids
        return self._in_pixels(ids, sizes, {name: value.numpy() for name, value in found.items()})

    def _in_pixels(self, ids, sizes, found):
        counts = found['num_detections'].astype(int)
        classes = found['detection_classes'].astype(np.int32) - self.settings.class_offset
        scale = np.tile(sizes, 2)[:, None, :]                                   # [B, 1, 4] h, w, h, w
        boxes = (found['detection_boxes'] * scale)[..., [1, 0, 3, 2]]
        return [PictureDetections(name, boxes[i, :n], found['detection_scores'][i, :n], classes[i, :n])
                for i, (name, n) in enumerate(zip(ids, counts))]


def load(path, settings: Settings = DEFAULTS) -> Detector:
    """Opens a checkpoint, a SavedModel, or a folder of SavedModels by version (the largest is taken).

    Args:
      settings: for a checkpoint; a SavedModel has its own.

    Raises:
      InputError: nothing there that this program wrote.
    """
    path = str(path)
    if os.path.isdir(path):
        return _load_exported(_version(path))
    model, description = checkpoints.load_model(path)
    return Detector(Server(model, description, settings), description.class_names, settings)


def _load_exported(folder):
    found = {}
    for name in (facts.FACTS, facts.LABELS):
        try:
            with open(os.path.join(folder, EXTRA, name), encoding='utf-8') as file:
                found[name] = file.read()
        except (OSError, UnicodeError):
            continue                    # what is missing is said below, with what was expected
    known = facts.read(found, os.path.join(folder, EXTRA))
    return Detector(tf.saved_model.load(folder), known.class_names, known.settings)


def _version(folder):
    """The folder itself if it holds a SavedModel, else its subfolder with the largest number."""
    if os.path.isfile(os.path.join(folder, 'saved_model.pb')):
        return folder
    versions = [name for name in os.listdir(folder) if name.isdecimal()]
    if not versions:
        raise InputError(f'{folder}: expected a SavedModel (saved_model.pb), or such in folders 1, 2, ...')
    return os.path.join(folder, max(versions, key=int))


def _size(picture):
    """height, width of an array or of an encoded picture."""
    if isinstance(picture, np.ndarray):
        return picture.shape[:2]
    if picture[:3] == b'\xff\xd8\xff':
        return tf.image.extract_jpeg_shape(picture).numpy()[:2]                    # reads the header only
    return tf.io.decode_image(picture, 3, expand_animations=False).shape[:2]


def _as_bytes(picture):
    """BMP carries an array's pixels as they are, for the price of a copy; so sizes may differ in a batch."""
    return picture if isinstance(picture, bytes) else cv2.imencode('.bmp', picture[..., ::-1])[1].tobytes()
