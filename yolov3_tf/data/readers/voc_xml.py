"""One VOC annotation file: XML to objects and back, with the line number of every object.

Built on expat itself, because the tree parsers of the standard library report no line numbers
and expand entities. Ordinary files take a shorter way with the same result (``xml_layouts``).
Coordinates in the file are VOC's: pixels counted from 1, far edge inclusive.
"""
from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import NamedTuple
from xml.parsers import expat
from xml.sax.saxutils import escape

from yolov3_tf import printable, regular_file
from yolov3_tf.data.readers import texts, xml_layouts
from yolov3_tf.errors import InputError

Corners = tuple[float, float, float, float]
LARGEST_FILE = 4 << 20  # bytes; some ten thousand objects
FIRST_PART = 1 << 16    # bytes; no more memory is taken for the files of most images
DEEPEST_NESTING = 32  # VOC needs 6 (a part's box)
_DECLARED = re.compile(rb'^\s*<\?xml[^>]{0,200}?\bencoding\s*=\s*["\']([\w.-]{1,40})["\']')

# Full paths, so that <part><name> and <part><bndbox> can never pass for the object's own.
_OBJECT = '/annotation/object'
_CORNERS = 'xmin', 'ymin', 'xmax', 'ymax'
_TEXTS = {'/annotation/size/width': 'width', '/annotation/size/height': 'height', _OBJECT + '/name': 'name',
          _OBJECT + '/difficult': 'difficult'}
_TEXTS.update({f'{_OBJECT}/bndbox/{corner}': corner for corner in _CORNERS})


class AnnotatedObject(NamedTuple):
    """One <object> as the file has it.

    Attributes:
      line: of its opening tag.
      name: stripped class name, '' where missing.
      corners: (xmin, ymin, xmax, ymax) as written, None where the box is missing or not four numbers.
      fault: why ``corners`` is None.
      difficult: VOC's mark.
    """
    line: int
    name: str
    corners: tuple[float, float, float, float] | None
    fault: str
    difficult: bool


class Annotation(NamedTuple):
    """Width and height in pixels (0 where the file does not say) and the objects in the file's order."""
    width: int
    height: int
    objects: list[AnnotatedObject]


def parse(path: str) -> Annotation:
    """Reads one annotation file.

    Expat reads UTF-8, UTF-16 and codings of one byte; GBK and its like are decoded first. In a file that is in no
    coding it declares, only class names must be readable: labelling programs write the folder of the image in another
    coding than the rest.

    Raises:
      FileNotFoundError: there is no such file.
      InputError: it is unreadable, too large, not well-formed (truncated), not a VOC annotation, or
        declares a document type (the way in for entity expansion); the message holds file and line.
    """
    content = _read(path)
    return _quickly(content) or parse_strictly(path, content)


def parse_strictly(path: str, content: bytes) -> Annotation:
    """The annotation of a file's bytes by expat alone; ``path`` is for messages. See ``parse``."""
    try:
        return _Reader(path).read(content)
    except expat.ExpatError as error:
        text = _decoded(content)
        if text is None:
            raise _not_well_formed(path, error) from None
    except (LookupError, ValueError) as error:  # encodings that expat or Python do not know
        if isinstance(error, InputError):
            raise
        text = _decoded(content)
        if text is None:
            raise InputError(f'{path}:1: unreadable encoding ({error}); expected UTF-8') from None
    try:
        annotation = _Reader(path, 'utf-8').read(text.encode())
    except expat.ExpatError as error:
        raise _not_well_formed(path, error) from None
    for item in annotation.objects:
        if '\ufffd' in item.name:
            raise InputError(f'{path}:{item.line}: class {item.name!r}: its bytes are no text in the coding that the '
                             'file declares; expected UTF-8')
    return annotation


def _decoded(content):
    """The text of a file that expat refused, None where its coding was not the reason."""
    match = _DECLARED.match(content)
    declared = match.group(1).decode() if match else None
    if declared and texts.python_name(declared) is None:
        return None
    try:
        text = texts.decode(content, declared)
    except texts.UnknownCoding:
        return content.decode('utf-8', 'replace')
    return text if declared and not declared.lower().replace('-', '').startswith('utf8') else None


def _not_well_formed(path, error):
    return InputError(f'{path}:{error.lineno}: not well-formed XML ({expat.ErrorString(error.code)}); '
                      'is the file truncated?')


def serialize(file_name: str, width: int, height: int, objects: Iterable[tuple]) -> str:
    """The text of an annotation file.

    Args:
      file_name: of the image.
      width, height: of the image in pixels.
      objects: tuples (class name, box, difficult); boxes are our x1, y1, x2, y2.
    """
    lines = ['<annotation>', f'\t<filename>{escape(file_name)}</filename>',
             f'\t<size><width>{width}</width><height>{height}</height><depth>3</depth></size>']
    for name, box, difficult in objects:
        corners = ''.join(f'<{tag}>{value:.10g}</{tag}>' for tag, value in zip(_CORNERS, to_inclusive(box)))
        lines += ['\t<object>', f'\t\t<name>{escape(name)}</name>',
                  f'\t\t<difficult>{int(difficult)}</difficult>', f'\t\t<bndbox>{corners}</bndbox>',
                  '\t</object>']
    return '\n'.join([*lines, '</annotation>', ''])


def to_exclusive(corners: Corners) -> Corners:
    """VOC's xmin, ymin, xmax, ymax (from 1, inclusive) -> our x1, y1, x2, y2 (from 0, far edge exclusive).

    Many tools write VOC files but count from 0: their edge 0 means the border, not a pixel outside.
    """
    xmin, ymin, xmax, ymax = corners
    return (0. if 0 <= xmin < 1 else xmin - 1), (0. if 0 <= ymin < 1 else ymin - 1), xmax, ymax


