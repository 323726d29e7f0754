"""LabelMe: a JSON file an image, with shapes of points in pixels (https://github.com/wkentaro/labelme).

The box of a shape is the smallest one around it: of a rectangle its corners, of a polygon its points, of a circle
(centre and a point of its edge) the square around it. Shapes with one label and one ``group_id`` are one object, as
LabelMe's own converter to COCO has it.
"""
from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from typing import Any

from yolov3_tf.data.readers import class_files, faults, headers, image_lookup, xml_folder
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

ENDING = '.json'
LARGEST_FILE = 1 << 28          # bytes; the file may hold the image itself


def read(folder: str, image_folder: str | None = None, classes: Sequence[str] | None = None, strict: bool = False
         ) -> Dataset:
    """Reads all LabelMe files below a folder, in the order of their paths.

    The image is found by the stem of the JSON file, else by its ``imagePath``; ``imageData`` is not read. JSON that is
    not LabelMe's is left out and named. An image without file is left out, as ``xml_folder`` does.

    Args: as ``xml_folder.read``.

    Raises:
      InputError: a folder is missing or has no JSON, no image is usable, a class is not among ``classes``, or, under
        ``strict``, an annotation is faulty.
    """
    files = xml_folder.annotation_files(folder, ENDING)
    problems = faults.Problems(strict)
    images = image_lookup.Images(image_folder or folder)
    found: dict[str, str] = {}          # label -> file of its first shape
    parsed: dict[str, tuple[str, tuple[int, int, int], list[tuple]]] = {}        # image -> file, size and shapes
    for path in files:
        try:
            content = load(path)
        except InputError as error:
            problems.add(str(error), 'annotation file left out')
            continue
        image, why = images.find(path, folder, str(content.get('imagePath') or ''))
        if image is None or image in parsed:
            why = f'{image} has the annotation file {parsed[image][0]} already' if image else why
            problems.add(f'{path}: {why}', 'annotation file left out')
            continue
        shapes = _shapes(path, content['shapes'], problems)
        for _, label, _, _ in shapes:
            found.setdefault(label, path)
        parsed[image] = path, _size(content, image), shapes
    names = class_files.resolve_classes(found, classes, own=True)
    records = [_record(image, path, size, shapes, names, problems) for image, (path, size, shapes) in parsed.items()]
    if not records:
        raise InputError(f'{folder}: no usable image; the first problem: {problems.messages[0]}')
    return xml_folder.with_names(Dataset(records, names, []),
                                 [os.path.relpath(image, image_folder or folder) for image in parsed], images, problems)


def load(path: str) -> dict[str, Any]:
    """The content of a LabelMe file.

    Raises:
      InputError: it cannot be read, is no JSON (with the line), or not LabelMe's.
    """
    try:
        if os.path.getsize(path) > LARGEST_FILE:
            raise InputError(f'{path}: {os.path.getsize(path)} bytes; expected at most {LARGEST_FILE}')
        with open(path, encoding='utf-8-sig') as file:
            content = json.load(file)
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from None
    except json.JSONDecodeError as error:
        raise InputError(f'{path}:{error.lineno}: not JSON ({error.msg}, column {error.colno}); is the file '
                         'truncated?') from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path}: not readable as JSON ({error})') from None
    if not isinstance(content, dict) or not isinstance(content.get('shapes'), list):
        raise InputError(f'{path}: expected a LabelMe file, with the list "shapes"')
    return content


def _size(content, image):
    """Width and height in pixels, as the file has them, else the image's own, else 0; and ``Record.orientation``."""
    size = content.get('imageWidth'), content.get('imageHeight')
    if all(isinstance(side, int) and not isinstance(side, bool) and 0 < side < 2 ** 24 for side in size):
        return *size, 0
    return headers.unstated(image)


def _shapes(path, shapes, problems):
    """(number of the shape, label, corners, difficult) of each object."""
    found: list[tuple] = []
    groups: dict[tuple, int] = {}           # label and group_id -> position in ``found``
    for number, shape in enumerate(shapes, 1):
        where = f'{path}: shape {number}'
        label = shape.get('label') if isinstance(shape, dict) else None
        if not isinstance(label, (str, int)) or isinstance(label, bool) or not str(label).strip():
            problems.add(f'{where} has no label', 'object dropped')
            continue
        corners, fault = _corners(shape)
        if corners is None:
            problems.add(f'{where} {str(label)!r}: {fault}', 'object dropped')
            continue
        item = number, str(label).strip(), corners, shape.get('difficult') is True
        group = shape.get('group_id')
        if isinstance(group, (int, str)) and (item[1], group) in groups:
            at = groups[item[1], group]
            found[at] = (*found[at][:2], _around(found[at][2], corners), found[at][3] or item[3])
            continue
        if isinstance(group, (int, str)):
            groups[item[1], group] = len(found)
        found.append(item)
    return found


def _corners(shape):
    """x1, y1, x2, y2 around a shape, or None and why there is none."""
    points = shape.get('points')
    good = isinstance(points, list) and points and all(
        isinstance(point, list) and len(point) == 2 and all(map(_is_number, point)) for point in points)
    if not good:
        return None, f'expected points [[x, y], ...], got {str(points)[:60]}'
    if shape.get('shape_type') == 'circle':
        if len(points) != 2:
            return None, f'expected centre and edge of a circle, got {len(points)} points'
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        return (x - radius, y - radius, x + radius, y + radius), ''
    xs, ys = zip(*points)
    return (min(xs), min(ys), max(xs), max(ys)), ''


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _around(one, other):
    return (min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3]))


def _record(image, path, size, shapes, names, problems):
    width, height, turned = size
    objects = []
    for number, label, corners, difficult in shapes:
        box = faults.repair(f'{path}: shape {number} {label!r}', corners, width, height, problems)
        if box is not None:
            objects.append((box, names.index(label), difficult, False, None, number))
    return faults.record(image, '', width, height, objects, path)._replace(orientation=turned)
