"""The objectness term by hand: which slots are positive, negative and ignored."""
import math

import numpy as np
import pytest
import tensorflow as tf
from fixtures import loss_cases as cases

from yolov3_tf.anchors import Anchors
from yolov3_tf.losses import objectness

HEIGHT, WIDTH = 64, 96
SLOTS = 3 * (8 * 12 + 4 * 6 + 2 * 3)
LN2 = math.log(2)                                             # BCE of either target at logit 0
# Priors 0 and 1 are the same on two levels: a raw 0 predicts the same 10 x 13 twice in each cell.
TWINS = Anchors(sizes=(((10., 13.), (10., 13.), (33., 23.)), ((10., 13.), (62., 45.), (59., 119.)),
                       ((116., 90.), (156., 198.), (373., 326.))), strides=(8, 16, 32))
TWICE_AS_WIDE = [10, 21.5, 30, 34.5]                          # IoU exactly 1/2 with the prior around (20, 28)


def counted(case, **settings):
    """How many slots the plain objectness term counts when every logit is 0."""
    return cases.loss_of(case, **settings)['objectness'] / LN2


def test_without_objects_every_slot_is_background():
    assert counted(cases.empty_case(HEIGHT, WIDTH, 1)) == pytest.approx(SLOTS, rel=1e-6)


def test_ignored_from_the_threshold_on_background_strictly_below():
    case = cases.empty_case(HEIGHT, WIDTH, 1, [TWICE_AS_WIDE], table=TWINS)
    at, beyond = counted(case, ignore_thresh=.5), counted(case, ignore_thresh=.500001)
    assert at == pytest.approx(SLOTS - 1, rel=1e-6)    # the twin, at the very threshold, is ignored
    assert beyond == pytest.approx(SLOTS, rel=1e-6)


def test_a_positive_is_never_ignored():
    case = cases.empty_case(HEIGHT, WIDTH, 1, [[15, 21.5, 25, 34.5]])       # the prior itself: IoU 1
    case.objectness[0, cases.slot_at(case, 0, 3, 2, 0)] = -3.
    parts = cases.loss_of(case, ignore_thresh=.99)
    expected = (SLOTS - 1) * LN2 + math.log(1 + math.exp(3))
    assert parts['objectness'] == pytest.approx(expected, rel=1e-6)


def test_scope_scale_is_blind_for_objects_of_other_scales():
    """Stride 16, row 1, column 1 is around (24, 24), as is the object, which is matched at stride 8."""
    case = cases.empty_case(HEIGHT, WIDTH, 1, [[19, 17.5, 29, 30.5]], table=TWINS)
    scale, image = (counted(case, ignore_scope=scope, ignore_thresh=.9) for scope in ('scale', 'image'))
    assert scale - image == pytest.approx(1, abs=1e-3)
    assert scale == pytest.approx(SLOTS, rel=1e-6)            # its own twin is half a cell away: IoU below .9


def test_scope_image_sees_an_overwritten_object_and_scope_scale_does_not():
    overwritten = [15, 21.5, 25, 34.5]                        # equals the twin's prediction
    case = cases.empty_case(HEIGHT, WIDTH, 1, [overwritten, TWICE_AS_WIDE], table=TWINS)
    assert counted(case, ignore_scope='scale', ignore_thresh=.9) == pytest.approx(SLOTS, rel=1e-6)
    assert counted(case, ignore_scope='image', ignore_thresh=.9) == pytest.approx(SLOTS - 1, rel=1e-6)


def test_an_object_is_background_to_nobody_in_another_image():
    one = cases.empty_case(HEIGHT, WIDTH, 1, [TWICE_AS_WIDE], table=TWINS)
    two = one._replace(**{field: np.concatenate([getattr(one, field)] * 2) for field in one._fields[:7]})
    two.valid[1] = False
    total = (SLOTS - 1 + SLOTS) / 2
    assert counted(two, ignore_thresh=.5) == pytest.approx(total, rel=1e-6)


def test_the_mix_up_weight_counts_for_objects_only():
    case = cases.empty_case(HEIGHT, WIDTH, 1, [TWICE_AS_WIDE], weights=[.25])
    assert counted(case, ignore_thresh=.9) == pytest.approx(SLOTS - 1 + .25, rel=1e-6)


def test_focal_by_hand():
    case = cases.empty_case(HEIGHT, WIDTH, 1, [TWICE_AS_WIDE])
    case.objectness[:] = math.log(1 / 3)                      # sigmoid = 1/4
    expected = (SLOTS - 1) * (1 / 4) ** 2 * -math.log(3 / 4) + (3 / 4) ** 2 * -math.log(1 / 4)
    assert cases.loss_of(case, focal=True, ignore_thresh=.9)['objectness'] == pytest.approx(expected, rel=1e-5)


def test_the_iou_as_target_by_hand():
    """The prior covers half of the object: its slot's target is 1/2. At sigmoid 1/4 the BCE is (ln 4 + ln 4/3) / 2."""
    case = cases.empty_case(HEIGHT, WIDTH, 1, [TWICE_AS_WIDE])
    case.objectness[:] = math.log(1 / 3)
    positive, background = (math.log(4) + math.log(4 / 3)) / 2, math.log(4 / 3)
    settings = dict(objectness_target='iou', ignore_thresh=.9)
    assert cases.loss_of(case, **settings)['objectness'] == pytest.approx(positive + (SLOTS - 1) * background, rel=1e-5)
    focal = (1 / 2 - 1 / 4) ** 2 * positive + (SLOTS - 1) * (1 / 4) ** 2 * background
    assert cases.loss_of(case, focal=True, **settings)['objectness'] == pytest.approx(focal, rel=1e-5)


