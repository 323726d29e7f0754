"""Turns the images of a request into network inputs, in graph. The error names an image that cannot be used."""
from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

from yolov3_tf import geometry
from yolov3_tf.data import image_formats

ENCODED = 'image/encoded'           # feature of a tf.Example, by TensorFlow's own convention
AT_ONCE = 4                         # images of one request decoded in parallel; other requests need cores too


class Placed(NamedTuple):
    """Attributes:
      images: uint8 [B, H, W, 3] network inputs.
      placement: ``geometry.Placement`` with fields [B].
      sizes: int32 [B, 2] height, width of the images.
    """
    images: Any
    placement: geometry.Placement
    sizes: Any


def place_arrays(images: tf.Tensor, height: int, width: int, letterbox: bool) -> Placed:
    """uint8 [B, h, w, 3] RGB -> network inputs."""
    spec = Placed(tf.TensorSpec([height, width, 3], tf.uint8),
                  geometry.Placement(*[tf.TensorSpec([], tf.float32)] * 4), tf.TensorSpec([2], tf.int32))
    return tf.map_fn(lambda image: _place(image, height, width, letterbox), images, fn_output_signature=spec)


def place_encoded(contents: tf.Tensor, height: int, width: int, letterbox: bool) -> Placed:
    """String [B] with JPEG, PNG, BMP or GIF (its first frame) images of any sizes -> network inputs.

    Raises:
      tf.errors.InvalidArgumentError: such as 'images[1] of 3: neither JPEG, PNG, BMP nor GIF', for each broken image.
    """
    def why(broken):
        return tf.strings.join([_name('images', broken, contents), _fault(tf.gather(contents, broken))])

    return _place_all(contents, lambda content: content, why, height, width, letterbox)


def place_examples(examples: tf.Tensor, height: int, width: int, letterbox: bool) -> Placed:
    """String [B] of serialised tf.Examples with an image in the feature ``image/encoded``; see ``place_encoded``."""
    def to_content(example):
        feature = tf.io.FixedLenFeature([], tf.string)
        return tf.io.parse_single_example(example, {ENCODED: feature})[ENCODED]

    def why(broken):
        return tf.strings.join([_name('examples', broken, examples),
                                f'no tf.Example with a JPEG, PNG, BMP or GIF in {ENCODED}, or a damaged one'])

    return _place_all(examples, to_content, why, height, width, letterbox)


def decode(content: tf.Tensor) -> tf.Tensor:
    """An encoded image -> uint8 [h, w, 3]; alpha is dropped, grey spread over three channels, 16 bits cut to 8."""
    def bmp():          # the only decoder that cannot convert to three channels
        pixels = tf.io.decode_bmp(content)
        grey = tf.equal(tf.shape(pixels)[-1], 1)
        return tf.cond(grey, lambda: tf.tile(pixels[..., :1], [1, 1, 3]), lambda: pixels[..., :3])

    is_bmp = tf.equal(tf.strings.substr(content, 0, 2), b'BM')
    pixels = tf.cond(is_bmp, bmp, lambda: tf.io.decode_image(content, 3, expand_animations=False))
    return tf.ensure_shape(pixels, [None, None, 3])


def _place_all(batch, to_content, why, height, width, letterbox):
    """Decodes and places all images; fails with the message ``why(indices)`` if some cannot be decoded.

    It uses tf.data, because nothing else in a graph survives an operation that fails: images that do not decode
    are dropped, and the missing indices are found afterwards.
    """
    count = tf.size(batch, out_type=tf.int64)

    def one(index):
        return index, _place(decode(to_content(batch[index])), height, width, letterbox)

    rows = tf.data.Dataset.range(count).map(one, AT_ONCE, deterministic=True).ignore_errors()
    # One row that always exists, because reading an empty dataset is an error too.
    blank = count, _place(tf.zeros([1, 1, 3], tf.uint8), height, width, letterbox)
    rows = rows.concatenate(tf.data.Dataset.from_tensors(blank)).batch(count + 1).with_options(_options())
    indices, placed = tf.data.Dataset.get_single_element(rows)
    broken = tf.sets.difference(tf.range(count)[None], indices[None]).values
    with tf.control_dependencies([tf.debugging.Assert(
            tf.equal(tf.size(broken), 0), [tf.strings.reduce_join(why(broken), separator='; ')])]):
        return tf.nest.map_structure(lambda column: column[:-1], placed)


def _options():
    """Turns off what helps only with many elements: optimisation and tuning would start again for each request."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    return options


def _place(image, height, width, letterbox):
    return Placed(*geometry.place_image(image, height, width, letterbox), tf.shape(image)[:2])


def _name(what, broken, batch):
    return tf.strings.join([f'{what}[', tf.strings.as_string(broken), '] of ', tf.strings.as_string(tf.size(batch)),
                            ': '])


def _fault(content):
    """What is wrong with images that did not decode, string [n]."""
    fault = tf.fill(tf.shape(content), f'neither {image_formats.SERVED_NAMES.replace(" or ", " nor ")}')
    for kind, known in image_formats.SERVED.items():
        for mark in known.magic:
            alike = tf.equal(tf.strings.substr(content, 0, len(mark)), mark)
            fault = tf.where(alike, f'a damaged or cut off {kind}', fault)
    return tf.where(tf.equal(tf.strings.length(content), 0), 'empty', fault)
