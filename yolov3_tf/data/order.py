"""The order in which the images of a set are shown in every epoch, and the keys of all random numbers of the input."""
from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf.structures import Record

ORDER, SAMPLE, SIZE, DRAW = range(4)    # streams of random numbers; those in use never change
_UNIT = 1 << 16                         # repeat factors become whole numbers, so that sums are exact on every machine


class Order(NamedTuple):
    """What decides the order.

    Attributes:
      images: their number in the set.
      batch_size: images a batch.
      seed: int.
      repeats: how often each image is shown, as a ratio to the others (``repeat_factors``); empty: as ``times`` says.
      times: how many times each image is shown in an epoch; empty: each once.
    """
    images: int
    batch_size: int
    seed: int
    repeats: tuple[float, ...] = ()
    times: tuple[int, ...] = ()

    @property
    def shown(self) -> int:
        """Images an epoch, each as often as it is shown."""
        return sum(self.times) if self.times else self.images

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return steps_per_epoch(self.shown, self.batch_size)

    def of_epoch(self, epoch: int | tf.Tensor) -> tf.Tensor:
        """int32 [steps * batch_size]: the images in the order they are shown; in graph."""
        shown = tf.range(self.images)
        if self.repeats:
            shares = np.multiply(self.repeats, self.times or 1.)
            shown = _draw(shown, shares, self.shown, key(self.seed, DRAW, epoch))
        elif self.times:
            shown = tf.repeat(shown, self.times)
        shuffled = tf.random.experimental.stateless_shuffle(shown, key(self.seed, ORDER, epoch))
        return tf.gather(shuffled, tf.range(self.steps * self.batch_size) % self.shown)

    def of_batch(self, epoch: int, step: int) -> np.ndarray:
        """The images that a batch should hold, int32 [batch_size] NumPy."""
        return _as_array(self, epoch)[step * self.batch_size:(step + 1) * self.batch_size]


def steps_per_epoch(n: int, batch_size: int) -> int:
    """Batches an epoch of n records; a set smaller than a batch makes one."""
    return max(n // batch_size, 1)


def key(seed: int, stream: int, number: int | tf.Tensor) -> tf.Tensor:
    """Seed int64 [2] for the stateless ops: a stream of its own for every (seed, stream, number)."""
    pair = tf.constant([seed, stream], tf.int64)
    return tf.random.experimental.stateless_fold_in(pair, tf.cast(number, tf.int64))


def repeat_factors(records: Sequence[Record]) -> tuple[float, ...]:
    """How often each image should be shown so that rare classes are seen more; 1 or more each.

    Repeat factor sampling (Gupta, Dollar & Girshick 2019, "LVIS"): r_c = max(1, sqrt(t / f_c)), f_c the share of images
    with class c, and for an image the largest r_c of its classes. Their t of .001 suits 1,203 classes; here t is the
    share of the most frequent class, so that sets of few classes are balanced too. Images without objects have 1,
    crowds do not count.
    """
    classes = [np.unique(record.classes[~record.crowd]) for record in records]
    images_of = np.bincount(np.concatenate([*classes, np.zeros(0, np.int32)]).astype(np.int64))
    factors = np.sqrt(images_of.max(initial=1) / np.maximum(images_of, 1))
    return tuple(float(factors[own].max(initial=1)) for own in classes)


def _draw(images, repeats, count, seed):
    """``count`` of int32 [n], image i ``count repeats[i] / sum(repeats)`` times, rounded up or down at random.

    Systematic: as many points with one random offset on a line where every image has its share. The images lie on it
    in random order, so that neighbours in the set are not drawn together.
    """
    shares = np.round(np.multiply(repeats, _UNIT)).astype(np.int64)
    lying = tf.random.experimental.stateless_shuffle(images, seed)
    ends = tf.cumsum(tf.gather(tf.constant(shares), lying))
    offset = tf.random.stateless_uniform([], seed, 0, int(shares.sum()), tf.int64)
    points = (tf.range(count, dtype=tf.int64) * int(shares.sum()) + offset) // count
    return tf.gather(lying, tf.searchsorted(ends, points, side='right'))


@functools.lru_cache(maxsize=4)
def _as_array(order, epoch):
    with tf.device('CPU'):      # where the pipeline draws it
        return order.of_epoch(epoch).numpy()
