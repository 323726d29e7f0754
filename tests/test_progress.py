"""What the bar says, and that a terminal shows it in one row."""
import fcntl
import io
import os
import pty
import re
import struct
import termios

import pytest

from yolov3_tf import progress
from yolov3_tf.progress import Bar, clock


def test_clock():
    assert [clock(seconds) for seconds in (0, 59.9, 61)] == ['0:00:00', '0:00:59', '0:01:01']
    assert clock(3600 * 27 + 62) == '27:01:02'


@pytest.fixture
def now(monkeypatch):
    """A clock that stands still until a test moves it."""
    now = [100.]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    return now


def test_speed_and_time_left_count_this_process_only(now):
    stream = io.StringIO()
    bar = Bar('stage full', 12, done=4, stream=stream)
    now[0] += 10.
    bar.advance(8, {'total': 1.5})
    assert stream.getvalue() == (
        'stage full [##########..............] 5/12 0.8 images/s, estimating | total 1.5\n')
    now[0] += 100.
    bar.pause(100.)
    assert bar.speed() == .8


def test_the_estimate_leaves_out_steps_that_build_graphs(now):
    bar = Bar('stage full', 1000, stream=io.StringIO())
    for seconds in (60., 20., 2.):              # two graphs, then a step as all the others will be
        now[0] += seconds
        bar.advance(8, {})
    assert '0:33:14 left' in bar.line({})       # 997 steps of 2 s
    for seconds in (2., 2., 30., 2.):           # a graph for another size
        now[0] += seconds
        bar.advance(8, {})
    now[0] += 500.
    bar.pause(500.)                             # validation is no step
    now[0] += 2.
    bar.advance(8, {})
    assert bar.seconds_left() == 992 * 2.


def test_the_score_of_the_last_validation_is_shown():
    bar = Bar('stage full', 3, stream=io.StringIO())
    assert 'mAP' not in bar.line({'total': 1})
    bar.score = 'mAP@.5 51.2 %'
    assert bar.line({'total': 1}).endswith(' | mAP@.5 51.2 % | total 1')


def test_a_log_gets_a_line_now_and_then_and_always_the_last(now):
    stream = io.StringIO()
    bar = Bar('stage full', 3, stream=stream)
    for _ in range(3):
        bar.advance(1, {})
    assert stream.getvalue().count('\n') == 2 and '3/3' in stream.getvalue()


class Screen:
    """Rows of a terminal that wraps: what text, carriage return, new line and erase-to-the-end make of them."""

    def __init__(self, columns):
        self.columns, self.rows, self.at = columns, [[]], 0

    def feed(self, text):
        for part in re.findall(r'\033\[K|.', text, re.DOTALL):
            if part == '\033[K':
                del self.rows[-1][self.at:]
            elif part == '\r':
                self.at = 0
            elif part == '\n':
                self.rows.append([])
            else:
                self._put(part)

    def _put(self, character):
        cells = [character, ''] if ord(character) >= 0x1100 else [character]
        if self.at + len(cells) > self.columns:
            self.rows.append([])
            self.at = 0
        self.rows[-1][self.at:self.at + len(cells)] = cells
        self.at += len(cells)


class Terminal:
    """A pseudo terminal: a stream for the program, and what it has shown so far."""

    def __init__(self, columns):
        self.master, slave = pty.openpty()
        self.stream = open(slave, 'w', encoding='utf-8')
        self.screen = Screen(columns)
        self.resize(columns)

    def resize(self, columns):
        fcntl.ioctl(self.stream.fileno(), termios.TIOCSWINSZ, struct.pack('HHHH', 24, columns, 0, 0))
        self.screen.columns = columns

    def rows(self):
        os.set_blocking(self.master, False)
        try:
            while True:
                self.screen.feed(os.read(self.master, 65536).decode())
        except BlockingIOError:
            return [''.join(row) for row in self.screen.rows]

    def close(self):
        self.stream.close()
        os.close(self.master)


@pytest.mark.parametrize('columns', [80, 40, 200])
@pytest.mark.parametrize('label', ['stage full', 'Stufe ganz 段階'])
def test_a_terminal_shows_one_row_whatever_its_width(now, columns, label):
    terminal = Terminal(columns)
    bar = Bar(label, 123_456, stream=terminal.stream)
    bar.score = 'mAP@.5 51.2 %'
    for step in range(30):
        now[0] += 1.
        bar.advance(64, dict.fromkeys(('lr', 'box', 'objectness', 'class', 'total'), 1.2345 + step))
        rows = terminal.rows()
        assert len(rows) == 1 and progress.width(rows[0]) < columns, rows
    assert rows[0].startswith(label) and '30/123456' in rows[0]
    assert ('[' in rows[0] and 'total' in rows[0]) == (columns == 200)
    if columns >= 80:
        assert 'images/s, 34:17:06 left | mAP@.5 51.2 %' in rows[0]
    bar.message('epoch 1')
    bar.close()
    assert terminal.rows()[:1] == ['epoch 1']
    terminal.close()


def test_a_terminal_made_narrower_is_drawn_in_its_new_width(now):
    terminal = Terminal(120)
    bar = Bar('stage full', 100, stream=terminal.stream)
    now[0] += 1.
    bar.advance(8, {'total': 1., 'objectness': 2.})
    assert 'objectness 2' in terminal.rows()[0]
    terminal.resize(30)
    now[0] += 1.
    bar.advance(8, {'total': 1., 'objectness': 2.})
    assert terminal.rows()[-1] == 'stage full 2/100 8.0 images/s'
    terminal.close()
