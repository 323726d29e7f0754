"""A moving average of the weights, which is smoother than the weights and often a better detector."""
from __future__ import annotations

import contextlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from yolov3_tf import replicas


class Average(tf.Module):
    """average = average + (1 - d) (weight - average) after every step, d = min(decay, (1 + t) / (10 + t)).

    t counts the steps, so that the starting weights lose their influence quickly (the rule of
    tf.train.ExponentialMovingAverage). BatchNorm's averages are averaged too, because they belong to the weights.

    Args:
      variables: Keras variables (of Keras 2 or 3); the average starts as a copy of them.
      decay: below 1; the average covers about 1 / (1 - decay) steps.
    """

    def __init__(self, variables, decay: float):
        super().__init__()
        self.decay = decay
        self.followed = [getattr(variable, '_value', variable) for variable in variables]
        self.averages = [tf.Variable(tf.convert_to_tensor(variable), trainable=False) for variable in self.followed]
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    def update(self):
        """Updates the average after a step, in graph; returns a constant, as a branch of ``tf.cond`` must."""
        steps = tf.cast(replicas.add(self.steps, 1), tf.float32)
        fraction = 1 - tf.minimum(self.decay, steps / (9 + steps))
        for variable, average in zip(self.followed, self.averages):
            replicas.add(average, fraction * (tf.convert_to_tensor(variable) - tf.convert_to_tensor(average)))
        return tf.constant(0)

    @contextlib.contextmanager
    def in_place(self):
        """Inside this context the model has the averaged weights; after it, its own weights again."""
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
        """The inverse of ``state``; does nothing for the state of a run that had no average yet."""
        for name, variable in self._state().items():
            if name in state:
                variable.assign(state[name])

    def _state(self):
        return {'average/steps': self.steps,
                **{f'average/{index:03d}': average for index, average in enumerate(self.averages)}}
