"""The reference's annotation lists: one image a line, ``index path width height [class x1 y1 x2 y2]...``

Fields are separated by blanks; ``class`` is a class id from 0. Coordinates are taken as they are, in our
format: pixels from 0, far edge exclusive. (Lists made by the reference's own script hold VOC's raw numbers,
which count from 1: such a box begins one pixel late here. ``python -m voc_annotations`` writes exact ones.)
Paths are absolute or relative to the list's folder, and may hold blanks before their ending (.jpg, .jpeg, .png, .bmp,
.gif in any case; the last on the line counts).
A list cannot hold VOC's ``difficult`` or COCO's ``iscrowd``: evaluate on ``voc:`` and ``coco:``.
"""
from __future__ import annotations

import collections
import os
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from yolov3_tf import atomic_file
from yolov3_tf.data import image_formats
from yolov3_tf.data.readers import class_files, faults
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, Record

CLASS_FILE = 'classes.names'  # beside a list; voc_annotations writes it
_LINE = 'index path width height [class x1 y1 x2 y2]...'
_ENDING = '|'.join(map(re.escape, image_formats.ENDINGS))
_PATH = re.compile(rf'(\S+)\s+(.+(?:{_ENDING})|\S+)(?:\s+(.*))?$', re.IGNORECASE)


def read(path: str, classes: Sequence[str] | None = None, strict: bool = False) -> Dataset:
    """Reads a list file.

    ``image_id`` is the image's stem, or its path as written where two images share a stem.

    Args:
      path: the list.
      classes: names in order (matched with those of ``classes.names`` beside the list by
        ``class_files.renumber``); None takes ``classes.names``, else VOC's twenty where every class id is below
        20, else the ids themselves as names.
      strict: stop at the first fault instead of repairing or dropping.

    Raises:
      InputError: the list is missing, empty or without a usable line, or a class id has no name.
    """
    problems = faults.Problems(strict)
    own = own_names(path)
    numbers = class_files.renumber(own, classes, os.path.join(os.path.dirname(path), CLASS_FILE)) if classes else None
    classes = own if classes is None else classes
    known = classes if numbers is None else own
    records, highest, empty = {}, -1, True
    for number, line in class_files.read_lines(path):
        empty = False
        where = f'{path}:{number}'
        try:
            name, width, height, boxes = _fields(line)
            highest = max([highest, *(_known_class(where, row[0], known) for row in boxes)])
        except _LineFault as fault:
            problems.add(f'{where}: {fault}', 'line dropped')
            continue
        if name in records:
            problems.add(f'{where}: {name} is listed already', 'used once')
        elif not os.path.isfile(_image(path, name)):
            problems.add(f'{where}: no image {_image(path, name)}', 'line dropped')
        else:
            objects = [(box, numbers[index] if numbers else index, False, False, None, number)
                       for box, index in _objects(where, boxes, width, height, problems)]
            records[name] = faults.record(_image(path, name), name, width, height, objects, path)
    if not records:
        raise InputError(f'{path}: the list is empty; expected lines "{_LINE}"' if empty else
                         f'{path}: no usable line; the first problem: {problems.messages[0]}')
    return Dataset(with_ids(records), _class_names(classes, highest), problems.messages)


def own_names(path: str) -> list[str] | None:
    """Class names of the file ``CLASS_FILE`` beside a list; None where there is none."""
    beside = os.path.join(os.path.dirname(path), CLASS_FILE)
    return class_files.read_class_file(beside) if os.path.isfile(beside) else None


def with_ids(records: Mapping[str, Record]) -> list[Record]:
    """Records {path as written: Record} with their ids: the stem, or the path where two share a stem."""
    stems = {name: os.path.splitext(os.path.basename(name))[0] for name in records}
    uses = collections.Counter(stems.values())
    return [record._replace(image_id=stems[name] if uses[stems[name]] == 1 else os.path.splitext(name)[0])
            for name, record in records.items()]


def write(path: str, records: Iterable[Record]) -> None:
    """Writes a list whose paths are relative to its own folder.

    Args:
      path: the list; its folder exists.
      records: Records with known width and height. ``difficult`` and ``crowd`` are lost.

    Raises:
      InputError: an image's path would not be read back unchanged: it has a line break, a blank first or last, or
        bytes that are not UTF-8.
    """
    folder = os.path.dirname(os.path.abspath(path))
    lines = []
    for number, record in enumerate(records):
        fields = [number, os.path.relpath(record.image_path, folder), record.width, record.height]
        for index, box in zip(record.classes, record.boxes):
            fields += [index, *(np.format_float_positional(value, trim='-') for value in box)]
        line = ' '.join(map(str, fields))
        if not _reads_back(line, *fields[1:4]):
            raise InputError(f'{path}: a list cannot hold the path {fields[1]!r}: rename the image')
        lines.append(f'{line}\n')
    atomic_file.write_text(path, ''.join(lines))


class _LineFault(Exception):
    """A line that cannot be used; the text is the reason."""


def _reads_back(line, *expected):
    """Whether path, width and height of a line are those it was made of."""
    try:
        return len(line.encode().splitlines()) == 1 and _fields(line)[:3] == expected
    except (UnicodeEncodeError, _LineFault):
        return False


def _fields(line):
    """Splits a line into path, width, height and rows [class, x1, y1, x2, y2] of numbers."""
    match = _PATH.match(line)
    numbers = (match.group(3) or '').split() if match else []
    if match is None or len(numbers) < 2:
        raise _LineFault(f'expected "{_LINE}", got {line[:80]!r}')
    if len(numbers) % 5 != 2:
        raise _LineFault(f'expected five numbers a box, got {len(numbers) - 2} after the size')
    try:
        values = [float(text) for text in numbers]
    except ValueError as error:
        raise _LineFault(f'expected "{_LINE}" ({error})') from None
    if not all(0 <= side < 2 ** 24 and side == int(side) for side in values[:2]):
        raise _LineFault(f'expected width and height as whole pixels, got {numbers[0]} {numbers[1]}')
    boxes = [values[start:start + 5] for start in range(2, len(values), 5)]
    return match.group(2), int(values[0]), int(values[1]), boxes


def _known_class(where, value, classes):
    if not (0 <= value < class_files.MOST_CLASSES and value == int(value)):
        raise InputError(f'{where}: expected a class id from 0 to {class_files.MOST_CLASSES - 1}, got '
                         f'{value:g}')
    if classes is not None and value >= len(classes):
        raise InputError(f'{where}: class id {value:g}, but there are {len(classes)} class names '
                         f'({", ".join(classes)}); give the right list with --classes=FILE')
    return int(value)


def _objects(where, rows, width, height, problems):
    objects = []
    for position, (index, *corners) in enumerate(rows, 1):
        box = faults.repair(f'{where}: object {position}', corners, width, height, problems)
        if box is not None:
            objects.append((box, int(index)))
    return objects


def _image(path, name):
    return os.path.join(os.path.dirname(path), name)


def _class_names(classes, highest):
    if classes is not None:
        return list(classes)
    return list(class_files.VOC_CLASSES) if highest < 20 else [str(index) for index in range(highest + 1)]
