"""A run finds its own folder again and no other run's."""
import pytest

from yolov3_tf.choices import InputError
from yolov3_tf.run_folder import RunFolder

FLAGS = {'loss': 'giou', 'focal': 'True', 'name': 'x'}


def test_the_same_flags_come_back_and_others_are_refused_by_name(tmp_path):
    RunFolder(tmp_path / 'run').claim(FLAGS, ['cat', 'dog'])
    again = RunFolder(tmp_path / 'run')
    again.claim(FLAGS, ['cat', 'dog'])
    again.claim({**FLAGS, 'name': 'y'}, ['cat', 'dog'], may_differ=('name',))
    assert again.labels.read_text() == 'cat\ndog\n'
    with pytest.raises(InputError, match=r'--loss=giou \(now mse\)'):
        again.claim({**FLAGS, 'loss': 'mse'}, ['cat', 'dog'])
    with pytest.raises(InputError, match=r'--seed=None \(now 3\)'):
        again.claim({**FLAGS, 'seed': '3'}, ['cat', 'dog'])


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
