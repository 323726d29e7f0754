"""The layers every darknet network is made of: convolution, BatchNorm and LeakyReLU, numbered as in darknet's files.

Two of them are our own because the stock ones take a fifth to a quarter of a training step in half
precision on a CPU: Keras 3's BatchNormalization is not fused, and TensorFlow 2.15's bfloat16 gradient
of LeakyReLU is a scalar kernel. Variables, names and arithmetic are the stock layers'.
"""
from __future__ import annotations

import tensorflow as tf

from yolov3_tf import replicas

SLOPE = .1


@tf.keras.utils.register_keras_serializable('yolov3_tf')
class BatchNorm(tf.keras.layers.Layer):
    """Batch normalisation over the last axis of [B, H, W, C] by TensorFlow's fused kernel.

    float32 statistics and parameters whatever the dtype of the images. While training it normalises by
    the batch and moves its averages; otherwise it uses the averages. A layer that is not ``trainable``
    does the latter (Keras semantics), unless ``adapt`` is set: then gamma and beta are frozen but statistics
    and averages go on as if training (how the TF1 reference "fixes" a backbone).

    Where several replicas share a batch, each normalises by its own images and moves its own averages (of
    which the step then takes the mean), or, with ``synchronized`` set, by all of them, in plain operations, because
    the kernel knows one replica only.

    Args:
      momentum: decay of the moving averages (the reference: .99).
      epsilon: added to the variance (1e-5 in darknet's TensorFlow ports).
    """

    def __init__(self, momentum=.99, epsilon=1e-5, **kwargs):
        kwargs['dtype'] = 'float32'
        super().__init__(autocast=False, **kwargs)
        self.momentum, self.epsilon = momentum, epsilon
        self.adapt = self.synchronized = False

    def build(self, input_shape):
        self.built = True
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(name='gamma', shape=shape, initializer='ones')
        self.beta = self.add_weight(name='beta', shape=shape, initializer='zeros')
        self.moving_mean = self.add_weight(name='moving_mean', shape=shape, initializer='zeros', trainable=False)
        self.moving_variance = self.add_weight(
            name='moving_variance', shape=shape, initializer='ones', trainable=False)

    def call(self, x, training=None):
        by_batch = bool(training) and (self.trainable or self.adapt)
        if by_batch and self.synchronized and replicas.count() > 1:
            y, mean, variance = self._over_replicas(x)
        else:
            y, mean, variance = self._fused(x, by_batch)
        if by_batch:
            replicas.write(self.moving_mean, mean)
            replicas.write(self.moving_variance, variance)
        return y

    def _fused(self, x, by_batch):
        """(normalised input, updated moving mean, updated moving variance)."""
        # Any momentum under 1 makes the kernel return the moved averages themselves.
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=x, scale=_value(self.gamma), offset=_value(self.beta), mean=_value(self.moving_mean),
            variance=_value(self.moving_variance), epsilon=self.epsilon,
            exponential_avg_factor=1 - self.momentum, is_training=by_batch)
        return y, mean, variance

    def _over_replicas(self, x):
        """The same by the statistics of all replicas' images."""
        shift = _value(self.moving_mean)            # subtracted before summing, against cancellation
        pixels = tf.cast(tf.size(x) // x.shape[-1], tf.float32)
        mean, variance = tf.nn.moments(tf.cast(x, tf.float32), [0, 1, 2])
        off = mean - shift
        sums = replicas.total(tf.concat([[pixels], pixels * off, pixels * (variance + tf.square(off))], 0))
        pixels, off, square = tf.split(sums, [1, x.shape[-1], x.shape[-1]])
        off, square = off / pixels, square / pixels
        mean, variance = shift + off, tf.maximum(square - tf.square(off), 0.)
        y = tf.nn.batch_normalization(tf.cast(x, tf.float32), mean, variance, _value(self.beta), _value(self.gamma),
                                      self.epsilon)
        unbiased = variance * pixels / tf.maximum(pixels - 1, 1.)       # as the kernel's averages are
        return tf.cast(y, x.dtype), self._moved(shift, mean), self._moved(_value(self.moving_variance), unbiased)

    def _moved(self, average, value):
        return average + (1 - self.momentum) * (value - average)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), 'momentum': self.momentum, 'epsilon': self.epsilon}


@tf.keras.utils.register_keras_serializable('yolov3_tf')
class LeakyReLU(tf.keras.layers.Layer):
    """max(x, .1 x), with a gradient that vectorises in bfloat16 (four times faster in TensorFlow 2.15).

    In float32 it is TensorFlow's own, of the output: one operation instead of five, and the same bits.

    Args:
      inference: take TensorFlow's own op instead. Only that one is fused into the convolution before it;
        a custom gradient leaves an IdentityN between the two.
    """

    def __init__(self, inference=False, **kwargs):
        super().__init__(**kwargs)
        self.inference = inference

    def call(self, x):
        return tf.nn.leaky_relu(x, SLOPE) if self.inference else _leaky_relu(x)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), 'inference': self.inference}


