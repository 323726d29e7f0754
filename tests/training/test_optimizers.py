"""The update rules against arithmetic by hand and against Keras's own optimisers."""
import math

import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.errors import InputError
from yolov3_tf.training import groups
from yolov3_tf.training.averaging import Average
from yolov3_tf.training.optimizers import Optimizer, OptimizerSettings


def variables(*shapes):
    generator = np.random.default_rng(0)
    names = ['kernel', 'gamma', 'bias']
    return [tf.Variable(generator.normal(size=shape).astype(np.float32), name=name)
            for name, shape in zip(names, shapes)]


def test_sgd_two_steps_by_hand():
    kernel, gamma, _ = parameters = variables((3,), (2,), (1,))
    start_kernel, start_gamma = kernel.numpy().astype(float), gamma.numpy().astype(float)
    optimizer = Optimizer(parameters, OptimizerSettings(momentum=.5, weight_decay=.1, clip_norm=1e9))
    ones = [tf.ones_like(variable) for variable in parameters]
    assert optimizer.apply(ones, .01)
    # Step 1: the accumulator is -rate (gradient + decay w); decay is for the kernel only.
    step_kernel = -.01 * (1 + .1 * start_kernel)
    np.testing.assert_allclose(kernel.numpy(), start_kernel + step_kernel, rtol=1e-6)
    np.testing.assert_allclose(gamma.numpy(), start_gamma - .01, rtol=1e-6)
    optimizer.apply(ones, .01)
    second = .5 * step_kernel - .01 * (1 + .1 * (start_kernel + step_kernel))
    np.testing.assert_allclose(kernel.numpy(), start_kernel + step_kernel + second, rtol=1e-6)
    np.testing.assert_allclose(gamma.numpy(), start_gamma - .01 - (.005 + .01), rtol=1e-6)


def test_the_clip_includes_the_decay_and_is_separate_for_each_tensor():
    kernel, gamma, _ = parameters = variables((3,), (2,), (1,))
    start_kernel, start_gamma = kernel.numpy().astype(float), gamma.numpy().astype(float)
    optimizer = Optimizer(parameters, OptimizerSettings(momentum=0., weight_decay=2., clip_norm=1.))
    gradients = [np.array([30., 40., 0.]), np.array([.3, .4]), np.array([0.])]
    optimizer.apply([tf.constant(gradient, tf.float32) for gradient in gradients], .1)
    decayed = gradients[0] + 2 * start_kernel
    np.testing.assert_allclose(kernel.numpy(), start_kernel - .1 * decayed / np.linalg.norm(decayed), rtol=1e-5)
    np.testing.assert_allclose(gamma.numpy(), start_gamma - .1 * gradients[1], rtol=1e-5)      # norm .5: not clipped


@pytest.mark.parametrize('kind', ['sgd', 'adam'])
def test_an_infinite_clip_does_nothing(kind):
    moved = []
    for clip in (1e9, math.inf):
        parameters = variables((3,), (2,), (1,))
        optimizer = Optimizer(parameters, OptimizerSettings(kind=kind, clip_norm=clip))
        for _ in range(2):
            optimizer.apply([tf.ones_like(value) for value in optimizer.variables_], .1)
        moved.append([value.numpy() for value in optimizer.variables_])
    for one, other in zip(*moved):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('kind, keras', [
    ('sgd', lambda: tf.keras.optimizers.SGD(.03, momentum=.9)),
    ('adam', lambda: tf.keras.optimizers.Adam(.03, epsilon=1e-8)),
])
def test_without_decay_and_clip_it_equals_the_optimizer_of_keras(kind, keras):
    ours, theirs = variables((4, 3), (2,), (1,)), variables((4, 3), (2,), (1,))
    optimizer = Optimizer(ours, OptimizerSettings(kind=kind, weight_decay=0., clip_norm=1e9))
    keras = keras()
    generator = np.random.default_rng(1)
    for _ in range(5):
        gradients = [tf.constant(generator.normal(size=variable.shape), tf.float32) for variable in ours]
        optimizer.apply(gradients, .03)
        keras.apply_gradients(zip(gradients, theirs))
    for mine, other in zip(ours, theirs):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize('kind', ['sgd', 'adam'])
@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_a_gradient_that_is_not_finite_changes_nothing(kind, bad):
    parameters = variables((3,), (2,), (1,))
    optimizer = Optimizer(parameters, OptimizerSettings(kind=kind))
    optimizer.apply([tf.ones_like(variable) for variable in parameters], .1)
    before = [variable.numpy() for variable in parameters], optimizer.state()
    gradients = [tf.ones([3]), tf.constant([1., bad]), tf.ones([1])]
    assert not optimizer.apply(gradients, .1)
    for variable, old in zip(parameters, before[0]):
        np.testing.assert_array_equal(variable.numpy(), old)
    for name, array in optimizer.state().items():
        np.testing.assert_array_equal(array, before[1][name])


