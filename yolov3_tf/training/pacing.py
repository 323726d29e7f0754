"""Plans the epochs of a run's last stage so that the run ends on time.

The first epoch is the warm-up, whose rate does not depend on their number; its duration says how many more fit. The
next two measure better, because no graph is built in them any more. After that the plan stays, unless the machine
becomes so much slower that the run would end late. The plan is part of the checkpoint: a resumed run keeps it.
"""
from __future__ import annotations

import math
import statistics
import time

from yolov3_tf.progress import clock
from yolov3_tf.training.stages import Stage

RESERVE = 2.        # validations whose time is kept for the final evaluation
END = 20.           # seconds that are kept for building its graph, the plots and the export
LATE = 1.1          # a run of so many times the epochs that still fit, and one more, is planned again
MEASURED = 3        # epochs after which a new plan is made in any case
FIRST_STEPS = 2     # of a process: they build graphs and tell nothing of the next


class Pace:
    """Measures a run.

    Args:
      minutes: that the run may take.
      seconds: that earlier processes of this run took.
    """

    def __init__(self, minutes: float, seconds: float = 0.):
        self.minutes, self.before, self.began = minutes, seconds, time.monotonic()
        self.steps: list[float] = []            # seconds of each step of the current epoch
        self.made = 0                           # steps of this process
        self.validation = 0.                    # seconds of the last validation

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken so far, in all its processes."""
        return self.before + time.monotonic() - self.began

    def begin_epoch(self) -> None:
        """Forgets the steps of the epoch before, which may be of another stage."""
        self.steps = []

    def add_step(self, seconds: float) -> None:
        """Counts a step, unless it is one of the first of this process."""
        self.made += 1
        if self.made > FIRST_STEPS:
            self.steps.append(seconds)

    def plan(self, stage: Stage, done: int, planned: int, steps: int, every: int) -> int:
        """The number of epochs that the stage should have, after ``done`` of them.

        Args:
          stage: its first ``warmup_epochs`` are made in any case, and at least one more.
          planned: the plan so far, 0 for none.
          steps: steps of an epoch.
          every: epochs from one validation to the next.
        """
        epoch = steps * statistics.fmean(self.steps) if self.steps else 0.
        if not epoch:                           # nothing measured: too few steps in this process
            return planned
        least = stage.warmup_epochs + 1
        # The first validation builds its graph, which the next ones do not.
        validation = min(self.validation, epoch) if done < MEASURED else self.validation
        fits = epochs_that_fit(60 * self.minutes - self.seconds, epoch, validation, every)
        late = planned - done > fits * LATE + 1
        if planned and done > MEASURED and not late:
            return planned
        return max(done + fits, least)


    def describe(self, planned: int, done: int, steps: int) -> str:
        """A new plan in words; also that it takes longer than asked for, where the fewest epochs do not fit."""
        end = self.seconds + (planned - done) * steps * statistics.fmean(self.steps or [0.]) + END
        asked = f'{self.minutes:g} {"minute" if self.minutes == 1 else "minutes"}'
        if end > LATE * 60 * self.minutes + END:
            return (f'planned {planned} epochs, the fewest: they take until {clock(end)}, longer '
                    f'than the {asked} asked for')
        return f'planned {planned} epochs, to end after {asked}'


def epochs_that_fit(seconds: float, epoch: float, validation: float, every: int = 1) -> int:
    """How many epochs with their validations fit in the time left, less ``RESERVE`` validations and ``END`` seconds."""
    return max(math.floor((seconds - END - RESERVE * validation) / (epoch + validation / every)), 0)


def with_epochs(stage: Stage, planned: int) -> Stage:
    """The stage with a planned number of epochs, the warm-up included; 0 leaves it as it is."""
    if not planned:
        return stage
    return stage._replace(rates=((planned - stage.warmup_epochs, stage.rates[0][1]),))
