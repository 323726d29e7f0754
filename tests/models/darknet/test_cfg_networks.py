"""Networks from cfgs in the modules downstream: any number of levels and anchors, checkpoints, training, serving."""
import json

import h5py
import numpy as np
import pytest
import tensorflow as tf
from fixtures.small_cfg import TEXT

from yolov3_tf import anchors, assign, boxes, codec, export, postprocess
from yolov3_tf.errors import InputError
from yolov3_tf.inference import detector
from yolov3_tf.losses import criterion, formulations
from yolov3_tf.models import checkpoints
from yolov3_tf.models.darknet import cfg
from yolov3_tf.structures import GroundTruth
from yolov3_tf.training import stages

HEIGHT, WIDTH = 64, 128


def table(*counts):
    """Anchors of one level an entry, of so many priors; strides 8, 16, ...; sizes that grow."""
    sizes, size = [], 6.
    for count in counts:
        sizes.append(tuple((size * (1 + i), size * (2 - .5 * i)) for i in range(count)))
        size *= 3
    return anchors.Anchors(tuple(sizes), tuple(8 << level for level in range(len(counts))), (1.1,) * len(counts))


def truth():
    found = [[[3., 4, 11, 21], [30, 20, 60, 60], [0, 0, 96, 64]], [[80, 2, 95, 30], [1, 1, 9, 9], [0, 0, 0, 0]]]
    return GroundTruth(tf.constant(found), tf.constant([[0, 1, 2], [2, 1, 0]]),
                       tf.constant([[True] * 3, [True, True, False]]), tf.constant([[1., .5, 1.], [1., 1., 0.]]))


@pytest.mark.parametrize('counts', [(1,), (3,), (3, 3), (2, 1), (1, 2, 3), (1, 1, 1, 1)], ids=str)
def test_every_level_count_assigns_and_decodes_what_it_encodes(counts):
    priors, objects = anchors.lay_out(table(*counts), HEIGHT, WIDTH), truth()
    slot_count = sum((HEIGHT >> 3 + level) * (WIDTH >> 3 + level) * count for level, count in enumerate(counts))
    assert priors.cells.shape == (slot_count, 2)
    found = assign.best_anchor(objects, priors)
    assert np.sum(found.positive) >= 4          # at most two of the five meet in a slot
    target = codec.encode(tf.gather(objects.boxes, found.truth_index, batch_dims=1), priors, found.slots)
    target = target.numpy()[found.positive.numpy()]
    fraction = (target[:, :2] + .05) / 1.1
    t = np.concatenate([np.log(fraction / (1 - fraction)), target[:, 2:]], -1)
    rows = np.zeros((2, slot_count, 4), np.float32)
    where = np.nonzero(found.positive.numpy())
    rows[where[0], found.slots.numpy()[where]] = t
    decoded = codec.decode(tf.constant(rows), priors).numpy()[where[0], found.slots.numpy()[where]]
    np.testing.assert_allclose(decoded, objects.boxes.numpy()[where], atol=1e-3)


@pytest.mark.parametrize('counts', [(2,), (1, 3)], ids=str)
@pytest.mark.parametrize('settings', [
    *(formulations.settings(name) for name in sorted(formulations.FORMULATIONS)),
    *(criterion.LossSettings(assigner=name) for name in sorted(assign.ASSIGNERS))],
    ids=lambda s: f'{s.box}-{s.assigner}')
def test_every_formulation_has_finite_losses_and_gradients(counts, settings):
    priors = anchors.lay_out(table(*counts), HEIGHT, WIDTH)
    outputs = tf.Variable(tf.random.stateless_normal([2, priors.cells.shape[0], 8], [1, 2]))
    with tf.GradientTape() as tape:
        losses = criterion.detection_loss(codec.split(outputs), truth(), priors, settings)
        loss = losses['total']
    gradient = tape.gradient(loss, outputs)
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    # Each level learns something about objects.
    for level in range(len(counts)):
        assert np.abs(gradient.numpy()[:, priors.levels.numpy() == level, 4]).max() > 0
    assert postprocess.detect(outputs, priors).count.shape == (2,)


@pytest.fixture(scope='module')
def network():
    return cfg.parse(TEXT, num_classes=2, backbone_layers=3)


@pytest.fixture(scope='module')
def saved(tmp_path_factory, network):
    path = str(tmp_path_factory.mktemp('cfg') / 'last.h5')
    model = cfg.build(network)
    config = checkpoints.ModelConfig(('a', 'b'), 1., network.size, False, network.anchors, cfg=network.text,
                                          backbone_layers=network.backbone_layers)
    checkpoints.save_model(path, model, config)
    return path, model, config


def test_a_checkpoint_brings_its_cfg(saved):
    path, model, config = saved
    again, found = checkpoints.load_model(path)
    assert found == config
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]
    image = np.random.default_rng(0).random((1, 32, 64, 3), np.float32)
    np.testing.assert_array_equal(model(image), again(image))


def test_a_checkpoint_with_a_damaged_cfg_is_refused_by_line(saved, tmp_path):
    path, _, config = saved
    bad = str(tmp_path / 'bad.h5')
    with open(path, 'rb') as source, open(bad, 'wb') as target:
        target.write(source.read())
    with h5py.File(bad, 'a') as file:
        fields = {**config._asdict(), 'cfg': config.cfg.replace('[avgpool]', '[gru]')}
        file.attrs['description'] = json.dumps(fields)
        del file.attrs['checksums']
    with pytest.raises(InputError, match=r'bad.h5, its cfg:23: \[gru\] is not supported'):
        checkpoints.load_model(bad)


def test_other_classes_start_only_the_outputs_afresh(saved, network):
    path, model, _ = saved
    five = cfg.build(network, 5)
    assert checkpoints.load_weights(path, five, cfg.outputs(five)) == [
        f'head_conv_{layer}/{what}' for layer in ('014', '010') for what in ('kernel', 'bias')]
    np.testing.assert_array_equal(five.get_layer('head_conv_007').kernel.numpy(),
                                  model.get_layer('head_conv_007').kernel.numpy())


def test_freezing_stops_the_layers_before_the_cut(network):
    model = cfg.build(network)
    stages.freeze(model, stages.Stage('head', '^backbone_', ((1, .1),)))
    frozen = [layer.name for layer in model.layers if layer.weights and not layer.trainable]
    assert frozen == ['backbone_conv_000', 'backbone_bn_000', 'backbone_conv_001', 'backbone_bn_001']


def test_served_as_in_process(saved, tmp_path):
    """Exported with BatchNorm folded, and read back as a SavedModel: the detections of the Keras model."""
    path, model, config = saved
    settings = export.Settings(export.Suppression(score_threshold=.1, max_per_class=50, max_total=60))
    image = np.random.default_rng(0).integers(0, 256, (32, 64, 3), np.uint8)
    outputs = model(np.float32(image[None]) / 255)
    found = postprocess.detect(outputs, anchors.lay_out(config.anchors, 32, 64), settings.suppression)
    expected = boxes.clip(found.boxes, 32, 64).numpy()[0, :int(found.count[0])]
    assert len(expected) > 20
    served = detector.load(export.export(model, config, tmp_path / 'model', settings=settings))
    for one in (served.detect([image])[0], detector.load(path, settings).detect([image])[0]):
        np.testing.assert_allclose(one.scores, found.scores.numpy()[0, :len(expected)], atol=1e-4)
        apart = np.abs(one.boxes[:, None] - expected[None]).max(-1)
        assert (apart.min(1) < .1).all() and (apart.min(0) < .1).all()
