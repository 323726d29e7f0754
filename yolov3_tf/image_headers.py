"""Format, size and orientation of an image from its first bytes, read without decoding and without the whole file.

Layouts: JPEG ITU-T T.81 B.2.2, PNG (ISO 15948) 11.2.2 and its chunk eXIf, GIF89a 18, Windows bitmaps, WebP (RFC 9649),
TIFF 6.0, Exif 2.32.
"""
from __future__ import annotations

import io
import os
import struct
from typing import BinaryIO, NamedTuple

from yolov3_tf import orientation

_MOST_SEGMENTS = 1000       # of a JPEG before its frame; a colour profile takes some dozens
_MOST_STRAY = 1 << 16      # bytes of a JPEG before its frame that belong to no segment
_MOST_CHUNKS = 20_000       # of a PNG or WebP; a PNG of 160 MB has so many
_MOST_DIRECTORIES, _MOST_ENTRIES = 8, 512
_MOST_EXIF = 1 << 20        # bytes
_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}      # SOF0 to SOF15 without the tables among them
_ALONE = {0, 0x01, *range(0xD0, 0xD9), 0xFF}       # markers without a length, and what is no marker
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
# A file that claims more pixels than this, and more than so many a byte, has not got them: a PNG of one colour has 344.
_LARGE, _MOST_A_BYTE = 1 << 26, 1500


class Header(NamedTuple):
    """Attributes:
      kind: 'JPEG', 'PNG', 'GIF', 'BMP', 'WEBP' or 'TIFF'.
      width, height: pixels as stored, at least 1.
      channels: of the file: 1 grey, 2 grey with alpha, 3 colour, 4 colour with alpha (JPEG: CMYK).
      bits: a channel.
      orientation: EXIF's, 1 where the file has none (``orientation``).
    """
    kind: str
    width: int
    height: int
    channels: int
    bits: int
    orientation: int = orientation.UPRIGHT


def read(file: BinaryIO) -> Header | None:
    """Header of an opened image, None where it is not understood; reads and seeks no further than needed."""
    reader = _READERS.get(file.read(2))
    try:
        header = reader(file) if reader else None
    except struct.error:                # the file ends within its header
        return None
    return header if header and header.width > 0 and header.height > 0 else None


def of_bytes(content: bytes) -> Header | None:
    """Header of an encoded image, as ``read``."""
    return read(io.BytesIO(content))


def fault(content: bytes) -> str:
    """Why an image is not worth decoding, before memory is taken for its pixels; '' where it may be.

    Decoders take the memory that a header asks for, and some take a damaged header for a huge image. JPEG's decoder
    does not, and reads some headers that are not understood here.
    """
    header = of_bytes(content)
    if header is None:
        return 'its header is damaged' if content[:2] in _READERS and content[:2] != b'\xff\xd8' else ''
    if why := claims(header, len(content)):
        return why
    if header.kind == 'WEBP' and len(content) < int.from_bytes(content[4:8], 'little') + 8:
        return 'it is truncated'            # OpenCV returns the part that is there
    return ''


def as_upright(tiff: bytes) -> bytes:
    """A TIFF file whose first directory says that it is upright; the pixels stay as they are."""
    order = _ORDERS.get(tiff[:4])
    if order is None:
        return tiff
    try:
        offset, = struct.unpack_from(order + 'I', tiff, 4)
        count = struct.unpack_from(order + 'H', tiff, offset)[0] if offset else 0
        for at in range(offset + 2, offset + 2 + 12 * count, 12):
            if struct.unpack_from(order + 'H', tiff, at)[0] == orientation.TAG:
                return tiff[:at + 8] + struct.pack(order + 'HH', orientation.UPRIGHT, 0) + tiff[at + 12:]
    except struct.error:
        pass
    return tiff


def claims(header: Header, size: int) -> str:
    """Why an encoded image of ``size`` bytes cannot have the pixels of its header; '' where it may."""
    pixels = header.width * header.height
    if pixels <= max(_LARGE, _MOST_A_BYTE * size):
        return ''
    return f'its header claims {header.width} x {header.height} pixels, which {size:,} bytes cannot hold'


