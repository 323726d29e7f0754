"""A trained network as one call, whatever format its file has: it takes images and returns boxes."""
from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Callable, Protocol, Union, overload

import cv2
import numpy as np
import tensorflow as tf

from yolov3_tf import boxes as box_ops
from yolov3_tf import postprocess, rgb_images
from yolov3_tf.data import image_formats
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import operating_points
from yolov3_tf.export import DEFAULTS, Server, Settings, darknet, folded_network, metadata, onnx, preprocess, tflite
from yolov3_tf.export.saved_model import EXTRA
from yolov3_tf.inference import sequences, sources
from yolov3_tf.inference.tracking import Tracker, Tracking
from yolov3_tf.models import checkpoints, model_files
from yolov3_tf.structures import BatchedDetections, Detections

SCORE = .3                  # default threshold of a model that has no operating point; evaluation needs lower scores


class PilImage(Protocol):
    """A ``PIL.Image.Image``; the package itself need not be installed."""
    def convert(self, mode: str) -> Any:
        """The image in another mode."""


Image = Union[str, os.PathLike, bytes, np.ndarray, PilImage]


class Detector:
    """Takes images of any sizes and returns detections in their pixels.

    Attributes:
      class_names: the name of each class id of the detections.
      settings: thresholds and other settings, as exported.
      score_threshold: what a call takes by default: the operating point over all classes, else .3.
      checkpoint: its file, so that ``evaluate`` can choose other settings; None for an exported model.
      image_size: height and width of the network's input; None where unknown.
      tiles: the tiles that it was trained for, see ``tiling.Tiling``; '' for whole images. ``detect`` takes them by
        default, a call of the detector does not (``inference.tiles``).
    """

    def __init__(self, server, class_names: Sequence[str], settings: Settings, checkpoint: str | None = None,
                 image_size: tuple[int, int] | None = None, tiles: str = ''):
        """``server`` is an ``export.Server``, a loaded SavedModel of one, or a ``Resizing``."""
        self._server, self.class_names, self.settings = server, tuple(class_names), settings
        self.checkpoint, self.image_size, self.tiles = checkpoint, image_size, tiles
        self.score_threshold = settings.operating.overall.score if settings.operating else SCORE

    def __repr__(self) -> str:
        more = ', ...' if len(self.class_names) > 5 else ''
        return f'Detector({len(self.class_names)} classes: {", ".join(self.class_names[:5])}{more})'

    @overload
    def __call__(self, images: Image, score_threshold: float | None = ..., batch_size: int = ...) -> Detections: ...

    @overload
    def __call__(self, images: list[Image] | tuple[Image, ...], score_threshold: float | None = ...,
                 batch_size: int = ...) -> list[Detections]: ...

    def __call__(self, images, score_threshold=None, batch_size=8):
        """Detects in one image, or in each of a list of them.

        Args:
          images: an image, or a list or tuple of them: a path, the bytes of an image file, uint8 [h, w, 3] RGB pixels,
            or a PIL image. Files and bytes are turned upright as their EXIF says.
          score_threshold: detections must score above it, 0..1; default: ``self.score_threshold``, the one with the
            best F1 on the run's validation data where it is known. An exported model returns no detections below the
            threshold that it was exported with.
          batch_size: number of images in one call of the network.

        Returns:
          ``Detections`` of the image, best score first, or a list of them. ``image_id`` is the file's name without its
          ending, or the position in the list: '0', '1', ...

        Raises:
          InputError: an image cannot be read, or is none of the above.
        """
        if not isinstance(images, (list, tuple)):
            return self([images], score_threshold, batch_size)[0]
        score = self.score_threshold if score_threshold is None else score_threshold
        found = []
        for start in range(0, len(images), batch_size):
            read = [_read(image, start + index) for index, image in enumerate(images[start:start + batch_size])]
            for one, (name, source, _) in zip(self.detect([pixels for _, _, pixels in read]), read):
                found.append(dataclasses.replace(one.above(score), image_id=name, source=source))
        return found

    def track(self, frames: str | os.PathLike | Iterable[Image], tracking: Tracking | None = None,
              frame_rate: float | None = None, batch_size: int = 8) -> Iterator[Detections]:
        """Detects in the frames of one video, one after the other, and follows each object through them.

        Args:
          frames: a video, camera:0, the address of a stream, a folder of numbered images, or any iterable of images as
            a call takes them.
          tracking: default: tracks begin above ``self.score_threshold``, the rest as in ``Tracking``. An exported model
            returns no detections below the threshold that it was exported with.
          frame_rate: frames a second, for the buffer; default: that of the video, else 30.
          batch_size: number of frames in one call of the network; a camera or stream has one.

        Yields:
          ``Detections`` of each frame, best score first, with ``track_ids``; their ``image_id`` is the frame's number
          from 0, their ``source`` its pixels.

        Raises:
          InputError: a setting is out of range, or the frames cannot be read.
        """
        tracking = tracking or Tracking(self.score_threshold)
        Tracker(tracking)                       # raises now, not at the first frame
        return self._tracked(frames, tracking, frame_rate, batch_size)

    def _tracked(self, frames, tracking, rate, batch_size):
        with contextlib.ExitStack() as stack:
            if isinstance(frames, (str, os.PathLike)):
                opened = sources.open_frames(os.fspath(frames))
                stack.callback(opened.close)
                frames, rate, batch_size = opened, rate or opened.rate, 1 if opened.live else batch_size
            tracker = Tracker(tracking, rate or sequences.FRAME_RATE)
            for batch in sources.batches(frames, batch_size):
                first = tracker.frame + 1
                pixels = [_read(image, first + index)[2] for index, image in enumerate(batch)]
                names = [str(first + index) for index in range(len(batch))]
                for image, found in zip(pixels, self.detect(pixels, names)):
                    yield dataclasses.replace(tracker.update(found), source=image)

    def detect(self, images: Sequence[np.ndarray | bytes],
               image_ids: Sequence[str] | None = None) -> list[Detections]:
        """Detects in all ``images`` with one call of the network.

        Args:
          images: each uint8 [h, w, 3] RGB, or the bytes of a JPEG, PNG, BMP or GIF file.
          image_ids: names for the results; default '0', '1', ...

        Returns:
          One ``Detections`` for each image, best score first, with class ids from 0.

        Raises:
          tf.errors.InvalidArgumentError: the bytes are not such an image.
        """
        if not len(images):
            return []
        sizes = np.array([_size(image) for image in images], np.float32)
        if all(isinstance(image, np.ndarray) for image in images) and (sizes == sizes[0]).all():
            found = self._server.image_tensor(tf.constant(np.stack(images)))
        else:
            found = self._server.encoded(tf.constant([_as_bytes(image) for image in images]))
        ids = [str(index) for index in range(len(images))] if image_ids is None else image_ids
        return self._in_pixels(ids, sizes, {name: value.numpy() for name, value in found.items()})

    def _in_pixels(self, ids, sizes, found):
        counts = found['num_detections'].astype(int)
        classes = found['detection_classes'].astype(np.int32) - self.settings.class_offset
        scale = np.tile(sizes, 2)[:, None, :]                                   # [B, 1, 4] h, w, h, w
        boxes = (found['detection_boxes'] * scale)[..., [1, 0, 3, 2]]
        return [Detections(name, boxes[i, :n], found['detection_scores'][i, :n], classes[i, :n], self.class_names)
                for i, (name, n) in enumerate(zip(ids, counts))]


