"""A run: what trains, what is frozen, what stops it, and that a resumed run equals an uninterrupted one."""
import json
import os
import pathlib
import shutil
import signal

import h5py
import numpy as np
import pytest
import tensorflow as tf
from fixtures import tiny_network

from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.data import pipeline
from yolov3_tf.data.pipeline import PipelineSettings
from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.losses.criterion import LossSettings
from yolov3_tf.models import checkpoints
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.structures import GroundTruth
from yolov3_tf.training import batches, counters, pacing, stages, tasks
from yolov3_tf.training.finite import NonFiniteLoss
from yolov3_tf.training.optimizers import OptimizerSettings
from yolov3_tf.training.run_folder import RunFolder
from yolov3_tf.training.settings import TrainingSettings
from yolov3_tf.training.stopping import Interrupted, StopRequest
from yolov3_tf.training.trainer import Trainer

HEAD, ALL = stages.two_stages(((2, 1e-3),), ((1, 1e-3), (1, 1e-4)), warmup_epochs=1)


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    cache = str(tmp_path_factory.mktemp('shapes'))
    train_set = specs.load('shapes:13', split='train', cache=cache)
    return [train_set, specs.load('shapes:13', train_set.class_names, split='val', cache=cache)]


def settings(*plan, strict=False, kind='sgd', **changes):
    return TrainingSettings(
        stages=plan or (HEAD, ALL), loss=LossSettings('giou', True, .45), optimizer=OptimizerSettings(kind),
        batches=PipelineSettings(batch_size=4, sizes=(64, 96), batches_per_size=2, augment=('flip',), strict=strict),
        log_steps=2, checkpoint_steps=1, **changes)


def trainer(folder, data, chosen=None, pages=False):
    """A run of the tiny network; without ``pages`` it writes no drawn images, which take longer than its steps."""
    tf.keras.utils.set_random_seed(3)
    run = RunFolder(folder)
    run.claim({}, data[0].class_names)
    if not pages:
        run.images = lambda *_: None
    config = ModelConfig(tuple(data[0].class_names), 1., (96, 96), True)
    return Trainer(run, tiny_network.build(len(data[0].class_names)), config, *data, chosen or settings())


def stop_after(run, steps, by_signal=None):
    """Lets the run make some more steps, then stops it like a kill or a Ctrl-C."""
    make_step, left = run._run_step, [steps]

    def step(*arguments):
        if not left[0]:
            raise KeyboardInterrupt
        make_step(*arguments)
        left[0] -= 1
        if not left[0] and by_signal:
            os.kill(os.getpid(), by_signal)
            left[0] = 1
    run._run_step = step


def killed_and_resumed(folder, shapes, chosen, stops):
    """A finished run that was killed after so many steps, each time in another process's place."""
    for steps in stops:
        run = trainer(folder, shapes, chosen)
        stop_after(run, steps)
        with pytest.raises(KeyboardInterrupt):
            run.run()
        # What a process writes after its last checkpoint must not survive it.
        run.folder.append({'kind': 'train', 'lost': True})
    run = trainer(folder, shapes, chosen)
    run.run()
    return run


def weights_by_name(model):
    return {f'{layer.name}/{i}': weight for layer in model.layers for i, weight in enumerate(layer.get_weights())}


def read_weights(path):
    with h5py.File(path) as file:
        found = {}
        file['weights'].visititems(lambda name, item: found.update({name: item[...]})
                                   if isinstance(item, h5py.Dataset) else None)
    return found


@pytest.fixture(scope='module')
def uninterrupted(shapes, tmp_path_factory):
    """A whole run; the folder ``half`` beside its own is as a kill in its second stage would have left it."""
    run = trainer(tmp_path_factory.mktemp('runs') / 'whole', shapes, pages=True)
    make_step = run._run_step

    def step(*arguments):
        make_step(*arguments)
        if run.position.global_step == 11:
            shutil.copytree(run.folder.root, run.folder.root.parent / 'half')
    run._run_step = step
    run.run()
    return run


