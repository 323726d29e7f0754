"""TFRecord shards: images with their annotations in a few large files, for object stores and clusters.

A record is a tf.train.Example with the keys of the Object Detection API (``image/encoded``,
``image/object/bbox/xmin`` ..., ``image/object/class/text``), so that other programs read ours and theirs are read
here. Theirs hold boxes as fractions of the image; ours also hold the boxes' exact pixels (``PIXELS``), so that
Records read back as they were written. Class names are in ``classes.names`` beside the shards.

Annotations are read once at the start; the images stay in the shards, and the pipeline reads each from its
location (``image_files.Location``). All files are opened through ``tf.io.gfile``: gs:// and the like work where
TensorFlow has the file system. Compressed shards have no such locations and are refused.
"""
from __future__ import annotations

import collections
import io
import os
import re
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import tensorflow as tf

from yolov3_tf.data import image_files, image_formats
from yolov3_tf.data.readers import class_files, faults, headers, lists
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

PIXELS = 'image/object/bbox/pixels'
_SIDES = 'xmin', 'ymin', 'xmax', 'ymax'
_BOX = 'image/object/bbox/'
IMAGES_PER_SHARD = 1000
_NUMBERED = re.compile(r'(.*)-(\d{5,})-of-(\d{5,})\D*', re.DOTALL)
MOST_RECORD = 1 << 28   # bytes of a record's contents: an image and its boxes
_FRAMING = 16           # bytes around a record's contents: length, its check sum, the contents' check sum


class Written(NamedTuple):
    """Shards that were written, the pattern that names them all, and why images were left out."""
    paths: list[str]
    pattern: str
    left_out: list[str]


def read(pattern: str, classes: Sequence[str] | None = None, strict: bool = False) -> Dataset:
    """Reads the annotations of all shards that a pattern names, in the order of the files' names.

    Args:
      pattern: of file names, ``data/train-*.tfrecord`` (``tf.io.gfile.glob``).
      classes: names in order; None takes ``classes.names`` beside the shards, else the rule of
        ``class_files.resolve_classes``.
      strict: stop at the first fault instead of repairing or dropping.

    Raises:
      InputError: no file, no usable record, or a class that is not among the names.
    """
    try:
        paths = sorted(tf.io.gfile.glob(pattern))
    except UnicodeDecodeError:
        raise InputError(f'{pattern}: the name of a file there is not UTF-8: rename it') from None
    except tf.errors.OpError as error:
        raise InputError(f'{pattern}: cannot be listed ({str(error.message).splitlines()[0][:200]})') from None
    if not paths:
        raise InputError(f'{pattern}: no such files; expected TFRecord shards, such as data/train-*.tfrecord')
    problems = faults.Problems(strict)
    if len(paths) > 1:          # one named alone is meant alone
        _name_missing(paths, problems)
    read_ones = [_annotated(location, example, shard, problems)
                 for path in paths for location, shard, example in _examples(path, problems)]
    read_ones = [one for one in read_ones if one]
    if not read_ones:
        first = ([*problems.messages, 'they are empty'])[0]
        raise InputError(f'{pattern}: no usable record in {len(paths)} files; the first problem: {first}')
    names = _class_names(os.path.dirname(paths[0]), read_ones, classes)
    index = {name: number for number, name in enumerate(names)}
    records = {}
    for one in read_ones:
        image_id = one.image_id if one.image_id and one.image_id not in records else one.name
        objects = [(box, index[name], *rest) for box, name, *rest in one.objects]
        records[image_id] = faults.record(str(one.location), image_id, one.width, one.height, objects,
                                          one.location.file)._replace(kind=one.kind, orientation=one.orientation)
    return Dataset(list(records.values()), names, problems.messages)


