"""Many small variables as one vector, so that an update takes a few operations for all of them instead of ten each.

Most variables of a network are vectors of BatchNorm and small kernels, and hold next to nothing of its values.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf import replicas

# A variable of fewer values joins the others in a vector; above it the copies there and back take longer than the
# operations that they replace. CPU ms of an update at a width of .25 (222 variables, 3.9 million values; Adam, SGD,
# moving average), median of 20 rounds on one core: nothing grouped 16.7, 13.3, 10.8; 1024: 15.0, 12.7, 6.0;
# 4096: 14.9, 12.6, 6.2; 16384: 14.5, 12.7, 6.0; 65536: 15.3, 13.5, 5.6.
SMALL = 16384


class Group(NamedTuple):
    """One variable, or several small ones that are updated as one vector.

    Attributes:
      indices: of the variables in their list.
      variables: the same variables.
    """
    indices: tuple[int, ...]
    variables: tuple[tf.Variable, ...]

    @property
    def single(self) -> bool:
        """Whether it is one variable, which keeps its shape."""
        return len(self.variables) == 1

    @property
    def sizes(self) -> list[int]:
        """The number of values of each variable."""
        return [int(np.prod(variable.shape)) for variable in self.variables]

    @property
    def shape(self) -> tf.TensorShape:
        """The shape of a joined tensor: that of the single variable, or [n]."""
        return self.variables[0].shape if self.single else tf.TensorShape([sum(self.sizes)])

    def join(self, tensors: Sequence[tf.Tensor]) -> tf.Tensor:
        """Of tensors for all variables of the list, those of this group as [n]; a single one as it is."""
        if self.single:
            return tensors[self.indices[0]]
        return tf.concat([_flat(tensors[index]) for index in self.indices], 0)

    def value(self) -> tf.Tensor:
        """The values of the variables, joined."""
        if self.single:
            return tf.convert_to_tensor(self.variables[0])
        return tf.concat([_flat(tf.convert_to_tensor(variable)) for variable in self.variables], 0)

    def split(self, joined: tf.Tensor) -> dict[int, tf.Tensor]:
        """The inverse of ``join``: index -> tensor in the variable's shape."""
        if self.single:
            return {self.indices[0]: tf.convert_to_tensor(joined)}
        parts = tf.split(joined, self.sizes)
        return {index: part if variable.shape.rank == 1 else tf.reshape(part, variable.shape)
                for index, variable, part in zip(self.indices, self.variables, parts)}

    def write(self, joined: tf.Tensor) -> None:
        """Assigns the parts of a joined tensor to the variables, in graph."""
        for variable, part in zip(self.variables, self.split(joined).values()):
            replicas.write(variable, part)

    def arrays(self, joined: tf.Variable) -> dict[int, np.ndarray]:
        """``split`` of a variable that holds something of every variable of the group, as NumPy arrays."""
        return {index: part.numpy() for index, part in self.split(joined).items()}

    def restore(self, joined: tf.Variable, arrays: Sequence[np.ndarray]) -> None:
        """The inverse of ``arrays``; raises ValueError if an array has another shape than its variable."""
        for variable, array in zip(self.variables, arrays):
            if tuple(variable.shape) != np.shape(array):
                raise ValueError(f'an array of shape {np.shape(array)} for {variable.name} {tuple(variable.shape)}')
        joined.assign(arrays[0] if self.single else np.concatenate([np.ravel(array) for array in arrays]))


def of(variables: Sequence[tf.Variable]) -> list[Group]:
    """The groups of a list of variables: large ones singly, all small ones in one group."""
    small = [index for index, variable in enumerate(variables) if np.prod(variable.shape) < SMALL]
    singles = [(index,) for index in range(len(variables)) if index not in small]
    return [Group(indices, tuple(variables[index] for index in indices))
            for indices in [*singles, tuple(small)] if indices]


def _flat(tensor):
    """[n]; most of them are that already, and a node less for each shortens every start."""
    return tensor if tensor.shape.rank == 1 else tf.reshape(tensor, [-1])
