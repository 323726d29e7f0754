"""Annotation lists: one image a line, in the forms of both Keras families.

    index path width height [class x1 y1 x2 y2]...      the TF1 reference; also without index, or without size
    path [x1,y1,x2,y2,class]...                         qqwweee's keras-yolo3 and what came from it

Fields are separated by blanks; ``class`` is a class id from 0, or a name. Coordinates are taken as they are, in our
format: pixels from 0, far edge exclusive. (Lists made by the reference's own script hold VOC's raw numbers,
which count from 1: such a box begins one pixel late here. ``python -m voc_annotations`` writes exact ones.)
Paths are absolute or relative to the list's folder, else to the current one, and may hold blanks before their ending
(.jpg, .jpeg, .png, .bmp, .gif in any case; the last on the line counts). An image that is nowhere there is searched
by its name below the list's folder, because many lists hold paths of another machine.
A list cannot hold VOC's ``difficult`` or COCO's ``iscrowd``: evaluate on ``voc:`` and ``coco:``.
"""
from __future__ import annotations

import collections
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from yolov3_tf import atomic_file
from yolov3_tf.data import image_formats
from yolov3_tf.data.readers import class_files, faults, headers, image_lookup
from yolov3_tf.data.readers.texts import is_number
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, Record

CLASS_FILE = 'classes.names'  # beside a list; voc_annotations writes it
# Beside a list, the first that exists; below them, one file that alone ends so.
NAME_FILES = CLASS_FILE, 'obj.names', 'classes.txt', '_classes.txt', 'class_names.txt'
_NAME_ENDINGS = '_classes.txt', '.names'
_LINE = 'index path width height [class x1 y1 x2 y2]...'
_COMMAS = 'path x1,y1,x2,y2,class ...'
_ENDING = '|'.join(map(re.escape, image_formats.ENDINGS))
_PATH = re.compile(rf'(.*\S(?:{_ENDING}))(?:\s+(.*))?$', re.IGNORECASE | re.DOTALL)
_GROUP = re.compile(r'\S+,\S+,\S+,\S+,\S+')
_INDEXED = re.compile(r'(\S+)\s+(.+)', re.DOTALL)


class _Line(NamedTuple):
    """One line: the image as written, its size in pixels (None: not there), and rows (class as written, corners)."""
    name: str
    size: tuple[int, int] | None
    rows: list[tuple[str, list[float]]]


def read(path: str, classes: Sequence[str] | None = None, strict: bool = False) -> Dataset:
    """Reads a list file.

    ``image_id`` is the image's stem, or its path as written where two images share a stem. A size that is not on the
    line is that of the image file.

    Args:
      path: the list.
      classes: names in order (matched with those of ``NAME_FILES`` beside the list by ``class_files.renumber``); None
        takes the file beside it, else VOC's twenty where every class id is below 20, else the ids themselves as
        names. Where the list holds names, None takes those found.
      strict: stop at the first fault instead of repairing or dropping.

    Raises:
      InputError: the list is missing, empty or without a usable line, or a class is unknown.
    """
    problems = faults.Problems(strict)
    own = own_names(path)
    parsed, empty = _parsed(path, problems)
    numbering = (_ClassNames if _holds_names(parsed.values()) else _ClassIds)(path, own, classes, parsed)
    find = _Finder(path)
    records = {}
    for number, line in parsed.items():
        where = f'{path}:{number}'
        indices = [numbering.index(where, text) for text, _ in line.rows]
        image = find(line.name)
        if line.name in records:
            problems.add(f'{where}: {line.name} is listed already', 'used once')
        elif image is None:
            problems.add(f'{where}: no image {_image(path, line.name)}', 'line dropped')
        else:
            width, height, turned = (*line.size, 0) if line.size else headers.unstated(image)
            objects = [(box, index, False, False, None, number) for box, index in
                       _objects(where, zip(indices, line.rows), width, height, problems)]
            record = faults.record(image, line.name, width, height, objects, path)
            records[line.name] = record._replace(orientation=turned)
    note_elsewhere(path, find.elsewhere, problems)
    if not records:
        raise InputError(f'{path}: the list is empty; expected lines "{_LINE}"' if empty else
                         f'{path}: no usable line; the first problem: {problems.messages[0]}')
    return Dataset(with_ids(records), numbering.names(), problems.messages, problems.notes)


