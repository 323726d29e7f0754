"""Decoding and suppression, ms an image: ours beside a TensorFlow loop over the classes and NumPy.

    python benchmarks/postprocess.py [--rounds=9] [--batch=8] [--image_size=416] [--classes=20,80] [--width=1]

Raw outputs are random, but like those of a trained detector: nearly all slots are negative (objectness logit
N(-8, 1.5), class logits N(-6, 1.5)); around each of ``OBJECTS`` objects of an image the 27 slots of its level within a
cell of its centre predict its box with a small error, objectness N(0, 2.5) and its class N(2, 2). The count of scores
above the threshold is printed. The two other implementations follow the reference's config: mask, suppress and gather
class by class in a graph (one image at a time), and the same in NumPy. Both get decoded boxes and scores, and are
compared with our suppression alone.

All take turns within a round; medians are printed. The share of the network's time is that of the folded
float32 network of this size at batch 1 in the same rounds (--width=0 leaves it out).
"""
from __future__ import annotations

import argparse
import functools
import os
import platform
import statistics
import sys
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))

import numpy as np
import tensorflow as tf

from yolov3_tf import anchors, codec, postprocess
from yolov3_tf.models import yolov3_network

SCORE, IOU, MAX_PER_CLASS, OBJECTS = .01, .45, 150, 8
WHOLE, DECODE, OURS = 'ours, decoding and suppression', 'ours, decoding alone', 'ours, suppression alone'
LOOP, NUMPY, NETWORK = 'suppression by a TensorFlow loop over classes', 'suppression in NumPy', 'network, batch 1'


def draw_outputs(batch, size, classes):
    """[batch, S, 5 + classes] float32 logits; see above."""
    random = np.random.RandomState(classes)
    priors = anchors.lay_out(anchors.YOLOV3_ANCHORS, size, size)
    cells, strides, sizes = (part.numpy() for part in (priors.cells, priors.strides, priors.anchors))
    levels = priors.levels.numpy()
    outputs = np.concatenate([random.normal(0, .5, [batch, len(cells), 4]),
                              random.normal(-8, 1.5, [batch, len(cells), 1]),
                              random.normal(-6, 1.5, [batch, len(cells), classes])], -1)
    for image in outputs:
        for _ in range(OBJECTS):
            level, class_id = random.randint(3), random.randint(classes)
            extent = np.array(anchors.YOLOV3_ANCHORS.sizes[level][random.randint(3)])
            centre = random.uniform(0, size, 2)
            near = (levels == level) & (np.abs(centre / strides[:, None] - cells - .5) < 1.5).all(1)
            inside = np.clip(centre / strides[near, None] - cells[near], .02, .98)
            n = near.sum()
            image[near, :2] = np.log(inside / (1 - inside)) + random.normal(0, .2, [n, 2])
            image[near, 2:4] = np.log(extent / sizes[near]) + random.normal(0, .1, [n, 2])
            image[near, 4] = random.normal(0, 2.5, n)
            image[near, 5 + class_id] = random.normal(2, 2, n)
    return outputs.astype(np.float32)


def ours(size, nms='per_class'):
    @tf.function
    def run(outputs):
        return postprocess.detect(outputs, anchors.lay_out(anchors.YOLOV3_ANCHORS, size, size),
                                  postprocess.Suppression(SCORE, IOU, MAX_PER_CLASS, nms=nms))
    return lambda outputs: run(outputs).boxes.numpy()


def decoder(size):
    """Function of outputs -> boxes [B, S, 4], scores [B, S, C]."""
    @tf.function
    def run(outputs):
        raw = codec.split(outputs)
        scores = tf.sigmoid(raw.objectness)[..., None] * tf.sigmoid(raw.classes)
        return codec.decode(raw.offsets, anchors.lay_out(anchors.YOLOV3_ANCHORS, size, size)), scores
    return run


@tf.function
def combined(boxes, scores):
    """The kernel that ``postprocess.detect`` calls, with its settings."""
    return tf.image.combined_non_max_suppression(
        boxes[:, :, None, :], scores, MAX_PER_CLASS, 300, IOU, SCORE, clip_boxes=False)


@tf.function
def class_by_class(boxes, scores):
    """As the reference's ``gpu_nms``."""
    found = []
    for class_id in range(scores.shape[1]):
        mask = scores[:, class_id] >= SCORE
        kept_boxes, kept = tf.boolean_mask(boxes, mask), tf.boolean_mask(scores[:, class_id], mask)
        chosen = tf.image.non_max_suppression(kept_boxes, kept, MAX_PER_CLASS, IOU)
        found.append((tf.gather(kept_boxes, chosen), tf.gather(kept, chosen), tf.fill([tf.size(chosen)], class_id)))
    return [tf.concat(part, 0) for part in zip(*found)]


