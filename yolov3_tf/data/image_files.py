"""Encoded images: their size before decoding, their pixels, and why one cannot be used.

An image is read by its first bytes and not by its name. TensorFlow decodes JPEG (grey and CMYK too), PNG (16-bit,
palette, alpha), BMP of 24 and 32 bits, the first frame of a GIF. OpenCV decodes what TensorFlow does not, or not in
every version: BMP with a palette (TensorFlow returns its indices), WebP, and the first page of a TIFF. Alpha is
dropped, 16 bits are cut to 8.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf import image_headers, regular_file, rgb_images
from yolov3_tf import orientation as orientations
from yolov3_tf.data import image_formats
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Record

# EXIF orientation 2..8 in the first directory: byte order mark, directory at byte 8 behind it, its number of
# entries, then entries of twelve bytes: tag 0x0112, type SHORT, one value. \C is RE2's single byte.
_TURNED = (r'\C*?Exif\x00\x00(?:'
           r'II\x2a\x00\x08\x00\x00\x00\C{2}(?:\C{12}){0,40}?\x12\x01\x03\x00\x01\x00\x00\x00[\x02-\x08]\x00|'
           r'MM\x00\x2a\x00\x00\x00\x08\C{2}(?:\C{12}){0,40}?\x01\x12\x00\x03\x00\x00\x00\x01\x00[\x02-\x08])\C*')
_JPEG, = image_formats.FORMATS['JPEG'].magic
_BY_OPENCV = tuple(magic for one in image_formats.FORMATS.values() if not one.served for magic in one.magic)
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


def by_opencv(records: Sequence[Record]) -> bool:
    """Whether some of the images may be of a kind that OpenCV decodes; not for a set of JPEG, PNG and GIF files."""
    return any(record.kind not in ('JPEG', 'PNG', 'GIF') for record in records)


def open_image(contents: tf.Tensor, orientation: int | tf.Tensor = 0, opencv: bool = True) -> Image:
    """String scalar with an encoded image -> Image, upright. In graph.

    A JPEG without its end mark is decoded whole, because only that shows whether it is truncated: decoding
    a part would succeed, depending on the part.

    Args:
      orientation: ``Record.orientation``, int or int32 scalar.
      opencv: ``by_opencv``; without it the graph has no operation in Python.

    Raises:
      tf.errors.InvalidArgumentError: not an image, damaged, or turned by its EXIF orientation while nothing says that
        its boxes are upright.
    """
    usable = orientation > 0 if isinstance(orientation, int) and orientation else (
        tf.greater(orientation, 0) | (tf.equal(orientation, 0) & ~is_turned(contents)))
    jpeg = tf.equal(tf.strings.substr(contents, 0, len(_JPEG)), _JPEG)
    partly = jpeg & tf.equal(tf.strings.substr(contents, -2, 2), b'\xff\xd9') & tf.less_equal(orientation, 1)
    upright = tf.debugging.Assert(usable, ['turned by its EXIF orientation'])
    with tf.control_dependencies([upright] if upright is not None else []):     # None: eager, already checked
        height, width, pixels = tf.cond(
            partly, lambda: _jpeg_header(contents), lambda: _upright(_decode_whole(contents, opencv), orientation))
    return Image(contents, height, width, partly, pixels)


def of_pixels(pixels: tf.Tensor) -> Image:
    """uint8 [h, w, 3] RGB that was decoded or made before -> Image. In graph."""
    shape = tf.shape(pixels)
    return Image(tf.constant(b''), shape[0], shape[1], tf.constant(False), tf.ensure_shape(pixels, [None, None, 3]))


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
    """Whether the EXIF at a JPEG's start asks the viewer to turn or mirror it; string -> bool scalar. In graph.

    Only for images whose header nobody read (``Record.orientation`` 0): some tools annotate the turned image and
    others the stored one, so without a stated size neither reading of such a file can be trusted.
    """
    return tf.strings.regex_full_match(tf.strings.substr(contents, 0, _HEADER_BYTES), _TURNED)


def read_image(path: str, orientation: int = 0) -> np.ndarray:
    """Pixels of an image file as uint8 [h, w, 3] RGB, NumPy; ``orientation``: ``Record.orientation``.

    Raises:
      InputError: it cannot be used; the message is that of ``explain``.
    """
    why = explain(path, orientation)
    if why:
        raise InputError(why)
    return _upright(_decode_whole(tf.constant(read_contents(path))), orientation)[2].numpy()


def needs_pixels(record: Record) -> bool:
    """Whether an exported model must be given the pixels of an image: its decoder reads it not at all, or not upright.

    Only after the headers were read; a record of a shard is given as it is.
    """
    return record.orientation > 1 or record.kind in ('BMP', 'WEBP', 'TIFF')


def explain(path: str, orientation: int = 0) -> str | None:
    """Why the image cannot be used, as one message with the path and the way out; None where it can.

    ``orientation``: ``Record.orientation``.
    """
    file = location_of(path).file
    if not tf.io.gfile.exists(file):
        return f'{file}: there is no such file; restore the image or remove it from the annotations'
    if tf.io.gfile.isdir(file):
        return f'{file}: expected an image file, got a folder'
    if regular_file.waits(file):
        return f'{file}: {regular_file.WHY}; remove it from the annotations'
    try:
        contents = read_contents(path)
    except InputError as error:
        return str(error)
    if not contents:
        return f'{path}: the file is empty; restore the image or remove it from the annotations'
    header = image_headers.of_bytes(contents)
    if orientation <= 0 and header is not None and header.orientation != orientations.UPRIGHT:
        return (f'{path}: its EXIF orientation turns the image, and no annotated size says whether the annotations are '
                'for the turned or the stored image; turn the pixels themselves and re-save it upright, without the '
                'mark')
    return _why_undecodable(path, contents)


def _why_undecodable(path, contents):
    name = image_formats.name_of(contents)
    if name is None:
        return (f'{path}: expected a {image_formats.NAMES} image, its first bytes are '
                f'{contents[:12]!r}; re-save it as JPEG or PNG')
    if why := image_headers.fault(contents):
        return f'{path}: {name} image damaged: {why}; restore or re-save it'
    if _is_for_opencv(contents) and rgb_images.stored(contents) is None:
        return (f'{path}: {name} image truncated or damaged, or of a kind that OpenCV does not read, such as pixels '
                'that are fractions; re-save it as JPEG or PNG')
    try:
        _decode_whole(tf.constant(contents))
    except tf.errors.OpError as error:
        return f'{path}: {name} image truncated or damaged ({first_line(error)}); restore or re-save it'
    return None


def first_line(error: tf.errors.OpError) -> str:
    """TensorFlow's message of an error, without the names of its nodes."""
    lines = str(error.message).splitlines() or ['no reason given']
    return lines[0].rpartition('}} ')[2].partition(' [Op:')[0]


