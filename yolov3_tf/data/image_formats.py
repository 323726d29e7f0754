"""The image formats that are read: one table of their file endings, first bytes and decoders."""
from __future__ import annotations

from typing import NamedTuple


class ImageFormat(NamedTuple):
    """Attributes:
      endings: of file names, lower case; files are accepted in any case.
      magic: first bytes, any one of them.
      in_datasets: TensorFlow decodes it (``tf.io.decode_image``), so datasets, exports and servers take it;
        the others are read by OpenCV, for detection only.
    """
    endings: tuple[str, ...]
    magic: tuple[bytes, ...]
    in_datasets: bool = True


FORMATS = {
    'JPEG': ImageFormat(('.jpg', '.jpeg'), (b'\xff\xd8\xff',)),
    'PNG': ImageFormat(('.png',), (b'\x89PN',)),
    'BMP': ImageFormat(('.bmp',), (b'BM',)),
    'GIF': ImageFormat(('.gif',), (b'GIF',)),
    'WEBP': ImageFormat(('.webp',), (b'RIFF',), in_datasets=False),
    'TIFF': ImageFormat(('.tif', '.tiff'), (b'II*\0', b'MM\0*'), in_datasets=False),
}
IN_DATASETS = {name: one for name, one in FORMATS.items() if one.in_datasets}
ENDINGS = tuple(ending for one in IN_DATASETS.values() for ending in one.endings)       # in order of preference
ALL_ENDINGS = tuple(ending for one in FORMATS.values() for ending in one.endings)
NAMES = '{} or {}'.format(', '.join([*IN_DATASETS][:-1]), [*IN_DATASETS][-1])           # for messages


def name_of(contents: bytes) -> str | None:
    """Name in ``IN_DATASETS`` of an encoded image, by its first bytes; None where it has none of these formats."""
    return next((name for name, one in IN_DATASETS.items() if contents.startswith(one.magic)), None)