@pytest.mark.parametrize('target, expected', [('one', 1), ('iou', .5)])
def test_squared_by_hand(target, expected):
    case = cases.empty_case(HEIGHT, WIDTH, 1, [TWICE_AS_WIDE], weights=[.7])
    case.objectness[:] = math.log(1 / 3)
    got = cases.loss_of(case, objectness='squared', objectness_target=target, ignore_thresh=.9)['objectness']
    assert got == pytest.approx(.7 * (expected - 1 / 4) ** 2 + (SLOTS - 1) * (1 / 4) ** 2, rel=1e-5)


def test_the_background_weight_spares_the_positive():
    case = cases.empty_case(HEIGHT, WIDTH, 1, [TWICE_AS_WIDE])
    assert counted(case, ignore_thresh=.9, background_weight=.25) == pytest.approx(.25 * (SLOTS - 1) + 1, rel=1e-6)


def test_balanced_counts_the_slots_of_the_batch():
    """Two images, the second without objects, one slot ignored: 2 SLOTS predictions, one positive."""
    one = cases.empty_case(HEIGHT, WIDTH, 1, [TWICE_AS_WIDE], table=TWINS, weights=[.5])
    two = one._replace(**{field: np.concatenate([getattr(one, field)] * 2) for field in one._fields[:7]})
    two.valid[1] = False
    weight = (2 * SLOTS - 1) / 1 * .5
    expected = (.5 * weight + (SLOTS - 2) + SLOTS) / 2
    assert counted(two, positive_weight='balanced', ignore_thresh=.5) == pytest.approx(expected, rel=1e-6)
    two.valid[0] = False
    assert counted(two, positive_weight='balanced') == pytest.approx(SLOTS, rel=1e-6)


def test_balanced_counts_slots_and_not_objects():
    case = cases.empty_case(HEIGHT, WIDTH, 1, [TWICE_AS_WIDE], table=TWINS)
    positives = len(cases.positives_of(case, 0, assigner='iou_threshold'))
    assert positives == 4                                        # 33 x 23 at 260 / 759, and three twins
    expected = (SLOTS - positives) / positives * .5 * positives + (SLOTS - positives)
    got = counted(case, assigner='iou_threshold', positive_weight='balanced', ignore_thresh=.9)
    assert got == pytest.approx(expected, rel=1e-6)


def test_an_object_is_compared_on_every_scale_where_it_has_a_positive():
    """A prior of stride 16 that no rule gives the object predicts it exactly, from 62 x 45 around (24, 24)."""
    case = cases.empty_case(HEIGHT, WIDTH, 1, [[19, 17.5, 29, 30.5]], table=TWINS)
    case.t[0, cases.slot_at(case, 1, 1, 1, 1), 2:] = math.log(10 / 62), math.log(13 / 45)
    one_scale, two_scales = (counted(case, assigner=assigner, ignore_thresh=.9)
                             for assigner in ('best_anchor', 'iou_threshold'))
    assert one_scale == pytest.approx(SLOTS, rel=1e-6)
    assert two_scales == pytest.approx(SLOTS - 1, rel=1e-6)


@pytest.mark.parametrize('focal', [False, True])
def test_the_mask_carries_no_gradient_to_the_boxes(focal):
    case = cases.random_case(1, 2, 32, 64, 2, 4)
    _, (by_t, by_objectness, by_classes) = cases.gradients_of(case, part='objectness', focal=focal)
    assert not by_t.any() and not by_classes.any() and by_objectness.any()


@pytest.mark.parametrize('settings', [dict(), dict(objectness='squared'), dict(focal=True),
                                      dict(assigner='best_prediction')], ids=str)
def test_neither_the_target_nor_the_choice_of_a_slot_carries_a_gradient_to_the_boxes(settings):
    case = cases.random_case(1, 2, 32, 64, 2, 4)
    _, (by_t, _, by_classes) = cases.gradients_of(case, part='objectness', objectness_target='iou', **settings)
    assert not by_t.any() and not by_classes.any()


def test_focal_equals_tensorflow_addons():
    addons = pytest.importorskip('tensorflow_addons', reason='no tensorflow-addons for this TensorFlow')
    case = cases.random_case(5, 3, 32, 64, 2, 5)              # threshold 1: nothing is ignored
    matched = np.zeros_like(case.objectness)
    for b in range(3):
        matched[b, list(cases.positives_of(case, b))] = 1
    case = case._replace(weights=case.valid.astype(np.float32))
    expected = addons.losses.sigmoid_focal_crossentropy(matched, case.objectness, from_logits=True, alpha=None)
    got = cases.loss_of(case, focal=True, ignore_thresh=1.)['objectness']
    assert matched.sum() > 3
    assert got == pytest.approx(np.sum(expected) / 3, rel=1e-5)


def test_balanced_in_a_graph_that_does_not_know_its_batch():
    """Two images of four slots, two positives: (8 - 2) / 2 x .5."""
    balanced = tf.function(objectness.balanced, input_signature=[tf.TensorSpec([None, None], tf.float32)])
    assert float(balanced(tf.constant([[1., 0, 0, 0], [0, 0, 1, 0]]))) == 1.5
