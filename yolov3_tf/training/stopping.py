"""Ctrl-C and SIGTERM: the step at hand is finished and saved, on all workers after the same step."""
from __future__ import annotations

import contextlib
import signal
import threading


class Interrupted(Exception):
    """The user asked to stop; everything is saved, in the file that the message names."""


class StopRequest:
    """Whether the user asked to stop.

    Attributes:
      asked: of this process.
      agreed: by all workers, so that they stop after the same step.

    Args:
      workers: how many processes train together; alone, asking is agreeing.
    """

    def __init__(self, workers: int = 1):
        self.workers, self.asked, self.agreed = workers, False, False

    @contextlib.contextmanager
    def listening(self):
        """Takes both signals meanwhile; a second one raises KeyboardInterrupt. Only the main thread may do so."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _ask(self, number, frame):
        del frame
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        self.agreed = self.workers == 1
        print(f'\n{signal.Signals(number).name}: finishing this step, then saving ...', flush=True)
