"""A run finds its own folder again and never uses that of another run."""
import os
import subprocess
import sys

import pytest
from fixtures import tiny_network

from yolov3_tf.errors import InputError
from yolov3_tf.models import checkpoints
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.training.run_folder import RunFolder

FLAGS = {'loss': 'giou', 'focal': 'True', 'name': 'x'}


def test_the_same_flags_are_accepted_and_others_are_refused_by_name(tmp_path):
    first = RunFolder(tmp_path / 'run')
    first.claim(FLAGS, ['cat', 'dog'])
    first.last.touch()
    again = RunFolder(tmp_path / 'run')
    again.claim(FLAGS, ['cat', 'dog'])
    again.claim({**FLAGS, 'name': 'y'}, ['cat', 'dog'], may_differ=('name',))
    assert again.labels.read_text() == 'cat\ndog\n'
    with pytest.raises(InputError, match=r'--loss=giou \(now mse\)'):
        again.claim({**FLAGS, 'loss': 'mse'}, ['cat', 'dog'])
    with pytest.raises(InputError, match=r'--seed=None \(now 3\)'):
        again.claim({**FLAGS, 'seed': '3'}, ['cat', 'dog'])
    with pytest.raises(InputError, match='another order'):
        again.claim(FLAGS, ['dog', 'cat'])


def test_other_flags_may_use_the_folder_of_a_run_without_a_checkpoint(tmp_path):
    folder = RunFolder(tmp_path / 'run')
    folder.claim({**FLAGS, 'augment': 'foo'}, ['cat'])
    folder.claim(FLAGS, ['cat', 'dog'])
    assert folder.labels.read_text() == 'cat\ndog\n' and 'foo' not in folder.flags.read_text()


def test_a_folder_with_other_files_is_not_used(tmp_path):
    (tmp_path / 'labels.txt').write_text('mine')
    with pytest.raises(InputError, match='no run of this program'):
        RunFolder(tmp_path).claim(FLAGS, ['cat'])
    assert (tmp_path / 'labels.txt').read_text() == 'mine'


def test_metrics_are_truncated_to_the_last_checkpoint(tmp_path):
    folder = RunFolder(tmp_path / 'run')
    folder.claim(FLAGS, ['cat'])
    length = folder.append({'step': 1})
    folder.append({'step': 2, 'loss': .5})
    folder.rewind_metrics(length)
    assert folder.append({'step': 2, 'loss': .25}) > length
    assert folder.metrics.read_text() == '{"step": 1}\n{"step": 2, "loss": 0.25}\n'
    folder.rewind_metrics(0)
    assert folder.metrics.read_text() == ''


def test_metrics_that_have_become_shorter_do_not_change(tmp_path, capsys):
    folder = RunFolder(tmp_path / 'run')
    folder.claim(FLAGS, ['cat'])
    folder.append({'step': 1})
    length = folder.append({'step': 2})
    folder.secure_metrics()
    os.truncate(folder.metrics, length - 12)
    folder.rewind_metrics(length)
    assert folder.metrics.read_text() == '{"step": 1}\n' and 'has lost 12 bytes' in capsys.readouterr().err
    folder.metrics.unlink()
    folder.rewind_metrics(length)
    assert not folder.metrics.exists()


def test_a_flag_newer_than_the_run_has_its_default_there(tmp_path):
    folder = RunFolder(tmp_path / 'run')
    folder.claim(FLAGS, ['cat'])
    folder.last.touch()
    folder.claim({**FLAGS, 'new': '0.0'}, ['cat'], defaults={'new': '0.0', 'loss': 'mse'})
    with pytest.raises(InputError, match=r'--new=0.0 \(now 1.0\)'):
        folder.claim({**FLAGS, 'new': '1.0'}, ['cat'], defaults={'new': '0.0'})


