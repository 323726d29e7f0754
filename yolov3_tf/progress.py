"""One line a stage that says how far it is, how fast, and how long it will take."""
from __future__ import annotations

import sys
import time
from collections.abc import Mapping

WIDTH = 24
# A log file gets a line of its own this often, a terminal is redrawn in place.
LOG_SECONDS, SCREEN_SECONDS = 15., .2


class Bar:
    """Progress over ``total`` steps, of which ``done`` were made before this process began.

    Args:
      label: printed before the bar.
      stream: where to; a terminal is redrawn in place, anything else gets a line now and then.
    """

    def __init__(self, label: str, total: int, done: int = 0, stream=None):
        self.label, self.total, self.done, self.first = label, total, done, done
        self.stream = sys.stderr if stream is None else stream
        self.screen = self.stream.isatty()
        self.began = time.monotonic()
        self.shown, self.images, self.paused = 0., 0, 0.

    def advance(self, images: int, values: Mapping[str, float]):
        """Counts one step over some images; ``values`` are shown by name."""
        self.done += 1
        self.images += images
        now = time.monotonic()
        if now - self.shown >= (SCREEN_SECONDS if self.screen else LOG_SECONDS) or self.done == self.total:
            self.shown = now
            self._write(self.line(values))

    def line(self, values: Mapping[str, float]) -> str:
        filled = WIDTH * self.done // max(self.total, 1)
        parts = ' '.join(f'{name} {value:.4g}' for name, value in values.items())
        left = (self.total - self.done) * self._seconds() / max(self.done - self.first, 1)
        return (f'{self.label} [{"#" * filled}{"." * (WIDTH - filled)}] {self.done}/{self.total} '
                f'{self.speed():.1f} images/s, {clock(left)} left | {parts}')

    def speed(self) -> float:
        """Images a second since this process began the stage, pauses left out."""
        return self.images / max(self._seconds(), 1e-9)

    def pause(self, seconds: float):
        """Takes time spent on something else (validation) out of the speed."""
        self.paused += seconds

    def message(self, text: str):
        """Prints a line of its own above the bar."""
        self.stream.write(('\r\033[K' if self.screen else '') + text + '\n')
        self.stream.flush()

    def close(self):
        if self.screen and self.shown:
            self.stream.write('\n')
            self.stream.flush()

    def _write(self, text):
        self.stream.write(f'\r\033[K{text}' if self.screen else f'{text}\n')
        self.stream.flush()

    def _seconds(self):
        return time.monotonic() - self.began - self.paused


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    seconds = int(seconds)
    return f'{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}'