def to_inclusive(box: Corners) -> Corners:
    """Our x1, y1, x2, y2 -> VOC's xmin, ymin, xmax, ymax; the inverse of ``to_exclusive``."""
    x1, y1, x2, y2 = box
    return x1 + 1, y1 + 1, x2, y2


class _Reader:
    """Collects the texts of interest while expat walks through the file."""

    def __init__(self, path, coding=None):
        self.file = path
        self.paths = ['']  # of the open elements
        self.text = None  # parts of the text being collected, None outside the elements of interest
        self.size = {}
        self.objects = []  # (line, {tag: text})
        self.parser = expat.ParserCreate(coding)
        self.parser.buffer_text = True

    def read(self, content):
        """The annotation of these bytes."""
        self.parse(content)
        return _annotation(self.size, [_object(line, texts) for line, texts in self.objects])

    def parse(self, content):
        """Fills ``size`` and ``objects``; the parser can be used once."""
        handlers = {'StartElementHandler': self.start, 'EndElementHandler': self.end,
                    'CharacterDataHandler': self.characters, 'StartDoctypeDeclHandler': self.doctype}
        try:
            for name, handler in handlers.items():
                setattr(self.parser, name, handler)
            self.parser.Parse(content, True)
        finally:                    # else reader and parser would hold each other until the collector runs
            for name in handlers:
                setattr(self.parser, name, None)

    def start(self, tag, _):
        path = f'{self.paths[-1]}/{tag}'
        if len(self.paths) == 1 and path != '/annotation':
            raise InputError(f'{self.where()}: expected <annotation>, got <{tag[:40]}>')
        if len(self.paths) > DEEPEST_NESTING:
            raise InputError(f'{self.where()}: elements nested deeper than {DEEPEST_NESTING}')
        self.paths.append(path)
        if path == _OBJECT:
            self.objects.append((self.parser.CurrentLineNumber, {}))
        self.text = [] if path in _TEXTS else None

    def end(self, _):
        path = self.paths.pop()
        if self.text is not None:
            found = self.objects[-1][1] if path.startswith(_OBJECT) else self.size
            found.setdefault(_TEXTS[path], ''.join(self.text).strip())
            self.text = None

    def characters(self, text):
        if self.text is not None:
            self.text.append(text)

    def doctype(self, *_):
        raise InputError(f'{self.where()}: declares a document type, which annotations do not need and '
                         'hostile files use; remove the <!DOCTYPE')

    def where(self):
        return f'{self.file}:{self.parser.CurrentLineNumber}'


def _texts_of(document):
    """As ``xml_layouts.Layouts`` wants it."""
    reader = _Reader('')
    reader.parse(document)
    return reader.size, reader.objects


_LAYOUTS = xml_layouts.Layouts(_texts_of, (expat.ExpatError, InputError))


def _quickly(content) -> Annotation | None:
    """The annotation of an ordinary file, None for others."""
    cut = _LAYOUTS.cut(content)
    if cut is None:
        return None
    pieces, layout = cut
    breaks = b'\n' in content or b'\r' in content
    line, counted, objects = 1, 0, []
    for tag, numbers in layout.objects:
        if breaks:
            line += ''.join(pieces[counted:tag]).count('\n')
            counted = tag
        try:
            corners = (float(pieces[numbers['xmin']]), float(pieces[numbers['ymin']]), float(pieces[numbers['xmax']]),
                       float(pieces[numbers['ymax']]))
            name = printable.clean_name(pieces[numbers['name']].strip())
            difficult = pieces[numbers['difficult']].strip() == '1'
        except (KeyError, ValueError):          # without one of these elements, or without a number
            objects.append(_object(line, _found(pieces, numbers)))
        else:
            objects.append(AnnotatedObject(line, name, corners, '', difficult))
    return _annotation(_found(pieces, layout.head), objects)


def _found(pieces, numbers):
    return {name: pieces[number].strip() for name, number in numbers.items()}


def _annotation(size, objects):
    return Annotation(_size(size.get('width', '')), _size(size.get('height', '')), objects)


def _read(path):
    """The file's bytes, never more than the limit."""
    try:
        # A buffer would cost as much as the file.
        with open(path, 'rb', buffering=0, opener=regular_file.quick_opener) as file:
            content = part = file.read(FIRST_PART) or b''       # None of a pipe
            while part and len(content) <= LARGEST_FILE:
                part = file.read(LARGEST_FILE + 1 - len(content))
                content += part
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from None
    if len(content) > LARGEST_FILE:
        raise InputError(f'{path}: {os.path.getsize(path)} bytes; expected at most {LARGEST_FILE}')
    return content


def _size(text):
    """Whole pixels, 0 for anything that is not a positive number."""
    try:
        value = float(text)
    except ValueError:
        return 0
    return int(value) if 1 <= value < 2 ** 24 else 0


def _object(line, found):
    corners, fault = None, ''
    missing = [tag for tag in _CORNERS if not found.get(tag)]
    if missing:
        fault = 'has no box' if len(missing) == 4 else f'has no {", ".join(missing)}'
    else:
        try:
            x1, y1, x2, y2 = (float(found[tag]) for tag in _CORNERS)
            corners = x1, y1, x2, y2
        except ValueError:
            written = ', '.join(f'{tag} {found[tag][:20]!r}' for tag in _CORNERS)
            fault = f'has a box that is not four numbers: {written}'
    return AnnotatedObject(line, printable.clean_name(found.get('name', '')), corners, fault,
                           found.get('difficult') == '1')
