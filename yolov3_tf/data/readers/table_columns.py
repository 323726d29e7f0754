"""What the columns of a CSV table hold, by the names in its header, in any order.

The box is in four columns, as corners, as corner and size, or as centre and size; or in one, as text with four
numbers a box (``[x, y, w, h]``, ``x1 y1 x2 y2``). Where the name of that column does not say which numbers these are,
``tables`` compares them with the images.
"""
from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from yolov3_tf.data.readers import class_files, image_lookup
from yolov3_tf.data.readers.texts import is_number
from yolov3_tf.errors import InputError

CORNERS = 'xmin', 'ymin', 'xmax', 'ymax'
SIDES = 'box width', 'box height'
# Column -> its names, lower case without signs between words; the first that a header has is taken.
COLUMNS = {
    'image': ('filename', 'file', 'imagepath', 'imgpath', 'filepath', 'imagename', 'imgname', 'image', 'img', 'path',
              'imageid', 'imgid', 'imagefile', 'imagefilename', 'frame', 'framename', 'photo', 'imageurl', 'id'),
    'class': ('class', 'classname', 'label', 'labelname', 'labels', 'category', 'categoryname', 'object', 'objectname',
              'classes', 'name', 'objectclass', 'objectlabel', 'bboxlabel', 'boxlabel', 'classid', 'labelid',
              'categoryid', 'tag'),
    'xmin': ('xmin', 'x1', 'left', 'bboxxmin', 'bboxx1', 'boxxmin', 'boxx1', 'xtl', 'bboxleft', 'minx', 'x0', 'startx',
             'topleftx'),
    'ymin': ('ymin', 'y1', 'top', 'bboxymin', 'bboxy1', 'boxymin', 'boxy1', 'ytl', 'bboxtop', 'miny', 'y0', 'starty',
             'toplefty'),
    'xmax': ('xmax', 'x2', 'right', 'bboxxmax', 'bboxx2', 'boxxmax', 'boxx2', 'xbr', 'bboxright', 'maxx', 'endx',
             'bottomrightx'),
    'ymax': ('ymax', 'y2', 'bottom', 'bboxymax', 'bboxy2', 'boxymax', 'boxy2', 'ybr', 'bboxbottom', 'maxy', 'endy',
             'bottomrighty'),
    'x': ('bboxx', 'boxx', 'x'),
    'y': ('bboxy', 'boxy', 'y'),
    'x centre': ('xcenter', 'xcentre', 'centerx', 'centrex', 'cx', 'xc', 'bboxxcenter', 'bboxcx', 'boxxcenter', 'xmid'),
    'y centre': ('ycenter', 'ycentre', 'centery', 'centrey', 'cy', 'yc', 'bboxycenter', 'bboxcy', 'boxycenter', 'ymid'),
    'box width': ('bboxwidth', 'bboxw', 'boxwidth', 'boxw', 'w', 'width'),
    'box height': ('bboxheight', 'bboxh', 'boxheight', 'boxh', 'h', 'height'),
    'width': ('imagewidth', 'imgwidth', 'imwidth', 'imagew', 'imgw', 'width', 'w'),
    'height': ('imageheight', 'imgheight', 'imheight', 'imageh', 'imgh', 'height', 'h'),
    'group': ('isgroupof', 'iscrowd', 'crowd'),
}
# How a table holds its boxes: name -> the columns, in the order they are tried.
FORMS = {
    'corners': CORNERS,
    'centre and size': ('x centre', 'y centre', *SIDES),
    'corner and size': ('x', 'y', *SIDES),
    'xmin, ymin and size': ('xmin', 'ymin', *SIDES),
}
ONE_COLUMN = 'bbox'
# Numbers of one column -> what its name may end with behind bbox, box ...
NUMBERS = {
    'corners': ('xyxy', 'x1y1x2y2', 'xminyminxmaxymax', 'x0y0x1y1', 'ltrb', 'corners', 'voc', 'pascalvoc',
                'lefttoprightbottom'),
    'corner and size': ('xywh', 'xywidthheight', 'xminyminwidthheight', 'xminyminwh', 'x1y1wh', 'x1y1widthheight',
                        'ltwh', 'lefttopwidthheight', 'coco'),
    'centre and size': ('cxcywh', 'xcycwh', 'xcenterycenterwidthheight', 'centerxcenterywidthheight', 'cxcywidthheight',
                        'yolo'),
}
# Headers of published tables whose one column does not say what its numbers are.
PUBLISHED: dict[tuple[str, ...], str] = {
    ('imageid', 'width', 'height', 'bbox', 'source'): 'corner and size',       # Global Wheat Detection, Kaggle 2020
    ('imagename', 'boxesstring', 'domain'): 'corners',                         # Global Wheat 2021
}
_BOX = re.compile(r'(?:bounding|b)?box(?:es)?(?:string)?|rois?|rect(?:angle)?s?|coord(?:inate)?s?|locations?|'
                  r'(?=(?:xyxy|xywh|cxcywh|ltrb)$)')
