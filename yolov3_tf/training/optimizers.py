"""The optimiser step: coupled weight decay, a norm clip for each tensor, loss scaling, and the update itself.

It replaces the optimisers of Keras for three reasons. The reference adds the decay to the gradient before the clip,
which no Keras optimiser does. Both Keras versions get one state with the same names, so that a run resumes bit for
bit. And TensorFlow's fused kernels read and write each of the 62 million parameters a third as often
(``benchmarks/training_step.py``).
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from yolov3_tf import replicas
from yolov3_tf.choices import choose


class OptimizerSettings(NamedTuple):
    """Attributes:
      kind: one of ``KINDS``.
      momentum: of SGD.
      weight_decay: d of the loss term d/2 |w|^2 on convolution kernels, so d w is added to the gradient.
      clip_norm: a gradient tensor with a larger Euclidean norm is scaled down to this norm.
    """
    kind: str = 'sgd'
    momentum: float = .9
    weight_decay: float = 5e-4
    clip_norm: float = 100.


class SGD:
    """accumulator = momentum accumulator - rate g; w = w + accumulator (darknet's and Keras's form)."""
    slots: ClassVar[tuple[str, ...]] = ('momentum',)

    @staticmethod
    def update(variable, slots, gradient, factor, rate, settings, step):
        del step
        # The clip is a factor on the rate, so the gradient itself is not written again.
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle, accum=slots[0].handle, lr=rate * factor, grad=gradient,
            momentum=settings.momentum)


class Adam:
    """Kingma & Ba 2015, algorithm 1: decay rates .9 and .999, epsilon 1e-8."""
    slots: ClassVar[tuple[str, ...]] = ('first_moment', 'second_moment')

    @staticmethod
    def update(variable, slots, gradient, factor, rate, settings, step):
        del settings
        power = tf.cast(step, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle, m=slots[0].handle, v=slots[1].handle, beta1_power=.9 ** power,
            beta2_power=.999 ** power, lr=rate, beta1=.9, beta2=.999, epsilon=1e-8, grad=gradient * factor)


class Rule(Protocol):
    """An update rule: the names of its state variables for each trained variable, and one update of a variable."""
    slots: ClassVar[tuple[str, ...]]

    @staticmethod
    def update(variable, slots, gradient, factor, rate, settings: OptimizerSettings, step): ...


KINDS: dict[str, type[Rule]] = {'sgd': SGD, 'adam': Adam}


class Optimizer(tf.Module):
    """Updates a fixed list of variables.

    Args:
      variables: Keras variables (of Keras 2 or 3) to train.
      settings: ``OptimizerSettings``.
      loss_scaling: for float16: the loss is multiplied by a scale that is halved when a gradient overflows
        (that update is skipped) and doubled after 2000 steps without overflow.
    """

    def __init__(self, variables, settings: OptimizerSettings, loss_scaling: bool = False):
        super().__init__()
        self.settings, self.rule, self.loss_scaling = settings, choose(KINDS, settings.kind, 'optimizer'), loss_scaling
        self.variables_ = [getattr(variable, '_value', variable) for variable in variables]
        self.decayed = [_is_kernel(variable) for variable in variables]
        self.slots = [[tf.Variable(tf.zeros_like(variable), trainable=False) for _ in self.rule.slots]
                      for variable in self.variables_]
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False)
        self.scale = tf.Variable(2. ** 15 if loss_scaling else 1., trainable=False)
        self.good_steps = tf.Variable(0, dtype=tf.int64, trainable=False)

    def decay_term(self) -> tf.Tensor:
        """The weight decay of the loss, d/2 times the sum of squared kernels, float32 scalar."""
        kernels = [variable for variable, decayed in zip(self.variables_, self.decayed) if decayed]
        return self.settings.weight_decay * tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])

    def apply(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor, wanted: tf.Tensor | bool = True) -> tf.Tensor:
        """Makes one update from the gradients of ``scale`` times the loss.

        Args:
          wanted: bool scalar; if False, nothing is changed.

        Returns:
          bool scalar: whether every gradient is finite, so that the update was made if wanted. If not, nothing is
          changed except the scale under loss scaling.
        """
        wanted = tf.convert_to_tensor(wanted)
        gradients = [tf.cast(gradient, tf.float32) / self.scale if self.loss_scaling else gradient
                     for gradient in gradients]
        gradients = [gradient + self.settings.weight_decay * variable if decayed else gradient
                     for gradient, variable, decayed in zip(gradients, self.variables_, self.decayed)]
        norms = [tf.sqrt(2 * tf.nn.l2_loss(gradient)) for gradient in gradients]
        finite = tf.math.is_finite(tf.add_n(norms))
        tf.cond(finite & wanted, lambda: self._update(gradients, norms, rate), lambda: tf.constant(0))
        if self.loss_scaling:
            tf.cond(wanted, lambda: self._rescale(finite), lambda: tf.constant(0))
        return finite

    def _update(self, gradients, norms, rate):
        step = replicas.add(self.step, 1)
        for variable, slots, gradient, norm in zip(self.variables_, self.slots, gradients, norms):
            factor = tf.minimum(1., self.settings.clip_norm / tf.maximum(norm, 1e-30))      # of inf: 1
            self.rule.update(variable, slots, gradient, factor, rate, self.settings, step)
        return tf.constant(0)

    def _rescale(self, finite):
        good = tf.where(finite, self.good_steps + 1, 0)
        grow = good >= 2000
        replicas.write(self.scale, tf.where(finite, tf.where(grow, self.scale * 2, self.scale),
                                            tf.maximum(self.scale / 2, 1.)))
        replicas.write(self.good_steps, tf.where(grow, tf.zeros_like(good), good))
        return tf.constant(0)

    def state(self) -> dict[str, np.ndarray]:
        """name -> NumPy array of everything that a resumed run needs."""
        return {name: variable.numpy() for name, variable in self._state().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """The inverse of ``state``; raises KeyError or ValueError for the state of another optimiser."""
        for name, variable in self._state().items():
            variable.assign(state[name])

    def _state(self):
        named = {'step': self.step, 'scale': self.scale, 'good_steps': self.good_steps}
        for index, slots in enumerate(self.slots):
            named.update({f'{kind}/{index:03d}': slot for kind, slot in zip(self.rule.slots, slots)})
        return named


def _is_kernel(variable) -> bool:
    """Whether weight decay applies: only to convolution kernels, not to biases and BatchNorm's parameters."""
    return 'kernel' in variable.name
