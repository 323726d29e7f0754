"""LabelMe: a JSON file an image, with shapes of points in pixels (https://github.com/wkentaro/labelme).

The box of a shape is the smallest one around it: of a rectangle its corners, of a polygon its points, of a circle
(centre and a point of its edge) the square around it. Shapes with one label and one ``group_id`` are one object, as
LabelMe's own converter to COCO has it.
"""
from __future__ import annotations

import math
from collections.abc import Sequence

from yolov3_tf import printable
from yolov3_tf.data.readers import annotated_files, faults, xml_folder
from yolov3_tf.data.readers.annotated_files import Content, Item
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

ENDING = '.json'


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
    return annotated_files.read(files, parse, '{}: shape {}', folder, image_folder, classes, strict)


def parse(path: str, problems: faults.Problems) -> Content:
    """The content of a LabelMe file; problems of single shapes are noted.

    Raises:
      InputError: it cannot be read, is no JSON (with the line), or not LabelMe's.
    """
    content = annotated_files.load_json(path)
    if not isinstance(content, dict) or not isinstance(content.get('shapes'), list):
        raise InputError(f'{path}: expected a LabelMe file, with the list "shapes"')
    size = annotated_files.side(content.get('imageWidth')), annotated_files.side(content.get('imageHeight'))
    return Content(_shapes(path, content['shapes'], problems), str(content.get('imagePath') or ''), size)


def _shapes(path, shapes, problems):
    found: list[Item] = []
    groups: dict[tuple, int] = {}           # label and group_id -> position in ``found``
    for number, shape in enumerate(shapes, 1):
        where = f'{path}: shape {number}'
        label = shape.get('label') if isinstance(shape, dict) else None
        if not isinstance(label, (str, int)) or isinstance(label, bool) or not printable.clean_name(str(label)):
            problems.add(f'{where} has no label', 'object dropped')
            continue
        corners, fault = _corners(shape)
        if corners is None:
            problems.add(f'{where} {str(label)!r}: {fault}', 'object dropped')
            continue
        item = Item(number, printable.clean_name(str(label)), corners, shape.get('difficult') is True)
        group = shape.get('group_id')
        if isinstance(group, (int, str)) and (item.label, group) in groups:
            at = groups[item.label, group]
            found[at] = found[at]._replace(corners=_around(found[at].corners, corners),
                                           difficult=found[at].difficult or item.difficult)
            continue
        if isinstance(group, (int, str)):
            groups[item.label, group] = len(found)
        found.append(item)
    return found


def _corners(shape):
    """x1, y1, x2, y2 around a shape, or None and why there is none."""
    points = shape.get('points')
    corners = annotated_files.around(points)
    if corners is None:
        return None, f'expected points [[x, y], ...], got {str(points)[:60]}'
    if shape.get('shape_type') != 'circle':
        return corners, ''
    if len(points) != 2:
        return None, f'expected centre and edge of a circle, got {len(points)} points'
    (x, y), edge = points
    radius = math.dist((x, y), edge)
    return (x - radius, y - radius, x + radius, y + radius), ''


def _around(one, other):
    return (min(one[0], other[0]), min(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3]))
