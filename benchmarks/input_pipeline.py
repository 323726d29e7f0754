"""Input pipeline: images/s of ours against the reference's design, alternating rounds in one process.

    python benchmarks/input_pipeline.py [--data=voc:VOCdevkit:train] [--threads=1,2] [--rounds=5] [--each]

The reference's design, written here after its config: each image is read, distorted in HSV, expanded,
cropped by trial and error, resized with a random interpolation and flipped by NumPy and OpenCV, then a Python
loop over its boxes fills the target tensors of three scales; tf.data calls all that through py_function.
Ours does the same augmentations and leaves the targets to the training step. Neither uses mix-up.
With --each, it prints the cost of every augmentation outside of the default list, relative to the default list.
On a busy machine ratios are more reliable than absolute numbers, and CPU time per image is the most reliable.
"""
import argparse
import os
import platform
import resource
import statistics
import sys
import tempfile
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

import cv2
import numpy as np
import tensorflow as tf

from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.data import pipeline
from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, Record

ANCHORS = np.array(YOLOV3_ANCHORS.sizes, np.float32).reshape(-1, 2)
INTERPOLATIONS = [cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_AREA, cv2.INTER_LANCZOS4]


def main():
    flags = parse_flags()
    cv2.setNumThreads(1)        # in both, only tf.data runs in parallel
    with tempfile.TemporaryDirectory() as folder:
        dataset = specs.load(flags.data, None) if flags.data else draw_photographs(folder, 64)
        print(f'{platform.machine()}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; TensorFlow '
              f'{tf.__version__}, OpenCV {cv2.__version__}; {len(dataset.records)} images -> {flags.image_size}, '
              f'batch {flags.batch_size}, median of {flags.rounds} rounds')
        for threads in flags.threads:
            (each if flags.each else compare)(dataset, flags, threads)


def parse_flags():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--data', help='dataset spec; default: drawn images with the spectrum of photographs')
    parser.add_argument('--image_size', type=int, default=416)
    parser.add_argument('--batch_size', type=int, default=8)
    parser.add_argument('--threads', type=lambda text: [int(part) for part in text.split(',')],
                        default=sorted({1, 2, os.cpu_count()}))
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--batches', type=int, default=16, help='timed batches a round')
    parser.add_argument('--each', action='store_true', help='cost of the augmentations beyond the default list')
    return parser.parse_args()


def compare(dataset, flags, threads):
    settings = pipeline.PipelineSettings(flags.batch_size, (flags.image_size,), threads=threads)
    entrants = {'ours': pipeline.training_batches(dataset, settings, seed=0),
                'reference design': reference_batches(dataset, flags.image_size, flags.batch_size, threads)}
    results = {name: [] for name in entrants}
    for number in range(flags.rounds + 1):
        for name, batches in entrants.items():
            result = measure(batches.take(flags.batches + 1), flags.batch_size)
            if number:          # the first round builds the graphs
                results[name].append(result)
    for name, rounds in results.items():
        speeds, costs = zip(*rounds)
        print(f'{threads} threads  {name:17} {statistics.median(speeds):6.0f} images/s, '
              f'{statistics.median(costs):5.2f} ms CPU an image')
    ratios = [[a / b for a, b in zip(*pair)] for pair in zip(results['ours'], results['reference design'])]
    speed, cost = (statistics.median(column) for column in zip(*ratios))
    print(f'{threads} threads  ours / reference design: {speed:.2f} times the images/s, '
          f'{1 / cost:.2f} times less CPU an image')


