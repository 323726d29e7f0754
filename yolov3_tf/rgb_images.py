"""Reading and writing image files outside the network: uint8 [h, w, 3] RGB, turned upright.

The orientation is read by ``image_headers`` and applied here, because OpenCV's versions differ in where they look for
it; its TIFF decoder applies four of the eight and returns the others in a wrong shape (4.11).
"""
from __future__ import annotations

import os

import cv2
import numpy as np

from yolov3_tf import image_headers, orientation
from yolov3_tf.errors import InputError


def read(path: str | os.PathLike) -> np.ndarray:
    """Reads an image file of any format that OpenCV reads, turned upright by its EXIF orientation.

    Returns:
      uint8 [h, w, 3] RGB.

    Raises:
      InputError: the file is missing, empty, or holds no image that can be decoded; or its header claims more
        pixels than the file can hold, which is found before memory is taken for them.
    """
    path = os.fspath(path)
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f'{path}: cannot be read: {error.strerror}') from error
    return _decode(data, path)


def decode(content: bytes, name: str = 'encoded image') -> np.ndarray:
    """Decodes the bytes of an image file like ``read``; ``name`` is its name in messages."""
    return _decode(np.frombuffer(content, np.uint8), name)


def _decode(data, name):
    if not data.size:
        raise InputError(f'{name}: empty file')
    content = data.tobytes()
    if why := image_headers.fault(content):
        raise InputError(f'{name}: not an image, or a damaged one ({data.size:,} bytes): {why}')
    image = stored(content)
    if image is None:
        raise InputError(f'{name}: not an image, or a damaged one ({data.size:,} bytes)')
    header = image_headers.of_bytes(content)
    return np.ascontiguousarray(orientation.upright_pixels(image, header.orientation if header else 1))


def stored(content: bytes) -> np.ndarray | None:
    """Decodes an image as it is stored, not turned: uint8 [h, w, 3] RGB, or None where OpenCV cannot."""
    data = np.frombuffer(image_headers.as_upright(content), np.uint8)
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)                                  # what is wrong with a file is said once, by the caller
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:                                   # the header claims more pixels than OpenCV accepts
        return None
    finally:
        cv2.setLogLevel(level)
    return None if image is None else image[..., ::-1]


def write(path: str | os.PathLike, image: np.ndarray, overwrite: bool = False):
    """Writes an image in the format that the ending of ``path`` names (.jpg, .png, ...).

    Raises:
      InputError: the file exists and ``overwrite`` is not set, or the format is unknown.
      OSError: the file cannot be written.
    """
    path = os.fspath(path)
    try:
        known, content = cv2.imencode(os.path.splitext(path)[1] or ' ', image[..., ::-1],
                                      [cv2.IMWRITE_JPEG_QUALITY, 92])
    except cv2.error:
        known = False
    if not known:
        raise InputError(f'{path}: expected a name that ends with an image format OpenCV writes, such as .jpg or .png')
    try:
        # Not with imwrite, which gives no reason when it fails.
        with open(path, 'wb' if overwrite else 'xb') as file:
            file.write(content.tobytes())
    except FileExistsError:
        raise InputError(f'{path} exists: choose another name, or overwrite=True') from None
