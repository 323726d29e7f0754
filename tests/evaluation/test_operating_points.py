"""The best thresholds against loops that count by the definition, and what is written of them and read back."""
import json

import numpy as np
import pytest

from yolov3_tf.evaluation import operating_points, report, voc
from yolov3_tf.evaluation.operating_points import OperatingPoint, OperatingPoints
from yolov3_tf.structures import Dataset, Detections, Record

NAMES = ['ant', 'bee', 'cow', 'absent']         # the last is detected, but has no object


def random_set(seed, images=12):
    """Objects, some difficult, and detections near them and elsewhere; scores have ties."""
    rng, records, detections = np.random.default_rng(seed), [], []
    for number in range(images):
        count = rng.integers(0, 5)
        near = rng.uniform(0, 80, (count, 2))
        boxes = np.hstack([near, near + rng.uniform(10, 40, (count, 2))]).astype(np.float32)
        classes = rng.integers(0, 3, count).astype(np.int32)
        records.append(Record('', str(number), 120, 120, boxes, classes, rng.random(count) < .2,
                              np.zeros(count, bool), np.zeros(count, np.float32)))
        found = np.concatenate([boxes, boxes, rng.uniform(0, 60, (3, 4)) + [0, 0, 60, 60]])
        found = (found + rng.normal(0, 4, found.shape)).astype(np.float32)
        labels = np.concatenate([classes, np.roll(classes, 1), rng.integers(0, 4, 3)]).astype(np.int32)
        scores = np.round(rng.random(len(found)) * .9 + .05, 2).astype(np.float32)
        detections.append(Detections(str(number), found, scores, labels))
    return Dataset(records, NAMES, []), detections


