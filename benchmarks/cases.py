"""Prints what becomes of data sets and files as other programs write them, today and before.

    python benchmarks/cases.py ../shared/cases
    python benchmarks/cases.py ../shared/cases --before=../old-checkout

Every case runs in a process of its own, which may take 2 GiB of memory; with --before also by the package of another
checkout. The outcome is one line: images, boxes, classes and the first note or problem, or the error.
"""
from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys

# case -> spec, or the action and its arguments
DATA = {
    'annotations/coco_cat0': 'coco:{}/ann.json:{}/images', 'annotations/coco_no_size': 'coco:{}/ann.json:{}/images',
    'annotations/coco_string_ids': 'coco:{}/ann.json:{}/images',
    'annotations/coco_segm_only': 'coco:{}/ann.json:{}/images',
    'annotations/coco_roboflow_same_name': 'coco:{}/ann.json:{}/images',
    'annotations/coco_windows_rel': 'coco:{}/ann.json:{}', 'annotations/voc_trailing_number': 'voc:{}:train',
    'annotations/voc_upper_xml': 'voc:{}:train', 'annotations/voc_list_with_ending': 'voc:{}:train',
    'annotations/voc_case_names': 'voc:{}:train', 'annotations/voc_gbk': 'voc:{}:train',
    'annotations/dk_cvat_yolo11': 'darknet:{}/train.txt', 'annotations/dk_cvat_yolo11 ': 'darknet:{}/obj.data',
    'annotations/dk_objdata': 'darknet:{}/obj.data', 'annotations/dk_windows_list': 'darknet:{}/train.txt',
    'annotations/dk_name_labels': 'darknet:{}/train.txt', 'annotations/y_names_wrapped': 'yolo:{}/data.yaml:train',
    'annotations/y_backslash': 'yolo:{}/data.yaml:train', 'annotations/y_valid_key': 'yolo:{}/data.yaml:val',
    'annotations/y_webp': 'yolo:{}/data.yaml:train', 'training/coco01': 'coco:{}/ann.json:{}/p',
    'training/resized': 'list:{}/train.txt', 'training/turned': 'list:{}/train.txt', 'training/nobox':
    'list:{}/train.txt'}
IMAGES = 'exif6_after_icc.jpg', 'exif6_phone.jpg', 'bmp_palette.bmp', 'webp_as_jpg.jpg', 'header_only.png'
NAMES = 'newline', 'slash', 'surrogate', 'ru'
RESULTS = {'dict': 'ann', 'empty': 'ann', 'neg': 'ann', 'strings': 'ann', 'unknown': 'ann', 'perfect_coco01_ann': 'ann',
           'perfect_coco01_one': 'one'}


def of_data(spec):
    """Images, boxes, classes; and how many of the images come out of the input pipeline."""
    from yolov3_tf.data import pipeline
    from yolov3_tf.data.readers import specs
    dataset = specs.load(spec)
    boxes = sum(len(record.boxes) for record in dataset.records)
    used = sum(len(batch.indices) for batch in pipeline.evaluation_batches(dataset, 96, 96, True, 4))
    said = [*getattr(dataset, 'notes', ()), *dataset.problems]
    first = f'; says: {said[0]}' if said else ''
    if not boxes:
        first = f'; {of_training(spec)}{first}'
    return (f'{len(dataset.records)} images ({used} usable), {boxes} boxes, classes '
            f'{", ".join(dataset.class_names)}{first}')


def of_training(spec):
    """Whether a training on the set begins."""
    from yolov3_tf.errors import InputError
    from yolov3_tf.training import recipe
    try:
        from yolov3_tf.training.run_data import load
    except ImportError:                 # before
        from yolov3_tf.training.run import load_data as load
    try:
        load(recipe.make(train_data=spec, val_data=spec.replace('nobox', 'resized')))
    except InputError as error:
        return f'training refused: {error}'
    return 'training begins'


