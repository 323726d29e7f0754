"""What a user may rely on through a bad night: kills, a full disk, two equal runs, numbers that stay finite.

The long proofs are slow-marked; ``make test-slow`` prints their figures with ``PYTEST_FLAGS=-s``.
"""
import ast
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import cv2
import h5py
import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
TRAIN = [sys.executable, str(ROOT / 'train.py'), '--loss=giou', '--focal', '--ignore_thresh=0.45',
         '--width_multiplier=0.125', '--image_size=64', '--log_steps=1', '--name=run', '--noexport',
         '--mixed_precision=float32']
KILLS, INTERVAL = 50, 2


def train(folder, *flags):
    folder.mkdir(exist_ok=True)
    return subprocess.Popen([*TRAIN, *flags], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process):
    output = process.communicate()[0]
    assert process.returncode == 0, output
    return output


def last_step(folder):
    """Of the metrics, however far their last line has come; 0 without any."""
    path = folder / 'runs/run/metrics.jsonl'
    steps = [0]
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            steps.append(json.loads(line)['step'])
        except ValueError:
            pass                                        # cut off by the kill
    return max(steps)


def saved_step(checkpoint):
    """Of a checkpoint, which must be whole wherever the kill fell; 0 before there is one."""
    if not checkpoint.exists():
        return 0
    with h5py.File(checkpoint) as file:
        return json.loads(file.attrs['counters'])['global_step']


def arrays(checkpoint):
    found = {}
    with h5py.File(checkpoint) as file:
        file.visititems(lambda key, item: found.update({key: item[...]}) if isinstance(item, h5py.Dataset) else None)
    return found


def assert_equal_runs(one, other):
    one, other = one / 'runs/run', other / 'runs/run'
    assert (one / 'metrics.jsonl').read_bytes() == (other / 'metrics.jsonl').read_bytes()
    assert json.loads((one / 'evaluation/metrics.json').read_text()) == \
        json.loads((other / 'evaluation/metrics.json').read_text())
    for name in ('last.h5', 'best.h5'):
        mine, its = (arrays(run / 'checkpoints' / name) for run in (one, other))
        assert mine.keys() == its.keys() and len(mine) > 300
        assert all(np.array_equal(mine[key], its[key]) for key in mine)


def calls_of(tree):
    """Full dotted names that a module imports or uses, whatever it calls them, and keywords as ``name=value``."""
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                known[name.asname or name.name.split('.')[0]] = name.name if name.asname else name.name.split('.')[0]
                yield name.name
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ''
            for name in node.names:
                known[name.asname or name.name] = f'{node.module}.{name.name}'
                yield f'{node.module}.{name.name}'
    for node in ast.walk(tree):
        if isinstance(node, (ast.Name, ast.Attribute)):
            first, *rest = ast.unparse(node).split('.')
            yield '.'.join([known.get(first, first), *rest])
        elif isinstance(node, ast.Call):
            yield from (f'{keyword.arg}={ast.unparse(keyword.value)}' for keyword in node.keywords)


FORBIDDEN = {'pickle', 'dill', 'marshal', 'shelve', 'joblib', 'cloudpickle', 'yaml', 'eval', 'exec', 'compile',
             'builtins', '__import__', 'os.system', 'os.popen', 'os.execv', 'subprocess.getoutput', 'tarfile',
             'zipfile', 'archive.extract', 'archive.extractall', 'shutil.unpack_archive', 'tensorflow.py_function',
             'torch.load', 'tensorflow.keras.models.load_model', 'keras.models.load_model', 'ctypes', 'runpy'}
# Only these values of these arguments are safe; any other, a variable too, is not.
SAFE_VALUES = {'allow_pickle': 'False', 'shell': 'False', 'safe_mode': 'True', 'weights_only': 'True'}
ALLOWED = {('yolov3_tf/evaluation/results.py', 'tarfile'),         # writes the comp4 submission, reads none
           ('yolov3_tf/fetch/archives.py', 'tarfile'),             # members are checked, then copied
           ('yolov3_tf/fetch/archives.py', 'zipfile'),
           ('yolov3_tf/export/tflite.py', 'zipfile')}              # two small texts, read into memory


def dangers(tree):
    found = set()
    for name in calls_of(tree):
        parts = name.split('.')
        found |= FORBIDDEN & {'.'.join(parts[:count]) for count in range(1, len(parts) + 1)}
        argument, equals, value = name.partition('=')
        if equals and SAFE_VALUES.get(argument, value) != value:
            found.add(name)
    return found


