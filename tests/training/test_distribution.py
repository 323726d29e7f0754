"""Distributed training: reading TF_CONFIG, what is refused, and (slow) workers that are killed."""
import json
import pathlib
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import replicas
from yolov3_tf.data import pipeline
from yolov3_tf.data.pipeline import PipelineSettings
from yolov3_tf.data.readers import lists, specs
from yolov3_tf.drawing import plots
from yolov3_tf.errors import InputError
from yolov3_tf.losses.criterion import LossSettings
from yolov3_tf.training import distribution, stages
from yolov3_tf.training import settings as settings_module
from yolov3_tf.training.optimizers import OptimizerSettings

ROOT = pathlib.Path(__file__).resolve().parents[2]
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


@pytest.mark.parametrize('kind, message, lost', [
    (tf.errors.UnavailableError, 'whatever', True), (tf.errors.InternalError, 'Failed to connect to remote', True),
    (tf.errors.FailedPreconditionError, 'Collective ops is aborted', True),
    (tf.errors.InternalError, 'cuDNN launch failure : input shape', False), (tf.errors.InternalError, '', False),
    (tf.errors.InvalidArgumentError, 'Failed to connect', False)])
def test_only_connection_errors_mean_a_lost_worker(kind, message, lost):
    for workers in (1, 2):
        expected = distribution.PeerLost if lost and workers > 1 else kind
        with pytest.raises(expected) as raised, distribution.watched(distribution.Distribution(None, workers)):
            raise kind(None, None, message)
        assert message in str(raised.value)


def settings(stage, batch_size=6, **changes):
    return settings_module.TrainingSettings(
        stages=(stage,), loss=LossSettings(), optimizer=OptimizerSettings(),
        batches=PipelineSettings(batch_size=batch_size, sizes=(64,)), **changes)


@pytest.mark.parametrize('replicas, pieces, fits', [(1, 1, True), (2, 3, True), (4, 1, False), (3, 4, False)])
def test_replicas_and_pieces_divide_the_batch(replicas, pieces, fits):
    chosen = settings(stages.Stage('full', '^$', ((1, 1.),)), accumulate_steps=pieces)
    if fits:
        settings_module.check(chosen, replicas)
    else:
        with pytest.raises(InputError, match=f'multiple of {replicas} replicas x --accumulate_steps={pieces}'):
            settings_module.check(chosen, replicas)


@pytest.mark.slow
def test_two_devices_two_workers_and_a_killed_worker_draw_one_curve(tmp_path):
    """The benchmark fails by itself where steps differ or a worker does not come back."""
    output = subprocess.run([sys.executable, str(ROOT / 'benchmarks' / 'replicas.py'),
                             f'--output={tmp_path}/curves.png', f'--folder={tmp_path}/runs', '--epochs=3'],
                            check=True, stdout=subprocess.PIPE, text=True)
    lines = output.stdout.splitlines()
    assert lines[0] == 'worker 1 killed: worker 0 ended with status 75, worker 1 with -9'
    apart = {name: [float(number) for number in re.findall(r'within (\S+)', text)]
             for name, text in (line.split(': ') for line in lines[1:4])}
    assert set(apart) == {'two devices', 'two workers', 'two workers, one killed'}
    assert all(first < 1e-4 and most < .05 for first, most in apart.values())
    assert list((tmp_path / 'runs' / 'runs0').iterdir()) and not (tmp_path / 'runs' / 'runs1').exists()
    assert (tmp_path / 'curves.png').stat().st_size


def lines_of(folder, *runs):
    return [plots.read_metrics(folder / 'runs0' / name / 'metrics.jsonl') for name in runs]


def assert_one_curve(one, other):
    """Asserts the same steps; the first losses differ by rounding, which later steps magnify."""
    assert [(line['kind'], line['step']) for line in one] == [(line['kind'], line['step']) for line in other]
    away = [abs(line['total'] / its['total'] - 1) for line, its in zip(one, other)]
    assert max(away[:4]) < 1e-4 and max(away) < .05, away


