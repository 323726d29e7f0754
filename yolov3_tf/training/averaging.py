"""A moving average of the weights: smoother than the weights themselves, and often a better detector."""
from __future__ import annotations

import contextlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from yolov3_tf import replicas


class Average(tf.Module):
    """average = average + (1 - d) (weight - average) after every step, d = min(decay, (1 + t) / (10 + t)).

    t counts the steps, so that the average is not held back by where the weights started (the rule of
    tf.train.ExponentialMovingAverage). BatchNorm's averages are averaged too: they belong to the weights.

    Args:
      variables: Keras variables (either version), of which it starts as a copy.
      decay: below 1; a weight counts for some 1 / (1 - decay) steps.
    """

    def __init__(self, variables, decay: float):
        super().__init__()
        self.decay = decay
        self.followed = [getattr(variable, '_value', variable) for variable in variables]
        self.averages = [tf.Variable(tf.convert_to_tensor(variable), trainable=False) for variable in self.followed]
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    def update(self):
        """One step; in graph. Returns a constant, as a branch of a condition must."""
        steps = tf.cast(replicas.add(self.steps, 1), tf.float32)
        rest = 1 - tf.minimum(self.decay, steps / (9 + steps))
        for variable, average in zip(self.followed, self.averages):
            replicas.add(average, rest * (tf.convert_to_tensor(variable) - tf.convert_to_tensor(average)))
        return tf.constant(0)

    @contextlib.contextmanager
    def in_place(self):
        """The model has the averaged weights inside of this context, its own again after it."""
        own = [variable.numpy() for variable in self.followed]
        try:
            for variable, average in zip(self.followed, self.averages):
                variable.assign(average.numpy())
            yield
        finally:
            for variable, value in zip(self.followed, own):
                variable.assign(value)

    def state(self) -> dict[str, np.ndarray]:
        """name -> NumPy array of everything a resumed run needs."""
        return {name: variable.numpy() for name, variable in self._state().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """The inverse of ``state``; does nothing where that was before there was an average."""
        for name, variable in self._state().items():
            if name in state:
                variable.assign(state[name])

    def _state(self):
        return {'average/steps': self.steps,
                **{f'average/{index:03d}': average for index, average in enumerate(self.averages)}}
