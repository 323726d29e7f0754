"""One checkpoint has one score, whatever precision trained it: while training, at the end, and from ``evaluate``."""
import json
import re

import numpy as np
import pytest
import tensorflow as tf
from fixtures import small_cfg

from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.data.readers import builtin, specs
from yolov3_tf.evaluation import validation
from yolov3_tf.inference.evaluate import detect_dataset, evaluate
from yolov3_tf.models import checkpoints
from yolov3_tf.models.keras_policy import keras_policy
from yolov3_tf.tiling import Tiling
from yolov3_tf.training import from_python


@pytest.mark.parametrize('precision, ema_decay', [
    pytest.param('float32', 0., marks=pytest.mark.slow), pytest.param('bfloat16', 0., marks=pytest.mark.slow),
    ('bfloat16', .9)])
def test_the_best_validation_is_the_checkpoint_s_score(tmp_path, monkeypatch, precision, ema_decay):
    """It learns eight images by heart, because most untrained networks score 0 in every precision."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'small.cfg').write_text(small_cfg.TEXT)
    spec = f'voc:{builtin.prepare(8, "cache")}:train'
    done = from_python.train_with(spec, spec, loss='giou', cfg='small.cfg', image_size=96, batch_size=8, augment=[],
                             optimizer='adam', full_epochs=60, full_lr=2e-2, epochs_between_eval=20,
                             backbone_weights='none', head_epochs=0, mixed_precision=precision, ema_decay=ema_decay,
                             export=False)
    lines = [json.loads(line) for line in (done.folder / 'metrics.jsonl').read_text().splitlines()]
    best = max(line['mAP'] for line in lines if line['kind'] == 'val')
    assert best > 0
    assert json.loads((done.folder / 'evaluation/metrics.json').read_text())['summary']['mAP'] == best
    assert evaluate(done.folder, spec).summary['mAP'] == best


def test_a_bfloat16_network_is_validated_as_its_checkpoint_in_float32(tmp_path):
    """Also after the weights have changed or layers are frozen; neither the policy nor the network changes."""
    data = specs.load('shapes:8', split='val', cache=str(tmp_path))
    config = checkpoints.ModelConfig(tuple(data.class_names), .0625, (64, 64), True, YOLOV3_ANCHORS)
    with keras_policy('mixed_bfloat16'):
        trained = checkpoints.build(config)
    validator = validation.Validator(trained, config, data)
    for frozen in (False, True):
        trained.set_weights([value + np.float32(.01) for value in trained.get_weights()])
        for layer in trained.layers:
            layer.trainable = not (frozen and layer.name.startswith('backbone'))
        checkpoints.save_model(str(tmp_path / 'trained.h5'), trained, config)
        plain, _ = checkpoints.load_model(str(tmp_path / 'trained.h5'))
        found, expected = (one.run().detections for one in (validator, validation.Validator(plain, config, data)))
        assert sum(len(image.scores) for image in expected) > 8
        for image, other in zip(found, expected):
            np.testing.assert_array_equal(image.scores, other.scores)
            np.testing.assert_array_equal(image.boxes, other.boxes)
    assert tf.keras.mixed_precision.global_policy().name == 'float32'
    assert trained.get_layer('backbone_conv_01').compute_dtype == 'bfloat16'


def test_a_run_on_windows_is_validated_in_tiles_and_its_checkpoint_says_so(tmp_path, monkeypatch, capsys):
    """Windows of 100 pixels of eight images of 200 to 320: 4 to 10 of each, drawn anew each epoch."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'small.cfg').write_text(small_cfg.TEXT)
    spec = f'voc:{builtin.prepare(8, "cache")}:train'
    done = from_python.train_with(spec, spec, name='cut', cfg='small.cfg', image_size=64, train_tiles='100',
                                  augment='flip', optimizer='adam', full_epochs=2, full_lr=2e-3,
                                  backbone_weights='none', head_epochs=0, mixed_precision='float32', export=False)
    said = re.search(r'tiles    100: (\d+) windows an epoch; validated in tiles', capsys.readouterr().out)
    assert said and int(said.group(1)) >= 8 * 4
    lines = [json.loads(line) for line in (done.folder / 'metrics.jsonl').read_text().splitlines()]
    assert lines[-1]['step'] == 2 * int(said.group(1)) / 4
    assert checkpoints.describe(str(done.checkpoint)).tiles == '100'
    found = detect_dataset(done.folder, spec, tiling=Tiling('100'))
    assert found.report().summary['mAP'] == done.report.summary['mAP']
    whole = detect_dataset(done.folder, spec)
    assert [len(one) for one in whole.detections] != [len(one) for one in found.detections]
