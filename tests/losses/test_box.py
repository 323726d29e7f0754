"""Box terms by hand: one or two boxes, every prediction 0 (a prior in the middle of its cell) unless noted."""
import math

import numpy as np
import pytest
import tensorflow as tf
from fixtures import loss_cases as cases

from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.losses import box as box_losses

HEIGHT, WIDTH = 64, 96
# The prior of slot (level 0, row 3, column 2, prior 0) is 10 x 13 around (20, 28); this one is twice as wide.
WIDE = [10, 21.5, 30, 34.5]


def wide_case(t=(0, 0, 0, 0), height=HEIGHT, width=WIDTH, **more):
    case = cases.empty_case(height, width, 1, [WIDE], **more)
    case.t[0, cases.slot_at(case, 0, 3, 2, 0)] = t
    return case


def logit(p):
    return math.log(p / (1 - p))


def test_mse_by_hand():
    parts = cases.loss_of(wide_case(t=(logit(.75), logit(.4), 0, .5)), box='mse')
    weight = 2 - 20 * 13 / (96 * 64)
    assert parts['xy'] == pytest.approx(weight * ((.5 - .75) ** 2 + (.5 - .4) ** 2), rel=1e-5)
    sizes = (math.log(20 / 10) - 0) ** 2 + (math.log(13 / 13) - .5) ** 2
    assert parts['wh'] == pytest.approx(weight * sizes, rel=1e-5)


def test_sqrt_wh_by_hand():
    """Centres in cells, sizes as fractions of the image's 96 x 64; nothing is weighed by size."""
    parts = cases.loss_of(wide_case(t=(logit(.75), logit(.4), 0, .5)), box='sqrt_wh')
    assert parts['xy'] == pytest.approx((.5 - .75) ** 2 + (.5 - .4) ** 2, rel=1e-5)
    width = math.sqrt(20 / 96) - math.sqrt(10 / 96)
    height = math.sqrt(13 / 64) - math.sqrt(13 * math.exp(.5) / 64)
    assert parts['wh'] == pytest.approx(width ** 2 + height ** 2, rel=1e-5)


def test_plain_wh_by_hand():
    parts = cases.loss_of(wide_case(t=(logit(.75), logit(.4), 0, .5)), box='plain_wh')
    weight = 2 - 20 * 13 / (96 * 64)
    assert parts['xy'] == pytest.approx(weight * ((.5 - .75) ** 2 + (.5 - .4) ** 2), rel=1e-5)
    squares = ((20 - 10) / 96) ** 2 + ((13 - 13 * math.exp(.5)) / 64) ** 2
    assert parts['wh'] == pytest.approx(weight * squares, rel=1e-5)


@pytest.mark.parametrize('name, weight', [('mse', 2 - 260 / 6144), ('sqrt_wh', 1), ('plain_wh', 2 - 260 / 6144)])
def test_grid_sensitivity_by_hand(name, weight):
    """At s = 1.2 a sigmoid of .75 is at 1.2 * .75 - .1 = .8 of the cell."""
    table = YOLOV3_ANCHORS._replace(sensitivity=(1.2, 1.1, 1.05))
    parts = cases.loss_of(wide_case(t=(logit(.75), 0, 0, 0), table=table), box=name)
    assert parts['xy'] == pytest.approx(weight * (.5 - .8) ** 2, rel=1e-5)


@pytest.mark.parametrize('name', sorted(box_losses.BOX_LOSSES))
def test_the_box_weight_multiplies_the_box_term_alone(name):
    plain, weighted = (cases.loss_of(wide_case(t=(.3, -.2, .1, .4)), box=name, box_weight=w) for w in (1., 2.5))
    for key in set(plain) - {'total'}:
        factor = 1 if key in ('objectness', 'classes') else 2.5
        assert weighted[key] == pytest.approx(factor * plain[key], rel=1e-6)
    assert weighted['total'] > plain['total']


def test_smooth_l1_by_hand_on_both_sides_of_one():
    """Offsets: centre difference in priors (not strides); .25 cells of 8 pixels by a prior of 10 x 13."""
    parts = cases.loss_of(wide_case(t=(logit(.75), logit(.25), -1, .5)), box='smooth_l1')
    squared = .5 * (.25 * 8 / 10) ** 2 + .5 * (-.25 * 8 / 13) ** 2 + .5 * .5 ** 2
    linear = abs(-1 - math.log(2)) - .5
    assert parts['smooth_l1'] == pytest.approx(squared + linear, rel=1e-5)


@pytest.mark.parametrize('name, expected', [('iou', .5), ('giou', .5), ('diou', .5)])
def test_overlaps_on_the_same_centre(name, expected):
    """Prior 10 x 13 inside the object 20 x 13: IoU 130 / 260, no empty hull, no distance."""
    assert cases.loss_of(wide_case(), box=name)[name] == pytest.approx(expected, rel=1e-6)


def test_ciou_adds_the_aspect():
    v = 4 / math.pi ** 2 * (math.atan(20 / 13) - math.atan(10 / 13)) ** 2
    assert cases.loss_of(wide_case(), box='ciou')['ciou'] == pytest.approx(.5 + v * v / (.5 + v), rel=1e-5)


