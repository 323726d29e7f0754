"""Large images in overlapping tiles: how an image is cut. No TensorFlow; ``tile_merge`` makes one result of them."""
from __future__ import annotations

import math
import re
from typing import NamedTuple

import numpy as np

from yolov3_tf.errors import InputError

AUTO = 'auto'
OVERLAP = .2            # of a tile's side, by default
LEAST_OVERLAP, MOST_OVERLAP = .05, .75      # without any, neighbours would share nothing to compare
MOST_ALONG = 31         # a larger number is a size in pixels
MOST_TILES = 10_000     # of an image
FORMS = (f'{AUTO}, a number of tiles along the longer side (2 to {MOST_ALONG}), or the longer side of a tile in pixels '
         f'({MOST_ALONG + 1} or more)')


class Tiling(NamedTuple):
    """How an image is cut.

    Attributes:
      tiles: ``auto`` for tiles of the network's input size, or a number, see ``FORMS``.
      overlap: share of a tile's side that it has in common with its neighbour, at least; .05 to .75. What is smaller
        than that is whole in one of them.
    """
    tiles: str = AUTO
    overlap: float = OVERLAP

    @property
    def along(self) -> int | None:
        """How many tiles lie along the longer side, where that was asked for; else they have one size."""
        return int(self.tiles) if self.tiles != AUTO and int(self.tiles) <= MOST_ALONG else None


DEFAULTS = Tiling()


def check(tiling: Tiling) -> None:
    """Raises InputError for a tiling that cannot be understood."""
    if not re.fullmatch(rf'{AUTO}|[1-9]\d{{0,5}}', tiling.tiles) or tiling.tiles == '1':
        raise InputError(f'tiles {tiling.tiles!r}: expected {FORMS}')
    if not LEAST_OVERLAP <= tiling.overlap <= MOST_OVERLAP:
        raise InputError(f'tile_overlap {tiling.overlap:g}: expected a share of a tile\'s side, {LEAST_OVERLAP:g} to '
                         f'{MOST_OVERLAP:g}')


def sides(tiling: Tiling, height: int, width: int, image_size: tuple[int, int] | None) -> tuple[int, int]:
    """Height and width of the tiles of an image of this size, before they are cut at its edges; see ``lay_out``."""
    rows, columns = image_size or (1, 1)
    count = tiling.along
    if count is None:
        side = max(rows, columns) if tiling.tiles == AUTO else int(tiling.tiles)
    else:
        longest = max(rows, columns) / (rows if height >= width else columns)
        side = math.ceil(max(height, width) / (count - (count - 1) * tiling.overlap) * longest)
    tile_height, tile_width = (max(round(side * part / max(rows, columns)), 1) for part in (rows, columns))
    return tile_height, tile_width


def lay_out(tiling: Tiling, height: int, width: int, image_size: tuple[int, int] | None) -> np.ndarray:
    """The tiles of an image of this size: int [n, 4] x1, y1, x2, y2; none where one tile would hold the whole image.

    All have one size, in the proportions of the network's input ``image_size`` (height, width; None: square), at equal
    distances from edge to edge.

    Raises:
      InputError: there would be too many.
    """
    tile_height, tile_width = sides(tiling, height, width, image_size)
    tops, lefts = _starts(height, tile_height, tiling.overlap), _starts(width, tile_width, tiling.overlap)
    if len(tops) * len(lefts) > MOST_TILES:
        raise InputError(f'an image of {width} x {height} pixels: {len(tops) * len(lefts):,} tiles, expected at most '
                         f'{MOST_TILES:,}: give larger ones')
    if len(tops) * len(lefts) == 1:
        return np.zeros([0, 4], int)
    return np.array([[left, top, min(left + tile_width, width), min(top + tile_height, height)]
                     for top in tops for left in lefts])


def _starts(length, tile, overlap):
    """Where tiles begin along one side."""
    if length <= tile:
        return [0]
    count = math.ceil((length - overlap * tile) / (tile - overlap * tile) - 1e-9)
    return [round(index * (length - tile) / (count - 1)) for index in range(count)]
