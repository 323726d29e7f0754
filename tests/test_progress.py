"""What the bar says."""
import io

from yolov3_tf import progress
from yolov3_tf.progress import Bar, clock


def test_clock():
    assert [clock(seconds) for seconds in (0, 59.9, 61)] == ['0:00:00', '0:00:59', '0:01:01']
    assert clock(3600 * 27 + 62) == '27:01:02'


def test_speed_and_time_left_count_this_process_only(monkeypatch):
    now = [100.]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    stream = io.StringIO()
    bar = Bar('stage all', 10, done=4, stream=stream)
    now[0] += 10.
    bar.advance(8, {'total': 1.5})
    # One step of 8 images in 10 s; 5 steps are left.
    assert stream.getvalue() == 'stage all [############............] 5/10 0.8 images/s, 0:00:50 left | total 1.5\n'
    now[0] += 100.
    bar.pause(100.)
    assert bar.speed() == .8


def test_a_log_gets_a_line_now_and_then_and_always_the_last(monkeypatch):
    monkeypatch.setattr(progress.time, 'monotonic', lambda: 100.)
    stream = io.StringIO()
    bar = Bar('stage all', 3, stream=stream)
    for _ in range(3):
        bar.advance(1, {})
    assert stream.getvalue().count('\n') == 2 and '3/3' in stream.getvalue()
