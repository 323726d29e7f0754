"""Which slots are positive and for which object, by hand, on an image 96 high and 160 wide."""
import functools
import itertools

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.anchors import YOLOV3_ANCHORS, Anchors, lay_out
from yolov3_tf.assign import ASSIGNERS, THRESHOLDS, best_anchor
from yolov3_tf.structures import GroundTruth

HEIGHT, WIDTH = 96, 160
NINE = [pair for level in YOLOV3_ANCHORS.sizes for pair in level]
FIRST = {8: 0, 16: 12 * 20 * 3, 32: 12 * 20 * 3 + 6 * 10 * 3}   # first slot of each stride


def slot(stride, row, column, number):
    return FIRST[stride] + (row * (WIDTH // stride) + column) * 3 + number


cached_lay_out = functools.lru_cache(maxsize=None)(lay_out)


def assign(boxes, valid=None, table=YOLOV3_ANCHORS, height=HEIGHT, width=WIDTH, **rule):
    """One image through an assigner: slots, objects, positive as NumPy."""
    boxes = np.asarray(boxes, np.float32).reshape(1, -1, 4)
    return [x[0] for x in assign_batch(boxes, valid, cached_lay_out(table, height, width), **rule)]


def assign_batch(boxes, valid, priors, rule='best_anchor', decoded=None, threshold=None):
    """``boxes`` [B, N, 4]; every image has the same ``decoded`` [S, 4] and ``valid`` [N]."""
    batch, count = boxes.shape[:2]
    valid = np.broadcast_to(True if valid is None else valid, [batch, count])
    truth = GroundTruth(boxes=tf.constant(boxes), classes=tf.zeros([batch, count], tf.int32), valid=tf.constant(valid),
                        weights=tf.ones([batch, count]))
    decoded = None if decoded is None else tf.constant(np.stack([decoded] * batch), tf.float32)
    return [x.numpy() for x in ASSIGNERS[rule](truth, priors, decoded, threshold)]


def matched(boxes, **more):
    """{object: its slots}."""
    slots, objects, positive = assign(boxes, **more)
    assert len(set(slots[positive])) == positive.sum()
    return {n: sorted(slots[positive & (objects == n)].tolist()) for n in range(len(boxes))}


def slots_of(numbers, x, y):
    """Slots of priors 0..8 in the cells that hold x, y."""
    strides = [(8, 16, 32)[number // 3] for number in numbers]
    return [slot(s, int(y // s), int(x // s), number % 3) for s, number in zip(strides, numbers)]


def around(x, y, w, h):
    return [x - w / 2, y - h / 2, x + w / 2, y + h / 2]


@pytest.mark.parametrize('number', range(9))
def test_each_prior_takes_its_own_shape(number):
    stride = (8, 16, 32)[number // 3]
    slots, objects, positive = assign([around(100, 40, *NINE[number])])
    assert slots[0] == slot(stride, 40 // stride, 100 // stride, number % 3)
    assert objects[0] == 0 and positive[0]


def test_the_best_shape_iou_by_hand():
    """20 x 20 by 16 x 30 is 320 / 560; by 33 x 23 it is 400 / 759, by 10 x 13 only 130 / 400."""
    slots, _, _ = assign([around(4, 4, 20, 20)])
    assert slots[0] == slot(8, 0, 0, 1)


def test_width_and_height_are_not_swapped():
    """62 x 45 is wide, 30 x 61 tall: both at stride 16, as the second and the first prior."""
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
    table = Anchors(sizes=(level, *YOLOV3_ANCHORS.sizes[1:]), strides=(8, 16, 32))
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
    """A box may end at the left border of the image and still count; only ``valid`` marks padding."""
    assert assign([[-12, 20, 0, 33]])[2].tolist() == [True]


@pytest.mark.parametrize('odd', [[20, 28, 20, 28], [20, 20, 20, 33], [15, 28, 25, 28], [25, 34, 15, 21]])
def test_boxes_without_area_match_nothing_and_overwrite_nothing(odd):
    slots, _, positive = assign([around(20, 28, 10, 13), odd])
    assert positive.tolist() == [True, False]
    assert (0 <= slots).all() and (slots < FIRST[32] + 3 * 5 * 3).all()


def test_no_boxes_and_no_limit_on_boxes():
    assert assign(np.zeros((0, 4)))[0].shape == (0,)
    rng = np.random.default_rng(0)
    near = rng.uniform(0, 80, (2000, 2))
    positive = assign(np.concatenate([near, near + rng.uniform(1, 80, near.shape)], -1))[2]
    assert positive[-1] and 0 < positive.sum() < 2000


def test_images_of_a_batch_do_not_meet():
    box = np.array([[around(20, 28, 10, 13)]], np.float32)
    truth = GroundTruth(tf.constant(np.repeat(box, 3, 0)), tf.zeros([3, 1], tf.int32),
                        tf.constant([[True], [False], [True]]), tf.ones([3, 1]))
    result = best_anchor(truth, lay_out(YOLOV3_ANCHORS, HEIGHT, WIDTH))
    assert result.positive.numpy().tolist() == [[True], [False], [True]]
    assert len(set(result.slots.numpy().ravel())) == 1


# 20 x 20 against 10 x 13 .. 373 x 326: |2 - 1| + |20/13 - 1| = 1.54, .58, .52, 1.005, 1.23, 1.49, 1.61, 1.77, 1.89
@pytest.mark.parametrize('threshold, numbers', [(None, range(9)), (1., [1, 2]), (1.01, [1, 2, 3]), (.1, [1])])
def test_shape_ratio_by_hand_of_a_small_object(threshold, numbers):
    found = matched([around(100, 40, 20, 20)], rule='shape_ratio', threshold=threshold)
    assert found == {0: slots_of(numbers, 100, 40)}


def test_shape_ratio_is_strict():
    """20 x 13 is off 10 x 13 by |2 - 1| + 0, exactly 1; 16 x 30 and 33 x 23 by .82 and .83."""
    at, beyond = (matched([around(100, 40, 20, 13)], rule='shape_ratio', threshold=limit) for limit in (1., 1.001))
    assert at == {0: slots_of([1, 2], 100, 40)} and beyond == {0: slots_of([0, 1, 2], 100, 40)}


# 300 x 100: 116 x 90 at 1.59 + .11, 156 x 198 at .92 + .49, 373 x 326 at .20 + .69; 62 x 45 at 3.8 + 1.2
@pytest.mark.parametrize('size, numbers', [((300, 100), [6, 7, 8]), ((2000, 2000), [8])])
def test_shape_ratio_by_hand_of_a_large_object(size, numbers):
    """The second is 5.4 and 6.1 times the largest prior, so none fits and the best one is taken."""
    assert matched([around(100, 40, *size)], rule='shape_ratio') == {0: slots_of(numbers, 100, 40)}


# 20 x 20: 130/400 = .325, 320/560 = .571, 400/759 = .527, 400/1830 = .219, 400/2790 = .143 and less
@pytest.mark.parametrize('threshold, numbers', [(None, [0, 1, 2, 3]), (.22, [0, 1, 2]), (.325, [1, 2]), (.9, [1])])
def test_iou_threshold_by_hand(threshold, numbers):
    """Strictly above: at .325 the first prior no longer counts; the best one always does."""
    found = matched([around(100, 40, 20, 20)], rule='iou_threshold', threshold=threshold)
    assert found == {0: slots_of(numbers, 100, 40)}


def test_the_later_of_two_objects_keeps_only_the_slots_both_propose():
    """10 x 13 takes 10 x 13 and 16 x 30 (130/480), not 33 x 23 (130/759); 20 x 20 the first four, as above."""
    wide, narrow = around(100, 40, 20, 20), around(101, 41, 10, 13)
    assert matched([wide, narrow], rule='iou_threshold') == {
        0: slots_of([2, 3], 100, 40), 1: slots_of([0, 1], 100, 40)}
    assert matched([narrow, wide], rule='iou_threshold') == {0: [], 1: slots_of([0, 1, 2, 3], 100, 40)}
    # What does not count takes nothing away.
    assert matched([wide, narrow], rule='iou_threshold', valid=[True, False]) == {0: slots_of(range(4), 100, 40), 1: []}


def test_best_prediction_by_hand():
    """Only the nine slots in the cells of the centre compete; ties go to the first; without overlap shape decides."""
    box, mine = around(100, 40, 20, 20), slots_of(range(9), 100, 40)
    decoded = np.zeros([FIRST[32] + 3 * 5 * 3, 4])
    decoded[slot(8, 9, 9, 0)] = box                                     # perfect, in another cell
    assert matched([box], rule='best_prediction', decoded=decoded) == {0: [mine[1]]}
    decoded[mine[4]] = around(102, 40, 20, 20)                          # 18 x 20 of 22 x 20: .82
    decoded[mine[7]] = around(101, 40, 20, 20)                          # 19 x 20 of 21 x 20: .90
    decoded[mine[8]] = around(99, 40, 20, 20)                           # the same
    assert matched([box], rule='best_prediction', decoded=decoded) == {0: [mine[7]]}


# 20 x 20 against 10 x 13: 2; 16 x 30: 1.5; 33 x 23: 1.65; 30 x 61: 3.05; 62 x 45: 3.1; 59 x 119: 5.95; all others more.
@pytest.mark.parametrize('threshold, numbers', [(None, range(5)), (3.06, range(4)), (1.6, [1]), (1.01, [1])])
def test_neighbours_by_hand(threshold, numbers):
    """(101, 39) is at .625, .875 of cell (12, 4) of stride 8 and at .3125, .4375 of cell (6, 2) of stride 16."""
    found = matched([around(101, 39, 20, 20)], rule='neighbours', threshold=threshold)
    cells = [(101, 39), (109, 39), (101, 47)], [(101, 39), (85, 39), (101, 23)]
    expected = [slot for number in numbers for x, y in cells[number // 3] for slot in slots_of([number], x, y)]
    assert found == {0: sorted(expected)}


def test_neighbours_end_at_the_border_of_the_image():
    found = matched([around(2, 94, 10, 13)], rule='neighbours', threshold=1.5)
    assert found == {0: [slot(8, 11, 0, 0)]}
    assert len(matched([around(6, 94, 10, 13)], rule='neighbours', threshold=1.5)[0]) == 2


def test_dynamic_takes_as_many_slots_as_the_overlaps_add_up_to():
    """Candidates as of ``neighbours`` at 1.6: the three cells of 16 x 30; overlaps .9, .8 and 0 make one slot."""
    box, decoded = around(101, 39, 20, 20), np.zeros([FIRST[32] + 45, 4])
    own, beside, below = (slots_of([1], x, y)[0] for x, y in [(101, 39), (109, 39), (101, 47)])
    decoded[own], decoded[beside] = around(101, 40, 20, 18), around(101, 41, 20, 16)
    found = matched([box], rule='dynamic', threshold=1.6, decoded=decoded)
    assert found == {0: [own]}
    decoded[below] = around(101, 39, 20, 10)                            # .9 + .8 + .5 = 2.2: two slots
    assert matched([box], rule='dynamic', threshold=1.6, decoded=decoded) == {0: sorted([own, beside])}
    # Without any overlap none is better than another.
    none = matched([box], rule='dynamic', threshold=1.6, decoded=np.zeros_like(decoded))
    assert none == {0: sorted([own, beside, below])}


def test_an_object_keeps_its_own_cell_from_a_neighbour():
    """The second object lies beside the cell of the first, whose slot it would take as a later object."""
    found = matched([around(100, 44, 10, 13), around(105, 44, 10, 13)], rule='neighbours', threshold=1.5)
    assert slot(8, 5, 12, 0) in found[0] and slot(8, 5, 12, 0) not in found[1]
    assert slot(8, 5, 13, 0) in found[1] and slot(8, 5, 13, 0) not in found[0]


@pytest.mark.parametrize('rule', sorted(ASSIGNERS))
def test_no_objects_for_any_rule(rule):
    slots, objects, positive = assign(np.zeros((0, 4)), rule=rule, decoded=np.zeros([FIRST[32] + 45, 4]))
    assert slots.shape == objects.shape == positive.shape == (0,)


@pytest.mark.parametrize('rule', sorted(ASSIGNERS))
@hypothesis.given(arrays.arrays(np.float32, (20, 4), elements=st.floats(-300, 300, width=32)))
@hypothesis.settings(deadline=None, max_examples=10, derandomize=True)
def test_slots_stay_in_range_and_belong_to_the_last_object_that_wants_them(rule, boxes):
    decoded = np.random.default_rng(0).uniform(-50, 200, [FIRST[32] + 3 * 5 * 3, 4])
    slots, objects, positive = assign(boxes, rule=rule, decoded=decoded)
    assert (0 <= slots).all() and (slots < FIRST[32] + 3 * 5 * 3).all()
    assert len(set(slots[positive])) == positive.sum()
    with_area = (boxes[:, 2:] > boxes[:, :2]).all(-1)
    assert with_area[objects[positive]].all()
    alone = assign_batch(boxes[:, None], None, cached_lay_out(YOLOV3_ANCHORS, HEIGHT, WIDTH), rule, decoded)
    parts = 3 if rule in ('neighbours', 'dynamic') else 1       # beside, above or below, own cells, which go first
    last_of = {s: n for part in range(parts) for n, (its, _, counts) in enumerate(zip(*alone))
               for s in np.split(its, parts)[part][np.split(counts, parts)[part]]}
    assert dict(zip(slots[positive], objects[positive])) == last_of


def test_types_and_the_table():
    nothing = GroundTruth(tf.zeros([2, 3, 4]), tf.zeros([2, 3], tf.int32), tf.zeros([2, 3], tf.bool),
                          tf.zeros([2, 3]))
    for rule, each in (('best_anchor', 1), ('shape_ratio', 9), ('iou_threshold', 9), ('best_prediction', 1),
                       ('neighbours', 27), ('dynamic', 27)):
        result = ASSIGNERS[rule](nothing, lay_out(YOLOV3_ANCHORS, 32, 64), tf.zeros([2, 3 * (4 * 8 + 2 * 4 + 2), 4]))
        assert [x.dtype for x in result] == [tf.int32, tf.int32, tf.bool]
        assert {tuple(x.shape) for x in result} == {(2, 3 * each)}
    names = {'best_anchor', 'shape_ratio', 'iou_threshold', 'neighbours', 'dynamic', 'best_prediction'}
    assert set(ASSIGNERS) == names > set(THRESHOLDS)
