"""CVAT for images 1.1: one XML file of a whole set, with a line for each image and shape.

    <image id="0" name="a.jpg" width="120" height="90">
      <box label="cat" xtl="10" ytl="5" xbr="60" ybr="35"/>

Of polygons, polylines, ellipses and masks the box around them is taken; points, cuboids and skeletons are named. Tracks
of videos (CVAT for video) have frames in place of images, and are refused.
(https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat)
"""
from __future__ import annotations

import os
from collections.abc import Sequence
from xml.parsers import expat

from yolov3_tf import printable, regular_file
from yolov3_tf.data.readers import class_files, faults, rows
from yolov3_tf.data.readers.texts import is_number
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

LARGEST_FILE = 1 << 30      # bytes
_SHAPES = {'box': ('xtl', 'ytl', 'xbr', 'ybr'), 'ellipse': ('cx', 'cy', 'rx', 'ry'),
           'mask': ('left', 'top', 'width', 'height')}
_OUTLINES = 'polygon', 'polyline'
_OTHERS = 'points', 'cuboid', 'skeleton'


def read(path: str, image_folder: str | None = None, classes: Sequence[str] | None = None, strict: bool = False
         ) -> Dataset:
    """Reads the file. Images without shapes are images without objects.

    Args: as ``tables.read``.

    Raises:
      InputError: the file is no such file (with the line), has no usable image, or a class is unknown.
    """
    problems = faults.Problems(strict)
    reader = _Reader(path, problems)
    reader.read()
    found = rows.located(path, image_folder or os.path.dirname(path), reader.rows, problems, 'image')
    return rows.dataset(path, found, classes, problems)


class _Reader:
    """Collects rows while expat walks through the file."""

    def __init__(self, path, problems):
        self.path, self.problems = path, problems
        self.rows: list[rows.Row] = []
        self.image: rows.Row | None = None      # the one that is open, without object
        self.depth = 0
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.StartDoctypeDeclHandler = self._refuse_document_type

    def read(self):
        try:
            if os.path.getsize(self.path) > LARGEST_FILE:
                raise InputError(f'{self.path}: {os.path.getsize(self.path)} bytes; expected at most {LARGEST_FILE}')
            with open(self.path, 'rb', opener=regular_file.opener) as file:
                self.parser.ParseFile(file)
        except OSError as error:
            raise InputError(f'{self.path}: cannot be read ({error.strerror})') from None
        except expat.ExpatError as error:
            raise InputError(f'{self.path}:{error.lineno}: not well-formed XML ({expat.ErrorString(error.code)}); is '
                             'the file truncated?') from None
        except (LookupError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f'{self.path}:1: unreadable encoding ({error}); expected UTF-8') from None

    @property
    def where(self):
        return f'{self.path}:{self.parser.CurrentLineNumber}'

    def _refuse_document_type(self, *_):
        raise InputError(f'{self.where}: expected no document type; remove the <!DOCTYPE')

    def _start(self, name, values):
        self.depth += 1
        if self.depth == 1 and name != 'annotations':
            raise InputError(f'{self.where}: expected <annotations> of CVAT, got <{name[:40]}>')
        if name == 'track':
            raise InputError(f'{self.where}: a track of a video; export the task as "CVAT for images", COCO or YOLO '
                             'instead, with its images')
        if name == 'image':
            self._open_image(values)
        elif self.image is not None and name in (*_SHAPES, *_OUTLINES, *_OTHERS):
            self._add(self.image, name, values)

    def _open_image(self, values):
        name = values.get('name', '')
        if not name:
            self.problems.add(f'{self.where}: an image without name', 'image dropped')
            return
        sides = [values.get(side, '') for side in ('width', 'height')]
        good = all(side.isdecimal() and side.isascii() and 0 < int(side[:9]) < 2 ** 24 for side in sides)
        size = (int(sides[0]), int(sides[1])) if good else (0, 0)
        self.image = rows.Row(self.where, self.parser.CurrentLineNumber, name, size, '', None)
        self.rows.append(self.image)

    def _add(self, image, name, values):
        label = printable.clean_name(values.get('label', ''))
        corners = _corners(name, values)
        if not label or corners is None:
            fault = 'no label' if not label else f'a shape <{name}> has no box' if name in _OTHERS else (
                f'expected {", ".join(_SHAPES.get(name, ("points",)))} of a {name}, got {str(values)[:80]}')
            self.problems.add(f'{self.where}: {fault}', 'object dropped')
            return
        class_files.check_length(label, self.where)
        self.rows.append(image._replace(where=self.where, line=self.parser.CurrentLineNumber, label=label,
                                        corners=corners))

    def _end(self, name):
        self.depth -= 1
        if name == 'image':
            self.image = None


def _corners(name, values):
    """x1, y1, x2, y2 around a shape; None where it has none."""
    if name in _OUTLINES:
        points = [point.split(',') for point in values.get('points', '').split(';')]
        if not all(len(point) == 2 and all(map(is_number, point)) for point in points):
            return None
        xs, ys = zip(*((float(x), float(y)) for x, y in points))
        return min(xs), min(ys), max(xs), max(ys)
    texts = [values.get(key, '') for key in _SHAPES.get(name, ())]
    if not texts or not all(map(is_number, texts)):
        return None
    one, two, three, four = map(float, texts)
    return {'box': (one, two, three, four), 'mask': (one, two, one + three, two + four),
            'ellipse': (one - three, two - four, one + three, two + four)}[name]