def test_loss_scaling_halves_on_overflow_doubles_without_and_does_not_change_the_update():
    scaled, plain = variables((3,), (2,), (1,)), variables((3,), (2,), (1,))
    with_scale = Optimizer(scaled, OptimizerSettings(), loss_scaling=True)
    without = Optimizer(plain, OptimizerSettings())
    assert with_scale.scale.numpy() == 2. ** 15
    overflow = [tf.constant([float('inf')] * 3), tf.ones([2]), tf.ones([1])]
    assert not with_scale.apply(overflow, .1)
    assert with_scale.scale.numpy() == 2. ** 14
    with_scale.apply([tf.ones_like(variable) * with_scale.scale for variable in scaled], .1)
    without.apply([tf.ones_like(variable) for variable in plain], .1)
    for mine, other in zip(scaled, plain):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=1e-6)
    with_scale.good_steps.assign(1999)
    with_scale.apply([tf.ones_like(variable) for variable in scaled], .1)
    assert with_scale.scale.numpy() == 2. ** 15 and with_scale.good_steps.numpy() == 0


def test_a_restored_state_continues_where_it_stopped():
    gradients = [tf.ones([3]), tf.ones([2]), tf.ones([1])]
    whole = variables((3,), (2,), (1,))
    optimizer = Optimizer(whole, OptimizerSettings())
    optimizer.apply(gradients, .1)
    state, weights = optimizer.state(), [variable.numpy() for variable in whole]
    optimizer.apply(gradients, .1)
    resumed = [tf.Variable(weight, name=variable.name.split(':')[0]) for weight, variable in zip(weights, whole)]
    second = Optimizer(resumed, OptimizerSettings())
    second.restore(state)
    second.apply(gradients, .1)
    for mine, other in zip(resumed, whole):
        np.testing.assert_array_equal(mine.numpy(), other.numpy())


SHAPES = (130, 130), (3, 5), (40,), (7,), (2, 2)       # the first is too large for a group
NAMES = 'kernel', 'kernel', 'gamma', 'bias', 'kernel'


def some_steps(kind, clip_norm, count=4, state=None):
    """Weights, optimiser and average after steps with gradients of which some are clipped."""
    generator = np.random.default_rng(0)
    weights = [tf.Variable(generator.normal(size=shape).astype(np.float32), name=name)
               for shape, name in zip(SHAPES, NAMES)]
    optimizer, average = Optimizer(weights, OptimizerSettings(kind, clip_norm=clip_norm)), Average(weights, .9)
    if state:
        optimizer.restore(state)
        average.restore(state)
    for _ in range(count):
        gradients = [tf.constant(generator.normal(size=shape), tf.float32) for shape in SHAPES]
        assert optimizer.apply(gradients, .01)
        average.update()
    return weights, optimizer, average


@pytest.mark.parametrize('kind', ['sgd', 'adam'])
@pytest.mark.parametrize('clip_norm', [5., 1e9])        # the norms are about 130, 3.9, 6.3, 2.6 and 2
def test_small_variables_in_one_vector_give_what_each_alone_gives(kind, clip_norm, monkeypatch):
    weights, optimizer, average = some_steps(kind, clip_norm)
    assert [group.indices for group in optimizer.groups] == [(0,), (1, 2, 3, 4)]
    monkeypatch.setattr(groups, 'SMALL', 0)
    alone, single, followed = some_steps(kind, clip_norm)
    assert len(single.groups) == len(SHAPES)
    tolerance = 1e-6 if clip_norm == 5 else 0           # the norm of a clipped tensor is summed in another order
    for mine, other in zip(weights, alone):
        np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=tolerance, atol=tolerance)
    joined, apart = ({**one.state(), **mean.state()} for one, mean in ((optimizer, average), (single, followed)))
    assert joined.keys() == apart.keys() and joined['average/003'].shape == (7,)
    for name, array in apart.items():
        np.testing.assert_allclose(joined[name], array, rtol=tolerance, atol=tolerance * np.abs(array).max())


@pytest.mark.parametrize('kind, slot', [('sgd', 'momentum'), ('adam', 'second_moment')])
def test_a_state_from_before_there_were_groups_is_resumed(kind, slot, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(groups, 'SMALL', 0)
        _, single, followed = some_steps(kind, 5.)
    old = {**single.state(), **followed.state()}
    _, optimizer, average = some_steps(kind, 5., 0, old)
    for name, array in {**optimizer.state(), **average.state()}.items():
        np.testing.assert_array_equal(array, old[name])
    with pytest.raises(ValueError, match='shape'):
        optimizer.restore({**old, f'{slot}/003': np.zeros(8)})
    with pytest.raises(KeyError):
        optimizer.restore({name: array for name, array in old.items() if name != f'{slot}/004'})


def test_decay_term_is_half_the_squared_kernels():
    parameters = [tf.Variable([3., 4.], name='kernel'), tf.Variable([100.], name='gamma')]
    optimizer = Optimizer(parameters, OptimizerSettings(weight_decay=.5))
    assert float(optimizer.decay_term()) == pytest.approx(.5 / 2 * 25)


def test_an_unknown_rule_is_refused_with_the_list():
    with pytest.raises(InputError, match='adam, sgd'):
        Optimizer(variables((1,), (1,), (1,)), OptimizerSettings(kind='lion'))
