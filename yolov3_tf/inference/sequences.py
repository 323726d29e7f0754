"""A folder of numbered images as one video: MOTChallenge's layout, and whatever a program cuts a film into."""
from __future__ import annotations

import configparser
import dataclasses
import os
import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np

from yolov3_tf import rgb_images
from yolov3_tf.errors import InputError
from yolov3_tf.inference.tracking import FRAME_RATE

FRAMES, INFO = 'img1', 'seqinfo.ini'        # MOTChallenge: SEQUENCE/img1/000001.jpg, SEQUENCE/seqinfo.ini


@dataclasses.dataclass(frozen=True)
class ImageSequence:
    """Iterates over frames as ``sources.Frames`` does; raises InputError at one that cannot be read.

    Attributes:
      name: for result files.
      paths: one image a frame, in order.
      rate: frames a second.
    """
    name: str
    paths: list[str]
    rate: float
    live: ClassVar[bool] = False

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(rgb_images.read, self.paths)

    def close(self):
        """Nothing is held open."""


def folder_of_images(folder: str) -> str:
    """The folder itself, or its ``img1`` for a sequence in MOTChallenge's layout."""
    inner = os.path.join(folder, FRAMES)
    return inner if os.path.isdir(inner) else folder


def in_order(folder: str, paths: Sequence[str]) -> ImageSequence:
    """The images of a folder as a sequence, ordered by the numbers in their names: frame_2 before frame_10.

    The name is that of the folder, or of the one around an ``img1``; the rate is that of ``seqinfo.ini``, else 30.

    Raises:
      InputError: names without a number, of more than one series, or with one number twice.
    """
    folder = os.path.abspath(folder)
    by_series: dict[str, list[str]] = {}
    for path in paths:
        by_series.setdefault(re.sub(r'\d+', '#', _stem(path)), []).append(path)
    numbered = [series for series in by_series if '#' in series]
    if len(numbered) != 1 or len(by_series) > 1:
        names = ', '.join(os.path.basename(paths[0]) for paths in list(by_series.values())[:4])
        raise InputError(f'{folder}: expected the images of one video, with names that differ in their numbers alone, '
                         f'such as frame_0001.jpg; got {names}{", ..." if len(by_series) > 4 else ""}: put each series '
                         'into a folder of its own')
    ordered = sorted(paths, key=_numbers)
    for one, other in zip(ordered, ordered[1:]):
        if _numbers(one) == _numbers(other):
            raise InputError(f'{folder}: {os.path.basename(one)} and {os.path.basename(other)} have the same number: '
                             'expected one image a frame')
    above = os.path.dirname(folder) if os.path.basename(folder) == FRAMES else folder
    return ImageSequence(os.path.basename(above) or 'sequence', ordered, _rate(os.path.join(above, INFO)))


def _stem(path):
    return os.path.splitext(os.path.basename(path))[0]


def _numbers(path):
    return [int(number) for number in re.findall(r'\d+', _stem(path))]


def _rate(path):
    """The frame rate in MOTChallenge's description of a sequence; where there is none, the most usual one."""
    description = configparser.ConfigParser(interpolation=None)
    try:
        description.read(path, encoding='utf-8')
        rate = description.getfloat('Sequence', 'frameRate')
    except (configparser.Error, ValueError, OSError):
        return FRAME_RATE
    return rate if 0 < rate < float('inf') else FRAME_RATE
