"""Data specs: one string says where labelled pictures come from."""
from __future__ import annotations

import os
from typing import Callable, NamedTuple

from yolov3_tf.choices import InputError, choose
from yolov3_tf.data import builtin, coco, labels, lists, voc
from yolov3_tf.structures import Dataset


class _Kind(NamedTuple):
    """How a kind of spec is written, and what reads it: read(rest, classes, strict, split, cache)."""
    form: str
    read: Callable[..., Dataset]


def load(spec, classes=None, strict=False, split='train', cache=builtin.CACHE) -> Dataset:
    """Reads the labels of a data spec; pictures themselves are not opened.

    Args:
      spec: ``voc:DIR:SPLIT[+SPLIT...]``, ``list:FILE``, ``coco:INSTANCES.json:IMAGE_DIR`` or ``shapes[:N]``.
      classes: names in order (``labels.read_class_file``, or those of the training set); None applies the
        reader's own rule.
      strict: raise at the first label fault instead of repairing or dropping.
      split: 'train' or 'val', the part of ``shapes`` wanted; the other kinds name theirs in the spec.
      cache: folder under which ``shapes`` is drawn once.

    Raises:
      InputError: the spec is not understood, nothing usable is there, a class is not among ``classes``,
        or, under ``strict``, a label is at fault.
    """
    kind, _, rest = spec.partition(':')
    try:
        chosen = choose(KINDS, kind, 'kind of data')
    except InputError as error:
        forms = ', '.join(entry.form for entry in KINDS.values())
        raise InputError(f'data {spec!r}: {error}; write {forms}') from None
    return chosen.read(rest, classes, strict, split, cache)


def default_specs(folder='.') -> tuple[str, str, str]:
    """What to train on when nothing is said: VOCdevkit where there is one, else the built-in shapes.

    Returns:
      Training spec, held-out spec, and one line that says so.
    """
    devkit = os.path.join(folder, 'VOCdevkit') if folder != '.' else 'VOCdevkit'
    if not os.path.isdir(devkit):
        return 'shapes', 'shapes', (f'no data flags and no {devkit}/ here: training on the built-in shapes '
                                    f'({builtin.DEFAULT_COUNT} pictures, drawn once into {builtin.CACHE}/)')
    train, held_out = voc.training_splits(devkit)
    return (f'voc:{devkit}:{train}', f'voc:{devkit}:{held_out}',
            f'no data flags: training on {devkit} {train}, measuring on {held_out}')


def describe(spec, dataset) -> str:
    """One line: what was read, which classes it has, and how many labels were at fault."""
    boxes = sum(len(record.boxes) for record in dataset.records)
    counts = {name: sum(int(getattr(record, name).sum()) for record in dataset.records)
              for name in ('difficult', 'crowd')}
    marks = ''.join(f', {count} {name}' for name, count in counts.items() if count)
    faulty = f'; {len(dataset.problems)} label problems' if dataset.problems else ''
    return (f'{spec}: {len(dataset.records)} pictures, {boxes} boxes{marks}; '
            f'{labels.describe_classes(dataset.class_names)}{faulty}')


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
    path, _, folder = rest.rpartition(':')
    if not path or not folder:
        raise InputError(f'data coco:{rest}: expected {KINDS["coco"].form}')
    return coco.read(path, folder, classes, strict)


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
    'shapes': _Kind('shapes[:N] (shapes:600)', _shapes),
}
