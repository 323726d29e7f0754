"""Stands in for train.py in tests: the same artefacts in a blink, made of the flags and the seed alone.

It "trains" epochs of two steps, goes on where it was killed, and can fail. FAKE_HOLD=PREFIX in the environment
makes runs whose name begins so wait after their first step until a file `go-PREFIX` is there, or a signal comes.
"""
import hashlib
import json
import os
import pathlib
import signal
import sys
import time

import h5py
import numpy as np
from absl import app, flags

from yolov3_tf.choices import InputError
from yolov3_tf.data import specs
from yolov3_tf.evaluation import report, results
from yolov3_tf.structures import PictureDetections

FLAGS = flags.FLAGS
flags.DEFINE_string('train_data', None, '')
flags.DEFINE_string('val_data', None, '')
flags.DEFINE_string('classes', None, '')
flags.DEFINE_enum('loss', 'mse', ['mse', 'iou', 'giou'], '')
flags.DEFINE_bool('focal', False, '')
flags.DEFINE_float('ignore_thresh', .5, '')
flags.DEFINE_enum('head', 'coupled', ['coupled', 'separated', 'separated_early'], '')
flags.DEFINE_bool('asymptotic', False, '')
flags.DEFINE_integer('asymptotic_epochs', 2, '')
flags.DEFINE_string('backbone_weights', None, '')
flags.DEFINE_string('init_weights', None, '')
flags.DEFINE_integer('stage1_epochs', None, '')
flags.DEFINE_list('stage2_epochs', None, '')
flags.DEFINE_list('stage2_lr', None, '')
flags.DEFINE_integer('batch_size', 4, '')
flags.DEFINE_bool('export', True, '')
flags.DEFINE_integer('checkpoint_steps', 500, '')
flags.DEFINE_string('name', None, '')
flags.DEFINE_string('runs_dir', 'runs', '')
flags.DEFINE_integer('seed', 0, '')
flags.DEFINE_string('fail_for', None, 'a seed with which the run fails')
MAY_DIFFER = ('name', 'runs_dir', 'checkpoint_steps')
STEPS = 2       # an epoch


def check_flags():
    if FLAGS.head == 'separated_early' and FLAGS.loss == 'mse':
        raise InputError('separated_early with mse: choose an overlap loss')


def main(_):
    folder = pathlib.Path(FLAGS.runs_dir) / FLAGS.name
    for name in ('backbone_weights', 'init_weights'):
        if FLAGS[name].value and not pathlib.Path(FLAGS[name].value).is_file():
            sys.exit(f'error: no checkpoint at {FLAGS[name].value}')
    claim(folder)
    dataset = specs.load(FLAGS.val_data or FLAGS.train_data, split='val')
    (folder / 'labels.txt').write_text(''.join(f'{name}\n' for name in dataset.class_names))
    train(folder)
    if not (FLAGS.asymptotic and not epochs()):
        measure(folder, dataset)


def claim(folder):
    """As RunFolder.claim: a folder belongs to one set of flags, and to nothing else."""
    lines = [f'--{flag.name}={",".join(flag.value) if isinstance(flag.value, list) else flag.value}\n'
             for flag in FLAGS.get_key_flags_for_module(sys.argv[0]) if flag.value is not None]
    text = ''.join(sorted(line for line in lines if line[2:].partition('=')[0] not in MAY_DIFFER))
    path = folder / 'run.flags'
    if folder.exists() and not path.exists() and any(folder.iterdir()):
        sys.exit(f'error: {folder} holds files that are no run of this program')
    if (folder / 'checkpoints' / 'last.h5').exists() and path.read_text() != text:
        sys.exit(f'error: {folder} belongs to a run of other flags')
    (folder / 'checkpoints').mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def epochs():
    return (FLAGS.stage1_epochs or 0) + sum(map(int, FLAGS.stage2_epochs or ['1']))


def train(folder):
    """Counts steps; each one's checkpoint holds how far it is, and the metrics are cut back to it."""
    last, metrics, stop = folder / 'checkpoints' / 'last.h5', folder / 'metrics.jsonl', []
    signal.signal(signal.SIGINT, lambda *_: stop.append(1))
    at = dict(global_step=0, finished=False)
    if last.exists():
        with h5py.File(last) as file:
            at = json.loads(file.attrs['counters'])
    lines = metrics.read_text().splitlines(True)[:at['global_step']] if metrics.exists() else []
    metrics.write_text(''.join(lines))
    hold = os.environ.get('FAKE_HOLD')
    total = STEPS * (epochs() + (FLAGS.asymptotic_epochs if FLAGS.asymptotic else 0))
    while at['global_step'] < total and not stop:
        if FLAGS.fail_for == str(FLAGS.seed) and at['global_step'] == total // 2:
            print('error: the loss is not finite')
            sys.exit(3)
        at['global_step'] += 1
        at['finished'] = at['global_step'] == total
        with open(metrics, 'a') as file:
            score = .8 * at['global_step'] / total + .01 * rng('curve', at['global_step']).random()
            file.write(json.dumps(dict(kind='val', stage='all', step=at['global_step'], mAP=score)) + '\n')
        with h5py.File(f'{last}.part', 'w') as file:
            file.attrs['counters'] = json.dumps(at)
        os.replace(f'{last}.part', last)
        print(f'stage all [#] {at["global_step"]}/{total}', flush=True)
        while hold and FLAGS.name.startswith(hold) and not stop and not os.path.exists(f'go-{hold}'):
            time.sleep(.02)
    if not at['finished']:
        print(f'stopped; saved in {last}')
        sys.exit(130)


def measure(folder, dataset):
    """Boxes beside the true ones, nearer with a smaller ``ignore_thresh``, and some that are nowhere near."""
    detections = []
    for record in dataset.records:
        random = rng('detections', record.image_id)
        moved = record.boxes + random.normal(0, 20 * FLAGS.ignore_thresh, record.boxes.shape)
        wrong = record.boxes * random.uniform(.2, .6, (len(record.boxes), 1))
        upright = [np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])]
        boxes = np.concatenate([np.hstack(upright), wrong]).astype(np.float32)
        detections.append(PictureDetections(record.image_id, boxes, random.random(len(boxes)).astype(np.float32),
                                            np.tile(record.classes, 2).astype(np.int32)))
    results.write_coco(folder / 'evaluation' / 'detections.json', detections)
    score = report.mean_ap(dataset, detections)         # the other measures would take a second
    summary = dict(mAP=score, mAP_07=score, coco_AP=score / 2, mAP_giou=score)
    (folder / 'evaluation' / 'metrics.json').write_text(json.dumps(dict(summary=summary)))


def rng(*words):
    shaping = (FLAGS.loss, FLAGS.focal, FLAGS.head, FLAGS.stage2_epochs, bool(FLAGS.backbone_weights), FLAGS.seed)
    digest = hashlib.sha256(repr((shaping, words)).encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], 'little'))


if __name__ == '__main__':
    app.run(main)
