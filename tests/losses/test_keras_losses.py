"""The losses as Keras has them: values, reduction, sample weights, compile and fit, saving and loading."""
import math

import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.errors import InputError
from yolov3_tf.losses import keras_losses

OVERLAPS = {'iou': keras_losses.IoULoss, 'giou': keras_losses.GIoULoss, 'diou': keras_losses.DIoULoss,
            'ciou': keras_losses.CIoULoss}
TRUTH = [0., 0., 4., 2.]
HALF = [0., 0., 2., 2.]                    # the left half of TRUTH
AWAY = [6., 0., 8., 2.]                    # two units beyond it
V = 4 / math.pi ** 2 * (math.atan(4 / 2) - math.atan(2 / 2)) ** 2
BY_HAND = {                                # IoU 4 / 8 and 0; hulls 4 x 2 and 8 x 2; centres 1 and 5 apart
    'iou': (.5, 1.),
    'giou': (.5, 1 + (16 - 12) / 16),
    'diou': (.5 + 1 / (16 + 4), 1 + 25 / (64 + 4)),
    'ciou': (.5 + 1 / 20 + V * V / (.5 + V), 1 + 25 / 68 + V * V / (1 + V)),
}


def random_boxes(seed, *shape):
    rng = np.random.default_rng(seed)
    near = rng.uniform(0, 60, (*shape, 2))
    return np.concatenate([near, near + rng.uniform(1, 40, near.shape)], -1).astype(np.float32)


@pytest.mark.parametrize('name', sorted(OVERLAPS))
def test_overlap_losses_by_hand(name):
    truth, predicted = np.float32([[TRUTH, TRUTH]]), np.float32([[HALF, AWAY]])
    each = getattr(keras_losses, f'{name}_loss')(truth, predicted)
    np.testing.assert_allclose(each, [BY_HAND[name]], rtol=1e-6)
    near, far = BY_HAND[name]
    loss = OVERLAPS[name]
    assert float(loss()(truth, predicted)) == pytest.approx((near + far) / 2, rel=1e-6)
    assert float(loss(reduction='sum')(truth, predicted)) == pytest.approx(near + far, rel=1e-6)
    np.testing.assert_allclose(loss(reduction='none')(truth, predicted), [[near, far]], rtol=1e-6)
    # One weight a box, and one an image; Keras divides by the number of boxes, not by the weights.
    weighted = float(loss()(truth, predicted, sample_weight=np.float32([[.5, .1]])))
    assert weighted == pytest.approx((.5 * near + .1 * far) / 2, rel=1e-6)
    by_image = float(loss()(np.repeat(truth, 2, 0), np.repeat(predicted, 2, 0), np.float32([[1], [0]])))
    assert by_image == pytest.approx((near + far) / 4, rel=1e-6)


@pytest.mark.parametrize('name', sorted(OVERLAPS))
def test_overlap_losses_do_not_care_for_the_order_of_the_axes(name):
    a, b = random_boxes(0, 3, 7), random_boxes(1, 3, 7)
    loss_of = getattr(keras_losses, f'{name}_loss')
    np.testing.assert_allclose(loss_of(a, b), loss_of(a[..., [1, 0, 3, 2]], b[..., [1, 0, 3, 2]]), atol=2e-6)


@pytest.mark.parametrize('name', sorted(OVERLAPS))
def test_overlap_losses_in_half_precision_and_of_whole_numbers(name):
    """500 x 500 pixels are more than float16 can count."""
    truth, predicted = [[0, 0, 500, 500]], [[0, 0, 500, 250]]
    loss_of = getattr(keras_losses, f'{name}_loss')
    expected = loss_of(np.float32(truth), np.float32(predicted))
    np.testing.assert_allclose(loss_of(np.float16(truth), np.float16(predicted)), expected, rtol=1e-6)
    np.testing.assert_allclose(loss_of(truth, predicted), expected, rtol=1e-6)
    assert np.isfinite(expected).all()


