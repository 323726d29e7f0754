"""``--keep_features``: the frozen part of a network is computed once an image, and the rest trains on what it gave.

The key of an image is a hash of its pixels in the network input, so order, batches and flips need no account of their
own: what is seen a second time is known. Features are computed image by image, so they do not depend on the other
images of a batch, and a resumed run has the same.

CPU time of a head stage's step on one thread, batch 4: the full network at 416 pixels 3.93 s -> 2.12 s, a quarter of
its width at 192 pixels .074 s -> .049 s (TensorFlow 2.21), .045 s (2.15). The head's own two passes remain.
"""
from __future__ import annotations

import math

import tensorflow as tf

from yolov3_tf.data.pipeline import PipelineSettings
from yolov3_tf.errors import InputError
from yolov3_tf.training import stages
from yolov3_tf.training.stages import Stage

SEEN_AGAIN = {'flip': 2, 'vflip': 2, 'rot90': 4}        # augmentations -> how many images they make of one


def can_be_kept(stage: Stage) -> bool:
    """Whether a stage has a frozen part whose features do not change."""
    return stage.frozen != stages.NOTHING and stage.frozen_bn == 'fixed'


def check(batches: PipelineSettings, plan: tuple[Stage, ...], replicas: int) -> None:
    """Raises InputError where features cannot be kept, or no image would be seen a second time.

    Without a frozen stage (``--head_epochs``) there is nothing to keep, which is no error.
    """
    others = [name for name in batches.augment if name not in SEEN_AGAIN]
    if others:
        raise InputError(f'--keep_features beside --augment={",".join(batches.augment)}: {others[0]} makes a new image '
                         f'every time; expected only {", ".join(SEEN_AGAIN)}, or none')
    if len(batches.sizes) > 1:
        raise InputError('--keep_features beside several --train_sizes: expected one --image_size')
    if replicas > 1:
        raise InputError('--keep_features on several devices: expected one, --strategy=none')
    if any(stage.frozen != stages.NOTHING and not can_be_kept(stage) for stage in plan):
        raise InputError('--keep_features beside --frozen_bn=adapt, whose features change with every batch: give '
                         '--frozen_bn=fixed')


def split(model: tf.keras.Model) -> tuple[tf.keras.Model, tf.keras.Model]:
    """Two networks that share a model's layers: images -> features, by layers without a trainable weight; the rest.

    The features are all tensors that the rest takes from the first part. Dropout belongs to the rest.
    """
    fixed = {id(tensor) for tensor in model.inputs}
    features: dict[int, tf.Tensor] = {}
    for layer in model.layers:              # in an order in which inputs come first
        inputs, results = tf.nest.flatten(layer.input), tf.nest.flatten(layer.output)
        known = [tensor for tensor in inputs if id(tensor) in fixed]
        if len(known) == len(inputs) and not layer.trainable_weights and not isinstance(layer, tf.keras.layers.Dropout):
            fixed.update(id(tensor) for tensor in results)
        else:
            features.update((id(tensor), tensor) for tensor in known)
    tensors = list(features.values())
    return tf.keras.Model(model.inputs, tensors), tf.keras.Model(tensors, model.outputs[0])


class KeptFeatures:
    """A model in training whose frozen part is computed once an image; called like the model.

    Args:
      model: already frozen (``stages.freeze``); its other layers train as before.
      height, width: of all images, in pixels.
    """

    def __init__(self, model: tf.keras.Model, height: int, width: int):
        self.frozen, self.rest = split(model)
        tried = tf.nest.flatten(self.frozen(tf.zeros([1, height, width, 3]), training=True))
        self.types = [tensor.dtype for tensor in tried]
        self.shapes = [tensor.shape[1:].as_list() for tensor in tried]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.table = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32,
                                                             tf.fill([sum(self.sizes)], math.nan))

    def __call__(self, images: tf.Tensor, training: bool) -> tf.Tensor:
        """float32 [B, H, W, 3] -> the model's outputs; in graph."""
        pixels = tf.reshape(images, [tf.shape(images)[0], -1])
        keys = tf.bitcast(tf.fingerprint(pixels), tf.int64)
        kept = self.table.lookup(keys)
        new = tf.where(tf.reduce_any(tf.math.is_nan(kept), axis=1))[:, 0]

        def with_new():
            found = tf.map_fn(self._flat, tf.gather(images, new), fn_output_signature=tf.float32)
            with tf.control_dependencies([self.table.insert(tf.gather(keys, new), found)]):
                return tf.tensor_scatter_nd_update(kept, new[:, None], found)
        flat = tf.stop_gradient(tf.cond(tf.size(new) > 0, with_new, lambda: kept))
        parts = tf.split(flat, self.sizes, axis=1)
        return self.rest([tf.cast(tf.reshape(part, [-1, *shape]), kind)
                          for part, shape, kind in zip(parts, self.shapes, self.types)], training=training)

    def _flat(self, image):
        """The features of one image [H, W, 3] in a row, float32: they fit in it whatever the precision."""
        found = tf.nest.flatten(self.frozen(image[None], training=True))
        return tf.concat([tf.cast(tf.reshape(tensor, [-1]), tf.float32) for tensor in found], 0)
