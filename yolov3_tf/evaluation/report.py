"""All scores of a set of detections side by side, as a tuple, a table and a file.

Scores are kept in 0..1 with nan for "not evaluated" (a class without objects), printed in percent with
one decimal and '-' for nan, and written to JSON in 0..1 with null.
"""
from __future__ import annotations

import json
import math
import os
import pathlib
import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import coco, operating_points, voc
from yolov3_tf.evaluation.operating_points import OperatingPoints
from yolov3_tf.structures import Dataset, Detections, Record

THRESHOLD = .5                          # of VOC's AP
THRESHOLDS = np.linspace(.5, .95, 10)   # of an AP without a threshold in its name
NAMED_THRESHOLDS = 8                    # most classes whose own thresholds are printed
LEVELS = np.linspace(0, 1, 101)         # of recall, for the mean curve
DIGITS = 7                              # of the points of a curve in a file


class DetectionReport(NamedTuple):
    """Scores of one set.

    Attributes:
      class_names: C names.
      images: number of images.
      objects: int [C] objects of each class, without the ignored ones.
      ignored: int [C] objects marked difficult or crowd: a detection of one is neither a hit nor a false positive.
      detections: int [C] detections of each class.
      voc_area, voc_07: float [C] AP at IoU .5, all-point area and VOC07 11-point.
      giou_area: float [C] all-point AP where GIoU, not IoU, must exceed .5.
      coco_ap: float [C] COCO's AP at .5:.95.
      summary: means over the classes that have objects: mAP (area, IoU .5: the score to take where only one is
        wanted), mAP_07, mAP_giou, AP_iou and AP_giou (all-point, mean over .5:.95, as the GIoU
        authors report), COCO's twelve under ``coco_`` names, and the operating point over all classes: operating_score,
        operating_f1, operating_precision, operating_recall.
      curves: C precision-recall curves at IoU .5.
      operating: the score thresholds with the best F1; None where no detection is right.
    """
    class_names: list[str]
    images: int
    objects: np.ndarray
    ignored: np.ndarray
    detections: np.ndarray
    voc_area: np.ndarray
    voc_07: np.ndarray
    giou_area: np.ndarray
    coco_ap: np.ndarray
    summary: dict[str, float]
    curves: list[voc.Curve]
    operating: OperatingPoints | None = None

    def __str__(self) -> str:
        return table(self)


def evaluate(dataset: Dataset, detections: Sequence[Detections]) -> DetectionReport:
    """Every score of ``detections`` against the annotations of ``dataset``.

    Args:
      dataset: records with annotations; difficult and crowd objects are ignored.
      detections: at most one item for each image, in any order; an image without an item has no detections.

    Raises:
      InputError: an image that is not in the set or comes twice, a class id that the set does not have, or
        a number that is not finite.
    """
    detections = align(dataset, detections)
    count = len(dataset.class_names)
    truths = [_truth(record) for record in dataset.records]
    by_iou, by_giou = (voc.pair(truths, detections, count, criterion) for criterion in ('iou', 'giou'))
    curves, giou_curves = voc.curves(by_iou, THRESHOLD), voc.curves(by_giou, THRESHOLD)
    coco_scores = coco.evaluate(dataset.records, detections, count)
    operating = operating_points.find(dataset.class_names, curves)
    classes = np.concatenate([np.zeros(0, int)] + [np.asarray(truth.classes, int) for truth in truths])
    report = DetectionReport(
        class_names=list(dataset.class_names), images=len(truths), objects=by_iou.positives,
        ignored=np.bincount(classes, minlength=count) - by_iou.positives,
        detections=np.bincount(by_iou.classes, minlength=count),
        voc_area=_each(voc.area_ap, curves), voc_07=_each(voc.eleven_point_ap, curves),
        giou_area=_each(voc.area_ap, giou_curves), coco_ap=coco_scores.per_class, summary={}, curves=curves,
        operating=operating)
    return report._replace(summary=dict(
        mAP=voc.mean(report.voc_area), mAP_07=voc.mean(report.voc_07), mAP_giou=voc.mean(report.giou_area),
        AP_iou=_over_thresholds(by_iou), AP_giou=_over_thresholds(by_giou),
        **{f'coco_{name}': value for name, value in coco_scores.summary.items()},
        **{f'operating_{name}': value for name, value in _overall(operating)._asdict().items()}))


