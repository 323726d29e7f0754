"""Class names: the published lists, class files, and the rule by which a dataset gets its names."""
from __future__ import annotations

import difflib
import functools
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Callable

from yolov3_tf import regular_file
from yolov3_tf.data.readers import texts
from yolov3_tf.errors import InputError

# VOC2007 development kit, the order every published per-class table uses.
VOC_CLASSES = (
    'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow',
    'diningtable', 'dog', 'horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train',
    'tvmonitor')

# COCO 2017 instances, in the order of the category ids (which have gaps).
COCO_CLASSES = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light',
    'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow',
    'elephant', 'bear', 'zebra', 'giraffe', 'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee',
    'skis', 'snowboard', 'sports ball', 'kite', 'baseball bat', 'baseball glove', 'skateboard', 'surfboard',
    'tennis racket', 'bottle', 'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple',
    'sandwich', 'orange', 'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch',
    'potted plant', 'bed', 'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'keyboard',
    'cell phone', 'microwave', 'oven', 'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase', 'scissors',
    'teddy bear', 'hair drier', 'toothbrush')


_open = functools.partial(open, opener=regular_file.opener)
MOST_CLASSES = 10_000       # more is a damaged file: names are made for all class ids below the highest
LONGEST_NAME = 200          # bytes: result files are named after classes, and file names end at 255
_BETWEEN = re.compile(r'(?<!\d)[\s_-]+|[\s_-]+(?!\d)')       # 1-2 and 12 differ


def read_lines(path: str | os.PathLike, opened: Callable = _open) -> Iterator[tuple[int, str]]:
    """Yields (line number, text) of a text file, stripped; blank lines, '\\r' and a byte order mark vanish.

    Raises:
      InputError: the file is missing, unreadable, or no text that ``texts`` reads.
    """
    try:
        with opened(path, 'rb') as file:
            content = file.read()
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror}): expected a text file') from None
    try:
        found = texts.lines(content)
    except texts.UnknownCoding as error:
        raise InputError(f'{path}:{error.line}: {error}') from None
    for number, line in enumerate(found, 1):
        text = line.lstrip('\ufeff').strip()
        if text:
            yield number, text


def check_length(name: str, where: str) -> None:
    """Raises InputError for a class name that no result file can be named after."""
    size = len(name.encode('utf-8', 'replace'))
    if size > LONGEST_NAME:
        raise InputError(f'{where}: class {name[:40]!r}... has {size} bytes; expected at most {LONGEST_NAME}, because '
                         'result files are named after classes')


def alike(names: Sequence[str]) -> list[str]:
    """A sentence for each group of class names that differ in nothing but letter case, blanks, ``_`` and ``-``."""
    groups: dict[str, list[str]] = {}
    for name in names:
        plain = unicodedata.normalize('NFKC', name).casefold()
        groups.setdefault(_BETWEEN.sub('', plain), []).append(name)
    return [f'the class names {", ".join(map(repr, group))} differ only in letter case or blanks and are '
            f'{len(group)} classes; if one is meant, correct the annotations' for group in groups.values()
            if len(group) > 1]


def read_class_file(path: str | os.PathLike, opened: Callable = _open) -> list[str]:
    """Class names, one a line, in the file's order; ``opened`` as ``open``, for files that are not local.

    Raises:
      InputError: the file is missing or empty, or it holds a name twice (with file and line).
    """
    names: dict[str, int] = {}      # name -> its line
    for number, name in read_lines(path, opened):
        if name in names:
            raise InputError(f'{path}:{number}: class {name!r} repeats line {names[name]}; remove one')
        names[name] = number
    if not names:
        raise InputError(f'{path}: no class names; expected one a line')
    return list(names)


def resolve_classes(found: Mapping[str, str], given: Sequence[str] | None = None, own: bool = False) -> list[str]:
    """The class names of a dataset.

    The given names are used; without them VOC's twenty where every name found is one of them (so that parts of VOC keep
    VOC's class ids); otherwise the names found, sorted.

    Args:
      found: each name in the data -> file and line of its first object.
      given: names in order, or None.
      own: the data are no part of VOC, so a set of cats and dogs has two classes and not VOC's twenty.

    Raises:
      InputError: the data holds a name that is not among those given.
    """
    if given is None:
        return list(VOC_CLASSES) if set(found) <= set(VOC_CLASSES) and not (own and found) else sorted(found)
    known = set(given)
    for name, where in found.items():
        if name not in known:
            raise InputError(f'{where}: {unknown_class(name, given)}')
    return list(given)


def renumber(own: Sequence[str] | None, given: Sequence[str], where: str) -> list[int] | None:
    """Maps the class ids of annotation files to those of ``given``.

    Names decide where all of the dataset's own are among those given. Otherwise the ids are taken as they are, and
    the given names are other names for the same classes; but not where a shared name has another id.

    Args:
      own: class names that belong to the annotation files, or None.
      given: names in order.
      where: file of ``own``, for the message.

    Returns:
      A list, own class id -> class id among ``given``; None where the ids stay as they are.

    Raises:
      InputError: some names are shared and differ in their ids, so neither reading is safe.
    """
    if own is None or list(own) == list(given):
        return None
    ids = {name: class_id for class_id, name in reversed(list(enumerate(given)))}
    missing = [name for name in own if name not in ids]
    if not missing:
        return [ids[name] for name in own]
    for number, name in enumerate(own):
        if ids.get(name, number) != number:
            raise InputError(f'{where}: class {name!r} has the class id {number} there and {ids[name]} in '
                             f'the list asked for, where {missing[0]!r} is missing: give the list that holds all of '
                             'them with --classes=FILE')
    return None


def unknown_class(name: str, known: Sequence[str]) -> str:
    """The message for a class that is not in the list, with the nearest name where one is near."""
    near = difflib.get_close_matches(name, known, n=1)
    meant = f' (did you mean {near[0]!r}?)' if near else ''
    return (f'unknown class {name!r}{meant}: expected one of {", ".join(known)}; correct the annotation, or '
            'give the list that holds it with --classes=FILE')


def describe_classes(class_names: Sequence[str]) -> str:
    """The class names for one line on the screen: the published list they equal, or every name."""
    for title, published in (("VOC's", VOC_CLASSES), ("COCO's", COCO_CLASSES)):
        if tuple(class_names) == published:
            return f'{title} {len(published)} classes'
    return f'{len(class_names)} classes: {", ".join(class_names)}'