def test_giou_and_diou_off_the_centre():
    """sigmoid(tx) = 1 - 1/16: the prediction is 7/16 of 8 pixels to the right: x from 18.5 to 28.5."""
    case = wide_case(t=(logit(15 / 16), 0, 0, 0))
    assert cases.loss_of(case, box='giou')['giou'] == pytest.approx(.5, rel=1e-5)      # still inside
    expected = .5 + 3.5 ** 2 / (20 ** 2 + 13 ** 2)
    assert cases.loss_of(case, box='diou')['diou'] == pytest.approx(expected, rel=1e-5)
    case = wide_case(t=(0, logit(15 / 16), 0, 0))                                      # 3.5 pixels down
    shared, union, hull = 10 * 9.5, 130 + 260 - 10 * 9.5, 20 * 16.5
    expected = 1 - (shared / union - (hull - union) / hull)
    assert cases.loss_of(case, box='giou')['giou'] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('name', sorted(box_losses.BOX_LOSSES))
def test_zero_for_the_perfect_prediction(name):
    case = wide_case(t=(0, 0, math.log(2), 0))
    parts = cases.loss_of(case, box=name)
    assert parts['total'] - parts['objectness'] - parts['classes'] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize('name', ['smooth_l1', 'iou', 'giou', 'diou', 'ciou'])
def test_only_mse_weighs_small_boxes_more(name):
    small, large = (cases.loss_of(wide_case(height=h, width=w), box=name)[name]
                    for h, w in ((64, 96), (160, 128)))
    assert small == pytest.approx(large, rel=1e-6)
    mse_small, mse_large = (cases.loss_of(wide_case(height=h, width=w), box='mse')['wh']
                            for h, w in ((64, 96), (160, 128)))
    expected = (2 - 260 / (160 * 128)) / (2 - 260 / (64 * 96))
    assert mse_large / mse_small == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize('name', sorted(box_losses.BOX_LOSSES))
def test_the_mix_up_weight_multiplies(name):
    full = cases.loss_of(wide_case(t=(.3, -.2, .1, .4)), box=name)
    part = cases.loss_of(wide_case(t=(.3, -.2, .1, .4), weights=[.25]), box=name)
    for key in set(full) - {'objectness', 'classes', 'total'}:
        assert part[key] == pytest.approx(.25 * full[key], rel=1e-5)


def test_best_of_scale_takes_a_neighbour_that_fits_better():
    """The slot of WIDE predicts 10 x 13 around (20, 28); a second object sits a cell lower."""
    neighbour = [15, 25, 25, 40]                              # 10 x 15, centre (20, 32.5): row 4
    case = cases.empty_case(HEIGHT, WIDTH, 1, [WIDE, neighbour])
    alone = 1 - 10 * 10.5 / (10 * 15 + 10 * 13 - 10 * 10.5)   # its own slot: prior around (20, 36)
    own, other = .5, 1 - 10 * 9.5 / (10 * 15 + 10 * 13 - 10 * 9.5)
    assert cases.loss_of(case, box='iou', matched='assigned')['iou'] == pytest.approx(own + alone, rel=1e-5)
    expected = min(own, other) + alone
    assert cases.loss_of(case, box='iou', matched='best')['iou'] == pytest.approx(expected, rel=1e-5)


def test_best_of_scale_does_not_see_overwritten_boxes_nor_other_scales_nor_other_images():
    overwritten, large = [15, 21.5, 25, 34.5], [-38, -31, 78, 87]    # the first is just what is predicted
    case = cases.empty_case(HEIGHT, WIDTH, 1, [overwritten, WIDE, large])
    assert cases.loss_of(case, box='iou', matched='best')['iou'] == pytest.approx(
        cases.loss_of(case, box='iou', matched='assigned')['iou'], rel=1e-6)


@pytest.mark.parametrize('name', ['iou', 'giou', 'diou', 'ciou', 'sqrt_wh', 'plain_wh'])
def test_sizes_beyond_the_bound_of_exp_stop_growing(name):
    key = 'wh' if name.endswith('wh') else name
    at_bound, beyond = (cases.loss_of(wide_case(t=(0, 0, tw, tw)), box=name)[key] for tw in (10, 1e4))
    assert at_bound == beyond and np.isfinite(beyond)


@pytest.mark.parametrize('name', ['mse', 'smooth_l1'])
def test_sizes_beyond_the_bound_of_exp_still_find_back(name):
    """A coordinate loss pulls tw back however far it has run; an overlap beyond the bound cannot."""
    case = wide_case(t=(0, 0, 30, 0))
    s = cases.slot_at(case, 0, 3, 2, 0)
    _, (by_t, _, _) = cases.gradients_of(case, box=name)
    assert by_t[0, s, 2] > .5


def test_overlap_losses_equal_tensorflow_addons():
    addons = pytest.importorskip('tensorflow_addons', reason='no tensorflow-addons for this TensorFlow')
    rng = np.random.default_rng(4)
    near = rng.uniform(0, 60, (2, 40, 2)).astype(np.float32)
    mine, truth = np.concatenate([near, near + rng.uniform(1, 40, near.shape)], -1).astype(np.float32)
    matched = box_losses.Matched(boxes=tf.constant(mine), truth_boxes=tf.constant(truth),
                                 offsets=None, truth_offsets=None, anchors=None, strides=None, smallness=None,
                                 sensitivity=None, image=None)
    for name in ('iou', 'giou'):
        expected = addons.losses.giou_loss(truth[..., [1, 0, 3, 2]], mine[..., [1, 0, 3, 2]], mode=name)
        np.testing.assert_allclose(box_losses.BOX_LOSSES[name](matched)[name], expected, atol=1e-6)
