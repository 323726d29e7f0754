"""Anchor files: one line a level, ``STRIDE: W,H W,H ...`` in pixels of the network input, finest level first.

    # Nine anchors of VOC
    8: 10,13 16,30 33,23
    16: 30,61 62,45 59,119
    32: 116,90 156,198 373,326

``#`` starts a comment. ``yolov3-tf anchors`` writes such files, ``yolov3-tf train --anchors`` reads them.
"""
from __future__ import annotations

from collections.abc import Iterable

from yolov3_tf import regular_file
from yolov3_tf.anchors import YOLOV3_ANCHORS, Anchors
from yolov3_tf.errors import InputError

_LINE = 'STRIDE: WIDTH,HEIGHT WIDTH,HEIGHT ...'
LARGEST = 10_000.       # pixels of an anchor's side
LARGEST_FILE = 1 << 16  # bytes


def read(path: str) -> Anchors:
    """Reads an anchor file.

    Raises:
      InputError: it cannot be read, a line is not understood (with its number), or strides do not grow.
    """
    levels: dict[int, tuple[tuple[float, float], ...]] = {}
    for number, line in _lines(path):
        stride, pairs = _level(f'{path}:{number}', line)
        if levels and stride <= max(levels):
            raise InputError(f'{path}:{number}: stride {stride} behind stride {max(levels)}: expected the finest level '
                             'first and each once')
        levels[stride] = pairs
    if not levels:
        raise InputError(f'{path}: no anchors; expected lines "{_LINE}"')
    return Anchors(tuple(levels.values()), tuple(levels))


def read_for_yolov3(path: str) -> Anchors:
    """Reads an anchor file for YOLOv3 itself, whose levels and anchors a level are fixed.

    Raises:
      InputError: as ``read``, or the file has other strides or another number of anchors.
    """
    anchors = read(path)
    wanted = [len(level) for level in YOLOV3_ANCHORS.sizes]
    if anchors.strides != YOLOV3_ANCHORS.strides or [len(level) for level in anchors.sizes] != wanted:
        there = ', '.join(f'{len(level)} at stride {stride}' for level, stride in zip(anchors.sizes, anchors.strides))
        raise InputError(f'{path}: YOLOv3 has 3 anchors at each of the strides 8, 16 and 32, the file {there}; make '
                         'one with yolov3-tf anchors SPEC --output=FILE')
    return anchors


def text_of(anchors: Anchors, comments: Iterable[str] = ()) -> str:
    """The text of an anchor file."""
    lines = [f'# {comment}' for comment in comments]
    for stride, pairs in zip(anchors.strides, anchors.sizes):
        lines.append(f'{stride}: ' + ' '.join(f'{width:g},{height:g}' for width, height in pairs))
    return '\n'.join([*lines, ''])


def darknet_line(anchors: Anchors) -> str:
    """The same anchors as the line of a darknet cfg."""
    return 'anchors = ' + ', '.join(f'{width:g},{height:g}' for level in anchors.sizes for width, height in level)


def _lines(path):
    try:
        with open(path, 'rb', opener=regular_file.opener) as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: cannot be read ({error}): expected an anchor file') from None
    if len(content) > LARGEST_FILE:
        raise InputError(f'{path}: more than {LARGEST_FILE} bytes; expected an anchor file')
    for number, line in enumerate(content.decode('utf-8', 'replace').splitlines(), 1):
        text = line.partition('#')[0].strip()
        if text:
            yield number, text


def _level(where, line):
    head, colon, rest = line.partition(':')
    head = head.strip()
    try:
        pairs = tuple(tuple(float(side) for side in pair.split(',')) for pair in rest.split())
    except ValueError:
        pairs = ()
    good = all(len(pair) == 2 and all(0 < side <= LARGEST for side in pair) for pair in pairs)
    if not (colon and pairs and good and head.isdecimal() and head.isascii() and 0 < int(head[:6]) <= 1024):
        raise InputError(f'{where}: expected "{_LINE}" with sides above 0 and up to {LARGEST:g} pixels, got '
                         f'{line[:80]!r}')
    return int(head), pairs
