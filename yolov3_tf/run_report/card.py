"""The model card: ``README.md`` in a run's folder, for people who find the folder, not the program."""
from __future__ import annotations

import os
import pathlib
import re

from yolov3_tf import atomic_file
from yolov3_tf.run_report import lock, page
from yolov3_tf.run_report.contents import Contents
from yolov3_tf.run_report.sections import percent

NAME = 'README.md'


def text(contents: Contents) -> str:
    """The card in Markdown; sections as model cards have them (Mitchell et al., FAT* 2019)."""
    names = contents.report.class_names
    parts = [f'# {_plain(contents.title)}', f'A detector of these classes: {_plain(", ".join(names))}.',
             '## Use', *_use(contents), '## Scores', *_scores(contents), '## Data and training',
             *_training(contents.lock), '## Limits, and what to try next',
             '* It knows these classes alone, in images like those it was trained on.',
             *[f'* {_plain(line)}' for line in contents.advice],
             f'{page.NAME} beside this file shows curves, the confusion matrix and the images with most errors; '
             f'{lock.NAME} has all settings, versions and hashes.']
    return re.sub(r'(?m)^(\*.*|\|.*)\n\n(?=\*|\|)', r'\1\n', '\n\n'.join(parts)) + '\n'


def write(folder: str | os.PathLike, contents: Contents) -> pathlib.Path:
    """Writes the card into the run's folder; returns its path."""
    path = pathlib.Path(folder) / NAME
    atomic_file.write_text(path, text(contents))
    return path


def _use(contents):
    points = contents.report.operating
    if points is None:
        return ['```\nyolov3-tf detect --model=. images/\n```', 'No detection of it is right, so it is of no use yet.']
    score, f1, precision, recall = points.overall
    return ['```\nyolov3-tf detect --model=. images/\n```',
            f'Take detections that score above {score}: on the validation data {percent(precision)} % of these boxes '
            f'are right and {percent(recall)} % of the objects are found (F1 {percent(f1)}, at IoU above .5).']


def _scores(contents):
    scores = contents.report
    rows = ['| class | objects | AP at IoU .5 | COCO AP | best threshold |', '|---|---|---|---|---|']
    for k, name in enumerate(scores.class_names):
        point = scores.operating.per_class.get(name) if scores.operating else None
        rows.append(f'| {_plain(name)} | {int(scores.objects[k])} | {percent(scores.voc_area[k])} | '
                    f'{percent(scores.coco_ap[k])} | {point.score if point else "-"} |')
    best = scores.operating.overall.score if scores.operating else '-'
    rows.append(f'| **all** | {int(scores.objects.sum())} | {percent(scores.summary["mAP"])} | '
                f'{percent(scores.summary["coco_AP"])} | {best} |')
    return [f'On {scores.images} validation images, in percent.', *rows]


def _training(known):
    if not known:
        return ['Not recorded.']
    data, network = known['data'], known['network']
    lines = []
    for part, what in (('train', 'Trained'), ('val', 'Validated')):
        row = data[part]
        lines.append(f'* {what} on {row["images"]} images with {row["objects"]} objects'
                     + (f' (`{_plain(row["spec"])}`)' if row['spec'] else '') + f', SHA-256 {row["sha256"][:16]}.')
    height, width = network['image_size']
    return [*lines, f'* {known["minutes"]:.1f} minutes, {known["steps"]} steps, on {_plain(known["machine"]["cpu"])}'
                    + ''.join(f', {_plain(gpu)}' for gpu in known['machine']['gpus']) + '.',
            f'* YOLOv3 with {network["parameters"]:,} parameters, input {height} x {width} pixels, seed '
            f'{known["settings"].get("seed", "unknown")}, yolov3_tf {known["packages"].get("yolov3_tf", "unknown")}.']


def _plain(value) -> str:
    """Text without a line break, in which Markdown and HTML see no signs of theirs."""
    line = ' '.join(str(value).encode('utf-8', 'replace').decode().split())
    return re.sub(r'([\\`*\[\]<>|#])', r'\\\1', line)
