"""The files of a run, and how a later process resumes it.

    run.flags        the flags, one on each line; `train --flagfile=` or `--recipe=` repeats them
    labels.txt       class names, one on each line
    first_batches.jpg, validation_truth.jpg     what is trained on, augmented, and what is validated against
    split/           train.txt, val.txt, classes.names: the validation part that was drawn, if none was given
    metrics.jsonl    one JSON object on each line; the same bytes whether or not the run was interrupted
    events/          TensorBoard: the same numbers, speed, and validation images with boxes
    checkpoints/     last.h5 (to resume from), best.h5 (highest validation mAP)
    report.html      the page of the run; README.md: its model card; run.lock.json: what it was made with
    evaluation/      scores and curves of the best checkpoint
    saved_model/1/   the best checkpoint, ready to serve
    cache/           images kept by --cache=disk; emptied at every start, and may be deleted after the run
"""
from __future__ import annotations

import json
import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf

from yolov3_tf import atomic_file
from yolov3_tf.errors import InputError
from yolov3_tf.models import checkpoints
from yolov3_tf.training import flag_texts

try:
    import fcntl
    LOCKS = True
except ImportError:         # Windows
    LOCKS = False

# Flags that say where the data are; with the same images and annotations they may change.
LOCATIONS = ('train_data', 'val_data', 'classes')
# (device, inode) -> descriptor of every folder that this process trains in; open until the process ends
_HELD: dict[tuple[int, int], int] = {}


