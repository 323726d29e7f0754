"""CSV tables: a row for each object, or for an image without objects.

With a header, columns are found by their names in any order (``table_columns``): ``filename,width,height,class,xmin,
ymin,xmax,ymax`` as TensorFlow's tutorials and Roboflow write it, Open Images' and Kaggle's, and their many relatives.
Without one, the columns are keras-retinanet's ``path,x1,y1,x2,y2,class`` or the eight above. Cells are separated by
commas, semicolons, tabs or ``|``.

Coordinates are pixels from 0 with the far edge exclusive, taken as they are. Where none in the whole table is above 1,
they are fractions of the image (Open Images). An image's box cells may be empty: it has no objects. A table without a
column of classes has one class.
"""
from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from yolov3_tf import printable
from yolov3_tf.data.readers import class_files, faults, lists, rows, table_columns
from yolov3_tf.data.readers.table_columns import ONE_COLUMN, layout_of
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

__all__ = ['layout_of', 'read']

_MOST_CELLS = 200
_NUMBER = re.compile(r'[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?', re.IGNORECASE)
_COMMA = re.compile(r'^(-?\d+)?,(?=\d+$)')
_TEXTS = 'image', 'class', ONE_COLUMN
_NONE = frozenset(('', '[]', '{}', '[[]]', 'nan', 'none', 'null', 'no_box', 'nobox'))
_READINGS = {'corners': 'x1, y1, x2, y2', 'corner and size': 'x, y, width, height',
             'centre and size': 'x and y of the centre, width, height'}
_TOLERANCE = 1.         # pixels that a box may reach outside of its image, where only rounding is to blame
_FEW, _MANY = .05, .5   # shares of wrong boxes by which one reading of the numbers is right and the other is not


class _Cells(NamedTuple):
    """The cells of one row; ``numbers`` are four a box, in the order that the table has them."""
    where: str
    line: int
    image: str
    size: tuple[int, int]
    label: str
    numbers: list[tuple[float, ...]]
    crowd: bool


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
      InputError: the table is missing, has other columns or no usable row, a class is unknown, or nothing says which
        four numbers its boxes are.
    """
    problems = faults.Problems(strict)
    layout = layout_of(path)
    only = '' if 'class' in layout.columns else rows.one_class(
        path, classes, f'no column of classes ({", ".join(layout.header or ["no header"])[:160]})', problems)
    read_rows = [row for cells in _cells(path, layout, only, problems) for row in _rows_of(cells)]
    found = rows.located(path, image_folder or os.path.dirname(path), read_rows, problems)
    form = layout.numbers or layout.form
    if form == ONE_COLUMN:
        form = _numbers_of(path, layout, found, problems)
    found = found._replace(rows={image: [_with_corners(row, form) for row in group]
                                 for image, group in found.rows.items()})
    names, listed = _names(path, found, classes)
    found = found._replace(rows={image: [row._replace(label=names.get(row.label, row.label)) for row in group]
                                 for image, group in found.rows.items()})
    return rows.dataset(path, found, listed if classes is None else classes, problems)


def _cells(path, layout, only, problems):
    """The rows of a table; a wrong one is dropped and noted.

    Args:
      only: the class of all objects, '' where the table has classes.
    """
    needed = 1 + max(position for name, position in layout.columns.items() if name not in ('width', 'height', 'group'))
    lines = table_columns.lines_of(path)
    for number, line in itertools.islice(lines, layout.header is not None, None):
        where = f'{path}:{number}'
        cells = table_columns.cells(line, layout.separator)
        if len(cells) > _MOST_CELLS or len(cells) < needed:
            problems.add(f'{where}: expected {max(layout.columns.values()) + 1} cells, got {len(cells)}', 'row dropped')
            continue
        row = {name: cells[position] for name, position in layout.columns.items() if position < len(cells)}
        if layout.separator != ',':         # decimal commas
            row = {name: _COMMA.sub(r'\1.', cell) if name not in _TEXTS else cell for name, cell in row.items()}
        if not row['image']:
            problems.add(f'{where}: no name of an image', 'row dropped')
            continue
        label = only or printable.clean_name(row['class'])
        numbers, fault = _one_box(row) if layout.form == ONE_COLUMN else _box(
            [row[name] for name in table_columns.FORMS[layout.form]], label)
        if numbers and not label:
            numbers, fault = [], 'no class'
        if fault:
            problems.add(f'{where}: {fault}', 'object dropped')
        yield _Cells(where, number, row['image'], _size(row), label, numbers, row.get('group') == '1')


def _size(row):
    sides = [_number(row.get(name, '')) or 0 for name in ('width', 'height')]
    return (int(sides[0]), int(sides[1])) if all(0 < side < 2 ** 24 and side == int(side) for side in sides) else (0, 0)


def _box(texts, label):
    """The four numbers of a box in four cells, in a list, and what is wrong; both empty for no object."""
    if not any(texts) or (not label and not any(_number(text) for text in texts)):
        return [], ''
    values = [_number(text) for text in texts]
    return ([], f'expected four numbers, got {", ".join(texts)[:80]}') if None in values else ([tuple(values)], '')


def _one_box(row):
    """The boxes of one cell, four numbers each, and what is wrong."""
    text = row[ONE_COLUMN]
    if text.strip().lower() in _NONE:
        return [], ''
    values = [float(value) for value in _NUMBER.findall(text)]
    others = re.sub(r'[\s\[\](){};,:"\']', '', _NUMBER.sub('', text))
    if others or not values or len(values) % 4 or max(map(abs, values)) >= 1e300:
        return [], f'expected four numbers a box, got {text[:80]!r}'
    return [tuple(values[start:start + 4]) for start in range(0, len(values), 4)], ''


def _rows_of(cells):
    """A row for each box, or one without object."""
    if not cells.numbers:
        return [rows.Row(cells.where, cells.line, cells.image, cells.size, '', None)]
    return [rows.Row(cells.where, cells.line, cells.image, cells.size, cells.label, numbers, cells.crowd)
            for numbers in cells.numbers]


def _with_corners(row, form):
    return row if row.corners is None else row._replace(corners=_corners(row.corners, form))


def _corners(numbers, form):
    """x1, y1, x2, y2 of a box's four numbers; ``form``: a name in ``table_columns.FORMS``."""
    if form == 'corners':
        return numbers
    x, y, width, height = numbers
    if form == 'centre and size':
        x, y = x - width / 2, y - height / 2
    return x, y, x + width, y + height