def test_minutes_plan_the_last_stage_and_a_resumed_run_keeps_the_plan(shapes, tmp_path, monkeypatch, capsys):
    """Every step takes a second of a clock of our own: 3 steps an epoch, no validation, 40 seconds for all, of which
    20 are kept for the end."""
    now = [0.]
    monkeypatch.setattr(pacing.time, 'monotonic', lambda: now[0])
    stage, = stages.two_stages((), ((80, 1e-3),), warmup_epochs=1, schedule='cosine')
    chosen = settings(stage, minutes=40 / 60, epochs_between_eval=50)

    def timed(run):
        make_step = run._run_step

        def step(*arguments):
            now[0] += 1
            make_step(*arguments)
        run._run_step = step
        return run
    run = timed(trainer(tmp_path / 'run', shapes, chosen))
    stop_after(run, 10)
    with pytest.raises(KeyboardInterrupt):
        run.run()
    assert 'planned 6 epochs, to end after 0.666667 minutes' in capsys.readouterr().err
    run = timed(trainer(tmp_path / 'run', shapes, chosen))
    run.run()
    assert run.position.global_step == 3 * 6 and run.history.planned == 6 and run.position.finished
    rates = [line['lr'] for line in map(json.loads, run.folder.metrics.read_text().splitlines())
             if line['kind'] == 'train']
    assert rates[-1] == pytest.approx(stages.rate_at(pacing.with_epochs(stage, 6), 17, 3))
    assert stages.rate_at(pacing.with_epochs(stage, 6), 18, 3) == pytest.approx(0, abs=1e-9)


def test_a_run_logs_named_terms_and_keeps_its_best(uninterrupted):
    run = uninterrupted
    lines = [json.loads(line) for line in run.folder.metrics.read_text().splitlines()]
    train, val = ([line for line in lines if line['kind'] == kind] for kind in ('train', 'val'))
    assert {'giou', 'classes', 'objectness', 'total', 'l2', 'lr'} <= set(train[0])
    assert {'giou', 'classes', 'objectness', 'total', 'mAP'} <= set(val[0])
    # 13 images in batches of 4: three steps an epoch, logged after the second and the last.
    assert [line['step'] for line in train][:4] == [2, 3, 5, 6]
    assert [line['epoch'] for line in val] == [1, 2, 3, 4, 5]
    assert [line['stage'] for line in val] == ['head'] * 3 + ['full'] * 2
    assert run.folder.best.exists() and list((run.folder.root / 'events').iterdir())
    assert run.position.finished


def assert_same_bits(run, whole):
    assert run.folder.metrics.read_bytes() == whole.folder.metrics.read_bytes()
    for mine, other in zip(run.model.get_weights(), whole.model.get_weights()):
        np.testing.assert_array_equal(mine, other)


# Steps 1 to 9 are the first stage's. For a kill in the second see the first batches, below.
@pytest.mark.parametrize('stops', [
    (5,), pytest.param((2, 9), marks=pytest.mark.slow), pytest.param((2, 9, 3), marks=pytest.mark.slow),
    pytest.param((1, 1, 8, 2), marks=pytest.mark.slow)])
def test_a_killed_run_goes_on_to_the_same_weights_and_metrics_bit_for_bit(uninterrupted, shapes, tmp_path, stops):
    assert_same_bits(killed_and_resumed(tmp_path / 'run', shapes, settings(), stops), uninterrupted)