def of_image(path):
    """What detection and the input pipeline say of one image file, and the memory they take."""
    import tensorflow as tf

    from yolov3_tf import rgb_images
    from yolov3_tf.data import image_files
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = []
    try:
        image = rgb_images.read(path)
        found.append(f'detection: {image.shape[1]} x {image.shape[0]}, mean {image.mean():.1f}')
    except Exception as error:
        found.append(f'detection: {error}')
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    try:
        image = image_files.read_image(path)
        found.append(f'data: {image.shape[1]} x {image.shape[0]}, mean {image.mean():.1f}')
    except (ValueError, tf.errors.OpError) as error:
        found.append(f'data: {error}')
    return '; '.join(found) + (f'; {memory:.0f} MiB' if memory > 100 else '')


def of_names(path, work):
    """Whether class names survive reading, and writing of result files."""
    import numpy as np

    from yolov3_tf.data.readers import coco, lists
    from yolov3_tf.evaluation import results
    from yolov3_tf.structures import Detections
    for name in 'ab':
        with open(os.path.join(work, f'{name}.jpg'), 'wb') as file:
            file.write(b'no image')
    names = coco.read(path, work).class_names
    with open(os.path.join(work, lists.CLASS_FILE), 'w', encoding='utf-8') as file:
        file.write(''.join(f'{name}\n' for name in names))
    again = lists.own_names(os.path.join(work, 'list.txt'))
    found = Detections('1', np.array([[0, 0, 9, 9.]]), np.ones(1), np.zeros(1, int))
    results.write_submission(os.path.join(work, 'comp4.tar'), [found], names)
    return f'{ascii(names[0])[:60]}, {len(names)} classes; {len(again)} after writing; comp4.tar written'


def of_results(data, results_file, work):
    """The end of what ``evaluate`` prints."""
    done = subprocess.run(
        [sys.executable, '-m', 'yolov3_tf', 'evaluate', f'--results={results_file}', f'--data={data}',
         f'--output={work}'], capture_output=True, text=True)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith(('error', 'note', 'mean'))]
    return f'status {done.returncode}; ' + '; '.join(sorted(lines))


def cases(folder):
    """Yields (case, function, arguments)."""
    for case, spec in DATA.items():
        where = os.path.join(folder, case.strip())
        yield spec.format(case.split('/')[1].strip(), '.').replace(':./', ':'), of_data.__name__, [
            spec.format(where, where)]
    for name in IMAGES:
        yield name, of_image.__name__, [os.path.join(folder, 'images', name)]
    for name in NAMES:
        yield f'class_names/{name}.json', of_names.__name__, [os.path.join(folder, 'class_names', f'{name}.json')]
    for name, truth in RESULTS.items():
        home = os.path.join(folder, 'training/coco01')
        yield f'results/{name}.json', of_results.__name__, [
            f'coco:{home}/{truth}.json:{home}/p', os.path.join(folder, 'results', f'{name}.json')]


def outcome(function, arguments, package, folder):
    """Runs one case with the package of a checkout; one line."""
    import tempfile
    with tempfile.TemporaryDirectory() as work:
        environment = dict(os.environ, PYTHONPATH=os.path.abspath(package), TF_CPP_MIN_LOG_LEVEL='3')
        call = json.dumps([function, arguments + [work] * (function in ('of_names', 'of_results'))])
        done = subprocess.run([sys.executable, os.path.abspath(__file__), folder, f'--call={call}'], cwd=work,
                              env=environment, capture_output=True, text=True)
        lines = done.stdout.strip().splitlines()
        text = lines[-1] if lines else f'ends with status {done.returncode}'
        for path in (work, os.path.abspath(folder)):
            text = text.replace(f'{path}/', '')
        return text


def main():
    """Prints the table, or one outcome."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', help='the cases')
    parser.add_argument('--before', help='a checkout of another version')
    parser.add_argument('--call', help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.call:
        function, arguments = json.loads(chosen.call)
        try:
            text = globals()[function](*arguments)
        except Exception as error:
            text = f'{type(error).__name__}: {error}'
        print(' / '.join(text.splitlines()))
        return
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for case, function, arguments in cases(os.path.abspath(chosen.folder)):
        if chosen.before:
            print(f'{case}\n  before: {outcome(function, arguments, chosen.before, chosen.folder)}\n   after: '
                  f'{outcome(function, arguments, here, chosen.folder)}', flush=True)
        else:
            print(f'{case}\n  {outcome(function, arguments, here, chosen.folder)}', flush=True)


if __name__ == '__main__':
    main()
