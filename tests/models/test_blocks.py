"""models.blocks: our layers against Keras's own, and the padding that shifts every feature when it is wrong."""
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.models.blocks import BatchNorm, ConvStack, LeakyReLU, Upsample

KERAS_2 = not hasattr(tf.keras, '__version__')
SHAPE = (3, 5, 7, 4)
PIXELS = 3 * 5 * 7          # values behind the statistics of one channel
# Parameters and averages of the four channels: gamma, beta, moving mean, moving variance.
VECTORS = np.random.default_rng(1).uniform(.5, 2, (4, 4)).astype(np.float32)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(2, 3, SHAPE).astype(np.float32)


def filled(layer):
    layer(np.zeros(SHAPE, np.float32))
    layer.set_weights(list(VECTORS))
    return layer


@pytest.fixture
def ours():
    return filled(BatchNorm())


@pytest.fixture
def stock():
    return filled(tf.keras.layers.BatchNormalization(momentum=.99, epsilon=1e-5))


def gradients(layer, images, graph):
    """Output, and gradients of some function of it by the images, gamma and beta."""
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            value = tf.reduce_sum(y * y * tf.cos(x))
        # Keras 3 wraps TensorFlow's variables.
        return y, *tape.gradient(value, [x, *(getattr(v, '_value', v) for v in layer.trainable_variables)])
    results = (tf.function(step) if graph else step)(tf.constant(images))
    return [result.numpy() for result in results]


def test_batch_norm_has_kerass_variables_in_kerass_order(ours, stock):
    names = [[weight.name.split('/')[-1].split(':')[0] for weight in layer.weights] for layer in (ours, stock)]
    assert names[0] == names[1] == ['gamma', 'beta', 'moving_mean', 'moving_variance']


def test_batch_norm_equals_keras_in_inference(ours, stock, images):
    for training in (False, None):
        np.testing.assert_allclose(ours(images, training=training), stock(images, training=training), 1e-5, 1e-5)
    np.testing.assert_array_equal(ours.get_weights(), VECTORS)


@pytest.mark.parametrize('graph', [False, True], ids=['eager', 'graph'])
def test_batch_norm_equals_keras_in_training(ours, stock, images, graph):
    for mine, theirs in zip(gradients(ours, images, graph), gradients(stock, images, graph)):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(ours.moving_mean.numpy(), stock.moving_mean.numpy(), rtol=1e-5)
    # Keras 2's fused kernel averages the unbiased variance, as the reference does; Keras 3 the biased one.
    batch = (stock.moving_variance.numpy() - .99 * VECTORS[3]) * (1 if KERAS_2 else PIXELS / (PIXELS - 1))
    np.testing.assert_allclose(ours.moving_variance.numpy(), .99 * VECTORS[3] + batch, rtol=1e-5)


def test_batch_norm_moves_its_averages_by_a_hundredth(ours, images):
    ours(images, training=True)
    flat = images.astype(np.float64).reshape(-1, 4)
    np.testing.assert_allclose(ours.moving_mean.numpy(), .99 * VECTORS[2] + .01 * flat.mean(0), rtol=1e-5)
    np.testing.assert_allclose(ours.moving_variance.numpy(), .99 * VECTORS[3] + .01 * flat.var(0, ddof=1), rtol=1e-5)


def test_batch_norm_that_is_not_trainable_is_frozen_as_in_keras(ours, stock, images):
    ours.trainable = stock.trainable = False
    np.testing.assert_allclose(ours(images, training=True), stock(images, training=True), 1e-5, 1e-5)
    np.testing.assert_array_equal(ours.get_weights(), VECTORS)
    assert not ours.trainable_variables


def test_batch_norm_that_adapts_keeps_only_gamma_and_beta(ours, images):
    moving = filled(BatchNorm())
    ours.trainable, ours.adapt = False, True
    np.testing.assert_array_equal(ours(images, training=True), moving(images, training=True))
    np.testing.assert_array_equal(ours.get_weights(), moving.get_weights())
    assert (ours.get_weights()[2] != VECTORS[2]).all() and not ours.trainable_variables
    before = ours.get_weights()
    ours(images, training=False)
    np.testing.assert_array_equal(ours.get_weights(), before)


@pytest.mark.parametrize('training', [False, True])
def test_batch_norm_of_half_precision_images_keeps_float32_inside(ours, images, training):
    exact = filled(BatchNorm())(images, training=training).numpy()
    half = ours(tf.cast(images, tf.bfloat16), training=training)
    assert half.dtype == tf.bfloat16 and {weight.dtype for weight in ours.get_weights()} == {np.dtype('float32')}
    # bfloat16 keeps 8 bits: half a unit in the last digit coming in, the same going out.
    np.testing.assert_allclose(tf.cast(half, tf.float32), exact, rtol=2 ** -7, atol=2 ** -5)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
