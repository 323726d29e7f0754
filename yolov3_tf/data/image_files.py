"""Encoded images: their size before decoding, their pixels, and why one cannot be used.

Whatever ``tf.io.decode_image`` reads is read, by its first bytes and not by its name: JPEG (grey and CMYK
too), PNG (16-bit, palette, alpha), BMP, the first frame of a GIF. Alpha is dropped, 16 bits are cut to 8.
"""
from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf.data import image_formats
from yolov3_tf.errors import InputError

# EXIF orientation 2..8 in the first directory: byte order mark, directory at byte 8 behind it, its number of
# entries, then entries of twelve bytes: tag 0x0112, type SHORT, one value. \C is RE2's single byte.
_TURNED = (r'\C*?Exif\x00\x00(?:'
           r'II\x2a\x00\x08\x00\x00\x00\C{2}(?:\C{12}){0,40}?\x12\x01\x03\x00\x01\x00\x00\x00[\x02-\x08]\x00|'
           r'MM\x00\x2a\x00\x00\x00\x08\C{2}(?:\C{12}){0,40}?\x01\x12\x00\x03\x00\x00\x00\x01\x00[\x02-\x08])\C*')
_JPEG, = image_formats.FORMATS['JPEG'].magic
_HEADER_BYTES = 4096        # EXIF is at the start of the file
_IN_SHARD = re.compile(r'(.+)#(\d{1,18})\+(\d{1,10})', re.DOTALL)
_FRAMING = 16               # bytes of a TFRecord around its contents
ENCODED = 'image/encoded'   # of a tf.train.Example, as the Object Detection API names it


class Location(NamedTuple):
    """Where the bytes of an image are: a file, or a record of a TFRecord shard.

    A shard's image is written ``SHARD#OFFSET+LENGTH``: the record's offset in the file and the length of its
    contents, a serialized tf.train.Example that holds the image under ``ENCODED``.

    Attributes:
      file: path or URL.
      offset, length: of the record; -1 and 0 where the image is the file.
    """
    file: str
    offset: int
    length: int

    def __str__(self):
        return self.file if self.offset < 0 else f'{self.file}#{self.offset}+{self.length}'


class Image(NamedTuple):
    """An opened image; ``pixels`` is filled only where decoding a part is impossible.

    Attributes:
      contents: string scalar, the file.
      height, width: int32 scalars, pixels as stored.
      partly: bool scalar, whether ``decode_part`` may decode just the part (a JPEG that has its end mark).
      pixels: uint8 [h, w, 3] RGB, or [0, 0, 3] where ``partly``.
    """
    contents: Any
    height: Any
    width: Any
    partly: Any
    pixels: Any


def location_of(path: str) -> Location:
    """Parses a Record's ``image_path``."""
    match = _IN_SHARD.fullmatch(path)
    return Location(match.group(1), int(match.group(2)), int(match.group(3))) if match else Location(path, -1, 0)


