"""--keep_features: the same losses as without, each image computed once, and what it refuses."""
import json

import numpy as np
import pytest
import tensorflow as tf
from fixtures import small_cfg, tiny_network

from yolov3_tf.data.pipeline import PipelineSettings
from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.losses.criterion import LossSettings
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.models.darknet import cfg
from yolov3_tf.training import kept_features, settings, stages
from yolov3_tf.training.optimizers import OptimizerSettings
from yolov3_tf.training.run_folder import RunFolder
from yolov3_tf.training.settings import TrainingSettings
from yolov3_tf.training.trainer import Trainer

HEAD = stages.Stage('head', '^backbone_', ((4, 1e-2),), frozen_bn='fixed')


def chosen(keep, augment=('flip',), plan=(HEAD,), sizes=(64,), **changes):
    return TrainingSettings(plan, LossSettings('giou'), OptimizerSettings('sgd'),
                            PipelineSettings(4, sizes, augment=augment), log_steps=1, checkpoint_steps=1,
                            epochs_between_eval=4, keep_features=keep, **changes)


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp('shapes'))
    train_set = specs.load('shapes:13', split='train', cache=cache)
    return [train_set, specs.load('shapes:13', train_set.class_names, split='val', cache=cache)]


def trained(folder, data, keep, stop=None):
    """Twelve steps of the tiny network, after ``stop`` of them killed and begun again."""
    for last in [False, True] if stop else [True]:
        tf.keras.utils.set_random_seed(3)
        files = RunFolder(folder)
        files.claim({}, data[0].class_names)
        files.images = lambda *_: None
        config = ModelConfig(tuple(data[0].class_names), 1., (64, 64), True)
        run, made = Trainer(files, tiny_network.build(5), config, *data, chosen(keep)), []
        step = run._run_step

        def count(*arguments, step=step, made=made, last=last):
            if not last and len(made) == stop:
                raise KeyboardInterrupt
            made.append(1)
            step(*arguments)
        run._run_step = count
        if last:
            run.run()
        else:
            with pytest.raises(KeyboardInterrupt):
                run.run()
    return run


@pytest.fixture(scope='module')
def kept(shapes, tmp_path_factory):
    return trained(tmp_path_factory.mktemp('runs') / 'kept', shapes, True)


def totals(run):
    return [json.loads(line)['total'] for line in run.folder.metrics.read_text().splitlines()]


def test_losses_are_those_without_over_twelve_steps(kept, shapes, tmp_path):
    plain = trained(tmp_path / 'plain', shapes, False)
    assert len(totals(plain)) == 13 and totals(plain)[-2] < totals(plain)[0]
    np.testing.assert_allclose(totals(kept), totals(plain), rtol=1e-5)
    for mine, other in zip(kept.model.get_weights(), plain.model.get_weights()):
        np.testing.assert_allclose(mine, other, atol=1e-5)


@pytest.mark.slow
def test_a_resumed_run_is_the_same_bit_for_bit(kept, shapes, tmp_path):
    run = trained(tmp_path / 'killed', shapes, True, stop=5)
    assert run.folder.metrics.read_bytes() == kept.folder.metrics.read_bytes()
    for mine, other in zip(run.model.get_weights(), kept.model.get_weights()):
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize('build', [lambda: tiny_network.build(2), lambda: cfg.build(cfg.parse(small_cfg.TEXT), 2)])
def test_each_image_is_computed_once_and_gives_what_the_model_gives(build):
    """Whatever batch it comes in: five images, three of them twice, and changed weights of the frozen part unseen."""
    model = build()
    stages.freeze(model, HEAD)
    network = kept_features.KeptFeatures(model, 32, 64)
    call = tf.function(lambda images: network(images, training=False), autograph=False)
    images = tf.random.stateless_uniform([5, 32, 64, 3], [1, 2])
    expected = model(images, training=False).numpy()
    np.testing.assert_allclose(call(images[:3]), expected[:3], atol=1e-5)
    assert int(network.table.size()) == 3
    np.testing.assert_allclose(call(images), expected, atol=1e-5)
    assert int(network.table.size()) == 5
    frozen = [layer for layer in model.layers if layer.name.startswith('backbone_') and layer.weights]
    for layer in frozen:
        layer.set_weights([weight + 1 for weight in layer.get_weights()])
    np.testing.assert_array_equal(call(images[::-1]), call(images)[::-1])
    np.testing.assert_allclose(call(images), expected, atol=1e-5)
    trainable = {id(weight) for weight in model.trainable_weights}
    assert trainable and {id(weight) for weight in network.rest.trainable_weights} == trainable


@pytest.mark.parametrize('change, words', [
    (dict(augment=('flip', 'colour')), 'colour makes a new image every time'),
    (dict(sizes=(64, 96)), 'one --image_size'),
    (dict(plan=(HEAD._replace(frozen_bn='adapt'),)), 'give --frozen_bn=fixed')])
def test_what_it_refuses(change, words):
    settings.check(chosen(True, augment=('rot90', 'vflip')))
    settings.check(chosen(True, plan=(stages.Stage('full', '^$', ((1, 1.),)),)))
    settings.check(chosen(False, **change))
    with pytest.raises(InputError, match=words):
        settings.check(chosen(True, **change))
    with pytest.raises(InputError, match='expected one, --strategy=none'):
        settings.check(chosen(True), replicas=2)
