"""What a run's folder stands for, finished, cleared and just begun; other paths stand for themselves."""
import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.models.model_files import resolve


@pytest.fixture
def run(tmp_path):
    (tmp_path / 'run' / 'checkpoints').mkdir(parents=True)
    (tmp_path / 'run' / 'run.flags').touch()
    return tmp_path / 'run'


def test_a_finished_run_is_its_best_checkpoint(run):
    (run / 'saved_model' / '1').mkdir(parents=True)
    for name in ('best.h5', 'last.h5'):
        (run / 'checkpoints' / name).touch()
    assert resolve(run) == resolve(str(run), checkpoint=True) == str(run / 'checkpoints' / 'best.h5')


def test_a_run_without_checkpoints_is_its_saved_model(run):
    (run / 'saved_model' / '1').mkdir(parents=True)
    (run / 'checkpoints').rmdir()
    assert resolve(run) == str(run / 'saved_model')
    with pytest.raises(InputError, match=r'run: expected checkpoints.best\.h5 in this run'):
        resolve(run, checkpoint=True)


def test_a_run_before_its_first_validation_is_refused(run):
    with pytest.raises(InputError, match=r'best\.h5 in this run, which its first validation writes: wait for it$'):
        resolve(run)
    (run / 'checkpoints' / 'last.h5').touch()
    with pytest.raises(InputError, match=r'wait for it, or give .*last\.h5, where the run stands now'):
        resolve(run)


@pytest.mark.parametrize('name', ['a.h5', 'a.tflite', 'a.onnx', 'a.weights', 'saved_model', 'nothing'])
def test_other_paths_are_themselves_and_export_takes_checkpoints_alone(tmp_path, name):
    (tmp_path / 'saved_model').mkdir()
    assert resolve(tmp_path / name) == str(tmp_path / name)
    if name != 'a.h5':
        with pytest.raises(InputError, match=f'{name}: expected a checkpoint'):
            resolve(tmp_path / name, checkpoint=True)