def mean_ap(dataset: Dataset, detections: Sequence[Detections]) -> float:
    """Only ``summary['mAP']``, in a fraction of the time: the score that picks the best checkpoint."""
    truths = [_truth(record) for record in dataset.records]
    pairing = voc.pair(truths, align(dataset, detections), len(dataset.class_names))
    return voc.mean(_each(voc.area_ap, voc.curves(pairing, THRESHOLD)))


def align(dataset: Dataset, detections: Sequence[Detections]) -> list[Detections]:
    """Checks the detections and sorts them: one item for each record, empty for an image that has none.

    Detections that name the same images in the same order are returned unchanged, so a set may
    hold two images of one name; otherwise every image needs a name of its own.

    Raises:
      InputError: see ``evaluate``.
    """
    for found in detections:
        _check(found, dataset.class_names)
    names = [record.image_id for record in dataset.records]
    given = [found.image_id for found in detections]
    if given == names:
        return list(detections)
    _check_names(names, given)
    by_name = {found.image_id: found for found in detections}
    return [by_name.get(name) or empty(name) for name in names]


def empty(image_id: str) -> Detections:
    """The detections of an image in which nothing was found."""
    return Detections(image_id, boxes=np.zeros((0, 4), np.float32), scores=np.zeros(0, np.float32),
                             classes=np.zeros(0, np.int32))


def read_part(dataset: Dataset, skipped: dict[str, str]) -> Dataset:
    """The set without its ``skipped`` images: the detector did not see them, so it did not miss their objects."""
    return dataset._replace(records=[record for record in dataset.records if record.image_path not in skipped])


def describe_skipped(dataset: Dataset, skipped: dict[str, str]) -> str:
    """A line to print under every table of a set with skipped images; empty where every image was read."""
    if not skipped:
        return ''
    objects = sum(len(record.boxes) for record in dataset.records if record.image_path in skipped)
    return (f'{len(skipped)} of {len(dataset.records)} images could not be read: they and their {objects} objects '
            'are not part of these numbers.')


def table(report: DetectionReport) -> str:
    """Text table: a row for each class, a row for the mean, and COCO's twelve numbers below."""
    head = ('class', 'objects', 'ignored', 'detections', 'VOC area', 'VOC07', 'GIoU', 'COCO AP')
    counts = zip(report.objects, report.ignored, report.detections)
    scores = zip(report.voc_area, report.voc_07, report.giou_area, report.coco_ap)
    rows = [(name, *map(str, whole), *map(_percent, parts))
            for name, whole, parts in zip(report.class_names, counts, scores)]
    total = ('mean', str(report.objects.sum()), str(report.ignored.sum()), str(report.detections.sum()),
             *(_percent(report.summary[key]) for key in ('mAP', 'mAP_07', 'mAP_giou', 'coco_AP')))
    missing = [name for name, objects in zip(report.class_names, report.objects) if not objects]
    lines = [*_columns([head, *rows, total]), '']
    lines += [f'AP in % over {report.images} images; VOC area, VOC07 and GIoU at an overlap above .5, '
              'COCO at .5:.95.']
    if missing:
        lines += textwrap.wrap(f'Without objects, so in no mean: {", ".join(missing)}.', 100)
    lines += describe_operating(report.operating)
    lines += [f'All-point AP at .5:.95: {_percent(report.summary["AP_iou"])} by IoU, '
              f'{_percent(report.summary["AP_giou"])} by GIoU.', *_coco_lines(report.summary)]
    return '\n'.join(lines)


def describe_operating(points: OperatingPoints | None) -> list[str]:
    """One or two lines: the best threshold over all classes, and those of the classes where there are few."""
    if points is None:
        return ['No detection is right at IoU .5, so there is no best score threshold.']
    score, f1, precision, recall = points.overall
    lines = [f'Best F1 {_percent(f1)} at scores above {score}: {_percent(precision)} % of these boxes are right, '
             f'{_percent(recall)} % of the objects found.']
    if 1 < len(points.per_class) <= NAMED_THRESHOLDS:
        each = ', '.join(f'{name} {point.score}' for name, point in points.per_class.items())
        lines += textwrap.wrap(f'Best score threshold of each class: {each}.', 100)
    return lines


def to_values(report: DetectionReport) -> dict[str, Any]:
    """The scores as JSON values, for other programs: images, objects, class_names, metrics and per_class rows.

    Scores are in 0..1, None where nothing could be evaluated.
    """
    return _without_nan(dict(
        images=report.images, objects=int(report.objects.sum()), class_names=list(report.class_names),
        metrics={name: float(value) for name, value in report.summary.items()}, per_class=_per_class(report)))


