"""Headers of the image files that annotations name: format, size and orientation, without decoding."""
from __future__ import annotations

import os

from yolov3_tf import image_headers, regular_file
from yolov3_tf.image_headers import Header, read

_START = 1 << 11        # bytes, which hold the tables of a JPEG without a profile

__all__ = ['Header', 'claims', 'of_file', 'read', 'unstated']


def of_file(path: str) -> Header | None:
    """Header of an image file; None where there is no such file, or its header is not understood."""
    try:
        with open(path, 'rb', buffering=0, opener=regular_file.opener) as file:
            start = file.read(_START)
        if header := image_headers.of_plain_jpeg(start):
            return header
        with open(path, 'rb', opener=regular_file.opener) as file:
            return read(file)
    except (OSError, ValueError):       # ValueError: a path with a zero byte
        return None


def claims(path: str, header: Header) -> str:
    """``image_headers.claims`` of an image file; its size is only asked for where the header is large."""
    return image_headers.claims(header, 0) and image_headers.claims(header, os.path.getsize(path))


def unstated(path: str) -> tuple[int, int, int]:
    """Width and height of an image whose annotations state none, 0 where unknown, and its ``Record.orientation``.

    The orientation is 0, or -1 where EXIF turns the image: no size says what the boxes are for.
    """
    header = of_file(path)
    return (header.width, header.height, 0 if header.orientation == 1 else -1) if header else (0, 0, 0)
