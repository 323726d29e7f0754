"""Supervisely: a project of data sets, each with img/ and ann/, in ann/ a JSON file an image (``a.jpg.json``).

(https://docs.supervisely.com/data-organization/00_ann_format_navi). The box of a figure is the smallest one around it:
of a rectangle or polygon its outer points, of a bitmap the image that holds its mask.
"""
from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence

from yolov3_tf import printable
from yolov3_tf.data.readers import annotated_files, faults, image_lookup, xml_folder
from yolov3_tf.data.readers.annotated_files import Content, Item
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

ENDING = '.json'
NOT_ANNOTATIONS = 'meta.json', 'obj_class_to_machine_color.json', 'key_id_map.json'     # in every project
_PNG_HEAD = 24              # bytes up to the height of a PNG


def read(folder: str, image_folder: str | None = None, classes: Sequence[str] | None = None, strict: bool = False
         ) -> Dataset:
    """Reads all Supervisely annotations below a folder, in the order of their paths.

    Args: as ``xml_folder.read``.

    Raises:
      InputError: a folder is missing or has no JSON, no image is usable, a class is not among ``classes``, or, under
        ``strict``, an annotation is faulty.
    """
    files = [path for path in xml_folder.annotation_files(folder, ENDING)
             if image_lookup.base_name(path) not in NOT_ANNOTATIONS]
    return annotated_files.read(files, parse, '{}: object {}', folder, image_folder, classes, strict)


def parse(path: str, problems: faults.Problems) -> Content:
    """The content of an annotation file; problems of single objects are noted.

    Raises:
      InputError: it cannot be read, is no JSON (with the line), or not Supervisely's.
    """
    content = annotated_files.load_json(path)
    if not isinstance(content, dict) or not isinstance(content.get('objects'), list):
        raise InputError(f'{path}: expected a Supervisely annotation, with the list "objects"')
    items = []
    for number, figure in enumerate(content['objects'], 1):
        label = figure.get('classTitle') if isinstance(figure, dict) else None
        if not isinstance(label, str) or not printable.clean_name(label):
            problems.add(f'{path}: object {number} has no classTitle', 'object dropped')
            continue
        corners = _corners(figure)
        if corners is None:
            problems.add(f'{path}: object {number} {label!r}: expected points with "exterior" [[x, y], [x, y], '
                         f'...], or a bitmap with its origin, got {str(figure.get("points"))[:60]}',
                         'object dropped')
            continue
        items.append(Item(number, printable.clean_name(label), corners))
    size = content.get('size')
    sides = [annotated_files.side(size.get(name)) if isinstance(size, dict) else 0 for name in ('width', 'height')]
    return Content(items, '', (sides[0], sides[1]))


def _corners(figure):
    points = figure.get('points')
    outer = points.get('exterior') if isinstance(points, dict) else None
    if isinstance(outer, list) and len(outer) > 1:
        return annotated_files.around(outer)
    bitmap = figure.get('bitmap')
    origin = bitmap.get('origin') if isinstance(bitmap, dict) else None
    corner = annotated_files.around([origin])
    size = _bitmap_size(bitmap.get('data')) if corner else None
    return (corner[0], corner[1], corner[0] + size[0], corner[1] + size[1]) if corner and size else None


def _bitmap_size(data):
    """Width and height of a mask: a PNG, packed by zlib, as base64; None where it is none."""
    try:
        head = zlib.decompressobj().decompress(base64.b64decode(data), _PNG_HEAD)
        return struct.unpack('>II', head[16:24]) if head[12:16] == b'IHDR' else None
    except (TypeError, ValueError, zlib.error, struct.error):
        return None
