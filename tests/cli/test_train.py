"""train.py as its users run it: the sentence, kill -9 in every stage, and what it refuses."""
import contextlib
import io
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from fixtures import labelled_folders, small_cfg
from fixtures.program_flags import options

from yolov3_tf.cli import evaluate, program, train
from yolov3_tf.errors import InputError
from yolov3_tf.models import yolov3_network
from yolov3_tf.models.darknet import weights as darknet_weights
from yolov3_tf.training import flag_texts, recipe_check
from yolov3_tf.training import recipe as recipes
from yolov3_tf.training.trainer import Trainer

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAPER_FLAGS = ['--loss=giou', '--focal', '--ignore_thresh=0.45']
SMALL = ['--train_data=shapes:12', '--image_size=64', '--batch_size=4', '--augment=flip', '--log_steps=1',
         '--checkpoint_steps=2']


def start(folder, *flags, network='--width_multiplier=0.125'):
    command = [sys.executable, str(ROOT / 'train.py'), *PAPER_FLAGS, *SMALL, network, '--mixed_precision=float32',
               *flags]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_small(folder, *flags):
    """Exit status and output of the same with a network of 16 layers, in this process."""
    output, before = io.StringIO(), os.getcwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            status = program.exit_code(lambda: train.train(read(*PAPER_FLAGS, *SMALL, '--cfg=small.cfg', *flags)))
    finally:
        os.chdir(before)
    return status, output.getvalue()


@pytest.mark.parametrize('saved', [False, True])
def test_a_second_ctrl_c_says_where_the_run_stands(tmp_path, monkeypatch, saved):
    """The message names the last checkpoint, or says that there is none."""
    def stop(trainer):
        if saved:
            trainer.folder.last.write_bytes(b'')
        raise KeyboardInterrupt
    (tmp_path / 'small.cfg').write_text(small_cfg.TEXT)
    monkeypatch.setattr(Trainer, 'run', stop)
    status, output = run_small(tmp_path, '--name=run', '--backbone_weights=none')
    assert status == 130
    assert ('saved in runs/run/checkpoints/last.h5' if saved else 'before the first checkpoint') in output


def kill_after_step(folder, name, step, *flags):
    """Starts the run and kills it without warning once the metrics show this step."""
    process = start(folder, f'--name={name}', *flags)
    metrics = pathlib.Path(folder) / 'runs' / name / 'metrics.jsonl'
    wanted = f'"step": {step},'
    while process.poll() is None and not (metrics.exists() and wanted in metrics.read_text()):
        time.sleep(.02)
    process.send_signal(signal.SIGKILL)
    output = process.communicate()[0]
    assert process.returncode == -signal.SIGKILL, output


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A working folder with a small cfg."""
    folder = tmp_path_factory.mktemp('work')
    (folder / 'small.cfg').write_text(small_cfg.TEXT)
    return folder


@pytest.fixture(scope='module')
def backbone(folder):
    """A backbone of the test's width beside it, for pretrained weights make a run two stages."""
    darknet_weights.write_backbone(folder / 'narrow.conv.74', yolov3_network.build(1, .125))
    return 'narrow.conv.74'


def arrays(checkpoint):
    """Everything in a checkpoint by name: weights and, in last.h5, the optimiser."""
    found = {}
    with h5py.File(checkpoint) as file:
        file.visititems(lambda key, item: found.update({key: item[...]}) if isinstance(item, h5py.Dataset) else None)
    return found


