"""docs/PYTHON.md: every block of Python runs, in order, in one process, in a folder with a small set and model."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
from fixtures import small_cfg, small_checkpoint

import yolov3_tf as yolo
from yolov3_tf.data.readers import builtin, specs

ROOT = pathlib.Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'PYTHON.md'
TRAINS = '<!-- needs: training -->'
# The six lines train with the command's defaults, for hours; here they are given a size of seconds.
SMALL = ("small = dict(image_size=64, width_multiplier=.125, backbone_weights='none', full_epochs=[1], full_lr=[1e-3], "
         "mixed_precision='float32')")
SMALL_TRAINING = (
    f'from yolov3_tf.training import from_python; train = from_python.train_with; {SMALL}; '
    'from_python.train_with = lambda *data, **given: train(*data, **{**small, **given})')
# And the network of a cfg, which is made and traced ten times as fast, has no width of its own.
SMALLER_TRAINING = SMALL_TRAINING.replace('**given})', "**given, 'width_multiplier': 1., 'cfg': 'small.cfg'})")

# Two steps of Keras's own loop: to trace the network takes longer than to make them eagerly.
EAGER_FIT = ('import tensorflow as tf; compile_ = tf.keras.Model.compile; '
             'tf.keras.Model.compile = lambda self, **given: compile_(self, run_eagerly=True, **given)')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A set in VOC layout twice, as ``mine`` and as VOC2007's test, a run of a tiny network, an image, a cfg."""
    folder = tmp_path_factory.mktemp('python')
    shapes = pathlib.Path(builtin.prepare(8, str(folder / 'cache')))
    shutil.copytree(shapes, folder / 'mine')
    shutil.copytree(shapes, folder / 'VOCdevkit' / 'VOC2007')
    lists = folder / 'VOCdevkit' / 'VOC2007' / 'ImageSets' / 'Main'
    shutil.copy(lists / 'val.txt', lists / 'test.txt')
    dataset = specs.load(f'voc:{folder / "mine"}:train')
    shutil.copy(dataset.records[0].image_path, folder / 'dog.jpg')
    (folder / 'runs' / 'NAME' / 'checkpoints').mkdir(parents=True)
    small_checkpoint.save(folder / 'runs' / 'NAME' / 'checkpoints' / 'best.h5', dataset.class_names, (64, 64))
    (folder / 'small.cfg').write_text(small_cfg.TEXT)
    return folder


def script_of(trains: bool) -> str:
    """The blocks that train, or the others, at their lines of the page, so that a traceback names them."""
    inside, wanted, lines = False, False, []
    text = PAGE.read_text(encoding='utf-8').splitlines()
    for number, line in enumerate(text):
        if line.startswith('```'):
            inside = not inside and line == '```python'
            wanted = inside and (text[number - 1] == TRAINS) == trains
            lines.append('')
        else:
            lines.append(line if wanted else '')
    return '\n'.join(lines) + '\n'


def run(folder, script):
    (folder / 'page.py').write_text(script, encoding='utf-8')
    done = subprocess.run([sys.executable, '-W', 'error::SyntaxWarning', 'page.py'], cwd=folder, capture_output=True,
                          text=True, timeout=900, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize('first_line', [
    pytest.param(EAGER_FIT, id='eager'), pytest.param('', id='as written', marks=pytest.mark.slow)])
def test_every_block_runs(folder, first_line):
    script = script_of(trains=False)
    assert script.count('yolo.') > 20 and not script.splitlines()[0]
    for name in ('mine.h5', 'drawn.jpg', 'coco_results.json'):
        (folder / name).unlink(missing_ok=True)
    said = run(folder, first_line + script)
    assert '(1, 378, 25)' in said and 'VOC area' in said
    assert (folder / 'drawn.jpg').stat().st_size and (folder / 'coco_results.json').read_text().startswith('[')


@pytest.mark.parametrize('training', [
    pytest.param(SMALLER_TRAINING, id='cfg'), pytest.param(SMALL_TRAINING, id='YOLOv3', marks=pytest.mark.slow)])
def test_blocks_that_train_run(folder, training):
    pytest.importorskip('yolov3_tf.training.from_python')
    script = script_of(trains=True)
    assert script.count('yolo.train(') == 2 and not script.splitlines()[0]
    shutil.rmtree(folder / 'runs' / 'small', ignore_errors=True)
    said = run(folder, training + script)
    assert (folder / 'runs' / 'small' / 'checkpoints' / 'best.h5').is_file()
    assert 'small' in said


def test_every_public_name_is_on_the_page():
    text = PAGE.read_text(encoding='utf-8')
    for package in (yolo, yolo.models, yolo.losses):
        missing = [name for name in package.__all__ if not re.search(rf'\b{name}\b', text)]
        assert not missing, f'{package.__name__}: {missing}'