def numpy_class_by_class(boxes, scores):
    """As the reference's ``cpu_nms``."""
    found = []
    for class_id in range(scores.shape[1]):
        mask = scores[:, class_id] >= SCORE
        kept_boxes, kept = boxes[mask], scores[mask, class_id]
        found.append(kept_boxes[numpy_suppress(kept_boxes, kept)])
    return np.concatenate(found)


def numpy_suppress(boxes, scores):
    x1, y1, x2, y2 = boxes.T
    areas, order, chosen = (x2 - x1) * (y2 - y1), scores.argsort()[::-1], []
    while order.size and len(chosen) < MAX_PER_CLASS:
        best, others = order[0], order[1:]
        chosen.append(best)
        w = np.maximum(0, np.minimum(x2[best], x2[others]) - np.maximum(x1[best], x1[others]))
        h = np.maximum(0, np.minimum(y2[best], y2[others]) - np.maximum(y1[best], y1[others]))
        shared = w * h
        order = others[shared / (areas[best] + areas[others] - shared) <= IOU]
    return chosen


def variants(flags, classes):
    """name -> (call, images it does)."""
    outputs = draw_outputs(flags.batch, flags.image_size, classes)
    tensors, run, decode = tf.constant(outputs), ours(flags.image_size), decoder(flags.image_size)
    boxes, scores = decode(tensors)
    print(f'\n{classes} classes: {np.count_nonzero(scores > SCORE) / flags.batch:.0f} of '
          f'{tf.size(scores[0])} scores of an image are above {SCORE}')
    arrays, singles = list(zip(boxes.numpy(), scores.numpy())), list(zip(tf.unstack(boxes), tf.unstack(scores)))
    calls = {WHOLE: (lambda: run(tensors), flags.batch),
             f'{WHOLE}, batch 1': (lambda: run(tensors[:1]), 1),
             **{f'{WHOLE}, nms={nms}': (functools.partial(ours(flags.image_size, nms), tensors), flags.batch)
                for nms in postprocess.NMS if nms != 'per_class'},
             DECODE: (lambda: decode(tensors)[1].numpy(), flags.batch),
             OURS: (lambda: combined(boxes, scores)[0].numpy(), flags.batch),
             LOOP: (lambda: [class_by_class(*one)[0].numpy() for one in singles], flags.batch),
             NUMPY: (lambda: [numpy_class_by_class(*one) for one in arrays], flags.batch)}
    if flags.width:
        network = tf.function(yolov3_network.build(classes, flags.width, folded=True))
        image = tf.random.stateless_uniform([1, flags.image_size, flags.image_size, 3], [1, 2])
        calls[NETWORK] = (lambda: network(image).numpy(), 1)
    return calls


def measure(calls, rounds):
    """name -> median ms and median CPU ms an image."""
    seconds = {name: [] for name in calls}
    for round_ in range(rounds + 1):                    # the first traces and warms up
        for name, (call, images) in calls.items():
            cpu, start = time.process_time(), time.perf_counter()
            call()
            if round_:
                seconds[name].append(((time.perf_counter() - start) / images, (time.process_time() - cpu) / images))
    return {name: [1000 * statistics.median(values) for values in zip(*pairs)] for name, pairs in seconds.items()}


def report(ms):
    for name, (wall, cpu) in ms.items():
        share = ''
        if NETWORK in ms:
            of_wall, of_cpu = 100 * wall / ms[NETWORK][0], 100 * cpu / ms[NETWORK][1]
            share = f'  {of_wall:6.2f} % of the network ({of_cpu:.2f} % by CPU time)'
        print(f'{wall:9.2f} ms an image  {wall / ms[OURS][0]:7.1f} times our suppression{share}  {name}')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--classes', type=lambda text: [int(part) for part in text.split(',')], default=[20, 80])
    for name, default in (('rounds', 9), ('image_size', 416), ('batch', 8)):
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--width', type=float, default=1.)
    flags = parser.parse_args()
    print(f'{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; TensorFlow {tf.__version__}, '
          f'NumPy {np.__version__}; {flags.image_size} px, batch {flags.batch}, score {SCORE}, IoU {IOU}, at most '
          f'{MAX_PER_CLASS} a class; median of {flags.rounds} rounds')
    for classes in flags.classes:
        report(measure(variants(flags, classes), flags.rounds))
    print('decoding and suppression: goal under 2 % of the network')


if __name__ == '__main__':
    main()
