"""However a batch is shared out, by replicas or pieces, the step it makes is the step of the whole batch.

``test_step`` runs this file in a process of its own, for a CPU is split into devices before anything is computed.
"""
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf import averaging, stages, step
from yolov3_tf.losses import objectness
from yolov3_tf.models.blocks import BatchNorm, ConvStack
from yolov3_tf.optimizers import Optimizer, OptimizerSettings

CPU, = tf.config.list_physical_devices('CPU')
tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 2)
SIGNATURE = [tf.TensorSpec([None, None, None, 3]), {'wanted': tf.TensorSpec([None, None])}]


@pytest.fixture(scope='module')
def strategy():
    return tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])


def network():
    """A backbone of two convolutions, a head of one output without BatchNorm."""
    stack = ConvStack()
    images = tf.keras.Input([None, None, 3])
    x = stack.conv(stack.conv(images, 8, 3, stride=2), 8, 3)
    stack.part = 'head'
    return tf.keras.Model(images, stack.output(x, 2))


def batch(pictures):
    drawn = np.random.default_rng(5)
    images, wanted = drawn.normal(size=[4, 8, 8, 3]), drawn.normal(size=[4, 3])
    return tf.constant(images[:pictures], tf.float32), {'wanted': tf.constant(wanted[:pictures], tf.float32)}


def outcome(strategy, pieces, stage, pictures=4, kind='sgd', decay=0.):
    """Scalars of two steps and the weights after them."""
    make, model, average = maker(strategy, pieces, stage, kind, decay)
    found = [make(*batch(pictures), tf.constant(.1), tf.constant(0.)) for _ in range(2)]
    scalars = [{name: float(value) for name, value in parts.items()} for parts in found]
    return scalars, model.get_weights() + list(average.state().values() if average else ())


def maker(strategy, pieces, stage, kind='sgd', decay=0., synchronized=True):
    """The step, its model and its average."""
    tf.keras.utils.set_random_seed(3)
    with (strategy or tf.distribute.get_strategy()).scope():
        model = network()
        stages.freeze(model, stage)
        norms = [layer for layer in model.layers if isinstance(layer, BatchNorm)]
        for layer in norms:
            layer.synchronized = synchronized
        optimizer = Optimizer(model.trainable_variables, OptimizerSettings(kind))
        average = averaging.Average(model.weights, decay) if decay else None

    def compute_loss(images, truth, training):
        away = tf.reduce_mean(model(images, training=training), [1, 2, 3])[:, None] - truth['wanted']
        loss = tf.reduce_mean(tf.reduce_sum(tf.square(away), -1))       # the mean over the pictures, as all tasks'
        return {'squares': loss, 'total': loss}
    statistics = [] if synchronized else [value for layer in norms
                                          for value in (layer.moving_mean, layer.moving_variance)]
    made = step.make(compute_loss, optimizer, SIGNATURE, step.Shares(strategy, 4, pieces), average, statistics)
    return made, model, average


def assert_alike(one, other):
    for mine, theirs in zip(one[0], other[0]):
        assert mine == pytest.approx(theirs, rel=2e-5, abs=1e-6)
    for mine, theirs in zip(one[1], other[1]):
        np.testing.assert_allclose(mine, theirs, rtol=2e-4, atol=2e-6)


ALL = stages.Stage('all', stages.NOTHING, ((1, 1.),))
RESTING = stages.Stage('head', '^backbone_', ((1, 1.),), frozen_bn='fixed')       # no BatchNorm looks at a batch


def test_two_replicas_with_synchronised_statistics(strategy):
    assert_alike(outcome(strategy, 1, ALL), outcome(None, 1, ALL))


def test_the_balanced_weight_counts_the_slots_of_all_replicas(strategy):
    """Four pictures of ten slots, four of them owned: (40 - 4) / 4 / 2, though one replica owns three of them."""
    owned = np.zeros([2, 2, 10], np.float32)
    owned[0, :, 0] = owned[0, 1, 1] = owned[1, 0, 0] = 1

    @tf.function
    def weights():
        def share():
            return objectness.balanced(tf.constant(owned)[tf.distribute.get_replica_context().replica_id_in_sync_group])
        return strategy.experimental_local_results(strategy.run(share))
    assert [float(weight) for weight in weights()] == [4.5, 4.5]


