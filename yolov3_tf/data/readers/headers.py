"""Headers of the image files that annotations name: format, size and orientation, without decoding."""
from __future__ import annotations

from yolov3_tf.image_headers import Header, read

__all__ = ['Header', 'of_file', 'read']


def of_file(path: str) -> Header | None:
    """Header of an image file; None where there is no such file, or its header is not understood."""
    try:
        with open(path, 'rb') as file:
            return read(file)
    except (OSError, ValueError):       # ValueError: a path with a zero byte
        return None
