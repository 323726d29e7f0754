"""A trace of a few steps for TensorBoard's profiler, once a process."""
from __future__ import annotations

import tensorflow as tf

TRACED = range(3, 8)        # steps of a process; the first ones build graphs


class Profiler:
    """Traces the steps of ``TRACED`` into a folder; None traces nothing."""

    def __init__(self, folder=None):
        self.folder, self.steps, self.running = folder, 0, False

    def before_step(self):
        """Starts or ends the trace where it is time."""
        if self.folder is not None and self.steps == TRACED.start:
            tf.profiler.experimental.start(str(self.folder))
            self.running = True
        if self.steps == TRACED.stop:
            self.end()
        self.steps += 1

    def end(self):
        """Writes the trace down, where one was begun; also when a run ends before it is complete."""
        if self.running:
            tf.profiler.experimental.stop()
            self.running = False
