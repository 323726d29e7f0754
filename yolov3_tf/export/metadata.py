"""What must travel with a network: labels, the resize, thresholds. Two texts, kept wherever a format has room for them.

    model.json    input size, letterbox, anchors, settings, and what inputs and outputs mean
    labels.txt    class names, one a line
"""
from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple

from yolov3_tf.errors import InputError
from yolov3_tf.export.settings import Settings

FORMAT = 1
FACTS, LABELS = 'model.json', 'labels.txt'
OUTPUTS = {
    'detection_boxes': 'float32 [batch, max_total, 4]; ymin, xmin, ymax, xmax as parts of the image',
    'detection_scores': 'float32 [batch, max_total]; best first',
    'detection_classes': f'float32 [batch, max_total]; class_offset is the first line of {LABELS}',
    'num_detections': 'float32 [batch]; rows at and beyond it are zeros'}


class Facts(NamedTuple):
    """Attributes: as in ``checkpoints.ModelConfig``; ``settings`` as exported."""
    class_names: tuple[str, ...]
    image_size: tuple[int, int]
    letterbox: bool
    settings: Settings


def texts(config, settings: Settings, **more) -> dict[str, str]:
    """File name -> text; ``more``: facts of one format alone, as JSON values."""
    facts = {'format': FORMAT, 'labels': LABELS, 'input_size': list(config.image_size),
             'letterbox': bool(config.letterbox), 'anchors': config.anchors._asdict(),
             **settings._asdict(), **more, 'outputs': OUTPUTS}
    return {FACTS: json.dumps(facts, indent=2) + '\n',
            LABELS: ''.join(f'{name}\n' for name in config.class_names)}


def read(found: Mapping[str, str], where) -> Facts:
    """The texts of ``texts`` again; ``where`` names the file in messages.

    Raises:
      InputError: a text is missing or damaged.
    """
    try:
        facts = json.loads(found[FACTS])
        height, width = facts['input_size']
        # A file from before there was a choice lacks it: then the default is what it has.
        settings = Settings(**{name: facts[name] for name in Settings._fields if name in facts})
        return Facts(tuple(found[facts['labels']].splitlines()), (int(height), int(width)), bool(facts['letterbox']),
                     settings)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f'{where}: expected a model of export_saved_model.py with {FACTS} and {LABELS}: '
                         f'{error!r}') from error
