"""What must be stored with a network: class names, the resize, thresholds. Every format keeps these two texts.

    model.json    input size, letterbox, anchors, settings, and the meaning of inputs and outputs
    labels.txt    class names, one on each line
"""
from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from yolov3_tf.errors import InputError
from yolov3_tf.export.settings import Settings
from yolov3_tf.models.checkpoints import ModelConfig

FORMAT = 1
MODEL, LABELS = 'model.json', 'labels.txt'
OUTPUTS = {
    'detection_boxes': 'float32 [batch, max_total, 4]; ymin, xmin, ymax, xmax as parts of the image',
    'detection_scores': 'float32 [batch, max_total]; best first',
    'detection_classes': f'float32 [batch, max_total]; class_offset is the first line of {LABELS}',
    'num_detections': 'float32 [batch]; rows at and beyond it are zeros'}


class Metadata(NamedTuple):
    """Attributes: as in ``checkpoints.ModelConfig``; ``settings`` as exported; tiles: '' where none are due."""
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    letterbox: bool
    settings: Settings
    tiles: str = ''


def texts(config: ModelConfig, settings: Settings, **more: Any) -> dict[str, str]:
    """File name -> text; ``more``: further JSON values, of one format."""
    values = {'format': FORMAT, 'labels': LABELS, 'input_size': list(config.image_size),
             'letterbox': bool(config.letterbox), 'anchors': config.anchors._asdict(),
             **({'tiles': config.tiles} if config.tiles else {}), **settings.flat(), **more, 'outputs': OUTPUTS}
    return {MODEL: json.dumps(values, indent=2) + '\n',
            LABELS: ''.join(f'{name}\n' for name in config.class_names)}


def read(found: Mapping[str, str], where: str | os.PathLike) -> Metadata:
    """Reads what ``texts`` wrote; ``where`` names the file in messages.

    Raises:
      InputError: a text is missing or damaged.
    """
    try:
        values = json.loads(found[MODEL])
        height, width = values['input_size']
        # A file of an older version lacks newer settings; it was written with their defaults.
        return Metadata(tuple(found[values['labels']].splitlines()), (int(height), int(width)),
                        bool(values['letterbox']), Settings.from_flat(values), str(values.get('tiles', '')))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{where}: expected a model of export_saved_model.py with {MODEL} and {LABELS}: '
                         f'{error!r}') from error
