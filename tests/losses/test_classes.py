"""The class term: independent sigmoids, the object's class, smoothing."""
import math

import numpy as np
import pytest
import tensorflow as tf
from fixtures import loss_cases as cases

from yolov3_tf.losses import classes

OBJECT = [15, 21.5, 25, 34.5]                                 # matched with level 0, row 3, column 2, prior 0


def one_object(logits, class_id, **more):
    case = cases.empty_case(64, 96, len(logits), [OBJECT], class_ids=[class_id], **more)
    case.classes[0, cases.slot_at(case, 0, 3, 2, 0)] = logits
    return case


def softplus(x):
    return math.log(1 + math.exp(x))


def test_by_hand():
    got = cases.loss_of(one_object([2., -1., .5], 1))['classes']
    assert got == pytest.approx(softplus(2) + softplus(1) + softplus(.5), rel=1e-6)


def test_sigmoids_not_softmax():
    """Two classes may be sure at once: with softmax the second would cost a log 2, whatever its logit."""
    assert cases.loss_of(one_object([20., -20.], 0))['classes'] == pytest.approx(0, abs=1e-6)
    assert cases.loss_of(one_object([20., 20.], 0))['classes'] == pytest.approx(20, rel=1e-6)


def test_a_single_class_still_learns():
    assert cases.loss_of(one_object([-3.], 0))['classes'] == pytest.approx(softplus(3), rel=1e-6)


def test_label_smoothing_by_hand():
    got = cases.loss_of(one_object([2., -1., .5], 1), label_smoothing=True)['classes']
    wrong, right = .01 / 3, .99 + .01 / 3
    expected = ((wrong * softplus(-2) + (1 - wrong) * softplus(2))
              + (right * softplus(1) + (1 - right) * softplus(-1))
              + (wrong * softplus(-.5) + (1 - wrong) * softplus(.5)))
    assert got == pytest.approx(expected, rel=1e-6)


def test_squared_error_by_hand():
    """Probabilities 1/4 and 3/5 of the wrong classes, 1/2 of the right one."""
    got = cases.loss_of(one_object([math.log(1 / 3), 0., math.log(3 / 2)], 1), classification='squared')['classes']
    assert got == pytest.approx((1 / 4) ** 2 + (1 / 2) ** 2 + (3 / 5) ** 2, rel=1e-6)


def test_two_classes_equal_keras_smoothing():
    """Keras smooths towards 1/2 (y (1 - s) + s / 2), which is our 1/C when there are two classes."""
    rng = np.random.default_rng(0)
    logits, class_ids = rng.normal(0, 3, (50, 2)).astype(np.float32), rng.integers(0, 2, 50)
    one_hot = np.eye(2, dtype=np.float32)[class_ids]
    for smoothing in (0., .01):
        mean = tf.keras.losses.binary_crossentropy(one_hot, logits, True, smoothing)
        target = classes.targets(tf.constant(class_ids, tf.int32), 2, smoothing > 0)
        got = classes.cross_entropy(target, tf.constant(logits))
        np.testing.assert_allclose(got, 2 * mean, rtol=1e-5)


def test_the_mix_up_weight_multiplies():
    full = cases.loss_of(one_object([2., -1.], 1))['classes']
    part = cases.loss_of(one_object([2., -1.], 1, weights=[.3]))['classes']
    assert part == pytest.approx(.3 * full, rel=1e-6)


def test_the_later_box_of_a_slot_brings_its_class_alone():
    """The reference left both classes standing there."""
    case = cases.empty_case(64, 96, 2, [OBJECT, OBJECT], class_ids=[0, 1])
    case.classes[0, cases.slot_at(case, 0, 3, 2, 0)] = [-4., 4.]
    assert cases.loss_of(case)['classes'] == pytest.approx(2 * softplus(-4), rel=1e-5)


def test_only_positives_learn_a_class():
    case = cases.random_case(2, 3, 32, 64, 3, 5)
    _, (by_t, by_objectness, by_classes) = cases.gradients_of(case, part='classes')
    for b in range(3):
        assert set(np.flatnonzero(np.abs(by_classes[b]).sum(-1))) == set(cases.positives_of(case, b))
    assert not by_t.any() and not by_objectness.any()
