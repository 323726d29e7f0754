"""The overlaps against hand arithmetic, torchvision's and tensorflow-addons' published numbers."""
import math

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf import boxes

OVERLAPS = {'iou': boxes.iou, 'giou': boxes.giou, 'diou': boxes.diou, 'ciou': boxes.ciou}
SAMPLED = hypothesis.settings(deadline=None, max_examples=12, derandomize=True)

# The boxes and the four-digit tables of torchvision's test_ops.py (BoxTestBase), squares first.
SQUARES = [[0, 0, 100, 100], [0, 0, 50, 50], [200, 200, 300, 300]]
SQUARE_TABLES = {
    'iou': [[1., .25, 0.], [.25, 1., 0.], [0., 0., 1.]],
    'giou': [[1., .25, -.7778], [.25, 1., -.8611], [-.7778, -.8611, 1.]],
    'diou': [[1., .1875, -.4444], [.1875, 1., -.5625], [-.4444, -.5625, 1.]],
    'ciou': [[1., .1875, -.4444], [.1875, 1., -.5625], [-.4444, -.5625, 1.]],
}
CLOSE = [[285.3538, 185.5758, 1193.5110, 851.4551],
         [285.1472, 188.7374, 1192.4984, 851.0669],
         [279.2440, 197.9812, 1189.4746, 849.2019]]
CLOSE_TABLE = [[1., .9933, .9673], [.9933, 1., .9737], [.9673, .9737, 1.]]

# Partners of every kind: points, lines, inverted in both axes and in one, tiny, huge, and an ordinary box.
ODD = np.array([[5, 5, 5, 5], [0, 0, 0, 0], [2, 3, 2, 9], [2, 3, 9, 3], [9, 9, 2, 2], [2, 9, 9, 3],
                [1, 1, 1 + 1e-6, 1 + 1e-6], [-1e9, -1e9, 1e9, 1e9], [1e6, 1e6, 1e6 + 1, 1e6 + 1],
                [0, 0, 1e-15, 1e-15], [0, 0, 1e-25, 1e-25], [2, 2, 8, 6]], np.float32)


def valid_boxes(rows=6, limit=512):
    """Arrays [rows, 4] of x1 < x2, y1 < y2 on a grid of 1/8 pixel, where float32 sums stay exact."""
    near = arrays.arrays(np.int32, (rows, 2), elements=st.integers(-limit * 8, limit * 8))
    size = arrays.arrays(np.int32, (rows, 2), elements=st.integers(1, limit * 8))
    eighths = st.tuples(near, size).map(lambda two: np.concatenate([two[0], two[0] + two[1]], -1))
    return eighths.map(lambda boxes: boxes / np.float32(8))


def of_one_pair(overlap, a, b):
    return overlap(tf.constant(a, tf.float32), tf.constant(b, tf.float32)).numpy()


def pairwise(overlap, a, b):
    return overlap(tf.constant(a, tf.float32)[:, None, :], tf.constant(b, tf.float32)[None, :, :]).numpy()


@pytest.mark.parametrize('name', OVERLAPS)
def test_published_tables_of_torchvision(name):
    np.testing.assert_allclose(pairwise(OVERLAPS[name], SQUARES, SQUARES), SQUARE_TABLES[name], atol=1e-4)
    np.testing.assert_allclose(pairwise(OVERLAPS[name], CLOSE, CLOSE), CLOSE_TABLE, atol=1e-3)


def test_published_giou_of_tensorflow_addons():
    a = tf.constant([[4., 3., 7., 5.], [5., 6., 10., 7.]])
    b = tf.constant([[3., 4., 6., 8.], [14., 14., 15., 15.]])
    np.testing.assert_allclose(1 - boxes.giou(a, b), [1.075, 1.9333333], rtol=1e-6)


