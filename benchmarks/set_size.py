"""The cost of the number of images before the first step: start-up, memory of the index, the shuffle.

    python benchmarks/set_size.py [--counts=1000,100000] [--formats=list,voc,coco] [--boxes=7] [--image_size=64]
    python benchmarks/set_size.py --before=CHECKOUT     the same sets by the code of another checkout, too

Simulated sets: every image has its own name and annotations, all names are links to one small JPEG, so the
times are those of the package and not those of the disk. Each start runs in its own process, because a peak of memory
never falls; each set is started twice, with a cache of annotations that is empty at first. Columns: processor and wall
seconds to read the annotations, processor seconds from there to the first training batch, and for the order of an
epoch; resident memory of the annotations, and of the pipeline with its first batch.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
ROOT = pathlib.Path(__file__).resolve().parents[1]
CODE = 'SET_SIZE_CODE'      # environment variable: the checkout whose package is measured
sys.path.insert(0, os.environ.get(CODE, str(ROOT)))

WIDTH, HEIGHT, BATCH = 96, 64, 8
SPECS = {'list': 'list:{}/list.txt', 'voc': 'voc:{}:train', 'coco': 'coco:{0}/c.json:{0}/JPEGImages'}


def write_set(data_format, folder, count, boxes):
    """A set of ``count`` images with ``boxes`` boxes each, in one dataset format."""
    import cv2
    import numpy as np
    chance = np.random.default_rng(0)
    near = chance.integers(0, [WIDTH - 40, HEIGHT - 40], [count, boxes, 2])
    corners = np.concatenate([near, near + chance.integers(4, 40, [count, boxes, 2])], axis=2).tolist()
    classes = chance.integers(0, 20, [count, boxes]).tolist()
    (folder / 'JPEGImages').mkdir()
    cv2.imwrite(str(folder / 'one.jpg'), chance.integers(0, 255, [HEIGHT, WIDTH, 3]).astype(np.uint8))
    for number in range(count):
        os.symlink('../one.jpg', folder / 'JPEGImages' / f'{number:08d}.jpg')
    WRITERS[data_format](folder, corners, classes)


def write_list(folder, corners, classes):
    with open(folder / 'list.txt', 'w', encoding='utf-8') as file:
        for number, rows in enumerate(zip(corners, classes)):
            words = [value for box, index in zip(*rows) for value in (index, *box)]
            print(number, f'JPEGImages/{number:08d}.jpg', WIDTH, HEIGHT, *words, file=file)


def write_voc(folder, corners, classes):
    from yolov3_tf.data.readers.class_files import VOC_CLASSES
    (folder / 'Annotations').mkdir()
    (folder / 'ImageSets' / 'Main').mkdir(parents=True)
    for number, rows in enumerate(zip(corners, classes)):
        objects = ''.join(f'<object><name>{VOC_CLASSES[index]}</name><difficult>0</difficult><bndbox><xmin>{x1 + 1}'
                          f'</xmin><ymin>{y1 + 1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>'
                          for (x1, y1, x2, y2), index in zip(*rows))
        (folder / 'Annotations' / f'{number:08d}.xml').write_text(
            f'<annotation><filename>{number:08d}.jpg</filename><size><width>{WIDTH}</width><height>{HEIGHT}</height>'
            f'<depth>3</depth></size>{objects}</annotation>')
    (folder / 'ImageSets' / 'Main' / 'train.txt').write_text(
        ''.join(f'{number:08d}\n' for number in range(len(corners))))


def write_coco(folder, corners, classes):
    images = [{'id': number, 'file_name': f'{number:08d}.jpg', 'width': WIDTH, 'height': HEIGHT}
              for number in range(len(corners))]
    objects = [{'image_id': number, 'category_id': index, 'bbox': [x1, y1, x2 - x1, y2 - y1], 'iscrowd': 0,
                'area': (x2 - x1) * (y2 - y1)}
               for number, rows in enumerate(zip(corners, classes)) for (x1, y1, x2, y2), index in zip(*rows)]
    for number, line in enumerate(objects):
        line['id'] = number
    names = [{'id': index, 'name': f'class {index}'} for index in range(20)]
    (folder / 'c.json').write_text(json.dumps({'images': images, 'annotations': objects, 'categories': names}))


WRITERS = {'list': write_list, 'voc': write_voc, 'coco': write_coco}


def resident_mib() -> float:
    """Resident memory of this process now (Linux)."""
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGESIZE') / 2**20


def one_case(spec, size) -> dict:
    """In a process of its own: processor seconds and MiB of each part of the start."""
    import tensorflow as tf

    from yolov3_tf.data import order, pipeline
    from yolov3_tf.data.readers import specs
    tf.constant(0.).numpy()
    marks, memory, began = [time.process_time()], [resident_mib()], time.perf_counter()
    dataset = specs.load(spec)
    wall = time.perf_counter() - began
    marks.append(time.process_time())
    memory.append(resident_mib())
    batches = pipeline.training_batches(dataset, pipeline.PipelineSettings(BATCH, (size,)), seed=0)
    next(iter(batches))
    marks.append(time.process_time())
    memory.append(resident_mib())
    order.Order(len(dataset.records), BATCH, 0).of_batch(1, 0)
    marks.append(time.process_time())
    return {'wall': wall, 'seconds': [after - before for before, after in zip(marks, marks[1:])],
            'mib': [after - before for before, after in zip(memory, memory[1:])]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--counts', type=lambda text: [int(part) for part in text.split(',')], default=[1000, 100_000])
    parser.add_argument('--formats', type=lambda text: text.split(','), default=list(SPECS))
    parser.add_argument('--boxes', type=int, default=7, help='an image; COCO has 7')
    parser.add_argument('--image_size', type=int, default=64, help='network input, pixels')
    parser.add_argument('--before', metavar='CHECKOUT', help='start by the code of another checkout first')
    parser.add_argument('--one_case', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_case:
        print(json.dumps(one_case(options.one_case, options.image_size)))
        return
    print(f'{cpu()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}; '
          f'{options.boxes} boxes an image; processor seconds, MiB')
    print('| format | images | start | read annotations, s | wall, s | first batch, s | order of an epoch, s | '
          'annotations, MiB | pipeline, MiB |\n|---|---:|---|---:|---:|---:|---:|---:|---:|')
    for data_format in options.formats:
        for count in options.counts:
            with tempfile.TemporaryDirectory() as folder:
                write_set(data_format, pathlib.Path(folder), count, options.boxes)
                time.sleep(3)           # files that were just written are not kept
                spec = SPECS[data_format].format(folder)
                starts = [('before', options.before)] if options.before else []
                for name, code in [*starts, ('first', str(ROOT)), ('second', str(ROOT))]:
                    found = start(spec, options.image_size, code, f'{folder}/cache')
                    numbers = ' | '.join([f'{found["seconds"][0]:.2f}', f'{found["wall"]:.1f}', *(
                        f'{value:.2f}' for value in found['seconds'][1:]), *(f'{value:.0f}' for value in found['mib'])])
                    print(f'| {data_format} | {count:,} | {name} | {numbers} |', flush=True)


def start(spec, size, code, cache):
    """``one_case`` in a new process, with the package of a checkout and a folder for caches."""
    done = subprocess.run([sys.executable, os.path.abspath(__file__), f'--image_size={size}', f'--one_case={spec}'],
                          env={**os.environ, CODE: code, 'XDG_CACHE_HOME': cache}, check=True, capture_output=True,
                          text=True)
    return json.loads(done.stdout.splitlines()[-1])


def cpu():
    """The name of the CPU (Linux), else its kind."""
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines() if os.path.exists('/proc/cpuinfo') else []
    return next((line.partition(':')[2].strip() for line in lines if line.startswith('model name')), platform.machine())


if __name__ == '__main__':
    main()
