"""The state of a run, read from its files, without TensorFlow and without changing anything."""
from __future__ import annotations

import json
import os
import pathlib
import time
from typing import Any, NamedTuple

from yolov3_tf import array_file
from yolov3_tf.errors import InputError


class State(NamedTuple):
    """finished: nothing is left to do. begun: there is a checkpoint. steps: number of steps so far."""
    finished: bool
    begun: bool
    steps: int


def read(folder: str | os.PathLike, kind: str) -> State:
    """The state of a run.

    A 'cell' is finished when it is trained and evaluated, and a stage that other runs start from when it is trained.
    A folder that does not exist, or has no readable checkpoint, has not begun.
    """
    folder = pathlib.Path(folder)
    counters = _counters(folder / 'checkpoints' / 'last.h5')
    if counters is None:
        return State(False, False, 0)
    finished = bool(counters.get('finished')) and (kind != 'cell' or evaluated(folder))
    return State(finished, True, int(counters.get('global_step', 0)))


def evaluated(folder: str | os.PathLike) -> bool:
    """Whether both files of the evaluation exist and are complete; a kill may leave half a file."""
    evaluation = pathlib.Path(folder) / 'evaluation'
    try:
        json.loads((evaluation / 'metrics.json').read_text(encoding='utf-8'))['summary']
        return isinstance(json.loads((evaluation / 'detections.json').read_text(encoding='utf-8')), list)
    except (OSError, ValueError, KeyError, TypeError):
        return False


class Attempts:
    """The times of a run's processes: a line when a process begins and a line when it ends, in a file beside its log.

    The end of a process that was killed is the time of the last change of the log.
    """

    def __init__(self, logs, name: str):
        self.log = pathlib.Path(logs) / f'{name}.log'
        self.path = pathlib.Path(logs) / f'{name}.attempts'

    def began(self):
        """Writes that a process begins now."""
        self._close()
        self._append(dict(began=round(time.time(), 1)))

    def ended(self, code: int):
        """Writes that the process has ended with this exit code."""
        self._append(dict(ended=round(time.time(), 1), code=code))

    def over(self) -> bool:
        """Whether the end of the last attempt is written."""
        lines = self._lines()
        return bool(lines) and 'ended' in lines[-1]

    def seconds(self) -> float | None:
        """The sum of the times of all attempts; None where there is none."""
        self._close()
        lines = self._lines()
        return sum(line['ended'] for line in lines if 'ended' in line) - sum(
            line['began'] for line in lines if 'began' in line) if lines else None

    def _close(self):
        """Writes the end of an attempt that was killed: the time of the last line of its log."""
        lines = self._lines()
        if lines and 'began' in lines[-1]:
            last = self.log.stat().st_mtime if self.log.exists() else lines[-1]['began']
            self._append(dict(ended=round(max(last, lines[-1]['began']), 1), code=None))

    def _lines(self) -> list[dict[str, Any]]:
        text = self.path.read_text(encoding='utf-8') if self.path.exists() else ''
        return [json.loads(row) for row in text.split('\n')[:-1]]      # a kill may leave an incomplete last line

    def _append(self, line):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, 'a', encoding='utf-8') as file:
            file.write(json.dumps(line) + '\n')


def _counters(checkpoint) -> dict[str, Any] | None:
    try:
        with array_file.reading(checkpoint) as file:
            return file.json('counters', finite=False)
    except InputError:
        return None