class RunFolder:
    """The files of one run below ``root``; they are created when needed."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.flags = self.root / 'run.flags'
        self.labels = self.root / 'labels.txt'
        self.metrics = self.root / 'metrics.jsonl'
        self.last = self.root / 'checkpoints' / 'last.h5'
        self.best = self.root / 'checkpoints' / 'best.h5'
        self.split = self.root / 'split'
        self.evaluation = self.root / 'evaluation'
        self.saved_model = self.root / 'saved_model'
        self.first_batches = self.root / 'first_batches.jpg'
        self.validation_truth = self.root / 'validation_truth.jpg'
        self.claimed: dict[str, Any] = {}       # what a checkpoint keeps of ``claim``: flags and data
        self._events = None

    def cache(self, worker: int = 0, workers: int = 1) -> pathlib.Path:
        """The folder for the images that one process keeps; each worker has its own."""
        return self.root / 'cache' / (f'worker-{worker}' if workers > 1 else '')

    def claim(self, flags: dict[str, str], class_names: Sequence[str], may_differ: Sequence[str] = (),
              defaults: Mapping[str, str] = MappingProxyType({}), data: str = ''):
        """Creates the folder for a run with these flags, or checks that it belongs to the same run.

        A run without a checkpoint has no results yet, so a run with other flags may use its folder.
        Until this process ends, no other process can train in the folder. Of files that were deleted, run.flags and
        labels.txt are written again from the checkpoint.

        Args:
          flags: every flag that changes the result, as text.
          may_differ: names of flags that a resumed run may change.
          defaults: of all flags, for a run that is older than some of them.
          data: fingerprint of images and annotations (``agreement.of_annotations``): data of the same fingerprint may
            be at another location than before.

        Raises:
          InputError: the folder belongs to a run with other flags (the message gives both values) or other classes,
            it holds files that are not a run, its last checkpoint was deleted, or another process trains in it.
        """
        labels = ''.join(f'{name}\n' for name in class_names)
        self.root.mkdir(parents=True, exist_ok=True)
        self._lock()
        kept = {name: text for name, text in flags.items() if name not in may_differ}
        self.claimed = {'flags': kept, 'data': data}
        for folder in (self.root, self.evaluation, self.saved_model):
            atomic_file.remove_leftovers(folder)
        if self.last.exists():
            self._check_same(flags, labels, may_differ, defaults, data)
            return
        if self.best.exists():
            raise InputError(f'{self.root}: {self.last} is gone, so this run cannot go on, and a new one would '
                             f'overwrite {self.best}: choose another --name, with --init_weights={self.best} to start '
                             'from its weights, or delete the folder')
        for results in (self.saved_model, self.evaluation):
            if results.exists():
                raise InputError(f'{self.root}: the checkpoints of this run are gone, and a new one would overwrite '
                                 f'{results}: choose another --name, or delete the folder')
        if not self.flags.exists() and any(self.root.iterdir()):
            raise InputError(f'{self.root} holds files that are no run of this program: choose another --name')
        self.last.parent.mkdir(exist_ok=True)
        atomic_file.write_text(self.labels, labels)
        self._write_flags(flags)

    def _check_same(self, flags, labels, may_differ, defaults, data):
        """Checks that flags and classes are those of the checkpoint, and restores the files that tell of them."""
        before = checkpoints.load_counters(str(self.last))
        old = flag_texts.read_values(self.flags)
        if not self.flags.exists():
            old = before.get('flags') or flags
            print(f'note: {self.flags} was gone; it is written again from {self.last}' if before.get('flags') else
                  f'note: {self.flags} was gone; the flags of this call are taken for those of the run',
                  file=sys.stderr)
        changed = _changed({**defaults, **old}, flags, may_differ)
        if changed and data and before.get('data') == data and set(changed) <= set(LOCATIONS):
            print(f'note: the data moved, with the same images and boxes: {", ".join(changed.values())}',
                  file=sys.stderr)
        elif changed:
            raise InputError(f'{self.root} belongs to a run of other flags: {", ".join(changed.values())}. Choose '
                             'another --name, repeat the old flags to go on with it, or delete the folder')
        if not self.labels.exists():
            trained = checkpoints.describe(str(self.last)).class_names
            atomic_file.write_text(self.labels, ''.join(f'{name}\n' for name in trained))
        if self.labels.read_text(encoding='utf-8') != labels:
            raise InputError(f'{self.root} was trained for other classes or another order of them than '
                             f'{", ".join(labels.split())} (see {self.labels}): choose another --name')
        if data and before.get('data') not in (None, '', data):
            print(f'note: images or boxes have changed since {self.last} was written; the run goes on with them as '
                  'they are now. Choose another --name to train on them alone', file=sys.stderr)
        if changed or not self.flags.exists():
            self._write_flags({**old, **flags})

    def _write_flags(self, flags):
        atomic_file.write_text(self.flags, ''.join(f'--{name}={value}\n' for name, value in sorted(flags.items())))

    def load(self, model: tf.keras.Model, images: int) -> checkpoints.Progress | None:
        """Reads the last checkpoint into a model and truncates the metrics to it; returns None for a new run.

        Args:
          images: number of images in the training set now.

        Raises:
          InputError: the checkpoint does not fit, or was trained on another number of images.
        """
        if not self.last.exists():
            self.rewind_metrics(0)
            return None
        checkpoints.load_weights(str(self.last), model)
        progress = checkpoints.load_progress(str(self.last))
        before = progress.counters['images']
        if before != images:
            raise InputError(f'{self.root} was trained on {before} images, now there are {images}: restore the data to '
                             'go on, or choose another --name')
        self.rewind_metrics(progress.counters['metrics_bytes'])
        return progress

    def append(self, line: dict[str, Any]) -> int:
        """Adds one object to the metrics and returns the file's length in bytes afterwards."""
        with open(self.metrics, 'a', encoding='utf-8') as file:
            file.write(json.dumps(line) + '\n')
            return file.tell()

    def secure_metrics(self):
        """Makes the system write appended lines to the disk."""
        if self.metrics.exists():
            with open(self.metrics, 'ab') as file:
                os.fsync(file.fileno())

    def rewind_metrics(self, length: int):
        """Removes what a killed process wrote after its last checkpoint; the resumed run writes it again.

        If the file is shorter than at the checkpoint, it does not change and a note is printed.
        """
        size = self.metrics.stat().st_size if self.metrics.exists() else 0
        if size < length:
            print(f'note: {self.metrics} has lost {length - size:,} bytes since the checkpoint was written; the curves '
                  'will have a gap', file=sys.stderr)
        if size > length:
            with open(self.metrics, 'ab') as file:
                file.truncate(length)

    def scalars(self, step: int, values: dict[str, float]):
        """Adds named numbers to TensorBoard."""
        with self._writer().as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)

    def images(self, step: int, name: str, image: np.ndarray) -> None:
        """Adds one uint8 [H, W, 3] image to TensorBoard."""
        with self._writer().as_default(step=step):
            tf.summary.image(name, image[None])
        self._writer().flush()

    def _lock(self):
        """Locks the folder for this process; the system removes the lock when it ends or is killed."""
        if not LOCKS or (self.root.stat().st_dev, self.root.stat().st_ino) in _HELD:
            return
        folder = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(folder)
            raise InputError(f'{self.root}: another process trains in it; wait until it ends, stop it, or choose '
                             'another --name') from None
        except OSError:             # a file system without locks
            os.close(folder)
            return
        _HELD[os.fstat(folder).st_dev, os.fstat(folder).st_ino] = folder

    def _writer(self):
        if self._events is None:
            self._events = tf.summary.create_file_writer(str(self.root / 'events'))
        return self._events


def _changed(old, new, may_differ) -> dict[str, str]:
    """Flag -> both values, for each flag that has another value now."""
    return {name: f'--{name}={old.get(name)} (now {new.get(name)})' for name in sorted({*old, *new})
            if old.get(name) != new.get(name) and name not in may_differ}