def read_record(file: tf.Tensor, offset: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Encoded image of a record: string, int64 and int64 scalars -> string scalar. In graph.

    The file is not read before the offset, and the record's check sums are verified.

    Raises:
      tf.errors.OpError: no such file, or the record is damaged.
    """
    record = tf.raw_ops.TFRecordDatasetV2(filenames=[file], compression_type='', buffer_size=length + _FRAMING,
                                          byte_offsets=[offset])
    record = tf.raw_ops.TakeDataset(input_dataset=record, count=tf.constant(1, tf.int64), output_types=[tf.string],
                                    output_shapes=[[]])
    example, = tf.raw_ops.DatasetToSingleElement(dataset=record, output_types=[tf.string], output_shapes=[[]])
    return tf.io.parse_single_example(example, {ENCODED: tf.io.FixedLenFeature([], tf.string)})[ENCODED]


def read_contents(path: str) -> bytes:
    """The encoded bytes of a Record's image.

    Raises:
      InputError: they cannot be read.
    """
    location = location_of(path)
    try:
        if location.offset < 0:
            return tf.io.read_file(path).numpy()
        offset, length = tf.constant(location.offset, tf.int64), tf.constant(location.length, tf.int64)
        return read_record(location.file, offset, length).numpy()
    except tf.errors.OpError as error:
        raise InputError(f'{path}: cannot be read ({first_line(error)})') from None


def open_image(contents: tf.Tensor) -> Image:
    """String scalar with an encoded image -> Image. In graph.

    A JPEG without its end mark is decoded whole, because only that shows whether it is truncated: decoding
    a part would succeed, depending on the part.

    Raises:
      tf.errors.InvalidArgumentError: not an image, damaged, or turned by its EXIF orientation.
    """
    jpeg = tf.equal(tf.strings.substr(contents, 0, len(_JPEG)), _JPEG)
    partly = jpeg & tf.equal(tf.strings.substr(contents, -2, 2), b'\xff\xd9')
    upright = tf.debugging.Assert(~is_turned(contents), ['turned by its EXIF orientation'])
    with tf.control_dependencies([upright] if upright is not None else []):     # None: eager, already checked
        height, width, pixels = tf.cond(
            partly, lambda: _jpeg_header(contents), lambda: _decode_whole(contents))
    return Image(contents, height, width, partly, pixels)


def decode_part(image: Image, rectangle: tf.Tensor) -> tf.Tensor:
    """Pixels of a rectangle (int32 [4] x1, y1, x2, y2, inside the image) -> uint8 [h, w, 3] RGB. In graph.

    Raises:
      tf.errors.InvalidArgumentError: the file is damaged.
    """
    x1, y1, x2, y2 = tf.unstack(rectangle)
    window = tf.stack([y1, x1, y2 - y1, x2 - x1])
    return tf.cond(
        image.partly,
        lambda: tf.image.decode_and_crop_jpeg(image.contents, window, channels=3),
        lambda: image.pixels[y1:y2, x1:x2])


def is_turned(contents: tf.Tensor) -> tf.Tensor:
    """Whether a JPEG's EXIF asks the viewer to turn or mirror it; string scalar -> bool scalar. In graph.

    Some tools annotate the turned image and others the stored one, so neither
    reading of such a file can be trusted.
    """
    return tf.strings.regex_full_match(tf.strings.substr(contents, 0, _HEADER_BYTES), _TURNED)


def read_image(path: str) -> np.ndarray:
    """Pixels of an image file as uint8 [h, w, 3] RGB, NumPy.

    Raises:
      InputError: it cannot be used; the message is that of ``explain``.
    """
    why = explain(path)
    if why:
        raise InputError(why)
    return _decode_whole(tf.constant(read_contents(path)))[2].numpy()


def explain(path: str) -> str | None:
    """Why the image cannot be used, as one message with the path and the way out; None where it can."""
    file = location_of(path).file
    if not tf.io.gfile.exists(file):
        return f'{file}: there is no such file; restore the image or remove it from the annotations'
    if tf.io.gfile.isdir(file):
        return f'{file}: expected an image file, got a folder'
    try:
        contents = tf.constant(read_contents(path))
    except InputError as error:
        return str(error)
    if tf.strings.length(contents) == 0:
        return f'{path}: the file is empty; restore the image or remove it from the annotations'
    if is_turned(contents):
        return (f'{path}: its EXIF orientation turns the image, so the annotations may not fit the stored '
                'pixels; turn the pixels themselves and re-save it upright, without the mark')
    return _why_undecodable(path, contents)


def _why_undecodable(path, contents):
    try:
        tf.io.decode_image(contents, channels=3, expand_animations=False)
    except tf.errors.OpError as error:
        name = image_formats.name_of(contents.numpy())
        if name is None:
            return (f'{path}: expected a {image_formats.NAMES} image, its first bytes are '
                    f'{contents.numpy()[:12]!r}; re-save it as JPEG or PNG')
        return f'{path}: {name} image truncated or damaged ({first_line(error)}); restore or re-save it'
    return None


def first_line(error: tf.errors.OpError) -> str:
    """TensorFlow's message of an error, without the names of its nodes."""
    lines = str(error.message).splitlines() or ['no reason given']
    return lines[0].rpartition('}} ')[2].partition(' [Op:')[0]


def _jpeg_header(contents):
    shape = tf.image.extract_jpeg_shape(contents)
    return shape[0], shape[1], tf.zeros([0, 0, 3], tf.uint8)


def _decode_whole(contents):
    pixels = tf.io.decode_image(contents, channels=3, expand_animations=False)
    pixels = tf.ensure_shape(pixels, [None, None, 3])
    shape = tf.shape(pixels)
    return shape[0], shape[1], pixels
