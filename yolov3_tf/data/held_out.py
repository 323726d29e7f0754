"""Draws a validation part from a training set that has none, and keeps it beside the run.

The draw is by image, seeded, and stratified by class: an image with a rare class is decided before those with frequent
ones, and goes where more of that class is still wanted (iterative stratification, Sechidis, Tsoumakas and Vlahavas
2011). Copies of one image stay on one side: files with the same bytes, and the versions that Roboflow makes of one
source (``NAME.rf.HASH.jpg``). Otherwise the validation score would be too high.
"""
from __future__ import annotations

import collections
import hashlib
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from yolov3_tf import regular_file
from yolov3_tf.data.readers import class_files, lists
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, Record

_ROBOFLOW = re.compile(r'(.+)\.rf\.[0-9A-Za-z]{8,}\.\w+')
_NO_CLASS = -1              # stands for "without a box" among the classes of an image


class Split(NamedTuple):
    """A validation part.

    Attributes:
      train, val: indices of the records on both sides, ascending.
      notes: what to tell about it.
      moved: the images lie elsewhere than the lists say, which should be written again.
    """
    train: list[int]
    val: list[int]
    notes: list[str]
    moved: bool = False


def draw(records: Sequence[Record], fraction: float, seed: int) -> Split:
    """Draws the validation part.

    Args:
      fraction: of the images, above 0 and below 1; the nearest number that leaves copies together.
      seed: the same seed and records give the same parts.

    Raises:
      InputError: there are not two different images with boxes, one for each side.
    """
    groups = copies(records)
    labels = [_classes(records, group) for group in groups]
    boxed = [number for number, found in enumerate(labels) if set(found) != {_NO_CLASS}]
    if len(boxed) < 2:
        raise InputError(f'a validation part cannot be drawn: {len(records)} images, of which {len(boxed)} '
                         f'{"has" if len(boxed) == 1 else "have"} boxes and differ{"s" * (len(boxed) == 1)} from the '
                         'others; expected 2 or more. Give other images as --val_data=SPEC')
    is_val = _stratified(groups, labels, fraction, np.random.default_rng(seed))
    for wanted in (True, False):            # a very small set may have left one side without a box
        if not any(is_val[number] == wanted for number in boxed):
            spare = _most_common(boxed, labels, groups)
            is_val[spare] = wanted
    val = sorted(index for group, held in zip(groups, is_val) if held for index in group)
    held_out = set(val)
    together = sum(len(group) for group in groups if len(group) > 1)
    notes = [f'{together} images are copies of others, and are on the same side as these'] if together else []
    return Split([index for index in range(len(records)) if index not in held_out], val, notes)


def copies(records: Sequence[Record]) -> list[list[int]]:
    """Groups of indices whose images are copies of each other; each index is in one group, in ascending order."""
    first: dict[tuple, int] = {}                # what copies share -> the first record with it
    of = list(range(len(records)))              # record -> a record of its group before it, or itself

    def root(index):
        while of[index] != index:
            of[index] = of[of[index]]
            index = of[index]
        return index

    for index, keys in enumerate(_keys(records)):
        for key in keys:
            one, other = sorted((root(first.setdefault(key, index)), root(index)))
            of[other] = one
    groups = collections.defaultdict(list)
    for index in range(len(records)):
        groups[root(index)].append(index)
    return list(groups.values())


def write(folder: str | os.PathLike, dataset: Dataset, split: Split) -> None:
    """Writes ``train.txt``, ``val.txt`` and ``classes.names``; each list is a dataset, ``list:FOLDER/val.txt``.

    Paths are relative to the folder, so that data and runs can be moved together.

    Raises:
      InputError: a path cannot be written on a line of a list.
    """
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / lists.CLASS_FILE).write_text(''.join(f'{name}\n' for name in dataset.class_names), encoding='utf-8')
    for name in ('val', 'train'):               # train.txt last: its presence means that the split is complete
        lists.write(str(folder / f'{name}.txt'), [dataset.records[index] for index in getattr(split, name)])


def is_there(folder: str | os.PathLike) -> bool:
    """Whether ``write`` has finished there."""
    return os.path.isfile(os.path.join(folder, 'train.txt')) and os.path.isfile(os.path.join(folder, 'val.txt'))


def read(folder: str | os.PathLike, records: Sequence[Record]) -> Split:
    """The split that ``write`` has left, for the records of today; images that are new are on neither side.

    Where none of the paths fits, images that lie elsewhere under the same names are taken: the data moved.

    Raises:
      InputError: a list cannot be read, or none of its images is among the records.
    """
    written = {name: [image if '://' in image else os.path.normpath(os.path.join(folder, image)) for image in
                      lists.names(os.path.join(folder, f'{name}.txt'))] for name in ('train', 'val')}
    all_written = [*written['train'], *written['val']]
    index_of, moved = _indices(all_written, [record.image_path for record in records])
    sides = {name: sorted({index_of[image] for image in images if image in index_of})
             for name, images in written.items()}
    gone = [image for image in all_written if image not in index_of]
    for name, images in written.items():
        if not sides[name]:
            raise InputError(f'{os.path.join(folder, name)}.txt: none of its {len(images)} images is in the data any '
                             f'more (the first: {images[0] if images else "none"}); choose another --name')
    known = {*sides['train'], *sides['val']}
    added = [record.image_path for index, record in enumerate(records) if index not in known]
    notes = [f'{_some(added)} came after the split in {folder} was drawn, and {_is(added)} not used; another --name '
             'draws anew'] if added else []
    notes += [f'{_some(gone)} {_is(gone)} in the split in {folder}, but not in the data any more'] if gone else []
    return Split(sides['train'], sides['val'], notes, moved)


