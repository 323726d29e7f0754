"""The report joins the scores of one set: counts, means, table, file, and the check of its input."""
import json

import numpy as np
import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import coco, report, voc
from yolov3_tf.structures import Dataset, Detections, Record


def record(name, boxes, classes, difficult=None, crowd=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    none = [False] * len(boxes)
    return Record(f'{name}.jpg', name, 640, 480, boxes, np.array(classes, np.int32),
                  np.array(difficult or none, bool), np.array(crowd or none, bool),
                  (boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


def found(name, boxes, scores, classes):
    return Detections(name, np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32),
                             np.array(classes, np.int32))


DOG, CAT, HERD = [10, 10, 110, 90], [200, 50, 300, 170], [0, 200, 600, 400]


@pytest.fixture
def small():
    """A dog is found, a cat is missed, one dog is difficult, the sheep are a crowd, a zebra is only detected."""
    records = [record('a', [DOG, CAT], [0, 1]), record('c', [], []),
               record('b', [DOG, HERD], [0, 2], difficult=[True, False], crowd=[False, True])]
    detections = [found('c', [DOG], [.3], [3]), found('a', [DOG], [.9], [0])]
    return Dataset(records, ['dog', 'cat', 'sheep', 'zebra'], []), detections


def test_counts_and_means(small):
    of = report.evaluate(*small)
    assert (of.images, of.objects.tolist(), of.ignored.tolist(), of.detections.tolist()) == (
        3, [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 1])
    for scores in (of.voc_area, of.voc_07, of.giou_area, of.coco_ap):
        np.testing.assert_allclose(scores, [1, 0, np.nan, np.nan])
    for name in ('mAP', 'mAP_07', 'mAP_giou', 'AP_iou', 'AP_giou', 'coco_AP', 'coco_AP50'):
        assert of.summary[name] == pytest.approx(.5)
    assert {f'coco_{name}' for name in coco.NAMES} < set(of.summary)
    assert report.mean_ap(*small) == of.summary['mAP']


def test_a_crowd_is_ignored_by_voc_too(small):
    dataset, detections = small
    detections = [*detections, found('b', [HERD], [.8], [2])]
    assert report.evaluate(dataset, detections).curves[2].scores.size == 0


def test_mean_over_thresholds_by_hand():
    """IoU .72 (100 x 80 against 100 x 57.6): above .5, .55, .6, .65, .7, so half of the ten thresholds."""
    dataset = Dataset([record('a', [[0, 0, 100, 80]], [0])], ['dog'], [])
    of = report.evaluate(dataset, [found('a', [[0, 0, 100, 57.6]], [1], [0])])
    assert of.summary['AP_iou'] == pytest.approx(.5) and of.summary['AP_giou'] == pytest.approx(.5)
    assert of.summary['coco_AP'] == pytest.approx(.5)


def test_order_of_images_does_not_matter_but_names_do(small):
    dataset, detections = small
    aligned = report.align(dataset, detections)
    assert [one.image_id for one in aligned] == ['a', 'c', 'b'] and len(aligned[2].boxes) == 0
    with pytest.raises(InputError, match='1 images of the detections are not in the data: got x, .* as a'):
        report.evaluate(dataset, [found('x', [], [], [])])
    with pytest.raises(InputError, match='image a comes twice in the detections'):
        report.evaluate(dataset, [detections[1], detections[1]])


def test_images_of_equal_names_are_matched_by_position():
    dataset = Dataset([record('1', [DOG], [0]), record('1', [CAT], [0])], ['dog'], [])
    good = [found('1', [DOG], [.9], [0]), found('1', [CAT], [.8], [0])]
    assert report.mean_ap(dataset, good) == 1
    assert report.evaluate(dataset, good).summary['coco_AP'] == pytest.approx(1)
    with pytest.raises(InputError, match='image 1 comes twice in the data'):
        report.evaluate(dataset, good[:1])


@pytest.mark.parametrize('bad, message', [
    (found('a', [DOG], [np.nan], [0]), 'detections of a: expected finite boxes and scores'),
    (found('a', [[0, 0, np.inf, 1]], [1], [0]), 'detections of a: expected finite boxes and scores'),
    (found('a', [DOG], [1], [4]), r'expected classes 0..3 \(dog, cat, sheep, zebra\), got 4..4'),
    (found('a', [DOG], [1], [-1]), 'got -1..-1'),
])
def test_bad_detections(small, bad, message):
    with pytest.raises(InputError, match=message):
        report.evaluate(small[0], [bad])


def test_table_has_a_row_for_each_class_in_percent(small):
    lines = report.table(report.evaluate(*small)).splitlines()
    assert len({len(line) for line in lines[:8]}) == 1
    assert lines[0].split() == 'class objects ignored detections VOC area VOC07 GIoU COCO AP'.split()
    assert lines[2].split() == ['dog', '1', '1', '1', '100.0', '100.0', '100.0', '100.0']
    assert lines[3].split() == ['cat', '1', '0', '0', '0.0', '0.0', '0.0', '0.0']
    assert lines[5].split() == ['zebra', '0', '0', '1', '-', '-', '-', '-']
    assert lines[7].split() == ['mean', '2', '2', '2', '50.0', '50.0', '50.0', '50.0']
    assert 'Without objects, so in no mean: sheep, zebra.' in lines
    assert lines[-4].split() == ['COCO', 'AP', '50.0', 'AP50', '50.0', 'AP75', '50.0']


def test_file_is_strict_json_with_null_for_what_was_not_evaluated(small, tmp_path):
    of = report.evaluate(*small)
    path = report.write(tmp_path / 'new' / 'folder', of)
    content = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f'{name} is no JSON'))
    assert path.name == 'metrics.json' and path.read_text() == report.to_json(of)
    assert content['summary']['mAP'] == .5 and content['summary']['coco_APsmall'] is None
    assert [row['class'] for row in content['per_class']] == ['dog', 'cat', 'sheep', 'zebra']
    assert content['per_class'][3]['voc_area'] is None and content['per_class'][0]['voc_area'] == 1
    assert content['curves'][0] == {'class': 'dog', 'recall': [1], 'precision': [1], 'score': [.9]}
    assert len(content['mean_curve']['recall']) == 101 and content['mean_curve']['precision'][0] == .5


