"""How well a network tells which classes occur in an image: VOC's classification AP."""
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
      images: int [C] that hold an object which counts.
      average_precision: float [C] all-point area; nan for a class that no image holds.
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
      records: n images. One whose only objects of a class are difficult or a crowd counts neither way
        for it, as in the VOC classification task.
      scores: float [n, C].
    """
    count, pairings = len(class_names), []
    present, unsure = _presence(records, count)
    scores = np.asarray(scores, np.float64).reshape(len(records), count)
    for label in range(count):
        order = np.argsort(-scores[:, label], kind='stable')
        # An image is its own only object: an overlap beyond any threshold, or none.
        hits = np.where(present[order, label] | unsure[order, label], 1., -np.inf)
        pairings.append(voc.Pairing(scores[order, label], np.zeros(len(order), np.int64), hits, order,
                                    unsure[order, label], np.array([present[:, label].sum()])))
    return ClassificationReport(list(class_names), present.sum(0),
                  np.array([voc.area_ap(voc.curve(pairing, 0)) for pairing in pairings]))


def table(report: ClassificationReport) -> str:
    """Text table, one row a class and one for the mean."""
    width = max(map(len, ['class', *report.class_names]))
    rows = [f'{"class":<{width}}  images  AP of its presence']
    for name, images, score in zip(report.class_names, report.images, report.average_precision):
        rows.append(f'{name:<{width}}  {images:8d}  {_percent(score):>18}')
    return '\n'.join([*rows, f'{"mean":<{width}}  {"":8}  {_percent(report.mean):>18}'])


def write(folder: str | os.PathLike, report: ClassificationReport) -> pathlib.Path:
    """Writes presence.json, AP in 0..1 with null for a class that no image holds; returns its path."""
    path = pathlib.Path(folder) / 'presence.json'
    path.parent.mkdir(parents=True, exist_ok=True)
    known: dict[str, float] = {name: float(score) for name, score in
                               zip(report.class_names, report.average_precision)}
    content = {'mean': _number(report.mean), 'per_class': {name: _number(score) for name, score in known.items()}}
    path.write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    return path


def _presence(records, count):
    """Which classes occur in each image, and which occur only as what counts neither way: bool [n, C] each."""
    present, aside = np.zeros((2, len(records), count), bool)
    for row, record in enumerate(records):
        neither = record.difficult | record.crowd
        present[row, record.classes[~neither]] = True
        aside[row, record.classes[neither]] = True
    return present, aside & ~present


def _number(score):
    return None if np.isnan(score) else float(score)


def _percent(score):
    return '-' if np.isnan(score) else f'{100 * score:.1f}'
