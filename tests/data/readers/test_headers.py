"""What image headers hold, against OpenCV's encoders and bytes written by hand."""
import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yolov3_tf.data.readers import headers


def encoded(ending, image, *options):
    return cv2.imencode(ending, image, list(options))[1].tobytes()


@pytest.mark.parametrize('ending, shape, dtype, expected', [
    ('.jpg', (30, 50, 3), np.uint8, ('JPEG', 50, 30, 3, 8)), ('.jpg', (30, 50), np.uint8, ('JPEG', 50, 30, 1, 8)),
    ('.png', (30, 50, 3), np.uint8, ('PNG', 50, 30, 3, 8)), ('.png', (1, 300), np.uint16, ('PNG', 300, 1, 1, 16)),
    ('.png', (7, 9, 4), np.uint8, ('PNG', 9, 7, 4, 8)), ('.bmp', (30, 50, 3), np.uint8, ('BMP', 50, 30, 3, 8))])
def test_opencvs_files(ending, shape, dtype, expected):
    assert headers.read(io.BytesIO(encoded(ending, np.zeros(shape, dtype)))) == expected


def test_progressive_behind_a_large_profile_and_fill_bytes():
    jpeg = encoded('.jpg', np.zeros((30, 50, 3), np.uint8), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    profile = b'\xff\xe2' + struct.pack('>H', 60002) + b'\xff\xc0' * 30000
    assert headers.read(io.BytesIO(jpeg[:2] + profile * 3 + b'\xff\xff' + jpeg[2:])) == ('JPEG', 50, 30, 3, 8)


def test_bytes_between_segments_are_passed_over_as_libjpeg_does():
    jpeg = encoded('.jpg', np.zeros((30, 50, 3), np.uint8))
    end = 4 + struct.unpack('>H', jpeg[4:6])[0]         # of the first segment, behind which the others begin
    for stray in b'\0', b'some text', b'\xff\0\xff\0', b'\0\xff\xff':
        assert headers.read(io.BytesIO(jpeg[:end] + stray + jpeg[end:])) == ('JPEG', 50, 30, 3, 8)
    assert headers.read(io.BytesIO(jpeg[:end] + bytes(70_000) + jpeg[end:])) is None
    assert headers.read(io.BytesIO(b'\xff\xd8' + (b'\xff\xe0\0\2' + b'x' * 1000) * 200 + jpeg[end:])) is None


def test_by_hand():
    frame = b'\xff\xd8\xff\xc0' + struct.pack('>HBHHB', 20, 8, 5, 6, 4)
    assert headers.read(io.BytesIO(frame)) == ('JPEG', 6, 5, 4, 8)
    assert headers.read(io.BytesIO(b'GIF89a' + struct.pack('<HH', 7, 3))) == ('GIF', 7, 3, 3, 8)
    palette = b'\x89PNG\r\n\x1a\n' + struct.pack('>I4sIIBB', 13, b'IHDR', 4, 2, 2, 3)
    assert headers.read(io.BytesIO(palette)) == ('PNG', 4, 2, 3, 8)
    upside_down = b'BM' + bytes(12) + struct.pack('<IiiHH', 40, 8, -6, 1, 32)
    assert headers.read(io.BytesIO(upside_down)) == ('BMP', 8, 6, 4, 8)


def test_nothing_that_is_understood(tmp_path):
    assert headers.of_file(str(tmp_path)) is None and headers.of_file(f'{tmp_path}/none\0') is None
    for contents in b'', b'\xff\xd8', b'text', b'\xff\xd8\xff\xda\x00\x00', b'GIF89a\0\0\0\0', b'\xff\xd8\xff':
        assert headers.read(io.BytesIO(contents)) is None


@given(st.sampled_from([b'\xff\xd8', b'\x89PNG\r\n\x1a\n', b'GIF89a', b'BM', b'']), st.binary(max_size=200))
def test_any_bytes_give_a_header_or_none(start, rest):
    header = headers.read(io.BytesIO(start + rest))
    assert header is None or (header.width > 0 and header.height > 0)