@pytest.mark.slow
def test_a_run_killed_in_both_stages_ends_like_an_undisturbed_one(folder, backbone):
    flags = [f'--backbone_weights={backbone}', '--head_epochs=2', '--full_epochs=1,1', '--full_lr=1e-3,1e-4']
    whole = start(folder, '--name=whole', *flags)
    output = whole.communicate()[0]
    assert whole.returncode == 0, output
    # Three steps an epoch: steps 1 to 6 are the head stage's, 7 to 12 the full stage's.
    for step in (2, 5, 8, 11):
        kill_after_step(folder, 'killed', step, *flags)
    last = start(folder, '--name=killed', *flags)
    output = last.communicate()[0]
    assert last.returncode == 0 and 'going on from' in output, output
    runs = folder / 'runs'
    assert (runs / 'killed/metrics.jsonl').read_bytes() == (runs / 'whole/metrics.jsonl').read_bytes()
    for name in ('last.h5', 'best.h5'):
        mine, other = (arrays(runs / run / 'checkpoints' / name) for run in ('killed', 'whole'))
        assert mine.keys() == other.keys() and len(mine) > 300
        assert all(np.array_equal(mine[key], other[key]) for key in mine)
    assert (runs / 'killed/saved_model/1/saved_model.pb').exists()


@pytest.mark.parametrize('network', [
    '--cfg=small.cfg', pytest.param('--width_multiplier=0.125', marks=pytest.mark.slow)])