def exif_orientation(tiff: bytes) -> int:
    """The orientation in an Exif block (a TIFF file in small), the first directory that has one; 1 where none has."""
    order = _ORDERS.get(tiff[:4])
    if order is None:
        return orientation.UPRIGHT
    try:
        offset, = struct.unpack_from(order + 'I', tiff, 4)
        for _ in range(_MOST_DIRECTORIES):
            if not offset:
                break
            entries, offset = _directory(tiff, order, offset)
            value = entries.get(orientation.TAG, 0)
            if 1 <= value <= 8:
                return value
    except struct.error:
        pass
    return orientation.UPRIGHT


def _directory(tiff, order, offset):
    """{tag: first value} of the entries with whole numbers, and the offset of the next directory."""
    count, = struct.unpack_from(order + 'H', tiff, offset)
    entries = {}
    for position in range(min(count, _MOST_ENTRIES)):
        at = offset + 2 + 12 * position
        tag, kind, length = struct.unpack_from(order + 'HHI', tiff, at)
        form = {1: 'B', 3: 'H', 4: 'I'}.get(kind)
        if form and length:
            inside = length * struct.calcsize(form) <= 4
            at = at + 8 if inside else struct.unpack_from(order + 'I', tiff, at + 8)[0]
            entries[tag], = struct.unpack_from(order + form, tiff, at)
    rest = offset + 2 + 12 * count
    return entries, struct.unpack_from(order + 'I', tiff, rest)[0] if rest + 4 <= len(tiff) else 0


def of_plain_jpeg(start: bytes) -> Header | None:
    """Header of a JPEG file whose segments up to the pixels are in ``start``, none of them EXIF; None for others.

    As ``read``, in a third of the time.
    """
    frame, at, end = None, 2, len(start) - 10
    if start[:2] != b'\xff\xd8':
        return None
    while at < end and start[at] == 0xFF and start[at + 1] not in _ALONE:
        marker = start[at + 1]
        if marker == 0xDA:
            return frame if frame and frame.width > 0 and frame.height > 0 else None
        if marker in _FRAMES and frame is None:
            bits, height, width, channels = struct.unpack_from('>BHHB', start, at + 4)
            frame = Header('JPEG', width, height, channels, bits)
        length = start[at + 2] << 8 | start[at + 3]
        if length < 2 or marker == 0xD9 or (marker == 0xE1 and start[at + 4:at + 10] == b'Exif\0\0'):
            return None
        at += 2 + length
    return None


def _jpeg(file):
    """Segment by segment up to the pixels: profiles may stand before EXIF, and EXIF behind the frame."""
    stray, frame, turned = iter(range(_MOST_STRAY)), None, 0
    for _ in range(_MOST_SEGMENTS):
        marker, length = _segment(file, stray)
        if marker in (0, 0xD9, 0xDA) or (length < 0 and marker not in _FRAMES):
            break
        start = file.tell()
        if marker in _FRAMES and frame is None:
            bits, height, width, channels = struct.unpack('>BHHB', file.read(6))
            frame = Header('JPEG', width, height, channels, bits)
        elif marker == 0xE1 and not turned and file.read(6) == b'Exif\0\0':
            found = exif_orientation(file.read(length - 6))
            turned = found if found != orientation.UPRIGHT else turned
        if frame and turned:
            break
        file.seek(start + max(length, 0))
    return frame and frame._replace(orientation=turned or orientation.UPRIGHT)


