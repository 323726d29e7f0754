"""How well a network recognises which classes occur in an image: VOC's classification AP."""
from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from yolov3_tf.evaluation import voc
from yolov3_tf.structures import Record


class ClassificationReport(NamedTuple):
    """Attributes:
      class_names: C names.
      images: int [C] number of images that hold an object of the class; difficult objects and crowds are not counted.
      average_precision: float [C] all-point AP; nan for a class that occurs in no image.
    """
    class_names: list[str]
    images: np.ndarray
    average_precision: np.ndarray

    @property
    def mean(self) -> float:
        return voc.mean(self.average_precision)


def evaluate(records: Sequence[Record], scores: ArrayLike, class_names: Sequence[str]) -> ClassificationReport:
    """Ranks the images of each class by score.

    Args:
      records: n images. An image whose only objects of a class are difficult or a crowd is ignored for
        this class, as in the VOC classification task.
      scores: float [n, C].
    """
    count, pairings = len(class_names), []
    present, ignored = _presence(records, count)
    scores = np.asarray(scores, np.float64).reshape(len(records), count)
    for class_id in range(count):
        order = np.argsort(-scores[:, class_id], kind='stable')
        # Each image counts as one object, which a detection hits (overlap 1) or does not overlap at all.
        hits = np.where(present[order, class_id] | ignored[order, class_id], 1., -np.inf)
        pairings.append(voc.Pairing(scores[order, class_id], np.zeros(len(order), np.int64), hits, order,
                                    ignored[order, class_id], np.array([present[:, class_id].sum()])))
    return ClassificationReport(list(class_names), present.sum(0),
                  np.array([voc.area_ap(voc.curve(pairing, 0)) for pairing in pairings]))


def table(report: ClassificationReport) -> str:
    """Text table, one row a class and one for the mean."""
    width = max(map(len, ['class', *report.class_names]))
    rows = [f'{"class":<{width}}  images  classification AP']
    for name, images, score in zip(report.class_names, report.images, report.average_precision):
        rows.append(f'{name:<{width}}  {images:8d}  {_percent(score):>17}')
    return '\n'.join([*rows, f'{"mean":<{width}}  {"":8}  {_percent(report.mean):>17}'])


def write(folder: str | os.PathLike, report: ClassificationReport) -> pathlib.Path:
    """Writes presence.json, AP in 0..1 with null for a class that occurs in no image; returns its path."""
    path = pathlib.Path(folder) / 'presence.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, float] = {name: float(score) for name, score in
                               zip(report.class_names, report.average_precision)}
    content = {'mean': _number(report.mean), 'per_class': {name: _number(score) for name, score in known.items()}}
    path.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    return path


def _presence(records, count):
    """Which classes occur in each image, and which occur only as ignored objects: bool [n, C] each."""
    present, ignored = np.zeros((2, len(records), count), bool)
    for row, record in enumerate(records):
        marked = record.difficult | record.crowd
        present[row, record.classes[~marked]] = True
        ignored[row, record.classes[marked]] = True
    return present, ignored & ~present


def _number(score):
    return None if np.isnan(score) else float(score)


def _percent(score):
    return '-' if np.isnan(score) else f'{100 * score:.1f}'
