"""The formulations of YOLO's loss from its first to its fourth version, as settings of one criterion.

All of them train YOLOv3's network, anchors and slots; they differ only in the settings below. Where a
version's own network had no such thing (YOLOv1 has no anchors, YOLOv2 one scale), its rule is applied to
YOLOv3's slots as the note describes.
"""
from __future__ import annotations

from typing import NamedTuple

from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.losses.criterion import LossSettings, check


class Formulation(NamedTuple):
    """Attributes:
      loss: the criterion.
      sensitivity: grid sensitivity of strides 8, 16, 32 for ``anchors.Anchors``; empty: 1 everywhere.
      note: formula and source.
    """
    loss: LossSettings
    sensitivity: tuple[float, ...]
    note: str


FORMULATIONS = {
    'yolov1': Formulation(
        LossSettings(box='sqrt_wh', box_weight=5., objectness='squared', objectness_target='iou',
                     background_weight=.5, classification='squared', assigner='best_prediction', ignore_thresh=1.),
        (), 'squared errors: 5 (x, y, sqrt w, sqrt h), confidence against IoU, .5 where there is no object, class '
            'probabilities; the slot that predicts the object best, of the nine priors in the cells of its centre, '
            'is responsible, and all others are background. Redmon et al., CVPR 2016, equation 3'),
    'yolov2': Formulation(
        LossSettings(box='plain_wh', box_weight=5., objectness='squared', objectness_target='iou',
                     background_weight=.5, classification='squared', ignore_thresh=.6, ignore_scope='image'),
        (), 'as yolov1, with the anchor of the best shape responsible, plain w, h, weight (2 - w h), and predictions '
            'that overlap any object by .6 ignored. Redmon & Farhadi, CVPR 2017; thresh of yolov2-voc.cfg'),
    'yolov3': Formulation(
        LossSettings(box='mse'),
        (), '(2 - w h) squared error of sigmoid(t_xy), t_wh; binary cross-entropy of objectness and classes; '
            'predictions that overlap an object of their scale by .5 ignored. Redmon & Farhadi 2018, as the '
            'TensorFlow 1 implementation by wizyoung has it'),
    'yolov4': Formulation(
        LossSettings(box='ciou', assigner='iou_threshold', ignore_thresh=.7, ignore_scope='image'),
        (1.2, 1.1, 1.05), '1 - CIoU; every anchor whose shape IoU exceeds .213, and the best; centre = s sigmoid(t) - '
                          '(s - 1) / 2; binary cross-entropies; predictions that overlap any object by .7 '
                          'ignored. Bochkovskiy et al. 2020 and yolov4.cfg'),
}


def settings(name: str | None = None, **chosen) -> LossSettings:
    """The criterion of a formulation with some parts replaced.

    Args:
      name: of ``FORMULATIONS``; None: the defaults of ``LossSettings``.
      chosen: fields of ``LossSettings`` to replace; None keeps the formulation's.

    Raises:
      InputError: an unknown formulation, or parts that contradict each other.
    """
    preset = LossSettings() if name is None else choose(FORMULATIONS, name, 'formulation').loss
    result = preset._replace(**{field: value for field, value in chosen.items() if value is not None})
    try:
        check(result)
    except InputError as error:
        where = f'formulation={name}: ' if name else ''
        raise InputError(f'{where}{error}') from None
    return result