# Tables without header: number of columns -> their order.
BARE = {5: ('image', *CORNERS), 6: ('image', *CORNERS, 'class'), 8: ('image', 'width', 'height', 'class', *CORNERS)}
EXPECTED = ('a header with the columns filename, class, xmin, ymin, xmax, ymax (width and height too, if known), or '
            'rows path,x1,y1,x2,y2,class')
_NO_ROW = re.compile(r'"?sep=."?$|#\s', re.IGNORECASE)
_SEPARATORS = ',;\t|'
_HEAD = 100             # characters of a first row in a message


class Layout(NamedTuple):
    """How a table is written.

    Attributes:
      columns: name in ``COLUMNS`` or ``ONE_COLUMN`` -> position.
      form: name in ``FORMS``, or ``ONE_COLUMN``.
      numbers: name in ``NUMBERS`` for a box in one column, '' where its name does not say it.
      separator: of cells.
      header: the cells of the first row, None where it is no header.
    """
    columns: Mapping[str, int]
    form: str
    numbers: str
    separator: str
    header: Sequence[str] | None


def layout_of(path: str) -> Layout:
    """The layout of a table, by its first row.

    Raises:
      InputError: it cannot be read, or has other columns.
    """
    _, line = next(lines_of(path), (0, ''))
    for separator in _SEPARATORS:
        header = cells(line, separator)
        found = _of_header(header, separator) or _bare(header, separator)
        if found:
            return found
    raise InputError(f'{path}: expected {EXPECTED}; got {line[:_HEAD]!r}')


def lines_of(path: str) -> Iterator[tuple[int, str]]:
    """(line number, text) of a table's rows; a comment or Excel's ``sep=;`` before the header is left out."""
    lines = class_files.read_lines(path)
    return itertools.dropwhile(lambda one: _NO_ROW.match(one[1]) is not None, lines)


def cells(line: str, separator: str) -> list[str]:
    """The stripped cells of a row."""
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])]
    except csv.Error:               # a cell beyond the limit
        return []


def _of_header(header, separator):
    """The layout that a header describes, None where it has no image or no box."""
    names = [_plain(cell) for cell in header]
    at = {column: names.index(alias) for column, aliases in reversed(COLUMNS.items())
          for alias in reversed(aliases) if alias in names}
    if 'image' not in at:
        return None
    form = next((form for form, columns in FORMS.items() if all(column in at for column in columns)), ONE_COLUMN)
    used = {column: at[column] for column in ('image', *FORMS.get(form, ()))}
    numbers = ''
    if form == ONE_COLUMN:
        said = {position: what for position, name in enumerate(names) if (what := _numbers(name)) is not None}
        if not said:
            return None
        used[ONE_COLUMN], numbers = next(iter(said.items()))
        numbers = numbers or PUBLISHED.get(tuple(names), '')
    for column in ('class', 'group', 'width', 'height'):
        free = [names.index(alias) for alias in COLUMNS[column] if alias in names
                and names.index(alias) not in used.values()]
        if free:
            used[column] = free[0]
    return Layout(used, form, numbers, separator, header)


def _numbers(name):
    """What the name of one column says of its numbers: a name in ``NUMBERS``, '' for nothing; None: it is no box."""
    match = _BOX.match(name)
    if match is None:
        return None
    rest = name[match.end():]
    return '' if not rest else next((numbers for numbers, endings in NUMBERS.items() if rest in endings), None)


def _bare(header, separator):
    """The layout of a table without header, by its first row; None where that does not fit one of ``BARE``."""
    order = BARE.get(len(header))
    if not order:
        return None
    row = dict(zip(order, header))
    numbers = [row[name] for name in (*CORNERS, 'width', 'height') if name in row]
    empty = not any(row.get(name) for name in (*CORNERS, 'class'))
    if not image_lookup.is_image(row['image']) or not (empty or all(map(is_number, numbers))):
        return None
    return Layout({column: position for position, column in enumerate(order)}, 'corners', '', separator, None)


def _plain(cell):
    return re.sub(r'[^a-z0-9]', '', cell.lower())
