"""What is fixed when a network is exported, whatever the format."""
from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from yolov3_tf import postprocess
from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError

PRECISIONS = {'float32': tf.float32, 'bfloat16': tf.bfloat16}


class Settings(NamedTuple):
    """What is fixed when exporting.

    Attributes:
      score_threshold, iou_threshold, max_per_class, max_total, nms, top_k: see ``postprocess.detect``. The low
        default score serves evaluation; a client that only draws takes .3 or so.
      precision: of the network's variables and arithmetic. bfloat16 halves memory and doubles the speed
        where the hardware multiplies it (avx512_bf16, amx, GPUs of compute capability 8 on), and gains
        nothing elsewhere. Boxes, scores and suppression are float32 either way.
      class_offset: number of the first class: 1 as in the Object Detection API, 0 as in the Model Garden.
    """
    score_threshold: float = .01
    iou_threshold: float = .45
    max_per_class: int = 150
    max_total: int = 300
    precision: str = 'float32'
    class_offset: int = 1
    nms: str = 'per_class'
    top_k: int | None = None


DEFAULTS = Settings()


def check(settings: Settings):
    """Raises InputError for a setting out of range."""
    choose(PRECISIONS, settings.precision, 'precision')
    for name in ('score_threshold', 'iou_threshold'):
        if not 0 <= getattr(settings, name) <= 1:
            raise InputError(f'{name} {getattr(settings, name)}: expected a number from 0 to 1')
    for name in ('max_per_class', 'max_total'):
        if getattr(settings, name) < 1:
            raise InputError(f'{name} {getattr(settings, name)}: expected a whole number from 1 on')
    postprocess.check(settings.nms, settings.top_k)
    if settings.class_offset not in (0, 1):
        raise InputError(f'class_offset {settings.class_offset}: expected 0 or 1 (number of the first class)')