def write(dataset: Dataset, prefix: str, count: int | None = None) -> Written:
    """Writes a set as shards ``PREFIX-00000-of-00004.tfrecord`` and ``classes.names`` beside them.

    A record takes the image's bytes as they are; Records of unknown size get the image's own. Records
    stay in order, so the shards read back as the same set. A shard appears under its name when it is complete.

    Args:
      dataset: ``Dataset``; images that cannot be used are left out.
      prefix: folder and start of the names; the folder is made where it is missing.
      count: shards, at most one an image; None makes one for every ``IMAGES_PER_SHARD`` images.

    Raises:
      InputError: there are shards of this prefix already, other class names beside them, or no usable image.
    """
    count = min(count or -(-len(dataset.records) // IMAGES_PER_SHARD), max(len(dataset.records), 1))   # none empty
    pattern, folder = f'{prefix}-*.tfrecord', os.path.dirname(prefix)
    if not os.path.basename(prefix):
        raise InputError(f'{prefix}: expected a folder and the start of the shards\' names, such as data/train')
    try:
        there = tf.io.gfile.glob(pattern)
        if there:
            raise InputError(f'{there[0]} is there already: remove the shards {pattern}, or choose another prefix')
        if folder:
            tf.io.gfile.makedirs(folder)
        _write_names(os.path.join(folder, lists.CLASS_FILE), dataset.class_names)
        paths, left_out = [], []
        for number, part in enumerate(np.array_split(np.arange(len(dataset.records)), count)):
            path = f'{prefix}-{number:05d}-of-{count:05d}.tfrecord'
            left_out += _write_shard(path, [dataset.records[index] for index in part], dataset.class_names)
            paths.append(path)
    except tf.errors.OpError as error:
        raise InputError(f'{prefix}: cannot be written ({str(error.message).splitlines()[0][:200]})') from None
    if len(left_out) == len(dataset.records):
        raise InputError(f'none of the {len(left_out)} images can be used: {left_out[0]}')
    return Written(paths, pattern, left_out)


class _AnnotatedRecord(NamedTuple):
    """A record before class names have become indices; ``objects`` as ``faults.record`` takes them, with names.

    ``kind`` and ``orientation`` are those of ``Record``.
    """
    location: image_files.Location
    name: str
    image_id: str
    width: int
    height: int
    objects: list
    kind: str
    orientation: int


def _name_missing(paths, problems):
    """Notes missing shards, where the names hold how many there should be."""
    sets = collections.defaultdict(set)
    for path in paths:
        match = _NUMBERED.fullmatch(path)
        if match:
            sets[match.group(1), match.group(3)].add(int(match.group(2)))
    for (prefix, total), found in sets.items():
        missing = sorted(set(range(int(total))) - found)
        if missing:
            listed = ', '.join(map(str, missing[:10])) + (', ...' if len(missing) > 10 else '')
            problems.add(f'{prefix}-*-of-{total}: {len(missing)} of {int(total)} shards are not there (number '
                         f'{listed}): copy them here', 'their images are left out')


def _examples(path, problems):
    """Yields (``image_files.Location``, 'FILE: record N', Example) of a shard, up to the first damaged record."""
    offset, number = 0, 0
    if not tf.io.gfile.stat(path).length:
        problems.add(f'{path}: the file is empty: copy the shard again', 'shard dropped')
        return
    try:
        whole, place = _whole_records(path)
        for contents in tf.data.TFRecordDataset(path).take(whole).as_numpy_iterator():
            location = image_files.Location(path, offset, len(contents))
            offset += len(contents) + _FRAMING
            try:
                yield location, (path, number), tf.train.Example.FromString(contents)
            except Exception as error:
                if type(error).__name__ != 'DecodeError':
                    raise
                problems.add(f'{path}: record {number}: not a tf.train.Example', 'record dropped')
            number += 1
        if place is not None:
            problems.add(f'{path}: record {number} at byte {place}: damaged, or no uncompressed TFRecord: copy or '
                         'write the shard again', f'it and all behind it dropped, {number} records kept')
    except tf.errors.OpError as error:
        reason = image_files.first_line(error)[:120]
        problems.add(f'{path}: record {number} at byte {offset}: damaged, or no uncompressed TFRecord ({reason}): copy '
                     'or write the shard again', f'it and all behind it dropped, {number} records kept')


def _whole_records(path):
    """(number of records up to the first that the file cannot hold, where that one begins or None).

    TensorFlow takes the memory that a record says it has before it reads it: 2^60 bytes end the process.
    """
    size, place, number = tf.io.gfile.stat(path).length, 0, 0
    with tf.io.gfile.GFile(path, 'rb') as file:
        while place < size:
            file.seek(place)
            header = file.read(8)
            length = int.from_bytes(header, 'little')
            if len(header) < 8 or length > min(MOST_RECORD, size - place - _FRAMING):
                return number, place
            place, number = place + length + _FRAMING, number + 1
    return number, None


def _annotated(location, example, shard, problems):
    """The annotations of one Example, or None with the problem noted."""
    path, number = shard
    where, feature = f'{path}: record {number}', _Features(example)
    try:
        width, height = (feature.count(f'image/{side}') for side in ('width', 'height'))
        if not feature.has_bytes(image_files.ENCODED):
            raise _RecordFault(f'no image under {image_files.ENCODED}')
        corners = feature.corners(width, height)
        names = feature.names(len(corners))
        marks = [feature.marks(f'image/object/{name}', len(corners)) for name in ('difficult', 'is_crowd')]
        areas = feature.floats('image/object/area', len(corners)) if feature.has('image/object/area') else None
    except _RecordFault as fault:
        problems.add(f'{where}: {fault}', 'record dropped')
        return None
    objects = []
    for row, corner in enumerate(corners):
        box = faults.repair(f'{where}: object {row + 1}', corner, width, height, problems)
        if box is not None:
            area = areas[row] if areas and 0 < areas[row] < 2 ** 48 else None
            objects.append((box, names[row], marks[0][row], marks[1][row], area, number))
    stem = os.path.splitext(os.path.basename(path))[0]
    image_id = feature.text('image/source_id') or os.path.splitext(feature.text('image/filename'))[0]
    header = headers.read(io.BytesIO(feature.encoded()))
    turned = 0 if header is None else 1 if header.orientation == 1 else -1
    return _AnnotatedRecord(location, f'{stem}-{number}', image_id, width, height, objects,
                            header.kind if header else '', turned)


class _RecordFault(Exception):
    """A record that cannot be used; the text is the reason."""


class _Features:
    """The features of an Example by name; whatever their type, only what is asked for is taken."""

    def __init__(self, example):
        self.feature = example.features.feature

    def has(self, name):
        return name in self.feature

    def has_bytes(self, name):
        return self.has(name) and any(self.feature[name].bytes_list.value)

    def encoded(self):
        return self.feature[image_files.ENCODED].bytes_list.value[0]

    def text(self, name):
        values = self._texts(name)
        return values[0] if values else ''

    def count(self, name):
        values: Sequence[int] = self.feature[name].int64_list.value if self.has(name) else ()
        if len(values) != 1 or not 0 <= values[0] < 2 ** 24:
            raise _RecordFault(f'expected {name} as one whole number of pixels, got {list(values)[:4]}')
        return int(values[0])

    def floats(self, name, length):
        values = self.feature[name].float_list.value if self.has(name) else ()
        if len(values) != length:
            raise _RecordFault(f'expected {length} numbers under {name}, got {len(values)}')
        return list(values)

    def marks(self, name, length):
        values = self.feature[name].int64_list.value if self.has(name) else [0] * length
        if len(values) != length:
            raise _RecordFault(f'expected {length} marks under {name}, got {len(values)}')
        return [value == 1 for value in values]

    def corners(self, width, height):
        """x1, y1, x2, y2 in pixels, a tuple an object."""
        if self.has(PIXELS):
            values = self.feature[PIXELS].float_list.value
            if len(values) % 4:
                raise _RecordFault(f'expected four numbers an object under {PIXELS}, got {len(values)}')
            return [tuple(values[start:start + 4]) for start in range(0, len(values), 4)]
        length = len(self.feature[_BOX + 'xmin'].float_list.value) if self.has(_BOX + 'xmin') else 0
        if not length:
            return []
        lefts, tops, rights, bottoms = (self.floats(_BOX + side, length) for side in _SIDES)
        if not (width and height):
            raise _RecordFault('boxes are fractions of the image, but its size is 0')
        return [(x1 * width, y1 * height, x2 * width, y2 * height)
                for x1, y1, x2, y2 in zip(lefts, tops, rights, bottoms)]

    def names(self, length):
        """Class of each object: its name, or its class id from 0 where there are no names."""
        texts = self._texts('image/object/class/text')
        if len(texts) == length:
            return texts
        numbers = list(self.feature['image/object/class/label'].int64_list.value)
        if texts or len(numbers) != length:
            raise _RecordFault(f'expected {length} class names or class ids, got {len(texts)} and {len(numbers)}')
        return [number - 1 for number in numbers]

    def _texts(self, name):
        values = self.feature[name].bytes_list.value if self.has(name) else ()
        try:
            return [value.decode('utf-8').strip() for value in values]
        except UnicodeDecodeError:
            raise _RecordFault(f'expected UTF-8 text under {name}') from None


def _class_names(folder, read_ones, classes):
    """Names of the set; turns the classes of the objects that are numbers into names."""
    if classes is None and tf.io.gfile.exists(os.path.join(folder, lists.CLASS_FILE)):
        classes = class_files.read_class_file(os.path.join(folder, lists.CLASS_FILE), tf.io.gfile.GFile)
    found: dict[str, str] = {}      # name -> file and record of its first object
    for one in read_ones:
        for position, (box, name, *rest) in enumerate(one.objects):
            if isinstance(name, int):
                if classes is None or not 0 <= name < len(classes):
                    raise InputError(f'{one.location.file}: record {rest[-1]}: class id {name + 1}, but '
                                     + (f'there are {len(classes)} class names' if classes else 'no class names are '
                                        'known; give them with --classes=FILE'))
                one.objects[position] = box, classes[name], *rest
            elif not name:
                raise InputError(f'{one.location.file}: record {rest[-1]}: an object has no class name')
            else:
                found.setdefault(name, f'{one.location.file}: record {rest[-1]}')
    return class_files.resolve_classes(found, classes)


def _write_names(path, class_names):
    text = ''.join(f'{name}\n' for name in class_names)
    if tf.io.gfile.exists(path):
        if class_files.read_class_file(path, tf.io.gfile.GFile) != list(class_names):
            raise InputError(f'{path} is there with other class names: choose another folder')
        return
    with tf.io.gfile.GFile(path, 'w') as file:
        file.write(text)


def _write_shard(path, records, class_names):
    """Writes one shard whole; returns why images were left out."""
    left_out = []
    with tf.io.TFRecordWriter(f'{path}.part') as writer:
        for record in records:
            why = image_files.explain(record.image_path, record.orientation)
            if why:
                left_out.append(why)
            else:
                writer.write(_example(record, class_names).SerializeToString(deterministic=True))
    tf.io.gfile.rename(f'{path}.part', path)
    return left_out


def _example(record, class_names):
    contents = _upright_contents(record)
    header = headers.read(io.BytesIO(contents)) or _decoded(contents)
    width, height = record.width or header.width, record.height or header.height
    name = os.path.basename(image_files.location_of(record.image_path).file)
    fractions = record.boxes / np.array([width, height] * 2, np.float32)
    features = {
        image_files.ENCODED: [contents], 'image/format': [header.kind.lower().encode()],
        'image/filename': [name.encode()], 'image/source_id': [record.image_id.encode()],
        'image/width': [width], 'image/height': [height], PIXELS: record.boxes.ravel(),
        **{_BOX + side: column for side, column in zip(_SIDES, fractions.T)},
        'image/object/class/text': [class_names[index].encode() for index in record.classes],
        'image/object/class/label': [int(index) + 1 for index in record.classes],
        'image/object/difficult': record.difficult.astype(int).tolist(),
        'image/object/is_crowd': record.crowd.astype(int).tolist(), 'image/object/area': record.areas}
    return tf.train.Example(features=tf.train.Features(feature={key: _feature(values)
                                                                for key, values in features.items()}))


def _upright_contents(record):
    """The image's bytes; of one that EXIF turns, and whose boxes are upright, those of the upright image as JPEG."""
    if record.orientation <= 1:
        return image_files.read_contents(record.image_path)
    pixels = image_files.read_image(record.image_path, record.orientation)
    return cv2.imencode('.jpg', pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()


def _decoded(contents):
    """The header of an image whose own is not understood, from its pixels."""
    height, width, channels = tf.io.decode_image(contents, channels=3, expand_animations=False).shape
    return headers.Header(image_formats.name_of(contents) or '', width, height, channels, 8)


def _feature(values):
    if isinstance(values, np.ndarray):
        return tf.train.Feature(float_list=tf.train.FloatList(value=values.tolist()))
    if values and isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
