"""The one module for the resize: where an image's pixels are in the network input, and the way back.

Training, evaluation, export and detection all place images by :func:`fit`, so a detection undoes exactly
what the network saw. The resized size is a whole number of pixels; scales are the quotient of the whole
sizes, not the ratio that was asked for, so boxes move with the pixels and not up to half a pixel beside them.
Pixel centres lie at half integers (``half_pixel_centers``, OpenCV's convention too). Everything is in graph.
"""
from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf

GREY = 128


class Placement(NamedTuple):
    """Map of image pixels to network pixels: network = image * scale + offset, for x and y.

    Fields are float32, all of one shape: [] for one image, [B] for a batch.
    """
    scale_x: Any
    scale_y: Any
    offset_x: Any
    offset_y: Any


class FittedView(NamedTuple):
    """The part of an image that a view shows, and where it is in the network input.

    Attributes:
      rectangle: int32 [4] x1, y1, x2, y2 pixels of the image, inside it, at least one pixel.
      target: int32 [4] x1, y1, x2, y2 pixels of the network input that ``rectangle`` fills.
      placement: the exact map of the one onto the other.
    """
    rectangle: Any
    target: Any
    placement: Placement


def fit(image_height: int | tf.Tensor, image_width: int | tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor,
        letterbox: bool) -> tuple[Placement, tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Resized size and position of an image in a network input; sizes are ints or int32 scalars, in pixels.

    Args:
      letterbox: keep the aspect ratio and centre the image between grey bars, or else stretch it.

    Returns:
      (Placement, resized_height, resized_width, top, left), the last four int32 scalars, resized sizes >= 1.
    """
    image = tf.stack([image_width, image_height])
    network = tf.stack([width, height])
    size = _letterboxed(image, network) if letterbox else network
    near = (network - size) // 2
    scale = tf.cast(size, tf.float32) / tf.cast(image, tf.float32)
    offset = tf.cast(near, tf.float32)
    return Placement(scale[0], scale[1], offset[0], offset[1]), size[1], size[0], near[1], near[0]


def _letterboxed(image, network):
    """Largest size of the image's aspect inside the network input, int32 [2]; in whole numbers all the way."""
    # Not [::-1]: a slice of negative stride in a served graph makes TensorFlow's layout optimiser give up, loudly.
    other, other_network = tf.reverse(image, [0]), tf.reverse(network, [0])
    by_other_side = (2 * image * other_network + other) // (2 * other)     # rounded quotient
    return tf.maximum(tf.minimum(by_other_side, network), 1)


def fit_view(image_height: int | tf.Tensor, image_width: int | tf.Tensor, view: tf.Tensor, height: int | tf.Tensor,
             width: int | tf.Tensor, letterbox: bool) -> FittedView:
    """Fits a view into the network input and finds the pixels of the image that it shows.

    Args:
      view: int32 [4] x1, y1, x2, y2 pixels of the image; it may reach beyond the image (that part
        stays grey) but must share at least one pixel with it.

    Returns:
      FittedView.
    """
    whole, _, _, _, _ = fit(view[3] - view[1], view[2] - view[0], height, width, letterbox)
    limit = tf.stack([image_width, image_height] * 2)
    rectangle = tf.clip_by_value(view, 0, limit)
    network = tf.stack([width, height])
    in_view = tf.cast(rectangle - tf.tile(view[:2], [2]), tf.float32)
    edges = tf.cast(tf.round(_affine(in_view, whole)), tf.int32)
    near = tf.minimum(edges[:2], network - 1)
    far = tf.minimum(tf.maximum(edges[2:], near + 1), network)
    scale = tf.cast(far - near, tf.float32) / tf.cast(rectangle[2:] - rectangle[:2], tf.float32)
    offset = tf.cast(near, tf.float32) - tf.cast(rectangle[:2], tf.float32) * scale
    return FittedView(rectangle, tf.concat([near, far], 0), Placement(scale[0], scale[1], offset[0], offset[1]))


def to_network(boxes: tf.Tensor, placement: Placement) -> tf.Tensor:
    """Boxes [..., N, 4] of the image -> pixels of the network input; placement fields [...]."""
    return _affine(boxes, Placement(*[tf.expand_dims(field, -1) for field in placement]))


def to_image(boxes: tf.Tensor, placement: Placement) -> tf.Tensor:
    """Boxes [..., N, 4] of the network input -> pixels of the image, unclipped; placement fields [...]."""
    scale, offset = _vectors(Placement(*[tf.expand_dims(field, -1) for field in placement]))
    return (boxes - offset) / scale


def _affine(boxes, placement):
    """Boxes [..., 4] times scale plus offset; placement fields broadcast to [...]."""
    scale, offset = _vectors(placement)
    return boxes * scale + offset


def _vectors(placement):
    """Scale and offset of x1, y1, x2, y2, each [..., 4]."""
    return (tf.stack([placement.scale_x, placement.scale_y] * 2, axis=-1),
            tf.stack([placement.offset_x, placement.offset_y] * 2, axis=-1))


def mirror(boxes: tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Boxes [..., 4] seen in a mirror: left and right exchanged in an image of this width in pixels."""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    width = tf.cast(width, boxes.dtype)
    return tf.stack([width - x2, y1, width - x1, y2], axis=-1)


def upend(boxes: tf.Tensor, height: int | tf.Tensor) -> tf.Tensor:
    """Boxes [..., 4] seen upside down, not turned: top and bottom exchanged in an image of this height in pixels."""
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    height = tf.cast(height, boxes.dtype)
    return tf.stack([x1, height - y2, x2, height - y1], axis=-1)


def transpose(boxes: tf.Tensor) -> tf.Tensor:
    """Boxes [..., 4] with x and y exchanged."""
    return tf.gather(boxes, [1, 0, 3, 2], axis=-1)


def place_image(image: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor,
                letterbox: bool) -> tuple[tf.Tensor, Placement]:
    """Resizes an image into the network input, with grey 128 around it under letterbox.

    Args:
      image: uint8 or float [h, w, 3] in 0..255.
      height, width: of the network input, ints or int32 scalars.

    Returns:
      (uint8 [height, width, 3], Placement with scalar fields).
    """
    shape = tf.shape(image)
    placement, resized_height, resized_width, top, left = fit(shape[0], shape[1], height, width, letterbox)
    resized = to_uint8(resize(image, resized_height, resized_width))
    return pad(resized, top, left, height, width, GREY), placement


def resize(image: tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor) -> tf.Tensor:
    """Bilinear, [h, w, 3] uint8 or float -> float32 [height, width, 3], unrounded."""
    return tf.raw_ops.ResizeBilinear(images=image[None], size=[height, width], half_pixel_centers=True)[0]


def pad(image: tf.Tensor, top: int | tf.Tensor, left: int | tf.Tensor, height: int | tf.Tensor, width: int | tf.Tensor,
        value: float | tf.Tensor) -> tf.Tensor:
    """[h, w, 3] -> [height, width, 3] of the same dtype, the image at (top, left), ``value`` around it."""
    shape = tf.shape(image)
    around = [[top, height - top - shape[0]], [left, width - left - shape[1]], [0, 0]]
    padded = tf.pad(image, around, constant_values=tf.cast(value, image.dtype))
    return tf.ensure_shape(padded, [_static(height), _static(width), 3])


def to_uint8(image: tf.Tensor) -> tf.Tensor:
    """Rounds and limits float pixels to 0..255: the one kernel that does both in a single pass."""
    quantized = tf.raw_ops.QuantizeV2(input=image, min_range=0., max_range=255., T=tf.quint8, mode='SCALED',
                                      round_mode='HALF_TO_EVEN')
    return tf.bitcast(quantized.output, tf.uint8)


def _static(size):
    """The size where it is known before the graph runs, else None."""
    return tf.get_static_value(size) if tf.is_tensor(size) else int(size)
