"""The flags of detection in tiles, the same for ``detect`` and ``evaluate``."""
from __future__ import annotations

import sys

from absl import flags

from yolov3_tf import tiling
from yolov3_tf.errors import InputError
from yolov3_tf.tiling import Tiling

NONE = 'none'


def define(values: flags.FlagValues):
    """Adds ``--tiles`` and ``--tile_overlap``."""
    flags.DEFINE_string('tiles', None, 'Look at large images in overlapping tiles too, for small objects: auto (tiles '
                        'of the network\'s input size), a number of tiles along the longer side (2 to 31), the '
                        f'longer side of a tile in pixels (32 or more), or {NONE} for the whole image alone. Default: '
                        'as the model was trained (train --train_tiles).', flag_values=values)
    flags.DEFINE_float('tile_overlap', .2, 'Share of a tile\'s side that it has in common with its neighbour. Objects '
                       'should be smaller, or so large that the whole image shows them.', .05, .75, flag_values=values)


def given(options: flags.FlagValues) -> Tiling | None:
    """The tiling that the flags ask for; None for none, or where the model decides (``of_model``).

    Raises:
      InputError: it cannot be understood, or there is an overlap although ``--tiles=none``.
    """
    if options.tiles == NONE and options['tile_overlap'].present:
        raise InputError(f'--tile_overlap beside --tiles={NONE}: there are no tiles; leave one of them out')
    if options.tiles in (None, '', NONE):
        return None
    return checked(options.tiles, '--tiles', options.tile_overlap)


def of_model(options: flags.FlagValues, own: str) -> Tiling | None:
    """The tiling to use with a model that was trained for the tiles ``own`` ('' for none), and a line that says so.

    Raises:
      InputError: as in ``given``, or there is an overlap without tiles.
    """
    if not options.tiles and own:
        print(f'tiles: {own}, as this model was trained (--tiles={NONE} for the whole image alone)', file=sys.stderr)
        return checked(own, 'tiles of the model', options.tile_overlap)
    if not options.tiles and options['tile_overlap'].present:
        raise InputError('--tile_overlap without --tiles: there are no tiles; give --tiles=auto too')
    return given(options)


def checked(tiles: str, where: str, overlap: float = .2) -> Tiling:
    """A tiling that can be understood; the error begins with ``where`` it is from."""
    made = Tiling(tiles, overlap)
    try:
        tiling.check(made)
    except InputError as error:
        raise InputError(f'{where}={tiles}: {error}') from None
    return made
