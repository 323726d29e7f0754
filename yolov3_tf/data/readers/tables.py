"""CSV tables: a row for each object, or for an image without objects.

With a header, columns are found by their names in any order (``COLUMNS``): ``filename,width,height,class,xmin,ymin,
xmax,ymax`` as TensorFlow's tutorials and Roboflow write it, and its many relatives. Without one, the columns are
keras-retinanet's ``path,x1,y1,x2,y2,class`` or the eight above. Cells are separated by commas, semicolons or tabs.

Coordinates are pixels from 0 with the far edge exclusive, taken as they are. Where none in the whole table is above 1,
they are fractions of the image (Open Images). An image's box cells may be empty: it has no objects.
"""
from __future__ import annotations

import csv
import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from yolov3_tf.data.readers import class_files, faults, headers, image_lookup, lists
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

CORNERS = 'xmin', 'ymin', 'xmax', 'ymax'
# Column -> its names, lower case without signs between words; the first that a header has is taken.
COLUMNS = {
    'image': ('filename', 'file', 'imagepath', 'imgpath', 'filepath', 'imagename', 'imgname', 'image', 'img', 'path',
              'imageid', 'imgid', 'imagefile', 'frame'),
    'class': ('class', 'classname', 'label', 'labelname', 'category', 'categoryname', 'object', 'objectname', 'name',
              'classid', 'labelid', 'categoryid'),
    'xmin': ('xmin', 'x1', 'left', 'bboxxmin', 'bboxx1', 'boxxmin', 'boxx1', 'xtl', 'bboxleft'),
    'ymin': ('ymin', 'y1', 'top', 'bboxymin', 'bboxy1', 'boxymin', 'boxy1', 'ytl', 'bboxtop'),
    'xmax': ('xmax', 'x2', 'right', 'bboxxmax', 'bboxx2', 'boxxmax', 'boxx2', 'xbr', 'bboxright'),
    'ymax': ('ymax', 'y2', 'bottom', 'bboxymax', 'bboxy2', 'boxymax', 'boxy2', 'ybr', 'bboxbottom'),
    'width': ('width', 'imagewidth', 'imgwidth', 'imwidth', 'w'),
    'height': ('height', 'imageheight', 'imgheight', 'imheight', 'h'),
}
NEEDED = ('image', 'class', *CORNERS)
# Tables without header: number of columns -> their order.
BARE = {6: ('image', *CORNERS, 'class'), 8: ('image', 'width', 'height', 'class', *CORNERS)}
_EXPECTED = ('a header with the columns filename, class, xmin, ymin, xmax, ymax (width and height too, if known), or '
             'rows path,x1,y1,x2,y2,class')
_SEPARATORS = ',;\t'
_MOST_CELLS = 200


class Layout(NamedTuple):
    """How a table is written.

    Attributes:
      columns: name in ``COLUMNS`` -> position.
      separator: of cells.
      has_header: whether the first row is a header.
    """
    columns: Mapping[str, int]
    separator: str
    has_header: bool


class _Row(NamedTuple):
    """One row: its line, the image as written, its size (0: unknown), and class and corners, '' and None for none."""
    line: int
    image: str
    size: tuple[int, int]
    label: str
    corners: tuple[float, float, float, float] | None


def read(path: str, image_folder: str | None = None, classes: Sequence[str] | None = None, strict: bool = False
         ) -> Dataset:
    """Reads a table. Rows of one image are one image, in the order of their first rows.

    Paths of images are relative to ``image_folder``, else to the table's folder; an image that is not there is searched
    by its name below that folder.

    Args:
      path: the table.
      image_folder: of the images, if it is not the table's.
      classes: names in order; None takes the names found, sorted, or
        those of a class file beside the table if the table has numbers.
      strict: stop at the first fault instead of repairing or dropping.

    Raises:
      InputError: the table is missing, has other columns or no usable row, or a class is unknown.
    """
    problems = faults.Problems(strict)
    base = image_folder or os.path.dirname(path)
    images = image_lookup.Images(base or '.')
    rows, written = _found(path, base, _rows(path, problems), images, problems)
    if not rows:
        first = ([*problems.messages, 'it is empty'])[0]
        raise InputError(f'{path}: no usable row; the first problem: {first}')
    unit = _is_unit(rows)
    numbered = _names_of_numbers(path, rows, classes)
    if numbered:
        rows = {image: [row._replace(label=numbered[int(row.label)] if row.label else '') for row in group]
                for image, group in rows.items()}
    found = {row.label: f'{path}:{row.line}' for group in reversed(rows.values()) for row in reversed(group)
             if row.label}
    names = class_files.resolve_classes(found, classes if classes is not None else numbered, own=True)
    records = {written[image]: _record(path, image, group, names, unit, problems) for image, group in rows.items()}
    return Dataset(lists.with_ids(records), names, problems.messages, problems.notes)


def layout_of(path: str) -> Layout:
    """The layout of a table, by its first row.

    Raises:
      InputError: it cannot be read, or has other columns.
    """
    _, line = next(class_files.read_lines(path), (0, ''))
    for separator in _SEPARATORS:
        cells = _cells(line, separator)
        names = [re.sub(r'[^a-z0-9]', '', cell.lower()) for cell in cells]
        columns = {column: names.index(alias) for column, aliases in reversed(COLUMNS.items())
                   for alias in reversed(aliases) if alias in names}
        if all(column in columns for column in NEEDED):
            return Layout(columns, separator, True)
        order = BARE.get(len(cells))
        if order and _fits(dict(zip(order, cells))):
            return Layout({column: position for position, column in enumerate(order)}, separator, False)
    raise InputError(f'{path}: expected {_EXPECTED}; got {line[:100]!r}')