def test_two_pieces_of_resting_batch_norm():
    assert_alike(outcome(None, 2, RESTING, kind='adam'), outcome(None, 1, RESTING, kind='adam'))


@pytest.mark.parametrize('pictures', [4, 3, 1])       # of 4: the others could not be read, which leaves shares empty
def test_two_pieces_on_two_replicas(strategy, pictures):
    shared = outcome(strategy, 2, RESTING, pictures, decay=.5)
    assert_alike(shared, outcome(None, 1, RESTING, pictures, decay=.5))
    assert shared[0][0]['pictures'] == pictures


@pytest.mark.parametrize('pieces', [1, 2])
def test_a_batch_without_any_picture_changes_nothing(strategy, pieces):
    """As the pipeline hands it over where sizes change: of no size either. Nothing but its count comes of it."""
    made, model, average = maker(strategy, pieces, ALL, decay=.5, synchronized=False)
    made(*batch(4), tf.constant(.1), tf.constant(0.))
    before = model.get_weights() + list(average.state().values())
    empty = tf.zeros([0, 0, 0, 3]), {'wanted': tf.zeros([0, 3])}
    parts = made(*empty, tf.constant(.1), tf.constant(0.))
    assert float(parts['pictures']) == float(parts['total']) == 0
    for mine, other in zip(model.get_weights() + list(average.state().values()), before):
        np.testing.assert_array_equal(mine, other)


def test_a_replica_without_pictures_keeps_its_statistics(strategy):
    """One picture of four: the second replica has none, and the mean moves half as far as the first one's."""
    made, model, _ = maker(strategy, 1, ALL, synchronized=False)
    alone, single, _ = maker(None, 1, ALL, synchronized=False)
    (_, start), places = (maker(None, 1, ALL)[:2], [])
    for step_, network_ in ((made, model), (alone, single)):
        step_(*batch(1), tf.constant(0.), tf.constant(0.))
        places.append([value.numpy() for value in network_.non_trainable_variables])
    for shared, whole, began in zip(*places, [value.numpy() for value in start.non_trainable_variables]):
        assert not np.array_equal(whole, began)
        np.testing.assert_allclose(shared - began, (whole - began) / 2, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('pieces', [1, 2])
def test_all_gradients_and_statistics_are_reduced_together(strategy, pieces):
    """A reduction that does not know its tensors' devices makes one a tensor, and none on several workers."""
    tensors = []
    reduce_ = tf.distribute.ReplicaContext.all_reduce

    def watched(self, op, values, *others):
        tensors.extend(tf.nest.flatten(values))
        return reduce_(self, op, values, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.distribute.ReplicaContext, 'all_reduce', watched)
        maker(strategy, pieces, ALL, synchronized=False)[0](*batch(4), tf.constant(.1), tf.constant(0.))
    assert len(tensors) > 8 and all(tensor.device for tensor in tensors)


def test_statistics_of_each_replica_differ_and_their_averages_are_means(strategy):
    """Without synchronised layers the loss is another one: the check that the tests above can fail."""
    whole, apart = outcome(None, 1, ALL), outcome(None, 2, ALL)
    assert whole[0][0]['total'] != pytest.approx(apart[0][0]['total'], rel=1e-4)


def test_an_average_by_hand():
    """d is 1/2 at the most: first (1 + 0) / (10 + 0) = .1, then 2 / 11, then 3 / 12 ..., .5 from the ninth step on."""
    weight = tf.Variable([1.])
    average = averaging.Average([weight], .5)
    for value, expected in ((2., 1 + .9 * 1), (0., 1.9 * 2 / 11), (4., 1.9 * 2 / 11 * .25 + 3.)):
        weight.assign([value])
        average.update()
        assert average.state()['average/000'] == pytest.approx([expected])
    for _ in range(6):
        average.update()
    before = average.state()['average/000'][0]
    average.update()
    assert average.state()['average/000'][0] == pytest.approx((before + 4) / 2)
    with average.in_place():
        assert weight.numpy() == average.state()['average/000']
    assert weight.numpy() == [4.]
