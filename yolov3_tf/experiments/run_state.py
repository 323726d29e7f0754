"""How far a run is, read from what it left behind; no TensorFlow, nothing is changed."""
from __future__ import annotations

import json
import os
import pathlib
import time
from typing import Any, NamedTuple

import h5py


class State(NamedTuple):
    """finished: nothing is left to do. begun: a checkpoint is there. steps: made so far."""
    finished: bool
    begun: bool
    steps: int


def look(folder: str | os.PathLike, kind: str) -> State:
    """Where a run stands. A 'cell' is finished when it is trained and evaluated, a stage others start
    from when it is trained. A folder that is not there, or half written, has not begun."""
    folder = pathlib.Path(folder)
    counters = _counters(folder / 'checkpoints' / 'last.h5')
    if counters is None:
        return State(False, False, 0)
    finished = bool(counters.get('finished')) and (kind != 'cell' or evaluated(folder))
    return State(finished, True, int(counters.get('global_step', 0)))


def evaluated(folder: str | os.PathLike) -> bool:
    """Whether both files of the evaluation are there and whole: a kill may leave half of one."""
    evaluation = pathlib.Path(folder) / 'evaluation'
    try:
        json.loads((evaluation / 'metrics.json').read_text(encoding='utf-8'))['summary']
        return isinstance(json.loads((evaluation / 'detections.json').read_text(encoding='utf-8')), list)
    except (OSError, ValueError, KeyError, TypeError):
        return False


class Attempts:
    """When a run was at work: a line when a process begins and one when it ends, in a file beside its log.

    The time of a process that was killed is known from the log's last change.
    """

    def __init__(self, logs, name: str):
        self.log = pathlib.Path(logs) / f'{name}.log'
        self.path = pathlib.Path(logs) / f'{name}.attempts'

    def began(self):
        self._close()
        self._append(dict(began=round(time.time(), 1)))

    def ended(self, code: int):
        self._append(dict(ended=round(time.time(), 1), code=code))

    def over(self) -> bool:
        """Whether the last attempt wrote down its end."""
        lines = self._lines()
        return bool(lines) and 'ended' in lines[-1]

    def seconds(self) -> float | None:
        """At work, all attempts together; None where nothing was written down."""
        self._close()
        lines = self._lines()
        return sum(line['ended'] for line in lines if 'ended' in line) - sum(
            line['began'] for line in lines if 'began' in line) if lines else None

    def _close(self):
        """An attempt without an end was killed; it is given the time of its last word."""
        lines = self._lines()
        if lines and 'began' in lines[-1]:
            last = self.log.stat().st_mtime if self.log.exists() else lines[-1]['began']
            self._append(dict(ended=round(max(last, lines[-1]['began']), 1), code=None))

    def _lines(self) -> list[dict[str, Any]]:
        text = self.path.read_text(encoding='utf-8') if self.path.exists() else ''
        return [json.loads(row) for row in text.split('\n')[:-1]]      # what a kill left without an end is no line

    def _append(self, line):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, 'a', encoding='utf-8') as file:
            file.write(json.dumps(line) + '\n')


def _counters(checkpoint) -> dict[str, Any] | None:
    try:
        with h5py.File(checkpoint, 'r') as file:
            return json.loads(file.attrs['counters'])
    except (OSError, KeyError, ValueError):
        return None