def own_names(path: str) -> list[str] | None:
    """Class names of the class file beside a list (``NAME_FILES``); None where there is none."""
    folder = os.path.dirname(path)
    for name in NAME_FILES:
        if os.path.isfile(os.path.join(folder, name)):
            return class_files.read_class_file(os.path.join(folder, name))
    for ending in _NAME_ENDINGS:
        found = [name for name in sorted(os.listdir(folder or '.')) if name.endswith(ending)
                 ] if os.path.isdir(folder or '.') else []
        if len(found) == 1:
            return class_files.read_class_file(os.path.join(folder, found[0]))
    return None


def has_names(path: str) -> bool:
    """Whether a list holds class names instead of numbers."""
    return _holds_names(_parsed(path, faults.Problems())[0].values())


def looks_like(line: str) -> bool:
    """Whether a line of text is a line of such a list, with an image, and its size or a box."""
    try:
        fields = _fields(line, bool(_commas(line)))
        return _PATH.match(line) is not None and bool(fields.rows or fields.size)
    except _LineFault:
        return False


def names(path: str) -> list[str]:
    """The images of a list that ``write`` wrote, as written.

    Raises:
      InputError: it cannot be read.
    """
    return [line.name for line in _parsed(path, faults.Problems())[0].values()]


def names_in(line: str) -> list[str]:
    """The image that a line names, as written; empty where it names none."""
    try:
        return [_fields(line, bool(_commas(line))).name]
    except _LineFault:
        return []


def note_elsewhere(path: str, found: Sequence[tuple[str, str]], problems: faults.Problems) -> None:
    """Notes images that lie elsewhere than a list says; ``found`` are (as written, path)."""
    if found:
        (written, image), more = found[0], f' and {len(found) - 1} more' if len(found) > 1 else ''
        problems.note(f'{path}: {written[:200]}{more}: not there, but found by name: {image}')


def with_ids(records: Mapping[str, Record]) -> list[Record]:
    """Records {path as written: Record} with their ids: the stem, or the path where two share a stem."""
    stems = {name: os.path.splitext(image_lookup.base_name(name))[0] for name in records}
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
        image = record.image_path if '://' in record.image_path else os.path.relpath(record.image_path, folder)
        fields = [number, image, record.width, record.height]
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
        if len(line.encode().splitlines()) != 1 or _commas(line):
            return False
        fields = _fields(line, False)
        return (fields.name, *(fields.size or ())) == expected
    except (UnicodeEncodeError, _LineFault):
        return False


def _parsed(path, problems):
    """{line number: _Line}, and whether the list is empty; a line that cannot be read is dropped and noted."""
    lines = list(class_files.read_lines(path))
    commas = any(_commas(line) for _, line in lines)
    parsed = {}
    for number, line in lines:
        try:
            parsed[number] = _fields(line, commas)
        except _LineFault as fault:
            problems.add(f'{path}:{number}: {fault}', 'line dropped')
    return parsed, not lines


def _commas(line):
    """The part of a line behind the path where that consists of x1,y1,x2,y2,class, else None."""
    match = _PATH.match(line)
    rest = match.group(2) if match else line.partition(' ')[2]
    return rest if rest and all(map(_GROUP.fullmatch, rest.split())) else None


def _fields(line, commas):
    """Splits a line; ``commas``: its list has the form ``_COMMAS``."""
    match = _PATH.match(line)
    if commas:
        name, rest = (match.group(1), match.group(2) or '') if match else line.partition(' ')[::2]
        return _Line(name, None, [_group(line, text) for text in rest.split()])
    head, rest = (match.group(1), match.group(2) or '') if match else (line, '')
    indexed = _INDEXED.match(head)
    if not match:
        indexed = re.match(r'(\S+)\s+(\S+)\s+(.*)', line)
        head, rest = ('', indexed.group(3)) if indexed else ('', '')
    if not indexed and not match:
        raise _LineFault(f'expected "{_LINE}", got {line[:80]!r}')
    return _blanks(line, indexed.group(2) if indexed else head, rest.split())