@pytest.mark.parametrize('source, danger', [
    ('from os import system\nsystem(x)', 'os.system'), ('import os as o\no.system(x)', 'os.system'),
    ('run = eval\nrun(x)', 'eval'), ('import builtins\nbuiltins.eval(x)', 'builtins'),
    ('import numpy as np\nnp.load(x, allow_pickle=flag)', 'allow_pickle=flag'),
    ('import torch as t\nt.load(x)', 'torch.load'), ('import pickle as json', 'pickle'),
    ('import tensorflow as tf\ntf.keras.models.load_model(x)', 'tensorflow.keras.models.load_model'),
    ('from tensorflow.keras.models import load_model as load', 'tensorflow.keras.models.load_model'),
    ('from tensorflow import keras\nkeras.models.load_model(x)', 'tensorflow.keras.models.load_model'),
    ('import subprocess\nsubprocess.run(x, shell=True)', 'shell=True'), ('__import__(x)', '__import__'),
    ('import keras\nkeras.models.load_model(x, safe_mode=no)', 'safe_mode=no')])
def test_the_scan_sees_through_other_names(source, danger):
    assert danger in dangers(ast.parse(source))


def test_nothing_that_runs_code_out_of_a_file_is_used():
    files = [*ROOT.glob('*.py'), *(ROOT / 'yolov3_tf').rglob('*.py'), *(ROOT / 'voc_annotations').rglob('*.py')]
    assert len(files) > 60
    assert not dangers(ast.parse('import re\nre.search(x, y)\nimport numpy\nnumpy.load(x, allow_pickle=False)'))
    for path in files:
        name = path.relative_to(ROOT).as_posix()
        found = dangers(ast.parse(path.read_text(encoding='utf-8')))
        assert {(name, one) for one in found} <= ALLOWED, (name, found)


@pytest.mark.slow
def test_fifty_kills_at_random_moments_change_nothing(tmp_path):
    """A checkpoint every second step, so that some kills fall into the writing of one."""
    flags = ['--train_data=shapes:24', '--batch_size=2', '--augment=flip', '--full_epochs=30', '--full_lr=1e-3',
             '--epochs_between_eval=5', f'--checkpoint_steps={INTERVAL}']
    finish(train(tmp_path / 'whole', *flags))
    chance, lost, in_write, idle = random.Random(0), [], 0, 0
    checkpoints = tmp_path / 'killed/runs/run/checkpoints'
    for _ in range(KILLS):
        before = last_step(tmp_path / 'killed')
        process = train(tmp_path / 'killed', *flags)
        # Every tenth is killed somewhere in its start, the others a few steps and a part of one after it.
        wanted, rest = before + chance.randint(1, 7), chance.uniform(0, .15)
        if chance.random() < .1:
            wanted, rest = 0, chance.uniform(0, 5)
        while process.poll() is None and last_step(tmp_path / 'killed') < wanted:
            time.sleep(.005)
        time.sleep(rest)
        assert process.poll() is None, 'it came to its end before the kills did:\n' + process.communicate()[0]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        in_write += any(checkpoints.glob('*.part'))
        reached = last_step(tmp_path / 'killed')
        lost.append(reached - saved_step(checkpoints / 'last.h5'))
        idle += reached <= before
    total = last_step(tmp_path / 'whole')
    assert KILLS < last_step(tmp_path / 'killed') < total
    finish(train(tmp_path / 'killed', *flags))
    print(f'\n{KILLS} kills in {total} steps, {in_write} inside the writing of a checkpoint; steps lost: at most '
          f'{max(lost)}, {sum(lost) / len(lost):.2f} on average (a checkpoint every {INTERVAL}); {idle} lives without '
          'a new step')
    assert max(lost) <= INTERVAL and idle < KILLS / 4
    assert_equal_runs(tmp_path / 'whole', tmp_path / 'killed')