def iou(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def count_by_hand(dataset, detections, wanted, threshold):
    """(right, shown, objects) of one class at a threshold, by VOC's rules in loops."""
    right = shown = objects = 0
    rows = sorted(((-float(score), image, k) for image, found in enumerate(detections)
                   for k, score in enumerate(found.scores)
                   if found.classes[k] == wanted and score > np.float32(threshold)))
    taken = set()
    for _, image, k in rows:
        record, best, which = dataset.records[image], -1., -1
        for index, box in enumerate(record.boxes.tolist()):
            if record.classes[index] == wanted and iou(detections[image].boxes[k].tolist(), box) > best:
                best, which = iou(detections[image].boxes[k].tolist(), box), index
        if best > .5 and record.difficult[which]:
            continue
        shown += 1
        if best > .5 and (image, which) not in taken:
            taken.add((image, which))
            right += 1
    for record in dataset.records:
        objects += int(((record.classes == wanted) & ~record.difficult).sum())
    return right, shown, objects


def f1_by_hand(dataset, detections, classes, threshold):
    right, shown, objects = np.sum([count_by_hand(dataset, detections, one, threshold) for one in classes], axis=0)
    return 2 * right / (shown + objects), right / shown if shown else np.nan, right / objects


@pytest.mark.parametrize('seed', range(3))
def test_the_best_threshold_of_each_class_and_over_all_against_loops(seed):
    dataset, detections = random_set(seed)
    points = report.evaluate(dataset, detections).operating
    scores = np.unique(np.concatenate([found.scores for found in detections]).astype(np.float64))
    between = [0., *(scores[:-1] + scores[1:]) / 2]
    assert set(points.per_class) == set(NAMES[:3])
    for classes, point in [(range(4), points.overall)] + [([k], points.per_class[NAMES[k]]) for k in range(3)]:
        tried = {threshold: f1_by_hand(dataset, detections, classes, threshold)[0] for threshold in between}
        best = max(tried.values())
        assert point.f1 == pytest.approx(best)
        np.testing.assert_allclose(f1_by_hand(dataset, detections, classes, point.score), point[1:])
        highest = max(threshold for threshold, value in tried.items() if value > best - 1e-9)
        shown = [sum(count_by_hand(dataset, detections, one, threshold)[1] for one in classes)
                 for threshold in (point.score, highest)]
        assert shown[0] == shown[1]         # of equally good thresholds the highest


def curve(hits, scores, positives):
    count = np.cumsum(hits)
    return voc.Curve(count / positives, count / np.arange(1, len(hits) + 1), np.array(scores, float), positives)


def test_of_equal_f1_the_higher_score_is_taken():
    """One of two objects at .9: F1 2 / 3; the other after two false ones, at .2: 2 * 2 / (4 + 2), the same."""
    point = operating_points.best(operating_points.f1_curve(curve([1, 0, 0, 1], [.9, .8, .5, .2], 2)))
    assert .8 <= point.score < .9 and (point.f1, point.precision, point.recall) == (2 / 3, 1., .5)


def test_equal_scores_are_shown_together_or_not_at_all():
    of = operating_points.f1_curve(curve([1, 0, 0, 1], [.5, .5, .5, .2], 2))
    assert of.scores.tolist() == [.5, .2] and of.precision.tolist() == [1 / 3, .5]


@pytest.mark.parametrize('low, high, expected', [
    (.3, .5, .4), (.4301, .4372, .43365), (0., .9, .5), (.41, .47, .44), (-3., -2., -2.5),
    (np.float32(.5), np.nextafter(np.float32(.5), np.float32(1)), .5)])
def test_a_threshold_has_few_decimals_and_separates_the_scores(low, high, expected):
    value = operating_points.between(float(low), float(high))
    assert low <= value < high and np.float32(value) < np.float32(high)
    assert value == pytest.approx(expected, abs=.06) and len(str(value)) <= 6


def test_without_a_right_detection_there_is_no_point():
    dataset = Dataset([Record('', 'a', 0, 0, np.array([[0, 0, 9, 9]], np.float32), np.zeros(1, np.int32),
                              *np.zeros((2, 1), bool), np.ones(1, np.float32))], ['ant'], [])
    for found in ([], [Detections('a', np.array([[50, 50, 60, 60]], np.float32), np.ones(1, np.float32),
                                  np.zeros(1, np.int32))]):
        of = report.evaluate(dataset, found)
        assert of.operating is None and np.isnan(of.summary['operating_score'])
        assert 'there is no best score threshold' in report.table(of)
        assert json.loads(report.to_json(of))['operating_point'] is None


def test_the_report_prints_and_writes_it(tmp_path):
    of = report.evaluate(*random_set(0))
    score, f1, precision, recall = of.operating.overall
    assert (f'Best F1 {100 * f1:.1f} at scores above {score}: {100 * precision:.1f} % of these boxes are right, '
            f'{100 * recall:.1f} % of the objects found.') in report.table(of).splitlines()
    assert of.summary['operating_score'] == score and of.summary['operating_recall'] == recall
    run = tmp_path / 'run'
    report.write(run / 'evaluation', of)
    best = run / 'checkpoints' / 'best.h5'
    assert operating_points.of_checkpoint(best) == of.operating
    assert operating_points.of_checkpoint(run / 'checkpoints' / 'last.h5') is None
    assert operating_points.of_checkpoint(tmp_path / 'best.h5') is None


@pytest.mark.parametrize('text', [
    '', '[]', '{}', '{"operating_point": null}', '{"operating_point": {"score": 1}}', '{"operating_point": 7}',
    '{"operating_point": {"score": "x", "f1": 1, "precision": 1, "recall": 1, "per_class": {}}}',
    '{"operating_point": {"score": NaN, "f1": 1, "precision": 1, "recall": 1, "per_class": {}}}',
    '{"operating_point": {"score": 1, "f1": 1, "precision": 1, "recall": 1, "per_class": []}}'])
def test_damaged_metrics_give_no_operating_point(tmp_path, text):
    (tmp_path / 'evaluation').mkdir()
    (tmp_path / 'evaluation' / 'metrics.json').write_text(text)
    assert operating_points.of_checkpoint(tmp_path / 'checkpoints' / 'best.h5') is None


def test_values_are_json_and_read_back():
    points = OperatingPoints(OperatingPoint(.5, .6, .7, .8), {'ant': OperatingPoint(.1, .2, .3, .4)})
    assert operating_points.from_values(json.loads(json.dumps(operating_points.to_values(points)))) == points
    assert operating_points.to_values(None) is None and operating_points.from_values(None) is None
