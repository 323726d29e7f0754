"""The box code both ways, on images that are not square."""
import math

import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf import codec
from yolov3_tf.anchors import YOLOV3_ANCHORS, lay_out

HEIGHT, WIDTH = 96, 160
FINE = 12 * 20 * 3                                            # slots of stride 8 at this size


@pytest.fixture(scope='module')
def priors():
    return lay_out(YOLOV3_ANCHORS, HEIGHT, WIDTH)


def test_split_names_the_channels_in_darknets_order():
    outputs = tf.reshape(tf.range(2 * 4 * 8, dtype=tf.float32), [2, 4, 8])
    raw = codec.split(outputs)
    np.testing.assert_array_equal(raw.offsets, outputs.numpy()[..., :4])
    np.testing.assert_array_equal(raw.objectness, outputs.numpy()[..., 4])
    np.testing.assert_array_equal(raw.classes, outputs.numpy()[..., 5:])


def test_split_bounds_finite_values_and_lets_nan_be_seen():
    raw = codec.split(tf.constant([[[-1e30, 1e30, -3., 3., 1e30, -1e30, 9.]]]))
    assert raw.offsets.numpy().tolist() == [[[-1e4, 1e4, -3, 3]]]
    assert raw.objectness.numpy().tolist() == [[1e4]] and raw.classes.numpy().tolist() == [[[-1e4, 9]]]
    assert np.isnan(codec.split(tf.fill([1, 2, 6], float('nan'))).offsets).all()


@pytest.mark.parametrize('dtype', [tf.float16, tf.bfloat16])
def test_split_leaves_half_precision(dtype):
    assert all(part.dtype == tf.float32 for part in codec.split(tf.ones([1, 3, 7], dtype)))


def test_decode_by_hand(priors):
    """Stride 8, row 3, column 11, second prior 16 x 30."""
    s = (3 * 20 + 11) * 3 + 1
    t = np.zeros((2, FINE + 6 * 10 * 3 + 3 * 5 * 3, 4), np.float32)
    t[1, s] = [math.log(3), -math.log(3), math.log(2), -math.log(4)]   # sigmoid 3/4 and 1/4, size x2 and /4
    box = codec.decode(t, priors).numpy()[1, s]
    x, y, w, h = (11 + .75) * 8, (3 + .25) * 8, 16 * 2, 30 / 4
    np.testing.assert_allclose(box, [x - w / 2, y - h / 2, x + w / 2, y + h / 2], rtol=1e-6)


def test_decode_with_grid_sensitivity_by_hand():
    """Stride 8, row 3, column 11, s = 1.2: the fraction is 1.2 x 3/4 - .1 = .8; stride 32 keeps 1."""
    priors = lay_out(YOLOV3_ANCHORS._replace(sensitivity=(1.2, 1.1, 1.)), HEIGHT, WIDTH)
    t = np.zeros((1, FINE + 225, 4), np.float32)
    t[0, (3 * 20 + 11) * 3] = [math.log(3), -math.log(3), 0, 0]
    boxes = codec.decode(t, priors).numpy()[0]
    x, y = (11 + .8) * 8, (3 + .2) * 8
    np.testing.assert_allclose(boxes[(3 * 20 + 11) * 3], [x - 5, y - 6.5, x + 5, y + 6.5], rtol=1e-6)
    np.testing.assert_allclose(boxes[-1][:2] + boxes[-1][2:], [2 * 144, 2 * 80], rtol=1e-6)


def test_grid_sensitivity_reaches_the_edges_of_the_cell():
    edges = codec.fraction_of(tf.constant([[math.log(11), -math.log(11)]]), tf.constant([1.2])).numpy()[0]
    np.testing.assert_allclose(edges, [1., 0.], atol=1e-6)      # 1.2 x 11/12 - .1 and 1.2 x 1/12 - .1


def test_decode_of_zero_is_the_prior_in_the_middle_of_its_cell(priors):
    boxes = codec.decode(tf.zeros([1, FINE + 225, 4]), priors).numpy()[0]
    np.testing.assert_allclose(boxes[0], [4 - 5, 4 - 6.5, 4 + 5, 4 + 6.5])
    x, y = (4 + .5) * 32, (2 + .5) * 32
    np.testing.assert_allclose(boxes[-1], [x - 373 / 2, y - 326 / 2, x + 373 / 2, y + 326 / 2])


def test_decode_takes_any_leading_shape(priors):
    t = tf.random.stateless_normal([2, 3, FINE + 225, 4], seed=[1, 2])
    np.testing.assert_allclose(codec.decode(t, priors)[1, 2], codec.decode(t[1, 2], priors), rtol=1e-6)


def test_decode_is_finite_with_finite_gradients_however_large_t(priors):
    t = tf.Variable(tf.random.stateless_uniform([1, FINE + 225, 4], seed=[3, 4], minval=-1e4, maxval=1e4))
    with tf.GradientTape() as tape:
        boxes = codec.decode(t, priors)
    assert np.isfinite(boxes).all() and np.isfinite(tape.gradient(boxes, t)).all()
    bound = codec.decode(tf.fill([1, FINE + 225, 4], 1e4), priors).numpy()
    np.testing.assert_allclose(bound[0, 0, 2] - bound[0, 0, 0], 10 * math.exp(10), rtol=1e-6)


def test_encode_by_hand(priors):
    """Centre (92, 27) in stride 8: column 11.5, row 3.375; 32 x 15 against 16 x 30."""
    slot = (3 * 20 + 11) * 3 + 1
    target = codec.encode(tf.constant([[[76., 19.5, 108., 34.5]]]), priors, tf.constant([[slot]]))
    np.testing.assert_allclose(target[0, 0], [.5, .375, math.log(2), -math.log(2)], rtol=1e-6)


def test_encode_of_a_box_without_area_is_finite(priors):
    odd = tf.constant([[[5., 5., 5., 5.], [0., 0., 0., 0.], [9., 9., 2., 2.]]])
    assert np.isfinite(codec.encode(odd, priors, tf.constant([[0, 0, 0]]))).all()


def test_round_trip_of_every_slot(priors):
    """A box centred in each slot's cell, near its prior in size, comes back to a hundredth of a pixel."""
    rng = np.random.default_rng(0)
    cells, strides, sizes = (x.numpy() for x in (priors.cells, priors.strides, priors.anchors))
    centre = (cells + rng.uniform(.02, .98, cells.shape)) * strides[:, None]
    half = sizes * np.exp(rng.normal(0, .5, sizes.shape)) / 2
    boxes = np.concatenate([centre - half, centre + half], -1).astype(np.float32)[None]
    target = codec.encode(boxes, priors, tf.range(len(cells))[None]).numpy()
    assert (0 < target[..., :2]).all() and (target[..., :2] < 1).all()
    t = np.concatenate([np.log(target[..., :2] / (1 - target[..., :2])), target[..., 2:]], -1)
    np.testing.assert_allclose(codec.decode(t, priors), boxes, atol=.01)


def test_encode_undoes_decode(priors):
    t = tf.random.stateless_normal([2, FINE + 225, 4], seed=[5, 6])
    slots = tf.tile(tf.range(FINE + 225)[None], [2, 1])
    target = codec.encode(codec.decode(t, priors), priors, slots).numpy()
    np.testing.assert_allclose(target[..., :2], tf.sigmoid(t[..., :2]), atol=1e-4)
    np.testing.assert_allclose(target[..., 2:], t[..., 2:], atol=1e-3)