@pytest.mark.slow
def test_a_run_resumes_with_another_number_of_workers(tmp_path):
    """Two workers, one of them is stopped; one device, stopped; two workers until the end."""
    replicas.write_network(tmp_path / 'small.cfg')
    alone, metrics = ['--strategy=none'], tmp_path / 'runs0/changed/metrics.jsonl'
    replicas.finish(tmp_path, [replicas.start(tmp_path, 'whole', 3, alone)])
    for step, start in ((4, lambda: replicas.start_workers(tmp_path, 'changed', 3)),
                        (9, lambda: [replicas.start(tmp_path, 'changed', 3, alone)])):
        assert set(replicas.stop_last(start(), metrics, step, signal.SIGTERM)) == {130}
    before = len(metrics.read_text().splitlines())
    assert 11 <= before < 21                    # 18 steps and three validations in all
    replicas.finish(tmp_path, replicas.start_workers(tmp_path, 'changed', 3))
    assert_one_curve(*lines_of(tmp_path, 'whole', 'changed'))


def write_list_with_broken_images(folder, count, broken):
    """Writes a list of built-in images, some of them truncated; returns its flags and the paths of these images."""
    dataset = specs.load(f'shapes:{count}', split='train', cache=str(folder / 'shapes'))
    lists.write(folder / 'list.txt', dataset.records)
    (folder / 'shapes.names').write_text('\n'.join(dataset.class_names))
    paths = [pathlib.Path(dataset.records[index].image_path) for index in broken]
    for path in paths:
        path.write_bytes(path.read_bytes()[:200])
    return ['--train_data=list:list.txt', '--val_data=list:list.txt', '--classes=shapes.names',
            '--backbone_weights=none'], paths


@pytest.mark.slow
def test_two_workers_skip_and_name_the_same_images_as_one_device(tmp_path):
    replicas.write_network(tmp_path / 'small.cfg')
    flags, broken = write_list_with_broken_images(tmp_path, 24, (3, 17))
    replicas.finish(tmp_path, [replicas.start(tmp_path, 'alone', 2, [*flags, '--strategy=none'])])
    replicas.finish(tmp_path, replicas.start_workers(tmp_path, 'pair', 2, flags))
    assert_one_curve(*lines_of(tmp_path, 'alone', 'pair'))
    for name in ('alone', 'pair'):
        output = (tmp_path / f'{name}-0.txt').read_text()
        summary = output.partition('2 images were skipped:')[2]
        assert all(path.name in summary for path in broken), output


@pytest.mark.slow
@pytest.mark.parametrize('flags', [['--nosync_batch_norm'], ['--accumulate_steps=2'],
                                   ['--nosync_batch_norm', '--accumulate_steps=2', '--ema_decay=0.9', '--clip_norm=inf',
                                    '--optimizer=adam', '--cache=disk']])
def test_two_workers_under_other_settings(tmp_path, flags):
    """The benchmark has synchronised BatchNorm and whole batches of one size."""
    replicas.write_network(tmp_path / 'small.cfg')
    replicas.finish(tmp_path, replicas.start_workers(tmp_path, 'other', 2, flags))
    lines = plots.read_metrics(tmp_path / 'runs0/other/metrics.jsonl')
    assert [line['kind'] for line in lines] == (['train'] * 6 + ['val']) * 2
    assert np.isfinite([line['total'] for line in lines]).all()


@pytest.mark.slow
def test_a_worker_that_cannot_read_any_image_of_a_batch(tmp_path):
    """Batches of two images, one for each worker, of changing sizes: with a broken image its worker has none."""
    replicas.write_network(tmp_path / 'small.cfg')
    flags, _ = write_list_with_broken_images(tmp_path, 12, (1, 4))
    flags += ['--batch_size=2', '--train_sizes=64,96']
    replicas.finish(tmp_path, replicas.start_workers(tmp_path, 'thin', 2, flags))
    lines = plots.read_metrics(tmp_path / 'runs0/thin/metrics.jsonl')
    assert np.isfinite([line['total'] for line in lines]).all()
    assert '2 images were skipped' in (tmp_path / 'thin-0.txt').read_text()


@pytest.mark.slow
def test_the_tf_data_service_makes_the_same_batches(tmp_path):
    """A dispatcher and a worker in this process; also from the middle of an epoch, as in a resumed run."""
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
