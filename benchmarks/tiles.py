"""Small objects in large images: recall with and without tiles, of a network trained with and without them.

    python benchmarks/tiles.py [--folder=DIR] [--images=8,4] [--size=256] [--epochs=2] [--seed=0]

Draws images of 3000 x 3000 pixels with 60 objects of about 12 pixels each, and some of 60 to 1200, in two classes.
Trains a small network twice for equally many steps, on whole images and on windows (--train_tiles=auto), and evaluates
both on whole images and in tiles. A folder that is there already is used again, runs included.

Columns: recall of the 12-pixel objects and of all others (IoU .5, above the score with the best F1 of that way to
evaluate), AP at IoU .5 of all, detections that no object has, doubles (further detections above that score of the same
class on one object at IoU .3), lost (objects that some tile has found alone and the merged result has not), and CPU
seconds an image.
"""
from __future__ import annotations

import argparse
import os
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

SIDE, SMALL = 3000, 12
COUNTS = {(10, 14): 60, (60, 200): 6, (400, 1200): 2}       # sides in pixels -> objects an image
NAMES = ('disc', 'cross')
TILES = {'plain': (), 'crops': ('--train_tiles=auto',)}


def draw(rng):
    """An image, uint8 BGR [SIDE, SIDE, 3], and its objects (x1, y1, x2, y2, class); large ones first, none overlap."""
    import cv2
    import numpy as np
    image = np.zeros([SIDE, SIDE, 3], np.float32)
    for cells, contrast in ((4, 40), (30, 25), (300, 10)):
        coarse = rng.uniform(-contrast, contrast, [cells, cells, 3]).astype(np.float32)
        image += cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    image = np.clip(image + 110, 0, 255)
    for _ in range(60):                                     # what is no object: lines and rings
        points = rng.integers(0, SIDE, [2, 2]).tolist()
        cv2.line(image, *points, rng.uniform(20, 235, 3), int(rng.integers(1, 8)), cv2.LINE_AA)
        cv2.circle(image, points[0], int(rng.integers(6, 200)), rng.uniform(20, 235, 3), 2, cv2.LINE_AA)
    objects = []
    for (least, most), count in reversed(COUNTS.items()):
        for _ in range(count):
            for _ in range(100):
                side = int(rng.integers(least, most + 1))
                x, y = rng.integers(0, SIDE - side, 2).tolist()
                if all(x > right + 4 or x + side < left - 4 or y > bottom + 4 or y + side < top - 4
                       for left, top, right, bottom, _ in objects):
                    break
            else:
                continue
            kind = int(rng.integers(len(NAMES)))
            _paint(image, x, y, side, kind, rng)
            objects.append((x, y, x + side, y + side, kind))
    return image.astype(np.uint8), objects


def _paint(image, x, y, side, kind, rng):
    import cv2
    import numpy as np
    part = image[y:y + side, x:x + side]
    under, colour = part.mean((0, 1)), rng.uniform(0, 255, 3)
    while np.abs(colour - under).sum() < 200:
        colour = rng.uniform(0, 255, 3)
    mask = np.zeros([side * 4, side * 4], np.float32)
    if NAMES[kind] == 'disc':
        cv2.circle(mask, (2 * side, 2 * side), 2 * side - 1, 1., -1)
    else:
        bar = round(4 * side * .33)
        mask[bar:-bar] = mask[:, bar:-bar] = 1
    mask = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)[..., None]
    part += mask * (colour.astype(np.float32) - part)


def write_set(folder, counts, seed):
    """train.txt and val.txt, with their JPEG files, in the list format of this package."""
    import cv2
    import numpy as np
    (folder / 'names.txt').write_text(''.join(f'{name}\n' for name in NAMES))
    for part, (name, count) in enumerate(counts.items()):
        lines = []
        for number in range(count):
            image, objects = draw(np.random.default_rng([seed, part, number]))
            path = folder / f'{name}{number}.jpg'
            cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
            words = [word for x1, y1, x2, y2, kind in objects for word in (kind, x1, y1, x2, y2)]
            lines.append(' '.join(map(str, (number, path, SIDE, SIDE, *words))))
        (folder / f'{name}.txt').write_text('\n'.join(lines) + '\n')


