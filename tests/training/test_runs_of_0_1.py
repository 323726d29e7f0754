"""A run that version 0.1 left in its second stage (``fixtures/run_0_1``): it can be loaded and resumed.

It was made by that version's train.py on the CPU, stopped by Ctrl-C after six of eighteen steps, with --asymptotic,
--stage1_epochs=2 and --stage2_epochs=4; ``metrics_of_the_whole_run.jsonl`` is the same run without the interruption.
"""
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.data.readers import builtin, shapes
from yolov3_tf.inference import detector
from yolov3_tf.models import checkpoints
from yolov3_tf.training import recipe, run

LEFT = pathlib.Path(__file__).resolve().parents[1] / 'fixtures' / 'run_0_1'
STAGES = {'classify': 'asymptotic', 'head': 'head', 'all': 'full'}


def lines_of(path):
    """The metrics, with the current names of the stages."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [dict(line, stage=STAGES.get(line['stage'], line['stage'])) for line in lines]


@pytest.fixture
def left(tmp_path, monkeypatch):
    """The folder of the run, in a new working folder, where the built-in images are drawn as that version drew them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(builtin, 'VERSION', 2)
    for name, value in dict(LEAST_VISIBLE=.3, SMALLEST=24., FEWEST_OBJECTS=1, MOST_OBJECTS=5, NOISE=(.02, .12)).items():
        monkeypatch.setattr(shapes, name, value)
    shutil.copy(LEFT / 'small.cfg', tmp_path)
    folder = tmp_path / 'runs' / 'old'
    shutil.copytree(LEFT, folder, ignore=shutil.ignore_patterns('small.cfg', 'metrics_of*'))
    return folder


def test_its_checkpoint_is_loaded_and_detects(left):
    model, config = checkpoints.load_model(str(left / 'checkpoints' / 'best.h5'))
    assert config.class_names == tuple((left / 'labels.txt').read_text().split()) and model.count_params() > 1000
    found = detector.load(left)(np.zeros([40, 60, 3], np.uint8), score_threshold=0.)
    assert len(found) and set(found.class_names) <= set(config.class_names)


def test_it_resumes_to_the_end_of_the_whole_run(left):
    before = lines_of(left / 'metrics.jsonl')
    outcome = run.train(recipe.make(
        loss='giou', focal=True, ignore_thresh=.45, name='old', train_data='shapes:12', cfg='small.cfg', image_size=64,
        batch_size=4, augment=('flip',), backbone_weights='none', asymptotic=True, asymptotic_epochs=1, head_epochs=2,
        head_lr=1e-3, full_epochs=(4,), full_lr=(1e-4,), log_steps=1, mixed_precision='float32', export=False,
        checkpoint_steps=1))
    assert outcome.status == run.TRAINED and tf.keras.mixed_precision.global_policy().name == 'float32'
    after, whole = lines_of(left / 'metrics.jsonl'), lines_of(LEFT / 'metrics_of_the_whole_run.jsonl')
    assert after[:len(before)] == before and len(after) == len(whole) == 28
    for line, expected in zip(after, whole):
        assert line.keys() == expected.keys()
        numbers = [name for name in line if isinstance(line[name], float)]
        assert {name: line[name] for name in line if name not in numbers} == \
            {name: expected[name] for name in line if name not in numbers}
        # The same bits on the processor that it was made on; others sum in another order.
        np.testing.assert_allclose([line[name] for name in numbers], [expected[name] for name in numbers], rtol=1e-3)
