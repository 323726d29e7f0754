"""Detections as files that other programs read: VOC's comp4 text, the VOC server's tar, COCO results JSON.

comp4 (VOC development kit): one file a class, ``comp4_det_SET_CLASS.txt``, one detection a line,
``id score xmin ymin xmax ymax``, corners 1-based and inclusive. Nine digits restore every float32 exactly.
COCO: a list of {"image_id", "category_id", "bbox": [x, y, width, height], "score"}, corners 0-based.

Real files have boxes whose far corner lies before the near one: darknet clips x1, y1, x2, y2 to the image one by one.
The VOC kit finds no overlap with such a box, so each is a false positive; here they are boxes without area, which
overlap nothing either.
"""
from __future__ import annotations

import io
import itertools
import json
import math
import os
import pathlib
import re
import tarfile
from collections.abc import Iterator, Sequence

import numpy as np

from yolov3_tf import collector
from yolov3_tf.data.readers import coco, texts
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, Detections

COMP4_FILE = re.compile(r'comp[34]_det_.+_.+\.txt')
COLUMNS = 'id score xmin ymin xmax ymax'
LONGEST_IN_TAR = 100        # bytes of a file's name (POSIX 1003.1 ustar); its folder has a field of its own

Row = tuple[str, int, float, list[float]]    # image id, class, score, x1 y1 x2 y2


def comp4_files(detections: Sequence[Detections], class_names: Sequence[str],
                image_set: str = 'test') -> Iterator[tuple[str, str]]:
    """Yields the name and text of each class's comp4 file; without detections the text is empty, as the kit wants.

    A slash in a class name becomes ``_``, since the name is part of a file name.

    Raises:
      InputError: two classes would have one file.
    """
    lines: list[list[str]] = [[] for _ in class_names]
    for found in detections:
        inclusive = np.asarray(found.boxes, np.float64).reshape(-1, 4) + np.array([1, 1, 0, 0])
        for box, score, class_id in zip(inclusive.tolist(), found.scores, found.classes):
            lines[class_id].append(' '.join([found.image_id, f'{score:.9g}', *(f'{x:.9g}' for x in box)]) + '\n')
    for name, text in zip(_file_names(class_names), lines):
        yield f'comp4_det_{image_set}_{name}.txt', ''.join(text)


def _file_names(class_names):
    """The class names as parts of file names."""
    names = [re.sub(r'[/\\\0]', '_', name) for name in class_names]
    if len(set(names)) < len(names):
        double = next(name for index, name in enumerate(names) if name in names[:index])
        several = [name for name, file in zip(class_names, names) if file == double]
        raise InputError(f'the classes {" and ".join(map(repr, several))} would have one file, because slashes become '
                         '"_" in file names: rename one')
    return names


def write_voc(folder: str | os.PathLike, detections: Sequence[Detections], class_names: Sequence[str],
              image_set: str = 'test') -> list[pathlib.Path]:
    """Writes one comp4 file for each class into the folder, which is created if needed; returns their paths."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in comp4_files(detections, class_names, image_set):
        paths.append(folder / name)
        paths[-1].write_bytes(text.encode('utf-8'))
    return paths


def write_submission(path: str | os.PathLike, detections: Sequence[Detections], class_names: Sequence[str],
                     year: str = 'VOC2012', image_set: str = 'test') -> pathlib.Path:
    """Writes the tar file that the VOC server accepts, ``results/YEAR/Main/comp4_det_SET_CLASS.txt``.

    Equal detections give equal files, because owner, mode and time of every member are fixed. A name of more than 100
    bytes (a class name in Cyrillic of 50 letters) needs GNU's extension of the format.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    files = list(comp4_files(detections, class_names, image_set))
    plain = all(len(name.encode()) <= LONGEST_IN_TAR for name, _ in files)
    with tarfile.open(path, 'w', format=tarfile.USTAR_FORMAT if plain else tarfile.GNU_FORMAT) as archive:
        for name, text in files:
            content = text.encode('utf-8')
            member = tarfile.TarInfo(f'results/{year}/Main/{name}')    # owner 0, mode 644, time 0
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def read_voc(folder: str | os.PathLike, dataset: Dataset, notes: list[str] | None = None) -> list[Detections]:
    """Reads comp3 or comp4 files of any detector; returns one item for each image that has detections.

    A class without a file has no detections. Scores may have any range; only their order counts.

    Args:
      notes: gets a sentence about classes without a file, and about boxes without area.

    Raises:
      InputError: the folder has no such file, a file of a class that the data does not have, or two files of
        one class; or a line is not the id of a known image and five finite numbers (with file and line).
    """
    files = _class_files(pathlib.Path(folder), dataset.class_names)
    known = {record.image_id for record in dataset.records}
    rows, empty = [], _EmptyBoxes()
    for class_id, path in files.items():
        for number, line in enumerate(_text(path).splitlines(), start=1):
            if line.strip():
                rows.append(_comp4_row(line, class_id, known, f'{path}:{number}', empty))
    missing = [name for class_id, name in enumerate(dataset.class_names) if class_id not in files]
    if notes is not None:
        which = 'class, which counts' if len(missing) == 1 else 'classes, which count'
        notes += [f'{folder}: no file of {len(missing)} {which} as without detections: '
                  f'{", ".join(missing)}'] * bool(missing) + empty.notes()
    return _by_image(rows)


