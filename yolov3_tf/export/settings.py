"""Settings that are fixed when a network is exported, in every format."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import tensorflow as tf

from yolov3_tf import postprocess
from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import operating_points
from yolov3_tf.evaluation.operating_points import KEY, OperatingPoints

PRECISIONS = {'float32': tf.float32, 'bfloat16': tf.bfloat16}


class Settings(NamedTuple):
    """Settings that are fixed when exporting.

    Attributes:
      suppression: the low default score suits evaluation; for drawing only, use about .3. ``max_total`` is the N of
        the outputs.
      precision: of the network's variables and arithmetic. bfloat16 halves the memory, and doubles the speed
        where the hardware multiplies it (avx512_bf16, amx, GPUs from compute capability 8 on); elsewhere it is
        not faster. Boxes, scores and suppression are always float32.
      class_offset: number of the first class: 1 as in the Object Detection API, 0 as in the Model Garden.
      operating: the score thresholds to show detections from, as found on validation data; the model itself still
        returns all above the suppression's score. None where unknown.
    """
    suppression: postprocess.Suppression = postprocess.DEFAULTS
    precision: str = 'float32'
    class_offset: int = 1
    operating: OperatingPoints | None = None

    def flat(self) -> dict[str, Any]:
        """All settings by name (``NAMES``), including those of the suppression, as in model.json and the flags.

        The operating point is no flag: it is in model.json where it is known.
        """
        own = self._asdict()
        operating = operating_points.to_values(own.pop('operating'))
        return {**own.pop('suppression')._asdict(), **own, **({KEY: operating} if operating else {})}

    @classmethod
    def from_flat(cls, values: Mapping[str, Any]) -> Settings:
        """The inverse of ``flat``; a missing name keeps its default, other names are ignored.

        Raises:
          ValueError: the operating point is damaged.
        """
        suppression, own = ({name: values[name] for name in names if name in values}
                            for names in (postprocess.Suppression._fields, ('precision', 'class_offset')))
        return cls(postprocess.Suppression(**suppression), **own,
                   operating=operating_points.from_values(values.get(KEY)))


DEFAULTS = Settings()
NAMES = tuple(DEFAULTS.flat())


def check(settings: Settings):
    """Raises InputError for a setting out of range."""
    choose(PRECISIONS, settings.precision, 'precision')
    postprocess.check(settings.suppression)
    if settings.suppression.max_total is None:
        raise InputError('max_total None: expected a whole number from 1 on: an exported model has outputs of one size')
    if settings.class_offset not in (0, 1):
        raise InputError(f'class_offset {settings.class_offset}: expected 0 or 1 (number of the first class)')