def to_json(report: DetectionReport) -> str:
    """The report as JSON text: summary, operating point, per_class rows, curves and their mean.

    A curve has each point where its recall changes; the mean curve has 101 recalls.
    """
    curves = [{'class': name, **_points(of)} for name, of in zip(report.class_names, report.curves)]
    mean_curve = dict(recall=LEVELS.tolist(), precision=_mean_curve(report.curves))
    content = {'images': report.images, 'summary': report.summary,
               operating_points.KEY: operating_points.to_values(report.operating), 'per_class': _per_class(report),
               'curves': curves, 'mean_curve': mean_curve}
    return '{' + ',\n'.join(f'"{key}": {_json(value)}' for key, value in content.items()) + '}\n'


def write(folder: str | os.PathLike, report: DetectionReport) -> pathlib.Path:
    """Writes ``metrics.json`` into the folder, which is made where it is missing; returns its path."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'metrics.json'
    path.write_text(to_json(report), encoding='utf-8')
    return path


def _per_class(report):
    return [{'class': name, 'objects': int(report.objects[k]), 'ignored': int(report.ignored[k]),
             'detections': int(report.detections[k]), 'voc_area': float(report.voc_area[k]),
             'voc_07': float(report.voc_07[k]), 'giou_area': float(report.giou_area[k]),
             'coco_ap': float(report.coco_ap[k])}
            for k, name in enumerate(report.class_names)]


def _overall(points):
    nan = float('nan')
    return points.overall if points is not None else operating_points.OperatingPoint(nan, nan, nan, nan)


def _truth(record: Record) -> voc.Truth:
    ignored = np.asarray(record.difficult, bool) | np.asarray(record.crowd, bool)
    return voc.Truth(record.boxes, record.classes, ignored)


def _check(found, class_names):
    if not (np.isfinite(found.boxes).all() and np.isfinite(found.scores).all()):
        raise InputError(f'detections of {found.image_id}: expected finite boxes and scores, got nan or inf')
    classes = np.asarray(found.classes)
    if len(classes) and not 0 <= classes.min() <= classes.max() < len(class_names):
        raise InputError(f'detections of {found.image_id}: expected classes 0..{len(class_names) - 1} '
                         f'({", ".join(class_names)}), got {classes.min()}..{classes.max()}; '
                         'give the class list that the detector was trained with')


def _check_names(names, given):
    for what, repeated in (('the data', _repeated(names)), ('the detections', _repeated(given))):
        if repeated:
            raise InputError(f'image {repeated} comes twice in {what}: expected every image once')
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise InputError(f'{len(unknown)} images of the detections are not in the data: got {unknown[0]}, '
                         f'expected names such as {names[0] if names else "none"}; '
                         'give the split they were made on')


def _repeated(names):
    """The first name that comes a second time, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None


def _each(score, curves) -> np.ndarray:
    return np.array([score(of) for of in curves], np.float64)


def _over_thresholds(pairing):
    parts = voc.by_class(pairing)
    return voc.mean([voc.mean(_each(voc.area_ap, voc.curves(parts, at))) for at in THRESHOLDS])


def _percent(value):
    return '-' if math.isnan(value) else f'{100 * value:.1f}'


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Names are left-aligned and numbers right-aligned, with a line below the head and above the mean."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    lines = ['  '.join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    rule = '-' * len(lines[0])
    return [lines[0], rule, *lines[1:-1], rule, lines[-1]]


def _coco_lines(summary):
    groups = (('AP', 'AP50', 'AP75'), ('APsmall', 'APmedium', 'APlarge'),
              ('AR1', 'AR10', 'AR100'), ('ARsmall', 'ARmedium', 'ARlarge'))
    return ['COCO  ' + '  '.join(f'{name:>8} {_percent(summary["coco_" + name]):>5}' for name in group)
            for group in groups]


def _points(of: voc.Curve):
    of = voc.corners(of)
    return {name: np.round(values, DIGITS).tolist() for name, values in
            (('recall', of.recall), ('precision', of.precision), ('score', of.scores))}


def _mean_curve(curves):
    known = [voc.precision_at(of, LEVELS) for of in curves if of.positives]
    return np.round(np.mean(known, axis=0), DIGITS).tolist() if known else [None] * len(LEVELS)


def _json(value):
    """Each row of a list gets a line of its own, so that people can read and compare the file; nan becomes null."""
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return '[\n' + ',\n'.join(map(_json, value)) + ']'
    return json.dumps(_without_nan(value), allow_nan=False)


def _without_nan(value):
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
