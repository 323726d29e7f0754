"""VOC AP against published numbers, the development kit's rules written as loops, and arithmetic by hand."""
import ast
import inspect

import numpy as np
import pytest

from yolov3_tf.evaluation import voc
from yolov3_tf.structures import Detections

# Padilla et al., "A Comparative Analysis of Object Detection Metrics", Electronics 2021, test case 1.
PUBLISHED_AREA = {.1: .3371980676, .3: .2456866804, .5: .0222222222, .75: 0.}
PUBLISHED_ELEVEN = {.1: .3333333333, .3: .2683982683, .5: .0303030303, .75: 0.}


def truth(boxes, classes=None, difficult=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return voc.Truth(boxes, np.zeros(len(boxes), np.int32) if classes is None else np.array(classes),
                     np.zeros(len(boxes), bool) if difficult is None else np.array(difficult, bool))


def found(boxes, scores, classes=None, name=''):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Detections(name, boxes, np.array(scores, np.float32),
                             np.zeros(len(boxes), np.int32) if classes is None else np.array(classes))


def area_aps(truths, detections, num_classes=1, threshold=.5, criterion='iou'):
    pairing = voc.pair(truths, detections, num_classes, criterion)
    return [voc.area_ap(of) for of in voc.curves(pairing, threshold)]


def read_rows(path):
    return np.array([line.split()[1:] for line in path.read_text().splitlines()], float)


def read_padilla(folder, truth_folder='gts', result_folder='dets'):
    """x, y, width, height with inclusive far corners x + width, so one is added for our exclusive corners."""
    truths, results = [], []
    for path in sorted((folder / truth_folder).glob('*.txt')):
        rows = read_rows(path)
        truths.append(truth(np.hstack([rows[:, :2], rows[:, :2] + rows[:, 2:] + 1])))
        rows = read_rows(folder / result_folder / path.name)
        results.append(found(np.hstack([rows[:, 1:3], rows[:, 1:3] + rows[:, 3:] + 1]), rows[:, 0]))
    return truths, results


@pytest.mark.parametrize('threshold', sorted(PUBLISHED_AREA))
@pytest.mark.parametrize('folders', [('padilla_test_case_1', 'gts', 'dets'),
                                     ('padilla_sample2', 'groundtruths', 'detections')])
def test_published_numbers(shared_data, threshold, folders):
    truths, results = read_padilla(shared_data / 'eval' / folders[0], *folders[1:])
    curve = voc.curve(voc.pair(truths, results, 1), 0, threshold)
    assert voc.area_ap(curve) == pytest.approx(PUBLISHED_AREA[threshold], abs=1e-10)
    assert voc.eleven_point_ap(curve) == pytest.approx(PUBLISHED_ELEVEN[threshold], abs=1e-10)


def test_published_curve(shared_data):
    """Last line of the toolkit's own results: 24 detections, 7 hits of 15 objects at IoU .3."""
    truths, results = read_padilla(shared_data / 'eval' / 'padilla_test_case_1')
    curve = voc.curve(voc.pair(truths, results, 1), 0, .3)
    assert len(curve.scores) == 24 and curve.positives == 15
    assert curve.recall[-1] == pytest.approx(7 / 15) and curve.precision[-1] == pytest.approx(7 / 24)


def slow_curve(truths, detections, class_id, threshold):
    """The development kit's loops, one detection and one object at a time, inclusive pixels and '+1'."""
    rows = [(-float(score), index, image) for image, one in enumerate(detections)
            for index, score in enumerate(one.scores) if one.classes[index] == class_id]
    taken, hits = set(), []
    for _, index, image in sorted(rows, key=lambda row: row[0]):
        x1, y1, x2, y2 = detections[image].boxes[index].tolist()
        best, nearest = -np.inf, None
        for k, (u1, v1, u2, v2) in enumerate(truths[image].boxes.tolist()):
            if truths[image].classes[k] != class_id:
                continue
            xmin, ymin, umin, vmin = x1 + 1, y1 + 1, u1 + 1, v1 + 1    # 1-based, inclusive
            w, h = min(x2, u2) - max(xmin, umin) + 1, min(y2, v2) - max(ymin, vmin) + 1
            if w > 0 and h > 0:
                area = (x2 - xmin + 1) * (y2 - ymin + 1) + (u2 - umin + 1) * (v2 - vmin + 1) - w * h
                if w * h / area > best:
                    best, nearest = w * h / area, k
        if best > threshold and truths[image].difficult[nearest]:
            continue
        hits.append(best > threshold and (image, nearest) not in taken)
        if best > threshold:
            taken.add((image, nearest))
    positives = sum(int(np.sum((one.classes == class_id) & ~one.difficult)) for one in truths)
    return np.cumsum(hits) / positives, np.cumsum(hits) / np.arange(1, len(hits) + 1)


def crowd_of_boxes(rng, images=40, classes=3):
    truths, detections = [], []
    for _ in range(images):
        n = rng.integers(0, 6)
        near = rng.integers(0, 60, (n, 2))
        boxes = np.hstack([near, near + rng.integers(1, 60, (n, 2))])
        truths.append(truth(boxes, rng.integers(0, classes, n), rng.random(n) < .3))
        copies = np.repeat(boxes, 3, axis=0) + rng.integers(-4, 5, (3 * n, 4))
        copies[:, 2:] = np.maximum(copies[:, 2:], copies[:, :2])
        detections.append(found(copies, np.round(rng.random(3 * n), 1), rng.integers(0, classes, 3 * n)))
    return truths, detections


@pytest.mark.parametrize('threshold', [.3, .5, .75])
def test_equals_the_loops_of_the_kit_with_difficult_objects_duplicates_and_equal_scores(threshold):
    truths, detections = crowd_of_boxes(np.random.default_rng(3))
    pairing = voc.pair(truths, detections, 3)
    for class_id in range(3):
        recall, precision = slow_curve(truths, detections, class_id, threshold)
        curve = voc.curve(pairing, class_id, threshold)
        np.testing.assert_allclose(curve.recall, recall, rtol=1e-12)
        np.testing.assert_allclose(curve.precision, precision, rtol=1e-12)


def test_a_duplicate_is_a_false_positive():
    box = [0, 0, 10, 10]
    curve = voc.curve(voc.pair([truth([box])], [found([box, box], [.9, .8])], 1), 0)
    assert curve.precision.tolist() == [1, .5] and curve.recall.tolist() == [1, 1]


def test_a_detection_whose_nearest_object_is_taken_does_not_move_to_the_next():
    """VOC's rule, unlike COCO's: the second detection overlaps the first object most (.8 against .7)."""
    objects = [[0, 0, 10, 10], [0, 3, 10, 13]]
    results = found([[0, 0, 10, 10], [0, 1, 10, 11]], [.9, .8])
    curve = voc.curve(voc.pair([truth(objects)], [results], 1), 0)
    assert curve.precision.tolist() == [1, .5] and curve.recall.tolist() == [.5, .5]


def test_a_difficult_object_is_ignored_however_often_it_is_hit():
    easy, hard = [0, 0, 10, 10], [50, 50, 90, 90]
    curve = voc.curve(voc.pair([truth([easy, hard], difficult=[False, True])],
                               [found([hard, hard, easy], [.9, .8, .7])], 1), 0)
    assert (curve.recall.tolist(), curve.precision.tolist(), curve.positives) == ([1], [1], 1)
    missed = voc.curve(voc.pair([truth([easy, hard], difficult=[False, True])], [found([easy], [.7])], 1), 0)
    assert voc.area_ap(missed) == 1


def test_an_overlap_equal_to_the_threshold_is_not_a_hit():
    """Areas 100 and 50, the second inside the first: IoU exactly .5; one more pixel row is above."""
    at = area_aps([truth([[0, 0, 10, 10]])], [found([[0, 0, 10, 5]], [1])])
    above = area_aps([truth([[0, 0, 10, 10]])], [found([[0, 0, 10, 6]], [1])])
    assert (at, above) == ([0], [1])


def test_iou_of_exclusive_far_edges_equals_that_of_the_kit_on_inclusive_corners():
    """Inclusive corners 1 1 4 4 (16 pixels) and 3 3 6 6 (16): 4 shared, 4 / 28 with "+1"."""
    a, b = np.array([0., 0, 4, 4]), np.array([2., 2, 6, 6])
    assert voc.iou(a, b) == pytest.approx(4 / 28)
    assert voc.giou(a, b) == pytest.approx(4 / 28 - (36 - 28) / 36)


def test_class_zero_counts_and_classes_without_objects_are_left_out_of_the_mean():
    """Class 0 is found, class 1 has an object and no detection, class 2 has a detection and no object."""
    truths = [truth([[0, 0, 10, 10], [20, 0, 40, 9]], [0, 1])]
    aps = area_aps(truths, [found([[0, 0, 10, 10], [60, 0, 70, 9]], [.9, .8], [0, 2])], num_classes=3)
    assert aps[:2] == [1, 0] and np.isnan(aps[2])
    assert voc.mean(aps) == .5
    assert np.isnan(voc.mean([np.nan])) and np.isnan(voc.mean([]))


def test_a_class_with_only_difficult_objects_has_no_ap():
    curve = voc.curve(voc.pair([truth([[0, 0, 9, 9]], difficult=[True])], [found([[0, 0, 9, 9]], [1])], 1), 0)
    assert np.isnan(voc.area_ap(curve)) and np.isnan(voc.eleven_point_ap(curve))


def test_area_and_eleven_points_by_hand():
    """Hit, miss, hit over 4 objects: recall .25 at precision 1, .5 at 2/3.

    Area: .25 * 1 + .25 * 2/3. Eleven points: 1 at 0 .1 .2, 2/3 at .3 .4 .5, nothing above.
    """
    objects = [[0, 0, 9, 9], [20, 0, 29, 9], [40, 0, 49, 9], [60, 0, 69, 9]]
    results = found([objects[0], [0, 50, 9, 59], objects[1]], [.9, .8, .7])
    curve = voc.curve(voc.pair([truth(objects)], [results], 1), 0)
    assert voc.area_ap(curve) == pytest.approx(.25 + .25 * 2 / 3)
    assert voc.eleven_point_ap(curve) == pytest.approx((3 + 3 * 2 / 3) / 11)
    assert voc.precision_at(curve, [0, .25, .26, .51]).tolist() == pytest.approx([1, 1, 2 / 3, 0])


def test_giou_is_the_stricter_overlap():
    """A box of 10 x 10 against one of 8 x 8 that lies partly outside: IoU above .25, GIoU below."""
    truths, results = [truth([[0, 0, 10, 10]])], [found([[4, 4, 12, 12]], [1])]
    # shared 36, union 100 + 64 - 36 = 128, hull 144: IoU .28125, GIoU .28125 - 16 / 144 = .17014
    assert area_aps(truths, results, threshold=.25) == [1]
    assert area_aps(truths, results, threshold=.25, criterion='giou') == [0]
    assert area_aps(truths, results, threshold=.17, criterion='giou') == [1]


def test_boxes_without_area_are_finite_misses():
    point = [5, 5, 5, 5]
    assert area_aps([truth([[0, 0, 10, 10]])], [found([point], [1])]) == [0]
    assert area_aps([truth([point])], [found([point], [1])], criterion='giou') == [0]


@pytest.mark.parametrize('truths, detections', [([], []), ([truth([])], [found([], [])])])
def test_without_images_or_objects_ap_is_nan(truths, detections):
    assert np.isnan(area_aps(truths, detections)).all()


def test_input_is_checked():
    one = truth([[0, 0, 9, 9]])
    with pytest.raises(ValueError, match='expected classes in 0..0, got 1..1'):
        voc.pair([one], [found([[0, 0, 9, 9]], [1], [1])], 1)
    with pytest.raises(ValueError, match='expected classes in 0..1, got -1..-1'):
        voc.pair([one._replace(classes=np.array([-1]))], [found([], [])], 2)
    with pytest.raises(ValueError, match='unknown criterion .ciou.: expected one of giou, iou'):
        voc.pair([one], [found([], [])], 1, 'ciou')
    with pytest.raises(ValueError, match='expected detections of 1 images, got those of 0'):
        voc.pair([one], [], 1)


def test_imports_only_numpy_and_the_standard_library():
    tree = ast.parse(inspect.getsource(voc))
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert names == {'__future__', 'collections.abc', 'typing', 'numpy', 'numpy.typing'}
