"""The sections of the page as HTML; every text from data passes ``escape``."""
from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from yolov3_tf.drawing import web_page
from yolov3_tf.drawing.web_page import escape
from yolov3_tf.evaluation import errors
from yolov3_tf.run_report import advice as advice_rules
from yolov3_tf.run_report import charts, worst_images
from yolov3_tf.run_report.contents import Contents

MATRIX_CLASSES = 24         # with more classes a matrix cannot be read: the most frequent mistakes are listed
MISTAKES = 30               # of such a list
AREAS = (('small', 'under 32 x 32', 0., 32. ** 2), ('medium', 'to 96 x 96', 32. ** 2, 96. ** 2),
         ('large', 'above', 96. ** 2, float('inf')))        # COCO's, in pixels of the image
MEANINGS = {
    'classification': 'right box, wrong class', 'localisation': 'right class, box not tight (IoU .1 to .5)',
    'both': 'box not tight and wrong class', 'duplicate': 'an object found again',
    'background': 'nothing labelled there', 'missed': 'an object without a detection'}
SETTINGS = (
    'formulation', 'loss', 'focal', 'ignore_thresh', 'assigner', 'augment', 'batch_size', 'optimizer',
    'schedule', 'asymptotic_epochs', 'head_epochs', 'head_lr', 'full_epochs', 'full_lr', 'minutes',
    'image_size', 'train_sizes', 'val_size', 'width_multiplier', 'cfg', 'backbone_weights', 'init_weights',
    'mixed_precision', 'seed')
PACKAGES = ('yolov3_tf', 'tensorflow', 'keras', 'numpy', 'opencv-python-headless', 'opencv-python', 'pycocotools')


def summary(contents: Contents) -> str:
    """The title and the numbers to know first."""
    scores = contents.report
    cards = [('mAP at IoU .5', percent(scores.summary['mAP'])), ('COCO AP', percent(scores.summary['coco_AP']))]
    if scores.operating:
        score, f1, precision, recall = scores.operating.overall
        cards += [('best score threshold', f'{score}'), ('F1 there', percent(f1)),
                  ('boxes that are right', f'{percent(precision)} %'), ('objects found', f'{percent(recall)} %')]
    cards += [('images', f'{scores.images:,}'), ('objects', f'{int(scores.objects.sum()):,}')]
    items = ''.join(f'<li><b>{escape(value)}</b>{escape(name)}</li>' for name, value in cards)
    skipped = f'<p class="problem">{escape(contents.skipped)}</p>' if contents.skipped else ''
    return (f'<h1>{escape(contents.title)}</h1><p class="where">evaluated on {escape(contents.spec or "its data")}</p>'
            f'<ul class="cards">{items}</ul>{skipped}')


def advice(contents: Contents) -> str:
    return f'<ul class="advice">{"".join(f"<li>{escape(text)}</li>" for text in contents.advice)}</ul>'


def classes(contents: Contents) -> str:
    """A row for each class: counts, APs, and its own best threshold."""
    scores, points = contents.report, contents.report.operating
    trained = contents.lock.get('data', {}).get('train', {}).get('classes', {})
    head = ['class', *(['trained on'] if trained else []), 'objects', 'detections', 'AP at .5', 'VOC07', 'COCO AP',
            'best threshold', 'F1', 'precision', 'recall']
    rows = []
    for k, name in enumerate(scores.class_names):
        point = points.per_class.get(name) if points else None
        own = [f'{point.score}', *map(percent, point[1:])] if point else ['-'] * 4
        counts = [f'{trained[name]["objects"]:,}' if name in trained else '-'] if trained else []
        rows.append([name, *counts, *(f'{int(values[k]):,}' for values in (scores.objects, scores.detections)),
                     *(percent(values[k]) for values in (scores.voc_area, scores.voc_07, scores.coco_ap)), *own])
    total = [f'{sum(row["objects"] for row in trained.values()):,}'] if trained else []
    overall = [f'{points.overall.score}', *map(percent, points.overall[1:])] if points else ['-'] * 4
    rows.append(['all', *total, f'{int(scores.objects.sum()):,}', f'{int(scores.detections.sum()):,}',
                 *(percent(scores.summary[name]) for name in ('mAP', 'mAP_07', 'coco_AP')), *overall])
    return table(head, rows, last=True) + (
        '<p>In percent. The last row has the mean AP of the classes with objects, and the threshold that is best for '
        'all objects together; <code>detect</code> uses it.</p>')


def curves(contents: Contents) -> str:
    return sheet([charts.precision_recall(contents), charts.f1(contents)])