@tf.custom_gradient
def _leaky_relu(x):
    y = tf.nn.leaky_relu(x, SLOPE)

    def gradient(upstream):
        # The output has the input's sign; keeping it instead of the input frees the input's memory.
        if upstream.dtype == tf.float32:
            return tf.raw_ops.LeakyReluGrad(gradients=upstream, features=y, alpha=SLOPE)
        return upstream * (SLOPE + (1 - SLOPE) * tf.cast(y > 0, upstream.dtype))
    return y, gradient


@tf.keras.utils.register_keras_serializable('yolov3_tf')
class Upsample(tf.keras.layers.Layer):
    """Every pixel ``factor`` times in each direction, with a gradient that a GPU, too, sums in a fixed order.

    Keras 2's UpSampling2D has none that is deterministic there; Keras 3's takes twice the processor time of both
    ways (a 26 x 26 x 128 map, batch 4). Exports have UpSampling2D: other runtimes know its operations.
    """

    def __init__(self, factor=2, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return _upsample(x, self.factor)

    def compute_output_shape(self, input_shape):
        batch, height, width, channels = input_shape
        return (batch, height and self.factor * height, width and self.factor * width, channels)

    def get_config(self):
        return {**super().get_config(), 'factor': self.factor}


def upsample(factor: int, folded: bool, name: str) -> tf.keras.layers.Layer:
    """The up-sampling layer for training or, where ``folded``, for inference."""
    return tf.keras.layers.UpSampling2D(factor, name=name) if folded else Upsample(factor, name=name)


def _upsample(x, factor):
    @tf.custom_gradient
    def repeated(x):
        y = tf.raw_ops.ResizeNearestNeighbor(images=x, size=factor * tf.shape(x)[1:3])
        return y, lambda upstream: factor ** 2 * tf.nn.avg_pool2d(upstream, factor, factor, 'VALID')
    return repeated(x)


def _value(variable):
    """The float32 value of a Keras 2 or Keras 3 variable, whatever autocast scope is open around it."""
    return tf.convert_to_tensor(getattr(variable, '_value', variable))


class ConvStack:
    """Adds convolutions to a functional model, numbered from 1 in the order of darknet's weight files.

    Args:
      width_multiplier: scales the filters of every convolution that is not an output; results are
        rounded to multiples of 8, at least 8.
      folded: convolutions carry a bias and no BatchNorm follows (inference with BatchNorm folded in).
    """

    def __init__(self, width_multiplier=1., folded=False):
        self.width_multiplier, self.folded, self.count, self.part = width_multiplier, folded, 0, 'backbone'

    def width(self, filters: int) -> int:
        """Filters of a convolution that has so many at width 1."""
        return max(8, round(filters * self.width_multiplier / 8) * 8)

    def conv(self, x: tf.Tensor, filters: int, size: int, stride: int = 1) -> tf.Tensor:
        """Convolution, BatchNorm, LeakyReLU: [B, H, W, any] -> [B, H / stride, W / stride, width(filters)].

        Stride 2 pads one pixel on all four sides, as darknet does; 'same' would pad right and bottom only and
        shift every feature by a pixel.
        """
        self.count += 1
        if stride == 2:
            x = tf.keras.layers.ZeroPadding2D(1, name=f'{self.part}_pad_{self.count:02d}')(x)
        x = tf.keras.layers.Conv2D(
            self.width(filters), size, stride, padding='same' if stride == 1 else 'valid', use_bias=self.folded,
            name=f'{self.part}_conv_{self.count:02d}')(x)
        if not self.folded:
            x = BatchNorm(name=f'{self.part}_bn_{self.count:02d}')(x)
        return LeakyReLU(inference=self.folded, name=f'{self.part}_leaky_{self.count:02d}')(x)

    def output(self, x: tf.Tensor, channels: int) -> tf.Tensor:
        """1x1 convolution with bias, in float32 whatever the precision of the rest."""
        self.count += 1
        return tf.keras.layers.Conv2D(channels, 1, dtype='float32', name=f'{self.part}_conv_{self.count:02d}')(x)

    def branch(self, name: str) -> ConvStack:
        """A stack for layers that no darknet file has. They count from 1 and are named after the number that
        the next convolution here would get: ``head_59_box_conv_01``."""
        branch = ConvStack(self.width_multiplier, self.folded)
        branch.part = f'{self.part}_{self.count + 1:02d}_{name}'
        return branch
