"""The criterion of the paper, and its box and focal losses for any Keras model.

    model.compile(loss={'boxes': losses.GIoULoss(), 'object': losses.FocalBinaryCrossentropy(from_logits=True)})

``detection_loss`` is the whole criterion, ``settings`` its settings by the names of the command's flags. Nothing is
imported before it is asked for, so that importing this package needs no TensorFlow.
"""
from __future__ import annotations

import importlib

TYPE_CHECKING = False       # true to type checkers, by its name; importing typing would be most of the cost
if TYPE_CHECKING:
    from typing import Any

    from yolov3_tf.losses.criterion import LossSettings, detection_loss
    from yolov3_tf.losses.formulations import settings
    from yolov3_tf.losses.keras_losses import (
        CIoULoss,
        DIoULoss,
        FocalBinaryCrossentropy,
        GIoULoss,
        IoULoss,
        ciou_loss,
        diou_loss,
        focal_binary_crossentropy,
        giou_loss,
        iou_loss,
    )

__all__ = ['CIoULoss', 'DIoULoss', 'FocalBinaryCrossentropy', 'GIoULoss', 'IoULoss', 'LossSettings', 'ciou_loss',
           'detection_loss', 'diou_loss', 'focal_binary_crossentropy', 'giou_loss', 'iou_loss', 'settings']

# Public name -> module below this package; what is not listed is in keras_losses.
_ELSEWHERE = {'LossSettings': 'criterion', 'detection_loss': 'criterion', 'settings': 'formulations'}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(f'{__name__}.{_ELSEWHERE.get(name, "keras_losses")}'), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
