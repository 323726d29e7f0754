"""Darknet's annotations: a list of images, and for each a text file with lines ``class cx cy w h``.

Centre and size are fractions of the image's width and height, class ids count from 0. The annotation file of
``x/images/y/a.jpg`` (or ``JPEGImages``) is ``x/labels/y/a.txt`` if it exists, else ``x/images/y/a.txt``,
beside the image. An image without an annotation file is taken as one without objects, and reported as a problem;
an empty annotation file means the same and is no problem.

Annotations do not state the images' sizes, so the headers of the images are read (``headers``), not their pixels.
"""
from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence

import numpy as np

from yolov3_tf.data import image_formats
from yolov3_tf.data.readers import class_files, faults, headers, lists
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

NAME_FILES = 'classes.names', 'obj.names', 'classes.txt'        # beside a list, the first that exists
_LINE = 'class cx cy w h'
_IMAGES = re.compile(r'((?:.*/)?)(?:images|JPEGImages)(/.*)', re.DOTALL)
LARGEST_FILE = 4 << 20      # bytes; some hundred thousand objects


def read(path: str, names: str | None = None, classes: Sequence[str] | None = None, strict: bool = False) -> Dataset:
    """Reads a list of images, one path a line, relative to the list's folder or else to the current one.

    Args:
      path: the list.
      names: class file of its classes; None takes the first of ``NAME_FILES`` beside the list.
      classes: names in order, matched with the list's own by ``class_files.renumber``. None takes the list's
        own, else the class ids themselves as names.
      strict: stop at the first fault instead of repairing or dropping.

    Raises:
      InputError: the list is missing or without a usable line, no image has an annotation file, or a class
        id has no name.
    """
    problems = faults.Problems(strict)
    images = listed(path, problems)
    if not images:
        first = ([*problems.messages, 'it is empty'])[0]
        raise InputError(f'{path}: no usable line, expected the path of an image on each; {first}')
    return read_images(images, own_names(path, names), classes, problems, path)


def own_names(path: str, names: str | None = None) -> list[str] | None:
    """Class names of a list: of the file ``names``, or beside it; None where there are none."""
    if names is not None:
        return class_files.read_class_file(names)
    beside = [os.path.join(os.path.dirname(path), name) for name in NAME_FILES]
    return next((class_files.read_class_file(file) for file in beside if os.path.isfile(file)), None)


def listed(path: str, problems: faults.Problems) -> dict[str, str]:
    """{path as written: path of the image} of a list's lines; each image once."""
    found = {}
    for number, line in class_files.read_lines(path):
        image = _find(os.path.dirname(path), line)
        if line in found:
            problems.add(f'{path}:{number}: {line[:200]} is listed already', 'used once')
        elif image is None:
            problems.add(f'{path}:{number}: no image {os.path.join(os.path.dirname(path), line[:200])}',
                         'line dropped')
        else:
            found[line] = image
    return found


def read_images(images: Mapping[str, str], own: Sequence[str] | None, classes: Sequence[str] | None,
                problems: faults.Problems, where: str, annotations: Mapping[str, str] | None = None) -> Dataset:
    """Reads the annotations of images that exist.

    Args:
      images: {name: path}.
      own: class names that belong to the annotations' class ids, or None.
      classes: names asked for, or None.
      problems: the collector.
      where: file that names the images, for messages.
      annotations: {path of an image: its annotation file} where that is known; else ``annotation_files`` are tried.

    Raises:
      InputError: no image is usable, none has an annotation file, or a class id has no name.
    """
    numbers = class_files.renumber(own, classes, where) if classes else None
    known = own if numbers or not classes else classes
    reader = _AnnotationFiles(numbers, known, problems, annotations or {})
    records = {}
    for name, image in images.items():
        header = headers.of_file(image)
        if header is None:
            problems.add(f'{image}: expected a {image_formats.NAMES} image', 'image dropped')
            continue
        records[name] = reader.record(image, header.width, header.height)
    if not records:
        raise InputError(f'{where}: no usable image; the first problem: {problems.messages[0]}')
    if not reader.found:
        tried = ' and '.join(annotation_files(next(iter(images.values()))))
        raise InputError(f'{where}: none of the {len(records)} images has an annotation file; tried {tried} for the '
                         'first')
    return Dataset(lists.with_ids(records), _class_names(own, classes, reader.highest), problems.messages)


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
    """

    def __init__(self, numbers, known, problems, annotations):
        self.numbers, self.known, self.problems, self.annotations = numbers, known, problems, annotations
        self.found, self.highest = 0, -1

    def record(self, image, width, height):
        """The Record of an image of this size in pixels; a missing annotation file means no objects, and is noted."""
        candidates = [self.annotations[image]] if image in self.annotations else annotation_files(image)
        path = next((file for file in candidates if os.path.isfile(file)), None)
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
                index, *fractions = _numbers(line)
            except _LineFault as fault:
                self.problems.add(f'{where}: {fault}', 'line dropped')
                continue
            index = self._class(where, index)
            box = faults.repair(where, _corners(fractions, width, height), width, height, self.problems)
            if box is not None:
                objects.append((box, index, False, False, None, number))
        return objects

    def _class(self, where, number):
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
    """Class id and box of a line, as fractions; of an outline (segmentation: class x1 y1 x2 y2 x3 y3 ...) its box."""
    texts = line.split()
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


def _find(folder, name):
    """The file that a line names, or None."""
    candidates = os.path.join(folder, name), name
    return next((path for path in candidates if os.path.isfile(path)), None)


def _class_names(own, classes, highest):
    if classes is not None:
        return list(classes)
    return own if own is not None else [str(number) for number in range(highest + 1)]