def each(dataset, flags, threads):
    """Prints the CPU time of an image with one more augmentation than the default list, and its ratio to that list."""
    usual = pipeline.DEFAULT_AUGMENTATIONS
    more = [name for name in pipeline.AUGMENTATIONS if name not in usual]
    lists = {'default': usual, **{name: (*usual, name) for name in more}, 'all': pipeline.AUGMENTATIONS}
    streams = {name: pipeline.training_batches(dataset, pipeline.PipelineSettings(
        flags.batch_size, (flags.image_size,), augment=names, threads=threads), seed=0)
        for name, names in lists.items()}
    costs = {name: [] for name in lists}
    for number in range(flags.rounds + 1):
        for name, batches in streams.items():
            _, cost = measure(batches.take(flags.batches + 1), flags.batch_size)
            if number:
                costs[name].append(cost)
    for name, rounds in costs.items():
        ratio = statistics.median(a / b for a, b in zip(rounds, costs['default']))
        print(f'{threads} threads  {name:10} {statistics.median(rounds):6.2f} ms CPU an image, {ratio:.2f} times the '
              'default list')


def measure(batches, batch_size):
    """Images/s and CPU milliseconds an image, from the first batch's arrival to the last one's."""
    stream = iter(batches)
    next(stream)
    wall, cpu = time.perf_counter(), cpu_seconds()
    images = sum(len(batch[0]) for batch in stream)
    assert images % batch_size == 0
    return images / (time.perf_counter() - wall), 1e3 * (cpu_seconds() - cpu) / images


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def draw_photographs(folder, count):
    """500 x 375 JPEGs with a photograph's spectrum (noise of every scale), so that they decode as slowly."""
    records, rng = [], np.random.default_rng(0)
    for number in range(count):
        image = np.full([375, 500, 3], 128, np.float32)
        for octave in range(1, 9):
            noise = rng.normal(0, 90 / octave ** 1.3, [3 * 2 ** octave // 4 + 1, 2 ** octave + 1, 3])
            image += cv2.resize(noise.astype(np.float32), (500, 375), interpolation=cv2.INTER_CUBIC)
        path = os.path.join(folder, f'{number}.jpg')
        cv2.imwrite(path, np.clip(image, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 92])
        near = rng.uniform(0, [300, 200], [3, 2])
        boxes = np.concatenate([near, near + rng.uniform(20, [200, 170], [3, 2])], axis=1).astype(np.float32)
        none = np.zeros(3, bool)
        records.append(Record(path, str(number), 500, 375, boxes, np.arange(3, dtype=np.int32), none, none,
                              np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)))
    return Dataset(records, ['a', 'b', 'c'], [])


def reference_batches(dataset, size, batch_size, threads):
    """The reference's design: one py_function makes a batch."""
    records, classes = dataset.records, len(dataset.class_names)
    grids = [size // stride for stride in (32, 16, 8)]

    def load(indices):
        rows = [reference_sample(records[index], size, classes) for index in indices.numpy()]
        images, *targets = zip(*rows)
        return (np.stack(images), *(np.stack(level) for level in targets))

    def shaped(indices):
        parts = tf.py_function(load, [indices], [tf.float32] * 4)
        parts[0].set_shape([None, size, size, 3])
        for part, grid in zip(parts[1:], grids):
            part.set_shape([None, grid, grid, 3, 5 + classes])
        return tuple(parts)

    indices = tf.data.Dataset.range(len(records)).shuffle(len(records)).repeat().batch(batch_size)
    return indices.map(shaped, num_parallel_calls=threads).prefetch(2)


def reference_sample(record, size, classes):
    rng = np.random.default_rng()
    image, boxes = cv2.imread(record.image_path), record.boxes.copy()
    image = distort_colour(image, rng)
    if rng.random() < .5:
        image, boxes = expand(image, boxes, rng)
    boxes, class_ids, (x, y, w, h) = crop_by_trial(boxes, record.classes, image.shape, rng)
    image, boxes = letterbox(image[y:y + h, x:x + w], boxes, size, INTERPOLATIONS[rng.integers(5)])
    if rng.random() < .5:
        image = cv2.flip(image, 1)
        boxes[:, [0, 2]] = size - boxes[:, [2, 0]]
    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.float32) / 255
    return (image, *fill_targets(boxes, class_ids, size, classes))


def distort_colour(image, rng):
    if rng.random() < .5:
        image = np.clip(image.astype(np.float32) + rng.uniform(-32, 32), 0, 255).astype(np.uint8)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.float32)
    if rng.random() < .5:
        hsv[..., 0] = (hsv[..., 0] + rng.uniform(-18, 18)) % 180
    if rng.random() < .5:
        hsv[..., 1] *= rng.uniform(.5, 1.5)
    if rng.random() < .5:
        hsv[..., 2] *= rng.uniform(.5, 1.5)
    return cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2BGR)