def train(folder, name, flags):
    """Trains one of ``TILES`` unless it is there; both make the same number of steps."""
    if (folder / 'runs' / name / 'report.html').exists():
        return
    count = flags.images[0]
    windows = count * max(round((SIDE / flags.size) ** 2), 1)
    epochs = flags.epochs if TILES[name] else flags.epochs * windows // count
    every = 1 if TILES[name] else max(epochs // 2, 1)
    command = [sys.executable, str(ROOT / 'train.py'), '--recipe=fast', f'--train_data=list:{folder}/train.txt',
               f'--val_data=list:{folder}/val.txt', f'--classes={folder}/names.txt', f'--runs_dir={folder}/runs',
               f'--name={name}', f'--width_multiplier={flags.width}', f'--image_size={flags.size}',
               f'--full_epochs={epochs}', '--full_lr=1e-3', '--warmup_epochs=0', f'--epochs_between_eval={every}',
               f'--seed={flags.seed}', '--augment=flip,vflip', '--noexport', *TILES[name]]
    print('$', ' '.join(command), flush=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, cwd=folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f'{name}: trained in {after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.0f} CPU seconds',
          flush=True)


class Recorder:
    """A detector that keeps the detections of the last image's tiles."""

    def __init__(self, detector):
        self.detector, self.found = detector, []
        self.class_names, self.settings, self.image_size = detector.class_names, detector.settings, detector.image_size

    def detect(self, images, image_ids=None):
        found = self.detector.detect(images, image_ids)
        self.found += found
        return found


def overlaps(boxes, others):
    """IoU float [n, m]."""
    import numpy as np
    near, far = np.maximum(boxes[:, None, :2], others[:, :2]), np.minimum(boxes[:, None, 2:], others[:, 2:])
    shared = np.maximum(far - near, 0).prod(-1)
    areas = [(some[:, 2:] - some[:, :2]).prod(-1) for some in (boxes, others)]
    return shared / (areas[0][:, None] + areas[1] - shared)


def hits(record, found, least):
    """bool [objects, detections]: alike in class and at least so much IoU."""
    alike = record.classes[:, None] == found.classes
    return alike & (overlaps(record.boxes, found.boxes) >= least)


def evaluate(folder, name, tiled):
    """One row of the table, as a dict."""
    import numpy as np

    from yolov3_tf import export, tiling
    from yolov3_tf.data.readers import specs
    from yolov3_tf.data.readers.class_files import read_class_file
    from yolov3_tf.evaluation import report
    from yolov3_tf.inference import detector, tiles
    from yolov3_tf.postprocess import Suppression
    settings = export.DEFAULTS._replace(suppression=Suppression(score_threshold=.05))
    recorder = Recorder(detector.load(str(folder / 'runs' / name), settings))
    dataset = specs.load(f'list:{folder}/val.txt', read_class_file(str(folder / 'names.txt')))
    looks = tiles.Tiled(recorder, tiling.DEFAULTS) if tiled else recorder
    images = [pathlib.Path(record.image_path).read_bytes() for record in dataset.records]
    recorder.detector.detect(images[:1])                    # builds the graphs
    found, parts, began, cpu = [], [], time.perf_counter(), time.process_time()
    for record, image in zip(dataset.records, images):
        recorder.found = []
        found += looks.detect([image], [record.image_id])
        parts.append(recorder.found)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    scored = report.evaluate(dataset, found)
    least = scored.operating.overall.score if scored.operating else .05
    small, large, wrong, doubles, lost = [], [], 0, 0, 0
    for record, one, of_tiles in zip(dataset.records, found, parts):
        shown = one.above(least)
        matched = hits(record, shown, .5)
        is_small = (record.boxes[:, 2:] - record.boxes[:, :2]).max(1) < 2 * SMALL
        small += matched[is_small].any(1).tolist()
        large += matched[~is_small].any(1).tolist()
        wrong += int((~hits(record, shown, .3).any(0)).sum())
        doubles += int(np.maximum(hits(record, shown, .3).sum(1) - 1, 0).sum())
        if tiled:
            windows = tiling.lay_out(tiling.DEFAULTS, SIDE, SIDE, recorder.image_size)
            windows = np.concatenate([[[0, 0, SIDE, SIDE]], windows])
            alone = np.zeros(len(record.boxes), bool)
            for window, part in zip(windows, of_tiles):
                part = part.above(least)
                part.boxes[:] += np.tile(window[:2], 2)
                alone |= hits(record, part, .5).any(1)
            lost += int((alone & ~matched.any(1)).sum())
    share = sum(map(len, parts)) / len(parts)
    return {'score': f'{least:g}', 'recall 12 px': f'{100 * np.mean(small):.1f}',
            'recall others': f'{100 * np.mean(large):.1f}', 'AP50': f'{100 * scored.summary["mAP"]:.1f}',
            'wrong': str(wrong), 'doubles': str(doubles), 'lost': str(lost) if tiled else '-',
            'tiles': f'{share:.0f}', 'tiles/s': f'{len(parts) * share / seconds:.1f}',
            'CPU s/image': f'{cpu / len(images):.2f}'}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--folder', type=pathlib.Path)
    parser.add_argument('--images', type=lambda text: tuple(map(int, text.split(','))), default=(8, 4))
    parser.add_argument('--size', type=int, default=256)
    parser.add_argument('--width', type=float, default=.25)
    parser.add_argument('--epochs', type=int, default=2)
    parser.add_argument('--seed', type=int, default=0)
    flags = parser.parse_args()
    folder = (flags.folder or pathlib.Path(tempfile.mkdtemp())).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / 'val.txt').exists():
        write_set(folder, dict(zip(('train', 'val'), flags.images)), flags.seed)
    for name in TILES:
        train(folder, name, flags)
    print(f'{platform.processor() or platform.machine()}, seed {flags.seed}, {folder}')
    rows = [(f'{name}, {"in tiles" if tiled else "whole"}', evaluate(folder, name, tiled))
            for name in TILES for tiled in (False, True)]
    print('| trained on, evaluated | ' + ' | '.join(rows[0][1]) + ' |\n|' + '---|' * (1 + len(rows[0][1])))
    for name, row in rows:
        print(f'| {name} | ' + ' | '.join(row.values()) + ' |')


if __name__ == '__main__':
    main()
