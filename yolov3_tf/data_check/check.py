"""Finds everything that is wrong or unusual in a data set, opening every image once.

The readers report each fault of an annotation by file and line. This module adds the faults that only the images show,
and those between annotations. A problem is something that training leaves out, repairs or learns twice; a note is
unusual but harmless.
"""
from __future__ import annotations

import collections
import hashlib
import io
import os
import re
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from yolov3_tf import atomic_file, orientation, rgb_images
from yolov3_tf.anchors import clusters
from yolov3_tf.data import image_files, network_sizes
from yolov3_tf.data.readers import faults, headers, lists
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

SMALLEST_IMAGE, LARGEST_IMAGE = 32, 8192    # pixels a side
# What ``readers.sizes`` writes about an image that is not of its annotated size.
_SIZES = re.compile(r'.+: annotated as \d+ x \d+, but (.+) has \d+ x \d+\b', re.DOTALL)
SMALLEST_BOX = 4.                           # pixels a side of the network input: half a cell of the finest level


class Kind(NamedTuple):
    """The kind of a finding: its title, and whether it is a problem or only a note."""
    title: str
    problem: bool


KINDS = {
    'useless': Kind('nothing to learn from', True),
    'annotation': Kind('faults of annotations (left out or repaired by the reader)', True),
    'unreadable': Kind('images that cannot be used', True),
    'size': Kind('annotated size differs from the image\'s', True),
    'copy': Kind('images with the same content', True),
    'double': Kind('objects annotated twice', True),
    'grey': Kind('grey images', False),
    'cmyk': Kind('CMYK images', False),
    'deep': Kind('more than 8 bits a channel, cut to 8', False),
    'extent': Kind('very small or large images', False),
    'speck': Kind('boxes that are very small in the network input', False),
    'reading': Kind('read in another way than it is written', False),
    'empty': Kind('images without objects', False),
    'class': Kind('classes without objects', False),
}


class Finding(NamedTuple):
    """One problem or note.

    Attributes:
      kind: a name in ``KINDS``.
      text: what is wrong and where, with file and line.
      position: of the record in the set; -1 where the finding belongs to no record.
    """
    kind: str
    text: str
    position: int = -1


class CheckReport(NamedTuple):
    """Attributes:
      findings: in the order of ``KINDS``, then of the set.
      headers: one for each image; None where it cannot be read.
      boxes, in_images: for each class the number of objects, and of images that contain it, int [C].
      sizes: float [n, 2] width, height of the boxes in the network input.
      quality: how well the anchors fit the boxes, None where there is no box.
    """
    findings: list[Finding]
    headers: list[headers.Header | None]
    boxes: np.ndarray
    in_images: np.ndarray
    sizes: np.ndarray
    quality: clusters.Quality | None

    @property
    def problems(self) -> list[Finding]:
        """The findings that are problems, not notes."""
        return [one for one in self.findings if KINDS[one.kind].problem]


def check(dataset: Dataset, anchors: ArrayLike, height: int, width: int, letterbox: bool,
          tiles: str = '') -> CheckReport:
    """Checks every record and its image.

    Args:
      dataset: as read without ``strict``.
      anchors: float [k, 2] or nested as ``Anchors.sizes``.
      height, width, letterbox: of the network input.
      tiles: images are seen in tiles too (``tiling.Tiling.tiles``); '' for whole images.

    """
    by_line = _index_of_lines(dataset)
    found = [_of_reader(text, by_line) for text in dataset.problems]
    found += [Finding('reading', text) for text in dataset.notes]
    boxes, in_images = np.zeros([2, len(dataset.class_names)], np.int64)
    seen: dict[bytes, int] = {}
    all_headers: list[headers.Header | None] = []
    for index, record in enumerate(dataset.records):
        header, more = _check_image(index, record, seen, dataset)
        all_headers.append(header)
        found += more
        found += _doubles(index, record, dataset.class_names)
        if header:
            found += _specks(index, record, header, dataset.class_names, height, width, letterbox, tiles)
        if not len(record.boxes):
            found.append(Finding('empty', f'{record.image_path}: no objects', index))
        held, counts = np.unique(record.classes, return_counts=True)
        boxes[held] += counts
        in_images[held] += 1
    found += [Finding('class', f'{name}: no objects') for name, count in zip(dataset.class_names, boxes) if not count]
    order = list(KINDS)
    try:
        sizes = network_sizes.of_boxes(dataset, height, width, letterbox, tiles)
    except InputError:
        sizes = np.zeros([0, 2])
        found.append(Finding('useless', f'none of the {len(dataset.records)} images has a box whose size is known'
                             if dataset.records else 'no image is left'))
    return CheckReport(sorted(found, key=lambda one: order.index(one.kind)), all_headers, boxes, in_images, sizes,
                       clusters.quality(sizes, anchors) if len(sizes) else None)