def with_classes_of(folder: str | os.PathLike, dataset: Dataset, split: Split) -> Dataset:
    """The dataset with the classes that ``write`` left, if images that came later are all that has others."""
    names = class_files.read_class_file(os.path.join(folder, lists.CLASS_FILE))
    known = [dataset.class_names[index] in names for index in range(len(dataset.class_names))]
    records = list(dataset.records)
    for index in (*split.train, *split.val):
        classes = records[index].classes
        if not all(known[number] for number in classes.tolist()):
            return dataset
        numbers = [names.index(dataset.class_names[number]) for number in classes.tolist()]
        records[index] = records[index]._replace(classes=np.array(numbers, np.int32))
    return dataset._replace(records=records, class_names=names)


def part(dataset: Dataset, indices: Iterable[int], problems: bool) -> Dataset:
    """One side as a dataset with all classes; ``problems``: with the messages of the whole."""
    return dataset._replace(records=[dataset.records[index] for index in indices],
                            problems=dataset.problems if problems else [])


def _indices(written, paths):
    """{image as written: index of its path}, and whether the data moved: then by the ends that all of them share."""
    places = {_real(path): index for index, path in enumerate(paths)}
    found = {image: places[_real(image)] for image in written if _real(image) in places}
    for length in (3, 2, 1):
        if found:
            break
        ends = collections.Counter(_end(path, length) for path in paths)
        places = {_end(path, length): index for index, path in enumerate(paths) if ends[_end(path, length)] == 1}
        if all(_end(image, length) in places for image in written):
            return {image: places[_end(image, length)] for image in written}, True
    return found, False


def _end(path, length):
    return tuple(path.replace(os.sep, '/').split('/')[-length:])


def _stratified(groups, labels, fraction, random):
    """Whether each group is held out."""
    images = sum(map(len, groups))
    # side -> class -> images still wanted
    wanted: dict[bool, dict[int, float]] = {held: collections.defaultdict(float) for held in (True, False)}
    room = {True: fraction * images, False: (1 - fraction) * images}
    groups_of = collections.defaultdict(list)
    for number in random.permutation(len(groups)).tolist():
        for label, count in labels[number].items():
            groups_of[label].append(number)
            wanted[True][label] += fraction * count
            wanted[False][label] += (1 - fraction) * count
    left = {label: sum(labels[number][label] for number in numbers) for label, numbers in groups_of.items()}
    is_val: list[bool | None] = [None] * len(groups)
    while left:
        rarest = min(left, key=lambda label: (left[label], label))
        for number in sorted(groups_of[rarest], key=lambda number: -len(groups[number])):
            if is_val[number] is not None:
                continue
            side = (wanted[True][rarest], room[True]) > (wanted[False][rarest], room[False])
            is_val[number] = side
            room[side] -= len(groups[number])
            for label, count in labels[number].items():
                wanted[side][label] -= count
                left[label] -= count
        left = {label: count for label, count in left.items() if count > 0}
    return is_val


def _classes(records, group):
    """{class: images of the group with it}; ``_NO_CLASS`` counts those without a box."""
    counts: collections.Counter[int] = collections.Counter()
    for index in group:
        counts.update(set(records[index].classes.tolist()) or {_NO_CLASS})
    return counts


def _most_common(boxed, labels, groups):
    """The group with boxes whose rarest class is in the most images, the smallest of these: one that can be spared."""
    total: collections.Counter[int] = collections.Counter()
    for found in labels:
        total.update(found)
    return max(boxed, key=lambda number: (min(total[label] for label in labels[number]), -len(groups[number]), -number))


def _keys(records):
    """For each record, what it shares with its copies. Only files of one size are read."""
    sizes = [_size(record.image_path) for record in records]
    alike = collections.Counter(sizes)
    for record, size in zip(records, sizes):
        keys = []
        match = _ROBOFLOW.fullmatch(os.path.basename(record.image_path))
        if match:
            keys.append(('source', match.group(1)))
        if size is not None and alike[size] > 1:
            digest = _digest(record.image_path)
            keys += [('bytes', digest)] if digest else []
        yield keys


def _size(path):
    try:
        return os.path.getsize(path)
    except (OSError, ValueError):
        return None


def _digest(path):
    try:
        with open(path, 'rb', opener=regular_file.opener) as file:
            return hashlib.sha256(file.read()).digest()
    except OSError:
        return None


def _real(path):
    return path if '://' in path else os.path.realpath(path)


def _some(paths):
    more = ', ...' if len(paths) > 3 else ''
    return paths[0] if len(paths) == 1 else f'{len(paths)} images ({", ".join(paths[:3])}{more})'


def _is(paths):
    return 'is' if len(paths) == 1 else 'are'