@pytest.mark.slow
def test_averages_pieces_and_rare_validation_survive_a_kill_bit_for_bit(shapes, tmp_path):
    """Two stages of 2 and 3 epochs, validated every second epoch and at their end; both update the average."""
    stage = stages.Stage('one', '^$', ((2, 1e-3),))
    chosen = settings(stage, stage._replace(name='two', rates=((3, 1e-3),)), ema_decay=.9, accumulate_steps=2,
                      epochs_between_eval=2)
    whole = trainer(tmp_path / 'whole', shapes, chosen)
    whole.run()
    run = killed_and_resumed(tmp_path / 'killed', shapes, chosen, (4, 4))   # the stages are steps 1 to 6 and 7 to 15
    assert run.folder.metrics.read_bytes() == whole.folder.metrics.read_bytes()
    lines = [json.loads(line) for line in whole.folder.metrics.read_text().splitlines()]
    assert [line['epoch'] for line in lines if line['kind'] == 'val'] == [2, 4, 5]
    mine, theirs = ({**one.average.state(), **weights_by_name(one.model)} for one in (run, whole))
    assert all(np.array_equal(mine[name], theirs[name]) for name in theirs)
    assert mine['average/steps'] == 15


@pytest.mark.slow
def test_a_mix_free_end_survives_a_kill_bit_for_bit(shapes, tmp_path, monkeypatch):
    """Stages of 1 and 3 epochs of three steps, steps 7 to 12 without mosaic; killed on both sides of the seventh."""
    stage = stages.Stage('one', '^$', ((1, 1e-3),))
    chosen = settings(stage, stage._replace(name='two', rates=((3, 1e-3),), mix_free_epochs=2), epochs_between_eval=3)
    chosen = chosen._replace(batches=chosen.batches._replace(augment=('mosaic', 'flip'), sizes=(64,)))
    names = []
    monkeypatch.setattr(batches.pipeline, 'training_batches',
                        lambda *made, real=pipeline.training_batches: (names.append(made[1].augment), real(*made))[1])
    whole = trainer(tmp_path / 'whole', shapes, chosen)
    whole.run()
    assert names == [('mosaic', 'flip'), ('flip',)]
    run = killed_and_resumed(tmp_path / 'killed', shapes, chosen, (5, 4))
    assert run.folder.metrics.read_bytes() == whole.folder.metrics.read_bytes()
    for mine, other in zip(run.model.get_weights(), whole.model.get_weights()):
        np.testing.assert_array_equal(mine, other)


def test_a_stage_is_validated_before_it_ends_early(shapes, tmp_path, monkeypatch):
    """Validated every third epoch with losses 1, 2, 1.5: patience 4 ends the stage at the seventh, so it is too."""
    stage = stages.Stage('one', '^$', ((20, 1e-3),), patience=4)
    run, asked = trainer(tmp_path / 'run', shapes, settings(stage, epochs_between_eval=3)), []
    losses = iter([1., 2., 1.5])
    monkeypatch.setattr(run, '_validate', lambda stage, bar: (asked.append(run.position.epoch), [next(losses), 0.])[1])
    while not stages.is_over(stage, run.position.epoch, run.history.val_losses, run.history.scores):
        run.position.epoch += 1
        run._validate_if_due(stage, None)
    assert asked == [3, 6, 7] and run.history.val_losses[2:] == [1., 1., 1., 2., 1.5]


AVERAGED = settings(stages.Stage('full', '^$', ((1, 1e-2),)), ema_decay=.9)


@pytest.fixture(scope='module')
def averaged(shapes, tmp_path_factory):
    """A finished run of an epoch, with averages."""
    run = trainer(tmp_path_factory.mktemp('runs') / 'averaged', shapes, AVERAGED)
    run.run()
    return run


def test_the_average_is_saved_as_the_best(averaged, shapes):
    run = averaged
    best = tiny_network.build(len(shapes[0].class_names))
    checkpoints.load_weights(str(run.folder.best), best)
    averages = [run.average.state()[f'average/{index:03d}'] for index in range(len(best.get_weights()))]
    for kept, average, last in zip(best.get_weights(), averages, run.model.get_weights()):
        np.testing.assert_array_equal(kept, average)
        assert (kept != last).any()