HOLDER = """
import sys, time
from yolov3_tf.training.run_folder import RunFolder
folder = RunFolder(sys.argv[1])
folder.claim({'loss': 'giou'}, ['cat'])
print('mine', flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == 'win32', reason='no fcntl')
def test_two_processes_cannot_train_in_one_folder_and_a_killed_process_releases_it(tmp_path):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path)))
    with subprocess.Popen([sys.executable, '-c', HOLDER, str(tmp_path / 'run')], stdout=subprocess.PIPE, text=True,
                          env=environment) as other:
        assert other.stdout.readline() == 'mine\n'
        with pytest.raises(InputError, match='another process trains in it'):
            RunFolder(tmp_path / 'run').claim({'loss': 'giou'}, ['cat'])
        other.kill()
    RunFolder(tmp_path / 'run').claim({'loss': 'giou'}, ['cat'])


def checkpoint(folder, names=('cat', 'dog'), **counters):
    """Writes last.h5 of a tiny network with counters, as the trainer does."""
    model = tiny_network.build(len(names))
    checkpoints.save_model(str(folder.last), model, ModelConfig(names, 1., (96, 96), True),
                           checkpoints.Progress({}, counters))


def test_deleted_run_flags_come_back_from_the_checkpoint(tmp_path, capsys):
    folder = RunFolder(tmp_path / 'run')
    folder.claim(FLAGS, ['cat', 'dog'], may_differ=('name',))
    before = folder.flags.read_text()
    checkpoint(folder, **folder.claimed)
    folder.flags.unlink()
    folder.labels.unlink()
    with pytest.raises(InputError, match=r'--loss=giou \(now mse\)'):
        folder.claim({**FLAGS, 'loss': 'mse'}, ['cat', 'dog'], may_differ=('name',))
    with pytest.raises(InputError, match='other classes'):
        folder.claim(FLAGS, ['cat', 'cow'], may_differ=('name',))
    folder.claim(FLAGS, ['cat', 'dog'], may_differ=('name',))
    assert folder.flags.read_text() == before and folder.labels.read_text() == 'cat\ndog\n'
    assert 'run.flags was gone' in capsys.readouterr().err


def test_run_flags_of_an_older_checkpoint_are_those_of_the_call(tmp_path, capsys):
    folder = RunFolder(tmp_path / 'run')
    folder.claim(FLAGS, ['cat', 'dog'])
    checkpoint(folder)
    folder.flags.unlink()
    folder.claim(FLAGS, ['cat', 'dog'])
    assert folder.flags.exists() and 'the flags of this call are taken' in capsys.readouterr().err


def test_data_that_moved_are_known_by_their_content(tmp_path, capsys):
    folder = RunFolder(tmp_path / 'run')
    flags = {**FLAGS, 'train_data': 'voc:old:train', 'val_data': 'voc:old:val'}
    moved = {**FLAGS, 'train_data': 'voc:new:train', 'val_data': 'voc:new:val'}
    folder.claim(flags, ['cat', 'dog'], data='abc')
    checkpoint(folder, **folder.claimed)
    with pytest.raises(InputError, match=r'--train_data=voc:old:train \(now voc:new:train\)'):
        folder.claim(moved, ['cat', 'dog'], data='other')
    with pytest.raises(InputError, match=r'--loss=giou \(now mse\)'):
        folder.claim({**moved, 'loss': 'mse'}, ['cat', 'dog'], data='abc')
    folder.claim(moved, ['cat', 'dog'], data='abc')
    assert 'the data moved' in capsys.readouterr().err and 'voc:new:train' in folder.flags.read_text()
    folder.claim(moved, ['cat', 'dog'], data='abc')
    assert not capsys.readouterr().err


@pytest.mark.parametrize('name', ['saved_model', 'evaluation'])
def test_results_without_checkpoints_are_not_overwritten(tmp_path, name):
    folder = RunFolder(tmp_path / 'x')
    folder.claim(FLAGS, ['cat'])
    (folder.root / name).mkdir()
    for flags in (FLAGS, {**FLAGS, 'loss': 'mse'}):
        with pytest.raises(InputError, match=f'checkpoints of this run are gone, and .* overwrite .*{name}'):
            folder.claim(flags, ['cat'])


def test_data_that_changed_are_noted(tmp_path, capsys):
    folder = RunFolder(tmp_path / 'x')
    folder.claim(FLAGS, ['cat', 'dog'], data='abc')
    checkpoint(folder, flags=FLAGS, data='abc')
    folder.claim(FLAGS, ['cat', 'dog'], data='abc')
    assert 'changed' not in capsys.readouterr().err
    folder.claim(FLAGS, ['cat', 'dog'], data='other')
    assert 'note: images or boxes have changed since' in capsys.readouterr().err


def test_a_run_without_its_last_checkpoint_does_not_overwrite_the_best(tmp_path):
    folder = RunFolder(tmp_path / 'run')
    folder.claim(FLAGS, ['cat'])
    folder.best.touch()
    with pytest.raises(InputError, match=r'last.h5 is gone.*--init_weights=.*best.h5'):
        folder.claim(FLAGS, ['cat'])
