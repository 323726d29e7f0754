"""The charts of the page: training curves, precision over recall, F1 over score, reliability."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yolov3_tf.drawing import plots
from yolov3_tf.drawing.svg_charts import NAMED, Line, chart, style
from yolov3_tf.evaluation import operating_points, voc
from yolov3_tf.run_report.contents import Contents

BLACK, GREY = '#000000', '#888888'
TRAINED, VALIDATED, BEST = plots.COLOURS[0], plots.COLOURS[1], plots.COLOURS[2]
SMOOTHED = 60               # values of a training curve after smoothing: a running mean over a part of them


def training(lines: Sequence[dict[str, Any]], measure: str = 'mAP', name: str = 'mAP at IoU .5') -> list[str]:
    """Losses and scores over the steps; empty without metrics.

    Args:
      lines: the objects of metrics.jsonl.
      measure: key of the score in them; ``name``: its name on the axis.
    """
    train, val, rate = (plots.series(lines, *key) for key in (('train', 'total'), ('val', 'total'), ('train', 'lr')))
    smooth = plots.smooth(train.values, max(len(train.values) // SMOOTHED, 1))
    losses = [Line('training', train.steps, smooth, TRAINED),
              Line('validation', val.steps, val.values, VALIDATED, dots=True)]
    losses = [line for line in losses if len(line.x)]
    steps = (0., float(lines[-1]['step']) or 1.) if lines else None
    charts = [chart(losses, 'step', 'loss', steps, log_y=True, title='Total loss, logarithmic')] if losses else []
    scores = plots.series(lines, 'val', measure)
    if len(scores.steps):
        best = int(scores.values.argmax())
        charts.append(chart(
            [Line('', scores.steps, 100 * scores.values, TRAINED, dots=True),
             Line(f'best: {100 * scores.values[best]:.1f}', scores.steps[[best]], 100 * scores.values[[best]], BEST,
                  dots=True)],
            'step', f'{name} in %', steps, (0., 100.), title='Validation'))
    if len(rate.steps):
        charts.append(chart([Line('', rate.steps, rate.values, GREY, steps=True)], 'step', 'learning rate', steps,
                            title='Learning rate'))
    return charts


def precision_recall(contents: Contents) -> str:
    """True curves: the area under each line is the AP in its legend."""
    scores = contents.report
    rows = [(name, ap, of) for name, ap, of in zip(scores.class_names, scores.voc_area, scores.curves) if of.positives]
    points = [dict(recall=of.recall, precision=of.precision) for of in (voc.corners(of) for _, _, of in rows)]
    lines = [Line(_class_name(name, ap, len(rows), number), *plots.staircase([one]), *style(number, len(rows)), 1.1,
                  steps=True)
             for number, ((name, ap, _), one) in enumerate(zip(rows, points))]
    if rows:
        mean = f'{100 * scores.summary["mAP"]:.1f} mean of {len(rows)}'
        lines.append(Line(mean, *plots.staircase(points), BLACK, '', 2.2, True))
    return chart(lines, 'recall', 'precision', (0., 1.), (0., 1.),
                 title='Precision over recall at IoU .5, with AP in %: the area under the line')


def f1(contents: Contents) -> str:
    """F1 over the score threshold, of each class and over all; a dot at the best."""
    scores = contents.report
    rows = [(name, of) for name, of in zip(scores.class_names, scores.curves) if of.positives]
    lines = [_f1_line(_class_name(name, None, len(rows), number), of, style(number, len(rows)), 1.1)
             for number, (name, of) in enumerate(rows) if len(of.scores)]
    if lines:
        lines.append(_f1_line('all classes', operating_points.pooled(scores.curves), (BLACK, ''), 2.2))
    if scores.operating:
        score, value = scores.operating.overall[:2]
        lines.append(Line(f'best: {100 * value:.1f} above {score}', [score], [value], BEST, dots=True))
    highest = max((float(of.scores.max()) for _, of in rows if len(of.scores)), default=1.)
    return chart(lines, 'score threshold', 'F1', (0., 1.) if highest <= 1 else None, (0., 1.),
                 title='F1 over the score threshold, at IoU .5')


def reliability(contents: Contents) -> str:
    """Part of right detections over their score, beside the diagonal of a perfectly calibrated detector."""
    of = contents.calibration
    known = of.counts > 0
    return chart([Line('perfect', [0, 1], [0, 1], GREY, dashes='4 3'),
                  Line('this detector', of.scores[known], of.precision[known], TRAINED, dots=True)],
                 'mean score', 'right detections', (0., 1.), (0., 1.), title='Reliability: ten bins of scores')


def _f1_line(name, curve, colour_and_dashes, width):
    """From the lowest threshold, which shows every detection, to the highest score."""
    of, (colour, dashes) = operating_points.f1_curve(curve), colour_and_dashes
    lowest = min(float(of.scores.min()), 0.)
    return Line(name, np.append(of.scores, lowest)[::-1], np.append(of.f1, of.f1[-1])[::-1], colour, dashes, width)


def _class_name(name, ap, count, number):
    """A class in a legend; of many classes only the first says what the grey lines are."""
    if count > NAMED:
        return 'a class' if number == 0 else ''
    return name if ap is None else f'{100 * ap:.1f} {name}'