def test_every_point_of_a_curve_where_recall_changes_is_in_the_file():
    """More detections than any thinning would keep: the area over the file's points is the AP beside it."""
    rng = np.random.default_rng(0)
    hit = rng.random(4000) < np.linspace(.9, .1, 4000)
    hits = np.cumsum(hit)
    curve = voc.Curve(hits / 2500, hits / np.arange(1, 4001), np.linspace(1, .01, 4000), 2500)
    of = report.evaluate(Dataset([record('a', [DOG], [0])], ['dog'], []), [])._replace(curves=[curve])
    points = json.loads(report.to_json(of))['curves'][0]
    assert len(points['recall']) == len(points['score']) == hit.sum()
    area, best = 0., 0.
    for k in reversed(range(len(points['recall']))):
        best = max(best, points['precision'][k])
        area += best * (points['recall'][k] - (points['recall'][k - 1] if k else 0.))
    assert area == pytest.approx(voc.area_ap(curve), abs=1e-6)


def test_a_class_without_objects_has_no_points(small):
    assert json.loads(report.to_json(report.evaluate(*small)))['curves'][3] == {
        'class': 'zebra', 'recall': [], 'precision': [], 'score': []}


def test_empty_set():
    of = report.evaluate(Dataset([], ['dog'], []), [])
    assert of.images == 0 and np.isnan(of.summary['mAP'])
    assert 'dog' in report.table(of) and json.loads(report.to_json(of))['summary']['mAP'] is None
