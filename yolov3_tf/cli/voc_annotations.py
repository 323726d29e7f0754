r"""Turns a VOCdevkit (or any folder in VOC layout) into checked annotation lists.

  yolov3-tf voc-annotations --voc=VOCdevkit --output=data
  python -m voc_annotations --voc=VOCdevkit --output=data

writes data/train.txt and data/test.txt (2007_trainval+2012_trainval and 2007_test, the paper's splits, if they
exist; else the existing ones) and data/classes.names, to be used as --train_data=list:data/train.txt.
Every problem of an annotation is printed with file and line. Images and annotations do not change.

Exit code: 0; 1 with --strict when there was any problem (nothing is written then); 2 when the input cannot
be used at all.
"""
from __future__ import annotations

import collections
import os
import sys

import cv2
from absl import flags

from yolov3_tf import atomic_file
from yolov3_tf.data.readers import class_files, lists, voc
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, Record


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    at = dict(flag_values=values)
    flags.DEFINE_string('voc', 'VOCdevkit', 'VOCdevkit, or a folder with Annotations, JPEGImages and ImageSets.', **at)
    flags.DEFINE_string('output', None, 'Folder for the lists, outside of --voc. Created if needed.', **at)
    flags.DEFINE_list('splits', None, "Lists to write, NAME=SPLIT[+SPLIT...]. Or a paper split by its name (train, "
                      "test), or any split of the folder. Default: the paper's, else the existing ones.", **at)
    flags.DEFINE_string('classes', None, "File of class names, one a line. Default: VOC's twenty if they fit, else "
                        "those found.", **at)
    flags.DEFINE_bool('difficult', False, 'Keep objects marked difficult, without the mark, which a list cannot hold. '
                      'The reference leaves them out.', **at)
    flags.DEFINE_bool('overwrite', False, 'Replace the lists and classes.names if they exist.', **at)
    flags.DEFINE_bool('strict', False, 'Any problem: write nothing and exit with 1.', **at)


def run(arguments, options) -> int:
    """Reads the annotations, prints their problems and writes the lists; returns the exit code."""
    if arguments:
        raise InputError(f'expected flags only, got {" ".join(arguments)}')
    if not os.path.isdir(options.voc):
        raise InputError(f'--voc={options.voc}: no such folder; expected that of a VOC set, such as VOCdevkit')
    check_output(options.voc, options.output)
    parts = wanted(options.voc, options.splits)
    atomic_file.check_free(*(os.path.join(options.output, name) for name in (*(f'{name}.txt' for name in parts),
                                                                            lists.CLASS_FILE)),
                           overwrite=options.overwrite)
    class_names = class_files.read_class_file(options.classes) if options.classes else None
    if class_names is None:  # the classes are those of all splits together
        class_names = voc.read(options.voc, '+'.join(parts.values())).class_names
    datasets = {name: voc.read(options.voc, splits, class_names) for name, splits in parts.items()}
    contents = {name: for_list(dataset, options.difficult) for name, dataset in datasets.items()}
    # Splits may share images (train and trainval), and so their problems: each is printed once.
    problems = list(dict.fromkeys(text for dataset in datasets.values() for text in dataset.problems))
    for problem in problems:
        print(problem)
    if options.strict and problems:
        print(f'{len(problems)} problems; nothing written because of --strict', file=sys.stderr)
        return 1
    os.makedirs(options.output, exist_ok=True)
    for name, records in contents.items():
        path = os.path.join(options.output, f'{name}.txt')
        lists.write(path, records)
        print(f'{path} ({parts[name]}): {summary(records, class_names, datasets[name], options.difficult)}')
    names_path = os.path.join(options.output, lists.CLASS_FILE)
    atomic_file.write_text(names_path, ''.join(f'{name}\n' for name in class_names))
    print(f'{names_path}: {class_files.describe_classes(class_names)}')
    print(f'{len(problems)} problems')
    return 0


def check_output(folder: str, output: str | None) -> None:
    """Checks that nothing is written among the user's own files.

    Raises:
      InputError: ``output`` is not given, is ``folder``, or lies inside it.
    """
    if not output:
        raise InputError('expected --output=DIR, the folder for the lists')
    inside, home = os.path.realpath(output), os.path.realpath(folder)
    if os.path.commonpath([inside, home]) == home:
        raise InputError(f'--output={output} lies inside --voc={folder}, whose files never change; '
                         'choose another folder')


def wanted(folder: str, requests: list[str] | None) -> dict[str, str]:
    """{list name: splits joined by '+'} for --splits, or the default where it is None."""
    if not requests:
        train, held_out = voc.training_splits(folder)
        return {'train': train, 'val' if held_out.endswith('val') else 'test': held_out}
    existing = set(voc.splits_of(folder))
    parts = {}
    for request in requests:
        name, given, splits = request.partition('=')
        paper = voc.PAPER_SPLITS.get(name, '')
        if not given:
            splits = paper if paper and existing.issuperset(paper.split('+')) else name
        if name in parts or not name or os.path.basename(name) != name:
            raise InputError(f'--splits={request}: expected NAME=SPLIT[+SPLIT...], each NAME once, no path')
        parts[name] = splits
    return parts


def for_list(dataset: Dataset, difficult: bool) -> list[Record]:
    """The records for a list: with a size, and without difficult objects unless wanted.

    If an annotation has no size, its image is read; an image that cannot be read is dropped, with a
    message in ``dataset.problems``.
    """
    records = []
    for record in dataset.records:
        if not (record.width and record.height):
            image = cv2.imread(record.image_path, cv2.IMREAD_UNCHANGED)
            if image is None:
                dataset.problems.append(f'{record.image_path}: not a readable image, and its annotation '
                                        'has no size; image dropped')
                continue
            record = record._replace(height=image.shape[0], width=image.shape[1])
        kept = ~record.difficult | difficult
        records.append(record._replace(boxes=record.boxes[kept], classes=record.classes[kept]))
    return records


def summary(records: list[Record], class_names: list[str], dataset: Dataset, difficult: bool) -> str:
    """Counts: images, boxes by class, and how many were left out as difficult."""
    counts = collections.Counter(int(index) for record in records for index in record.classes)
    by_class = ', '.join(f'{class_names[index]} {counts[index]}' for index in sorted(counts))
    marked = sum(int(record.difficult.sum()) for record in dataset.records)
    left_out = f'; {marked} difficult {"kept" if difficult else "left out"}' if marked else ''
    return f'{len(records)} images, {sum(counts.values())} boxes: {by_class}{left_out}'
