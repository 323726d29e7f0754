"""Format and size of an image file from its first bytes, read without decoding and without the whole file.

Layouts: JPEG ITU-T T.81 B.2.2, PNG (ISO 15948) 11.2.2, GIF89a 18, Windows bitmaps.
"""
from __future__ import annotations

import os
import struct
from typing import BinaryIO, NamedTuple

from yolov3_tf.data import image_formats

_MOST_SEGMENTS = 1000       # of a JPEG before its frame; a colour profile takes some dozens
_MOST_STRAY = 1 << 16      # bytes of a JPEG before its frame that belong to no segment
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}      # SOF0 to SOF15 without the tables among them
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}


class Header(NamedTuple):
    """Attributes:
      kind: 'JPEG', 'PNG', 'GIF' or 'BMP'.
      width, height: pixels as stored, at least 1.
      channels: of the file: 1 grey, 2 grey with alpha, 3 colour, 4 colour with alpha (JPEG: CMYK).
      bits: a channel.
    """
    kind: str
    width: int
    height: int
    channels: int
    bits: int


def of_file(path: str) -> Header | None:
    """Header of an image file; None where there is no such file, or its header is not understood."""
    try:
        with open(path, 'rb') as file:
            return read(file)
    except (OSError, ValueError):       # ValueError: a path with a zero byte
        return None


def read(file: BinaryIO) -> Header | None:
    """Header of an opened image, as ``of_file``; reads and seeks no further than needed."""
    start = file.read(2)
    name = next((name for name in _READERS if image_formats.FORMATS[name].magic[0][:2] == start), None)
    try:
        header = _READERS[name](file) if name else None
    except struct.error:                # the file ends within its header
        return None
    return header if header and header.width > 0 and header.height > 0 else None


def _jpeg(file):
    stray = iter(range(_MOST_STRAY))
    for _ in range(_MOST_SEGMENTS):
        marker = _marker(file, stray)
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:     # no length follows
            continue
        if marker in (0, 0xD9, 0xDA):
            return None
        length, = struct.unpack('>H', file.read(2))
        if marker in _FRAMES:
            bits, height, width, channels = struct.unpack('>BHHB', file.read(6))
            return Header('JPEG', width, height, channels, bits)
        if length < 2:
            return None
        file.seek(length - 2, os.SEEK_CUR)
    return None


def _marker(file, stray):
    """The next marker, behind fill bytes and stray bytes, as libjpeg finds it; 0 where there is no other."""
    before, byte = b'', file.read(1)
    while byte and (before != b'\xff' or byte in b'\x00\xff'):
        if next(stray, None) is None:
            return 0
        before, byte = byte, file.read(1)
    return byte[0] if byte else 0


def _png(file):
    rest, name, width, height, bits, colour = struct.unpack('>6s4x4sIIBB', file.read(24))
    if rest != b'NG\r\n\x1a\n' or name != b'IHDR' or colour not in _PNG_CHANNELS:
        return None
    return Header('PNG', width, height, _PNG_CHANNELS[colour], 8 if colour == 3 else bits)


def _gif(file):
    version, width, height = struct.unpack('<4sHH', file.read(8))
    return Header('GIF', width, height, 3, 8) if version in (b'F87a', b'F89a') else None


def _bmp(file):
    size, = struct.unpack('<12xI', file.read(16))
    if size == 12:
        width, height, _, bits = struct.unpack('<HHHH', file.read(8))
    else:
        width, height, _, bits = struct.unpack('<iiHH', file.read(12))
    return Header('BMP', width, abs(height), 4 if bits == 32 else 3, 8)


_READERS = {'JPEG': _jpeg, 'PNG': _png, 'GIF': _gif, 'BMP': _bmp}       # each begins behind the first two bytes
