"""CreateML: a JSON file with a list of images, as Apple's Create ML reads it and Roboflow and others export it.

    [{"image": "a.jpg", "annotations": [
        {"label": "cat", "coordinates": {"x": 60, "y": 40, "width": 50, "height": 30}}]}]

``x`` and ``y`` are the centre of the box, in pixels; where no coordinate of a file is above 1, they are fractions of
the image (MLBoundingBoxUnits.normalized). Source: Apple's page "Building an object detector data source".
"""
from __future__ import annotations

import os
from collections.abc import Sequence

from yolov3_tf import printable
from yolov3_tf.data.readers import annotated_files, class_files, faults, rows
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

_IMAGE = 'image', 'imagefilename', 'filename'           # keys, lower case
_ANNOTATIONS = 'annotations', 'annotation', 'objects'
_LABEL = 'label', 'class', 'name'
_SIDES = 'x', 'y', 'width', 'height'


def read(path: str, image_folder: str | None = None, classes: Sequence[str] | None = None, strict: bool = False
         ) -> Dataset:
    """Reads a CreateML file. Images without annotations are images without objects.

    Args: as ``tables.read``.

    Raises:
      InputError: the file is no such file (with the line where it is no JSON), has no usable image, or a class is
        unknown.
    """
    problems = faults.Problems(strict)
    content = annotated_files.load_json(path)
    if not isinstance(content, list) or not any(_entry(entry) for entry in content):
        raise InputError(f'{path}: expected a CreateML file, a list of "image" and "annotations"')
    found = rows.located(path, image_folder or os.path.dirname(path), _rows(path, content, problems), problems,
                         'image')
    return rows.dataset(path, found, classes, problems)


def _entry(entry):
    """Name of an image and its list of annotations, None where an entry has not both."""
    image, annotations = _of(entry, _IMAGE), _of(entry, _ANNOTATIONS)
    good = isinstance(image, str) and image and isinstance(annotations, (list, type(None)))
    return (image, annotations or []) if good else None


def _of(entry, keys):
    """The value of the first of these keys, in any letter case, that an object has."""
    plain = {key.lower(): value for key, value in entry.items()} if isinstance(entry, dict) else {}
    return next((plain[key] for key in keys if key in plain), None)


def _rows(path, content, problems):
    number = 0
    for position, entry in enumerate(content, 1):
        parts = _entry(entry)
        if parts is None:
            problems.add(f'{path}: entry {position}: expected "image" and "annotations", got {str(entry)[:80]}',
                         'image dropped')
            continue
        image, annotations = parts
        empty = rows.Row(f'{path}: image {image[:200]!r}', number, image, (0, 0), '', None)
        if not annotations:
            yield empty
        for annotation in annotations:
            number += 1
            where = f'{path}: annotation {number}: {image[:200]}'
            label, values = _object(annotation)
            if not label or values is None:
                problems.add(f'{where}: expected a label and coordinates of {", ".join(_SIDES)}, got '
                             f'{str(annotation)[:80]}', 'object dropped')
                yield empty
                continue
            class_files.check_length(label, where)
            x, y, width, height = values
            corners = x - width / 2, y - height / 2, x + width / 2, y + height / 2
            yield empty._replace(where=where, line=number, label=label, corners=corners)


def _object(annotation):
    """Class and x, y, width, height of the centre and size of an annotation; '' or None for what is missing."""
    label, place = _of(annotation, _LABEL), _of(annotation, ('coordinates',))
    values = [_of(place, (side,)) for side in _SIDES]
    name = printable.clean_name(str(label)) if isinstance(label, (str, int)) else ''
    return name, values if all(map(annotated_files.is_number, values)) else None
