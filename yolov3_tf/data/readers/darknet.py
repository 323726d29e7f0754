"""Darknet's annotations: a list of images, and for each a text file with lines ``class cx cy w h``.

Centre and size are fractions of the image's width and height, class ids count from 0. The annotation file of
``x/images/y/a.jpg`` (or ``JPEGImages``) is ``x/labels/y/a.txt`` if it exists, else ``x/images/y/a.txt``,
beside the image. An image without an annotation file is taken as one without objects, and reported as a problem;
an empty annotation file means the same and is no problem. A class may be written by its name.

In place of the list there may be darknet's ``obj.data``, which names the lists and the class file.

Annotations do not state the images' sizes, so the headers of the images are read (``headers``), not their pixels. Where
EXIF turns an image, nothing says whether its annotations are for the turned or the stored one, so it is not used.
"""
from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

import numpy as np

from yolov3_tf import printable
from yolov3_tf.data import image_formats
from yolov3_tf.data.readers import class_files, faults, headers, image_lookup, lists, paths
from yolov3_tf.data.readers.texts import is_number
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

NAME_FILES = 'classes.names', 'obj.names', 'classes.txt'        # beside a list, the first that exists
# Part of the data -> its keys in obj.data, the first that is there.
DATA_KEYS = {'train': ('train',), 'val': ('valid', 'val', 'test')}
_LINE = 'class cx cy w h'
_IMAGES = re.compile(r'((?:.*/)?)(?:images|JPEGImages)(/.*)', re.DOTALL)
_DATA_LINE = re.compile(r'(\w+)\s*=\s*(.*)')
LARGEST_FILE = 4 << 20      # bytes; some hundred thousand objects


def read(path: str, names: str | None = None, classes: Sequence[str] | None = None, strict: bool = False,
         part: str = 'train') -> Dataset:
    """Reads a list of images, one path a line, relative to the list's folder or else to the current one.

    Args:
      path: the list, or an ``obj.data`` (any file that ends with .data) that names it.
      names: class file of its classes; None takes the one that ``obj.data`` names, else the first of ``NAME_FILES``
        beside the list.
      classes: names in order, matched with the list's own by ``class_files.renumber``. None takes the list's
        own, else the class ids themselves as names.
      strict: stop at the first fault instead of repairing or dropping.
      part: 'train' or 'val', the list wanted of an ``obj.data``.

    Raises:
      InputError: the list is missing or without a usable line, no image has an annotation file, or a class
        id has no name.
    """
    problems = faults.Problems(strict)
    source = list_of(path, part, problems)
    images = listed(source, problems)
    if not images:
        first = ([*problems.messages, 'it is empty'])[0]
        raise InputError(f'{source}: no usable line, expected the path of an image on each; {first}')
    return read_images(images, own_names(path, names), classes, problems, source)


def own_names(path: str, names: str | None = None) -> list[str] | None:
    """Class names of a list: of the file ``names``, of an ``obj.data``, or beside it; None where there are none."""
    if names is None and is_data(path):
        names = _entry(path, ('names',), faults.Problems())
    if names is not None:
        return class_files.read_class_file(names)
    beside = [os.path.join(os.path.dirname(path), name) for name in NAME_FILES]
    return next((class_files.read_class_file(file) for file in beside if os.path.isfile(file)), None)


def is_data(path: str) -> bool:
    """Whether a path is that of an ``obj.data``."""
    return path.lower().endswith('.data')


def list_of(path: str, part: str, problems: faults.Problems) -> str:
    """The list of a part of the data that an ``obj.data`` names; any other path itself."""
    if not is_data(path):
        return path
    found = _entry(path, DATA_KEYS[part], problems)
    if found is None:
        raise InputError(f'{path}: expected a line "{DATA_KEYS[part][0]} = FILE" with the list of images; it has '
                         f'{", ".join(_entries(path)) or "no such lines"}')
    return found


def listed(path: str, problems: faults.Problems) -> dict[str, str]:
    """{path as written, or as found where it was repaired: path of the image} of a list's lines; each image once."""
    finder = paths.Finder(os.path.dirname(path), '')
    found: dict[str, str] = {}
    seen: set[str] = set()
    elsewhere: list[tuple[str, str]] = []
    images: image_lookup.Images | None = None
    for number, line in class_files.read_lines(path):
        image = finder.find(line)
        if image is None and image_lookup.is_image(line):
            images = images or image_lookup.Images(os.path.dirname(path) or '.')    # only now: it walks the folder
            image = images.at(os.path.dirname(path), line)[0]
            elsewhere += [(line, image)] if image else []
        if image is None:
            problems.add(f'{path}:{number}: no image {os.path.join(os.path.dirname(path), line[:200])}',
                         'line dropped')
        elif os.path.normpath(image) in seen:
            problems.add(f'{path}:{number}: {line[:200]} is listed already', 'used once')
        else:
            seen.add(os.path.normpath(image))
            found[line if image.endswith(line) else os.path.relpath(image, os.path.dirname(path) or '.')] = image
    problems.note(*finder.notes(path))
    lists.note_elsewhere(path, elsewhere, problems)
    return found


