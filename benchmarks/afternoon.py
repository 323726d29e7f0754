"""From a folder of labelled images to a trained detector with its page, in three commands, for three layouts.

    python benchmarks/afternoon.py --data=voc:BCCD:trainval [--minutes=5] [--images=0] [--output=DIR] [--python=PYTHON]

The images of the dataset are laid out as they come in practice: a folder of images with VOC XML side by side, and a
Roboflow-like export (train/ and valid/, COCO JSON in each); --folder adds one as it is. Then, in a working folder of
its own for each, with nothing but the folder's name:

    yolov3-tf check FOLDER
    yolov3-tf train FOLDER --minutes=M
    yolov3-tf detect --model=runs/NAME IMAGES

Prints the seconds of each command, the scores on the held-out part, and where the page is.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from xml.sax.saxutils import escape

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from yolov3_tf.data.readers import specs  # noqa: E402
from yolov3_tf.structures import Dataset, Record  # noqa: E402

VALID = 5           # every fifth image of the Roboflow-like export is in valid/
SHOWN = 10          # images that are detected in


def write_flat(dataset: Dataset, folder: pathlib.Path) -> None:
    """Images and VOC XML (1-based, far edge inclusive) side by side, as labelImg leaves them."""
    folder.mkdir(parents=True)
    for record in dataset.records:
        image = pathlib.Path(record.image_path)
        shutil.copy(image, folder / image.name)
        objects = ''.join(
            f'<object><name>{escape(dataset.class_names[number])}</name><difficult>0</difficult><bndbox>'
            f'<xmin>{x1 + 1:g}</xmin><ymin>{y1 + 1:g}</ymin><xmax>{x2:g}</xmax><ymax>{y2:g}</ymax></bndbox></object>'
            for (x1, y1, x2, y2), number in zip(record.boxes.tolist(), record.classes))
        (folder / f'{image.stem}.xml').write_text(
            f'<annotation><filename>{escape(image.name)}</filename><size><width>{record.width}</width><height>'
            f'{record.height}</height><depth>3</depth></size>{objects}</annotation>\n', encoding='utf-8')


def write_roboflow(dataset: Dataset, folder: pathlib.Path) -> None:
    """train/ and valid/ with _annotations.coco.json in each, and a root category without objects."""
    for part, wanted in (('train', False), ('valid', True)):
        (folder / part).mkdir(parents=True)
        records = [record for index, record in enumerate(dataset.records) if (index % VALID == 0) == wanted]
        (folder / part / '_annotations.coco.json').write_text(json.dumps(_coco(records, dataset.class_names)))
        for record in records:
            shutil.copy(record.image_path, folder / part)


def _coco(records: list[Record], class_names: list[str]) -> dict:
    categories = [{'id': 0, 'name': 'objects', 'supercategory': 'none'}] + [
        {'id': number, 'name': name, 'supercategory': 'objects'} for number, name in enumerate(class_names, start=1)]
    images = [{'id': number, 'file_name': os.path.basename(record.image_path), 'width': record.width,
               'height': record.height} for number, record in enumerate(records)]
    boxes = [(number, box, int(of)) for number, record in enumerate(records)
             for box, of in zip(record.boxes.tolist(), record.classes)]
    return {'images': images, 'categories': categories, 'annotations': [
        {'id': number, 'image_id': image, 'category_id': of + 1, 'bbox': [x1, y1, x2 - x1, y2 - y1],
         'area': (x2 - x1) * (y2 - y1), 'iscrowd': 0} for number, (image, (x1, y1, x2, y2), of) in enumerate(boxes)]}


def run(python: str, folder: pathlib.Path, *words: str, statuses: tuple[int, ...] = (0,)) -> float:
    """Runs a command in a folder; returns its seconds. Its output stays in the folder, a failure is printed."""
    environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL='2',
                       PYTHONPATH=os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])))
    began = time.monotonic()
    done = subprocess.run([python, '-m', 'yolov3_tf', *words], cwd=folder, env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    (folder / f'{words[0]}.log').write_text(done.stdout, encoding='utf-8')
    if done.returncode not in statuses:
        raise SystemExit(f'{" ".join(words)}: status {done.returncode}\n{done.stdout[-3000:]}')
    return time.monotonic() - began


def afternoon(python: str, home: pathlib.Path, data: pathlib.Path, images: list[str], minutes: float,
              extra: list[str]) -> str:
    """The three commands for one folder; a row of the table."""
    home.mkdir(parents=True)
    check = run(python, home, 'check', str(data), statuses=(0, 1))
    train = run(python, home, 'train', str(data), f'--minutes={minutes:g}', '--name=mine', *extra)
    detect = run(python, home, 'detect', '--model=runs/mine', *images)
    page = home / 'runs' / 'mine' / 'report.html'
    if not page.is_file():
        raise SystemExit(f'{page}: expected the page of the run, got nothing')
    scores = json.loads((home / 'runs/mine/evaluation/metrics.json').read_text(encoding='utf-8'))['summary']
    return (f'| {home.name} | {check:.0f} | {train:.0f} | {detect:.0f} | {100 * scores["coco_AP50"]:.1f} | '
            f'{100 * scores["coco_AP"]:.1f} | {page} ({page.stat().st_size / 1024:,.0f} KiB) |')


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--data', required=True, help='a dataset spec')
    parser.add_argument('--folder', help='also this folder, as it is')
    parser.add_argument('--minutes', type=float, default=5.)
    parser.add_argument('--images', type=int, default=0, help='only the first so many; 0: all')
    parser.add_argument('--output', help='an empty or new folder; default: a temporary one')
    parser.add_argument('--python', default=sys.executable)
    parser.add_argument('flags', nargs='*', help='further flags of train, behind --')
    given = parser.parse_args()
    dataset = specs.load(given.data)
    if given.images:
        dataset = dataset._replace(records=dataset.records[:given.images])
    home = pathlib.Path(given.output or tempfile.mkdtemp(prefix='afternoon-')).resolve()
    write_flat(dataset, home / 'data' / 'flat')
    write_roboflow(dataset, home / 'data' / 'roboflow')
    shown = [record.image_path for record in dataset.records[:SHOWN]]
    folders = {'flat VOC': home / 'data' / 'flat', 'Roboflow COCO': home / 'data' / 'roboflow'}
    if given.folder:
        folders = {'as given': pathlib.Path(given.folder).resolve(), **folders}
    print('| layout | check, s | train, s | detect, s | AP50 | AP | page |\n|---|---|---|---|---|---|---|', flush=True)
    for name, data in folders.items():
        print(afternoon(given.python, home / name, data, shown, given.minutes, given.flags), flush=True)


if __name__ == '__main__':
    main()
