"""A moving average of the weights, which is smoother than the weights and often a better detector."""
from __future__ import annotations

import contextlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from yolov3_tf import replicas
from yolov3_tf.training import groups


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
        self.groups = groups.of(self.followed)
        self.averages = [tf.Variable(group.value(), trainable=False) for group in self.groups]
        self.steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    def update(self):
        """Updates the average after a step, in graph; returns a constant, as a branch of ``tf.cond`` must."""
        steps = tf.cast(replicas.add(self.steps, 1), tf.float32)
        fraction = 1 - tf.minimum(self.decay, steps / (9 + steps))
        for group, average in zip(self.groups, self.averages):
            tf.raw_ops.ResourceApplyGradientDescent(
                var=average.handle, alpha=fraction, delta=tf.convert_to_tensor(average) - group.value())
        return tf.constant(0)

    @contextlib.contextmanager
    def in_place(self):
        """Inside this context the model has the averaged weights; after it, its own weights again."""
        own = [variable.numpy() for variable in self.followed]
        try:
            for index, average in self._arrays().items():
                self.followed[index].assign(average)
            yield
        finally:
            for variable, value in zip(self.followed, own):
                variable.assign(value)

    def state(self) -> dict[str, np.ndarray]:
        """name -> NumPy array of everything a resumed run needs; ``average/012`` is that of variable 12."""
        return {'average/steps': self.steps.numpy(),
                **{f'average/{index:03d}': array for index, array in self._arrays().items()}}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """The inverse of ``state``; does nothing for the state of a run that had no average yet."""
        if 'average/steps' not in state:
            return
        self.steps.assign(state['average/steps'])
        for group, average in zip(self.groups, self.averages):
            group.restore(average, [state[f'average/{index:03d}'] for index in group.indices])

    def _arrays(self):
        """index -> average of that variable."""
        return {index: array for group, average in zip(self.groups, self.averages)
                for index, array in group.arrays(average).items()}