def read_images(images: Mapping[str, str], own: Sequence[str] | None, classes: Sequence[str] | None,
                problems: faults.Problems, where: str, annotations: Mapping[str, str] | None = None,
                keypoints: bool = False) -> Dataset:
    """Reads the annotations of images that exist.

    Args:
      images: {name: path}.
      own: class names that belong to the annotations' class ids, or None.
      classes: names asked for, or None.
      problems: the collector.
      where: file that names the images, for messages.
      annotations: {path of an image: its annotation file} where that is known; else ``annotation_files`` are tried.
      keypoints: lines have points of a pose behind the box, and no outlines.

    Raises:
      InputError: no image is usable, none has an annotation file, a class id has no name, or all classes are written
        by names that are not known.
    """
    numbers = class_files.renumber(own, classes, where) if classes else None
    known = own if numbers or not classes else classes
    reader = _AnnotationFiles(numbers, known, problems, annotations or {}, keypoints)
    records = {}
    for name, image in images.items():
        header = headers.of_file(image)
        if header is None:
            problems.add(f'{image}: expected a {image_formats.NAMES} image', 'image dropped')
            continue
        if why := headers.claims(image, header):
            problems.add(f'{image}: {why}', 'image dropped')
            continue
        record = reader.record(image, header.width, header.height)
        records[name] = record._replace(orientation=1 if header.orientation == 1 else -1, kind=header.kind)
    if not records:
        raise InputError(f'{where}: no usable image; the first problem: {problems.messages[0]}')
    if not reader.found:
        tried = ' and '.join(annotation_files(next(iter(images.values()))))
        raise InputError(f'{where}: none of the {len(records)} images has an annotation file; tried {tried} for the '
                         'first')
    if reader.unknown and not any(len(record.boxes) for record in records.values()):
        raise InputError(reader.unknown)
    names = _class_names(own, classes, reader.highest)
    ready = lists.with_ids(records)
    if reader.found_names:
        names = sorted(reader.found_names)
        position = {name: number for number, name in enumerate(names)}
        index = np.array([position[name] for name in reader.found_names], np.int32)
        ready = [record._replace(classes=index[record.classes]) for record in ready]
    if reader.by_name:
        problems.note(f'{where}: {reader.by_name} objects have their class by name in place of its number')
    return Dataset(ready, names, problems.messages, problems.notes)


def _entries(path):
    """{key: value} of the lines ``key = value`` of an obj.data."""
    lines = [_DATA_LINE.fullmatch(line) for _, line in class_files.read_lines(path) if not line.startswith('#')]
    return {match.group(1): match.group(2).strip() for match in lines if match}


def _entry(path, keys, problems):
    """The file that the first of these keys names, None where none is there."""
    entries = _entries(path)
    key = next((key for key in keys if entries.get(key)), None)
    if key is None:
        return None
    finder = paths.Finder(os.path.dirname(path), '')
    found = finder.find(entries[key])
    if found is None:
        raise InputError(f'{path}: {key} = {entries[key][:200]}: no such file, neither from the folder of this one nor '
                         'from the current one')
    problems.note(*finder.notes(path))
    return found


def annotation_files(image: str) -> list[str]:
    """Paths at which an image's annotation file may be, in the order they are tried."""
    stem = os.path.splitext(image)[0]
    match = _IMAGES.fullmatch(stem.replace(os.sep, '/'))
    apart = [f'{match.group(1)}labels{match.group(2)}.txt'] if match else []
    return [*apart, f'{stem}.txt']


