"""Data specs: one string says where labelled images come from."""
from __future__ import annotations

import collections
import os
import re
from typing import Callable, NamedTuple

import numpy as np

from yolov3_tf.choices import choose
from yolov3_tf.data.readers import builtin, class_files, coco, darknet, faults, lists, voc, yolo
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset


class _Kind(NamedTuple):
    """How a kind of spec is written, and what reads it: read(rest, classes, strict, split, cache)."""
    form: str
    read: Callable[..., Dataset]


def load(spec, classes=None, strict=False, split='train', cache=builtin.CACHE) -> Dataset:
    """Reads the labels of a data spec; images themselves are not decoded.

    Of joined specs, the class names are those of the first, then those of the others that are new, in order;
    classes of one name are one class. With ``classes`` given, each part's names must be among them. Labels that
    are mere numbers (``list`` and ``darknet`` without a class file) can only be joined when ``classes`` says what
    they mean. A file listed by several parts is used once, and of different images with one ``image_id`` all get
    the number of their part in front: ``1:a``, ``2:a``.

    Args:
      spec: ``voc:DIR:SPLIT[+SPLIT...]``, ``list:FILE``, ``coco:INSTANCES.json:IMAGE_DIR``,
        ``darknet:LIST[:NAMES]``, ``yolo:DATA.yaml:SPLIT``, ``tfrecord:PATTERN`` or ``shapes[:N]``; several
        joined by commas are one set (a comma parts two specs where a kind follows it).
      classes: names in order (``labels.read_class_file``, or those of the training set); None applies the
        reader's own rule.
      strict: raise at the first label fault instead of repairing or dropping.
      split: 'train' or 'val', the part of ``shapes`` wanted; the other kinds name theirs in the spec.
      cache: folder under which ``shapes`` is drawn once.

    Raises:
      InputError: the spec is not understood, nothing usable is there, a class is not among ``classes``,
        or, under ``strict``, a label is at fault.
    """
    parts = parts_of(spec)
    if len(parts) > 1:
        return _joined(parts, classes, strict, split, cache)
    kind, _, rest = parts[0].partition(':')
    try:
        chosen = choose(KINDS, kind, 'kind of data')
    except InputError as error:
        forms = ', '.join(entry.form for entry in KINDS.values())
        raise InputError(f'data {spec!r}: {error}; write {forms}') from None
    return chosen.read(rest, classes, strict, split, cache)


def parts_of(spec) -> list[str]:
    """The specs that one text joins; a comma inside a file's name parts nothing."""
    kinds = '|'.join(KINDS)
    return re.split(rf',\s*(?=(?:{kinds})(?::|,|$))', spec.strip())


VOC_HOME = 'http://host.robots.ox.ac.uk/pascal/VOC/'
VOC_ARCHIVES = ('VOCtrainval_06-Nov-2007.tar', 'VOCtest_06-Nov-2007.tar', 'VOCtrainval_11-May-2012.tar')


def default_specs(folder='.') -> tuple[str, str, str]:
    """What to train on when nothing is said: VOCdevkit, the paper's data.

    Returns:
      Training spec, held-out spec, and one line that says so.

    Raises:
      InputError: there is no VOCdevkit; the message names the three ways on.
    """
    devkit = os.path.join(folder, 'VOCdevkit') if folder != '.' else 'VOCdevkit'
    if not os.path.isdir(devkit):
        forms = ', '.join(entry.form for entry in KINDS.values())
        raise InputError(
            f'no data: there is no {devkit}/ here and no --train_data. Three ways on:\n'
            f'  PASCAL VOC, as in the paper: fetch {", ".join(VOC_ARCHIVES)} from {VOC_HOME}, unpack all three here '
            f'with tar -xf, which makes VOCdevkit/, and type the same command again\n'
            f'  your own images: --train_data=voc:DIR:train --val_data=voc:DIR:val; formats: {forms}\n'
            '  no images yet: make demo, or --train_data=shapes, which draws its own')
    train, held_out = voc.training_splits(devkit)
    return (f'voc:{devkit}:{train}', f'voc:{devkit}:{held_out}',
            f'no data flags: training on {devkit} {train}, validating on {held_out}')


def describe(spec, dataset) -> str:
    """One line: what was read, which classes it has, and how many labels were at fault."""
    boxes = sum(len(record.boxes) for record in dataset.records)
    counts = {name: sum(int(getattr(record, name).sum()) for record in dataset.records)
              for name in ('difficult', 'crowd')}
    marks = ''.join(f', {count} {name}' for name, count in counts.items() if count)
    faulty = f'; {len(dataset.problems)} label problems' if dataset.problems else ''
    return (f'{spec}: {len(dataset.records)} images, {boxes} boxes{marks}; '
            f'{class_files.describe_classes(dataset.class_names)}{faulty}')