def training(contents: Contents) -> str:
    return sheet(charts.training(contents.metrics))


def confusion(contents: Contents) -> str:
    """The matrix, or the most frequent mistakes where there are many classes."""
    of, names = contents.confusion, contents.report.class_names
    said = (f'<p>Detections above {of.score}, paired with objects of any class by IoU above .5. Rows are true '
            'classes, columns predicted ones. The last column counts missed objects, the last row detections where '
            'nothing is labelled.</p>')
    if len(names) > MATRIX_CLASSES:
        rows = [[names[true], names[predicted], str(count)] for true, predicted, count in of.confused[:MISTAKES]]
        return said + f'<p>The {len(rows)} most frequent mistakes:</p>' + table(['true', 'taken for', 'times'], rows)
    labels, body = [*names, 'background'], ''
    shares = of.matrix / np.maximum(of.matrix.sum(axis=1, keepdims=True), 1)
    for k, (label, row) in enumerate(zip(labels, of.matrix.tolist())):
        cells = ''.join(_cell(count, float(shares[k, column]), k == column)
                        for column, count in enumerate(row))
        body += f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>'
    head = ''.join(f'<th scope="col">{escape(label)}</th>' for label in labels)
    corner = '<td>true \\ predicted</td>'
    return f'{said}<div class="wide"><table class="matrix"><tr>{corner}{head}</tr>{body}</table></div>'


def kinds(contents: Contents) -> str:
    """The kinds of errors with what each costs."""
    of = contents.errors
    most = max([*of.costs.values(), 1e-9])
    rows = ''.join(
        f'<tr><td>{escape(kind)}</td><td class="n">{of.counts[kind]:,}</td>'
        f'<td class="n">{percent(of.costs[kind])}</td><td class="bars">'
        f'<div class="bar" style="width:{100 * of.costs[kind] / most:.1f}%"></div></td>'
        f'<td class="small">{escape(MEANINGS[kind])}</td></tr>' for kind in errors.KINDS)
    head = '<tr><th>error</th><th class="n">count</th><th class="n">cost</th><th></th><th></th></tr>'
    return (f'<div class="wide"><table>{head}{rows}</table></div><p>As TIDE defines them, over the 100 best detections '
            'of an image, whatever their score. Cost: the points that AP at IoU .5 '
            f'({percent(of.ap)} with COCO\'s 101 recalls) gains without these errors.</p>')


def sizes(contents: Contents) -> str:
    """COCO's three sizes, and the boxes in the network input."""
    areas = np.concatenate([np.zeros(0), *(np.asarray(one.areas)[~(one.crowd | one.difficult)]
                                           for one in contents.dataset.records)])
    rows = [[name, pixels, f'{int(((areas >= low) & (areas < high)).sum()):,}',
             *(percent(contents.report.summary[f'coco_{score}{name}']) for score in ('AP', 'AR'))]
            for name, pixels, low, high in AREAS]
    text = table(['size', 'pixels of the image', 'objects', 'COCO AP', 'COCO AR'], rows, texts=2)
    parts = {part: row for part, row in contents.lock.get('data', {}).items() if 'median_side' in row}
    for part, row in parts.items():
        text += (f'<p>{"Training" if part == "train" else "Validation"} boxes in the network input: half are smaller '
                 f'than {row["median_side"]:g} pixels on their shorter side, {percent(row["small_boxes"])} % are under '
                 f'{advice_rules.SMALL}.</p>')
    return text


def calibration(contents: Contents) -> str:
    """Share of right detections over mean score, in ten bins of the score, as a chart and a table in percent."""
    of = contents.calibration
    if np.isnan(of.error):
        return '<p>There is none: no detections, or scores outside 0 to 1.</p>'
    rows = [[f'{k / 10:.1f} to {(k + 1) / 10:.1f}', f'{count:,}', percent(score), percent(precision)]
            for k, (count, score, precision) in enumerate(zip(of.counts.tolist(), of.scores, of.precision))]
    return (f'<p>Expected calibration error {percent(of.error)} points: the mean distance between score and share of '
            'right detections. Below the diagonal the scores promise too much.</p>'
            + sheet([charts.reliability(contents), table(['score', 'detections', 'mean', 'right'], rows)]))


def worst(contents: Contents, most: int) -> str:
    """The images with most errors, truth beside prediction."""
    shown = worst_images.draw_all(contents.dataset, contents.detections, contents.confusion, most)
    if not shown:
        return '<p>No image has an error at this threshold.</p>'
    figures = ''.join(_worst_figure(contents, one) for one in shown)
    return (f'<p>Detections above {contents.confusion.score}. First the truth: <span class="right">found</span>, '
            '<span class="missed">missed</span>, <span class="ignored">not counted</span>. Beside it the prediction: '
            '<span class="right">right</span>, <span class="wrong">wrong</span>, with its score in percent.</p>'
            f'<div class="sheet">{figures}</div>')


