"""The optimiser step: coupled weight decay, a norm clip a tensor, loss scaling, and the update itself.

Ours rather than Keras's for three reasons: decay coupled into the gradient before the clip is the
reference's rule and no Keras optimiser's; both Keras versions get one state with one set of names,
which is what lets a run resume bit for bit; and TensorFlow's fused kernels read and write each of the
62 million parameters a third as often (``benchmarks/training_step.py``).
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
      kind: of ``KINDS``.
      momentum: of SGD.
      weight_decay: d of the loss term d/2 |w|^2 on convolution kernels, so d w is added to the gradient.
      clip_norm: a gradient tensor of a larger Euclidean norm is scaled down to it.
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
        # The clip is a factor on the rate: the gradient itself need not be written again.
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
    """An update rule: the names of the variables that it keeps beside each trained one, and one update of that."""
    slots: ClassVar[tuple[str, ...]]

    @staticmethod
    def update(variable, slots, gradient, factor, rate, settings: OptimizerSettings, step): ...


KINDS: dict[str, type[Rule]] = {'sgd': SGD, 'adam': Adam}


class Optimizer(tf.Module):
    """Updates a fixed list of variables.

    Args:
      variables: Keras variables (either version) to train.
      settings: ``OptimizerSettings``.
      loss_scaling: for float16: the loss is multiplied by a scale that halves when a gradient overflows
        (that update is left out) and doubles after 2000 steps without.
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
        """The loss's d/2 sum of squared kernels, float32 scalar."""
        kernels = [variable for variable, decayed in zip(self.variables_, self.decayed) if decayed]
        return self.settings.weight_decay * tf.add_n([tf.nn.l2_loss(kernel) for kernel in kernels])

    def apply(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor, wanted: tf.Tensor | bool = True) -> tf.Tensor:
        """One update from the gradients of ``scale`` times the loss.

        Args:
          wanted: bool scalar; without it nothing is changed at all.

        Returns:
          bool scalar: every gradient was finite, so the update was made if it was wanted. Otherwise nothing was
          changed (but the scale, under loss scaling).
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
        """name -> NumPy array of everything a resumed run needs."""
        return {name: variable.numpy() for name, variable in self._state().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """The inverse of ``state``; raises KeyError or ValueError where it is another optimiser's."""
        for name, variable in self._state().items():
            variable.assign(state[name])

    def _state(self):
        named = {'step': self.step, 'scale': self.scale, 'good_steps': self.good_steps}
        for index, slots in enumerate(self.slots):
            named.update({f'{kind}/{index:03d}': slot for kind, slot in zip(self.rule.slots, slots)})
        return named


def _is_kernel(variable) -> bool:
    """Weight decay is for convolution kernels only: not for biases, nor for BatchNorm's parameters."""
    return 'kernel' in variable.name