def test_a_finished_run_has_nothing_left_to_do(uninterrupted, shapes, tmp_path):
    whole = uninterrupted
    shutil.copytree(whole.folder.root, tmp_path / 'run')
    run = trainer(tmp_path / 'run', shapes)
    stop_after(run, 0)
    run.run()
    assert run.folder.metrics.read_bytes() == whole.folder.metrics.read_bytes()


def test_a_finished_run_is_extended_once_and_further(uninterrupted, shapes, tmp_path):
    """HEAD and ALL have 5 epochs of 3 steps; two more, then five, of which two are made already."""
    folder = tmp_path / 'run'
    shutil.copytree(uninterrupted.folder.root, folder)
    steps = []
    for epochs in (2, 2, 5):
        run = trainer(folder, shapes, settings(HEAD, ALL, stages.extension(epochs, 1e-3)))
        run.run()
        steps.append(run.position.global_step)
        assert run.position.finished and run.history.extended == epochs
    assert steps == [15 + 6, 15 + 6, 15 + 15]
    rates = [line['lr'] for line in map(json.loads, run.folder.metrics.read_text().splitlines())
             if line['kind'] == 'train' and line['stage'] == 'extended']
    assert max(rates) <= 1e-4 and rates[-1] < rates[0]


@pytest.mark.slow
def test_a_kill_in_an_extension_changes_nothing(uninterrupted, shapes, tmp_path):
    longer = settings(HEAD, ALL, stages.extension(2, 1e-3))
    for name in ('whole', 'killed'):
        shutil.copytree(uninterrupted.folder.root, tmp_path / name)
    whole = trainer(tmp_path / 'whole', shapes, longer)
    whole.run()
    killed = killed_and_resumed(tmp_path / 'killed', shapes, longer, [2, 3])
    assert killed.folder.metrics.read_text() == whole.folder.metrics.read_text()
    for name, weight in weights_by_name(whole.model).items():
        np.testing.assert_array_equal(weights_by_name(killed.model)[name], weight)


def test_a_deleted_best_checkpoint_is_written_again(averaged, shapes, tmp_path, capsys):
    """The average of the weights, where it is what was validated."""
    shutil.copytree(averaged.folder.root, tmp_path / 'run')
    folder = RunFolder(tmp_path / 'run')
    best = read_weights(folder.best)
    folder.best.unlink()
    assert trainer(tmp_path / 'run', shapes, AVERAGED).run() is False
    assert 'best.h5 was gone' in capsys.readouterr().out
    again = read_weights(folder.best)
    assert set(again) == set(best) and all((again[name] == best[name]).all() for name in best)


def test_a_run_killed_in_its_last_stage_ends_bit_for_bit_and_draws_its_first_batches_once(uninterrupted, shapes,
                                                                                          tmp_path):
    assert uninterrupted.folder.first_batches.exists()
    folder = tmp_path / 'run'
    shutil.copytree(uninterrupted.folder.root.parent / 'half', folder)
    RunFolder(folder).first_batches.unlink(missing_ok=True)
    run = trainer(folder, shapes)
    run.run()
    assert not RunFolder(folder).first_batches.exists()         # a resumed run's first batches are others
    assert_same_bits(run, uninterrupted)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_are_heard_and_a_second_one_does_not_wait(number, capsys):
    before, request = signal.getsignal(number), StopRequest()
    with request.listening():
        assert not request.asked
        os.kill(os.getpid(), number)
        assert request.asked and request.agreed and 'saving' in capsys.readouterr().out
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_a_closed_terminal_saves_too_however_often_it_says_so_but_not_under_nohup():
    first = signal.signal(signal.SIGHUP, signal.SIG_DFL)        # the tests themselves may run under nohup
    before, request = signal.getsignal(signal.SIGHUP), StopRequest()
    with request.listening():
        os.kill(os.getpid(), signal.SIGHUP)
        os.kill(os.getpid(), signal.SIGHUP)         # shell and kernel both send one
        assert request.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGHUP) is before
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        request = StopRequest()
        with request.listening():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not request.asked
    finally:
        signal.signal(signal.SIGHUP, first)


