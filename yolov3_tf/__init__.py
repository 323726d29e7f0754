"""YOLOv3 for TensorFlow 2: train, evaluate and serve detectors, with the losses of the GIoU exploration paper.

    import yolov3_tf as yolo
    detector = yolo.load('runs/NAME')
    found = detector('dog.jpg')
    report = yolo.evaluate(detector, 'voc:VOCdevkit:2007_test')
    run = yolo.train('voc:mine:train', 'voc:mine:val', loss='giou', focal=True, ignore_thresh=.45)
    model = yolo.models.yolov3(num_classes=20)

Nothing is imported before it is asked for, so that importing the package needs no TensorFlow.
"""
from __future__ import annotations

import importlib

TYPE_CHECKING = False       # true to type checkers, by its name; importing typing would be most of the cost
if TYPE_CHECKING:
    from typing import Any

    from yolov3_tf import losses, models
    from yolov3_tf.inference.detector import Detector, load
    from yolov3_tf.inference.evaluate import evaluate
    from yolov3_tf.structures import Detections
    from yolov3_tf.training.from_python import train_with as train

__version__ = '0.2.0'
__all__ = ['Detections', 'Detector', '__version__', 'evaluate', 'load', 'losses', 'models', 'train']

# Public name -> module below this package, and the name there; None: the module itself.
_LAZY = {
    'Detections': ('structures', 'Detections'),
    'Detector': ('inference.detector', 'Detector'),
    'evaluate': ('inference.evaluate', 'evaluate'),
    'load': ('inference.detector', 'load'),
    'losses': ('losses', None),
    'models': ('models', None),
    'train': ('training.from_python', 'train_with'),
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    module, attribute = _LAZY[name]
    found = importlib.import_module(f'{__name__}.{module}')
    return found if attribute is None else getattr(found, attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
