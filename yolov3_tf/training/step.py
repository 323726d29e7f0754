"""One training step on a batch: it updates the weights and returns named scalars, for any number of replicas.

R replicas process a batch in parallel, in P pieces one after another (darknet's subdivisions). Each of the R P
shares is weighted by its fraction of the batch's images, so that losses and gradients are sums that do not depend
on R and P. Only BatchNorm depends on them: it normalises by a share, or with ``synchronized`` layers by a piece.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

import tensorflow as tf

from yolov3_tf import replicas
from yolov3_tf.training.averaging import Average
from yolov3_tf.training.optimizers import Optimizer

STAND_IN = 64       # side in pixels of the black image for a replica without images; every network accepts this size


class Shares(NamedTuple):
    """How a batch is divided.

    Attributes:
      strategy: its replicas share each piece; None for one replica.
      images: number of images in a whole batch, a multiple of replicas x pieces.
      pieces: number of pieces, which are processed one after another.
    """
    strategy: tf.distribute.Strategy | None = None
    images: int = 1
    pieces: int = 1

    @property
    def total(self) -> int:
        """The number of shares of a batch."""
        return self.pieces * (self.strategy.num_replicas_in_sync if self.strategy else 1)


ALONE = Shares()


def make(compute_loss: Callable[..., dict[str, Any]], optimizer: Optimizer, signature: Any, shares: Shares = ALONE,
         average: Average | None = None, statistics: Sequence[Any] = ()) -> Callable[..., dict[str, Any]]:
    """A training step: (images, truth, learning rate, asked) -> named scalars.

    ``l2`` is the weight decay, which the optimiser adds to the gradients; ``applied`` is 1 if every gradient was
    finite and the weights were updated; ``images`` is the number of images in the batch and ``asked`` the sum of
    that argument, both over all workers.

    Args:
      compute_loss: (images, truth, training) -> named scalars; ``total`` is minimised (``tasks``).
      optimizer: created in the scope of the strategy.
      signature: tensor specs of images and truth.
      average: ``averaging.Average`` of the weights, or None.
      statistics: variables that each replica updates from its own images; after the step they get their mean.
    """
    step = _Step(compute_loss, optimizer, shares, average, statistics)
    if shares.total == 1:
        return step.alone(signature)
    return step.in_pieces(signature) if shares.pieces > 1 else step.side_by_side(signature)


class _Step:
    # The graphs do not need AutoGraph, whose conversion would take five seconds at every start.

    def __init__(self, compute_loss, optimizer, shares, average, statistics):
        self.compute_loss, self.optimizer, self.shares, self.average = compute_loss, optimizer, shares, average
        self.statistics = [getattr(variable, '_value', variable) for variable in statistics]
        self.strategy = shares.strategy or tf.distribute.get_strategy()
        self.rows = shares.images // shares.total         # of a share

    def alone(self, signature):
        @tf.function(input_signature=[*signature, _NUMBER, _NUMBER], autograph=False)
        def step(images, truth, rate, asked):
            parts, gradients = self._learn(images, truth)
            count = tf.cast(tf.shape(images)[0], tf.float32)
            return {**self._update(parts, gradients, rate, count > 0), 'images': count, 'asked': asked}
        return step

    def side_by_side(self, signature):
        def share(images, truth, rate, asked):
            parts, gradients, part = self._learn_share(images, truth)
            return self._join(parts, part, gradients, rate, asked)

        @tf.function(input_signature=[*signature, _NUMBER, _NUMBER], autograph=False)
        def step(images, truth, rate, asked):
            return self._first(self.strategy.run(share, args=(images, truth, rate, asked)))
        return step

    def in_pieces(self, signature):
        """Adds up the gradients of the pieces in variables, so that only one piece at a time needs memory."""
        with self.strategy.scope():
            sums = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in self.optimizer.variables_]
        _images, _truth = signature

        def learn(images, truth):
            parts, gradients, part = self._learn_share(images, truth)
            for variable, gradient in zip(sums, gradients):
                replicas.add(variable, gradient)
            return parts, part

        def join(pieces, rate, asked):
            parts = {name: tf.add_n([parts[name] for parts, _ in pieces]) for name in pieces[0][0]}
            joined = self._join(parts, tf.add_n([part for _, part in pieces]),
                                _values(sums), rate, asked)
            for variable in sums:
                replicas.write(variable, tf.zeros_like(variable))
            return joined

        @tf.function(input_signature=signature, autograph=False)
        def piece(images, truth):
            return self.strategy.run(learn, args=(images, truth))

        @tf.function(autograph=False)
        def finish(pieces, rate, asked):
            return self._first(self.strategy.run(join, args=(pieces, rate, asked)))

        def step(images, truth, rate, asked):
            rows = self.rows * self._replicas_here()
            pieces = [piece(*tf.nest.map_structure(lambda x, first=first: x[first:first + rows], (images, truth)))
                      for first in range(0, rows * self.shares.pieces, rows)]
            return finish(pieces, rate, asked)
        return step

    def _learn(self, images, truth, part=None):
        """Named scalars and the gradients of ``scale`` times their total, all times ``part``."""
        variables = self.optimizer.variables_
        # Only trainable variables are watched, so no activations of a frozen backbone are kept for the backward pass.
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            parts = self.compute_loss(images, truth, training=True)
            if part is not None:
                parts = {name: part * value for name, value in parts.items()}
            scaled = parts['total'] * self.optimizer.scale
        return parts, tape.gradient(scaled, variables)

    def _learn_share(self, images, truth):
        """``_learn`` on this replica's rows of a piece, and their fraction of a whole batch.

        If images cannot be read, a replica may have none: then it gets a black image, which changes neither
        weights nor statistics. Only synchronized BatchNorm includes it.
        """
        first = self._replica_here() * self.rows
        with tf.device('CPU:0'):        # where the batch is, so that a GPU receives only its own rows
            images, truth = tf.nest.map_structure(lambda x: x[first:first + self.rows], (images, truth))
            count = tf.shape(images)[0]
            images = _at_least_one(images, count, STAND_IN)
            truth = tf.nest.map_structure(lambda x: _at_least_one(x, count), truth)
        before = _values(self.statistics)
        part = tf.cast(count, tf.float32) / self.shares.images
        parts, gradients = self._learn(images, truth, part)

        def restore():
            for variable, value in zip(self.statistics, before):
                replicas.write(variable, value)
            return 0

        if before:
            tf.cond(count > 0, lambda: 0, restore)
        return parts, gradients, part

    def _join(self, parts, part, gradients, rate, asked):
        """Sums over the replicas, and makes the same update on each of them."""
        names, count = sorted(parts), len(gradients)
        scalars, *sums = replicas.total([tf.stack([part, asked, *(parts[name] for name in names)]), *gradients,
                                         *_values(self.statistics)])
        gradients = sums[:count]
        for variable, value in zip(self.statistics, sums[count:]):
            replicas.write(variable, value / replicas.count())
        part, asked, *values = tf.unstack(scalars)
        whole = tf.math.divide_no_nan(1., part)             # 1 unless images are missing
        joined = {name: value * whole for name, value in zip(names, values)}
        outcome = self._update(joined, [gradient * whole for gradient in gradients], rate, part > 0)
        return {**outcome, 'images': part * self.shares.images, 'asked': asked}

    def _update(self, parts, gradients, rate, some):
        """Updates the weights if the batch has ``some`` image."""
        l2 = self.optimizer.decay_term()
        applied = self.optimizer.apply(gradients, rate, some)
        if self.average is not None:
            tf.cond(some, self.average.update, lambda: tf.constant(0))
        return {**parts, 'l2': l2, 'applied': tf.cast(applied, tf.float32)}

    def _replicas_here(self):
        return len(self.strategy.extended.worker_devices) if self.shares.strategy else 1

    def _replica_here(self):
        """The number of this replica among those of its worker, from 0."""
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        return number % self._replicas_here()

    def _first(self, values: Any):
        """The values of the first replica; all replicas have the same."""
        return tf.nest.map_structure(lambda value: self.strategy.experimental_local_results(value)[0], values)


_NUMBER = tf.TensorSpec([], tf.float32)


def _values(variables):
    """The current values of variables, as tensors.

    The identity sets their device. Without it a reduction does not know the device of its result: an error with
    several workers, and with several GPUs one reduction for each tensor instead of one for all.
    """
    return [tf.identity(tf.convert_to_tensor(variable)) for variable in variables]


def _at_least_one(x, count, size=0):
    """``x`` if it has rows, else one row of zeros; ``size`` is for images of unknown size."""
    none = tf.cast(tf.equal(count, 0), tf.int32)
    shape = tf.shape(x)
    sides = [[0, none * tf.where(shape[axis] > 0, 0, size)] for axis in (1, 2)] if size else []
    return tf.pad(x, [[0, none], *sides, *[[0, 0]] * (x.shape.rank - 1 - len(sides))])
