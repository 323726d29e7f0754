"""EXIF orientations: how a camera stored an image that a viewer is to turn, and what turning does to pixels and boxes.

The numbers 1 to 8 are those of tag 274 (TIFF 6.0, Exif 2.32 4.6.4): 1 is upright, 3 upside down, 6 and 8 a quarter
turn, 2, 4, 5 and 7 the same mirrored.
"""
from __future__ import annotations

import numpy as np

UPRIGHT = 1
TAG = 274
# Upright = the stored image, transposed for 5 to 8, then mirrored left and right, then top and bottom, for these.
TRANSPOSED, MIRRORED, UPENDED = (5, 6, 7, 8), (2, 3, 6, 7), (3, 4, 7, 8)


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Width and height as stored -> those of the upright image."""
    return (height, width) if orientation in TRANSPOSED else (width, height)


def upright_pixels(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels [h, w, ...] as stored -> upright, a view."""
    image = stored.swapaxes(0, 1) if orientation in TRANSPOSED else stored
    image = image[:, ::-1] if orientation in MIRRORED else image
    return image[::-1] if orientation in UPENDED else image


def upright_boxes(stored: np.ndarray, width: int, height: int, orientation: int) -> np.ndarray:
    """Boxes float [n, 4] in the pixels of a stored image of ``width`` x ``height`` -> in those of the upright one."""
    x1, y1, x2, y2 = np.asarray(stored).reshape(-1, 4).T
    if orientation in TRANSPOSED:
        x1, y1, x2, y2 = y1, x1, y2, x2
    width, height = upright_size(width, height, orientation)
    if orientation in MIRRORED:
        x1, x2 = width - x2, width - x1
    if orientation in UPENDED:
        y1, y2 = height - y2, height - y1
    return np.stack([x1, y1, x2, y2], axis=-1)