def write_coco(path: str | os.PathLike, detections: Sequence[Detections],
               category_ids: Sequence[int | None] | None = None) -> pathlib.Path:
    """Writes COCO results, one detection on a line.

    ``category_ids``: COCO's number of each class, or 1, 2, ...; detections of a class whose number is None
    are left out, because programs that read the file would refuse them.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: list[str] = []
    encode = json.JSONEncoder(allow_nan=False).encode           # json.dumps would make one for each detection
    for found in detections:
        rows += map(encode, found.to_coco(category_ids=category_ids))
    path.write_text('[' + ',\n'.join(rows) + ']\n', encoding='utf-8')
    return path


def read_coco(path: str | os.PathLike, dataset: Dataset,
              category_ids: Sequence[int] | None = None, notes: list[str] | None = None) -> list[Detections]:
    """Reads COCO results of any detector; returns one item for each image that has detections.

    Args:
      path: results JSON.
      dataset: the data that the detections were made on.
      category_ids: COCO's number of each class (``read_category_ids``); by default 1, 2, ...
      notes: gets a sentence about boxes without area.

    Raises:
      InputError: the file is not a list of detections; or an entry has an unknown image or category, or lacks
        a box of four finite numbers and a finite score (with the number of the entry, counted from 0).
    """
    path = pathlib.Path(path)
    with collector.paused():
        entries = _json(path)
    if not isinstance(entries, list):
        raise InputError(f'{path}: expected a list of detections as COCO defines results, '
                         f'got a JSON {type(entries).__name__}')
    ids = category_ids if category_ids is not None else range(1, len(dataset.class_names) + 1)
    class_ids = {number: class_id for class_id, number in enumerate(ids)}
    known = {record.image_id for record in dataset.records}
    empty = _EmptyBoxes()
    with collector.paused():
        columns = _coco_columns(entries, class_ids, known)
        if columns is None:         # the slow way, which also says what is wrong
            rows = [_coco_row(entry, class_ids, known, f'{path}: entry {index}', empty)
                    for index, entry in enumerate(entries)]
            found = _by_image(rows)
        else:
            found = _grouped(columns, empty, lambda index: f'{path}: entry {index}: bbox {entries[index]["bbox"]}')
    if notes is not None:
        notes += empty.notes()
        notes += [] if entries else [f'{path}: the list of detections is empty']
    return found


def read_category_ids(path: str | os.PathLike, class_names: Sequence[str],
                      partly: bool = False) -> list[int | None]:
    """COCO's number of each class from the ``categories`` of an instances file.

    Args:
      partly: return None for a class that the file does not know, instead of raising.

    Raises:
      InputError: the file has no categories, or no category of one of the names.
    """
    content = _json(pathlib.Path(path))
    entries = content.get('categories') if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise InputError(f'{path}: expected COCO\'s instances, "categories" with an id and a name each, got '
                         f'{_short(content)}')
    annotations = content.get('annotations')
    found = coco.categories(str(path), entries, annotations if isinstance(annotations, list) else ())
    numbers: dict[str, int] = {}
    for number, name in found.names.items():
        numbers.setdefault(name, number)
    missing = [name for name in class_names if name not in numbers]
    if missing and not partly:
        raise InputError(f'{path}: no category named {missing[0]!r}: expected one of {", ".join(numbers)}')
    return [numbers.get(name) for name in class_names]


def _class_files(folder, class_names) -> dict[int, pathlib.Path]:
    """Class id -> its comp4 file."""
    if not folder.is_dir():
        raise InputError(f'{folder}: expected a folder with comp4_det_SET_CLASS.txt files, got '
                         f'{"a file" if folder.exists() else "nothing"}')
    class_ids = {name: class_id for class_id, name in enumerate(class_names)}
    files: dict[int, pathlib.Path] = {}
    for path in sorted(folder.iterdir()):
        if COMP4_FILE.fullmatch(path.name):
            names = [name for name, file in zip(class_names, _file_names(class_names))
                     if path.stem.endswith(f'_{file}')]
            if not names:
                raise InputError(f'{path}: unknown class: expected a name that ends with one of '
                                 f'{", ".join(class_names)}')
            class_id = class_ids[max(names, key=len)]
            if class_id in files:
                raise InputError(f'{path}: a second file of class {class_names[class_id]!r} beside '
                                 f'{files[class_id].name}: expected one image set; move the others away')
            files[class_id] = path
    if not files:
        raise InputError(f'{folder}: expected comp4_det_SET_CLASS.txt files, got none')
    return files


class _EmptyBoxes:
    """Boxes whose far corner is not beyond the near one: counts them and makes them boxes without area."""

    def __init__(self):
        self.count, self.first = 0, ''

    def made(self, box, where):
        """The box x1, y1, x2, y2 with a width and height of 0 or more."""
        if box[0] < box[2] and box[1] < box[3]:
            return box
        self.count += 1
        self.first = self.first or where
        return [box[0], box[1], max(box[2], box[0]), max(box[3], box[1])]

    def notes(self):
        """A sentence about them, if there are any."""
        if not self.count:
            return []
        return [f'{self.count} {"boxes have" if self.count > 1 else "box has"} no area, because the far corner is not '
                f'beyond the near one: {self.first}; each counts as a false positive, as in the VOC kit']


def _comp4_row(line, class_id, known, where, empty) -> Row:
    name, *columns = line.rsplit(None, 5)    # from the right, because an image's name may contain a space
    numbers = _finite(columns)
    if numbers is None or len(numbers) != 5:
        raise InputError(f'{where}: expected six columns, {COLUMNS}, the last five finite numbers, '
                         f'got {line.strip()!r}')
    if name.strip() not in known:
        raise InputError(f'{where}: unknown image {name.strip()!r}: expected {COLUMNS} with the id of an '
                         'image of the data; give the split the file was made on')
    score, x1, y1, x2, y2 = numbers
    return name.strip(), class_id, score, empty.made([x1 - 1, y1 - 1, x2, y2], f'{where}: {line.strip()}')


def _coco_row(entry, class_ids, known, where, empty) -> Row:
    if not isinstance(entry, dict) or not {'image_id', 'category_id', 'bbox', 'score'} <= set(entry):
        raise InputError(f'{where}: expected image_id, category_id, bbox and score, got {_short(entry)}')
    image_id = str(entry['image_id'])
    image_id = image_id if image_id in known else str(coco.as_id(entry['image_id']))
    if image_id not in known:
        raise InputError(f'{where}: unknown image_id {entry["image_id"]!r}: expected an image of the data; '
                         'give the split the file was made on')
    category_id = entry['category_id']
    category_id = category_id if type(category_id) is int else coco.as_id(category_id)
    if category_id not in class_ids:
        raise InputError(f'{where}: unknown category_id {entry["category_id"]!r}: expected one of '
                         f'{", ".join(map(str, class_ids))}')
    box, score = entry['bbox'], entry['score']
    numbers = _finite([*box, score]) if isinstance(box, list) and len(box) == 4 else None
    if numbers is None:
        raise InputError(f'{where}: expected bbox [x, y, width, height] and score as finite numbers, '
                         f'got bbox {_short(box)}, score {_short(score)}')
    x, y, width, height, score = numbers
    return image_id, class_ids[category_id], score, empty.made([x, y, x + width, y + height], f'{where}: bbox {box}')


def _coco_columns(entries, class_ids, known):
    """Image ids, classes [n], scores [n] and boxes x1, y1, x2, y2 [n, 4] of entries as programs write them, else None.

    What is no plain whole number, text or number, and whatever is wrong, is left to ``_coco_row``.
    """
    if not entries or set(map(type, entries)) != {dict}:
        return None
    try:
        ids, numbers, boxes, scores = ([entry[name] for entry in entries]
                                       for name in ('image_id', 'category_id', 'bbox', 'score'))
    except KeyError:
        return None
    plain = {int, float}
    if set(map(type, ids)) not in ({int}, {str}) or set(map(type, numbers)) != {int} \
            or set(map(type, boxes)) != {list} or set(map(len, boxes)) != {4}:
        return None
    flat = list(itertools.chain.from_iterable(boxes))
    if not plain.issuperset(map(type, flat)) or not plain.issuperset(map(type, scores)):
        return None
    names = {image_id: str(image_id) for image_id in set(ids)}
    if not known.issuperset(names.values()) or not class_ids.keys() >= set(numbers):
        return None
    try:
        corners, values = np.array(flat, np.float64).reshape(-1, 4), np.array(scores, np.float64)
    except OverflowError:
        return None
    if not (np.isfinite(corners).all() and np.isfinite(values).all()):
        return None
    with np.errstate(over='ignore'):
        corners[:, 2:] += corners[:, :2]
    classes = np.array([class_ids[number] for number in numbers], np.int32)
    return [names[image_id] for image_id in ids], classes, values, corners


def _grouped(columns, empty, where) -> list[Detections]:
    """As ``_by_image``, from ``_coco_columns``; ``where``: number of a row -> where it is, for ``empty``."""
    image_ids, classes, scores, boxes = columns
    bad = np.flatnonzero(~(boxes[:, :2] < boxes[:, 2:]).all(axis=1))
    if len(bad):
        empty.count, empty.first = empty.count + len(bad), empty.first or where(int(bad[0]))
        boxes[bad, 2:] = np.maximum(boxes[bad, 2:], boxes[bad, :2])
    numbers: dict[str, int] = {}
    rows = np.array([numbers.setdefault(image_id, len(numbers)) for image_id in image_ids], np.int64)
    order = np.argsort(rows, kind='stable')
    ends = np.cumsum(np.bincount(rows))[:-1]
    with np.errstate(over='ignore'):
        sorted_ = [column[order] for column in (boxes.astype(np.float32), scores.astype(np.float32), classes)]
    parts = zip(numbers, *(np.split(column, ends) for column in sorted_))
    return [Detections(name, own, values, ids) for name, own, values, ids in parts]


def _finite(values) -> list[float] | None:
    """The values as floats, or None if one of them is not a finite number."""
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError):      # the last: a whole number of 400 digits
        return None
    return numbers if all(map(math.isfinite, numbers)) else None


def _by_image(rows: list[Row]) -> list[Detections]:
    """Groups the rows by image; images and rows keep the order in which they first occur."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row[0], []).append(row)
    return [Detections(name, boxes=np.array([row[3] for row in group], np.float32),
                              scores=np.array([row[2] for row in group], np.float32),
                              classes=np.array([row[1] for row in group], np.int32))
            for name, group in groups.items()]


def _text(path) -> str:
    if not path.is_file():
        raise InputError(f'{path}: expected a file, got '
                         f'{"a folder" if path.is_dir() else "a pipe or a device" if path.exists() else "nothing"}')
    try:
        return texts.decode(path.read_bytes())
    except texts.UnknownCoding as error:
        raise InputError(f'{path}:{error.line}: {error}') from error
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from error


def _json(path):
    try:
        return json.loads(_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f'{path}:{error.lineno}: expected JSON, got at column {error.colno}: '
                         f'{error.msg}') from error
    except (ValueError, RecursionError) as error:       # numbers of thousands of digits, deep nesting
        raise InputError(f'{path}: not readable as JSON ({error})') from error


def _short(value):
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + '...'
