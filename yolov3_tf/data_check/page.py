"""The report of a check as one HTML file without scripts or external files: images are inside, names are escaped."""
from __future__ import annotations

import io
from collections.abc import Mapping

import cv2
from numpy.typing import ArrayLike

from yolov3_tf.data import image_files
from yolov3_tf.data_check.check import KINDS, CheckReport
from yolov3_tf.drawing import anchors as plot
from yolov3_tf.drawing import boxes as draw
from yolov3_tf.drawing import web_page
from yolov3_tf.drawing.web_page import escape, image
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

THUMBNAIL = 420         # pixels of the longer side
QUALITY = 80            # of its JPEG
_STYLE = """
body { font: 15px/1.4 sans-serif; margin: 2em auto; max-width: 1320px; padding: 0 1em; color: #222 }
table { border-collapse: collapse } td, th { padding: .15em .8em .15em 0; text-align: left }
td.n { text-align: right } .bar { background: #0072B2; height: .8em }
.problem { color: #a33600; font-weight: bold } li, figcaption { overflow-wrap: anywhere }
.sheet { display: flex; flex-wrap: wrap; gap: 1em } figure { margin: 0; width: 420px }
figcaption { font-size: 12px; white-space: pre-line } img { max-width: 100% } details { margin: .3em 0 }
"""


def render(spec: str, dataset: Dataset, report: CheckReport, anchors: Mapping[str, ArrayLike],
           most_images: int) -> str:
    """The HTML text of the page.

    Args:
      anchors: {name: float [k, 2]} drawn over the boxes.
      most_images: largest number of images with problems to show; a few other images are shown too.
    """
    parts = [f'<h1>{escape(spec)}</h1><p>{len(dataset.records)} images, {int(report.boxes.sum())} objects, '
             f'<span{" class=problem" if report.problems else ""}>{len(report.problems)} problems</span>, '
             f'{len(report.findings) - len(report.problems)} notes</p>',
             _findings(report), '<h2>Classes</h2>', _classes(dataset, report),
             '<h2>Box sizes and anchors</h2>', _anchors(report, anchors)]
    faulty, ordinary = _chosen(dataset, report, most_images)
    for title, chosen in (('Images with problems', faulty), ('Other images', ordinary)):
        if chosen:
            figures = ''.join(_figure(index, texts, dataset, report) for index, texts in chosen.items())
            parts.append(f'<h2>{title}: {len(chosen)} shown</h2><div class="sheet">{figures}</div>')
    return web_page.page(spec, _STYLE, parts)


def _findings(report):
    parts = []
    for name, kind in KINDS.items():
        found = [one for one in report.findings if one.kind == name]
        if found:
            items = ''.join(f'<li>{escape(one.text)}</li>' for one in found)
            title = f'{len(found)} {escape(kind.title)}'
            parts.append(f'<details{" open" if kind.problem and len(found) <= 50 else ""}><summary'
                         f'{" class=problem" if kind.problem else ""}>{title}</summary><ul>{items}</ul></details>')
    return '\n'.join(parts) or '<p>No problems and no notes.</p>'


def _classes(dataset, report):
    most = max(int(report.boxes.max()), 1)
    rows = [f'<tr><td>{escape(name)}</td><td class="n">{count}</td><td class="n">{shown}</td>'
            f'<td style="width: 30em"><div class="bar" style="width: {100 * count / most:.1f}%"></div></td></tr>'
            for name, count, shown in zip(dataset.class_names, report.boxes.tolist(), report.in_images.tolist())]
    return f'<table><tr><th>class</th><th>objects</th><th>images</th><th></th></tr>{"".join(rows)}</table>'


def _anchors(report, anchors):
    if report.quality is None:
        return '<p>There is no box.</p>'
    file = io.BytesIO()
    plot.draw(file, report.sizes, anchors, f'{len(report.sizes)} boxes in the network input')
    return (f'<p>Average IoU of a box with its best anchor {report.quality.average_iou:.4f}; best possible recall at '
            f'IoU .5 {100 * report.quality.recall:.2f} %.</p>{image(file.getvalue(), "png", "boxes and anchors")}')


def _chosen(dataset, report, most):
    """{index: texts} of images with problems, and of a few without problems."""
    shown: dict[int, list[str]] = {}
    problems = report.problems
    for one in problems:
        if one.position >= 0 and (one.position in shown or len(shown) < most):
            shown.setdefault(one.position, []).append(one.text)
    faulty = {one.position for one in problems}
    clean = [index for index in range(len(dataset.records)) if index not in faulty]
    return shown, {index: [] for index in clean[::max(len(clean) // 6, 1)][:6]}


def _figure(index, texts, dataset, report):
    record = dataset.records[index]
    header = report.headers[index]
    size = f' ({header.width} x {header.height})' if header else ''
    caption = '\n'.join([f'{record.image_path}{size}, {len(record.boxes)} objects', *texts])
    try:
        pixels = image_files.read_image(record.image_path, record.orientation)
    except InputError:
        return f'<figure><figcaption>{escape(caption)}</figcaption></figure>'
    pixels = draw.draw_detections(pixels, record.boxes, record.classes, None, dataset.class_names)
    scale = min(THUMBNAIL / max(pixels.shape[:2]), 1)
    pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else pixels
    encoded = cv2.imencode('.jpg', pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    return f'<figure>{image(encoded, "jpeg", record.image_id)}<figcaption>{escape(caption)}</figcaption></figure>'