def _jpeg_header(contents):
    shape = tf.image.extract_jpeg_shape(contents)
    return shape[0], shape[1], tf.zeros([0, 0, 3], tf.uint8)


def _decode_whole(contents, opencv=True):
    """Height, width and pixels as stored."""
    def by_tensorflow():
        return tf.io.decode_image(contents, channels=3, expand_animations=False)

    def by_opencv():
        pixels = tf.numpy_function(_by_opencv, [contents], tf.uint8, stateful=False)
        with tf.control_dependencies([tf.debugging.Assert(tf.size(pixels) > 0, ['OpenCV cannot decode it'])]):
            return tf.identity(pixels)

    pixels = tf.cond(_is_for_opencv(contents), by_opencv, by_tensorflow) if opencv else by_tensorflow()
    pixels = tf.ensure_shape(pixels, [None, None, 3])
    shape = tf.shape(pixels)
    return shape[0], shape[1], pixels


def _is_for_opencv(contents):
    """Bool scalar: WebP, TIFF, or a BMP that is not 24 or 32 bits behind a header of Windows."""
    webp_or_tiff = tf.reduce_any(tf.stack([
        tf.equal(tf.strings.substr(contents, 0, len(magic)), magic) for magic in _BY_OPENCV]))
    at = tf.minimum(tf.strings.length(contents), 30) - 30        # 0; negative where the file is too short to have bits
    head = tf.strings.substr(tf.strings.join([contents, bytes(30)]), 0, 30)
    size, bits = (tf.io.decode_raw(tf.strings.substr(head, start, length), kind)[0]
                  for start, length, kind in ((14, 4, tf.int32), (28, 2, tf.uint16)))
    plain = (size >= 40) & (tf.equal(bits, 24) | tf.equal(bits, 32))
    return webp_or_tiff | (tf.equal(tf.strings.substr(contents, 0, 2), b'BM') & ~plain & tf.equal(at, 0))


def _by_opencv(contents):
    """Pixels uint8 [h, w, 3] RGB of encoded bytes, none where they cannot be decoded: an error would print a trace."""
    contents = contents if isinstance(contents, bytes) else contents.item()        # eager: an array of one object
    pixels = None if image_headers.fault(contents) else rgb_images.stored(contents)
    return np.zeros([0, 0, 3], np.uint8) if pixels is None else np.ascontiguousarray(pixels)


def _upright(decoded, orientation):
    """Turns what ``_decode_whole`` returns; in graph, or eager."""
    def is_one_of(numbers):
        return tf.reduce_any(tf.equal(orientation, list(numbers)))

    def turned():
        image = tf.cond(is_one_of(orientations.TRANSPOSED), lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
        image = tf.cond(is_one_of(orientations.MIRRORED), lambda: image[:, ::-1], lambda: image)
        image = tf.cond(is_one_of(orientations.UPENDED), lambda: image[::-1], lambda: image)
        shape = tf.shape(image)
        return shape[0], shape[1], tf.ensure_shape(image, [None, None, 3])

    height, width, pixels = decoded
    if isinstance(orientation, int) and orientation <= 1:
        return height, width, pixels
    return tf.cond(tf.greater(orientation, 1), turned, lambda: (height, width, pixels))