@pytest.mark.parametrize('number', [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM])
def test_a_signal_saves_and_says_so(shapes, tmp_path, number, capsys):
    before = signal.getsignal(number)
    run = trainer(tmp_path / 'run', shapes, settings(HEAD)._replace(checkpoint_steps=0))
    stop_after(run, 2, by_signal=number)
    with pytest.raises(Interrupted):
        run.run()
    assert 'saving' in capsys.readouterr().out
    assert trainer(tmp_path / 'run', shapes)._resume() is not None
    assert signal.getsignal(number) is before


def test_the_head_stage_moves_the_head_and_only_the_statistics_of_the_backbone(shapes, tmp_path):
    run = trainer(tmp_path / 'run', shapes, settings(HEAD, epochs_between_eval=3))
    before = weights_by_name(run.model)
    run.run()
    moved = {name for name, weight in weights_by_name(run.model).items() if (weight != before[name]).any()}
    statistics = {f'backbone_bn_{n:02d}/{i}' for n in range(1, 6) for i in (2, 3)}      # gamma, beta, mean, variance
    assert moved == statistics | {f'head_conv_{n:02d}/{i}' for n in (6, 7, 8) for i in (0, 1)}


def test_a_stage_ends_when_the_validation_loss_no_longer_falls(shapes, tmp_path):
    patient = stages.Stage('head', '^backbone_', ((9, 1e-30),), patience=2, frozen_bn='fixed')
    run = trainer(tmp_path / 'run', shapes, settings(patient))
    run.run()
    # At a rate of almost zero the loss never falls after the first epoch, so two more epochs end the stage.
    lines = run.folder.metrics.read_text().splitlines()
    assert [json.loads(line)['epoch'] for line in lines if '"val"' in line] == [1, 2, 3]


def test_a_loss_that_is_not_finite_stops_and_names_the_batch(uninterrupted, shapes, tmp_path):
    shutil.copytree(uninterrupted.folder.root.parent / 'half', tmp_path / 'run')
    run = trainer(tmp_path / 'run', shapes)
    good = run.folder.last.read_bytes()
    poisoned = run._resume

    def poison():
        state = poisoned()
        conv = run.model.get_layer('backbone_conv_01')
        conv.set_weights([np.full_like(conv.get_weights()[0], np.nan)])
        return state
    run._resume = poison
    with pytest.raises(NonFiniteLoss) as stopped:
        run.run()
    named = [line.strip() for line in str(stopped.value).splitlines()[1:]]
    assert len(named) == 4 and all(pathlib.Path(path).is_file() for path in named)
    assert 'giou nan' in str(stopped.value)
    assert run.folder.last.read_bytes() == good


@pytest.fixture
def broken(shapes, tmp_path):
    """The shapes with one damaged training image and one damaged validation image."""
    data = []
    for dataset in shapes:
        records = list(dataset.records)
        spoiled = tmp_path / f'spoiled-{len(records)}.jpg'
        spoiled.write_bytes(pathlib.Path(records[1].image_path).read_bytes()[:200])
        records[1] = records[1]._replace(image_path=str(spoiled))
        data.append(dataset._replace(records=records))
    return data


def test_bad_images_are_skipped_counted_and_named(broken, tmp_path, capsys):
    run = trainer(tmp_path / 'run', broken, settings(ALL, epochs_between_eval=2))
    run.run()
    assert sorted(pathlib.Path(path).name for path in run.history.skipped) == ['spoiled-13.jpg', 'spoiled-3.jpg']
    assert capsys.readouterr().err.count('skipped: ') == 2


