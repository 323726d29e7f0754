"""Networks: images in, one row of raw predictions a slot out; plain functional ``keras.Model`` objects.

    model = models.yolov3(num_classes=20)
    model = models.from_cfg(models.load_cfg('yolov3-tiny.cfg'), num_classes=20)

Nothing is imported before it is asked for, so that importing this package needs no TensorFlow.
"""
from __future__ import annotations

import importlib

TYPE_CHECKING = False       # true to type checkers, by its name; importing typing would be most of the cost
if TYPE_CHECKING:
    from typing import Any

    from yolov3_tf.models.checkpoints import ModelConfig, load_model, save_model
    from yolov3_tf.models.classifier import classifier as image_classifier
    from yolov3_tf.models.darknet.cfg import build as from_cfg
    from yolov3_tf.models.darknet.cfg import load as load_cfg
    from yolov3_tf.models.yolov3_network import build as yolov3
    from yolov3_tf.models.yolov3_network import darknet53_backbone

__all__ = ['ModelConfig', 'darknet53_backbone', 'from_cfg', 'image_classifier', 'load_cfg', 'load_model', 'save_model',
           'yolov3']

# Public name -> module below this package, and the name there.
_LAZY = {
    'ModelConfig': ('checkpoints', 'ModelConfig'),
    'darknet53_backbone': ('yolov3_network', 'darknet53_backbone'),
    'from_cfg': ('darknet.cfg', 'build'),
    'image_classifier': ('classifier', 'classifier'),
    'load_cfg': ('darknet.cfg', 'load'),
    'load_model': ('checkpoints', 'load_model'),
    'save_model': ('checkpoints', 'save_model'),
    'yolov3': ('yolov3_network', 'build'),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module, attribute = _LAZY[name]
    return getattr(importlib.import_module(f'{__name__}.{module}'), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
