"""Trains runs one after another, each in its own process, and continues where it was stopped.

The finished runs are known only from their folders, so nothing is lost or repeated whenever the runner ends. There
are two locks on open files, which the system releases when their process ends: the runner of a folder holds
``.lock``, and the process that trains holds ``.training``. The training has its own session, so it continues when
its runner is killed; the next runner waits for it and uses its result.
"""
from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Callable, NamedTuple

from yolov3_tf.errors import InputError
from yolov3_tf.experiments import run_state
from yolov3_tf.experiments.plan import Run
from yolov3_tf.progress import clock

POLL_SECONDS = .2
LOG_SECONDS, SCREEN_SECONDS = 60., 1.       # between two status lines
TAIL_LINES = 12                             # of a failed run's log


class Stopped(Exception):
    """The user asked to stop; the current training has saved its state."""


class Failure(NamedTuple):
    """A failed run. why: the reason in one line; tail: the end of the log; code: the exit code, 0 if it has none."""
    run: Run
    why: str
    tail: str
    code: int = 0


class Status:
    """A status line: redrawn on a terminal, or written from time to time to a log."""

    def __init__(self, stream=None):
        self.stream = sys.stdout if stream is None else stream
        self.screen = self.stream.isatty()
        self.shown = 0.

    def message(self, text: str):
        """Prints a line that stays."""
        self.stream.write(('\r\033[K' if self.screen else '') + text + '\n')
        self.stream.flush()
        self.shown = time.monotonic()

    def show(self, line: Callable[[], str]):
        """Shows a line that the next one replaces; ``line`` is called only when a new line is due."""
        if time.monotonic() - self.shown < (SCREEN_SECONDS if self.screen else LOG_SECONDS):
            return
        self.shown = time.monotonic()
        text = line()
        if self.screen:
            text = text[:max(os.get_terminal_size(self.stream.fileno()).columns - 1, 20)]
        self.stream.write(f'\r\033[K{text}' if self.screen else f'{text}\n')
        self.stream.flush()


