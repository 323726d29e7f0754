"""Darknet's convolutions: padding in pixels on all four sides, channels in groups."""
from __future__ import annotations

import tensorflow as tf


@tf.keras.utils.register_keras_serializable('yolov3_tf')
class Conv(tf.keras.layers.Layer):
    """Convolution of [B, H, W, C], square and with one stride, its channels cut into groups.

    Ours because Conv2D(groups=...) has no CPU gradient in TensorFlow outside XLA, because DepthwiseConv2D
    calls its kernel differently in Keras 2 and 3, and because padding inside the operation avoids
    a ZeroPadding2D's copy of the images before each strided convolution. The depthwise operation alone gets
    images that are padded already: TensorFlow's graph optimiser fuses it with the bias after it and loses
    explicit paddings on the way, and oneDNN then ends the process.

    Args:
      filters: of the output, a multiple of ``groups``, as C is.
      padding: pixels of zeros on every side.

    Its ``kernel`` is [size, size, C / groups, filters] whatever the groups: Conv2D's shape, and, but for the
    order of the axes, that of darknet's files.
    """

    def __init__(self, filters, size, stride=1, padding=0, groups=1, use_bias=False, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.size, self.stride, self.padding = filters, size, stride, padding
        self.groups, self.use_bias = groups, use_bias

    def build(self, input_shape):
        self.built = True
        self.depthwise = 1 < self.groups == input_shape[-1] == self.filters
        shape = (self.size, self.size, input_shape[-1] // self.groups, self.filters)
        self.kernel = self.add_weight(name='kernel', shape=shape, initializer='glorot_uniform')
        if self.use_bias:
            self.bias = self.add_weight(name='bias', shape=(self.filters,), initializer='zeros')

    def call(self, x):
        kernel, strides, padding = tf.convert_to_tensor(self.kernel), [1, self.stride, self.stride, 1], self._around()
        if self.depthwise:
            if not isinstance(padding, str):
                x, padding = tf.pad(x, padding), 'VALID'
            # [size, size, 1, C] and TensorFlow's [size, size, C, 1] have the same layout in memory.
            y = tf.nn.depthwise_conv2d(x, tf.reshape(kernel, (self.size, self.size, self.filters, 1)), strides, padding)
        elif self.groups > 1:
            parts = zip(tf.split(x, self.groups, -1), tf.split(kernel, self.groups, -1))
            y = tf.concat([tf.nn.conv2d(part, weights, strides, padding) for part, weights in parts], -1)
        else:
            y = tf.nn.conv2d(x, kernel, strides, padding)
        return tf.nn.bias_add(y, tf.convert_to_tensor(self.bias)) if self.use_bias else y

    def _around(self):
        if not self.padding:
            return 'VALID'
        if self.stride == 1 and 2 * self.padding == self.size - 1:
            return 'SAME'
        return [[0, 0], [self.padding] * 2, [self.padding] * 2, [0, 0]]

    def compute_output_shape(self, input_shape):
        cells = [size and (size + 2 * self.padding - self.size) // self.stride + 1 for size in input_shape[1:3]]
        return (input_shape[0], *cells, self.filters)

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
