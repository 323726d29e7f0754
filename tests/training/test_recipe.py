"""Settings: their types, ranges and names, their texts, and a training from Python."""
import json
import math
import re
import threading

import pytest
import tensorflow as tf
from fixtures import small_cfg

from yolov3_tf.data import pipeline
from yolov3_tf.errors import InputError
from yolov3_tf.losses.criterion import LossSettings
from yolov3_tf.training import flag_texts, from_python, plan, recipe, recipe_check, run, stages
from yolov3_tf.training.flag_texts import Token
from yolov3_tf.training.stopping import StopRequest


def test_python_values_are_converted_to_the_types_of_the_settings():
    made = recipe.make(full_epochs=5, full_lr=[1e-3], train_sizes=[320, 352], head_lr=1, loss='giou', augment='flip')
    assert made == recipe.DEFAULTS._replace(full_epochs=(5,), full_lr=(1e-3,), train_sizes=(320, 352), head_lr=1.,
                                            loss='giou', augment=('flip',))
    assert isinstance(made.head_lr, float)


@pytest.mark.parametrize('settings, message', [
    (dict(epochs=3), "unknown setting 'epochs': is it .*full_epochs"),
    (dict(xyzzy=3), "unknown setting 'xyzzy': expected one of train_data, .*, checkpoint_steps"),
    (dict(batch_size='8'), "batch_size='8': expected a whole number, got str"),
    (dict(batch_size=True), 'expected a whole number, got bool'), (dict(batch_size=8.), 'got float'),
    (dict(focal='yes'), 'expected true or false'), (dict(full_lr='1e-3'), "full_lr='1e-3': expected a number"),
    (dict(seed=None), 'seed=None: expected a whole number'), (dict(full_epochs=[1, None]), 'got NoneType')])
def test_an_unknown_setting_or_another_type_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        recipe.make(**settings)


@pytest.mark.parametrize('settings, message', [
    (dict(head_lr=math.nan), 'a finite number'), (dict(clip_norm=math.nan), 'a finite number'),
    (dict(clip_norm=-math.inf), 'a finite number'), (dict(weight_decay=-1.), '0 or more'),
    (dict(seed=2**32), 'from 0 to 4294967295'), (dict(ignore_thresh=0.), 'more than 0 to 1'),
    (dict(train_sizes=(320, 31)), '--train_sizes=31: expected 32 or more'), (dict(schedule='stairs'), 'one of cosine'),
    (dict(full_epochs=[3], full_lr=(.1,)), 'expected a tuple'),
    (dict(minutes=5.), 'give --schedule=cosine or power'),
    (dict(minutes=5., schedule='cosine', full_epochs=(3,)), 'the first plans the second'),
    (dict(train_tiles='1'), "--train_tiles=1: tiles '1': expected auto, a number of tiles"),
    (dict(train_tiles='auto', keep_features=True), '--keep_features beside --train_tiles: every window is a new image'),
    (dict(train_tiles='auto', asymptotic=True), '--asymptotic beside --train_tiles')])
def test_a_value_out_of_range_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        recipe_check.check(recipe.DEFAULTS._replace(**settings))


def test_every_number_has_a_range_and_every_name_a_table():
    for name, (wanted, _, _) in ((name, recipe.kind(name)) for name in recipe.Recipe._fields):
        assert (name in recipe.RANGES) == (wanted in (int, float)), name
    free = {'train_data', 'val_data', 'classes', 'backbone_weights', 'init_weights', 'cfg', 'anchors', 'name',
            'runs_dir', 'train_tiles'}
    texts = {name for name in recipe.Recipe._fields if recipe.kind(name).type is str}
    assert texts - free == set(recipe.choices())


def test_defaults_are_those_of_the_tables():
    assert recipe.DEFAULTS.augment == pipeline.DEFAULT_AUGMENTATIONS
    assert set(LossSettings._fields) - {'box'} < set(recipe.Recipe._fields)
    assert plan.loss_of(recipe.DEFAULTS) == LossSettings('mse')
    recipe_check.check(recipe.DEFAULTS)


@pytest.mark.parametrize('schedule', stages.SCHEDULES)
@pytest.mark.parametrize('pretrained, epochs', [(True, 40), (False, 80)])
def test_every_schedule_has_a_plan_by_default(schedule, pretrained, epochs):
    """30 + 10 epochs, or 60 + 20 from random weights; a schedule that falls by itself takes them in one piece."""
    *before, full = plan.stages_of(recipe.make(schedule=schedule), pretrained)
    assert full.epochs == epochs and [stage.epochs for stage in before] == [50] * pretrained
    assert (len(full.rates) == 1) == stages.SCHEDULES[schedule].one_piece