class Resizing:
    """Adds the resize, and its inverse for boxes, to a model that takes images of one size (TensorFlow Lite, ONNX).

    ``run``: uint8 [B, H, W, 3] -> the outputs of ``export.folded_network.named``, boxes as fractions of H and W.
    """

    def __init__(self, run: Callable, known: metadata.Metadata):
        self._run, self._metadata = run, known
        resize = (*known.image_size, known.letterbox)
        self._place_encoded = tf.function(
            lambda contents: preprocess.place_encoded(contents, *resize), [tf.TensorSpec([None], tf.string)],
            autograph=False)
        self._place_arrays = tf.function(
            lambda images: preprocess.place_arrays(images, *resize),
            [tf.TensorSpec([None, None, None, 3], tf.uint8)], autograph=False)

    def encoded(self, contents):
        """String [B] -> the outputs of the signature ``serving_default``."""
        return self._detect(self._place_encoded(contents))

    def image_tensor(self, images):
        """uint8 [B, h, w, 3] -> the outputs of the signature ``serving_image_tensor``."""
        return self._detect(self._place_arrays(images))

    def _detect(self, placed):
        found, offset = self._run(placed.images.numpy()), self._metadata.settings.class_offset
        found = BatchedDetections(box_ops.from_yxyx_unit(found['detection_boxes'], *self._metadata.image_size),
                                  tf.constant(found['detection_scores']),
                                  tf.cast(found['detection_classes'], tf.int32) - offset,
                                  tf.cast(found['num_detections'], tf.int32))
        found = postprocess.undo_resize(found, placed.placement, placed.sizes)
        return folded_network.named(found, placed.sizes[:, None, 0], placed.sizes[:, None, 1], offset)