def _numbers_of(path, layout, found, problems):
    """Which four numbers the boxes of one column are: the reading by which they lie inside their images."""
    unit = rows.is_unit(found.rows)
    wrong = dict.fromkeys(_READINGS if unit else ('corners', 'corner and size'), 0)
    count = 0
    for image, group in found.rows.items():
        boxes = [row.corners for row in group if row.corners]
        width, height, _ = (1, 1, 0) if unit else rows.size_of(image, group)
        count += len(boxes)
        for form in wrong:
            wrong[form] += sum(not _fits(_corners(box, form), width, height, unit) for box in boxes)
    best, other, *_ = sorted(wrong, key=lambda form: wrong[form])
    column = layout.header[layout.columns[ONE_COLUMN]]
    clear = not wrong[best] or (wrong[best] <= _FEW * count and wrong[other] > _MANY * count)
    if not count or (clear and wrong[best] < wrong[other]):
        problems.note(f'{path}: the numbers in column {column!r} are read as {_READINGS[best]}: as {_READINGS[other]}, '
                      f'{wrong[other]} of {count} boxes would not lie in their images')
        return best
    names = [f'bbox_{table_columns.NUMBERS[form][0]}' for form in wrong]
    readings = [_READINGS[form] for form in wrong]
    raise InputError(f'{path}: the numbers in column {column!r} may be {" or ".join(readings)}: '
                     f'{"neither fits" if wrong[best] else "both fit"} the images. In its first line, write '
                     f'{" or ".join(names)} in place of {column}')


def _fits(corners, width, height, unit):
    """Whether corners are in order and inside an image; a size of 0 is unknown."""
    x1, y1, x2, y2 = corners
    over = .01 if unit else _TOLERANCE
    return -over <= x1 < x2 and -over <= y1 < y2 and x2 <= (width or x2) + over and y2 <= (height or y2) + over


def _names(path, found, classes):
    """{class as written: its name} of classes that are numbers or codes, and all names of a table beside it, or None.

    Numbers stand for the names of a class file beside the table, else for ``classes``; the codes of Open Images
    (/m/01x) for those of its table of class descriptions.
    """
    labels = {row.label for group in found.rows.values() for row in group if row.label}
    if labels and all(label.startswith(('/m/', '/g/', '/j/', '/t/')) for label in labels):
        return _descriptions(path), None
    if not labels or not all(label.isdecimal() and label.isascii() and len(label) < 8 for label in labels):
        return {}, None
    names = lists.own_names(path) or _table_of_names(path)
    if names is None and classes is not None and not labels <= set(classes):
        names = list(classes)
    if names is None or max(map(int, labels)) < len(names):
        return {label: names[int(label)] for label in labels if names}, names
    raise InputError(f'{path}: class id {max(map(int, labels))}, but there are {len(names)} class names '
                     f'({", ".join(names)}); give the right list with --classes=FILE')


def _descriptions(path):
    """{code: name} of Open Images' class-descriptions-boxable.csv beside a table or above it; empty without one."""
    folder = os.path.dirname(path) or '.'
    files = [file for home in (folder, os.path.dirname(os.path.abspath(folder))) for file in
             sorted(glob.glob(os.path.join(glob.escape(home), '*class-descriptions*.csv')))]
    for file in files:
        pairs = [table_columns.cells(line, ',') for _, line in class_files.read_lines(file)]
        return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[0].startswith('/')}
    return {}


def _table_of_names(path):
    """Class names of keras-retinanet's table of classes beside a table (rows ``name,id``); None where there is none."""
    for name in ('classes.csv', 'class.csv', '_classes.csv'):
        beside = os.path.join(os.path.dirname(path), name)
        if os.path.isfile(beside):
            cells = [table_columns.cells(line, ',') for _, line in class_files.read_lines(beside)]
            numbers = {row[1]: row[0] for row in cells if len(row) == 2 and row[1].isdecimal()}
            if numbers and sorted(map(int, numbers)) == list(range(len(numbers))):
                return [numbers[str(number)] for number in range(len(numbers))]
    return None


def _number(text):
    """A finite number, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < 1e300 else None
