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
from yolov3_tf.training import groups


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
    def update(variables, slots, gradients, factors, rate, settings, step):
        """As ``Rule.update``."""
        del step
        # The clip is a factor on the rate, so the gradient itself is not written again.
        rates, momentum = tf.unstack(rate * factors), tf.constant(settings.momentum)
        for variable, (accumulator,), gradient, own in zip(variables, slots, gradients, rates):
            tf.raw_ops.ResourceApplyKerasMomentum(
                var=variable.handle, accum=accumulator.handle, lr=own, grad=gradient, momentum=momentum)


class Adam:
    """Kingma & Ba 2015, algorithm 1: decay rates .9 and .999, epsilon 1e-8."""
    slots: ClassVar[tuple[str, ...]] = ('first_moment', 'second_moment')

    @staticmethod
    def update(variables, slots, gradients, factors, rate, settings, step):
        """As ``Rule.update``."""
        del settings
        # Gradients are seldom clipped, and to write them all again takes as long as a third of the update.
        gradients = tf.cond(
            tf.reduce_min(factors) < 1,
            lambda: [gradient * factor for gradient, factor in zip(gradients, tf.unstack(factors))], lambda: gradients)
        power = tf.cast(step, tf.float32)
        # Once for all variables: a number would become a node of its own for each.
        constants = {'beta1_power': .9 ** power, 'beta2_power': .999 ** power, 'lr': tf.convert_to_tensor(rate),
                     'beta1': tf.constant(.9), 'beta2': tf.constant(.999), 'epsilon': tf.constant(1e-8)}
        for variable, (first, second), gradient in zip(variables, slots, gradients):
            tf.raw_ops.ResourceApplyAdam(var=variable.handle, m=first.handle, v=second.handle, grad=gradient,
                                         **constants)


class Rule(Protocol):
    """An update rule: the names of its state variables for each trained variable, and one update of all variables."""
    slots: ClassVar[tuple[str, ...]]

    @staticmethod
    def update(variables, slots, gradients, factors, rate, settings: OptimizerSettings, step):
        """Updates all variables, in graph.

        Args:
          variables: float32 resource variables of any shapes; slots: of each, its state variables by ``slots``.
          gradients: of each variable, in its shape.
          factors: float32 [variables] in 0..1, on the gradients (the norm clip).
          rate: float32 scalar, the learning rate; step: int64 scalar, counted from 1.
        """


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
        self.groups = groups.of(self.variables_)
        # The update kernels need a variable: that of a single one itself, for several a copy of their values.
        self.updated = [group.variables[0] if group.single else _like(group) for group in self.groups]
        self.slots = [[_like(group) for _ in self.rule.slots] for group in self.groups]
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
        values, joined = zip(*(self._decayed(group, group.join(gradients)) for group in self.groups))
        norms = tf.sqrt(2 * tf.stack([tf.nn.l2_loss(gradient) for gradient in joined]))
        finite = tf.math.is_finite(tf.reduce_sum(norms))
        tf.cond(finite & wanted, lambda: self._update(values, joined, norms, rate), lambda: tf.constant(0))
        if self.loss_scaling:
            tf.cond(wanted, lambda: self._rescale(finite), lambda: tf.constant(0))
        return finite

    def _decayed(self, group, gradient):
        """The values of a group, and its gradient with weight decay and without the scale of the loss."""
        # Not before the gradient is there: TensorFlow would make the products of all groups first, which costs the
        # memory of a second network and finds nothing in the cache again.
        with tf.control_dependencies([gradient]):
            value = group.value()
            if self.loss_scaling:
                gradient = tf.cast(gradient, tf.float32) / self.scale
            decays = np.array([self.settings.weight_decay * self.decayed[index] for index in group.indices], np.float32)
            if decays.any():
                gradient += (decays[0] if group.single else np.repeat(decays, group.sizes)) * value
        return value, gradient

    def _update(self, values, gradients, norms, rate):
        step = replicas.add(self.step, 1)
        gradients = [gradient if group.single else self._clipped(group, gradient, norm)
                     for group, gradient, norm in zip(self.groups, gradients, tf.unstack(norms))]
        factors = tf.where([group.single for group in self.groups], self._factors(norms), 1.)
        for group, variable, value in zip(self.groups, self.updated, values):
            if not group.single:
                replicas.write(variable, value)
        self.rule.update(self.updated, self.slots, gradients, factors, rate, self.settings, step)
        for group, variable in zip(self.groups, self.updated):
            if not group.single:
                group.write(tf.convert_to_tensor(variable))
        return tf.constant(0)

    def _clipped(self, group, gradient, norm):
        """The gradient of a group of several variables, each of them clipped by itself."""
        def clip():
            owner = np.repeat(np.arange(len(group.sizes)), group.sizes)         # the variable of each value
            squares = tf.math.segment_sum(tf.square(tf.cast(gradient, tf.float64)), owner)
            return gradient * tf.gather(self._factors(tf.cast(tf.sqrt(squares), tf.float32)), owner)
        # None of them needs it where the norm of all together is small enough.
        return tf.cond(norm > self.settings.clip_norm, clip, lambda: gradient)

    def _factors(self, norms):
        return tf.minimum(1., self.settings.clip_norm / tf.maximum(norms, 1e-30))            # of inf: 1

    def _rescale(self, finite):
        good = tf.where(finite, self.good_steps + 1, 0)
        grow = good >= 2000
        replicas.write(self.scale, tf.where(finite, tf.where(grow, self.scale * 2, self.scale),
                                            tf.maximum(self.scale / 2, 1.)))
        replicas.write(self.good_steps, tf.where(grow, tf.zeros_like(good), good))
        return tf.constant(0)

    def state(self) -> dict[str, np.ndarray]:
        """name -> NumPy array of everything that a resumed run needs: ``momentum/012`` belongs to variable 12."""
        arrays = {name: variable.numpy() for name, variable in self._counters().items()}
        for group, slots in zip(self.groups, self.slots):
            for kind, slot in zip(self.rule.slots, slots):
                arrays.update({f'{kind}/{index:03d}': array for index, array in group.arrays(slot).items()})
        return arrays

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """The inverse of ``state``; raises KeyError or ValueError for the state of another optimiser."""
        for name, variable in self._counters().items():
            variable.assign(state[name])
        for group, slots in zip(self.groups, self.slots):
            for kind, slot in zip(self.rule.slots, slots):
                group.restore(slot, [state[f'{kind}/{index:03d}'] for index in group.indices])

    def _counters(self):
        return {'step': self.step, 'scale': self.scale, 'good_steps': self.good_steps}


def _like(group: groups.Group) -> tf.Variable:
    """A variable for one value beside each of a group's."""
    return tf.Variable(tf.zeros(group.shape), trainable=False)


def _is_kernel(variable) -> bool:
    """Whether weight decay applies: only to convolution kernels, not to biases and BatchNorm's parameters."""
    return 'kernel' in variable.name
