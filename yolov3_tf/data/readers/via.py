"""VGG Image Annotator 1 and 2: a project, or its exports as JSON or CSV (www.robots.ox.ac.uk/~vgg/software/via).

A region is a shape with attributes that the user names. The box is the smallest one around the shape: of a rectangle,
circle, ellipse (as if it were not turned), polygon or polyline; a point has none. The class is the value of one
attribute: of the only one, else of the first of ``ATTRIBUTES`` that regions have.
"""
from __future__ import annotations

import collections
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from yolov3_tf import printable
from yolov3_tf.data.readers import annotated_files, class_files, faults, rows, table_columns
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

# Names of the attribute that holds the class, lower case, where there are several.
ATTRIBUTES = ('class', 'class_name', 'classname', 'label', 'labels', 'category', 'category_name', 'object',
              'object_name', 'object name', 'name', 'type', 'species', 'kind', 'class_id', 'id')
COLUMNS = 'filename', 'region_shape_attributes', 'region_attributes'        # of a CSV export
_EXPECTED = ('expected a project or export of VGG Image Annotator: JSON of images with "filename" and "regions", or '
             f'CSV with the columns {", ".join(COLUMNS)}')
_SHAPES = {'rect': ('x', 'y', 'width', 'height'), 'circle': ('cx', 'cy', 'r'), 'ellipse': ('cx', 'cy', 'rx', 'ry')}
_OUTLINES = 'polygon', 'polyline'


class Region(NamedTuple):
    """A region: where it is for messages, its number in the file, its image, shape and attributes as they are written.

    ``shape`` is None for an image without regions.
    """
    where: str
    number: int
    image: str
    shape: Any
    attributes: Any


def read(path: str, image_folder: str | None = None, classes: Sequence[str] | None = None, strict: bool = False
         ) -> Dataset:
    """Reads a project or an export. Images without regions are images without objects.

    Args: as ``tables.read``.

    Raises:
      InputError: the file is no such file (JSON: with the line), has no usable image, a class is unknown, or its
        regions have several attributes of which none is known to be the class.
    """
    problems = faults.Problems(strict)
    regions = list(_of_table(path) if is_table(path) else _of_json(path))
    attribute = _class_attribute(path, regions)
    only = ''
    if not attribute and any(region.shape is not None for region in regions):
        only = rows.one_class(path, classes, 'its regions have no attribute for a class', problems)
    found = rows.located(path, image_folder or os.path.dirname(path),
                         [_row(region, attribute, only, problems) for region in regions], problems, 'image')
    return rows.dataset(path, found, classes, problems)


def is_table(path: str) -> bool:
    """Whether a file is an export as CSV."""
    return path.lower().endswith('.csv')


def _of_json(path) -> Iterator[Region]:
    content = annotated_files.load_json(path)
    for key in ('_via_img_metadata', 'metadata'):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    entries = list(content.values()) if isinstance(content, dict) else content
    if not isinstance(entries, list) or not any(_is_image(entry) for entry in entries):
        raise InputError(f'{path}: {_EXPECTED}')
    number = 0
    for entry in filter(_is_image, entries):
        name, regions = entry['filename'], entry.get('regions') or []
        regions = list(regions.values()) if isinstance(regions, dict) else regions     # VIA 1 numbers them
        if not regions:
            yield Region(f'{path}: image {name[:200]!r}', number, name, None, {})
        for position, region in enumerate(regions, 1):
            number += 1
            where = f'{path}: annotation {number}: {name[:200]}, region {position}'
            region = region if isinstance(region, dict) else {}
            yield Region(where, number, name, region.get('shape_attributes') or {}, region.get('region_attributes'))


def _is_image(entry):
    name = entry.get('filename') if isinstance(entry, dict) else None
    return isinstance(name, str) and bool(name) and isinstance(entry.get('regions') or [], (list, dict))


def _of_table(path) -> Iterator[Region]:
    lines = class_files.read_lines(path)
    header = [name.lstrip('#').strip() for name in table_columns.cells(next(lines, (0, ''))[1], ',')]
    if not all(name in header for name in COLUMNS):
        raise InputError(f'{path}: {_EXPECTED}')
    for number, line in lines:
        cells = dict(zip(header, table_columns.cells(line, ',')))
        image, shape, attributes = (cells.get(name, '') for name in COLUMNS)
        if image:
            yield Region(f'{path}:{number}', number, image, _json(shape) or None, _json(attributes))


def _json(text):
    """The object that a cell holds; the text itself where it holds none."""
    try:
        return json.loads(text) if text else {}
    except (ValueError, RecursionError):
        return text


def _class_attribute(path, regions):
    """The attribute that holds the class; '' where regions have none.

    Raises:
      InputError: there are several, and none or not one has a name of ``ATTRIBUTES``.
    """
    used = collections.Counter(name for region in regions if isinstance(region.attributes, dict)
                               for name, value in region.attributes.items() if _label(value))
    if len(used) < 2:
        return next(iter(used), '')
    known = [name for wanted in ATTRIBUTES for name in used if name.strip().lower() == wanted]
    if known:
        return known[0]
    raise InputError(f'{path}: regions have the attributes {", ".join(map(repr, list(used)[:12]))}; which one is the '
                     'class is not known. Rename that one to class in the file')


def _label(value):
    """The class that an attribute's value names, '' for none; of check boxes the only one that is ticked."""
    if isinstance(value, dict):
        ticked = [name for name, on in value.items() if on is True or on == 'true' or on == 1]
        return printable.clean_name(ticked[0]) if len(ticked) == 1 else ''
    if isinstance(value, (str, int)) and not isinstance(value, bool):
        return printable.clean_name(str(value))
    return ''


def _row(region, attribute, only, problems):
    empty = rows.Row(region.where, region.number, region.image, (0, 0), '', None)
    if region.shape is None:
        return empty
    corners, fault = _corners(region.shape)
    label = only
    if not only:
        value = region.attributes.get(attribute) if isinstance(region.attributes, dict) else None
        label = _label(value)
        if not label and not fault:
            fault = f'expected one class as attribute {attribute!r}, got {repr(value)[:60]}'
    if fault:
        problems.add(f'{region.where}: {fault}', 'object dropped')
        return empty
    class_files.check_length(label, region.where)
    return empty._replace(label=label, corners=corners)


def _corners(shape):
    """x1, y1, x2, y2 around a shape, or None; and what is wrong with it."""
    name = shape.get('name') if isinstance(shape, dict) else None
    if name in _OUTLINES:
        xs, ys = shape.get('all_points_x'), shape.get('all_points_y')
        good = isinstance(xs, list) and isinstance(ys, list) and len(xs) == len(ys)
        corners = annotated_files.around([list(point) for point in zip(xs, ys)]) if good else None
        return corners, '' if corners else f'expected all_points_x and all_points_y, got {str(shape)[:80]}'
    if name not in _SHAPES:
        return None, f'a shape {str(name)[:40]!r} has no box; expected {", ".join((*_SHAPES, *_OUTLINES))}'
    values = [shape.get(key) for key in _SHAPES[name]]
    if not all(map(annotated_files.is_number, values)):
        return None, f'expected {", ".join(_SHAPES[name])} of a {name}, got {str(shape)[:80]}'
    x, y, width, height = values if len(values) == 4 else (*values, values[2])
    return ((x, y, x + width, y + height) if name == 'rect' else (x - width, y - height, x + width, y + height)), ''
