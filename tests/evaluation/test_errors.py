"""The kinds of errors against tidecv's own numbers, and cases small enough to see."""
import numpy as np
import pytest
from fixtures import tide_set

from yolov3_tf.evaluation import errors
from yolov3_tf.structures import Detections, Record

KINDS = ('classification', 'localisation', 'both', 'duplicate', 'background', 'missed')
# tidecv 1.0.1, as fixtures/tide_set.py prints it: AP, then cost in points and count of each kind, in this order.
BY_TIDECV = {
    (0, 0.): (30.6462, [5.6815, 14.3279, 2.4220, 1.0056, 8.2998, .3309], [39, 81, 32, 23, 64, 1]),
    (1, 0.): (32.2150, [8.9828, 7.3247, 7.0386, .5562, 10.2860, 1.0256], [42, 45, 45, 23, 72, 2]),
    (2, .15): (22.6286, [8.2867, 13.7606, 1.3787, 1.0460, 5.6865, .2493], None),
    (3, .3): (27.0585, [5.7214, 11.8469, 2.3886, .7308, 8.9242, 2.0231], None)}


def record(boxes, classes, ignored=None):
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    ignored = np.zeros(len(boxes), bool) if ignored is None else np.array(ignored, bool)
    return Record('', '', 0, 0, boxes, np.array(classes, int), np.zeros(len(boxes), bool), ignored,
                  np.zeros(len(boxes)))


def found(boxes, scores, classes):
    return Detections('', np.array(boxes, np.float64).reshape(-1, 4), np.array(scores, np.float64),
                      np.array(classes, int))


@pytest.mark.parametrize('seed, regions', BY_TIDECV)
def test_equal_to_tidecv(seed, regions):
    parts = tide_set.make(seed, regions=regions)
    of = errors.find([record(*truth) for truth, _ in parts], [found(*detected) for _, detected in parts], 3)
    ap, costs, counts = BY_TIDECV[seed, regions]
    assert 100 * of.ap == pytest.approx(ap, abs=.001)
    np.testing.assert_allclose([100 * of.costs[kind] for kind in KINDS], costs, atol=.001)
    if counts:          # with regions tidecv counts ignored detections as errors too
        assert [of.counts[kind] for kind in KINDS] == counts


A, FAR = [0, 0, 10, 10], [50, 50, 60, 60]


@pytest.mark.parametrize('box, label, kind', [
    ([0, 0, 10, 4], 0, 'localisation'), (A, 1, 'classification'), ([0, 0, 10, 4], 1, 'both'), (FAR, 0, 'background'),
    (FAR, 1, 'background'), ([0, 0, 10, .9], 0, 'background')])
def test_one_wrong_detection_of_one_object(box, label, kind):
    of = errors.find([record([A], [0])], [found([box], [.9], [label])], 2)
    movable = kind in ('localisation', 'classification')
    assert of.counts == {**dict.fromkeys(KINDS, 0), kind: 1, 'missed': 0 if movable else 1}
    assert of.ap == 0 and of.costs[kind] == (1. if movable else 0.)


def test_a_second_detection_is_a_duplicate_and_costs_what_it_hides():
    """Right, again, right: precision 1 and 2 / 3 at recall .5 and 1; the 51st of 101 levels is the last at 1."""
    of = errors.find([record([A, FAR], [0, 0])], [found([A, A, FAR], [.9, .8, .7], [0, 0, 0])], 1)
    assert of.counts['duplicate'] == 1 and sum(of.counts.values()) == 1
    assert of.ap == pytest.approx((51 + 50 * 2 / 3) / 101) and of.costs['duplicate'] == pytest.approx(1 - of.ap)


def test_a_region_takes_its_detections_out_and_a_class_without_objects_is_in_no_mean():
    truth = record([A, FAR], [0, 0], [False, True])
    of = errors.find([truth], [found([A, FAR, FAR], [.5, .9, .8], [0, 0, 1])], 2)
    assert of.ap == 1 and of.counts == {**dict.fromkeys(KINDS, 0), 'background': 1}


def test_without_objects_or_detections():
    assert np.isnan(errors.find([], [], 2).ap)
    of = errors.find([record([A], [0])], [found([], [], [])], 1)
    assert (of.ap, of.counts['missed'], of.costs['missed']) == (0, 1, 1)
