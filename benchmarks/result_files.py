"""The cost of `evaluate --results` at the size of COCO's validation set: reading, our scores, COCO's, writing.

    python benchmarks/result_files.py [--images=5000] [--detections=500000]

A simulated set: 80 classes, 7 objects an image; half of the detections lie near an object of their class. Columns:
processor and wall seconds of each part in the order in which the program does it, and the highest memory after it.
"""
from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import resource
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


CLASSES, SIDE, OBJECTS = 80, 640, 7


def write_set(folder, images, detections):
    """Instances and results files; the images are links to one file."""
    import numpy as np
    chance = np.random.default_rng(0)
    sizes = 2 ** chance.uniform(3, 8, [images, OBJECTS, 2])
    near = chance.uniform(0, SIDE - sizes)
    classes = chance.integers(0, CLASSES, [images, OBJECTS])
    (folder / 'images').mkdir()
    (folder / 'one.jpg').write_bytes(b'')
    entries, objects = [], []
    for number in range(images):
        os.symlink('../one.jpg', folder / 'images' / f'{number:06d}.jpg')
        entries.append({'id': number + 1, 'file_name': f'{number:06d}.jpg', 'width': SIDE, 'height': SIDE})
        objects += [{'id': len(objects) + index + 1, 'image_id': number + 1, 'category_id': int(class_id) + 1,
                     'bbox': [*map(float, corner), *map(float, size)], 'area': float(size.prod()), 'iscrowd': 0}
                    for index, (corner, size, class_id) in enumerate(zip(near[number], sizes[number], classes[number]))]
    content = {'images': entries, 'annotations': objects,
               'categories': [{'id': index + 1, 'name': f'class {index}'} for index in range(CLASSES)]}
    (folder / 'instances.json').write_text(json.dumps(content))
    image, place = chance.integers(0, images, detections), chance.integers(0, OBJECTS, detections)
    boxes = np.concatenate([near, sizes], axis=2)[image, place] * chance.uniform(.8, 1.25, [detections, 4])
    wrong = chance.uniform(size=detections) < .5
    names = np.where(wrong, chance.integers(0, CLASSES, detections), classes[image, place]) + 1
    scores = chance.uniform(.001, 1, detections) ** (1 + 2 * wrong)
    rows = zip((image + 1).tolist(), names.tolist(), np.round(boxes, 3).tolist(), np.round(scores, 6).tolist())
    found = [{'image_id': image_id, 'category_id': name, 'bbox': box, 'score': score}
             for image_id, name, box, score in rows]
    (folder / 'results.json').write_text(json.dumps(found))


class Clock:
    """Prints what each part took."""

    def __init__(self):
        self.cpu, self.wall = time.process_time(), time.perf_counter()

    def part(self, name):
        cpu, wall = time.process_time(), time.perf_counter()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f'| {name} | {cpu - self.cpu:.1f} | {wall - self.wall:.1f} | {peak:.0f} |', flush=True)
        self.cpu, self.wall = time.process_time(), time.perf_counter()


def one_round(folder):
    from yolov3_tf.data.readers import coco as coco_reader
    from yolov3_tf.evaluation import coco, report, results, voc
    print('| part | processor, s | wall, s | highest memory, MiB |\n|---|---:|---:|---:|')
    clock = Clock()
    dataset = coco_reader.read(str(folder / 'instances.json'), str(folder / 'images'))
    clock.part('annotations')
    numbers = results.read_category_ids(folder / 'instances.json', dataset.class_names)
    found = results.read_coco(folder / 'results.json', dataset, numbers)
    clock.part('results file')
    detections = report.align(dataset, found)
    clock.part('aligned')
    truths = [report._truth(record) for record in dataset.records]
    for criterion in voc.CRITERIA:
        report._over_thresholds(voc.pair(truths, detections, CLASSES, criterion))
    clock.part('VOC and GIoU scores')
    coco.evaluate(dataset.records, detections, CLASSES)
    clock.part('COCO scores')
    results.write_coco(folder / 'again.json', detections, numbers)
    results.write_submission(folder / 'comp4.tar', detections, dataset.class_names)
    clock.part('result files written')


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--images', type=int, default=5000)
    parser.add_argument('--detections', type=int, default=500_000)
    options = parser.parse_args()
    print(f'{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python '
          f'{platform.python_version()}; {options.images:,} images, {options.detections:,} detections')
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_set(folder, options.images, options.detections)
        one_round(folder)


if __name__ == '__main__':
    main()
