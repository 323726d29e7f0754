"""One run on one device, on two, on two workers, and on two workers of which one is killed: the same curve.

    python benchmarks/replicas.py [--output=docs/figures/replicas.png] [--folder=FOLDER] [--epochs=6]

Trains a small network on the built-in shapes with ``train.py``, each time from the same seed on the same
global batch with synchronised BatchNorm, and prints how far the losses are from those of one device: by
rounding in the first steps, which training then magnifies like any other difference. In the last variant a worker
gets kill -9 in the middle of an epoch; then both workers are started again, as by a supervisor.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from yolov3_tf.drawing import plots  # noqa: E402

BATCH, IMAGES = 8, 48
FLAGS = ['--loss=giou', '--focal', f'--train_data=shapes:{IMAGES}', '--cfg=small.cfg', '--train_sizes=64',
         '--val_size=64', f'--batch_size={BATCH}', '--augment=flip,crop', '--log_steps=1', '--checkpoint_steps=2',
         '--noexport', '--sync_batch_norm', '--full_lr=1e-2', '--mixed_precision=float32']
VARIANTS = ('one device', 'two devices', 'two workers', 'two workers, one killed')


def convolution(filters, stride, end=False):
    kind = 'activation=linear' if end else 'batch_normalize=1\nactivation=leaky'
    return f'[convolutional]\nfilters={filters}\nsize={1 if end else 3}\nstride={stride}\npad=1\n{kind}\n'


def write_network(path, classes=3):
    layers = [convolution(8, 2), convolution(16, 2), convolution(24, 2), convolution(32, 1)]
    path.write_text('[net]\nwidth=64\nheight=64\n' + ''.join(layers) + convolution(3 * (5 + classes), 1, end=True)
                    + f'[yolo]\nmask=0,1,2\nanchors=8,8, 16,16, 32,32\nclasses={classes}\nnum=3\n')


def start(folder, name, epochs, extra=(), config=None):
    """A process of train.py; its output goes to a file."""
    environment = {key: value for key, value in os.environ.items() if key != 'TF_CONFIG'}
    if config:
        environment['TF_CONFIG'] = json.dumps(config)
    number = config['task']['index'] if config else 0
    # Each worker has a folder of its own: only the chief's is used.
    with open(folder / f'{name}-{number}.txt', 'a') as output:
        return subprocess.Popen([sys.executable, str(ROOT / 'train.py'), *FLAGS, f'--full_epochs={epochs}',
                                 f'--name={name}', f'--runs_dir=runs{number}', *extra], cwd=folder, env=environment,
                                stdout=output, stderr=subprocess.STDOUT)


def start_workers(folder, name, epochs, extra=()):
    """Two workers that communicate over this machine's loopback."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(('127.0.0.1', 0))
        second.bind(('127.0.0.1', 0))
        addresses = [f'127.0.0.1:{free.getsockname()[1]}' for free in (first, second)]
    return [start(folder, name, epochs, extra, {'cluster': {'worker': addresses},
                                                'task': {'type': 'worker', 'index': index}}) for index in range(2)]


def stop_last(processes, metrics, step, how=signal.SIGKILL):
    """Sends the last process a signal once a step is logged; returns the statuses of all."""
    while all(process.poll() is None for process in processes) and not (
            metrics.exists() and f'"step": {step},' in metrics.read_text()):
        time.sleep(.1)
    processes[-1].send_signal(how)
    return [process.wait() for process in processes]


def run(folder, epochs):
    """Variant -> lines of its metrics."""
    write_network(folder / 'small.cfg')
    names = [variant.replace(',', '').replace(' ', '_') for variant in VARIANTS]
    metrics = [folder / 'runs0' / name / 'metrics.jsonl' for name in names]
    finish(folder, [start(folder, names[0], epochs, ['--strategy=none'])])
    finish(folder, [start(folder, names[1], epochs, ['--logical_devices=2'])])
    finish(folder, start_workers(folder, names[2], epochs))
    statuses = stop_last(start_workers(folder, names[3], epochs), metrics[3], IMAGES // BATCH * epochs // 2 + 3)
    print(f'worker 1 killed: worker 0 ended with status {statuses[0]}, worker 1 with {statuses[1]}', flush=True)
    finish(folder, start_workers(folder, names[3], epochs))
    return {variant: plots.read_metrics(path) for variant, path in zip(VARIANTS, metrics)}


def finish(folder, processes):
    statuses = [process.wait() for process in processes]
    if any(statuses):
        raise SystemExit(f'train.py ended with {statuses}: see {folder}/*.txt')


def compare(found):
    """Variant -> largest relative difference of a total loss from one device's, in the first epoch and in all."""
    whole, epoch = found[VARIANTS[0]], IMAGES // BATCH
    apart = {}
    for variant in VARIANTS[1:]:
        lines = found[variant]
        assert [(line['kind'], line['step']) for line in lines] == [(line['kind'], line['step']) for line in whole]
        away = [abs(line['total'] / other['total'] - 1) for line, other in zip(lines, whole)]
        apart[variant] = max(away[:epoch]), max(away)
    return apart


def draw(found, path):
    from matplotlib.figure import Figure
    with plots.styled():
        figure = Figure(figsize=(7, 2.6), dpi=110, layout='constrained')
        loss, score = figure.subplots(1, 2)
        for number, (variant, lines) in enumerate(found.items()):
            style = dict(color=plots.COLOURS[number], linewidth=4.5 - 1.2 * number, label=variant, alpha=.8)
            loss.plot(*plots.series(lines, 'train', 'total'), **style)
            score.plot(*plots.series(lines, 'val', 'mAP'), **style)
        loss.set(title='total loss', xlabel='step', yscale='log')
        score.set(title='validation mAP@.5', xlabel='step')
        loss.legend()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--output', type=pathlib.Path, default=ROOT / 'docs' / 'figures' / 'replicas.png')
    parser.add_argument('--folder', type=pathlib.Path, default=None)
    parser.add_argument('--epochs', type=int, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(options.folder or temporary).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        found = run(folder, options.epochs)
    for variant, (first, most) in compare(found).items():
        print(f'{variant}: total loss within {first:.1e} of one device\'s in the first epoch, within {most:.1e} in all')
    draw(found, options.output)
    print(f'drawn in {options.output}')


if __name__ == '__main__':
    main()