def summary(dataset: Dataset, report: CheckReport) -> str:
    """A few lines of text: the number of findings of each kind, the class balance, and how well the anchors fit."""
    counts = collections.Counter(one.kind for one in report.findings)
    lines = [f'{len(dataset.records)} images, {int(report.boxes.sum())} objects, {len(report.problems)} problems']
    lines += [f'  {counts[name]:6d}  {kind.title}{"" if kind.problem else " (note)"}' for name, kind in KINDS.items()
              if counts[name]]
    lines.append('classes: objects, images')
    lines += [f'  {count:6d} {images_with:6d}  {name}' for name, count, images_with in
              zip(dataset.class_names, report.boxes, report.in_images) if count]
    if report.quality:
        lines.append(f'anchors: average IoU {report.quality.average_iou:.4f}, best possible recall at IoU '
                     f'{clusters.COVERED:g} {100 * report.quality.recall:.2f} %')
    return '\n'.join(lines)


def text(report: CheckReport) -> str:
    """Every finding on a line of its own, below the title of its kind."""
    lines = []
    for name, kind in KINDS.items():
        found = [one for one in report.findings if one.kind == name]
        if found:
            lines += [f'{kind.title}: {len(found)}', *(f'  {one.text}' for one in found)]
    return '\n'.join(lines)


def write_fixed(path: str, dataset: Dataset, report: CheckReport) -> int:
    """Repairs all problems and writes the set as a list, with a file of class names in the same folder.

    Images that cannot be used and later copies are left out, repeated objects are written once, sizes are taken from
    the images and boxes are clipped to them. Images that EXIF turns stay, with the sizes and boxes of the upright ones
    (``write_upright`` writes these). Crowds are left out and the mark ``difficult`` is lost, because a list
    cannot hold them. Existing files are not changed.

    Returns:
      The number of images written.

    Raises:
      InputError: one of the files exists already, the images are in shards, which a list cannot name, or no image can
        be used.
    """
    names = os.path.join(os.path.dirname(path), lists.CLASS_FILE)
    for file in path, names:
        if os.path.lexists(file):
            raise InputError(f'{file} exists already and is not changed: choose another --fix, in a folder of its '
                             'own')
    if any(image_files.location_of(record.image_path).offset >= 0 for record in dataset.records):
        raise InputError('--fix: a list names files, but these images are in TFRecord shards: write it from the '
                         'data that the shards were made from')
    left_out = {one.position for one in report.findings if one.kind in ('unreadable', 'copy')}
    records = [_repaired(record, header) for index, (record, header) in enumerate(zip(dataset.records, report.headers))
               if index not in left_out]
    if not records:
        raise InputError('--fix: no image can be used')
    atomic_file.write_text(names, ''.join(f'{name}\n' for name in dataset.class_names))
    lists.write(path, records)
    return len(records)


def write_upright(folder: str, dataset: Dataset, report: CheckReport) -> tuple[str, int, int]:
    """As ``write_fixed``, into a folder, with upright copies of the images that EXIF turns: any program reads those.

    Writes ``list.txt``, ``classes.names``, and the copies below ``images``, JPEG of quality 92 or PNG. The other images
    stay where they are, and no existing file is changed.

    Returns:
      The list, the number of images on it, and how many of them are copies.

    Raises:
      InputError: as ``write_fixed``, or there is a folder ``images`` already.
    """
    images = os.path.join(folder, 'images')
    if os.path.lexists(images):
        raise InputError(f'{images} exists already and is not changed: choose another --fix')
    left_out = {one.position for one in report.findings if one.kind in ('unreadable', 'copy')}
    records, copies = list(dataset.records), 0
    for index, record in enumerate(records):
        if record.orientation > 1 and index not in left_out:
            os.makedirs(images, exist_ok=True)
            stem = os.path.splitext(os.path.basename(record.image_path))[0]
            ending = '.jpg' if record.kind == 'JPEG' else '.png'
            path = os.path.join(images, stem + ending)
            path = path if not os.path.lexists(path) else os.path.join(images, f'{stem}_{index}{ending}')
            rgb_images.write(path, image_files.read_image(record.image_path, record.orientation))
            records[index] = record._replace(image_path=path, orientation=orientation.UPRIGHT)
            copies += 1
    path = os.path.join(folder, 'list.txt')
    return path, write_fixed(path, dataset._replace(records=records), report), copies


