"""The flags of tracking in ``detect``."""
from __future__ import annotations

import functools

from absl import flags

from yolov3_tf.errors import InputError
from yolov3_tf.inference import tracking
from yolov3_tf.inference.tracking import Tracking

NAMES = ('track_low_score', 'track_iou', 'track_buffer')


def define(values: flags.FlagValues):
    """Adds ``--track`` and its settings."""
    number = functools.partial(flags.DEFINE_float, flag_values=values)
    flags.DEFINE_bool('track', False, 'Follow each object through a video, camera, stream or folder of numbered '
                      'images: it keeps one number (ByteTrack). Also writes NAME.mot.txt and NAME.tracks.csv.',
                      flag_values=values)
    number('track_low_score', None, 'A track begins above --score_threshold, and goes on with detections that score '
           f'above this (default: {tracking.LOW_SCORE}, or half of --score_threshold where that is less).', 0, 1)
    number('track_iou', .2, 'Least overlap (IoU) of a detection with the position that is predicted for its track.',
           0, 1)
    number('track_buffer', 1., 'Seconds after which an object that is not seen is forgotten: seen again, it has a new '
           'number.', 0, tracking.MOST_BUFFER)


def check(options: flags.FlagValues):
    """Raises InputError for a setting of ``--track`` without it, and for a low score above the score threshold."""
    given = [name for name in NAMES if options[name].present]
    if given and not options.track:
        raise InputError(f'--{given[0]} without --track: nothing is followed; give --track too')
    if options.score_threshold is not None:
        settings(options, options.score_threshold)


def settings(options: flags.FlagValues, score: float) -> Tracking:
    """The settings that the flags ask for, where tracks begin above ``score``.

    Raises:
      InputError: the low score is above it.
    """
    chosen = Tracking(score, options.track_low_score, options.track_iou, options.track_buffer)
    if chosen.lowest > score:
        raise InputError(f'--track_low_score={chosen.lowest:g}: expected at most the score that tracks begin above, '
                         f'{score:g} (--score_threshold)')
    return chosen._replace(low_score=chosen.lowest)
