"""Every kind of image file, good and bad, written here by OpenCV, Pillow or byte by byte."""
import io
import struct

import cv2
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf import orientation as orientations
from yolov3_tf.data import image_files
from yolov3_tf.errors import InputError

# Smooth, so that JPEG keeps it: red rises to the right, green falls downwards, blue stands still.
COLUMNS, ROWS = np.meshgrid(np.linspace(20, 230, 80), np.linspace(230, 20, 60))
RGB = np.stack([COLUMNS, ROWS, np.full_like(ROWS, 90)], axis=-1).astype(np.uint8)
GREY = COLUMNS.astype(np.uint8)


def encode(suffix, image):
    return cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 and image.shape[-1] == 3 else image)[1].tobytes()


JPEG = encode('.jpg', RGB)


def pillow(mode, kind):
    """The image in a mode that OpenCV does not write, and what Pillow itself reads back."""
    module = pytest.importorskip('PIL.Image')
    buffer = io.BytesIO()
    module.fromarray(RGB).convert(mode).save(buffer, kind)
    return buffer.getvalue(), np.asarray(module.open(buffer).convert('RGB'))


def with_exif(orientation, order, leading=b''):
    """The JPEG with an EXIF segment of two entries: maker, orientation."""
    head = {'<': b'II*\0', '>': b'MM\0*'}[order]
    entries = struct.pack(order + 'HHI4s', 0x10f, 2, 4, b'cam\0')
    entries += struct.pack(order + 'HHIHH', 0x112, 3, 1, orientation, 0)
    tiff = head + struct.pack(order + 'IH', 8, 2) + entries + struct.pack(order + 'I', 0)
    segment = b'\xff\xe1' + struct.pack('>H', len(tiff) + 8) + b'Exif\0\0' + tiff
    return JPEG[:2] + leading + segment + JPEG[2:]


def whole(contents):
    image = image_files.open_image(tf.constant(contents))
    height, width = int(image.height), int(image.width)
    return image, image_files.decode_part(image, tf.constant([0, 0, width, height])).numpy()


@pytest.mark.parametrize('make, tolerance', [
    (lambda: (JPEG, RGB), 6),
    (lambda: (encode('.png', RGB), RGB), 0),
    (lambda: (encode('.bmp', RGB), RGB), 0),
    (lambda: (encode('.png', GREY), np.dstack([GREY] * 3)), 0),
    (lambda: (encode('.jpg', GREY), np.dstack([GREY] * 3)), 3),
    (lambda: (encode('.png', GREY.astype(np.uint16) * 257), np.dstack([GREY] * 3)), 0),
    (lambda: (encode('.png', np.dstack([RGB[..., ::-1], GREY])), RGB), 0),
    (lambda: pillow('CMYK', 'jpeg'), 4),
    (lambda: pillow('P', 'png'), 0),
    (lambda: pillow('P', 'gif'), 0),
], ids='jpeg png bmp grey_png grey_jpeg png16 alpha_png cmyk_jpeg palette_png gif'.split())
def test_kinds(make, tolerance, tmp_path):
    contents, expected = make()
    image, pixels = whole(contents)
    assert (int(image.height), int(image.width)) == (60, 80)
    assert pixels.dtype == np.uint8 and np.abs(pixels.astype(int) - expected).max() <= tolerance
    part = image_files.decode_part(image, tf.constant([11, 7, 75, 58])).numpy()
    assert np.abs(part.astype(int) - expected[7:58, 11:75]).max() <= tolerance
    path = tmp_path / 'named_wrongly.jpg'
    path.write_bytes(contents)
    assert image_files.explain(str(path)) is None
    np.testing.assert_array_equal(image_files.read_image(str(path)), pixels)


@pytest.mark.parametrize('tail', [b'', b'\0' * 9, b'an appended film'])
def test_bytes_behind_a_jpeg_do_no_harm(tail):
    np.testing.assert_array_equal(whole(JPEG + tail)[1], whole(JPEG)[1])


