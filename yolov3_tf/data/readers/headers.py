"""Headers of the image files that annotations name: format, size and orientation, without decoding."""
from __future__ import annotations

import os

from yolov3_tf import image_headers
from yolov3_tf.image_headers import Header, read

__all__ = ['Header', 'claims', 'of_file', 'read']


def of_file(path: str) -> Header | None:
    """Header of an image file; None where there is no such file, or its header is not understood."""
    try:
        with open(path, 'rb') as file:
            return read(file)
    except (OSError, ValueError):       # ValueError: a path with a zero byte
        return None


def claims(path: str, header: Header) -> str:
    """``image_headers.claims`` of an image file; its size is only asked for where the header is large."""
    return image_headers.claims(header, 0) and image_headers.claims(header, os.path.getsize(path))
