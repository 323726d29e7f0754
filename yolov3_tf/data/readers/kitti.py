"""KITTI: a text file an image, a line an object with its box in pixels and its place in space.

    Car 0.00 0 -1.58 587.01 173.33 614.12 200.12 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59

The fields are type, truncated, occluded, alpha, the box x1 y1 x2 y2, height, width and length, x y z, rotation and
perhaps a score (readme.txt of the development kit of the object benchmark, https://www.cvlibs.net/datasets/kitti). The
box is read as it is written. Regions of type ``DontCare`` are no objects: they are left out and counted.
"""
from __future__ import annotations

import collections
import os
from collections.abc import Sequence

from yolov3_tf import regular_file
from yolov3_tf.data.readers import annotated_files, class_files, faults, xml_folder
from yolov3_tf.data.readers.annotated_files import Content, Item
from yolov3_tf.data.readers.texts import is_number
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

ENDING = '.txt'
FIELDS = 15, 16             # without and with score
DONT_CARE = 'dontcare'
_BOX = slice(4, 8)
_LONGEST = 1000             # characters of a first line


def read(folder: str, image_folder: str | None = None, classes: Sequence[str] | None = None, strict: bool = False
         ) -> Dataset:
    """Reads all of KITTI's annotation files below a folder, in the order of their paths; folders of other texts
    (calib/) are left out.

    Args: as ``xml_folder.read``.

    Raises:
      InputError: a folder is missing or has no text file, no image is usable, a class is not among ``classes``, or,
        under ``strict``, an annotation is faulty.
    """
    files = _of_boxes(xml_folder.annotation_files(folder, ENDING))
    left_out = [0]

    def parse_one(path, problems):
        content, ignored = parse(path, problems)
        left_out[0] += ignored
        return content

    dataset = annotated_files.read(files, parse_one, '{}:{}: object', folder, image_folder, classes, strict)
    notes = [f'{folder}: regions DontCare are no objects: {left_out[0]} left out'] if left_out[0] else []
    return dataset._replace(notes=[*dataset.notes, *notes])


def parse(path: str, problems: faults.Problems) -> tuple[Content, int]:
    """The content of an annotation file, and its regions that are no objects; wrong lines are noted.

    Raises:
      InputError: it cannot be read, or none of its lines is KITTI's.
    """
    items, ignored, faulty = [], 0, []
    for number, line in class_files.read_lines(path):
        fields = line.split()
        if not is_line(line):
            faulty.append(f'{path}:{number}: expected a type and 14 numbers, got {line[:80]!r}')
        elif fields[0].lower() == DONT_CARE:
            ignored += 1
        else:
            x1, y1, x2, y2 = map(float, fields[_BOX])
            items.append(Item(number, fields[0], (x1, y1, x2, y2)))
    if faulty and not items and not ignored:
        raise InputError(faulty[0])
    for fault in faulty:
        problems.add(fault, 'line dropped')
    return Content(items), ignored


def _of_boxes(paths):
    """The paths in folders where a file begins with an object; all of them where there is no such folder."""
    folders = collections.defaultdict(list)
    for path in paths:
        folders[os.path.dirname(path)].append(path)
    kept = [path for files in folders.values() if any(map(_begins_with_object, files)) for path in files]
    return kept or paths


def _begins_with_object(path):
    try:
        with open(path, 'rb', opener=regular_file.opener) as file:
            return is_line(file.readline(_LONGEST).decode('utf-8', 'replace'))
    except OSError:
        return False


def is_line(line: str) -> bool:
    """Whether a line of text is an object of KITTI's: a type, which is no number, and 14 or 15 numbers."""
    fields = line.split()
    return len(fields) in FIELDS and not is_number(fields[0]) and all(map(is_number, fields[1:]))