def test_giou_equals_tensorflow_addons():
    addons = pytest.importorskip('tensorflow_addons', reason='no tensorflow-addons for this TensorFlow')
    rng = np.random.default_rng(0)
    near = rng.uniform(0, 200, (2, 500, 2))
    a, b = np.concatenate([near, near + rng.uniform(1, 200, near.shape)], -1).astype(np.float32)
    np.testing.assert_allclose(1 - boxes.giou(a, b), addons.losses.giou_loss(a, b), atol=1e-6)
    a_swapped, b_swapped = a[:, [1, 0, 3, 2]], b[:, [1, 0, 3, 2]]   # addons reads y1 x1 y2 x2
    np.testing.assert_allclose(1 - boxes.giou(a, b), addons.losses.giou_loss(a_swapped, b_swapped), atol=1e-6)
    np.testing.assert_allclose(1 - boxes.iou(a, b), addons.losses.giou_loss(a, b, mode='iou'), atol=1e-6)


def test_hand_arithmetic_of_a_wide_and_a_tall_box():
    wide, tall = [0, 0, 4, 2], [0, 0, 2, 4]
    iou = 4 / (8 + 8 - 4)
    assert of_one_pair(boxes.iou, wide, tall) == pytest.approx(iou)
    assert of_one_pair(boxes.giou, wide, tall) == pytest.approx(iou - (16 - 12) / 16)
    diou = iou - (1 ** 2 + 1 ** 2) / (4 ** 2 + 4 ** 2)       # centres (2, 1) and (1, 2), hull 4 x 4
    assert of_one_pair(boxes.diou, wide, tall) == pytest.approx(diou)
    v = 4 / math.pi ** 2 * (math.atan(2 / 4) - math.atan(4 / 2)) ** 2
    assert of_one_pair(boxes.ciou, wide, tall) == pytest.approx(diou - v / (1 - iou + v) * v)


def test_touching_boxes_share_nothing_because_the_far_edge_is_exclusive():
    assert of_one_pair(boxes.intersection, [0, 0, 5, 5], [5, 0, 9, 5]) == 0
    assert boxes.area(tf.constant([0., 0., 5., 4.])).numpy() == 20        # no "+1"


def test_giou_of_disjoint_boxes_is_minus_the_empty_share_of_the_hull():
    assert of_one_pair(boxes.giou, [0, 0, 1, 1], [9, 0, 10, 1]) == pytest.approx(-8 / 10)


@hypothesis.given(valid_boxes(), valid_boxes())
@SAMPLED
def test_ranges_and_order(a, b):
    iou, giou, diou, ciou = (pairwise(OVERLAPS[name], a, b) for name in ('iou', 'giou', 'diou', 'ciou'))
    assert (0 <= iou).all() and (iou <= 1).all()
    for smaller, larger in ((giou, iou), (diou, iou), (ciou, diou)):
        assert (smaller <= larger + 1e-6).all()
    assert (giou >= -1).all() and (diou >= -1 - 1e-6).all() and (ciou >= -2 - 1e-6).all()


@pytest.mark.parametrize('name', OVERLAPS)
@hypothesis.given(valid_boxes(), valid_boxes())
@SAMPLED
def test_symmetries(name, a, b):
    overlap = OVERLAPS[name]
    there = pairwise(overlap, a, b)
    np.testing.assert_allclose(there, pairwise(overlap, b, a).T, atol=1e-6)
    swap = [1, 0, 3, 2]                                      # mirrored along the diagonal
    np.testing.assert_allclose(there, pairwise(overlap, a[:, swap], b[:, swap]), atol=1e-6)
    np.testing.assert_allclose(there, pairwise(overlap, a * 4, b * 4), atol=1e-5)      # scale free
    np.testing.assert_allclose(there, pairwise(overlap, a + 64, b + 64), atol=1e-5)    # position free
    np.testing.assert_allclose(np.diag(pairwise(overlap, a, a)), 1, atol=1e-6)


