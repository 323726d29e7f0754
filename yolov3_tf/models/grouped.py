"""Convolutions in groups, which both Keras versions train on a CPU and store under one name."""
from __future__ import annotations

import tensorflow as tf


@tf.keras.utils.register_keras_serializable('yolov3_tf')
class GroupedConv(tf.keras.layers.Layer):
    """Convolution of [B, H, W, C] whose channels are cut into groups that do not see each other.

    ``kernel`` is [rows, columns, C / groups, filters], as Conv2D's is; darknet's file holds it the same
    way. Conv2D(groups=...) itself has no CPU gradient in TensorFlow outside XLA, and DepthwiseConv2D
    calls its kernel differently in Keras 2 and 3.

    Args:
      padding: 'same' or 'valid'.
    """

    def __init__(self, filters, size, stride, padding, groups, use_bias=False, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.size, self.stride, self.padding = filters, size, stride, padding
        self.groups, self.use_bias = groups, use_bias

    def build(self, input_shape):
        self.built = True
        self.depthwise = self.groups == input_shape[-1] == self.filters
        shape = (self.size, self.size, input_shape[-1] // self.groups, self.filters)
        self.kernel = self.add_weight(name='kernel', shape=shape, initializer='glorot_uniform')
        if self.use_bias:
            self.bias = self.add_weight(name='bias', shape=(self.filters,), initializer='zeros')

    def call(self, x):
        kernel = tf.convert_to_tensor(self.kernel)
        strides, padding = [1, self.stride, self.stride, 1], self.padding.upper()
        if self.depthwise:
            # [rows, columns, 1, C] and TensorFlow's [rows, columns, C, 1] lie alike in memory.
            shape = (self.size, self.size, self.filters, 1)
            y = tf.nn.depthwise_conv2d(x, tf.reshape(kernel, shape), strides, padding)
        else:
            parts = zip(tf.split(x, self.groups, -1), tf.split(kernel, self.groups, -1))
            y = tf.concat([tf.nn.conv2d(part, weights, strides, padding) for part, weights in parts], -1)
        return tf.nn.bias_add(y, self.bias) if self.use_bias else y

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *map(self._cells, input_shape[1:3]), self.filters)

    def _cells(self, size):
        if size is None:
            return None
        return -(-(size if self.padding == 'same' else size - self.size + 1) // self.stride)

    def get_config(self):
        return {**super().get_config(), 'filters': self.filters, 'size': self.size, 'stride': self.stride,
                'padding': self.padding, 'groups': self.groups, 'use_bias': self.use_bias}


@tf.keras.utils.register_keras_serializable('yolov3_tf')
class ChannelGroup(tf.keras.layers.Layer):
    """Part ``group_id`` of [B, H, W, C]'s channels, cut into ``groups`` parts."""

    def __init__(self, groups, group_id, **kwargs):
        super().__init__(**kwargs)
        self.groups, self.group_id = groups, group_id

    def call(self, x):
        size = x.shape[-1] // self.groups
        return x[..., self.group_id * size:(self.group_id + 1) * size]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], input_shape[-1] // self.groups)

    def get_config(self):
        return {**super().get_config(), 'groups': self.groups, 'group_id': self.group_id}
