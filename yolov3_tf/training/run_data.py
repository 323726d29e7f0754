"""The data of a run: what its settings name, recognised, read, and split where no validation part is given."""
from __future__ import annotations

import os
import pathlib
import sys
from typing import NamedTuple

from yolov3_tf.data import held_out, unused
from yolov3_tf.data.held_out import Split
from yolov3_tf.data.readers import default_data, specs
from yolov3_tf.data.readers.class_files import read_class_file
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset
from yolov3_tf.training import plan
from yolov3_tf.training.recipe import Recipe
from yolov3_tf.training.run_folder import RunFolder


class Drawn(NamedTuple):
    """A split to write into the run's folder: the whole dataset and its two sides."""
    dataset: Dataset
    split: Split


class Data(NamedTuple):
    """The data of a run.

    Attributes:
      train, val: what is trained and validated on.
      on_shapes: whether the training images are the built-in shapes.
      drawn: the split to keep, if this process drew one.
    """
    train: Dataset
    val: Dataset
    on_shapes: bool
    drawn: Drawn | None = None

    def keep(self, folder: pathlib.Path) -> None:
        """Writes the split, if it was drawn, for the runs that go on."""
        if self.drawn is not None:
            held_out.write(folder, *self.drawn)


def load(asked: Recipe) -> Data:
    """Reads training and validation data, and prints their content and their problems.

    Raises:
      InputError: data do not exist, or cannot be validated on.
    """
    train_spec, val_spec = _specs(asked)
    on_shapes = all(spec.is_builtin for spec in specs.parse(train_spec))
    if val_spec is None and on_shapes:
        val_spec = train_spec
    classes = read_class_file(asked.classes) if asked.classes else None
    train_set = specs.load(specs.parse(train_spec), classes, asked.strict, 'train')
    if val_spec is None:
        data = _with_drawn(asked, train_spec, train_set)
    else:
        val_set = specs.load(val_spec, train_set.class_names, asked.strict, 'val')
        print(f'train: {specs.describe(train_spec, train_set)}\nval:   {specs.describe(val_spec, val_set)}')
        data = Data(train_set, val_set, on_shapes)
    _check(train_spec, val_spec or train_spec, data)
    return data


def folder_of(asked: Recipe) -> RunFolder:
    """The folder of the run with these settings."""
    on_shapes = asked.train_data is not None and not specs.is_folder(asked.train_data) and all(
        spec.is_builtin for spec in specs.parse(asked.train_data))
    return RunFolder(os.path.join(asked.runs_dir, plan.name_of(asked, on_shapes)))


def _specs(asked):
    """The specs of both parts; the second is None where none is given or found."""
    train_spec, val_spec = asked.train_data, asked.val_data
    if train_spec is None:
        if val_spec is not None:
            raise InputError('--val_data without --train_data: give both, or neither')
        train_spec, val_spec, message = default_data.specs_here()
        print(message)
    found = specs.recognised(train_spec)
    for one in found:
        print(one.describe('train' if val_spec else 'both'))
    if found and len(found) == len(specs.joined_texts(train_spec)):
        return ','.join(one.train for one in found), val_spec or ','.join(one.val for one in found if one.val) or None
    return train_spec, val_spec


def _with_drawn(asked, spec, dataset) -> Data:
    """The data of a run with a drawn validation part; a run that goes on keeps the one it has."""
    folder = folder_of(asked)
    unused.require_boxes(spec, dataset, 'to train on')
    kept = folder.last.exists() and held_out.is_there(folder.split)
    split = (held_out.read(folder.split, dataset.records) if kept else
             held_out.draw(dataset.records, asked.val_fraction, asked.seed))
    if kept:
        dataset = held_out.with_classes_of(folder.split, dataset, split)
    train_set, val_set = (held_out.part(dataset, indices, problems) for indices, problems in
                          ((split.train, True), (split.val, False)))
    how = 'as this run drew them before' if kept else f'drawn by --val_fraction={asked.val_fraction:g} and ' \
                                                      f'--seed={asked.seed}'
    total = len(split.train) + len(split.val)
    print(f'{specs.describe(spec, dataset)}\n'
          f'split: {len(split.train)} images to train on, {len(split.val)} of {total} to validate on, {how}; '
          f'list:{folder.split / "val.txt"}')
    absent = _absent(train_set, val_set)
    if absent:
        split.notes.append(f'too few images to validate these classes: {", ".join(absent)}')
    for note in split.notes:
        print(f'note: {note}', file=sys.stderr)
    return Data(train_set, val_set, False, Drawn(dataset, split) if split.moved or not kept else None)


def _absent(train_set, val_set):
    """Names of the classes with training objects but no validation object."""
    trained, validated = ({index for record in dataset.records for index in record.classes.tolist()}
                          for dataset in (train_set, val_set))
    return [train_set.class_names[index] for index in sorted(trained - validated)]


def _check(train_spec, val_spec, data):
    both = ({record.image_path for record in data.train.records} & {record.image_path for record in data.val.records})
    if both:
        print(f'note: {len(both)} of the {len(data.val.records)} validation images are trained on too, so the '
              'scores will be too high', file=sys.stderr)
    unused.require_boxes(train_spec, data.train, 'to train on')
    unused.require_boxes(val_spec, data.val, 'to evaluate against')
    unused.require_an_image(train_spec, data.train)
    unused.require_an_image(val_spec, data.val)
    for note in dict.fromkeys([*data.train.notes, *data.val.notes]):
        print(f'note: {note}', file=sys.stderr)
    for problem in data.train.problems + data.val.problems:
        print(f'annotation: {problem}', file=sys.stderr)