@pytest.mark.parametrize('name', OVERLAPS)
def test_degenerate_pairs_are_finite_in_value_and_gradient(name):
    a, b = (tf.Variable(pair.reshape(-1, 4)) for pair in np.broadcast_arrays(ODD[:, None], ODD[None]))
    with tf.GradientTape() as tape:
        value = OVERLAPS[name](a, b)
    assert np.isfinite(value).all()
    for gradient in tape.gradient(value, [a, b]):
        assert np.isfinite(gradient).all()


def test_giou_without_a_guard_would_be_nan_where_ours_is_zero():
    point = np.array([5, 5, 5, 5], np.float32)
    with np.errstate(invalid='ignore'):
        unguarded = np.float32(0) / boxes.area(point).numpy()
    assert np.isnan(unguarded)
    assert of_one_pair(boxes.giou, point, point) == 0


def test_ciou_passes_no_gradient_through_alpha():
    mine, truth = np.array([1., 2., 31., 13.]), np.array([4., 1., 20., 25.])
    with tf.GradientTape() as tape:
        variable = tf.Variable(mine)
        value = boxes.ciou(variable, tf.constant(truth))
    gradient = tape.gradient(value, variable)

    def angle(box):
        return math.atan((box[2] - box[0]) / (box[3] - box[1]))

    def v_of(box):
        return 4 / math.pi ** 2 * (angle(truth) - angle(box)) ** 2

    alpha = v_of(mine) / (1 - float(boxes.iou(tf.constant(mine), tf.constant(truth))) + v_of(mine))
    for axis in range(4):
        step = np.eye(4)[axis] * 1e-5
        ends = [float(boxes.diou(tf.constant(mine + s), tf.constant(truth))) - alpha * v_of(mine + s)
                for s in (step, -step)]
        assert gradient[axis].numpy() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6)


@pytest.mark.parametrize('name', ['iou', 'giou', 'diou'])
def test_gradients_equal_central_differences(name):
    overlap, rng = OVERLAPS[name], np.random.default_rng(1)
    near = rng.uniform(0, 40, (2, 60, 2))
    a, b = np.concatenate([near, near + rng.uniform(5, 40, near.shape)], -1)       # float64 on purpose
    with tf.GradientTape() as tape:
        variable = tf.Variable(a)
        value = overlap(variable, tf.constant(b))
    gradient = tape.gradient(value, variable).numpy()
    for axis in range(4):
        step = np.eye(4)[axis] * 1e-5
        above, below = (overlap(tf.constant(a + s), tf.constant(b)).numpy() for s in (step, -step))
        np.testing.assert_allclose(gradient[:, axis], (above - below) / 2e-5, rtol=1e-5, atol=1e-7)


@hypothesis.given(valid_boxes())
@SAMPLED
def test_conversions_come_back_on_a_image_that_is_not_square(a):
    a = tf.constant(a)
    np.testing.assert_array_equal(boxes.from_cxcywh(boxes.to_cxcywh(a)), a)
    unit = boxes.to_yxyx_unit(a, height=128, width=512)
    np.testing.assert_array_equal(boxes.from_yxyx_unit(unit, height=128, width=512), a)


def test_conversions_by_hand():
    np.testing.assert_array_equal(boxes.to_cxcywh(tf.constant([10., 20., 40., 30.])), [25, 25, 30, 10])
    unit = boxes.to_yxyx_unit(tf.constant([10., 20., 40., 30.]), height=40, width=80)
    np.testing.assert_array_equal(unit, [.5, .125, .75, .5])


def test_clip_keeps_width_and_height_apart():
    outside = tf.constant([[-5., -5., 500., 500.], [10., 20., 30., 40.], [90., 90., 95., 99.]])
    cut = boxes.clip(outside, height=60, width=80)
    np.testing.assert_array_equal(cut, [[0, 0, 80, 60], [10, 20, 30, 40], [80, 60, 80, 60]])


def test_an_inverted_box_has_no_area_and_overlaps_nothing():
    inverted = tf.constant([30., 30., 10., 10.])
    assert boxes.area(inverted).numpy() == 0
    assert boxes.iou(inverted, tf.constant([0., 0., 50., 50.])).numpy() == 0
