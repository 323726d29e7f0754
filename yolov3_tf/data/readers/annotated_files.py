"""Annotation files that belong to one image each, without a list of images: LabelMe, Supervisely, KITTI.

The image is found by the stem of the annotation file, else by the name in it (``image_lookup``).
"""
from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

from yolov3_tf import regular_file
from yolov3_tf.data.readers import class_files, faults, headers, image_lookup, xml_folder
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

LARGEST_FILE = 1 << 28          # bytes; a file may hold the image itself


class Item(NamedTuple):
    """One object: its number in the file, name of its class, corners x1, y1, x2, y2 in pixels, VOC's ``difficult``."""
    number: int
    label: str
    corners: faults.Corners
    difficult: bool = False


class Content(NamedTuple):
    """What an annotation file says.

    Attributes:
      items: its objects.
      image: name of the image, '' where the file has none.
      size: width and height in pixels, 0 where it has none.
    """
    items: list[Item]
    image: str = ''
    size: tuple[int, int] = (0, 0)


def read(files: Sequence[str], parse: Callable[[str, faults.Problems], Content], where: str, folder: str,
         image_folder: str | None = None, classes: Sequence[str] | None = None, strict: bool = False) -> Dataset:
    """Reads annotation files in their order. An image without one is left out, and one message counts them.

    Args:
      files: their paths.
      parse: (path, problems) -> its content; raises InputError for a file that cannot be used.
      where: how a message names an object, of the file and the object's number: '{}: shape {}'.
      folder, image_folder, classes, strict: as ``xml_folder.read``.

    Raises:
      InputError: no image is usable, a class is not among ``classes``, or, under ``strict``, an annotation is faulty.
    """
    problems = faults.Problems(strict)
    images = image_lookup.Images(image_folder or folder)
    found: dict[str, str] = {}          # label -> file of its first object
    parsed: dict[str, tuple[str, Content]] = {}         # image -> file and its content
    for path in files:
        try:
            content = parse(path, problems)
        except InputError as error:
            if strict:
                raise
            problems.add(str(error), 'annotation file left out')
            continue
        image, why = images.find(path, folder, content.image)
        if image is None or image in parsed:
            why = f'{image} has the annotation file {parsed[image][0]} already' if image else why
            problems.add(f'{path}: {why}', 'annotation file left out')
            continue
        for item in content.items:
            class_files.check_length(item.label, path)
            found.setdefault(item.label, path)
        parsed[image] = path, content
    names = class_files.resolve_classes(found, classes, own=True)
    records = [_record(image, path, content, where, names, problems) for image, (path, content) in parsed.items()]
    if not records:
        first = ([*problems.messages, 'there is no annotation file'])[0]
        raise InputError(f'{folder}: no usable image; the first problem: {first}')
    return xml_folder.with_names(Dataset(records, names, []),
                                 [os.path.relpath(image, image_folder or folder) for image in parsed], images, problems)


def load_json(path: str) -> Any:
    """The content of a JSON file.

    Raises:
      InputError: it cannot be read, is too large, or is no JSON (with the line).
    """
    try:
        if os.path.getsize(path) > LARGEST_FILE:
            raise InputError(f'{path}: {os.path.getsize(path)} bytes; expected at most {LARGEST_FILE}')
        with open(path, encoding='utf-8-sig', opener=regular_file.opener) as file:
            return json.load(file)
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from None
    except json.JSONDecodeError as error:
        raise InputError(f'{path}:{error.lineno}: not JSON ({error.msg}, column {error.colno}); is the file '
                         'truncated?') from None
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'{path}: not readable as JSON ({error})') from None


def around(points: Any) -> faults.Corners | None:
    """The box around points [[x, y], ...]; None where they are no points."""
    good = isinstance(points, list) and points and all(
        isinstance(point, list) and len(point) == 2 and all(map(is_number, point)) for point in points)
    if not good:
        return None
    xs, ys = zip(*points)
    return min(xs), min(ys), max(xs), max(ys)


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a number of a usable size."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def side(value: Any) -> int:
    """A size in whole pixels of JSON, 0 where the value is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2 ** 24 else 0


def _record(image, path, content, where, names, problems):
    width, height, turned = (*content.size, 0) if all(content.size) else headers.unstated(image)
    objects = []
    for item in content.items:
        box = faults.repair(f'{where.format(path, item.number)} {item.label!r}', item.corners, width, height,
                            problems)
        if box is not None:
            objects.append((box, names.index(item.label), item.difficult, False, None, item.number))
    return faults.record(image, '', width, height, objects, path)._replace(orientation=turned)