def _segment(file, stray):
    """Marker and bytes of the next segment's contents; marker 0 where there is no other."""
    head = file.read(4)
    if len(head) == 4 and head[0] == 0xFF and head[1] not in _ALONE:
        return head[1], int.from_bytes(head[2:], 'big') - 2
    file.seek(-len(head), os.SEEK_CUR)
    for _ in range(_MOST_SEGMENTS):             # the slow way, for what is rare
        marker = _marker(file, stray)
        if not marker or marker not in _ALONE:
            length = file.read(2)
            return (marker, int.from_bytes(length, 'big') - 2) if len(length) == 2 else (0, 0)
    return 0, 0


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
    file.seek(7, os.SEEK_CUR)           # compression, filter, interlace, check sum
    turned = _exif_chunk(file, '>I4s', b'eXIf', 4)
    return Header('PNG', width, height, _PNG_CHANNELS[colour], 8 if colour == 3 else bits, turned)


def _exif_chunk(file, form, wanted, behind):
    """Orientation in the chunk of that name; a chunk has ``behind`` bytes after its contents (WebP: even lengths)."""
    for _ in range(_MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            break
        first, second = struct.unpack(form, head)
        name, length = (first, second) if isinstance(first, bytes) else (second, first)
        if name == wanted:
            exif = file.read(min(length, _MOST_EXIF))
            return exif_orientation(exif[6:] if exif[:6] == b'Exif\0\0' else exif)
        if name == b'IEND' or length >= 1 << 31:
            break
        file.seek(length + (behind or length % 2), os.SEEK_CUR)
    return orientation.UPRIGHT


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


def _webp(file):
    head = struct.unpack('<2sI4s4sI', file.read(18))
    start = file.tell()
    if head[0] != b'FF' or head[2] != b'WEBP':
        return None
    if head[3] == b'VP8X':
        flags, width, height = struct.unpack('<B3x3s3s', file.read(10))
        width, height = (int.from_bytes(side, 'little') + 1 for side in (width, height))
        file.seek(start + head[4] + head[4] % 2)
        turned = _exif_chunk(file, '<4sI', b'EXIF', 0) if flags & 8 else orientation.UPRIGHT
        return Header('WEBP', width, height, 4 if flags & 16 else 3, 8, turned)
    if head[3] == b'VP8L':
        mark, sides = struct.unpack('<BI', file.read(5))
        return Header('WEBP', (sides & 0x3FFF) + 1, (sides >> 14 & 0x3FFF) + 1, 4 if sides >> 28 & 1 else 3,
                      8) if mark == 0x2F else None
    mark, width, height = struct.unpack('<3x3sHH', file.read(10))
    return Header('WEBP', width & 0x3FFF, height & 0x3FFF, 3, 8) if mark == b'\x9d\x01\x2a' else None


def _tiff(file):
    """The first page; its directory may be anywhere in the file, so the file is read where it points."""
    file.seek(0)
    head = file.read(8)
    order = _ORDERS.get(head[:4])
    if order is None:
        return None
    offset, = struct.unpack(order + 'I', head[4:])
    file.seek(offset)
    count, = struct.unpack(order + 'H', file.read(2))
    entries: dict[int, int] = {}
    for tag, kind, length, value in struct.iter_unpack(order + 'HHI4s', file.read(12 * min(count, _MOST_ENTRIES))):
        if kind in (3, 4) and length * (2 if kind == 3 else 4) <= 4 and length:
            entries[tag], = struct.unpack_from(order + ('H' if kind == 3 else 'I'), value)
        elif tag == 258 and kind == 3 and length:           # bits of each channel, which stand elsewhere
            file_offset, = struct.unpack(order + 'I', value)
            file.seek(file_offset)
            entries[tag], = struct.unpack(order + 'H', file.read(2))
    turned = entries.get(orientation.TAG, orientation.UPRIGHT)
    channels = 3 if entries.get(262) == 3 else entries.get(277, 1)
    return Header('TIFF', entries.get(256, 0), entries.get(257, 0), min(channels, 4), entries.get(258, 1),
                  turned if 1 <= turned <= 8 else orientation.UPRIGHT)


_ORDERS = {b'II*\0': '<', b'MM\0*': '>'}
# By the first two bytes; each begins behind them.
_READERS = {b'\xff\xd8': _jpeg, b'\x89P': _png, b'GI': _gif, b'BM': _bmp, b'RI': _webp, b'II': _tiff, b'MM': _tiff}
