"""Who trains together: what TF_CONFIG says, what is refused, and (slow) workers that are killed."""
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf import distribution, stages, training
from yolov3_tf.choices import InputError
from yolov3_tf.data import pipeline, specs
from yolov3_tf.data.pipeline import PipelineSettings
from yolov3_tf.losses.total import LossSettings
from yolov3_tf.optimizers import OptimizerSettings

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAIR = ['10.0.0.1:2222', '10.0.0.2:2222']


def config(cluster, kind='worker', index=0):
    return json.dumps({'cluster': cluster, 'task': {'type': kind, 'index': index}})


@pytest.mark.parametrize('text, expected', [
    ('', (1, 0)), (config({'worker': PAIR}), (2, 0)), (config({'worker': PAIR}, index=1), (2, 1)),
    (config({'worker': PAIR[:1]}), (1, 0)), (config({'chief': PAIR[:1], 'worker': PAIR[1:]}, 'chief'), (2, 0)),
    (config({'chief': PAIR[:1], 'worker': PAIR[1:]}), (2, 1))])
def test_the_chief_is_worker_0_and_the_others_follow(text, expected):
    assert distribution.read_cluster(text) == expected


@pytest.mark.parametrize('text', [
    'x', '[]', '{}', config({'worker': PAIR}, index=2), config({'worker': PAIR}, index=-1),
    config({'worker': ['host']}), config({'worker': PAIR, 'ps': PAIR}), config({'worker': PAIR}, 'chief'),
    config({'worker': 3}),
    '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": "one"}}'])
def test_a_cluster_that_makes_no_sense_is_refused(text):
    with pytest.raises(InputError, match='TF_CONFIG: expected'):
        distribution.read_cluster(text)


@pytest.mark.parametrize('name, cluster, message', [
    ('mirrored', PAIR, 'each would train the whole run'), ('none', PAIR, 'each would train the whole run'),
    ('multiworker', None, 'needs the environment variable'), ('several', None, 'auto, mirrored, multiworker, none')])
def test_strategies_that_contradict_the_cluster(monkeypatch, name, cluster, message):
    monkeypatch.setenv('TF_CONFIG', config({'worker': cluster}) if cluster else '')
    with pytest.raises(InputError, match=message):
        distribution.start(name)


def test_one_device_has_no_strategy(monkeypatch):
    monkeypatch.delenv('TF_CONFIG', raising=False)
    alone = distribution.start('none')
    assert (alone.replicas, alone.chief, alone.by_chief(lambda: 3)) == (1, True, 3)


def settings(stage, batch_size=6, **changes):
    return training.TrainingSettings(
        stages=(stage,), loss=LossSettings(), optimizer=OptimizerSettings(),
        batches=PipelineSettings(batch_size=batch_size, sizes=(64,)), **changes)


@pytest.mark.parametrize('replicas, pieces, fits', [(1, 1, True), (2, 3, True), (4, 1, False), (3, 4, False)])
def test_replicas_and_pieces_divide_the_batch(replicas, pieces, fits):
    chosen = settings(stages.Stage('all', '^$', ((1, 1.),)), accumulate_steps=pieces)
    if fits:
        training.check(chosen, replicas)
    else:
        with pytest.raises(InputError, match=f'multiple of {replicas} replicas x --accumulate_steps={pieces}'):
            training.check(chosen, replicas)


@pytest.mark.slow
def test_two_devices_two_workers_and_a_killed_worker_draw_one_curve(tmp_path):
    """The benchmark fails by itself where steps differ or a worker does not come back."""
    output = subprocess.run([sys.executable, str(ROOT / 'benchmarks' / 'replicas.py'), f'--out={tmp_path}/curves.png',
                             f'--folder={tmp_path}/runs', '--epochs=3'], check=True, stdout=subprocess.PIPE, text=True)
    lines = output.stdout.splitlines()
    assert lines[0] == 'worker 1 killed: worker 0 ended with status 75, worker 1 with -9'
    apart = {name: [float(number) for number in re.findall(r'within (\S+)', text)]
             for name, text in (line.split(': ') for line in lines[1:4])}
    assert set(apart) == {'two devices', 'two workers', 'two workers, one killed'}
    assert all(first < 1e-4 and most < .05 for first, most in apart.values())
    assert list((tmp_path / 'runs' / 'runs0').iterdir()) and not (tmp_path / 'runs' / 'runs1').exists()
    assert (tmp_path / 'curves.png').stat().st_size


@pytest.mark.slow
def test_the_tf_data_service_makes_the_same_batches(tmp_path):
    """A dispatcher and a worker of this process; also from the middle of an epoch, as a resumed run begins."""
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=0))
    worker = service.WorkerServer(service.WorkerConfig(dispatcher_address=dispatcher.target.split('://')[1]))
    dataset = specs.load('shapes:12', split='train', cache=str(tmp_path))
    chosen = PipelineSettings(batch_size=4, sizes=(64, 96), batches_per_size=2)
    for first_step in (0, 2):
        local = pipeline.training_batches(dataset, chosen, 7, 1, first_step, share=(1, 2))
        served = local.apply(service.distribute(service.ShardingPolicy.OFF, dispatcher.target,
                                                max_outstanding_requests=2))
        for mine, theirs in zip(local.take(5), served.take(5)):
            for one, other in zip(tf.nest.flatten(mine), tf.nest.flatten(theirs)):
                np.testing.assert_array_equal(one, other)
    del worker