def expand(image, boxes, rng):
    height, width = image.shape[:2]
    ratio = rng.uniform(1, 4)
    canvas = np.full([int(height * ratio), int(width * ratio), 3], 128, np.uint8)
    y, x = rng.integers(canvas.shape[0] - height + 1), rng.integers(canvas.shape[1] - width + 1)
    canvas[y:y + height, x:x + width] = image
    return canvas, boxes + np.array([x, y, x, y], np.float32)


def crop_by_trial(boxes, class_ids, shape, rng):
    height, width = shape[:2]
    crops = [(0, 0, width, height)]
    for lowest in (.1, .3, .5, .7, .9, -np.inf):
        for _ in range(50):
            scale = rng.uniform(.3, 1)
            aspect = rng.uniform(max(.5, scale ** 2), min(2, 1 / scale ** 2))
            w, h = int(width * scale * aspect ** .5), int(height * scale / aspect ** .5)
            x, y = rng.integers(width - w + 1), rng.integers(height - h + 1)
            if overlaps(boxes, np.array([x, y, x + w, y + h])).min(initial=np.inf) >= lowest:
                crops.append((x, y, w, h))
                break
    while crops:
        x, y, w, h = crop = crops.pop(rng.integers(len(crops)))
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        inside = ((centres > [x, y]) & (centres < [x + w, y + h])).all(axis=1)
        if inside.any() or not len(boxes):
            cut = np.clip(boxes[inside], [x, y, x, y], [x + w, y + h, x + w, y + h])
            return cut - np.array([x, y, x, y], np.float32), class_ids[inside], crop
    return boxes, class_ids, (0, 0, width, height)


def overlaps(boxes, other):
    near, far = np.maximum(boxes[:, :2], other[:2]), np.minimum(boxes[:, 2:], other[2:])
    shared = np.prod(np.maximum(far - near, 0), axis=1)
    return shared / (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) + np.prod(other[2:] - other[:2]) - shared)


def letterbox(image, boxes, size, interpolation):
    height, width = image.shape[:2]
    ratio = min(size / width, size / height)
    w, h = max(int(width * ratio), 1), max(int(height * ratio), 1)
    x, y = (size - w) // 2, (size - h) // 2
    padded = np.full([size, size, 3], 128, np.uint8)
    padded[y:y + h, x:x + w] = cv2.resize(image, (w, h), interpolation=interpolation)
    return padded, boxes * np.float32(ratio) + np.array([x, y, x, y], np.float32)


def fill_targets(boxes, class_ids, size, classes):
    """Target tensors of strides 32, 16, 8, filled box by box."""
    targets = [np.zeros([size // stride, size // stride, 3, 5 + classes], np.float32) for stride in (32, 16, 8)]
    sides = boxes[:, 2:] - boxes[:, :2]
    smaller = np.minimum(sides[:, None], ANCHORS)
    shared = smaller[..., 0] * smaller[..., 1]
    union = sides.prod(axis=1)[:, None] + ANCHORS.prod(axis=1) - shared + 1e-10
    for box, class_id, side, best in zip(boxes, class_ids, sides, np.argmax(shared / union, axis=1)):
        level = 2 - best // 3
        centre = (box[:2] + box[2:]) / 2
        limit = len(targets[level]) - 1
        column, row = np.minimum(centre / (32, 16, 8)[level], limit).astype(int)
        cell = targets[level][row, column, best % 3]
        cell[:2], cell[2:4], cell[4], cell[5 + class_id] = centre, side, 1, 1
    return targets


if __name__ == '__main__':
    try:
        main()
    except InputError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(2)
