"""COCO's twelve numbers and AP per class, by pycocotools itself on dictionaries built in memory.

This module computes no score itself; it only prepares the input of pycocotools. So a COCO set gets the numbers
that pycocotools gives on the same instances and results files. Where the package faster-coco-eval is installed
(extra ``fast-eval``), its C++ computes the same numbers from the same input in a fraction of time and memory.
Two marks of an object become ``iscrowd``, the
only mark that COCOeval respects (its ``_prepare`` overwrites the field ``ignore`` with ``iscrowd``):

* crowd, which is the mark's own meaning;
* difficult (VOC): such an object must be ignored, however often it is detected. The price is that
  COCO divides an overlap with a crowd by the DETECTION's area, so a false positive that lies inside
  a difficult object is ignored, where VOC would demand an overlap of half of the union.
"""
from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yolov3_tf import collector
from yolov3_tf.structures import Detections, Record

NAMES = ('AP', 'AP50', 'AP75', 'APsmall', 'APmedium', 'APlarge',
         'AR1', 'AR10', 'AR100', 'ARsmall', 'ARmedium', 'ARlarge')


class Scores(NamedTuple):
    """What COCOeval's summary prints, in 0..1; nan where no object has the class or size (COCOeval: -1).

    summary: the numbers by ``NAMES``, in COCOeval's order. per_class: float64 [C] AP at .5:.95.
    """
    summary: dict[str, float]
    per_class: np.ndarray


class Decisions(NamedTuple):
    """How COCOeval classifies the n detections of one class at each of its T thresholds, best score first.

    Attributes:
      images: int [n] position of each detection's image in the set.
      hit: bool [T, n], true positives; ignored: bool [T, n], neither true nor false positives.
      positives: int [P] objects of the class in each image, without the ignored ones.
    """
    images: np.ndarray
    hit: np.ndarray
    ignored: np.ndarray
    positives: np.ndarray


def evaluate(records: Sequence[Record], detections: Sequence[Detections], num_classes: int) -> Scores:
    """Evaluates detections (one item a record, in the same order) of ``num_classes`` classes.

    COCO evaluates the 100 best detections of an image and class, and accepts an overlap equal to the threshold.
    """
    faster = _faster()
    # Of pycocotools the pause saves 6 % of the time and costs 9 % more memory.
    with contextlib.redirect_stdout(io.StringIO()), collector.paused() if faster else contextlib.nullcontext():
        evaluator = _evaluator(records, detections, num_classes, *(faster or _reference()))
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return Scores(dict(zip(NAMES, _known(evaluator.stats).tolist())), _per_class(evaluator.eval['precision']))


def decide(records: Sequence[Record], detections: Sequence[Detections], num_classes: int) -> list[Decisions]:
    """The decisions that COCOeval's AP is computed from, one item a class; the arguments are those of ``evaluate``."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = _evaluator(records, detections, num_classes, *_reference())
        evaluator.params.areaRng, evaluator.params.areaRngLbl = [[0, 1e10]], ['all']
        evaluator.evaluate()
    position_of = {number: index for index, number in enumerate(image_numbers([one.image_id for one in records]))}
    per_class: list[list] = [[] for _ in range(num_classes)]
    for one in evaluator.evalImgs:
        if one is not None:                 # None: an image without objects and detections of the class
            per_class[one['category_id'] - 1].append(one)
    return [_joined(images, position_of, len(evaluator.params.iouThrs)) for images in per_class]


def image_numbers(image_ids: Sequence[str]) -> list[int]:
    """COCO's own numbers where the ids are distinct numbers, else 1, 2, ... in the order given.

    COCOeval goes through the images in the order of their numbers, which decides between equal scores; so COCO's
    order is kept.
    """
    if all(name.isdecimal() for name in image_ids):
        numbers = [int(name) for name in image_ids]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(image_ids) + 1))


def _reference():
    """COCO's own classes: the index of annotations, and the evaluation."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    return COCO, COCOeval


def _faster():
    """Those of faster-coco-eval, None where it is not installed, or older than what was compared."""
    try:
        from faster_coco_eval import COCO, COCOeval_faster, __version__
    except ImportError:
        return None
    return (COCO, COCOeval_faster) if tuple(map(int, __version__.split('.')[:2])) >= (1, 6) else None


def _evaluator(records, detections, num_classes, index, evaluation):
    numbers = image_numbers([record.image_id for record in records])
    return evaluation(_indexed(index, numbers, num_classes, _objects(records, numbers)),
                      _indexed(index, numbers, num_classes, _results(detections, numbers)), 'bbox')


def _joined(images, position_of, thresholds) -> Decisions:
    """The decisions on all images joined, sorted by score as COCOeval sorts them."""
    scores = np.concatenate([np.zeros(0), *(one['dtScores'] for one in images)])
    order = np.argsort(-scores, kind='mergesort')
    none = np.zeros((thresholds, 0))
    matched, ignored = (np.concatenate([none, *(one[name] for one in images)], axis=1)[:, order] > 0
                        for name in ('dtMatches', 'dtIgnore'))
    positions = [position_of[one['image_id']] for one in images]
    positives = np.zeros(len(position_of), np.int64)
    positives[positions] = [int(np.sum(np.asarray(one['gtIgnore']) == 0)) for one in images]
    return Decisions(np.repeat(np.array(positions, np.int64), [len(one['dtScores']) for one in images])[order],
                     matched & ~ignored, ignored, positives)


def _objects(records, numbers):
    """Annotations; their ids start at 1, because COCOeval reads 0 as "not matched"."""
    annotations: list[dict] = []
    for record, number in zip(records, numbers):
        ignored = np.asarray(record.crowd, bool) | np.asarray(record.difficult, bool)
        rows = zip(itertools.count(len(annotations) + 1), _xywh(record.boxes), np.asarray(record.classes).tolist(),
                   np.asarray(record.areas, np.float64).tolist(), ignored.tolist())
        annotations += [{'id': own, 'image_id': number, 'category_id': class_id + 1, 'bbox': box, 'area': area,
                         'iscrowd': int(crowd)} for own, box, class_id, area, crowd in rows]
    return annotations


def _results(detections, numbers):
    annotations: list[dict] = []
    for found, number in zip(detections, numbers):
        rows = zip(itertools.count(len(annotations) + 1), _xywh(found.boxes), np.asarray(found.classes).tolist(),
                   np.asarray(found.scores, np.float64).tolist())
        annotations += [{'id': own, 'image_id': number, 'category_id': class_id + 1, 'bbox': box, 'score': score,
                         'area': box[2] * box[3], 'iscrowd': 0} for own, box, class_id, score in rows]
    return annotations


def _indexed(index, numbers, num_classes, annotations):
    """An index of these annotations."""
    made = index()
    made.dataset = dict(images=[dict(id=number) for number in numbers],
                        categories=[dict(id=class_id + 1) for class_id in range(num_classes)], annotations=annotations)
    made.createIndex()
    return made


def _xywh(boxes):
    """[n, 4] -> list of x, y, width, height as COCO writes boxes; the subtraction is in double precision."""
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    return boxes.tolist()


def _per_class(precision):
    """Mean over COCOeval's precision [thresholds, recalls, C, areas, maxDets] at area all, maxDets 100."""
    table = _known(precision[:, :, :, 0, -1])
    return table.mean(axis=(0, 1))


def _known(values):
    return np.where(np.asarray(values) == -1, np.nan, values)
