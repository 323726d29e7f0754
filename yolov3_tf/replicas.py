"""What the replicas of a network exchange inside a training step.

Outside of ``tf.distribute`` there is one replica and nothing to exchange: the graphs are as without this module.
"""
from __future__ import annotations

from typing import TypeVar

import tensorflow as tf

Tensors = TypeVar('Tensors')      # a tensor or a list of them


def count() -> int:
    """Replicas that make this step together, over all workers."""
    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context else 1


def total(tensors: Tensors) -> Tensors:
    """Sums over the replicas of a tensor or a list of them, the same on each; gradients flow through it."""
    if count() == 1:
        return tensors
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tensors)


def write(variable: tf.Variable, value: tf.Tensor) -> None:
    """Assigns to this replica's copy of a variable alone: every replica must write the same.

    ``assign`` would synchronise the replicas for each variable, which is impossible inside a ``tf.cond``.
    """
    if count() == 1:
        variable.assign(value)
    else:
        tf.raw_ops.AssignVariableOp(resource=getattr(variable, '_value', variable).handle, value=value)


def add(variable: tf.Variable, value: float | tf.Tensor) -> tf.Tensor:
    """As ``write``, adds instead; returns the sum."""
    if count() == 1:
        return variable.assign_add(value)
    tf.raw_ops.AssignAddVariableOp(resource=variable.handle, value=tf.cast(value, variable.dtype))
    return tf.convert_to_tensor(variable)
