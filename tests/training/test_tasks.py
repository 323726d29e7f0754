"""The asymptotic stage: its loss by hand, which weights it changes, and resuming it after a kill."""
import json
import math
import shutil

import numpy as np
import pytest
import tensorflow as tf
from fixtures import tiny_network

from yolov3_tf.data.pipeline import PipelineSettings
from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.losses.criterion import LossSettings
from yolov3_tf.models import checkpoints
from yolov3_tf.structures import GroundTruth
from yolov3_tf.training import stages, tasks
from yolov3_tf.training.optimizers import OptimizerSettings
from yolov3_tf.training.run_folder import RunFolder
from yolov3_tf.training.settings import TrainingSettings
from yolov3_tf.training.trainer import Trainer

PLAN = (stages.asymptotic(2, 1e-2), *stages.two_stages(((1, 1e-3),), ((1, 1e-3),)))


def truth_of(classes, valid):
    classes, valid = np.array(classes, np.int32), np.array(valid, bool)
    return GroundTruth(tf.zeros([*classes.shape, 4]), tf.constant(classes), tf.constant(valid),
                       tf.cast(tf.constant(valid), tf.float32))


def test_presence_loss_by_hand():
    """Two images: one has class 2 twice, the other no object; its padding has class 0 and does not count."""
    logits = tf.constant([[0., math.log(3), math.log(3)], [0., 0., -math.log(3)]])
    truth = truth_of([[2, 2], [0, 0]], [[True, True], [False, False]])
    first = math.log(2) + math.log(4) + math.log(4 / 3)              # -log 1/2, -log(1 - 3/4), -log 3/4
    second = 2 * math.log(2) + math.log(4 / 3)
    assert float(tasks.presence_loss(logits, truth)) == pytest.approx((first + second) / 2, rel=1e-6)


def test_presence_loss_of_a_batch_without_boxes():
    loss = tasks.presence_loss(tf.zeros([3, 4]), truth_of(np.zeros((3, 0)), np.zeros((3, 0))))
    assert float(loss) == pytest.approx(4 * math.log(2), rel=1e-6)


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp('shapes'))
    train_set = specs.load('shapes:13', split='train', cache=cache)
    return [train_set, specs.load('shapes:13', train_set.class_names, split='val', cache=cache)]


def trainer(folder, data, plan=PLAN, **changes):
    """A run of the tiny network that writes no drawn images, which take longer than its steps."""
    tf.keras.utils.set_random_seed(3)
    run = RunFolder(folder)
    run.claim({}, data[0].class_names)
    run.images = lambda *_: None
    names = tuple(data[0].class_names)
    settings = TrainingSettings(
        stages=plan, loss=LossSettings('giou'), optimizer=OptimizerSettings('adam'),
        batches=PipelineSettings(batch_size=4, sizes=(64,), augment=('flip',)), log_steps=1, checkpoint_steps=1,
        **changes)
    return Trainer(run, tiny_network.build(len(names)), checkpoints.ModelConfig(names, 1., (64, 64), True), *data,
                   settings)


@pytest.fixture(scope='module')
def whole(shapes, tmp_path_factory):
    """A finished run; the folder ``half`` beside its own is as a kill in its second epoch would have left it."""
    run = trainer(tmp_path_factory.mktemp('runs') / 'whole', shapes)
    make_step = run._run_step

    def step(*arguments):
        make_step(*arguments)
        if run.position.global_step == 4:
            shutil.copytree(run.folder.root, run.folder.root.parent / 'half')
    run._run_step = step
    run.run()
    return run


def lines_of(run, kind):
    lines = [json.loads(line) for line in run.folder.metrics.read_text().splitlines()]
    return [line for line in lines if line['kind'] == kind]


def test_the_stages_follow_each_other_and_each_is_validated_by_its_task(whole):
    val = lines_of(whole, 'val')
    assert [line['stage'] for line in val] == ['asymptotic', 'asymptotic', 'head', 'full']
    assert all(0 <= line['class_mAP'] <= 1 and 'mAP' not in line for line in val[:2])
    assert all('mAP' in line and 'class_mAP' not in line for line in val[2:])
    assert whole.folder.best.exists() and whole.tasks['classification'].report.mean == val[1]['class_mAP']


def test_classification_learns_and_hands_its_backbone_on(shapes, tmp_path):
    run = trainer(tmp_path / 'run', shapes, (stages.asymptotic(12, 1e-2),), epochs_between_eval=12)
    before = {layer.name: layer.get_weights() for layer in run.model.layers if layer.weights}
    run.run()
    losses = [line['presence'] for line in lines_of(run, 'train')]
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) * .9
    assert not run.folder.best.exists()                              # a classifier is no detector
    for name, weights in before.items():
        same = all(np.array_equal(a, b) for a, b in zip(weights, run.model.get_layer(name).get_weights()))
        assert same == name.startswith('head_'), name
    fresh = tiny_network.build(len(shapes[0].class_names))
    checkpoints.load_backbone(str(run.folder.last), fresh)
    for layer in fresh.layers:
        if layer.weights and layer.name.startswith('backbone_'):
            for a, b in zip(layer.get_weights(), run.model.get_layer(layer.name).get_weights()):
                np.testing.assert_array_equal(a, b)


def assert_goes_on_to_the_end_of(whole, folder, shapes):
    again = trainer(folder, shapes)
    again.run()
    assert again.folder.metrics.read_bytes() == whole.folder.metrics.read_bytes()
    for a, b in zip(again.model.get_weights(), whole.model.get_weights()):
        np.testing.assert_array_equal(a, b)


def test_a_run_left_in_the_asymptotic_stage_ends_like_an_undisturbed_one(shapes, whole, tmp_path):
    shutil.copytree(whole.folder.root.parent / 'half', tmp_path / 'run')
    left = (tmp_path / 'run' / 'metrics.jsonl').read_bytes()
    assert 0 < len(left) < len(whole.folder.metrics.read_bytes())
    assert_goes_on_to_the_end_of(whole, tmp_path / 'run', shapes)


@pytest.mark.slow
@pytest.mark.parametrize('steps', [4, 2])       # inside the second epoch of classification; in its first
def test_a_run_killed_in_the_asymptotic_stage_ends_like_an_undisturbed_one(shapes, whole, tmp_path, steps):
    run = trainer(tmp_path / 'run', shapes)
    make_step, left = run._run_step, [steps]

    def step(*arguments):
        if not left[0]:
            raise KeyboardInterrupt
        make_step(*arguments)
        left[0] -= 1
    run._run_step = step
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert_goes_on_to_the_end_of(whole, tmp_path / 'run', shapes)


def test_a_network_without_backbone_is_refused_before_training(shapes, tmp_path):
    run = RunFolder(tmp_path / 'run')
    images = tf.keras.Input([None, None, 3])
    model = tf.keras.Model(images, tf.keras.layers.Reshape([-1, 10])(tf.keras.layers.Conv2D(10, 1)(images)))
    with pytest.raises(InputError, match='backbone'):
        Trainer(run, model, checkpoints.ModelConfig(tuple(shapes[0].class_names), 1., (64, 64), True), *shapes,
                TrainingSettings(PLAN, LossSettings('giou'), OptimizerSettings(),
                                 PipelineSettings(batch_size=4, sizes=(64,))))
