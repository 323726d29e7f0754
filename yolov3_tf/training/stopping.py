"""Ctrl-C, SIGTERM, SIGHUP (a closed terminal): the step is finished and saved; all workers stop after the same one."""
from __future__ import annotations

import contextlib
import os
import signal
import threading

HANGUP = getattr(signal, 'SIGHUP', None)        # not on Windows


def signals() -> list[signal.Signals]:
    """Those that ask to stop; not SIGHUP where ``nohup`` had it ignored."""
    found = [signal.SIGINT, signal.SIGTERM]
    return found + [HANGUP] if HANGUP and signal.getsignal(HANGUP) != signal.SIG_IGN else found


class Interrupted(Exception):
    """The user asked to stop; the run is saved in the file that the message names.

    Args:
      checkpoint: the last one, None where the run had none yet.
    """

    def __init__(self, checkpoint: str | os.PathLike | None):
        super().__init__(str(checkpoint))
        self.checkpoint = checkpoint


class StopRequest:
    """Whether the user asked to stop.

    Attributes:
      asked: this process received a signal.
      agreed: all workers know of the request, so that they stop after the same step.

    Args:
      workers: number of processes that train together; with one, a request is agreed at once.
    """

    def __init__(self, workers: int = 1):
        self.workers, self.asked, self.agreed = workers, False, False

    @contextlib.contextmanager
    def listening(self):
        """Handles the signals in this context, in the main thread only; a second one raises KeyboardInterrupt."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self._ask) for number in signals()}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _ask(self, number, frame):
        del frame
        if self.asked:
            if number == HANGUP:        # shell and kernel both send it when a terminal closes
                return
            raise KeyboardInterrupt
        self.asked = True
        self.agreed = self.workers == 1
        print(f'\n{signal.Signals(number).name}: finishing this step, then saving (once more: at once) ...', flush=True)
