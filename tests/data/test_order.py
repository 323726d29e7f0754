"""The order of an epoch: without and with more of the images that have rare classes."""
import collections

import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.data import order
from yolov3_tf.data.order import Order
from yolov3_tf.structures import Record


def record(classes, crowd=None):
    n = len(classes)
    crowd = np.zeros(n, bool) if crowd is None else np.array(crowd)
    return Record('a.jpg', 'a', 9, 9, np.tile(np.float32([[1, 1, 5, 5]]), [n, 1]), np.array(classes, np.int32),
                  np.zeros(n, bool), crowd, np.ones(n, np.float32))


def test_repeat_factors_by_hand():
    """Class 0 in 16 of 20 images, 1 in 4, 2 in 1: sqrt(16 / 4) = 2, sqrt(16 / 1) = 4; an image has its largest."""
    records = [record([0, 0])] * 13 + [record([0, 1])] * 2 + [record([1]), record([0, 1, 2])] + [record([])] * 2
    records.append(record([2], crowd=[True]))
    assert order.repeat_factors(records) == (1.,) * 13 + (2.,) * 3 + (4.,) + (1.,) * 3
    assert order.repeat_factors([record([3]), record([3, 3])]) == order.repeat_factors([record([])] * 2) == (1., 1.)


def counts(made, epochs):
    return [np.bincount(made._replace(batch_size=made.images).of_batch(epoch, 0), minlength=made.images)
            for epoch in epochs]


def test_an_epoch_has_as_many_images_as_the_set_each_as_often_as_its_factor_says():
    """Factors 1, 2 and 5 of 7, 2 and 1 images add up to 16: of 10 places .625, 1.25 and 3.125, rounded up or down."""
    expected = np.array([.625] * 7 + [1.25] * 2 + [3.125])
    found = np.array(counts(Order(10, 10, 7, (1.,) * 7 + (2.,) * 2 + (5.,)), range(400)))
    assert (found.sum(axis=1) == 10).all()
    assert ((found == np.floor(expected)) | (found == np.ceil(expected))).all()
    np.testing.assert_allclose(found.mean(axis=0), expected, atol=.1)


def test_factors_of_one_show_every_image_once_and_the_order_is_shuffled():
    made = Order(50, 50, 3, (1.,) * 50)
    assert all((one == 1).all() for one in counts(made, range(5)))
    first, second = made.of_batch(0, 0), made.of_batch(1, 0)
    assert (first != second).any() and (first != np.arange(50)).any()
    many = Order(50, 50, 3, (4.,) * 10 + (1.,) * 40).of_batch(0, 0)
    assert np.sum(many[1:] == many[:-1]) < 10        # repeats are not side by side


def test_two_images_are_drawn_independently_of_their_neighbourhood():
    """Every image is drawn in half of the epochs (n r / sum = .5), neighbours in the set together in a quarter."""
    found = np.array(counts(Order(20, 20, 1, (1.,) * 16 + (6.,) * 4), range(400)))[:, :16]
    assert set(found.ravel()) == {0, 1}
    both = np.mean(found[:, :-1] * found[:, 1:])
    assert abs(found.mean() - .5) < .03 and .2 < both < .28


@pytest.mark.parametrize('repeats', [(), (1., 3., 1., 2., 1., 1., 1.)])
def test_seed_and_epoch_decide_and_a_small_set_fills_a_batch(repeats):
    made = Order(7, 3, 5, repeats)
    assert made.steps == 2
    in_graph = tf.function(made.of_epoch)(tf.constant(4, tf.int64)).numpy().tolist()
    assert in_graph == [index for step in range(2) for index in made.of_batch(4, step)]
    assert len({tuple(made._replace(seed=seed).of_batch(4, 0)) for seed in range(8)}) > 4
    small = made._replace(batch_size=17).of_batch(0, 0)
    assert len(small) == 17
    if not repeats:
        assert set(collections.Counter(small.tolist()).values()) == {2, 3}