def made_with(lock: Mapping[str, Any]) -> str:
    """What was trained: data, settings, versions, hashes, machine, time; ``lock``: see ``Contents``."""
    if not lock:
        return ('<p>Not known: there is no run.lock.json, which <code>yolov3-tf train</code> writes at the end of a '
                'run.</p>')
    data, network, machine = lock['data'], lock['network'], lock['machine']
    rows = [['finished', lock['finished']], ['training', f'{lock["minutes"]:.1f} minutes, {lock["steps"]:,} steps'],
            ['network', f'{network["image_size"][0]} x {network["image_size"][1]} pixels, '
                        f'{network["parameters"]:,} parameters'],
            ['best checkpoint, SHA-256', network['sha256']]]
    for part, name in (('train', 'training data'), ('val', 'validation data')):
        row = data[part]
        rows += [[name, f'{row["spec"] or "its validation part"}: {row["images"]:,} images, {row["objects"]:,} '
                        f'objects, {row["problems"]} problems'], [f'{name}, SHA-256', row['sha256']]]
    if lock['images_per_second']:
        rows.append(['speed', f'{lock["images_per_second"]:.2f} images per second, network and suppression, without '
                              'reading'])
    rows += [['machine', ', '.join(filter(None, [machine['cpu'], f'{machine["cores"]} cores',
                                                  f'{machine["memory_gib"]} GiB', *machine['gpus'],
                                                  machine['system']]))],
             ['versions', ', '.join([f'Python {machine["python"]}', *(
                 f'{name} {lock["packages"][name]}' for name in PACKAGES if name in lock['packages'])])]]
    settings = [[f'--{name}', lock['settings'][name]] for name in SETTINGS if lock['settings'].get(name)]
    return (f'<div class="facts">{table(["", ""], rows, texts=2)}<details><summary>Main settings</summary>'
            f'{table(["", ""], settings, texts=2)}</details></div>')


def table(head: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1, last: bool = False) -> str:
    """A table that scrolls by itself on a narrow page.

    Args:
      head: names of the columns; without any text there is no such row.
      texts: so many columns hold texts, those after them numbers.
      last: whether the last row has the totals.
    """
    kind = ['' if column < texts else ' class="n"' for column in range(len(head))]
    top = ''.join(f'<th{one}>{escape(name)}</th>' for name, one in zip(head, kind))
    top = f'<tr>{top}</tr>' if any(head) else ''
    body = ''.join(f'<tr{" class=total" if last and k == len(rows) - 1 else ""}>'
                   + ''.join(f'<td{one}>{escape(cell)}</td>' for cell, one in zip(row, kind)) + '</tr>'
                   for k, row in enumerate(rows))
    return f'<div class="wide"><table>{top}{body}</table></div>'


def sheet(figures: Sequence[str]) -> str:
    """Figures beside each other where there is room."""
    return f'<div class="sheet">{"".join(figures)}</div>'


def percent(value: float) -> str:
    """0..1 in percent with one decimal, '-' for nan."""
    return '-' if np.isnan(value) else f'{100 * value:.1f}'


def _cell(count, share, right):
    if not count:
        return '<td class="n zero">0</td>'
    colour = '0,114,178' if right else '213,94,0'
    return f'<td class="n" style="background:rgba({colour},{.08 + .6 * share:.2f})">{count:,}</td>'


def _worst_figure(contents, one):
    record, matches = contents.dataset.records[one.position], contents.confusion.matches[one.position]
    counts = {'missed': len(matches.missed), 'where nothing is labelled': len(matches.false),
              'of the wrong class': matches.wrong, 'right': len(matches.pairs) - matches.wrong}
    text = ', '.join(f'{count} {what}' for what, count in counts.items() if count or what == 'right')
    caption = f'<figcaption>{escape(os.path.basename(record.image_path))}: {text}</figcaption>'
    if one.truth is None or one.prediction is None:
        return f'<figure class="pair">{caption}(cannot be read now)</figure>'
    images = ''.join(web_page.image(contents_of, 'jpeg', f'{record.image_id}, {what}')
                     for contents_of, what in ((one.truth, 'truth'), (one.prediction, 'prediction')))
    return f'<figure class="pair"><div>{images}</div>{caption}</figure>'