def test_the_sentence_ends_evaluated_drawn_and_exported(folder, network):
    name = network.strip('-').partition('=')[0]
    run = start(folder, f'--name={name}', '--full_epochs=1', '--full_lr=1e-3', network=network)
    output = run.communicate()[0]
    assert run.returncode == 0, output
    assert 'weights: random' in output and 'VOC area' in output
    left = folder / 'runs' / name
    for name in ('run.flags', 'labels.txt', 'metrics.jsonl', 'curves.png', 'checkpoints/last.h5', 'checkpoints/best.h5',
                 'evaluation/metrics.json', 'evaluation/precision_recall.png', 'saved_model/1/saved_model.pb'):
        assert (left / name).stat().st_size, name
    lines = (left / 'metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['kind'] for line in lines] == ['train'] * 3 + ['val']
    found = json.loads((left / 'evaluation/detections.json').read_text())
    assert {'image_id', 'category_id', 'bbox', 'score'} <= set(found[0])
    flags = (left / 'run.flags').read_text()
    assert '--loss=giou\n' in flags and '--ignore_thresh=0.45\n' in flags and '--focal=True\n' in flags


@pytest.fixture(scope='module')
def classes(folder):
    """Output of a run of classification alone, ``runs/classes`` in the working folder."""
    status, output = run_small(folder, '--name=classes', '--asymptotic', '--asymptotic_epochs=1', '--head_epochs=0',
                               '--full_epochs=0')
    assert status == 0, output
    return output


def start_from_classes(folder):
    """Exit status and output of a detector of other parts, from the backbone of ``runs/classes``."""
    return run_small(folder, '--name=detector', '--backbone_weights=runs/classes/checkpoints/last.h5', '--noexport',
                     '--formulation=yolov4', '--head=separated', '--schedule=cosine', '--head_epochs=1',
                     '--full_epochs=1', '--full_lr=1e-3')


def test_classification_alone_leaves_a_backbone_for_another_run(folder, classes, monkeypatch):
    """The other run begins with its weights; to its end it is a slow test."""
    assert 'classification AP' in classes
    assert not (folder / 'runs/classes/checkpoints/best.h5').exists()
    assert set(json.loads((folder / 'runs/classes/evaluation/presence.json').read_text())) == {'mean', 'per_class'}
    found = []

    def stop(trainer):
        found.extend([[stage.name for stage in trainer.settings.stages],
                      trainer.model.get_layer('backbone_conv_000').get_weights()])
        raise KeyboardInterrupt
    monkeypatch.setattr(Trainer, 'run', stop)
    status, output = start_from_classes(folder)
    assert status == 130 and 'backbone from runs/classes' in output, output
    names, (kernel,) = found
    assert names == ['head', 'full']
    trained = arrays(folder / 'runs/classes/checkpoints/last.h5')
    np.testing.assert_array_equal(kernel, trained['weights/backbone_conv_000/kernel'])


@pytest.mark.slow
def test_a_detector_is_trained_from_the_backbone_of_classification(folder, classes):
    status, output = start_from_classes(folder)
    assert status == 0 and 'backbone from runs/classes' in output, output
    assert not (folder / 'runs/detector/saved_model').exists()
    lines = (folder / 'runs/detector/metrics.jsonl').read_text().splitlines()
    assert [json.loads(line)['stage'] for line in lines] == ['head'] * 4 + ['full'] * 4


@pytest.fixture(scope='module')
def finished(folder):
    """A run of one epoch in the working folder, with its output; classification and detection, so of two stages."""
    flags = ['--name=finished', '--asymptotic', '--asymptotic_epochs=1', '--head_epochs=0', '--full_epochs=1',
             '--full_lr=1e-3', '--noexport']
    status, output = run_small(folder, *flags)
    assert status == 0, output
    return folder / 'runs/finished', flags


def make_old(run):
    """Changes a run's folder to that of version 0.1: the names of flags, stages and one counter."""
    new_names = {new: old for old, new in flag_texts.OLD_NAMES.items()}
    lines = [line[2:].partition('=') for line in (run / 'run.flags').read_text().splitlines()]
    old_flags = ''.join(f'--{new_names.get(name, name)}={value}\n' for name, _, value in lines)
    (run / 'run.flags').write_text(old_flags)
    assert '--stage2_lr=0.001\n' in old_flags and 'full_' not in old_flags
    text = (run / 'metrics.jsonl').read_text()
    text = text.replace('"stage": "asymptotic"', '"stage": "classify"').replace('"stage": "full"', '"stage": "all"')
    (run / 'metrics.jsonl').write_text(text)
    with h5py.File(run / 'checkpoints/last.h5', 'a') as file:
        counters = json.loads(file.attrs['counters'])
        counters['pictures'] = counters.pop('images')
        counters['metrics_bytes'] = len(text.encode())
        file.attrs['counters'] = json.dumps(counters)
        del file.attrs['checksums']     # that version wrote none


def test_a_run_folder_of_version_0_1_is_read_and_resumed(folder, finished):
    run, flags = finished
    make_old(run)
    status, output = run_small(folder, *flags)
    assert status == 0 and 'this run is finished; it is evaluated again' in output, output
    assert (run / 'curves.png').stat().st_size
    status, output = run_small(folder, *flags, '--full_epochs=2')
    assert status == 2 and '--full_epochs=1 (now 2)' in output, output
    replayed = train.recipe_of(options(train, f'--recipe={run}/run.flags'))
    assert replayed.full_epochs == (1,) and replayed.full_lr == (1e-3,)


def run_on_folder(folder, *words):
    """Exit status and output of ``train mine`` with a network of 16 layers, in this process."""
    output, before = io.StringIO(), os.getcwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            given = options(train, '--cfg=small.cfg', '--image_size=64', '--noexport', '--full_epochs=1', *words)
            status = program.exit_code(lambda: train.run(['mine'], given))
    finally:
        os.chdir(before)
    return status, output.getvalue()


def test_a_folder_is_trained_on_goes_on_and_is_evaluated_on_what_it_held_out(folder, capsys, monkeypatch):
    labelled_folders.images(folder / 'mine', 'images/{}.jpg', range(10))
    labelled_folders.texts(folder / 'mine', 'Annotations/{}.xml', range(10), labelled_folders.xml_of)
    status, output = run_on_folder(folder)
    assert status == 0 and 'recipe: fast' in output and 'its spec is --train_data=xml:mine\n' in output, output
    run, = folder.glob('runs/mine-*')
    drawn = (run / 'split/val.txt').read_text()
    assert len(drawn.splitlines()) == 2 and len((run / 'split/train.txt').read_text().splitlines()) == 8
    labelled_folders.images(folder / 'mine', 'images/{}.jpg', [10])
    labelled_folders.texts(folder / 'mine', 'Annotations/{}.xml', [10], labelled_folders.xml_of)
    status, output = run_on_folder(folder)
    assert status == 0 and 'this run is finished' in output and 'mine/images/10.jpg came after' in output, output
    assert (run / 'split/val.txt').read_text() == drawn
    monkeypatch.chdir(folder)
    given = options(evaluate, f'--model={run}', '--data=mine', '--output=evaluated')
    assert program.exit_code(lambda: evaluate.run([], given)) == 0
    printed = capsys.readouterr()
    assert f'the images that {run} has held out: list:runs/{run.name}/split/val.txt' in printed.err
    assert 'over 2 images' in printed.out


def read(*flags):
    return train.recipe_of(options(train, *flags))


def test_flags_become_values_and_override_a_recipe(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)                 # recipes are found from any folder
    recipe = read('--recipe=bccd', '--full_epochs=1, 2', '--nofocal', '--batch_size=4', '--clip_norm=inf', '--augment=')
    assert recipe == recipes.DEFAULTS._replace(
        train_data='voc:BCCD:train', val_data='voc:BCCD:val', backbone_weights='none', width_multiplier=.25,
        image_size=192, augment=(), optimizer='adam', full_epochs=(1, 2), full_lr=(1e-3, 1e-4), focal=False,
        clip_norm=float('inf'))
    (tmp_path / 'mine.flags').write_text('# mine\n--focal\n--train_sizes=320,352\n')
    assert read('--recipe=mine.flags') == recipes.DEFAULTS._replace(focal=True, train_sizes=(320, 352))
    with pytest.raises(InputError, match='--recipe=bcdc: expected bccd, fast, nano, paper, quick, reference or a file'):
        read('--recipe=bcdc')


@pytest.mark.parametrize('name', sorted(path.stem for path in flag_texts.RECIPES.glob('*.flags')))
def test_every_recipe_is_valid(name):
    """Its flags are read and checked; only its data files may be missing here."""
    recipe = read(f'--recipe={name}')
    assert recipe != recipes.DEFAULTS
    recipe_check.check(recipe)


@pytest.mark.parametrize('flags', [
    [*PAPER_FLAGS, '--image_size=64'], ['--cfg=a.cfg', '--optimizer=adam'], ['--init_weights=a.h5'],
    ['--asymptotic', '--schedule=cosine', '--loss=giou'], ['--train_sizes=64,96', '--ema_decay=0.9998']])
def test_run_flags_are_read_back_to_the_same_recipe(flags, tmp_path):
    """run.flags has every default too, which must not count as given."""
    recipe = read(*flags)
    recipe_check.check(recipe)
    written = flag_texts.texts_of(recipe)
    assert len(written) > 30
    (tmp_path / 'run.flags').write_text(''.join(f'--{name}={value}\n' for name, value in written.items()))
    for how in ('flagfile', 'recipe'):
        replayed = read(f'--{how}={tmp_path}/run.flags')
        recipe_check.check(replayed)
        assert replayed == recipe


def test_help_has_a_text_and_the_names_for_every_setting():
    values = options(train)
    descriptions = recipes.descriptions()
    assert set(descriptions) == set(recipes.Recipe._fields)
    for name, names in recipes.choices().items():
        assert f'One of {", ".join(names)}.' in values[name].help
    for name, text in descriptions.items():
        assert text.endswith('.') and values[name].help.startswith(text)


@pytest.mark.parametrize('typed, words', [
    ('epochs', '--full_epochs'), ('lr', '--head_lr'), ('resume', 'type the same command again'),
    ('batch', '--batch_size'), ('imgsz', '--image_size'), ('weights', '--init_weights'), ('data', '--train_data'),
    ('stage1_epochs', '--head_epochs'), ('stage1_lr', '--head_lr'), ('stage2_epochs', '--full_epochs'),
    ('stage2_lr', '--full_lr')])
def test_flags_of_other_programs_have_an_answer(typed, words):
    answer = train.ANSWERS[typed]
    assert words in answer and '\n' not in answer and not answer.startswith('--')
    named = [name for name in recipes.Recipe._fields if f'--{name}' in answer]
    assert typed == 'resume' or named           # existing flags
    assert typed not in options(train)


def test_without_data_the_error_explains_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert program.exit_code(lambda: train.train(read(*PAPER_FLAGS))) == 2
    error = capsys.readouterr().err
    for words in ('error: no data', 'VOCtrainval_06-Nov-2007.tar', '--train_data=voc:DIR:train', 'make demo'):
        assert words in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('flags, message', [
    (['--train_data=voc:nowhere:train'], 'nowhere: no such folder'),
    (['--val_fraction=1'], '--val_fraction=1.0: expected more than 0 to 0.9'),
    (['--train_data=voc:nowhere:train', '--val_data=voc:nowhere:val'], 'nowhere'),
    (['--full_epochs=1,2', '--full_lr=1e-3'], 'as many learning rates'),
    (['--image_size=100'], 'multiple'),
    (['--matched=best', '--loss=mse'], 'overlap'),
    (['--mixed_precision=float16'], '100 times slower'),
    (['--train_sizes=320,352'], 'single size'),
    (['--init_weights=a.h5', '--backbone_weights=b.h5'], 'already brings a backbone'),
    (['--cfg=a.cfg'], 'how wide every layer is'),
    (['--asymptotic_epochs=3'], 'without --asymptotic'),
    (['--schedule=cosine', '--full_epochs=3,1', '--full_lr=1e-3,1e-4'], 'one rate'),
    (['--schedule=plateau', '--patience=0'], 'patience'),
    (['--decay_power=2'], 'only --schedule=power'),
    (['--restart_cycles=2'], '--restart_cycles beside --schedule=piecewise: only --schedule=restarts has cycles'),
    (['--restart_factor=1', '--schedule=cosine'], '--restart_factor beside --schedule=cosine'),
    (['--restart_factor=.5', '--schedule=restarts'], '--restart_factor=0.5: expected from 1 to 10'),
    (['--schedule=restarts', '--full_epochs=3', '--full_lr=1e-3'], 'in 3 epochs of the full stage: a cycle would be'),
    (['--optimizer=adam', '--momentum=0.8'], 'only sgd'),
    (['--objectness=squared'], 'focal'),
    (['--formulation=yolov1'], 'focal'),
    (['--grid_sensitivity=1.1,1.2'], 'one factor of 1 to 2, or 3'),
    (['--assign_thresh=0.5'], 'assign'),
    (['--head_epochs=0', '--full_epochs=0'], 'no epoch'),
    (['--strategy=multiworker'], 'TF_CONFIG'),
    (['--strategy=none', '--logical_devices=2'], 'leave it out'),
    (['--accumulate_steps=3'], 'a multiple of'),
    (['--accumulate_steps=2', '--positive_weight=balanced'], 'the whole batch'),
    (['--stop_after=2', '--epochs_between_eval=3'], 'validated again'),
    (['--name=../elsewhere'], 'the name of one folder'),
    (['--name=a/b'], 'the name of one folder'),
    (['--name=..'], 'the name of one folder'),
    (['--anchors=nowhere.txt'], 'nowhere.txt'),
    (['--loss=diuo'], '--loss=diuo: expected one of ciou, diou'),
    (['--augment=flip,flop'], '--augment=flop: expected one of'),
    (['--batch_size=0'], '--batch_size=0: expected 1 or more'),
    (['--momentum=1'], '--momentum=1.0: expected from 0 to 0.9999'),
    (['--weight_decay=nan'], 'a finite number'), (['--head_lr=inf'], 'a finite number'),
    (['--full_epochs=1', '--full_lr=0'], '--full_lr=0.0: expected more than 0'),
    (['--grid_sensitivity=1,2,3'], 'from 1 to 2'),
])
def test_wrong_settings_are_refused_in_one_line(folder, flags, message, capsys, monkeypatch):
    if os.environ.get('CUDA_VISIBLE_DEVICES'):
        pytest.skip('float16 is fine on a GPU')
    monkeypatch.chdir(folder)
    recipe = read(*PAPER_FLAGS, *SMALL, '--width_multiplier=0.125', *flags)
    assert program.exit_code(lambda: train.train(recipe)) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ') and message in error