def _fits(row):
    """Whether the cells of a row without header are of the right kinds."""
    numbers = [row[name] for name in CORNERS] + [row[name] for name in ('width', 'height') if name in row]
    empty = not any(row[name] for name in (*CORNERS, 'class'))
    return image_lookup.is_image(row['image']) and (empty or all(_number(text) is not None for text in numbers))


def _rows(path, problems):
    """The rows of a table; a wrong one is dropped and noted."""
    layout = layout_of(path)
    for number, line in class_files.read_lines(path):
        if number == 1 and layout.has_header:
            continue
        where = f'{path}:{number}'
        cells = _cells(line, layout.separator)
        if len(cells) > _MOST_CELLS or len(cells) <= max(layout.columns[name] for name in NEEDED):
            problems.add(f'{where}: expected {max(layout.columns.values()) + 1} cells, got {len(cells)}', 'row dropped')
            continue
        row = {name: cells[position] for name, position in layout.columns.items() if position < len(cells)}
        if not row['image']:
            problems.add(f'{where}: no name of an image', 'row dropped')
            continue
        yield _row(where, number, row, problems)


def _row(where, number, cells, problems):
    sides = [_number(cells.get(name, '')) or 0 for name in ('width', 'height')]
    size = (int(sides[0]), int(sides[1])) if all(0 < side < 2 ** 24 and side == int(side) for side in sides) else (0, 0)
    texts = [cells[name] for name in CORNERS]
    if not any(texts) or (not cells['class'] and not any(_number(text) for text in texts)):
        return _Row(number, cells['image'], size, '', None)
    values = [_number(text) for text in texts]
    if None in values or not cells['class']:
        fault = 'no class' if None not in values else f'expected four numbers, got {", ".join(texts)[:80]}'
        problems.add(f'{where}: {fault}', 'object dropped')
        return _Row(number, cells['image'], size, '', None)
    return _Row(number, cells['image'], size, cells['class'], tuple(values))


def _found(path, base, rows, images, problems):
    """{path of an image: its rows} and {path: as written} of the images that exist."""
    found: dict[str, list[_Row]] = {}
    paths: dict[str, tuple[str | None, bool]] = {}
    written: dict[str, str] = {}
    elsewhere: list[tuple[str, str]] = []
    for row in rows:
        if row.image not in paths:
            paths[row.image] = images.at(base, row.image)
            image, moved = paths[row.image]
            if image and moved and row.image not in (name := os.path.basename(image), os.path.splitext(name)[0]):
                elsewhere.append((row.image, image))
        image = paths[row.image][0]
        if image is None:
            problems.add(f'{path}:{row.line}: no image {row.image[:200]} below {base or "."}, or several',
                         'row dropped')
        else:
            found.setdefault(image, []).append(row)
            written.setdefault(image, row.image)
    lists.note_elsewhere(path, elsewhere, problems)
    return found, written


def _is_unit(rows):
    """Whether the coordinates are fractions of the image: none is above 1, and some are no whole numbers."""
    values = [value for group in rows.values() for row in group if row.corners for value in row.corners]
    return bool(values) and max(values) <= 1 and any(value != int(value) for value in values if abs(value) <= 1)


def _record(path, image, rows, names, unit, problems):
    width, height = next((row.size for row in rows if row.size[0]), (0, 0))
    turned = 0
    if not width:
        width, height, turned = headers.unstated(image)
    objects = []
    for row in rows:
        if row.corners is None:
            continue
        scale = (width, height) * 2 if unit else (1, 1, 1, 1)
        corners = tuple(value * side for value, side in zip(row.corners, scale))
        box = faults.repair(f'{path}:{row.line}: object {row.label!r}', corners, width, height, problems)
        if box is not None:
            objects.append((box, names.index(row.label), False, False, None, row.line))
    return faults.record(image, '', width, height, objects, path)._replace(orientation=turned)


def _names_of_numbers(path, rows, classes):
    """The names that the numbers of a table's class column stand for; None where it holds names, or nothing says."""
    labels = {row.label for group in rows.values() for row in group if row.label}
    if not labels or not all(label.isdecimal() and label.isascii() and len(label) < 8 for label in labels):
        return None
    names = lists.own_names(path) or _table_of_names(path)
    if names is None and classes is not None and not labels <= set(classes):
        names = list(classes)
    if names is None or max(map(int, labels)) < len(names):
        return names
    raise InputError(f'{path}: class id {max(map(int, labels))}, but there are {len(names)} class names '
                     f'({", ".join(names)}); give the right list with --classes=FILE')


def _table_of_names(path):
    """Class names of keras-retinanet's table of classes beside a table (rows ``name,id``); None where there is none."""
    for name in ('classes.csv', 'class.csv', '_classes.csv'):
        beside = os.path.join(os.path.dirname(path), name)
        if os.path.isfile(beside):
            cells = [_cells(line, ',') for _, line in class_files.read_lines(beside)]
            numbers = {row[1]: row[0] for row in cells if len(row) == 2 and row[1].isdecimal()}
            if numbers and sorted(map(int, numbers)) == list(range(len(numbers))):
                return [numbers[str(number)] for number in range(len(numbers))]
    return None


def _cells(line, separator):
    """The stripped cells of a row."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:               # a cell beyond the limit
        return []


def _number(text):
    """A finite number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e300 else None
