"""The built-in dataset: drawn once, written in real VOC layout, read like any other VOC folder.

Image i of a part depends on (VERSION, part, i) alone: ``shapes:100`` holds the first images of
``shapes:600``, and the held-out part is drawn from numbers the training part never uses.
"""
from __future__ import annotations

import os
import secrets
import shutil

import cv2
import numpy as np

from yolov3_tf.data.readers import shapes, voc_xml

CACHE = os.path.join('runs', 'data')
DEFAULT_COUNT = 600
LARGEST_COUNT = 100_000
MOST_HELD_OUT = 150
VERSION = 3  # of the drawings; a change of shapes.py that changes a pixel or a box must raise it
QUALITY = 92  # JPEG


def prepare(count: int = DEFAULT_COUNT, cache: str = CACHE) -> str:
    """Draws the set where it does not exist yet.

    Args:
      count: training images; a quarter as many are held out, at most ``MOST_HELD_OUT``.
      cache: folder in which the set has its own, ``shapes-COUNT-vVERSION``.

    Returns:
      A folder in VOC layout with the splits train and val. It appears complete or not at all: a process killed
      on the way leaves only a hidden folder that nothing reads.
    """
    folder = os.path.join(cache, f'shapes-{count}-v{VERSION}')
    if os.path.isdir(folder):
        return folder
    part = os.path.join(cache, f'.shapes-{count}-v{VERSION}.{secrets.token_hex(4)}')    # containers share process ids
    for name in ('Annotations', 'JPEGImages', os.path.join('ImageSets', 'Main')):
        os.makedirs(os.path.join(part, name))
    for number, (split, size) in enumerate((('train', count), ('val', held_out_count(count)))):
        stems = [_write_image(part, split, number, index) for index in range(size)]
        listed = ''.join(f'{stem}\n' for stem in stems)
        _write(part, os.path.join('ImageSets', 'Main', f'{split}.txt'), listed.encode())
    try:
        os.replace(part, folder)
    except OSError:
        if not os.path.isdir(folder):  # otherwise another process was first, with the same images
            raise
        shutil.rmtree(part)
    return folder


def held_out_count(count: int) -> int:
    """Images held out beside ``count`` training images."""
    return min(max(1, count // 4), MOST_HELD_OUT)


def _write_image(folder, split, number, index):
    """Draws and writes one image with its annotation; returns its stem."""
    drawing = shapes.draw(np.random.default_rng([VERSION, number, index]))
    height, width = drawing.image.shape[:2]
    stem = f'{split}_{index:05d}'
    _, jpeg = cv2.imencode('.jpg', drawing.image, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    _write(folder, os.path.join('JPEGImages', f'{stem}.jpg'), jpeg.tobytes())
    xml = voc_xml.serialize(f'{stem}.jpg', width, height, drawing.objects)
    _write(folder, os.path.join('Annotations', f'{stem}.xml'), xml.encode())
    return stem


def _write(folder, name, content):
    with open(os.path.join(folder, name), 'wb') as file:
        file.write(content)
