"""The image formats that are read: one table of their file endings, first bytes and decoders."""
from __future__ import annotations

import collections
import os
from collections.abc import Iterable
from typing import NamedTuple


class ImageFormat(NamedTuple):
    """Attributes:
      endings: of file names, lower case; files are accepted in any case.
      magic: first bytes, any one of them.
      served: TensorFlow decodes it (``tf.io.decode_image``) in every version, so exports and servers take it; the
        others are read by OpenCV, in datasets and for detection.
    """
    endings: tuple[str, ...]
    magic: tuple[bytes, ...]
    served: bool = True


FORMATS = {
    'JPEG': ImageFormat(('.jpg', '.jpeg', '.jfif', '.jpe'), (b'\xff\xd8\xff',)),
    'PNG': ImageFormat(('.png',), (b'\x89PN',)),
    'BMP': ImageFormat(('.bmp',), (b'BM',)),
    'GIF': ImageFormat(('.gif',), (b'GIF',)),
    'WEBP': ImageFormat(('.webp',), (b'RIFF',), served=False),
    'TIFF': ImageFormat(('.tif', '.tiff'), (b'II*\0', b'MM\0*'), served=False),
}
SERVED = {name: one for name, one in FORMATS.items() if one.served}
ENDINGS = tuple(ending for one in FORMATS.values() for ending in one.endings)           # in order of preference
# Images of other programs, which are named where they are met.
NOT_READ = ('.heic', '.heif', '.avif', '.jxl', '.jp2', '.j2k', '.svg', '.psd', '.ico', '.dng', '.cr2',
            '.cr3', '.nef', '.arw', '.orf', '.rw2', '.exr', '.hdr', '.tga', '.dcm', '.npy')


def _joined(names):
    return '{} or {}'.format(', '.join([*names][:-1]), [*names][-1])


NAMES, SERVED_NAMES = _joined(FORMATS), _joined(SERVED)         # for messages


def name_of(contents: bytes) -> str | None:
    """Name in ``FORMATS`` of an encoded image, by its first bytes; None where it has none of these formats."""
    name = next((name for name, one in FORMATS.items() if contents.startswith(one.magic)), None)
    return None if name == 'WEBP' and contents[8:12] != b'WEBP' else name


def not_read(files: Iterable[str]) -> str:
    """A sentence on files that are images in a format that is not read, '' where there are none."""
    counts = collections.Counter(ending for file in files for ending in [os.path.splitext(file)[1].lower()]
                                 if ending in NOT_READ)
    listed = ', '.join(f'{count} {ending}' for ending, count in sorted(counts.items()))
    return f'{listed} files are there, which are not read: convert them to JPEG or PNG' if listed else ''