def _joined(parts, classes, strict, split, cache):
    if classes is None:
        for part in parts:
            _check_named(part)
    sets = [load(part, classes, strict, split, cache) for part in parts]
    names = list(dict.fromkeys(name for one in sets for name in one.class_names))
    problems = faults.Problems(strict)
    seen, records = {}, []
    for position, one in enumerate(sets):
        numbers = np.array([names.index(name) for name in one.class_names], np.int32)
        for record in one.records:
            path = record.image_path if '://' in record.image_path else os.path.realpath(record.image_path)
            if seen.setdefault(path, position) != position:
                problems.add(f'{parts[position]}: {record.image_path} is in {parts[seen[path]]} already', 'used once')
            else:
                records.append((position, record._replace(classes=numbers[record.classes])))
    return Dataset(_distinct(records), names, [text for one in sets for text in one.problems] + problems.messages)


def _check_named(part):
    """Raises InputError for a part whose labels are numbers and nothing says of what."""
    kind, _, rest = part.partition(':')
    if (kind == 'list' and lists.own_names(rest) is None) or (
            kind == 'darknet' and darknet.own_names(*_list_and_names(rest)) is None):
        raise InputError(f'data {part}: its classes are numbers; to join it with other data, put {lists.CLASS_FILE} '
                         'with their names beside the list, or give all names with --classes=FILE')


def _distinct(records):
    """Records of (number of the part, Record), each id once."""
    uses = collections.defaultdict(set)
    for number, record in records:
        uses[record.image_id].add(number)
    return [record._replace(image_id=f'{number + 1}:{record.image_id}') if len(uses[record.image_id]) > 1 else record
            for number, record in records]


def _voc(rest, classes, strict, split, cache):
    folder, colon, splits = rest.rpartition(':')
    if not colon or not folder or not splits:
        there = voc.splits_of(folder or rest)
        raise InputError(f'data voc:{rest}: expected {KINDS["voc"].form}'
                         + (f'; splits there: {", ".join(there[:12])}' if there else ''))
    return voc.read(folder, splits, classes, strict)


def _list(rest, classes, strict, split, cache):
    if not rest:
        raise InputError(f'data list: expected {KINDS["list"].form}')
    return lists.read(rest, classes, strict)


def _coco(rest, classes, strict, split, cache):
    return coco.read(*_both('coco', rest), classes, strict)


def _darknet(rest, classes, strict, split, cache):
    path, names = _list_and_names(rest)
    if not path:
        raise InputError(f'data darknet:{rest}: expected {KINDS["darknet"].form}')
    return darknet.read(path, names, classes, strict)


def _list_and_names(rest):
    """Path of a darknet list, and of its class file or None."""
    path, colon, names = rest.rpartition(':')
    return (path, names) if colon else (rest, None)


def _yolo(rest, classes, strict, split, cache):
    return yolo.read(*_both('yolo', rest), classes, strict)


def _both(kind, rest):
    """What stands before and after the last colon; InputError unless both are there."""
    before, _, after = rest.rpartition(':')
    if not before or not after:
        raise InputError(f'data {kind}:{rest}: expected {KINDS[kind].form}')
    return before, after


def _tfrecord(rest, classes, strict, split, cache):
    if not rest:
        raise InputError(f'data tfrecord: expected {KINDS["tfrecord"].form}')
    from yolov3_tf.data.readers import shards
    return shards.read(rest, classes, strict)


def _shapes(rest, classes, strict, split, cache):
    if rest and not (rest.isdecimal() and rest.isascii() and 1 <= int(rest[:9]) <= builtin.LARGEST_COUNT):
        raise InputError(f'data shapes:{rest}: expected {KINDS["shapes"].form}, '
                         f'N from 1 to {builtin.LARGEST_COUNT}')
    folder = builtin.prepare(int(rest) if rest else builtin.DEFAULT_COUNT, cache)
    return voc.read(folder, split, classes, strict)


KINDS = {
    'voc': _Kind('voc:DIR:SPLIT[+SPLIT...] (voc:VOCdevkit:2007_trainval+2012_trainval)', _voc),
    'list': _Kind('list:FILE (list:data/train.txt)', _list),
    'coco': _Kind('coco:INSTANCES.json:IMAGE_DIR (coco:annotations/instances_val2017.json:val2017)', _coco),
    'darknet': _Kind('darknet:LIST[:NAMES] (darknet:data/train.txt:data/obj.names)', _darknet),
    'yolo': _Kind('yolo:DATA.yaml:SPLIT (yolo:coco128.yaml:train)', _yolo),
    'tfrecord': _Kind('tfrecord:PATTERN (tfrecord:data/train-*.tfrecord)', _tfrecord),
    'shapes': _Kind('shapes[:N] (shapes:600)', _shapes),
}