def _blanks(line, name, texts):
    """The fields behind the path, separated by blanks; names of classes may hold blanks."""
    named = not all(map(is_number, texts))
    sized = len(texts) % 5 == 2 if not named else len(texts) > 2 and all(map(is_number, texts[:2]))
    if not named and len(texts) % 5 and not sized:
        raise _LineFault(f'expected five numbers a box, got {len(texts) - 2} after the size' if len(texts) > 1 else
                         f'expected "{_LINE}", got {line[:80]!r}')
    if not named and not sized and not texts and not is_number(line.split()[0]):
        raise _LineFault(f'expected "{_LINE}", got {line[:80]!r}')
    values, rows = texts[2 * sized:], []
    while values:
        words = next((count for count, text in enumerate(values) if count and is_number(text)), len(values))
        numbers = values[words:words + 4]
        if len(numbers) < 4 or not all(map(is_number, numbers)):
            raise _LineFault(f'expected class x1 y1 x2 y2 a box, got {" ".join(values)[:80]!r}')
        rows.append((' '.join(values[:words]), [float(text) for text in numbers]))
        values = values[words + 4:]
    return _Line(name, _pixels(texts[:2]) if sized else None, rows)


def _pixels(texts):
    sides = [float(text) for text in texts]
    if not all(0 <= side < 2 ** 24 and side == int(side) for side in sides):
        raise _LineFault(f'expected width and height as whole pixels, got {" ".join(texts)}')
    return int(sides[0]), int(sides[1])


def _group(line, text):
    parts = text.split(',', 4)
    if len(parts) < 5 or not all(map(is_number, parts[:4])):
        raise _LineFault(f'expected "{_COMMAS}", got {line[:80]!r}')
    return parts[4], [float(part) for part in parts[:4]]


def _holds_names(lines):
    return any(not is_number(text) for line in lines for text, _ in line.rows)


class _ClassNames:
    """Class names of a list -> class ids of its dataset, as ``read`` says."""

    def __init__(self, path, own, classes, parsed):
        found: dict[str, str] = {}
        for number, line in parsed.items():
            for text, _ in line.rows:
                found.setdefault(text, f'{path}:{number}')
        self._names = class_files.resolve_classes(found, own if classes is None else classes, own=True)
        self._numbers = {name: number for number, name in enumerate(self._names)}

    def index(self, _, text):
        return self._numbers[text]

    def names(self):
        return self._names


class _ClassIds:
    """Class ids of a list -> those of its dataset, as ``read`` says."""

    def __init__(self, path, own, classes, _):
        self.numbers = class_files.renumber(own, classes, f'{path}, its class file') if classes else None
        self.given = own if classes is None else classes
        self.known = self.given if self.numbers is None else own
        self.highest = -1

    def index(self, where, text):
        number = _known_class(where, float(text), self.known)
        self.highest = max(self.highest, number)
        return self.numbers[number] if self.numbers else number

    def names(self):
        if self.given is not None:
            return list(self.given)
        return (list(class_files.VOC_CLASSES) if self.highest < 20 else
                [str(index) for index in range(self.highest + 1)])


def _known_class(where, value, classes):
    if not (0 <= value < class_files.MOST_CLASSES and value == int(value)):
        raise InputError(f'{where}: expected a class id from 0 to {class_files.MOST_CLASSES - 1}, got '
                         f'{value:g}')
    if classes is not None and value >= len(classes):
        raise InputError(f'{where}: class id {value:g}, but there are {len(classes)} class names '
                         f'({", ".join(classes)}); give the right list with --classes=FILE')
    return int(value)


class _Finder:
    """Finds the images of a list; ``elsewhere`` are those (as written, path) that lie elsewhere than it says."""

    def __init__(self, path):
        self.folder = os.path.dirname(path)
        self.elsewhere: list[tuple[str, str]] = []
        self.images: image_lookup.Images | None = None

    def __call__(self, name):
        for path in (os.path.join(self.folder, name), name):
            if '\0' not in name and os.path.isfile(path):
                return path
        if self.images is None:         # only now: walking a large folder takes its time
            self.images = image_lookup.Images(self.folder or '.')
        image, moved = self.images.at(self.folder, name)
        if image and moved:
            self.elsewhere.append((name, image))
        return image


def _objects(where, rows, width, height, problems):
    objects = []
    for position, (index, (_, corners)) in enumerate(rows, 1):
        box = faults.repair(f'{where}: object {position}', corners, width, height, problems)
        if box is not None:
            objects.append((box, index))
    return objects


def _image(path, name):
    return os.path.join(os.path.dirname(path), name)