@pytest.mark.parametrize('text, name, value', [
    ('--focal', 'focal', True), ('--nofocal', 'focal', False), ('--focal=True', 'focal', True),
    ('--augment=', 'augment', ()), ('--full_lr=1e-3, .0001', 'full_lr', (1e-3, 1e-4)), ('--name=a=b', 'name', 'a=b'),
    ('--stage2_epochs=3,1', 'full_epochs', (3, 1)), ('--clip_norm=inf', 'clip_norm', math.inf)])
def test_texts_are_read_and_written(text, name, value):
    assert flag_texts.read_token(Token(text, 'here')) == (name, value)
    assert flag_texts.value_of(name, flag_texts.text_of(value)) == value


def test_a_stop_request_outside_of_the_main_thread_handles_no_signal():
    entered = []

    def listen():
        with StopRequest().listening():
            entered.append(True)
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert entered


def test_python_trains_with_the_command_s_defaults(tmp_path, monkeypatch, capsys):
    """The second call finds the run finished. The caller's policy is the same before and after.

    The first line says which precision was chosen, and why.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'small.cfg').write_text(small_cfg.TEXT)
    settings = dict(loss='giou', focal=True, ignore_thresh=.45, cfg='small.cfg', image_size=64, augment=[],
                    full_epochs=1, full_lr=1e-3, export=False)
    policy = tf.keras.mixed_precision.global_policy().name
    first = from_python.train_with('shapes:8', **settings)
    assert first.status == run.TRAINED and first.folder.name == 'shapes-giou-focal-ignore0.45'
    assert first.checkpoint.is_file() and first.saved_model is None
    assert re.match(r'precision: b?float\d\d \(.+\)\n', capsys.readouterr().out)
    again = from_python.train_with('shapes:8', **settings)
    assert again.status == run.EVALUATED and again.folder == first.folder
    written = json.loads((first.folder / 'evaluation/metrics.json').read_text())['summary']['mAP']
    assert again.report.summary['mAP'] == pytest.approx(first.report.summary['mAP']) == pytest.approx(written)
    assert tf.keras.mixed_precision.global_policy().name == policy
    with pytest.raises(InputError, match=r'--seed=0 \(now 1\)'):
        from_python.train_with('shapes:8', seed=1, **settings)


def test_the_neighbours_of_a_cell_need_predictions_that_reach_them():
    with pytest.raises(InputError, match='do not reach the neighbouring cells; give --grid_sensitivity=2 too'):
        plan.network_of(recipe.make(assigner='neighbours'), ['a'])
    reaching = plan.network_of(recipe.make(assigner='neighbours', grid_sensitivity=2), ['a'])
    assert reaching.anchors.sensitivity == (2., 2., 2.)


def test_a_grid_sensitivity_replaces_that_of_a_cfg(tmp_path):
    (tmp_path / 'small.cfg').write_text(small_cfg.TEXT)
    settings = dict(cfg=tmp_path / 'small.cfg', backbone_weights='none')
    own = plan.network_of(recipe.make(**settings), ['a']).anchors
    assert own.sensitivity != (1.5, 1.5)
    assert plan.network_of(recipe.make(grid_sensitivity=1.5, **settings), ['a']).anchors.sensitivity == (1.5, 1.5)
    assert plan.network_of(recipe.make(grid_sensitivity=(1.5, 2.), **settings), ['a']).anchors.sensitivity == (1.5, 2.)
    with pytest.raises(InputError, match='one factor of 1 to 2, or 2, finest level first'):
        plan.network_of(recipe.make(grid_sensitivity=(1., 1., 1.), **settings), ['a'])


@pytest.mark.parametrize('data, on_shapes, name', [
    ('voc:A:train', False, 'voc-giou-ignore0.45'), (' list:a.txt, voc:A:b', False, 'list-giou-ignore0.45'),
    (None, False, 'voc-giou-ignore0.45'), ('shapes:12', True, 'shapes-giou-ignore0.45')])
def test_a_run_without_a_name_is_named_after_data_and_loss(data, on_shapes, name):
    assert plan.name_of(recipe.make(train_data=data, loss='giou', ignore_thresh=.45), on_shapes) == name


def test_a_drawing_that_fails_ends_no_run(capsys):
    def fail():
        raise ValueError('no such font')

    run._draw('curves', fail)
    run._draw('report', lambda: 'runs/a/report.html')
    said = capsys.readouterr()
    assert said.err == 'note: curves could not be drawn (ValueError: no such font)\n'
    assert said.out == 'report   runs/a/report.html\n'