def load(path: str | os.PathLike, settings: Settings = DEFAULTS) -> Detector:
    """Opens a trained model in any of the formats that this package writes.

    Args:
      path: a run's folder (its best checkpoint, see ``models.model_files.resolve``), a checkpoint (.h5), a .tflite,
        .onnx or .weights file, a SavedModel, or a folder of SavedModels by version (the largest is taken).
      settings: for a checkpoint; an exported model has its own.

    Raises:
      InputError: the path holds no model of this package, or a package that the format needs is not installed.
    """
    path = model_files.resolve(path)
    if os.path.isdir(path):
        return _load_saved_model(_version(path))
    suffix = os.path.splitext(path)[1]
    if suffix not in SUFFIXES and not os.path.exists(path):
        raise InputError(f'{path}: no model there: expected {model_files.KINDS}')
    return SUFFIXES.get(suffix, _load_checkpoint)(path, settings)


def _load_checkpoint(path, settings):
    model, config = checkpoints.load_model(path)
    if settings.operating is None:
        settings = settings._replace(operating=operating_points.of_checkpoint(path))
    return Detector(Server(model, config, settings), config.class_names, settings, path, config.image_size,
                    config.tiles)


def _load_darknet(path, _):
    model, config, settings = darknet.load(path)
    return Detector(Server(model, config, settings), config.class_names, settings, None, config.image_size,
                    config.tiles)


def _load_tflite(path, _):
    known = tflite.read_metadata(path)
    return Detector(Resizing(tflite.open_model(path), known), known.class_names, known.settings, None,
                    known.image_size, known.tiles)


def _load_onnx(path, _):
    session = onnx.open_session(path)
    known = onnx.read_metadata(session, path)
    return Detector(Resizing(onnx.as_function(session), known), known.class_names, known.settings, None,
                    known.image_size, known.tiles)


SUFFIXES = {'.h5': _load_checkpoint, '.tflite': _load_tflite, '.onnx': _load_onnx, '.weights': _load_darknet}


def _load_saved_model(folder):
    found = {}
    for name in (metadata.MODEL, metadata.LABELS):
        try:
            with open(os.path.join(folder, EXTRA, name), encoding='utf-8') as file:
                found[name] = file.read()
        except (OSError, UnicodeError):
            continue                    # metadata.read reports what is missing
    known = metadata.read(found, os.path.join(folder, EXTRA))
    return Detector(tf.saved_model.load(folder), known.class_names, known.settings, None, known.image_size,
                    known.tiles)


def _version(folder):
    """The folder itself if it holds a SavedModel, else its subfolder with the largest number."""
    if os.path.isfile(os.path.join(folder, 'saved_model.pb')):
        return folder
    versions = [name for name in os.listdir(folder) if name.isdecimal()]
    if not versions:
        raise InputError(f'{folder}: expected a run, a SavedModel (saved_model.pb), or folders 1, 2, ... with '
                         'SavedModels')
    return os.path.join(folder, max(versions, key=int))


def _read(image, position):
    """An image of any accepted type -> its name, its source, and its pixels uint8 [h, w, 3] RGB."""
    if isinstance(image, (str, os.PathLike)):
        path = os.fspath(image)
        return os.path.splitext(os.path.basename(path))[0], path, rgb_images.read(path)
    if isinstance(image, bytes):
        return str(position), image, rgb_images.decode(image, f'image {position}')
    if not isinstance(image, np.ndarray) and hasattr(image, 'convert'):         # a PIL image; PIL need not be installed
        image = np.asarray(image.convert('RGB'))
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        given = f'{image.dtype} {list(image.shape)}' if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f'image {position}: expected a path, the bytes of an image file, a PIL image, or uint8 '
                         f'[h, w, 3] RGB pixels, got {given}')
    return str(position), image, image


def _size(image):
    """The height and width of an array or of an encoded image."""
    if isinstance(image, np.ndarray):
        return image.shape[:2]
    if image_formats.name_of(image) == 'JPEG':
        return tf.image.extract_jpeg_shape(image).numpy()[:2]                    # reads the header only
    return tf.io.decode_image(image, 3, expand_animations=False).shape[:2]


def _as_bytes(image):
    """Encodes an array as BMP, so that sizes may differ in a batch; BMP keeps the pixels and costs only a copy."""
    return image if isinstance(image, bytes) else cv2.imencode('.bmp', image[..., ::-1])[1].tobytes()
