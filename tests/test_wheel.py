"""The wheel, installed where the checkout is out of reach, does everything: all commands on tiny data.

``make test-wheel`` prints a line a command. The fast proofs, of what wheel and sdist hold, are in test_packaging.py.
"""
import os
import re
import subprocess
import sys
import sysconfig
import venv

import pytest
from fixtures import distributions

from yolov3_tf.cli.program import COMMANDS
from yolov3_tf.data.readers import builtin

pytestmark = pytest.mark.slow

SHAPES = f'{builtin.CACHE}/shapes-12-v{builtin.VERSION}'         # drawn by the training on shapes:12
# Command -> its arguments and the files it leaves; in this order, for most read what an earlier one wrote.
STEPS = {
    'train': (['--train_data=shapes:12', '--loss=giou', '--focal', '--ignore_thresh=0.45', '--width_multiplier=0.0625',
               '--image_size=64', '--augment=flip', '--optimizer=adam', '--head_epochs=0', '--full_epochs=1',
               '--full_lr=1e-3', '--mixed_precision=float32', '--name=tiny'],
              ['runs/tiny/metrics.jsonl', 'runs/tiny/checkpoints/best.h5', 'runs/tiny/saved_model/1/saved_model.pb']),
    'evaluate': (['--model=runs/tiny', '--data=shapes:12', '--output=evaluated'], ['evaluated/metrics.json']),
    'detect': (['--model=runs/tiny', '--output=found', '--score_threshold=0', f'{SHAPES}/JPEGImages'],
               ['found/detections.json', 'found/detections.csv']),
    'export': (['--model=runs/tiny', '--format=tflite', '--output=tiny.tflite'], ['tiny.tflite']),
    'convert': (['--model=runs/tiny/checkpoints/best.h5', '--to_darknet', '--output=tiny.weights'], ['tiny.weights']),
    'data': ([], []),                   # lists what it could fetch; no test asks the network
    'check': (['--data=shapes:12', '--output=report'], ['report/report.txt', 'report/index.html']),
    'anchors': (['--data=shapes:12', '--image_size=64', '--output=shapes.anchors'], ['shapes.anchors', 'shapes.png']),
    'contact-sheet': (['--data=shapes:12', '--image_size=64', '--output=sheet.png'], ['sheet.png']),
    'shards': (['--data=shapes:12', '--output=shards/train'], ['shards/train-00000-of-00001.tfrecord']),
    'figures': (['giou_over_iou', '--pairs=200', '--output=figure6.png'], ['figure6.png']),
    'voc-annotations': ([f'--voc={SHAPES}', '--output=lists', '--splits=train=train,val=val'],
                        ['lists/train.txt', 'lists/val.txt', 'lists/classes.names']),
    'experiments': (['IV', '--data=shapes:12', '--protocol=tiny', '--seeds=1', '--flags=--asymptotic_epochs=1',
                     '--output=tables'], ['tables/table4.md', 'tables/table4.csv', 'tables/table4.png']),
    'tune': (['--recipe=runs/tiny/run.flags', '--settings=full_lr', '--budget=60', '--candidates=1', '--output=tuned'],
             ['tuned/results.jsonl', 'tuned/best.flags']),
}


class Installed:
    """An environment that has the wheel and, by a .pth file, this lane's packages; no checkout on any path."""

    def __init__(self, folder, wheel):
        self.work = folder / 'work'
        self.work.mkdir()
        venv.create(folder / 'environment', symlinks=True)
        scripts = folder / 'environment' / 'bin'
        self.python, self.program = scripts / 'python', scripts / 'yolov3-tf'
        pip = [sys.executable, '-m', 'pip', '--disable-pip-version-check', '--quiet', f'--python={self.python}']
        subprocess.run([*pip, 'install', '--no-deps', '--no-index', str(wheel)], check=True, stdin=subprocess.DEVNULL)
        asked = self.run(self.python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))')
        self.site_packages = asked.stdout.strip()
        with open(os.path.join(self.site_packages, 'lane.pth'), 'w', encoding='utf-8') as file:
            file.write(sysconfig.get_path('purelib') + '\n')

    def run(self, *command):
        environment = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
        return subprocess.run([str(part) for part in command], cwd=self.work, env=environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, check=False)


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp('wheel')
    (folder / 'built').mkdir()
    return Installed(folder, distributions.build(folder / 'built')[1])


def test_every_command_has_a_step():
    assert set(STEPS) == set(COMMANDS)


def test_the_package_comes_from_the_wheel(installed):
    said = installed.run(installed.python, '-c', 'import voc_annotations, yolov3_tf; '
                         'print(yolov3_tf.__version__, yolov3_tf.__file__, voc_annotations.__file__)')
    assert said.returncode == 0, said.stderr
    version, *files = said.stdout.split()
    assert re.fullmatch(r'\d+\.\d+\.\d+', version)
    assert all(file.startswith(installed.site_packages) for file in files), files
    seen = installed.run(installed.python, '-c', 'import sys; print(*sys.path, sep="\\n")').stdout.split('\n')
    assert str(distributions.ROOT) not in seen


@pytest.mark.parametrize('command', STEPS)
def test_a_command_ends_well_out_of_the_checkout(installed, command):
    arguments, left = STEPS[command]
    done = installed.run(installed.program, command, *arguments)
    lines = (done.stdout.strip() or done.stderr.strip()).splitlines()
    print(f'\nyolov3-tf {command:16} status {done.returncode}: {lines[-1] if lines else "(no output)"}', end='')
    assert done.returncode == 0, done.stderr[-3000:]
    assert [name for name in left if not (installed.work / name).exists()] == []
