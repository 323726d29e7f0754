"""YOLO's annotation files without a data.yaml or a list: every image below a folder, with the text file it belongs to.

Label Studio exports images/, labels/ and classes.txt (or the names in notes.json), labelImg puts all side by side, and
many sets have Ultralytics' images/train and labels/train but no yaml. Lines and repairs are those of ``darknet``.
"""
from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence

from yolov3_tf import regular_file
from yolov3_tf.data.readers import class_files, darknet, faults, image_lookup, kitti, lists
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

# Files of class names, in the order they are searched; Label Studio's notes and Roboflow's darknet export among them.
NAME_FILES = (*lists.NAME_FILES, 'labels.txt', '_darknet.labels', 'notes.json', 'names.txt',
              'predefined_classes.txt')
PARENTS = 2                     # folders above that of the images which may hold the class file: images/train
_LABEL_FOLDERS = ('labels', 'label', 'txt', 'annotations', 'annotation', 'labels_yolo', 'yolo_labels', 'yolo', 'bboxes',
                  'bbox', 'boxes')
_NAME_FOLDERS = *_LABEL_FOLDERS, 'data'     # labelImg writes classes.txt beside the annotation files
_LINE = re.compile(r'\S.*?((?:\s+[-+.\deE]+){4,})\s*')


def read(folder: str, names: str | None = None, classes: Sequence[str] | None = None, strict: bool = False) -> Dataset:
    """Reads all images below a folder, in the order of their paths.

    The annotation file is searched as ``darknet`` does, then in a folder ``labels`` of any letter case beside that of
    the images.

    Args:
      folder: of the images.
      names: class file, or a JSON file of Label Studio; None takes the first of ``NAME_FILES`` in the folder or up to
        two above it.
      classes: names in order, as for ``darknet.read``.
      strict: stop at the first fault instead of repairing or dropping.

    Raises:
      InputError: there is no such folder or no image in it, or ``darknet.read_images`` would.
    """
    if not os.path.isdir(folder):
        raise InputError(f'{folder}: no such folder; expected one with images')
    images = {os.path.relpath(path, folder): path for path in image_lookup.Images(folder).paths}
    if not images:
        raise InputError(f'{folder}: no image in it')
    return darknet.read_images(images, own_names(folder, names), classes, faults.Problems(strict), folder,
                               annotation_files(images.values()))


def own_names(folder: str, names: str | None = None) -> list[str] | None:
    """Class names of a folder: of the file ``names``, or of one that is found; None where there is none."""
    file = names or class_file(folder)
    if file is None or not file.endswith('.json'):
        return class_files.read_class_file(file) if file else None
    try:
        with open(file, encoding='utf-8-sig', opener=regular_file.opener) as opened:
            content = json.load(opened)
        entries = sorted((int(entry['id']), str(entry['name'])) for entry in content['categories'])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f'{file}: expected the notes of Label Studio, with "categories" of id and name '
                         f'({error})') from None
    if [number for number, _ in entries] != list(range(len(entries))) or not entries:
        raise InputError(f'{file}: expected categories numbered from 0 without a gap')
    return [name for _, name in entries]


def class_file(folder: str, parents: int = PARENTS) -> str | None:
    """The class file that belongs to a folder of images: in it or in one of the folders above."""
    here = folder
    for _ in range(parents + 1):
        inside = [name for name in _listing(here) if name.lower() in _NAME_FOLDERS]
        for place in (here, *(os.path.join(here, name) for name in inside)):
            for name in NAME_FILES:
                path = os.path.join(place, name)
                if os.path.isfile(path) and not holds_boxes(path):
                    return path
        single = [name for name in _listing(here) if name.endswith(('.names', '_classes.txt'))]
        if len(single) == 1:
            return os.path.join(here, single[0])
        here = os.path.dirname(here) or '.'
    return None


def annotation_files(images: Iterable[str]) -> dict[str, str]:
    """{image: its text file} of those images that have one."""
    folders: dict[str, list[str]] = {}          # folder -> those in it that may hold annotations
    found = ((image, _annotation_file(image, folders)) for image in images)
    return {image: path for image, path in found if path}


def _annotation_file(image, folders):
    found = next((path for path in darknet.annotation_files(image) if os.path.isfile(path)), None)
    if found:
        return found
    parts = os.path.splitext(image)[0].split(os.sep)
    for at in range(len(parts) - 2, -1, -1):
        if parts[at].lower() not in image_lookup.IMAGE_FOLDERS:
            continue
        above = os.sep.join(parts[:at]) or (os.sep if at else '.')
        if above not in folders:
            folders[above] = sorted((name for name in _listing(above) if name.lower() in _LABEL_FOLDERS),
                                    key=lambda name: _LABEL_FOLDERS.index(name.lower()))
        paths = [os.path.join(above, name, *parts[at + 1:]) + '.txt' for name in folders[above]]
        found = next(filter(os.path.isfile, paths), None)
        if found:
            return found
    return None


def holds_boxes(path: str) -> bool | None:
    """Whether a text file has lines of YOLO's: a class and fractions; None where it is empty."""
    try:
        with open(path, 'rb', opener=regular_file.opener) as file:
            text = file.read(4096).decode('utf-8', 'replace')
    except OSError:
        return False
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    match = _LINE.fullmatch(lines[0])
    if match is None or kitti.is_line(lines[0]):
        return False
    try:
        return all(-1 <= float(number) <= 2 for number in match.group(1).split()[-4:])
    except ValueError:
        return False


def _listing(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
