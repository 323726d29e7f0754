"""Tracks of drawn squares against their known truth, and each rule of the association by itself."""
import numpy as np
import pytest
from fixtures import moving_squares as squares

from yolov3_tf.errors import InputError
from yolov3_tf.inference import sources, track_files
from yolov3_tf.inference.tracking import Tracker, Tracking
from yolov3_tf.structures import Detections


def found(*rows):
    """Detections of (x1, y1, x2, y2, score[, class])."""
    rows = [(*row, 0)[:6] for row in rows]
    return Detections('', np.array([row[:4] for row in rows], np.float32).reshape(-1, 4),
                      np.array([row[4] for row in rows], np.float32), np.array([row[5] for row in rows], np.int32))


def run(detector, scene, **settings):
    tracker = Tracker(Tracking(.5, **settings), squares.RATE)
    found = [tracker.update(one) for one in detector.detect(range(squares.frame_count(scene)))]
    return {frame: dict(zip(one.track_ids.tolist(), one.boxes.tolist())) for frame, one in enumerate(found)}


def test_squares_that_cross_hide_leave_and_enter_keep_their_ids():
    """No switch, no false box; only the square that enters is missed, in the one frame until it is confirmed."""
    scene = squares.crossing()
    tracks = run(squares.Sees(scene), scene)
    counts = squares.count(scene, tracks)
    assert counts == squares.Counts(objects=sum(len(one.boxes) for one in scene), missed=1, false=0, switches=0)
    assert {number for found in tracks.values() for number in found} == {1, 2, 3, 4, 5}
    assert min(frame for frame, found in tracks.items() if 5 in found) == min(scene[4].boxes) + 1


def test_low_scores_keep_the_tracks_that_high_scores_alone_lose():
    """Three squares turn round where they score .3. Two-step association: 0 switches; high scores alone: 3."""
    scene = squares.behind_a_hedge()
    both = squares.count(scene, run(squares.Sees(scene), scene))
    high = squares.count(scene, run(squares.Sees(scene), scene, low_score=.5))
    assert (both.switches, both.missed, both.false) == (0, 0, 0)
    assert high.switches == 3 and high.missed >= 3 * 16


def test_the_count_of_switches_counts():
    """The oracle itself, on two squares whose ids are exchanged in frame 2, one missed in frame 1, one false box."""
    scene = [squares.square(0, range(3), 10, 10), squares.square(0, range(3), 100, 10)]
    a, b = scene[0].boxes[0], scene[1].boxes[0]
    tracks = {0: {1: a, 2: b}, 1: {1: a, 7: [200, 200, 220, 220]}, 2: {1: b, 2: a}}
    assert squares.count(scene, tracks) == squares.Counts(objects=6, missed=1, false=1, switches=2)


@pytest.mark.parametrize('scene, flags', [(squares.crossing, {}), (squares.behind_a_hedge, {}),
                                          (squares.behind_a_hedge, {'low_score': .5})])
def test_py_motmetrics_agrees_about_the_files(tmp_path, monkeypatch, scene, flags):
    """MOTA = 1 - (missed + false + switches) / objects, and IDF1, of the result file as it is read by that program."""
    metrics = pytest.importorskip('motmetrics', reason='py-motmetrics is not installed (pip install motmetrics)')
    monkeypatch.setattr(np, 'asfarray', lambda values: np.asarray(values, float), raising=False)    # 1.4 with NumPy 2
    scene = scene()
    tracks = run(squares.Sees(scene), scene, **flags)
    truth = {frame: {number + 1: one.boxes[frame] for number, one in enumerate(scene) if frame in one.boxes}
             for frame in range(squares.frame_count(scene))}
    names = {}
    for name, boxes in (('truth', truth), ('found', tracks)):
        names[name] = str(tmp_path / f'{name}.txt')
        track_files.write_mot(names[name], [
            {'frame': frame, 'detections': [{'track': number, 'class': 'ant', 'score': 1., 'box': box}
                                            for number, box in of_frame.items()]}
            for frame, of_frame in boxes.items()])
    read = {name: metrics.io.loadtxt(path, fmt='mot15-2D') for name, path in names.items()}
    left, top, width, height = read['truth'].loc[(1, 1)][['X', 'Y', 'Width', 'Height']]
    assert [left, top, left + width, top + height] == scene[0].boxes[0]     # it subtracts the 1 again
    summary = metrics.metrics.create().compute(
        metrics.utils.compare_to_groundtruth(read['truth'], read['found'], 'iou', distth=.5),
        metrics=['mota', 'idf1', 'num_switches', 'num_misses', 'num_false_positives', 'num_objects']).iloc[0]
    ours = squares.count(scene, tracks)
    assert (summary.num_objects, summary.num_misses, summary.num_false_positives, summary.num_switches) == ours
    assert summary.mota == pytest.approx(1 - (ours.missed + ours.false + ours.switches) / ours.objects)
    print(f'MOTA {summary.mota:.4f} IDF1 {summary.idf1:.4f} switches {summary.num_switches}')
    if not ours.switches:
        assert summary.idf1 == pytest.approx(2 * (ours.objects - ours.missed) / (2 * ours.objects - ours.missed))
    else:
        assert summary.idf1 < .7


