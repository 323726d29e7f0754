"""Which file a user means by ``--model``, or by a path given to ``yolov3_tf.load``."""
from __future__ import annotations

import os

from yolov3_tf.errors import InputError

CHECKPOINT = '.h5'
KINDS = "a run's folder, a checkpoint (.h5), a SavedModel's folder, or a .tflite, .onnx or .weights file"
BEST = os.path.join('checkpoints', 'best.h5')


def resolve(path: str | os.PathLike, checkpoint: bool = False) -> str:
    """The model at ``path``: a run's folder stands for its best checkpoint, anything else for itself.

    The checkpoint, not the run's SavedModel, because every program can use it: export needs it, and input size and
    thresholds can still be chosen. Where the checkpoints were deleted it is the SavedModel.

    Args:
      path: any of ``KINDS``.
      checkpoint: only a checkpoint will do.

    Raises:
      InputError: a run that has no best checkpoint yet, or, under ``checkpoint``, another kind of model.
    """
    path = os.fspath(path)
    found = _of_run(path, checkpoint) if _is_run(path) else path
    if checkpoint and not found.endswith(CHECKPOINT):
        raise InputError(f'{path}: expected a checkpoint (.h5) or the folder of a run that has one; turn darknet files '
                         'into a checkpoint with yolov3-tf convert --model=FILE --output=FILE.h5 [--cfg=FILE]')
    return found


def _is_run(path):
    return os.path.isdir(path) and (os.path.isdir(os.path.join(path, 'checkpoints')) or
                                    os.path.isfile(os.path.join(path, 'run.flags')))


def _of_run(folder, checkpoint):
    best, exported = os.path.join(folder, BEST), os.path.join(folder, 'saved_model')
    if os.path.isfile(best):
        return best
    if os.path.isdir(exported) and not checkpoint:
        return exported
    last = os.path.join(folder, 'checkpoints', 'last.h5')
    other = f', or give {last}, where the run stands now' if os.path.isfile(last) else ''
    raise InputError(f'{folder}: expected {BEST} in this run, which its first validation writes: wait for it{other}')
