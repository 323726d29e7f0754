"""Suppression against a slow one written from its definition; the way back to the image by arithmetic."""
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf import anchors, boxes, geometry, postprocess
from yolov3_tf.errors import InputError
from yolov3_tf.postprocess import Suppression
from yolov3_tf.structures import BatchedDetections

HEIGHT, WIDTH = 64, 96      # slots: 3 x (8 x 12 + 4 x 6 + 2 x 3) = 378
SILENT = -30.


@pytest.fixture(scope='module')
def priors():
    return anchors.lay_out(anchors.YOLOV3_ANCHORS, HEIGHT, WIDTH)


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def decode_by_hand(outputs):
    """All slots of [S, 5 + C] as corners and scores, cell by cell."""
    corners, scores, slot = [], [], 0
    for stride, sizes in zip(anchors.YOLOV3_ANCHORS.strides, anchors.YOLOV3_ANCHORS.sizes):
        for row in range(HEIGHT // stride):
            for column in range(WIDTH // stride):
                for anchor_width, anchor_height in sizes:
                    tx, ty, tw, th, objectness = outputs[slot, :5].astype(np.float64)
                    x, y = (1 / (1 + np.exp(-tx)) + column) * stride, (1 / (1 + np.exp(-ty)) + row) * stride
                    w, h = anchor_width * np.exp(tw), anchor_height * np.exp(th)
                    corners.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
                    scores.append(sigmoid(objectness) * sigmoid(outputs[slot, 5:]))
                    slot += 1
    assert slot == len(outputs)
    return np.array(corners), np.array(scores)


def overlap(a, b):
    w = min(a[2], b[2]) - max(a[0], b[0])
    h = min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def suppress_by_hand(corners, scores, score_threshold, iou_threshold):
    """Class by class, best first, away with what overlaps a kept one -> [(score, class, box)]."""
    kept = []
    for label in range(scores.shape[1]):
        order = [i for i in np.argsort(-scores[:, label]) if scores[i, label] > score_threshold]
        chosen = []
        for i in order:
            if all(overlap(corners[i], corners[j]) <= iou_threshold for j in chosen):
                chosen.append(i)
        kept += [(scores[i, label], label, corners[i]) for i in chosen]
    return sorted(kept, key=lambda item: -item[0])


def distance_overlap(a, b):
    """DIoU: the overlap less (distance of the centres / diagonal of the hull) squared."""
    apart = [(a[i] + a[i + 2] - b[i] - b[i + 2]) / 2 for i in (0, 1)]
    hull = [max(a[i + 2], b[i + 2]) - min(a[i], b[i]) for i in (0, 1)]
    return overlap(a, b) - (apart[0] ** 2 + apart[1] ** 2) / (hull[0] ** 2 + hull[1] ** 2)


def candidates_by_hand(corners, scores, score_threshold, top_k):
    """[(score, class, box)] of all slots and classes, best first."""
    pairs = [(scores[slot, label], label, corners[slot]) for slot, label in np.ndindex(*scores.shape)]
    return [pair for pair in sorted(pairs, key=lambda pair: -pair[0])[:top_k] if pair[0] > score_threshold]


def greedy_by_hand(candidates, measure, iou_threshold, across_classes):
    kept = []
    for score, label, box in candidates:
        rivals = [other for _, other_label, other in kept if across_classes or other_label == label]
        if all(measure(box, other) <= iou_threshold for other in rivals):
            kept.append((score, label, box))
    return kept


def soft_by_hand(candidates, score_threshold, sigma):
    """Algorithm 1 of Bodla et al. with the Gaussian weight, class by class."""
    kept = []
    for chosen in sorted({label for _, label, _ in candidates}):
        left = [[score, box] for score, label, box in candidates if label == chosen]
        while left:
            best = max(range(len(left)), key=lambda i: left[i][0])
            score, box = left.pop(best)
            if score <= score_threshold:
                break
            kept.append((score, chosen, box))
            for rival in left:
                rival[0] *= np.exp(-overlap(box, rival[1]) ** 2 / sigma)
    return sorted(kept, key=lambda item: -item[0])


def random_outputs(seed, batch, classes):
    random = np.random.RandomState(seed)
    spread = (1., 1., .5, .5, 3.) + (2.,) * classes
    return random.normal(0, spread, [batch, 378, 5 + classes]).astype(np.float32)


@pytest.mark.parametrize('iou_threshold', [.3, .45, .7])
def test_detect_equals_the_definition_for_every_image_of_a_batch(priors, iou_threshold):
    outputs = random_outputs(1, batch=3, classes=4)
    outputs[1] = SILENT                                     # an image without any between two with many
    found = postprocess.detect(outputs, priors, Suppression(.2, iou_threshold, max_per_class=378, max_total=1000))
    for image in range(3):
        expected = suppress_by_hand(*decode_by_hand(outputs[image]), .2, iou_threshold)
        count = int(found.count[image])
        assert count == len(expected)
        assert (count == 0) == (image == 1)
        np.testing.assert_allclose(found.scores[image, :count], [e[0] for e in expected], rtol=1e-5)
        np.testing.assert_array_equal(found.classes[image, :count], [e[1] for e in expected])
        if count:
            np.testing.assert_allclose(found.boxes[image, :count], [e[2] for e in expected],
                                       rtol=1e-4, atol=1e-3)
        assert not found.scores[image, count:].numpy().any()      # the padding is zeros


BY_HAND = {
    'per_class': lambda candidates: greedy_by_hand(candidates, overlap, .4, across_classes=False),
    'agnostic': lambda candidates: greedy_by_hand(candidates, overlap, .4, across_classes=True),
    'diou': lambda candidates: greedy_by_hand(candidates, distance_overlap, .4, across_classes=False),
    'soft': lambda candidates: soft_by_hand(candidates, .2, .5)}


def assert_found(found, image, expected):
    count = int(found.count[image])
    assert count == len(expected)
    np.testing.assert_allclose(found.scores[image, :count], [e[0] for e in expected], rtol=1e-4)
    np.testing.assert_array_equal(found.classes[image, :count], [e[1] for e in expected])
    np.testing.assert_allclose(found.boxes[image, :count], np.reshape([e[2] for e in expected], [-1, 4]),
                               rtol=1e-4, atol=1e-3)
    assert not any(part[image, count:].numpy().any() for part in found[:3])       # the padding is zeros


@pytest.mark.parametrize('nms', sorted(BY_HAND))
@pytest.mark.parametrize('top_k', [None, 40])
def test_each_kind_equals_its_definition_for_every_image_of_a_batch(priors, nms, top_k):
    outputs = random_outputs(7, batch=3, classes=4)
    outputs[1] = SILENT
    run = tf.function(lambda outputs: postprocess.detect(
        outputs, priors, Suppression(.2, .4, max_per_class=378, max_total=1512, nms=nms, top_k=top_k)))
    found = run(outputs)
    for image in range(3):
        candidates = candidates_by_hand(*decode_by_hand(outputs[image]), .2, top_k)
        assert top_k is None or len(candidates) in (0, top_k)
        if nms == 'agnostic' and top_k:     # a slot's other classes take no place among the candidates
            corners, scores = decode_by_hand(outputs[image])
            best = np.where(scores == scores.max(1, keepdims=True), scores, 0)
            candidates = candidates_by_hand(corners, best, .2, top_k)
        assert_found(found, image, BY_HAND[nms](candidates))


def test_the_kinds_differ_where_they_should(priors):
    """One place with two classes, and beside it a weaker box of the first class."""
    outputs = np.full([1, 378, 7], SILENT, np.float32)
    outputs[0, 0] = [0, 0, np.log(12 / 10), np.log(6 / 13), 20, 3, 2]       # centre 4, 4: x -2..10, y 1..7
    outputs[0, 3] = [np.log(3 / 5), 0, np.log(12 / 10), np.log(6 / 13), 20, 1, SILENT]       # centre 8 + 3
    count = {nms: int(postprocess.detect(outputs, priors, Suppression(.1, .2, nms=nms)).count[0])
             for nms in postprocess.NMS}
    # 7 pixels apart: 5 x 6 = 30 shared of 114 -> IoU .263; DIoU .263 - 49 / (19^2 + 6^2) = .140.
    assert count == {'per_class': 2, 'agnostic': 1, 'diou': 3, 'soft': 3}
    soft = postprocess.detect(outputs, priors, Suppression(.1, .2, nms='soft'))
    weaker = sigmoid(np.array(1.)) * np.exp(-(30 / 114) ** 2 / .5)
    np.testing.assert_allclose(soft.scores[0, 2], weaker, rtol=1e-4)


@pytest.mark.parametrize('nms', sorted(BY_HAND))
def test_bounds_of_a_class_and_of_a_image_hold_for_every_kind(priors, nms):
    outputs = np.full([2, 378, 7], SILENT, np.float32)
    # As above: 96 boxes side by side; those of even cells are of class 0, the others of class 1.
    outputs[:, 0:288:3] = [0, 0, np.log(8 / 10), np.log(8 / 13), 5, SILENT, SILENT]
    outputs[:, 0:288:6, 5], outputs[:, 3:288:6, 6] = 5, 4
    for limits, expected in (({}, [48, 48]), ({'max_per_class': 7}, [7, 7]), ({'max_total': 50}, [48, 2]),
                             ({'max_per_class': 30, 'max_total': 40}, [30, 10])):
        found = postprocess.detect(outputs, priors, Suppression(.01, nms=nms, **limits))
        for image in range(2):
            classes = found.classes[image, :int(found.count[image])].numpy()
            assert [int((classes == label).sum()) for label in (0, 1)] == expected
        assert found.boxes.shape == (2, limits.get('max_total', 300), 4)


@pytest.mark.parametrize('nms, top_k, message', [
    ('hard', None, "unknown kind of suppression (nms) 'hard': expected one of agnostic, diou, per_class, soft"),
    ('soft', 0, 'top_k 0: expected a whole number from 1 on')])
def test_a_kind_that_does_not_exist_is_refused(priors, nms, top_k, message):
    with pytest.raises(InputError) as error:
        postprocess.detect(np.zeros([1, 378, 6], np.float32), priors, Suppression(nms=nms, top_k=top_k))
    assert str(error.value) == message


@pytest.mark.parametrize('number, message', [
    ({'score_threshold': 1.5}, 'score_threshold 1.5: expected a number from 0 to 1'),
    ({'iou_threshold': -.1}, 'iou_threshold -0.1: expected a number from 0 to 1'),
    ({'max_per_class': 0}, 'max_per_class 0: expected a whole number from 1 on'),
    ({'max_total': 0}, 'max_total 0: expected a whole number from 1 on')])
def test_numbers_out_of_range_are_refused(number, message):
    with pytest.raises(InputError) as error:
        postprocess.check(Suppression(**number))
    assert str(error.value) == message


def test_without_a_bound_for_an_image_those_of_its_classes_hold(priors):
    outputs = random_outputs(3, batch=2, classes=4)
    found = postprocess.detect(outputs, priors, Suppression(max_per_class=7, max_total=None))
    assert found.boxes.shape == (2, 28, 4)


def test_a_batch_of_one_keeps_its_dimension_and_equals_its_row_of_a_larger_batch(priors):
    outputs = random_outputs(2, batch=3, classes=2)
    together, alone = postprocess.detect(outputs, priors), postprocess.detect(outputs[1:2], priors)
    for of_three, of_one in zip(together, alone):
        assert of_one.shape[0] == 1
        np.testing.assert_allclose(of_one[0], of_three[1], rtol=1e-6, atol=1e-4)


def test_one_slot_may_answer_for_two_classes_and_classes_do_not_suppress_each_other(priors):
    outputs = np.full([1, 378, 8], SILENT, np.float32)
    outputs[0, 10] = [0, 0, 0, 0, 20, 1, SILENT, 2]
    found = postprocess.detect(outputs, priors, Suppression(.5))
    assert found.count.numpy().tolist() == [2]
    assert found.classes[0, :2].numpy().tolist() == [2, 0]
    np.testing.assert_allclose(found.scores[0, :2], sigmoid(np.array([2., 1.])), rtol=1e-6)
    np.testing.assert_array_equal(found.boxes[0, 0], found.boxes[0, 1])


def test_more_than_a_hundred_detections_of_one_class(priors):
    outputs = np.full([2, 378, 6], SILENT, np.float32)
    # The finest level's first prior, 10 x 13, shrunk to its cell of 8 x 8: 96 boxes side by side; then the
    # middle one of the next level, 62 x 45, shrunk to 2 x 2: 24 more that overlap them by 1 / 16 at most.
    outputs[:, 0:288:3] = [0, 0, np.log(8 / 10), np.log(8 / 13), 5, 5]
    outputs[:, 289:360:3] = [0, 0, np.log(2 / 62), np.log(2 / 45), 4, 4]
    found = postprocess.detect(outputs, priors, Suppression(.01))
    assert found.count.numpy().tolist() == [120, 120]
    limited = postprocess.detect(outputs, priors, Suppression(.01, max_per_class=110))
    assert limited.count.numpy().tolist() == [110, 110]
    limited = postprocess.detect(outputs, priors, Suppression(.01, max_total=30))
    assert limited.boxes.shape == (2, 30, 4)
    np.testing.assert_allclose(limited.scores, sigmoid(np.array(5.)) ** 2 * np.ones([2, 30]), rtol=1e-6)


def test_the_score_must_exceed_the_threshold_and_the_overlap_too(priors):
    outputs = np.full([1, 378, 6], SILENT, np.float32)
    outputs[0, 0] = [0, 0, 0, 0, 40, 0]                             # score exactly .5
    assert int(postprocess.detect(outputs, priors, Suppression(.5)).count[0]) == 0
    assert int(postprocess.detect(outputs, priors, Suppression(.4999)).count[0]) == 1


@pytest.mark.parametrize('nms', sorted(BY_HAND))
def test_nothing_found_gives_zeros(priors, nms):
    found = postprocess.detect(np.full([2, 378, 25], SILENT, np.float32), priors, Suppression(nms=nms))
    assert found.count.numpy().tolist() == [0, 0]
    assert all(not part.numpy().any() for part in found)


@pytest.mark.parametrize('nms', sorted(BY_HAND))
def test_outputs_beyond_all_bounds_stay_finite(priors, nms):
    outputs = np.full([1, 378, 6], 1e30, np.float32)
    found = postprocess.detect(outputs, priors, Suppression(nms=nms))
    assert all(np.isfinite(part.numpy()).all() for part in found)


@pytest.mark.parametrize('letterbox', [True, False])
def test_undo_resize_is_the_inverse_of_the_placement_on_images_that_are_not_square(letterbox):
    sizes = np.array([[375, 500], [500, 333], [40, 640]], np.int32)
    truth = np.array([[[10, 20, 110, 220], [0, 0, 500, 375]], [[5, 6, 300, 490], [1, 2, 3, 4]],
                      [[0, 0, 640, 40], [600, 10, 639, 39]]], np.float32)
    fitted = [geometry.fit(int(h), int(w), 320, 416, letterbox)[0] for h, w in sizes]
    placement = geometry.Placement(*[tf.stack(field) for field in zip(*fitted)])
    placed = geometry.to_network(truth, placement)
    found = BatchedDetections(placed, tf.ones([3, 2]), tf.zeros([3, 2], tf.int32), tf.constant([2, 2, 2]))
    undone = postprocess.undo_resize(found, placement, sizes)
    np.testing.assert_allclose(undone.boxes, truth, rtol=1e-5, atol=1e-3)


def test_undo_resize_by_arithmetic_cuts_at_the_image_and_leaves_padding_zero():
    # 200 x 100 (w x h) into 96 x 64: halved to 96 x 48 would be .48; grey above and below is 8.
    placement = geometry.Placement(*[tf.constant([value]) for value in (.48, .48, 0., 8.)])
    placed = np.array([[[-5, 0, 48, 32], [0, 8, 96, 70], [1, 1, 1, 1]]], np.float32)
    found = BatchedDetections(tf.constant(placed), tf.ones([1, 3]), tf.zeros([1, 3], tf.int32), tf.constant([2]))
    undone = postprocess.undo_resize(found, placement, np.array([[100, 200]], np.int32))
    np.testing.assert_allclose(undone.boxes, [[[0, 0, 100, 50], [0, 0, 200, 100], [0, 0, 0, 0]]], atol=1e-4)


def test_corners_in_x_y_order_give_the_kernel_the_same_overlaps(priors):
    """The kernel documents y, x corners and gets x, y: overlaps do not change by the swap."""
    a, b = np.array([[[10., 20., 50., 30.]]], np.float32), np.array([[[12., 20., 50., 33.]]], np.float32)
    for swap in (False, True):
        pair = np.concatenate([a, b], 1)[..., [1, 0, 3, 2] if swap else [0, 1, 2, 3]]
        iou = float(boxes.iou(pair[0, 0], pair[0, 1]))
        for threshold, kept in ((iou - .01, 1), (iou + .01, 2)):
            found = tf.image.combined_non_max_suppression(
                pair[:, :, None, :], np.array([[[.9], [.8]]], np.float32), 5, 5, threshold, .1,
                clip_boxes=False)
            assert int(found.valid_detections[0]) == kept