def _check_image(index, record, seen, dataset):
    """The header of a record's image, and the findings in its file."""
    path = record.image_path
    why = image_files.explain(path, record.orientation)
    if why:
        return None, [Finding('unreadable', why, index)]
    contents = image_files.read_contents(path)
    header = headers.read(io.BytesIO(contents))
    if header and record.orientation > 1:
        width, height = orientation.upright_size(header.width, header.height, record.orientation)
        header = header._replace(width=width, height=height)
    found = []
    first = seen.setdefault(hashlib.sha256(contents).digest(), index)
    if first != index:
        same = _same_annotations(dataset.records[first], record)
        found.append(Finding('copy', f'{path}: the same content as {dataset.records[first].image_path}, with '
                                     f'{"the same" if same else "OTHER"} annotations', index))
    if header is None:
        return None, found
    if record.width and record.height and (record.width, record.height) != (header.width, header.height):
        found.append(Finding('size', f'{record.annotation_file or path}: annotated as {record.width} x '
                                     f'{record.height}, but {path} has {header.width} x {header.height}', index))
    return header, found + [Finding(kind, f'{path}: {what}', index) for kind, what in _unusual(header)]


def _unusual(header):
    """Yields (kind, text) for everything unusual about an image that can be used."""
    if header.channels < 3:
        yield 'grey', f'grey {header.kind}'
    if header.kind == 'JPEG' and header.channels == 4:
        yield 'cmyk', 'CMYK JPEG; its colours may come out inverted'
    if header.bits > 8:
        yield 'deep', f'{header.bits} bits a channel'
    if min(header.width, header.height) < SMALLEST_IMAGE or max(header.width, header.height) > LARGEST_IMAGE:
        yield 'extent', f'{header.width} x {header.height} pixels'


def _doubles(index, record, class_names):
    """Yields a finding for each object that has the class and box of an earlier one."""
    first: dict[tuple, int] = {}
    for row, key in enumerate(_keys(record)):
        earlier = first.setdefault(key, row)
        if earlier != row:
            box = ', '.join(f'{value:g}' for value in record.boxes[row])
            yield Finding('double', f'{_where(record, row)}: {class_names[record.classes[row]]!r} ({box}) is annotated '
                                    f'already at {_where(record, earlier)}', index)


def _specks(index, record, header, class_names, height, width, letterbox, tiles):
    sides = network_sizes.in_image(record.boxes, header.height, header.width, height, width, letterbox, tiles)
    for row in np.flatnonzero((sides < SMALLEST_BOX).any(axis=1) & ~record.crowd):
        yield Finding('speck', f'{_where(record, row)}: {class_names[record.classes[row]]!r} has {sides[row, 0]:.1f} x '
                               f'{sides[row, 1]:.1f} pixels in an input of {width} x {height}', index)


def _keys(record):
    return [(int(class_id), *box.tolist()) for class_id, box in zip(record.classes, record.boxes)]


def _same_annotations(one, other):
    return sorted(_keys(one)) == sorted(_keys(other))


def _where(record, row):
    """File and line of an object's annotation."""
    if not record.annotation_file or record.annotation_lines is None or record.annotation_lines[row] < 0:
        return f'{record.annotation_file or record.image_path}: object {row + 1}'
    name = 'annotation ' if record.annotation_file.endswith('.json') else ''
    return f'{record.annotation_file}:{" " if name else ""}{name}{record.annotation_lines[row]}'


def _of_reader(text, by_line):
    """The finding of a reader's message."""
    size = _SIZES.match(text)
    return Finding('size', text, by_line.get(size.group(1), -1)) if size else Finding(
        'annotation', text, _record_of(text, by_line))


def _index_of_lines(dataset):
    """{file: record} for images and annotation files that belong to one record, {(annotation file, line): record}."""
    by_line, records_of = {}, collections.defaultdict(set)
    for index, record in enumerate(dataset.records):
        by_line[record.image_path] = index
        records_of[record.annotation_file].add(index)
        for line in record.annotation_lines if record.annotation_lines is not None else ():
            by_line[record.annotation_file, int(line)] = index
    by_line.update({file: indices.pop() for file, indices in records_of.items() if file and len(indices) == 1})
    return by_line


def _record_of(message, by_line):
    match = re.match(r'(.+?):(?: annotation | record )?(\d+)\b', message)
    if not match:
        return -1
    return by_line.get(match.group(1), by_line.get((match.group(1), int(match.group(2)[:18])), -1))


def _repaired(record, header):
    width, height = (header.width, header.height) if header else (record.width, record.height)
    rows, boxes, known = [], [], set()
    for row, key in enumerate(_keys(record)):
        box, _ = faults.clip(key[1:], width, height)
        if box is not None and key not in known and not record.crowd[row]:
            rows.append(row)
            boxes.append(box)
        known.add(key)
    return record._replace(width=width, height=height, boxes=np.array(boxes, np.float32).reshape(-1, 4),
                           classes=record.classes[rows])
