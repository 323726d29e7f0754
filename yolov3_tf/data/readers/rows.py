"""Annotations that come as rows: one object each, with the name of the image it is on.

Tables (``tables``) and JSON files of a whole set (``via``, ``createml``) share this end of their readers. Rows of one
image are one image, in the order of their first rows. Corners are pixels from 0 with the far edge exclusive.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from yolov3_tf.data.readers import class_files, faults, headers, image_lookup, lists
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

NO_CLASS = 'object'         # the class of objects in a file that holds no classes
_UNIT = 1.01                # the largest fraction of an image: some are rounded up
_SHOWN = 6


class Row(NamedTuple):
    """One object, or an image without objects.

    Attributes:
      where: file and line, for messages.
      line: number in that file.
      image: its name or path as written.
      size: its width and height as annotated, 0 where unknown.
      label: name of the class, '' for no object.
      corners: x1, y1, x2, y2, None for no object.
      crowd: several objects in one box, as COCO's ``iscrowd``.
    """
    where: str
    line: int
    image: str
    size: tuple[int, int]
    label: str
    corners: tuple[float, float, float, float] | None
    crowd: bool = False


class Located(NamedTuple):
    """Rows whose images are there: {path of the image: its rows}, and {path: as written}."""
    rows: dict[str, list[Row]]
    written: dict[str, str]


def located(path: str, folder: str, rows: Iterable[Row], problems: faults.Problems, what: str = 'row'
            ) -> Located:
    """Finds the images of rows; one that is not where it should be is searched by its name below the folder.

    Args:
      path: the file of the rows, for messages.
      folder: that the images' paths are relative to; '' for the current one.
      problems: collects the rows without an image.
      what: is dropped without one, in messages.

    Raises:
      InputError: no row is left; with the first problem.
    """
    images = image_lookup.Images(folder or '.')
    found: dict[str, list[Row]] = {}
    paths: dict[str, tuple[str | None, bool]] = {}
    written: dict[str, str] = {}
    elsewhere: list[tuple[str, str]] = []
    for row in rows:
        if row.image not in paths:
            paths[row.image] = images.at(folder, row.image)
            image, moved = paths[row.image]
            if image and moved and row.image not in (name := os.path.basename(image), os.path.splitext(name)[0]):
                elsewhere.append((row.image, image))
        image = paths[row.image][0]
        if image is None:
            problems.add(f'{row.where}: no image {row.image[:200]} below {folder or "."}, or several',
                         f'{what} dropped')
        else:
            found.setdefault(image, []).append(row)
            written.setdefault(image, row.image)
    lists.note_elsewhere(path, elsewhere, problems)
    if not found:
        first = ([*problems.messages, 'it is empty'])[0]
        raise InputError(f'{path}: no usable {what}; the first problem: {first}')
    return Located(found, written)


def dataset(path: str, found: Located, classes: Sequence[str] | None, problems: faults.Problems) -> Dataset:
    """The dataset of located rows. Corners that are nowhere above 1 are fractions of their images.

    Raises:
      InputError: a class is not among ``classes``.
    """
    unit = is_unit(found.rows)
    first = {row.label: row.where for group in reversed(found.rows.values()) for row in reversed(group) if row.label}
    names = class_files.resolve_classes(first, classes, own=True)
    records = {found.written[image]: _record(path, image, group, names, unit, problems)
               for image, group in found.rows.items()}
    return Dataset(lists.with_ids(records), names, problems.messages, problems.notes)


def size_of(image: str, group: Sequence[Row]) -> tuple[int, int, int]:
    """Width and height of an image and its ``Record.orientation``, by its rows or else by the file."""
    width, height = next((row.size for row in group if row.size[0]), (0, 0))
    return (width, height, 0) if width else headers.unstated(image)


def one_class(path: str, classes: Sequence[str] | None, why: str, problems: faults.Problems) -> str:
    """The name of the only class of a file without classes, and a note that says so.

    Args:
      classes: those asked for, or None; a single one is the name.
      why: what is missing, for the note.

    Raises:
      InputError: several classes are asked for.
    """
    if classes is not None and len(classes) > 1 and NO_CLASS not in classes:
        raise InputError(f'{path}: {why}, so nobody knows which of the classes '
                         f'{", ".join(classes[:_SHOWN])} its objects have')
    name = classes[0] if classes and NO_CLASS not in classes else NO_CLASS
    problems.note(f'{path}: {why}: all its objects are one class, {name!r}')
    return name


def is_unit(found: Mapping[str, Sequence[Row]]) -> bool:
    """Whether the corners are fractions of the image: none is above 1, and some are no whole numbers."""
    values = [value for group in found.values() for row in group if row.corners for value in row.corners]
    return bool(values) and max(values) <= _UNIT and any(value != int(value) for value in values if abs(value) <= _UNIT)


def _record(path, image, group, names, unit, problems):
    width, height, turned = size_of(image, group)
    objects = []
    for row in group:
        if row.corners is None:
            continue
        scale = (width, height) * 2 if unit else (1, 1, 1, 1)
        corners = tuple(value * side for value, side in zip(row.corners, scale))
        box = faults.repair(f'{row.where}: object {row.label!r}', corners, width, height, problems)
        if box is not None:
            objects.append((box, names.index(row.label), False, row.crowd, None, row.line))
    return faults.record(image, '', width, height, objects, path)._replace(orientation=turned)