@pytest.mark.parametrize('inference', [False, True])
def test_leaky_relu_and_its_gradient_equal_the_stock_op(dtype, inference):
    x = tf.cast([-1e30, -3.3, -1., -1e-3, -0., 0., 1e-3, 1., 7.7, 1e30], dtype)
    upstream = tf.cast(np.linspace(-2, 2, 10), dtype)
    layer = LeakyReLU(inference=inference, dtype=dtype)
    results = []
    for function in (layer, lambda x: tf.nn.leaky_relu(x, .1)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        results.append((y, tape.gradient(y, x, upstream)))
    for mine, theirs in zip(*results):
        assert mine.dtype == theirs.dtype == dtype
        np.testing.assert_array_equal(tf.cast(mine, tf.float32), tf.cast(theirs, tf.float32))


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16'])
@pytest.mark.parametrize('factor', [2, 3])
def test_upsampling_and_its_gradient_equal_the_stock_layer(images, dtype, factor):
    """The gradient of whole numbers, whose sums are exact in every precision."""
    x = tf.cast(images, dtype)
    upstream = tf.cast(np.random.default_rng(2).integers(-4, 5, [3, 5 * factor, 7 * factor, 4]), dtype)
    results = []
    for layer in (Upsample(factor, dtype=dtype), tf.keras.layers.UpSampling2D(factor, dtype=dtype)):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
        assert layer.compute_output_shape((None, 5, None, 4)) == (None, 5 * factor, None, 4)
        results.append((y, tape.gradient(y, x, upstream)))
    for (mine, theirs), tolerance in zip(zip(*results), (0, .13 if factor == 3 else 0)):
        assert mine.dtype == theirs.dtype == dtype
        np.testing.assert_allclose(tf.cast(mine, tf.float32), tf.cast(theirs, tf.float32), rtol=0, atol=tolerance)


def test_the_gradient_of_upsampling_has_a_fixed_order_on_a_gpu_too():
    @tf.function
    def gradient(x):
        return tf.gradients(Upsample(2)(x), x)
    operations = {op.type for op in gradient.get_concrete_function(tf.TensorSpec([1, 4, 4, 2])).graph.get_operations()}
    assert 'AvgPool' in operations and 'ResizeNearestNeighborGrad' not in operations


@pytest.mark.parametrize('layer', [
    BatchNorm(.9, 1e-3, name='n'), LeakyReLU(inference=True, name='l'), Upsample(3, name='u')])
def test_layers_are_rebuilt_from_their_config(layer):
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()


def test_stride_two_pads_one_pixel_on_all_four_sides():
    """A 3x3 kernel of ones over a 4x6 image of ones counts the pixels under it.

    Windows start one pixel before the image: the first row and column of windows lose one row or
    column to the padding, the others lie inside. Padding at the right and bottom only ('same') would
    give 9 first and lose at the end.
    """
    stack = ConvStack(folded=True)
    images = tf.keras.Input([None, None, 1])
    model = tf.keras.Model(images, stack.conv(images, 8, 3, stride=2))
    model.get_layer('backbone_conv_01').set_weights([np.ones((3, 3, 1, 8)), np.zeros(8)])
    counts = model(np.ones((1, 4, 6, 1), np.float32)).numpy()[0]
    expected = [[4, 6, 6],
                [6, 9, 9]]
    for channel in range(8):
        np.testing.assert_array_equal(counts[..., channel], expected)


def test_filters_are_multiples_of_eight():
    widths = {1.: [32, 64, 1024], .5: [16, 32, 512], .25: [8, 16, 256], .125: [8, 8, 128], .3: [8, 16, 304],
              1e-3: [8, 8, 8]}
    for multiplier, expected in widths.items():
        assert [ConvStack(multiplier).width(filters) for filters in (32, 64, 1024)] == expected


def test_layers_are_numbered_in_the_order_they_are_made():
    stack = ConvStack(.1)
    images = tf.keras.Input([None, None, 3])
    x = stack.conv(images, 8, 3)
    stack.part = 'head'
    model = tf.keras.Model(images, stack.output(stack.conv(x, 8, 1), 24))
    assert [layer.name for layer in model.layers[1:]] == [
        'backbone_conv_01', 'backbone_bn_01', 'backbone_leaky_01', 'head_conv_02', 'head_bn_02', 'head_leaky_02',
        'head_conv_03']
    assert not model.get_layer('head_conv_02').use_bias and model.get_layer('head_conv_03').use_bias