def resize_disk(folder, mebibytes, *options):
    """Mounts a disk of memory on the folder, or gives the one there another size; whether that is allowed here."""
    command = ['mount', '-t', 'tmpfs', '-o', ','.join([*options, f'size={mebibytes}m']), 'tmpfs', str(folder)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_with_room_the_run_goes_on(tmp_path):
    """Too small for the images, for a checkpoint, for a second beside it while that is written; then large enough."""
    flags = ['--train_data=shapes:24', '--batch_size=4', '--full_epochs=3', '--full_lr=1e-3',
             '--checkpoint_steps=2']
    (tmp_path / 'small').mkdir()
    if not resize_disk(tmp_path / 'small', 1):
        pytest.skip('needs the right to mount a small disk (root on Linux)')
    try:
        finish(train(tmp_path / 'whole', *flags))
        ends = []
        for mebibytes in (1, 5, 8, 11, 16, 21):
            assert resize_disk(tmp_path / 'small', mebibytes, 'remount')
            process = train(tmp_path / 'small', *flags)
            output = process.communicate()[0]
            ends.append((mebibytes, process.returncode, last_step(tmp_path / 'small')))
            assert process.returncode == 2 and 'Traceback' not in output, output
            assert output.strip().splitlines()[-1].startswith('error: ') and 'No space left' in output, output
        assert resize_disk(tmp_path / 'small', 200, 'remount')
        finish(train(tmp_path / 'small', *flags))
        print(f'\ndisk in MiB, exit status, steps made by then: {ends}')
        assert_equal_runs(tmp_path / 'whole', tmp_path / 'small')
    finally:
        subprocess.run(['umount', '--lazy', str(tmp_path / 'small')], check=False)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_run_twice(tmp_path):
    flags = ['--train_data=shapes:24', '--batch_size=4', '--full_epochs=2', '--full_lr=1e-3', '--seed=7']
    for name in ('one', 'two'):
        finish(train(tmp_path / name, *flags))
    assert_equal_runs(tmp_path / 'one', tmp_path / 'two')
    finish(train(tmp_path / 'three', *flags[:-1], '--seed=8'))
    assert (tmp_path / 'three/runs/run/metrics.jsonl').read_bytes() != \
        (tmp_path / 'one/runs/run/metrics.jsonl').read_bytes()


def extreme_images(folder, count=8):
    """Images of noise with boxes of one pixel, of the whole image, of a line, and two hundred at once."""
    chance, lines = np.random.RandomState(0), []
    for index in range(count):
        width, height = int(chance.randint(40, 200)), int(chance.randint(40, 200))
        cv2.imwrite(str(folder / f'{index}.png'), chance.randint(0, 255, [height, width, 3]).astype(np.uint8))
        many = [(x, y, x + 1, y + 1) for x, y in zip(chance.randint(0, 39, 200), chance.randint(0, 39, 200))]
        boxes = [(0, 0, width, height), (0, 0, 1, 1), (width - 1, height - 1, width, height), (0, 5, width, 6),
                 (5, 0, 6, height), (3, 3, 4, 4), (3, 3, 4, 4), *(many if index == 0 else ())]
        words = [str(value) for place, box in enumerate(boxes) for value in (place % 3, *map(int, box))]
        lines.append(' '.join([str(index), str(folder / f'{index}.png'), str(width), str(height), *words]))
    (folder / 'list.txt').write_text('\n'.join(lines) + '\n')
    (folder / 'classes.names').write_text('a\nb\nc\n')


@pytest.mark.slow
@pytest.mark.parametrize('precision', ['float32', 'bfloat16'])
@pytest.mark.parametrize('loss', ['mse', 'ciou'])
def test_two_hundred_epochs_of_extreme_boxes_stay_finite(tmp_path, precision, loss):
    extreme_images(tmp_path)
    finish(train(tmp_path, '--train_data=list:list.txt', '--val_data=list:list.txt', '--classes=classes.names',
                 '--backbone_weights=none', '--batch_size=8', '--full_epochs=200', '--full_lr=1e-3',
                 f'--mixed_precision={precision}', f'--loss={loss}', '--checkpoint_steps=0'))
    lines = [json.loads(line) for line in (tmp_path / 'runs/run/metrics.jsonl').read_text().splitlines()]
    numbers = [value for line in lines for value in line.values() if isinstance(value, (int, float))]
    assert len(lines) == 400 and np.isfinite(numbers).all()
    assert all(np.isfinite(array).all() for array in arrays(tmp_path / 'runs/run/checkpoints/last.h5').values())


@pytest.mark.slow
def test_a_run_writes_below_runs_and_nowhere_else(tmp_path):
    (tmp_path / 'home').mkdir()
    process = subprocess.run([*TRAIN, '--train_data=shapes:12', '--batch_size=4', '--full_epochs=1',
                              '--full_lr=1e-3'], cwd=tmp_path, capture_output=True, text=True, check=False,
                             env=dict(os.environ, HOME=str(tmp_path / 'home'), PYTHONDONTWRITEBYTECODE='1'))
    assert process.returncode == 0, process.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ['home', 'runs']
    home = tmp_path / 'home'
    written = {path.relative_to(home).parts[0] for path in home.rglob('*') if path.is_file()}
    assert written <= {'.cache', '.config', '.matplotlib', '.keras'}       # fonts and settings of the libraries