@pytest.mark.parametrize('odd', [[5, 5, 5, 5], [9, 9, 1, 1], [0, 0, 0, 0], [-1e9, 0, 1e9, 1e-9]])
@pytest.mark.parametrize('name', sorted(OVERLAPS))
def test_overlap_losses_and_their_gradients_are_finite(name, odd):
    for truth in (odd, [5, 5, 5, 5], TRUTH):
        predicted = tf.constant([odd], tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(predicted)
            loss = OVERLAPS[name]()(tf.constant([truth], tf.float32), predicted)
        assert np.isfinite(loss) and np.isfinite(tape.gradient(loss, predicted)).all()


def test_giou_equals_tensorflow_addons():
    addons = pytest.importorskip('tensorflow_addons', reason='no tensorflow-addons for this TensorFlow')
    a, b = random_boxes(2, 50), random_boxes(3, 50)
    assert float(keras_losses.GIoULoss()(a, b)) == pytest.approx(float(addons.losses.GIoULoss()(a, b)), rel=1e-5)
    assert float(keras_losses.IoULoss()(a, b)) == pytest.approx(float(addons.losses.GIoULoss('iou')(a, b)), rel=1e-5)


def random_answers(seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, (5, 7)).astype(np.float32), rng.normal(0, 3, (5, 7)).astype(np.float32)


@pytest.mark.parametrize('from_logits', [True, False])
@pytest.mark.parametrize('alpha', [None, .25])
def test_focal_equals_keras(alpha, from_logits):
    truth, logits = random_answers(0)
    predicted = logits if from_logits else tf.sigmoid(logits)
    for gamma in (0., 1., 2., 3.5):
        peer = tf.keras.losses.BinaryFocalCrossentropy(
            apply_class_balancing=alpha is not None, alpha=alpha or .25, gamma=gamma, from_logits=from_logits)
        mine = keras_losses.FocalBinaryCrossentropy(alpha, gamma, from_logits)
        assert float(mine(truth, predicted)) == pytest.approx(float(peer(truth, predicted)), rel=1e-5)


def test_focal_equals_tensorflow_addons():
    addons = pytest.importorskip('tensorflow_addons', reason='no tensorflow-addons for this TensorFlow')
    truth, logits = random_answers(1)
    for alpha in (None, .25):
        expected = addons.losses.sigmoid_focal_crossentropy(truth, logits, alpha, 2., from_logits=True)    # sums over C
        got = keras_losses.focal_binary_crossentropy(truth, logits, alpha, 2., from_logits=True)
        np.testing.assert_allclose(got, expected / 7, rtol=1e-5)


def test_focal_by_hand_for_a_target_between():
    """Target .75, probability .25: |.75 - .25|^2 (.75 ln 4 + .25 ln (4 / 3)); alpha .2 weighs .75 * .2 + .25 * .8."""
    entropy = .75 * math.log(4) + .25 * math.log(4 / 3)
    for predicted, from_logits in ((.25, False), (math.log(1 / 3), True)):
        got = keras_losses.focal_binary_crossentropy([[.75]], [[predicted]], from_logits=from_logits)
        assert got.numpy()[0] == pytest.approx(.25 * entropy, rel=1e-5)
        got = keras_losses.focal_binary_crossentropy([[.75]], [[predicted]], .2, from_logits=from_logits)
        assert got.numpy()[0] == pytest.approx(.25 * entropy * .35, rel=1e-5)


@pytest.mark.parametrize('gamma', [0., .5, 1., 2.])
@pytest.mark.parametrize('from_logits, extremes', [(True, [-1e9, -88., 0., 88., 1e9]), (False, [0., 1e-30, .5, 1.])])
def test_focal_and_its_gradient_are_finite(from_logits, extremes, gamma):
    for truth in (0., .5, 1.):
        predicted = tf.constant([extremes])
        with tf.GradientTape() as tape:
            tape.watch(predicted)
            loss = keras_losses.focal_binary_crossentropy(tf.fill(predicted.shape, truth), predicted, .25, gamma,
                                                          from_logits)
        assert np.isfinite(loss).all() and np.isfinite(tape.gradient(loss, predicted)).all()


def small_detector():
    """Features [B, 8] -> two boxes and two objectness logits, compiled with our losses."""
    inputs = tf.keras.Input([8])
    corner = tf.keras.layers.Reshape([2, 2])(tf.keras.layers.Dense(4)(inputs))
    size = tf.keras.layers.Reshape([2, 2])(tf.keras.layers.Dense(4, activation='softplus')(inputs))
    boxes = tf.keras.layers.Concatenate(name='boxes')([corner, tf.keras.layers.Add()([corner, size])])
    objects = tf.keras.layers.Dense(2, name='objects')(inputs)
    model = tf.keras.Model(inputs, [boxes, objects])
    model.compile(tf.keras.optimizers.Adam(.1), loss=[
        keras_losses.CIoULoss(), keras_losses.FocalBinaryCrossentropy(.3, 1.5, from_logits=True)])
    return model


def test_compile_fit_save_and_load(tmp_path):
    tf.keras.utils.set_random_seed(0)
    model, features = small_detector(), np.random.default_rng(0).normal(size=(16, 8)).astype(np.float32)
    near = np.tile(np.float32([[[1, 2], [4, 0]]]), (16, 1, 1))
    boxes = np.concatenate([near, np.add(near, (2, 3))], -1).astype(np.float32)
    targets = [boxes, np.tile(np.float32([[1, 0]]), (16, 1))]
    first = model.evaluate(features, targets, verbose=0)[0]
    model.fit(features, targets, epochs=30, batch_size=8, verbose=0)
    last = model.evaluate(features, targets, verbose=0)[0]
    assert last < first / 3
    model.save(tmp_path / 'model.keras')
    loaded = tf.keras.models.load_model(tmp_path / 'model.keras')
    assert loaded.evaluate(features, targets, verbose=0)[0] == pytest.approx(last, rel=1e-5)


def test_compile_takes_the_plain_functions():
    model = tf.keras.Sequential([tf.keras.Input([3]), tf.keras.layers.Dense(4)])
    model.compile('sgd', loss=keras_losses.giou_loss)
    features, truth = np.ones([2, 3], np.float32), np.float32([TRUTH, AWAY])
    each = 1 - np.asarray(keras_losses.giou_loss(truth, model(features)))
    assert model.evaluate(features, truth, verbose=0) == pytest.approx(1 - each.mean(), rel=1e-5)


@pytest.mark.parametrize('loss', [
    *(kind(reduction='sum', name='mine') for kind in OVERLAPS.values()),
    keras_losses.FocalBinaryCrossentropy(.3, 1.5, True, reduction='none')], ids=lambda loss: type(loss).__name__)
def test_configurations_make_the_round_trip(loss):
    again = type(loss).from_config(loss.get_config())
    assert again.get_config() == loss.get_config()
    restored = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert type(restored) is type(loss) and restored.get_config() == loss.get_config()
    truth, logits = random_answers(3)
    if type(loss) in OVERLAPS.values():
        truth, logits = random_boxes(4, 5), random_boxes(5, 5)
    np.testing.assert_array_equal(restored(truth, logits), loss(truth, logits))


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(InputError, match=r'\[..., 4\].*\(2, 5\)'):
        keras_losses.giou_loss(np.zeros([2, 4]), np.zeros([2, 5]))
    with pytest.raises(InputError, match='alpha 25'):
        keras_losses.FocalBinaryCrossentropy(alpha=25)
    with pytest.raises(InputError, match='gamma -1'):
        keras_losses.focal_binary_crossentropy([[1.]], [[.5]], gamma=-1)
