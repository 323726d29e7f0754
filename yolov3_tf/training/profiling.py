"""A trace of a few steps for TensorBoard's profiler, once in each process."""
from __future__ import annotations

import tensorflow as tf

TRACED = range(3, 8)        # steps of a process; the first steps build graphs


class Profiler:
    """Traces the steps of ``TRACED`` into a folder; without a folder it does nothing."""

    def __init__(self, folder=None):
        self.folder, self.steps, self.running = folder, 0, False

    def before_step(self):
        """Starts the trace before the first of the steps and ends it after the last."""
        if self.folder is not None and self.steps == TRACED.start:
            tf.profiler.experimental.start(str(self.folder))
            self.running = True
        if self.steps == TRACED.stop:
            self.end()
        self.steps += 1

    def end(self):
        """Writes the trace if one has begun, also when a run ends before the trace is complete."""
        if self.running:
            tf.profiler.experimental.stop()
            self.running = False