def test_a_track_begins_above_the_score_threshold_and_counts_when_it_is_seen_again():
    tracker = Tracker(Tracking(.5))
    assert not len(tracker.update(found((0, 0, 10, 10, .5), (50, 0, 60, 10, .3))))         # not above, low
    assert not len(tracker.update(found((0, 0, 10, 10, .51))))                              # begins
    assert not len(tracker.update(found((50, 0, 60, 10, .6))))                              # the first was noise
    one = tracker.update(found((50, 0, 60, 10, .6)))
    assert one.track_ids.tolist() == [1] and one.boxes.tolist() == [[50, 0, 60, 10]]
    assert tracker.update(found((50, 0, 60, 10, .11))).track_ids.tolist() == [1]            # a low score goes on
    assert not len(tracker.update(found((50, 0, 60, 10, .1))))                              # but not above .1


def test_in_the_first_frame_all_count_in_order_of_their_scores():
    first = Tracker(Tracking(.5)).update(found((0, 0, 9, 9, .9), (20, 0, 29, 9, .8), (40, 0, 49, 9, .7, 1)))
    assert first.track_ids.tolist() == [1, 2, 3] and first.scores.tolist() == pytest.approx([.9, .8, .7])


def test_detections_of_another_class_are_another_track():
    tracker = Tracker(Tracking(.5))
    tracker.update(found((0, 0, 10, 10, .9, 0)))
    assert not len(tracker.update(found((0, 0, 10, 10, .9, 1))))
    both = tracker.update(found((0, 0, 10, 10, .9, 1), (0, 0, 10, 10, .8, 0)))
    assert dict(zip(both.classes.tolist(), both.track_ids.tolist())) == {1: 2, 0: 1}


def test_the_buffer_is_in_seconds_and_ids_are_not_used_again():
    box = (0, 0, 10, 10, .9)
    for rate, buffer, gap, expected in ((30, 1., 30, 1), (30, 1., 31, 2), (10, 1., 10, 1), (10, 1., 11, 2),
                                        (10, 0., 1, 2), (.2, 1., 1, 1), (90000, 1., 31, 2), (0, 1., 30, 1)):
        tracker = Tracker(Tracking(.5, buffer=buffer), rate)
        tracker.update(found(box))
        for _ in range(gap):
            assert not len(tracker.update(found()))
        tracker.update(found(box))
        assert tracker.update(found(box)).track_ids.tolist() == [expected], (rate, buffer, gap)
        skipping = Tracker(Tracking(.5, buffer=buffer), rate)
        skipping.update(found(box))
        skipping.update(found(box), gap + 1)                # the same, with the numbers of the frames
        assert skipping.update(found(box)).track_ids.tolist() == [expected]
    with pytest.raises(ValueError, match='frame 3: expected one after 12'):
        tracker.frame = 12
        tracker.update(found(box), 3)


def test_a_gap_of_a_million_frames_is_no_work():
    tracker = Tracker(Tracking(.5))
    tracker.update(found((0, 0, 10, 10, .9)))
    tracker.update(found((0, 0, 10, 10, .9)), 10**9)
    assert tracker.frame == 10**9


def test_a_lost_track_under_a_younger_one_takes_over():
    """The track that was seen in frames 0 to 5 comes back beside where it is expected; both are one object."""
    tracker = Tracker(Tracking(.5))
    for frame in range(6):
        tracker.update(found((10 * frame, 0, 10 * frame + 40, 40, .9)))
    for _ in range(4):
        tracker.update(found())
    x = 10 * 10
    seen = [tracker.update(found((x + 10 * k, 0, x + 40 + 10 * k, 40, .9))).track_ids.tolist() for k in range(3)]
    assert seen == [[1], [1], [1]]


@pytest.mark.parametrize('rows', [
    [(np.nan, 0, 10, 10, .9)], [(10, 10, 10, 20, .9)], [(10, 10, 5, 20, .9)], [(-np.inf, 0, np.inf, 10, .9)], []])
def test_boxes_that_are_none_begin_no_track(rows):
    tracker = Tracker(Tracking(.5))
    assert not len(tracker.update(found(*rows)))
    assert tracker.update(found((0, 0, 10, 10, .9), *rows)).track_ids.tolist() == []
    assert tracker.update(found((0, 0, 10, 10, .9), *rows)).track_ids.tolist() == [1]


def test_what_is_asked_for_is_checked():
    for settings, message in (({'score_threshold': 1.1}, 'score_threshold 1.1: expected a number from 0 to 1'),
                              ({'score_threshold': .5, 'low_score': .6}, 'low_score 0.6: expected at most the score'),
                              ({'score_threshold': .5, 'iou': -1}, 'iou -1: expected a number'),
                              ({'score_threshold': .5, 'buffer': 61}, 'buffer 61: expected seconds, 0 to 60')):
        with pytest.raises(InputError, match=message):
            Tracker(Tracking(**settings))
    assert (Tracking(.5).lowest, Tracking(.12).lowest, Tracking(.5, .5).lowest) == (.1, .06, .5)


def test_equal_input_gives_equal_tracks_whatever_the_batch(tmp_path):
    scene = squares.crossing()
    video = squares.write_video(tmp_path / 'film.avi', scene)
    reports = []
    for size in (1, 7):
        (tmp_path / str(size)).mkdir()
        reports.append(sources.detect_video(squares.Sees(scene), video, str(tmp_path / str(size)), .5, size,
                                            make_tracker=lambda rate: Tracker(Tracking(.5), rate)))
    assert reports[0].entries == reports[1].entries
