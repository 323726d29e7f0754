"""Which slot answers for which object, by hand, on a picture 96 high and 160 wide."""
import itertools

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.anchors import YOLOV3_ANCHORS, Anchors, lay_out
from yolov3_tf.assign import ASSIGNERS, best_anchor
from yolov3_tf.structures import GroundTruth

HEIGHT, WIDTH = 96, 160
NINE = [pair for level in YOLOV3_ANCHORS.sizes for pair in level]
FIRST = {8: 0, 16: 12 * 20 * 3, 32: 12 * 20 * 3 + 6 * 10 * 3}   # first slot of each stride


def slot(stride, row, column, number):
    return FIRST[stride] + (row * (WIDTH // stride) + column) * 3 + number


def assign(boxes, valid=None, table=YOLOV3_ANCHORS, height=HEIGHT, width=WIDTH):
    """One picture through the assigner: slots, objects, positive as NumPy."""
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    valid = np.ones(len(boxes), bool) if valid is None else np.asarray(valid)
    truth = GroundTruth(boxes=tf.constant(boxes[None]), classes=tf.zeros([1, len(boxes)], tf.int32),
                        valid=tf.constant(valid[None]), weights=tf.ones([1, len(boxes)]))
    return [x.numpy()[0] for x in best_anchor(truth, lay_out(table, height, width))]


def around(x, y, w, h):
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


@pytest.mark.parametrize('number', range(9))
def test_each_prior_answers_for_its_own_shape(number):
    stride = (8, 16, 32)[number // 3]
    slots, objects, positive = assign([around(100, 40, *NINE[number])])
    assert slots[0] == slot(stride, 40 // stride, 100 // stride, number % 3)
    assert objects[0] == 0 and positive[0]


def test_the_best_shape_iou_by_hand():
    """20 x 20 by 16 x 30 is 320 / 560; by 33 x 23 it is 400 / 759, by 10 x 13 only 130 / 400."""
    slots, _, _ = assign([around(4, 4, 20, 20)])
    assert slots[0] == slot(8, 0, 0, 1)


def test_width_and_height_are_not_swapped():
    """62 x 45 lies, 30 x 61 stands: both at stride 16, as the second and the first prior."""
    slots, _, _ = assign([around(100, 40, 62, 45), around(100, 40, 45, 62)])
    assert slots[0] == slot(16, 2, 6, 1) and slots[1] == slot(16, 2, 6, 0)


@pytest.mark.parametrize('first, second', list(itertools.combinations(range(9), 2)))
def test_ties_go_to_the_lowest_prior(first, second):
    sizes = [(40. + 10 * i, 200. - 10 * i) for i in range(9)]
    sizes[first] = sizes[second] = (20., 20.)
    table = Anchors(sizes=(tuple(sizes[:3]), tuple(sizes[3:6]), tuple(sizes[6:])), strides=(8, 16, 32))
    slots, _, _ = assign([around(100, 40, 20, 20)], table=table)
    stride = (8, 16, 32)[first // 3]
    assert slots[0] == slot(stride, 40 // stride, 100 // stride, first % 3)


def test_a_tie_of_different_shapes_goes_to_the_lower_prior_too():
    level = ((20., 10.), (10., 20.), (90., 90.))
    table = Anchors(sizes=(level,) + YOLOV3_ANCHORS.sizes[1:], strides=(8, 16, 32))
    slots, _, _ = assign([around(100, 40, 15, 15)], table=table)
    assert slots[0] == slot(8, 5, 12, 0)


@pytest.mark.parametrize('stride, size', [(8, (10, 13)), (16, (30, 61)), (32, (116, 90))])
def test_a_centre_on_the_far_border_belongs_to_the_last_cell(stride, size):
    corners = [(WIDTH, HEIGHT), (WIDTH, 0), (0, HEIGHT)]
    slots, _, positive = assign([around(x, y, *size) for x, y in corners])
    rows, columns = HEIGHT // stride, WIDTH // stride
    assert slots.tolist() == [slot(stride, rows - 1, columns - 1, 0), slot(stride, 0, columns - 1, 0),
                              slot(stride, rows - 1, 0, 0)]
    assert positive.all()


def test_a_centre_on_a_cell_border_belongs_to_the_cell_that_begins_there():
    slots, _, _ = assign([around(16, 24, 10, 13)])
    assert slots[0] == slot(8, 3, 2, 0)


def test_a_later_box_overwrites_an_earlier_one():
    boxes = [around(20, 28, 10, 13), around(21, 29, 9, 12), around(60, 28, 10, 13), around(19, 27, 11, 13)]
    slots, objects, positive = assign(boxes)
    assert slots[0] == slots[1] == slots[3]
    assert positive.tolist() == [False, False, True, True] and objects.tolist() == [0, 1, 2, 3]


def test_padding_overwrites_nothing_even_where_it_holds_numbers():
    boxes = [around(20, 28, 10, 13), around(20, 28, 10, 13)]
    assert assign(boxes, valid=[True, False])[2].tolist() == [True, False]
    assert assign(boxes, valid=[False, False])[2].tolist() == [False, False]


def test_x2_zero_is_no_padding_mark():
    """A box may end at the left border of the picture and still count; only ``valid`` says padding."""
    assert assign([[-12, 20, 0, 33]])[2].tolist() == [True]


@pytest.mark.parametrize('odd', [[20, 28, 20, 28], [20, 20, 20, 33], [15, 28, 25, 28], [25, 34, 15, 21]])
def test_boxes_without_area_own_nothing_and_overwrite_nothing(odd):
    slots, _, positive = assign([around(20, 28, 10, 13), odd])
    assert positive.tolist() == [True, False]
    assert (0 <= slots).all() and (slots < FIRST[32] + 3 * 5 * 3).all()


def test_no_boxes_and_no_limit_on_boxes():
    assert assign(np.zeros((0, 4)))[0].shape == (0,)
    rng = np.random.default_rng(0)
    near = rng.uniform(0, 80, (2000, 2))
    positive = assign(np.concatenate([near, near + rng.uniform(1, 80, near.shape)], -1))[2]
    assert positive[-1] and 0 < positive.sum() < 2000


def test_pictures_of_a_batch_do_not_meet():
    box = np.array([[around(20, 28, 10, 13)]], np.float32)
    truth = GroundTruth(tf.constant(np.repeat(box, 3, 0)), tf.zeros([3, 1], tf.int32),
                        tf.constant([[True], [False], [True]]), tf.ones([3, 1]))
    result = best_anchor(truth, lay_out(YOLOV3_ANCHORS, HEIGHT, WIDTH))
    assert result.positive.numpy().tolist() == [[True], [False], [True]]
    assert len(set(result.slots.numpy().ravel())) == 1


@hypothesis.given(arrays.arrays(np.float32, (20, 4), elements=st.floats(-300, 300, width=32)))
@hypothesis.settings(deadline=None, max_examples=30, derandomize=True)
def test_slots_stay_in_range_and_have_one_owner_each(boxes):
    slots, objects, positive = assign(boxes)
    assert (0 <= slots).all() and (slots < FIRST[32] + 3 * 5 * 3).all()
    assert len(set(slots[positive])) == positive.sum()
    with_area = (boxes[:, 2:] > boxes[:, :2]).all(-1)
    last_of = {s: n for n, s in enumerate(slots) if with_area[n]}
    assert sorted(last_of.values()) == np.flatnonzero(positive).tolist()


def test_types_and_the_table():
    nothing = GroundTruth(tf.zeros([2, 3, 4]), tf.zeros([2, 3], tf.int32), tf.zeros([2, 3], tf.bool),
                          tf.zeros([2, 3]))
    result = best_anchor(nothing, lay_out(YOLOV3_ANCHORS, 32, 64))
    assert [x.dtype for x in result] == [tf.int32, tf.int32, tf.bool]
    assert {tuple(x.shape) for x in result} == {(2, 3)} and ASSIGNERS['best_anchor'] is best_anchor
