"""One line a stage that says how far it is, how fast, and how long it will take."""
from __future__ import annotations

import collections
import os
import statistics
import sys
import time
import unicodedata
from collections.abc import Mapping

WIDTH = 24              # cells of the bar, fewer where the terminal has no columns for them
NARROWEST = 6           # with fewer cells there is no bar
# A log file gets a line of its own this often, a terminal is redrawn in place.
LOG_SECONDS, SCREEN_SECONDS = 15., .2
# The first steps build graphs and tell nothing of the next. The median of the recent ones says how long a step takes:
# a graph that is built later, for another input size, is one slow step among many.
FIRST_STEPS, RECENT_STEPS = 2, 100


class Bar:
    """Progress over ``total`` steps, of which ``done`` were made before this process began.

    Args:
      label: printed before the bar.
      stream: where to; a terminal is redrawn in place, anything else gets a line now and then.

    Attributes:
      score: of the last validation, such as ``mAP@.5 51.2 %``; shown where it is not empty.
    """

    def __init__(self, label: str, total: int, done: int = 0, stream=None):
        self.label, self.total, self.done, self.first = label, total, done, done
        self.score: str = ''
        self.stream = sys.stderr if stream is None else stream
        self.screen = self.stream.isatty()
        self.began = time.monotonic()
        self.shown, self.images, self.paused = 0., 0, 0.
        self.ended = 0.         # seconds, without pauses, at which the last step ended
        self.durations: collections.deque[float] = collections.deque(maxlen=RECENT_STEPS)

    def advance(self, images: int, values: Mapping[str, float]) -> None:
        """Counts one step over some images; ``values`` are shown by name."""
        self.done += 1
        self.images += images
        now, seconds = time.monotonic(), self._seconds()
        if self.done - self.first > FIRST_STEPS:
            self.durations.append(seconds - self.ended)
        self.ended = seconds
        if now - self.shown >= (SCREEN_SECONDS if self.screen else LOG_SECONDS) or self.done == self.total:
            self.shown = now
            self._write(self.line(values, self._columns()))

    def line(self, values: Mapping[str, float], columns: int | None = None) -> str:
        """The text of the bar, at most ``columns`` wide: first the bar shrinks, then the end is cut off."""
        left = f'{clock(self.seconds_left())} left' if self.durations or self.done == self.total else 'estimating'
        numbers = ' '.join(f'{name} {value:.4g}' for name, value in values.items())
        text = f' {self.done}/{self.total} {self.speed():.1f} images/s, {left}'
        text += ''.join(f' | {part}' for part in (self.score, numbers) if part)
        cells = WIDTH if columns is None else min(WIDTH, columns - width(self.label) - width(text) - 3)
        filled = cells * self.done // max(self.total, 1)
        bar = f' [{"#" * filled}{"." * (cells - filled)}]' if cells >= NARROWEST else ''
        return cut(f'{self.label}{bar}{text}', columns)

    def seconds_left(self) -> float:
        """Estimate from the recent steps; 0 before there is one that counts."""
        return (self.total - self.done) * statistics.median(self.durations or [0.])

    def speed(self) -> float:
        """Images a second since this process began the stage, pauses left out."""
        return self.images / max(self._seconds(), 1e-9)

    def pause(self, seconds: float) -> None:
        """Takes time spent on something else (validation) out of the speed."""
        self.paused += seconds

    def message(self, text: str) -> None:
        """Prints a line of its own above the bar."""
        self.stream.write(('\r\033[K' if self.screen else '') + text + '\n')
        self.stream.flush()

    def close(self) -> None:
        """Ends the line."""
        if self.screen and self.shown:
            self.stream.write('\n')
            self.stream.flush()

    def _columns(self):
        """Columns to draw in, as the terminal is now; its last one stays free, for some wrap when it is filled."""
        if not self.screen:
            return None
        try:
            columns = os.get_terminal_size(self.stream.fileno()).columns
        except (OSError, ValueError):       # a terminal that does not say, or a stream without a descriptor
            columns = 0
        return (columns or 80) - 1

    def _write(self, text):
        self.stream.write(f'\r\033[K{text}' if self.screen else f'{text}\n')
        self.stream.flush()

    def _seconds(self):
        return time.monotonic() - self.began - self.paused


def width(text: str) -> int:
    """Columns that a text takes in a terminal: two for a wide character, none for one that joins the one before."""
    return sum(map(_columns_of, text))


def cut(text: str, columns: int | None) -> str:
    """The beginning of the text that is at most ``columns`` wide; all of it for None."""
    if columns is None or width(text) <= columns:
        return text
    used, kept = 0, []
    for character in text:
        used += _columns_of(character)
        if used > columns:
            break
        kept.append(character)
    return ''.join(kept)


def clock(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    seconds = int(seconds)
    return f'{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}'


def _columns_of(character):
    if unicodedata.combining(character) or unicodedata.category(character) in ('Cf', 'Me', 'Mn'):
        return 0
    return 2 if unicodedata.east_asian_width(character) in 'WF' else 1