@pytest.mark.parametrize('cut', [len(JPEG) // 2, len(JPEG) - 2, 30])
def test_a_truncated_jpeg_fails_whatever_part_is_asked(cut):
    with pytest.raises(tf.errors.InvalidArgumentError):
        image_files.decode_part(image_files.open_image(tf.constant(JPEG[:cut])), tf.constant([0, 0, 8, 8]))


@pytest.mark.parametrize('order', '<>')
def test_exif_orientation(order):
    jfif = b'\xff\xe0' + struct.pack('>H', 16) + b'JFIF\0\1\1\0\0\1\0\1\0\0'
    assert not image_files.is_turned(tf.constant(JPEG))
    for orientation in range(10):
        for leading in b'', jfif:
            turned = bool(image_files.is_turned(tf.constant(with_exif(orientation, order, leading))))
            assert turned == (2 <= orientation <= 8)


def test_a_turned_image_is_refused_in_graph_too():
    def opened(contents):
        return tf.data.Dataset.from_tensors(contents).map(lambda contents: image_files.open_image(contents).height)

    with pytest.raises(tf.errors.InvalidArgumentError, match='EXIF'):
        next(iter(opened(with_exif(6, '>'))))
    assert next(iter(opened(with_exif(1, '>')))) == 60


@pytest.mark.parametrize('contents, words', [
    (None, 'no such file'),
    (b'', 'empty'),
    (b'<html>Sign in to download</html>', 'expected a JPEG, PNG, BMP, GIF, WEBP or TIFF image'),
    (b'II*\0\x08\0\0\0', 'TIFF image damaged: its header is damaged'),
    (b'RIFF\x08\0\0\0AVI LIST', 'expected a JPEG, PNG, BMP, GIF, WEBP or TIFF image'),
    (encode('.webp', RGB)[:-40], 'WEBP image damaged: it is truncated'),
    (encode('.tiff', RGB)[:200], 'TIFF image'),
    (encode('.tiff', GREY.astype(np.float32))[:-9], 'TIFF image'),
    (b'BM' + bytes(12) + struct.pack('<IiiHHI', 40, 8, 6, 1, 8, 0), 'BMP image truncated or damaged, or of a kind'),
    (JPEG[:len(JPEG) // 2], 'JPEG image truncated or damaged'),
    (encode('.png', RGB)[:200], 'PNG image truncated or damaged'),
    (with_exif(8, '<'), 're-save it upright'),
])
def test_explain(contents, words, tmp_path):
    path = tmp_path / 'image.jpg'
    if contents is not None:
        path.write_bytes(contents)
    message = image_files.explain(str(path))
    assert message.startswith(f'{path}: ') and words in message and '\n' not in message
    with pytest.raises(InputError, match='image.jpg'):
        image_files.read_image(str(path))


def test_a_palette_bmp_is_decoded_to_its_colours():
    """By hand: 2 x 2 pixels of a palette of four colours, rows from below, each padded to four bytes."""
    colours = np.array([[10, 20, 30], [200, 0, 0], [0, 220, 5], [9, 8, 250]], np.uint8)
    header = b'BM' + struct.pack('<IHHI', 78, 0, 0, 70) + struct.pack('<IiiHHIIiiII', 40, 2, 2, 1, 8, 0, 8, 0, 0, 4, 0)
    palette = b''.join(bytes([blue, green, red, 0]) for red, green, blue in colours.tolist())
    contents = header + palette + bytes([2, 3, 0, 0]) + bytes([0, 1, 0, 0])
    image, pixels = whole(contents)
    np.testing.assert_array_equal(pixels, colours.reshape(2, 2, 3))
    assert not bool(image.partly)
    old = b'BM' + struct.pack('<IHHI', 56, 0, 0, 38) + struct.pack('<IHHHH', 12, 2, 2, 1, 8) + bytes(12)
    assert int(image_files._is_for_opencv(tf.constant(old)))
    for plain in encode('.bmp', RGB), JPEG, encode('.png', RGB), b'', b'BM':
        assert not int(image_files._is_for_opencv(tf.constant(plain)))


@pytest.mark.parametrize('ending', ['.webp', '.tiff'])
@pytest.mark.parametrize('image', [RGB, GREY, np.dstack([RGB[..., ::-1], GREY])], ids=['colour', 'grey', 'alpha'])
def test_webp_and_tiff_are_decoded_as_opencv_does(ending, image, tmp_path):
    contents = encode(ending, image)
    expected = cv2.imdecode(np.frombuffer(contents, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(whole(contents)[1], expected)
    path = tmp_path / 'named_wrongly.jpg'
    path.write_bytes(contents)
    assert image_files.explain(str(path)) is None
    np.testing.assert_array_equal(image_files.read_image(str(path)), expected)


@pytest.mark.parametrize('number', range(1, 9))
def test_a_decided_orientation_turns_the_pixels(number, tmp_path):
    contents = with_exif(number, '<')
    expected = orientations.upright_pixels(whole(JPEG)[1], number)

    def opened(contents, turned):
        image = image_files.open_image(contents, turned)
        return image_files.decode_part(image, tf.stack([0, 0, image.width, image.height]))

    in_graph, = tf.data.Dataset.from_tensors((contents, number)).map(opened)
    np.testing.assert_array_equal(in_graph, expected)
    path = tmp_path / 'a.jpg'
    path.write_bytes(contents)
    np.testing.assert_array_equal(image_files.read_image(str(path), number), expected)
    assert (image_files.explain(str(path), -1) is None) == (number == 1)


def test_an_undecided_orientation_is_refused():
    with pytest.raises(tf.errors.InvalidArgumentError):
        image_files.open_image(tf.constant(JPEG), -1)


def test_gigapixels_in_a_header_are_refused_at_once(tmp_path):
    for name, contents in (('a.png', b'\x89PNG\r\n\x1a\n' + b'garbage' * 100),
                           ('b.tiff', encode('.tiff', np.zeros([9000, 9000], np.uint8))[:300])):
        path = tmp_path / name
        path.write_bytes(contents)
        assert 'damaged' in image_files.explain(str(path))


def test_explain_a_folder(tmp_path):
    assert 'got a folder' in image_files.explain(str(tmp_path))