class _AnnotationFiles:
    """Reads one annotation file after another.

    Attributes:
      numbers: class id in the file -> class id in the dataset, None: the same.
      known: names of the files' class ids, None: any id is accepted.
      found: annotation files that exist.
      highest: highest class id so far.
      by_name: objects whose class is written by name.
      found_names: {name: position} where names are written and no list of classes is known.
      unknown: message about the first name that is not among the known ones, '' where there is none.
    """

    def __init__(self, numbers, known, problems, annotations, keypoints):
        self.numbers, self.known, self.problems, self.annotations = numbers, known, problems, annotations
        self.keypoints = keypoints
        self.class_ids = {name: number for number, name in reversed(list(enumerate(known or ())))}
        self.found, self.highest, self.by_name, self.unknown = 0, -1, 0, ''
        self.found_names: dict[str, int] = {}

    def record(self, image, width, height):
        """The Record of an image of this size in pixels; a missing annotation file means no objects, and is noted."""
        candidates = [self.annotations[image]] if image in self.annotations else annotation_files(image)
        both = [file for path in candidates for file in (path, f'{path[:-len(".txt")]}.TXT')]
        path = next((file for file in both if os.path.isfile(file)), None)
        if path is None:
            self.problems.add(f'{image}: no annotation file {" or ".join(candidates)}', 'taken as without objects')
            return faults.record(image, '', width, height, [])
        self.found += 1
        try:
            objects = self._objects(path, width, height)
        except _FileFault as fault:
            self.problems.add(str(fault), 'annotation file left out')
            objects = []
        return faults.record(image, '', width, height, objects, path)

    def _objects(self, path, width, height):
        objects = []
        for number, line in _lines(path):
            where = f'{path}:{number}'
            try:
                index, *fractions = _numbers(' '.join(line.split()[:5]) if self.keypoints else line)
                index = self._named(where, index) if isinstance(index, str) else self._class(where, index)
            except _LineFault as fault:
                self.problems.add(f'{where}: {fault}', 'line dropped')
                continue
            box = faults.repair(where, _corners(fractions, width, height), width, height, self.problems)
            if box is not None:
                objects.append((box, index, False, False, None, number))
        return objects

    def _named(self, where, name):
        """The class of a name: its own files say where it stands; without them all names together are the classes."""
        if self.known is None:
            if self.highest >= 0:
                raise _LineFault(f'class name {name!r} where other lines have class ids')
            self.by_name += 1
            return self.found_names.setdefault(name, len(self.found_names))
        if name not in self.class_ids:
            fault = class_files.unknown_class(name, self.known)
            self.unknown = self.unknown or f'{where}: {fault}; no annotation file has another class'
            raise _LineFault(fault)
        self.by_name += 1
        return self._class(where, self.class_ids[name])

    def _class(self, where, number):
        if self.found_names:
            raise _LineFault(f'class id {number} where other lines have class names')
        if self.known is not None and number >= len(self.known):
            raise InputError(f'{where}: class id {number}, but there are {len(self.known)} class names '
                             f'({", ".join(self.known)}); give the right list with --classes=FILE')
        self.highest = max(self.highest, number)
        return self.numbers[number] if self.numbers else number


class _LineFault(Exception):
    """A line that cannot be used; the text is the reason."""


class _FileFault(Exception):
    """An annotation file that cannot be used; the text names it and the reason."""


def _lines(path):
    """Numbered lines, read whole before the first is used."""
    try:
        if os.path.getsize(path) > LARGEST_FILE:
            raise _FileFault(f'{path}: {os.path.getsize(path)} bytes; expected at most {LARGEST_FILE}')
        return list(class_files.read_lines(path))
    except (InputError, OSError) as error:
        raise _FileFault(str(error)) from None


def _numbers(line):
    """Class id or name, and box of a line, as fractions; of an outline (class x1 y1 x2 y2 x3 y3 ...) its box."""
    texts = line.split()
    if not is_number(texts[0]):
        name, *rest = line.rsplit(None, 4)
        if len(rest) != 4 or not all(map(is_number, rest)) or any(map(is_number, name.split())):
            raise _LineFault(f'expected "{_LINE}", got {line[:80]!r}')
        _, *fractions = _numbers(' '.join(['0', *rest]))
        return [printable.clean_name(name.strip('\'"')), *fractions]
    try:
        values = [float(text) for text in texts]
    except ValueError as error:
        raise _LineFault(f'expected "{_LINE}" ({error})') from None
    outline = len(values) > 6 and len(values) % 2
    if len(values) != 5 and not outline:
        raise _LineFault(f'expected "{_LINE}" or an outline of three points or more, got {len(values)} numbers')
    if not (0 <= values[0] < class_files.MOST_CLASSES and values[0] == int(values[0])):
        raise _LineFault(f'expected a class id from 0 to {class_files.MOST_CLASSES - 1}, got {texts[0][:40]}')
    if any(value > 2 for value in values[1:]):
        raise _LineFault(f'expected fractions of the image from 0 to 1, got {" ".join(texts[1:])[:80]}; are they '
                         'pixels?')
    if outline:
        points = np.reshape(values[1:], [-1, 2])
        near, far = points.min(axis=0), points.max(axis=0)          # NaN where there is one
        values[1:] = [*((near + far) / 2).tolist(), *(far - near).tolist()]
    return [int(values[0]), *values[1:]]


def _corners(fractions, width, height):
    cx, cy, w, h = fractions
    return (cx - w / 2) * width, (cy - h / 2) * height, (cx + w / 2) * width, (cy + h / 2) * height


def _class_names(own, classes, highest):
    if classes is not None:
        return list(classes)
    return own if own is not None else [str(number) for number in range(highest + 1)]
