"""What image headers hold, against OpenCV's encoders and bytes written by hand."""
import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolov3_tf import image_headers
from yolov3_tf.data.readers import headers


def encoded(ending, image, *options):
    return cv2.imencode(ending, image, list(options))[1].tobytes()


@pytest.mark.parametrize('ending, shape, dtype, expected', [
    ('.jpg', (30, 50, 3), np.uint8, ('JPEG', 50, 30, 3, 8)), ('.jpg', (30, 50), np.uint8, ('JPEG', 50, 30, 1, 8)),
    ('.png', (30, 50, 3), np.uint8, ('PNG', 50, 30, 3, 8)), ('.png', (1, 300), np.uint16, ('PNG', 300, 1, 1, 16)),
    ('.png', (7, 9, 4), np.uint8, ('PNG', 9, 7, 4, 8)), ('.bmp', (30, 50, 3), np.uint8, ('BMP', 50, 30, 3, 8))])
def test_opencvs_files(ending, shape, dtype, expected):
    assert headers.read(io.BytesIO(encoded(ending, np.zeros(shape, dtype)))) == (*expected, 1)


def test_progressive_behind_a_large_profile_and_fill_bytes():
    jpeg = encoded('.jpg', np.zeros((30, 50, 3), np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    profile = b'\xff\xe2' + struct.pack('>H', 60002) + b'\xff\xc0' * 30000
    assert headers.read(io.BytesIO(jpeg[:2] + profile * 3 + b'\xff\xff' + jpeg[2:])) == ('JPEG', 50, 30, 3, 8, 1)


def test_bytes_between_segments_are_passed_over_as_libjpeg_does():
    jpeg = encoded('.jpg', np.zeros((30, 50, 3), np.uint8))
    end = 4 + struct.unpack('>H', jpeg[4:6])[0]         # of the first segment, behind which the others begin
    for stray in b'\0', b'some text', b'\xff\0\xff\0', b'\0\xff\xff':
        assert headers.read(io.BytesIO(jpeg[:end] + stray + jpeg[end:])) == ('JPEG', 50, 30, 3, 8, 1)
    assert headers.read(io.BytesIO(jpeg[:end] + bytes(70_000) + jpeg[end:])) is None
    assert headers.read(io.BytesIO(b'\xff\xd8' + (b'\xff\xe0\0\2' + b'x' * 1000) * 200 + jpeg[end:])) is None


def test_by_hand():
    frame = b'\xff\xd8\xff\xc0' + struct.pack('>HBHHB', 20, 8, 5, 6, 4)
    assert headers.read(io.BytesIO(frame)) == ('JPEG', 6, 5, 4, 8, 1)
    assert headers.read(io.BytesIO(b'GIF89a' + struct.pack('<HH', 7, 3))) == ('GIF', 7, 3, 3, 8, 1)
    palette = b'\x89PNG\r\n\x1a\n' + struct.pack('>I4sIIBB', 13, b'IHDR', 4, 2, 2, 3)
    assert headers.read(io.BytesIO(palette)) == ('PNG', 4, 2, 3, 8, 1)
    upside_down = b'BM' + bytes(12) + struct.pack('<IiiHH', 40, 8, -6, 1, 32)
    assert headers.read(io.BytesIO(upside_down)) == ('BMP', 8, 6, 4, 8, 1)


def test_nothing_that_is_understood(tmp_path):
    assert headers.of_file(str(tmp_path)) is None and headers.of_file(f'{tmp_path}/none\0') is None
    for contents in b'', b'\xff\xd8', b'text', b'\xff\xd8\xff\xda\x00\x00', b'GIF89a\0\0\0\0', b'\xff\xd8\xff':
        assert headers.read(io.BytesIO(contents)) is None


@given(st.sampled_from([b'\xff\xd8', b'\xff\xd8\xff\xe1\0\x40Exif\0\0II*\0', b'\x89PNG\r\n\x1a\n', b'GIF89a', b'BM',
                        b'RIFF\0\0\0\0WEBPVP8X', b'II*\0', b'MM\0*', b'']), st.binary(max_size=200))
def test_any_bytes_give_a_header_or_none(start, rest):
    header = headers.read(io.BytesIO(start + rest))
    assert header is None or (header.width > 0 and header.height > 0)


@pytest.mark.parametrize('ending, options, kind', [
    ('.webp', (cv2.IMWRITE_WEBP_QUALITY, 101), 'WEBP'), ('.webp', (cv2.IMWRITE_WEBP_QUALITY, 80), 'WEBP'),
    ('.tiff', (), 'TIFF'), ('.tiff', (cv2.IMWRITE_TIFF_COMPRESSION, 1), 'TIFF')])
def test_webp_and_tiff_of_opencv(ending, options, kind):
    image = np.random.RandomState(0).randint(0, 256, [30, 50, 3]).astype(np.uint8)
    assert headers.read(io.BytesIO(encoded(ending, image, *options))) == (kind, 50, 30, 3, 8, 1)


def test_webp_and_tiff_by_hand():
    extended = struct.pack('<4sI4s4sIB3x3s3s', b'RIFF', 30, b'WEBP', b'VP8X', 10, 16 | 8, (699).to_bytes(3, 'little'),
                           (499).to_bytes(3, 'little'))
    pixels, turned = b'VP8 ' + struct.pack('<I', 3) + b'abc\0', exif(6, '<')
    assert headers.read(io.BytesIO(extended + pixels + b'EXIF' + struct.pack('<I', len(turned)) + turned)) == (
        'WEBP', 700, 500, 4, 8, 6)
    for order in '<>':
        entries = [(256, 3, 1, 40), (257, 3, 1, 20), (258, 3, 1, 16), (262, 3, 1, 1), (274, 3, 1, 8), (277, 3, 1, 1)]
        directory = b''.join(struct.pack(order + 'HHIHxx', *entry) for entry in entries)
        page = struct.pack(order + 'IxxxxH', 12, len(entries)) + directory + bytes(4)
        contents = {'<': b'II*\0', '>': b'MM\0*'}[order] + page
        assert headers.read(io.BytesIO(contents)) == ('TIFF', 40, 20, 1, 16, 8)
        assert headers.read(io.BytesIO(image_headers.as_upright(contents))) == ('TIFF', 40, 20, 1, 16, 1)


def exif(number, order, directories=1, start=8):
    """A TIFF file in small; the orientation stands in the last of its directories, the first begins at ``start``."""
    text = {'<': b'II*\0', '>': b'MM\0*'}[order] + struct.pack(order + 'I', start) + bytes(start - 8)
    for position in range(directories):
        last = position == directories - 1
        entry = (274, 3, 1, number) if last else (271, 3, 1, 7)
        text += struct.pack(order + 'HHHIHxxI', 1, *entry, 0 if last else len(text) + 18)
    return text


def segment(marker, contents):
    return b'\xff' + bytes([marker]) + struct.pack('>H', len(contents) + 2) + contents


@pytest.mark.parametrize('order', '<>')
def test_orientation_wherever_it_stands(order):
    jpeg = encoded('.jpg', np.zeros((30, 50, 3), np.uint8))
    profile = segment(0xE2, b'ICC_PROFILE\0\1\1' + bytes(9000))
    for tiff in exif(6, order), exif(6, order, 2), exif(6, order, 3, 40), exif(6, order, start=9000):
        block = segment(0xE1, b'Exif\0\0' + tiff)
        adobe = segment(0xE1, b'http://ns.adobe.com/xap/1.0/\0<x/>')
        for leading in block, profile + block, profile * 3 + adobe + block + block, segment(0xFE, b'text') + block:
            assert headers.read(io.BytesIO(jpeg[:2] + leading + jpeg[2:])) == ('JPEG', 50, 30, 3, 8, 6)
    scan = jpeg.index(b'\xff\xda')
    behind = jpeg[:scan] + segment(0xE1, b'Exif\0\0' + exif(3, order)) + jpeg[scan:]
    assert headers.read(io.BytesIO(behind)).orientation == 3
    png = encoded('.png', np.zeros((30, 50, 3), np.uint8))
    chunk = struct.pack('>I', len(exif(8, order))) + b'eXIf' + exif(8, order) + bytes(4)
    for at in png.index(b'IDAT') - 4, len(png) - 12:
        assert headers.read(io.BytesIO(png[:at] + chunk + png[at:])) == ('PNG', 50, 30, 3, 8, 8)


@pytest.mark.parametrize('tiff', [b'', b'II*\0', b'II*\0\xff\xff\xff\xff', exif(0, '<'), exif(9, '>'),
                                  exif(6, '<')[:15], b'II*\0' + struct.pack('<IHI', 8, 0, 8)])
def test_no_orientation(tiff):
    assert image_headers.exif_orientation(tiff) == 1


def test_a_header_that_claims_more_than_the_file_holds():
    png = struct.pack('>8sI4sIIBBxxx', b'\x89PNG\r\n\x1a\n', 13, b'IHDR', 24000, 24000, 8, 2) + bytes(600)
    assert '24000 x 24000 pixels' in image_headers.fault(png)
    assert 'damaged' in image_headers.fault(b'\x89PNG\r\n\x1a\n' + b'garbage' * 100)
    for ending in '.jpg', '.png', '.bmp', '.webp', '.tiff':
        assert image_headers.fault(encoded(ending, np.zeros((3000, 3000), np.uint8))) == ''
    assert image_headers.fault(b'P6 something else') == '' and image_headers.fault(b'') == ''
