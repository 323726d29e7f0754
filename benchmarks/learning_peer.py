"""The peer of ``learning_curve.py``: an ultralytics network from random weights, trained for a number of CPU seconds.

    PEER_PYTHON benchmarks/learning_peer.py train data.yaml FOLDER --seconds=120 [--image_size=192] [name=value ...]
    PEER_PYTHON benchmarks/learning_peer.py detect data.yaml FOLDER [--image_size=192] [name=value ...]

``PEER_PYTHON`` is an environment with ultralytics and torch; this file imports nothing of ours. ``name=value`` are
ultralytics' own settings. Validation, plots and intermediate checkpoints are off, so all CPU time is training. After
each epoch the number of epochs is planned anew from the CPU seconds so far, as ultralytics' own ``time`` setting does
with the clock on the wall: the learning rate, a linear or cosine function of the epoch, ends with the budget. The
network that is kept is the last average of the weights: none is picked by its score.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import time

os.environ['YOLO_OFFLINE'] = '1'
os.environ.setdefault('OMP_NUM_THREADS', '1')
# A first guess, CPU seconds of one pixel of one image: only until the first epoch was measured.
PIXEL_SECONDS = 2e-6
QUIET = dict(plots=False, workers=0, device='cpu', verbose=False, exist_ok=True)


def settings(words):
    """ultralytics' settings from words name=value; numbers, true and false are read as such."""
    def value(text):
        try:
            return json.loads(text.lower())
        except ValueError:
            return text
    return {name: value(text) for name, _, text in (word.partition('=') for word in words)}


def epochs_in(seconds, start, now, done):
    """The number of epochs that ends closest to ``seconds``, at least those done.

    Args:
      seconds, start, now: CPU seconds of the process: its budget, at the begin of its first epoch, after ``done``.
    """
    return max(done, round((seconds - start) / ((now - start) / done)))


def make_trainer(seconds):
    """ultralytics' trainer with the budget."""
    from ultralytics.models.yolo.detect import DetectionTrainer

    class Trainer(DetectionTrainer):
        updates = 0

        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            self.add_callback('on_train_start', self.begin)
            self.add_callback('on_train_epoch_end', self.plan)

        def begin(self, _):
            self.began = time.process_time()

        def plan(self, _):
            self.epochs = epochs_in(seconds, self.began, time.process_time(), self.epoch + 1)
            self.args.epochs = self.epochs
            self._setup_scheduler()
            self.scheduler.last_epoch = self.epoch

        def optimizer_step(self):
            super().optimizer_step()
            self.updates += 1

        def validate(self):
            return {}, 0.

        def final_eval(self):
            pass
    return Trainer


def train(options):
    import torch
    import ultralytics
    import yaml
    torch.set_num_threads(1)
    chosen = settings(options.settings)
    with open(options.data) as file:
        images = len(list(pathlib.Path(yaml.safe_load(file)['path'], 'images', 'train').iterdir()))
    guess = max(2, round(options.seconds / (PIXEL_SECONDS * images * options.image_size ** 2)))
    model = ultralytics.YOLO(options.network, task='detect')
    model.train(trainer=make_trainer(options.seconds), data=options.data, imgsz=options.image_size, epochs=guess,
                seed=options.seed, pretrained=False, amp=False, val=False, save=False, project=str(options.folder),
                name='train', **QUIET, **chosen)
    trainer = model.trainer
    return dict(updates=trainer.updates, epochs=trainer.epochs, optimizer=type(trainer.optimizer).__name__,
                rate=trainer.args.lr0, parameters=sum(one.numel() for one in trainer.model.parameters()),
                versions=dict(ultralytics=ultralytics.__version__, torch=torch.__version__))


def detect(options):
    """Writes predictions.json, COCO's results in pixels of the original images."""
    import ultralytics
    model = ultralytics.YOLO(str(options.folder / 'train' / 'weights' / 'last.pt'))
    model.val(data=options.data, imgsz=options.image_size, batch=8, conf=.001, max_det=100, save_json=True,
              project=str(options.folder), name='detect', **QUIET, **settings(options.settings))
    return dict(results=str(options.folder / 'detect' / 'predictions.json'))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('command', choices=['train', 'detect'])
    parser.add_argument('data')
    parser.add_argument('folder', type=lambda text: pathlib.Path(text).resolve())
    parser.add_argument('settings', nargs='*')
    parser.add_argument('--network', default='yolov3-tiny.yaml')
    parser.add_argument('--seconds', type=float, default=60.)
    parser.add_argument('--image_size', type=int, default=192)
    parser.add_argument('--seed', type=int, default=0)
    options = parser.parse_intermixed_args()
    result = dict(train=train, detect=detect)[options.command](options)
    (options.folder / f'{options.command}.json').write_text(json.dumps(result) + '\n')


if __name__ == '__main__':
    main()
