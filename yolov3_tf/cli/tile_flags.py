"""The flags of detection in tiles, the same for ``detect`` and ``evaluate``."""
from __future__ import annotations

from typing import TYPE_CHECKING

from absl import flags

from yolov3_tf.errors import InputError

if TYPE_CHECKING:
    from yolov3_tf.inference.tiles import Tiling


def define(values: flags.FlagValues):
    """Adds ``--tiles`` and ``--tile_overlap``."""
    flags.DEFINE_string('tiles', None, 'Look at large images in overlapping tiles too, for small objects: auto (tiles '
                        'of the network\'s input size), a number of tiles along the longer side (2 to 31), or the '
                        'longer side of a tile in pixels (32 or more). Default: the whole image alone.',
                        flag_values=values)
    flags.DEFINE_float('tile_overlap', .2, 'Share of a tile\'s side that it has in common with its neighbour. Objects '
                       'should be smaller, or so large that the whole image shows them.', .05, .75, flag_values=values)


def given(options: flags.FlagValues) -> Tiling | None:
    """The tiling that the flags ask for, None for none.

    Raises:
      InputError: it cannot be understood, or there is an overlap without tiles.
    """
    if not options.tiles:
        if options['tile_overlap'].present:
            raise InputError('--tile_overlap without --tiles: there are no tiles; give --tiles=auto too')
        return None
    from yolov3_tf.inference import tiles  # imports TensorFlow
    tiling = tiles.Tiling(options.tiles, options.tile_overlap)
    try:
        tiles.check(tiling)
    except InputError as error:
        raise InputError(f'--tiles={options.tiles}: {error}') from None
    return tiling