class Runner:
    """Trains a list of runs below one folder.

    Args:
      out: folder of the run folders; the logs are in its subfolder ``logs/``.
      command: the training command, without the flags of a run.
      expected: the expected seconds of a run, or None where nothing is known yet.
      finished: called after each run that has finished.
      limit: seconds after which a training is asked to save and end, as by Ctrl-C; ``late`` is then True.
    """

    def __init__(self, out, command: Sequence[str], runs: Sequence[Run], expected: Callable[[Run], float | None],
                 finished: Callable[[Run], None], status: Status | None = None, limit: float | None = None):
        self.out, self.command, self.runs = pathlib.Path(out), list(command), list(runs)
        self.logs, self.expected, self.finished = self.out / 'logs', expected, finished
        self.status, self.limit, self.late = status or Status(), limit, False
        self.failures: dict[str, Failure] = {}
        self.done = {run.name for run in runs if self._state(run).finished}
        for name in self.done:                          # writes the end of those whose runner was killed
            run_state.Attempts(self.logs, name).seconds()
        self.stop = 0           # how often the user asked to stop
        self.process: subprocess.Popen | None = None

    def run(self) -> list[Failure]:
        """Trains the runs that are not finished; returns those that failed, and those that needed a failed run.

        Raises:
          Stopped: after Ctrl-C or SIGTERM.
        """
        with handling(self._ask_to_stop):
            for number, run in enumerate(self.runs, start=1):
                self._one(number, run)
        return list(self.failures.values())

    def _one(self, number, run):
        label = f'[{number}/{len(self.runs)}] {run.name}' if len(self.runs) > 1 else run.name
        if run.name in self.done:
            return
        if run.needs in self.failures:
            self.failures[run.name] = Failure(run, f'{run.needs}, from which it starts, failed', '')
            self.status.message(f'{label}: left out, because {self.failures[run.name].why}')
            return
        with self._training_lock(label) as lock:
            self._check_stop()
            state, code = self._state(run), 0
            if not state.finished:              # it may have finished in the process that was waited for
                self.status.message(f'{label}: {f"goes on from step {state.steps}" if state.begun else "begins"}'
                                f'{self._left(number, 0.)}')
                code = self._train(label, number, run, lock)
        self._report(label, run, code)

    def _report(self, label, run, code):
        if self._state(run).finished:
            seconds = run_state.Attempts(self.logs, run.name).seconds()
            self.status.message(f'{label}: finished' + (f' after {clock(seconds)}' if seconds is not None else ''))
            self.done.add(run.name)
            self.finished(run)
        elif not self.stop:
            log = self.logs / f'{run.name}.log'
            why = f'exit code {code}' if code else 'exit code 0, but it left no finished run with its scores'
            self.failures[run.name] = Failure(run, f'{why}; see {log}', tail(log), code)
            self.status.message(f'{label}: FAILED, {self.failures[run.name].why}\n{self.failures[run.name].tail}')
        self._check_stop()

    def _train(self, label, number, run, lock) -> int:
        attempts = run_state.Attempts(self.logs, run.name)
        attempts.began()
        command = [*self.command, *run.arguments(self.out)]
        with open(attempts.log, 'ab') as log:
            log.write(f'\n$ {" ".join(command[1:])}\n'.encode())
            log.flush()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                                            pass_fds=(lock.fileno(),), start_new_session=True)
        lock.seek(0)
        lock.truncate()
        lock.write(f'{self.process.pid}\n')
        lock.flush()
        began = time.monotonic()
        while self.process.poll() is None:
            self.status.show(lambda: f'{label}{self._left(number, time.monotonic() - began)} | '
                                     f'{last_line(attempts.log)}')
            if self.limit is not None and time.monotonic() - began > self.limit and not self.stop:
                self.late = True
                self._stop_training('the time is over')
            time.sleep(POLL_SECONDS)
        code, self.process = self.process.returncode, None
        attempts.ended(code)
        return code

    @contextlib.contextmanager
    def _training_lock(self, label):
        """The lock that the training process holds; waits for a training that a killed runner has left."""
        self.logs.mkdir(parents=True, exist_ok=True)
        with open(self.out / '.training', 'a+', encoding='utf-8') as lock:
            reported = False
            while not _locked(lock):
                self._check_stop()
                if not reported:
                    lock.seek(0)
                    process = lock.read().strip()
                    self.status.message(f'{label}: waiting for the training that a killed runner has left running '
                                    f'(process {process}); `kill {process}` makes it save and end')
                    reported = True
                time.sleep(POLL_SECONDS)
            yield lock

    def _left(self, number, spent) -> str:
        expected = [self.expected(later) for later in self.runs[number - 1:]
                    if later.name not in self.done]
        known = [seconds for seconds in expected if seconds is not None]
        if len(known) < len(expected):
            return ''
        own = max(known[0] - spent, 0.)
        table = f', {clock(own + sum(known[1:]))} of the table' if len(self.runs) > 1 else ''
        return f', about {clock(own)} left{table}'

    def _state(self, run) -> run_state.State:
        return run_state.read(self.out / run.name, run.part.kind)

    def _check_stop(self):
        if self.stop:
            raise Stopped

    def _ask_to_stop(self, number, frame):
        del frame
        self._stop_training(signal.Signals(number).name)

    def _stop_training(self, why):
        self.stop += 1
        if self.process is not None:
            self.status.message(f'{why}: waiting until the training has saved its state ...'
                            if self.stop == 1 else 'stopping at once')
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGINT if self.stop == 1 else signal.SIGKILL)


@contextlib.contextmanager
def only_one(out: str | os.PathLike) -> Iterator[None]:
    """Locks a folder for one runner.

    Raises:
      InputError: another runner uses the folder.
    """
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with open(out / '.lock', 'a+', encoding='utf-8') as lock:
        if not _locked(lock):
            lock.seek(0)
            raise InputError(f'{out}: another runner (process {lock.read().strip()}) is running there: wait for it, or '
                             'choose another --output')
        lock.truncate(0)
        lock.write(f'{os.getpid()}\n')
        lock.flush()
        yield


@contextlib.contextmanager
def handling(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Inside this context ``handler`` handles Ctrl-C and SIGTERM."""
    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, before in previous.items():
            signal.signal(number, before)


def tail(log: str | os.PathLike) -> str:
    """The last lines of a log, indented."""
    return '\n'.join(f'    {line}' for line in _end(log)[-TAIL_LINES:])


def last_line(log: str | os.PathLike) -> str:
    """The last line of a log."""
    lines = _end(log)
    return lines[-1] if lines else ''


def _end(log) -> list[str]:
    """The lines of the last part of a log, without empty ones; of a redrawn line only the last state."""
    with open(log, 'rb') as file:
        file.seek(max(os.path.getsize(log) - 8192, 0))
        text = file.read().decode('utf-8', 'replace')
    lines = [line.rsplit('\r', 1)[-1].replace('\033[K', '').rstrip() for line in text.split('\n')]
    return [line for line in lines if line.strip()]


def _locked(file) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
