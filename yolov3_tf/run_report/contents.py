"""Everything that the page of a run shows, as numbers; the page itself computes nothing."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from yolov3_tf.drawing import plots
from yolov3_tf.evaluation import calibration, confusion, errors, report
from yolov3_tf.evaluation.calibration import Calibration
from yolov3_tf.evaluation.confusion import Confusion
from yolov3_tf.evaluation.errors import Errors
from yolov3_tf.evaluation.report import DetectionReport
from yolov3_tf.run_report import advice
from yolov3_tf.structures import Dataset, Detections

SHOWN = .3                  # score threshold where no detection is right, so that there is no best one


class Contents(NamedTuple):
    """Attributes:
      title: name of the run or of the result files.
      spec: where the evaluated images come from.
      dataset: the evaluated images; detections: one item for each, in the same order.
      report: their scores.
      confusion: at the operating point.
      errors, calibration: of all detections.
      lock: what the run was made with (``lock.describe``); empty where unknown.
      metrics: the objects of metrics.jsonl; empty where there is none.
      skipped: one line about images that could not be read; '' where all could.
      advice: what to try next.
    """
    title: str
    spec: str
    dataset: Dataset
    detections: list[Detections]
    report: DetectionReport
    confusion: Confusion
    errors: Errors
    calibration: Calibration
    lock: Mapping[str, Any]
    metrics: list[dict[str, Any]]
    skipped: str
    advice: list[str]


def gather(title: str, spec: str, dataset: Dataset, detections: Sequence[Detections],
           scores: DetectionReport | None = None, lock: Mapping[str, Any] | None = None,
           metrics: Sequence[dict[str, Any]] = (), skipped: Mapping[str, str] | None = None) -> Contents:
    """Computes all that the page shows.

    Args:
      title, spec, lock, metrics: see ``Contents``.
      dataset: the annotated images; detections: at most one item for each, in any order.
      scores: of these detections, where they are known already.
      skipped: file -> reason, for the images that no detector could read.

    Raises:
      InputError: see ``report.evaluate``.
    """
    line = report.describe_skipped(dataset, dict(skipped or {}))
    dataset = report.read_part(dataset, dict(skipped or {}))
    scores = scores or report.evaluate(dataset, detections)
    found = report.align(dataset, detections)
    count = len(dataset.class_names)
    score = scores.operating.overall.score if scores.operating else SHOWN
    matrix = confusion.find(dataset.records, found, count, score)
    kinds = errors.find(dataset.records, found, count)
    facts = _facts(dataset, scores, matrix, kinds, lock or {}, metrics)
    return Contents(title, spec, dataset, found, scores, matrix, kinds, calibration.find(scores.curves), lock or {},
                    list(metrics), line, advice.advise(facts))


def _facts(dataset, scores, matrix, kinds, lock, metrics) -> advice.Facts:
    data, names = lock.get('data', {}), dataset.class_names
    train, val = data.get('train', {}), data.get('val', {})
    size = lock.get('network', {}).get('image_size')
    val_scores, val_losses, train_losses = of_last_stage(metrics)
    return advice.Facts(
        problems=train.get('problems', 0) + val.get('problems', len(dataset.problems)),
        trained={name: row['objects'] for name, row in train.get('classes', {}).items()},
        validated=dict(zip(names, scores.objects.tolist())), image_size=max(size) if size else 0,
        small=max(train.get('small_boxes', 0.), val.get('small_boxes', 0.)), scores=val_scores, val_losses=val_losses,
        train_losses=train_losses, operating_score=scores.operating.overall.score if scores.operating else None,
        costs=kinds.costs if not np.isnan(kinds.ap) else {},
        confused=tuple((names[true], names[predicted], count) for true, predicted, count in matrix.confused),
        found={name: float(ap) for name, ap in zip(names, scores.voc_area) if not np.isnan(ap)},
        loss=lock.get('settings', {}).get('loss', ''))


def of_last_stage(metrics: Sequence[Mapping[str, Any]]
                  ) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
    """mAP, validation loss and mean training loss since the validation before, of each validation of the last stage."""
    lines = [line for line in metrics if line['stage'] == metrics[-1]['stage']]
    scores, val_losses, train_losses, since = [], [], [], []
    for line in lines:
        if line['kind'] == 'train':
            since.append(line.get('total', np.nan))
        elif 'mAP' in line:
            scores.append(float(line['mAP']))
            val_losses.append(float(line.get('total', np.nan)))
            train_losses.append(float(np.mean(since)) if since else np.nan)
            since = []
    known = [k for k in range(len(scores)) if np.isfinite([scores[k], val_losses[k]]).all()]
    return tuple(scores), tuple(val_losses[k] for k in known), tuple(train_losses[k] for k in known)


def evaluated_on(settings: Mapping[str, str]) -> str:
    """What a run with these settings is validated on, for its page."""
    whole = settings.get('train_data')
    return settings.get('val_data') or (f'the validation part of {whole}' if whole else '')


def read_metrics(path) -> list[dict[str, Any]]:
    """The objects of a metrics.jsonl; empty where there is none."""
    return plots.read_metrics(path) if path.exists() and path.stat().st_size else []
