"""The smallest proof that a formulation learns: it overfits eight images and is validated on the same eight.

Everything is as for a user: images from disk, YOLOv3 with an eighth of its width and random weights, the
trainer, its validation. Two things are adapted to eight images. An epoch has each of them fifty times,
so that it has 50 steps and not one. And BatchNorm's averages, which validation uses, change ten times faster
than by default (momentum .9 instead of .99): at .99 they were so far behind the weights after 350 steps that the
validation loss was 84 where the training loss was 9 on the same images.
"""
import json

import pytest
import tensorflow as tf

from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.data.pipeline import PipelineSettings
from yolov3_tf.data.readers import specs
from yolov3_tf.losses.criterion import BOX_LOSSES
from yolov3_tf.losses.formulations import FORMULATIONS, settings
from yolov3_tf.models import yolov3_network
from yolov3_tf.models.blocks import BatchNorm
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.training import stages
from yolov3_tf.training.optimizers import OptimizerSettings
from yolov3_tf.training.run_folder import RunFolder
from yolov3_tf.training.settings import TrainingSettings
from yolov3_tf.training.trainer import Trainer

pytestmark = pytest.mark.slow
SIDE, WIDTH, TIMES_AN_EPOCH = 96, .125, 50
RATES = ((5, 3e-3), (2, 5e-4))          # (epochs, learning rate) of Adam

OPTIONS = {
    **{f'box {box}': dict(box=box) for box in BOX_LOSSES if box != 'mse'},
    'best of scale': dict(box='giou', matched='best'),
    'focal': dict(focal=True),
    'iou target': dict(objectness_target='iou'),
    'iou target, focal': dict(objectness_target='iou', focal=True),
    'squared objectness': dict(objectness='squared'),
    'balanced': dict(positive_weight='balanced'),
    'squared classes': dict(classification='squared'),
    'shape_ratio': dict(assigner='shape_ratio'),
    'shape_ratio 1': dict(assigner='shape_ratio', assign_thresh=1.),
    'iou_threshold': dict(assigner='iou_threshold'),
    'best_prediction': dict(assigner='best_prediction'),
}
# Each option is tried by itself with the reference's formulation.
CASES = [*((name, {}) for name in FORMULATIONS), *(('yolov3', options) for options in OPTIONS.values())]


@pytest.fixture(scope='module')
def eight(tmp_path_factory):
    return specs.load('shapes:8', cache=str(tmp_path_factory.mktemp('shapes')))


def score_on_its_own_images(folder, eight, formulation, options):
    tf.keras.utils.set_random_seed(0)
    anchors = YOLOV3_ANCHORS._replace(sensitivity=FORMULATIONS[formulation].sensitivity)
    config = ModelConfig(tuple(eight.class_names), WIDTH, (SIDE, SIDE), True, anchors)
    model = yolov3_network.build(len(eight.class_names), WIDTH)
    for layer in model.layers:
        if isinstance(layer, BatchNorm):
            layer.momentum = .9
    plan = TrainingSettings(
        stages=(stages.Stage('full', stages.NOTHING, RATES),), loss=settings(formulation, **options),
        optimizer=OptimizerSettings('adam', weight_decay=0.),
        batches=PipelineSettings(batch_size=8, sizes=(SIDE,), augment=()), checkpoint_steps=0)
    shown = eight._replace(records=eight.records * TIMES_AN_EPOCH)
    run = RunFolder(folder)
    run.claim({}, eight.class_names)
    Trainer(run, model, config, shown, eight, plan).run()
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [line['mAP'] for line in lines if line['kind'] == 'val']


@pytest.mark.parametrize('formulation, options', CASES, ids=[*FORMULATIONS, *OPTIONS])
def test_a_formulation_overfits_eight_images(eight, tmp_path, formulation, options):
    scores = score_on_its_own_images(tmp_path / 'run', eight, formulation, options)
    print('mAP@.5 after each epoch:', ' '.join(f'{score:.3f}' for score in scores))
    assert scores[-1] > .7
