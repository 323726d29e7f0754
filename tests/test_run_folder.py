"""A run finds its own folder again and no other run's."""
import pytest

from yolov3_tf.choices import InputError
from yolov3_tf.run_folder import RunFolder

FLAGS = {'loss': 'giou', 'focal': 'True', 'name': 'x'}


def test_the_same_flags_come_back_and_others_are_refused_by_name(tmp_path):
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


def test_a_run_that_never_saved_gives_its_folder_to_other_flags(tmp_path):
    folder = RunFolder(tmp_path / 'run')
    folder.claim({**FLAGS, 'augment': 'foo'}, ['cat'])
    folder.claim(FLAGS, ['cat', 'dog'])
    assert folder.labels.read_text() == 'cat\ndog\n' and 'foo' not in folder.flags.read_text()


def test_a_folder_that_is_no_run_is_left_alone(tmp_path):
    (tmp_path / 'labels.txt').write_text('mine')
    with pytest.raises(InputError, match='no run of this program'):
        RunFolder(tmp_path).claim(FLAGS, ['cat'])
    assert (tmp_path / 'labels.txt').read_text() == 'mine'


def test_metrics_rewind_to_the_last_checkpoint(tmp_path):
    folder = RunFolder(tmp_path / 'run')
    folder.claim(FLAGS, ['cat'])
    length = folder.append({'step': 1})
    folder.append({'step': 2, 'loss': .5})
    folder.rewind_metrics(length)
    assert folder.append({'step': 2, 'loss': .25}) > length
    assert folder.metrics.read_text() == '{"step": 1}\n{"step": 2, "loss": 0.25}\n'
    folder.rewind_metrics(0)
    assert folder.metrics.read_text() == ''
