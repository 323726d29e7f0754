"""``report.html`` of a run that ends with the stage asymptotic: its network says which classes an image holds."""
from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from yolov3_tf import atomic_file
from yolov3_tf.drawing import web_page
from yolov3_tf.drawing.web_page import escape
from yolov3_tf.evaluation.classification import ClassificationReport
from yolov3_tf.run_report import charts, sections
from yolov3_tf.run_report.page import STYLE
from yolov3_tf.run_report.sections import percent

FEW = 20                # images of a class: one more or less ranked first moves its AP by points


def render(title: str, spec: str, report: ClassificationReport, images: int, metrics: Sequence[dict[str, Any]],
           lock: Mapping[str, Any], checkpoint: str | os.PathLike) -> str:
    """The HTML text.

    Args:
      title: name of the run; ``spec``: where the evaluated images come from; ``images``: their number.
      metrics, lock: as in ``Contents``.
      checkpoint: that a training of a detector goes on with.
    """
    cards = [('mean classification AP', percent(report.mean)), ('images', f'{images:,}'),
             ('classes', f'{len(report.class_names):,}')]
    items = ''.join(f'<li><b>{escape(value)}</b>{escape(name)}</li>' for name, value in cards)
    head = (f'<h1>{escape(title)}</h1><p class="where">evaluated on {escape(spec or "its data")}</p>'
            f'<ul class="cards">{items}</ul>')
    rows = [[name, f'{int(count):,}', percent(ap)] for name, count, ap in zip(
        report.class_names, report.images, report.average_precision)]
    rows.append(['mean', '', percent(report.mean)])
    parts = [('Classes', sections.table(['class', 'images with it', 'AP'], rows, last=True)
              + '<p>In percent: the AP of ranking the images by whether they hold the class, as VOC defines it.</p>'),
             ('What to try next', _advice(report, images, checkpoint))]
    if metrics:
        parts.append(('Training', sections.sheet(charts.training(metrics, 'class_mAP', 'mean classification AP'))))
    parts.append(('What was trained', sections.made_with(lock)))
    blocks = [f'<section><h2>{escape(name)}</h2>{body}</section>' for name, body in parts]
    return web_page.page(title, STYLE, [head, *blocks])


def write(path: str | os.PathLike, text: str) -> pathlib.Path:
    """Writes the page completely or not at all; returns its path."""
    atomic_file.write_text(path, text)
    return pathlib.Path(path)


def _advice(report, images, checkpoint):
    texts = ['This network finds no boxes yet: it has learnt which classes an image holds. Train the detector from it: '
             f'yolov3-tf train --backbone_weights={checkpoint} with the same data.']
    few = [name for name, count in zip(report.class_names, report.images) if count < FEW]
    if few:
        more = f' and {len(few) - 8} more' if len(few) > 8 else ''
        texts.append(f'Too few images to evaluate on (under {FEW}): {", ".join(few[:8])}{more}. The scores of these '
                     'classes say little.')
    always = [name for name, count in zip(report.class_names, report.images) if count == images]
    if always:
        texts.append(f'In every image: {", ".join(always[:8])}. Of such a class this stage learns nothing.')
    return f'<ul class="advice">{"".join(f"<li>{escape(text)}</li>" for text in texts)}</ul>'