@pytest.mark.parametrize('part, message', [(0, '13 training images'), (1, '3 images to evaluate on')])
def test_a_set_of_which_nothing_can_be_read_stops_the_run(shapes, tmp_path, part, message):
    data = list(shapes)
    (tmp_path / 'text.jpg').write_text('no image')
    data[part] = data[part]._replace(
        records=[record._replace(image_path=str(tmp_path / 'text.jpg')) for record in data[part].records])
    with pytest.raises(InputError, match=f'none of the {message}.*text.jpg'):
        trainer(tmp_path / 'run', data, settings(ALL)).run()


def test_another_number_of_images_is_no_resume(uninterrupted, shapes, tmp_path):
    whole = uninterrupted
    shutil.copytree(whole.folder.root, tmp_path / 'run')
    fewer = [shapes[0]._replace(records=shapes[0].records[:9]), shapes[1]]
    with pytest.raises(InputError, match='13 images, now there are 9'):
        trainer(tmp_path / 'run', fewer).run()


def test_strict_stops_at_a_bad_image_and_names_it(broken, tmp_path):
    with pytest.raises(InputError, match='spoiled-13.jpg.*strict'):
        trainer(tmp_path / 'run', broken, settings(ALL, strict=True)).run()


def test_compute_loss_is_the_same_for_known_and_unknown_sizes():
    model = tiny_network.build(2)
    truth = GroundTruth(tf.constant([[[5., 9., 40., 30.]]]), tf.constant([[1]]), tf.constant([[True]]),
                        tf.ones([1, 1]))
    images = tf.cast(tf.random.stateless_uniform([1, 64, 96, 3], [1, 2], 0, 255, tf.int32), tf.uint8)

    def loss(images):
        return tasks.compute_loss(model, images, truth, YOLOV3_ANCHORS, LossSettings(), False)
    unknown = tf.function(loss, input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8)])(images)
    for name, value in loss(images).items():
        assert float(value) == pytest.approx(float(unknown[name]), rel=1e-5)


def test_the_step_learns_under_adam(shapes, tmp_path):
    run = trainer(tmp_path / 'run', shapes, settings(
        stages.Stage('full', '^$', ((6, 1e-2),)), kind='adam', epochs_between_eval=6))
    run.run()
    lines = run.folder.metrics.read_text().splitlines()
    totals = [json.loads(line)['total'] for line in lines if '"train"' in line]
    assert totals[-1] < totals[0] / 2


def test_counters_are_one_flat_object_and_are_read_back():
    """The keys are those of all versions; unknown keys of an older or newer file are ignored."""
    position = counters.Position(1, 2, 3, 4, 5, True)
    history = counters.History(13, {'total': 2.}, 1, [.5], [.25], .25, 4, {'a.jpg': 'why'}, 99, 12.5, 7)
    flat = counters.to_json(position, history)
    assert set(flat) == {'stage', 'epoch', 'step', 'data_epoch', 'global_step', 'sums', 'summed', 'val_losses',
                         'scores', 'best', 'skipped', 'metrics_bytes', 'finished', 'updates', 'images', 'seconds',
                         'planned', 'extended', 'flags', 'data'}
    assert counters.from_json(json.loads(json.dumps({**flat, 'more': 1}))) == (position, history)


def test_the_progress_line_shows_the_last_score(shapes, tmp_path, monkeypatch):
    """After each validation, and at once in a resumed run; a stage without validation has no score."""
    run = trainer(tmp_path / 'run', shapes, settings(HEAD))
    run.task = run.tasks['detection']
    with run._bar(HEAD) as bar:
        assert not getattr(bar, 'score', '')
        monkeypatch.setattr(run.task, 'validate', lambda: tasks.ValidationResult({'total': 2.}, .375, {}))
        run._validate(HEAD, bar)
        assert bar.score == 'mAP@.5 37.5 %'
    run.history.scores = [.5, .25]
    with run._bar(HEAD) as bar:
        assert bar.score == 'mAP@.5 25.0 %'
