"""The confusion matrix against loops that pair by the definition."""
import numpy as np
import pytest
from fixtures import tide_set

from yolov3_tf.evaluation import confusion
from yolov3_tf.structures import Detections, Record


def record(boxes, classes, crowd=None, difficult=None):
    boxes, none = np.array(boxes, np.float64).reshape(-1, 4), np.zeros(len(classes), bool)
    return Record('', '', 0, 0, boxes, np.array(classes, int), none if difficult is None else np.array(difficult),
                  none if crowd is None else np.array(crowd, bool), np.zeros(len(boxes)))


def found(boxes, scores, classes):
    return Detections('', np.array(boxes, np.float64).reshape(-1, 4), np.array(scores, np.float64),
                      np.array(classes, int))


def shared(a, b):
    return max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)


def area(box):
    return (box[2] - box[0]) * (box[3] - box[1])


def matrix_by_hand(records, detections, classes, score):
    table = np.zeros((classes + 1, classes + 1), int)
    for of, seen in zip(records, detections):
        truth, boxes = of.boxes.tolist(), seen.boxes.tolist()
        free = {k for k in range(len(truth)) if not of.crowd[k] and not of.difficult[k]}
        left = {k for k in range(len(boxes)) if seen.scores[k] > score}
        while True:
            best = None
            for d in sorted(left):
                for t in sorted(free):
                    both = shared(boxes[d], truth[t])
                    overlap = both / (area(boxes[d]) + area(truth[t]) - both)
                    key = (overlap, seen.classes[d] == of.classes[t], seen.scores[d])
                    if overlap > .5 and (best is None or key > best[0]):
                        best = key, d, t
            if best is None:
                break
            _, d, t = best
            table[of.classes[t], seen.classes[d]] += 1
            left.remove(d)
            free.remove(t)
        for t in free:
            table[of.classes[t], classes] += 1
        for d in left:
            if not any(shared(boxes[d], truth[t]) > .5 * area(boxes[d]) for t in range(len(truth))
                       if of.crowd[t] or of.difficult[t]):
                table[classes, seen.classes[d]] += 1
    return table


@pytest.mark.parametrize('seed, regions', [(0, 0.), (1, .2), (2, .4)])
@pytest.mark.parametrize('score', [0., .4, .8])
def test_equal_to_loops(seed, regions, score):
    parts = tide_set.make(seed, regions=regions)
    records = [record(boxes, classes, ignored) for (boxes, classes, ignored), _ in parts]
    detections = [found(*detected) for _, detected in parts]
    of = confusion.find(records, detections, 3, score)
    np.testing.assert_array_equal(of.matrix, matrix_by_hand(records, detections, 3, score))
    assert of.matrix[3, 3] == 0 and of.score == score
    assert of.matrix.sum() == sum(len(m.pairs) + len(m.false) + len(m.missed) for m in of.matches)
    assert sum(m.wrong for m in of.matches) == of.matrix[:3, :3].sum() - np.trace(of.matrix[:3, :3])
    assert sum(count for _, _, count in of.confused) == sum(m.wrong for m in of.matches)


A, FAR = [0, 0, 10, 10], [50, 50, 60, 60]


def test_rows_are_true_classes_and_columns_predicted_ones():
    """An ant found, a bee taken for an ant, a bee missed, an ant seen where nothing is."""
    of = confusion.find([record([A, FAR, [90, 90, 99, 99]], [0, 1, 1])],
                        [found([A, FAR, [20, 0, 30, 10]], [.9, .8, .7], [0, 0, 0])], 2, .1)
    assert of.matrix.tolist() == [[1, 0, 0], [1, 0, 1], [1, 0, 0]] and of.confused == [(1, 0, 1)]


def test_the_best_overlap_pairs_first_and_a_tie_goes_to_the_same_class():
    near, nearer = [0, 0, 10, 8], [0, 0, 10, 9]
    of = confusion.match(record([A], [0]), found([near, nearer], [.9, .1], [0, 1]), 0.)
    assert of.pairs.tolist() == [[1, 0]] and of.false.tolist() == [0] and of.wrong == 1
    of = confusion.match(record([A, A], [1, 0]), found([A], [.9], [0]), 0.)
    assert of.pairs.tolist() == [[0, 1]] and of.missed.tolist() == [0] and of.wrong == 0


def test_ignored_objects_are_in_no_row_and_what_lies_on_them_in_no_column():
    for mark in ('crowd', 'difficult'):
        of = confusion.find([record([A], [0], **{mark: [True]})], [found([A, FAR], [.9, .9], [1, 0])], 2, .1)
        assert of.matrix.tolist() == [[0, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_without_images_objects_or_detections():
    assert confusion.find([], [], 1, .5).matrix.tolist() == [[0, 0], [0, 0]]
    assert confusion.find([record([], [])], [found([A], [.9], [0])], 1, .5).matrix.tolist() == [[0, 0], [1, 0]]
    assert confusion.find([record([A], [0])], [found([], [], [])], 1, .5).matrix.tolist() == [[0, 1], [0, 0]]
