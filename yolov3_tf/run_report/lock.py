"""What a run was made with: ``run.lock.json`` beside its report, enough to make it again or to see what differs.

It holds the versions of Python and of every installed package, the machine, all settings, the data (counts, sizes,
problems and a hash) and the hash of the best checkpoint; no name of a user or a computer.
"""
from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from yolov3_tf import atomic_file
from yolov3_tf.data import network_sizes
from yolov3_tf.errors import InputError
from yolov3_tf.run_report.advice import SMALL
from yolov3_tf.structures import Dataset

FORMAT = 1
NAME = 'run.lock.json'
FIRST_PROBLEMS = 5          # texts of problems that are kept
CPU_INFO = '/proc/cpuinfo'  # on Linux


class Network(NamedTuple):
    """The network of a run: height and width of its input, whether images keep their proportions, its parameters.

    tiles: those that it sees of large images, '' for none.
    """
    image_size: tuple[int, int]
    letterbox: bool
    parameters: int
    tiles: str = ''


class Course(NamedTuple):
    """How a run went: hours and size of its training, and the speed of the evaluation at its end.

    Attributes:
      minutes: of training and validating, in all processes of the run.
      steps: number of training steps.
      images_per_second: of the network with suppression, without reading images; 0 where it finds no boxes.
    """
    minutes: float
    steps: int
    images_per_second: float


def describe(name: str, flags: Mapping[str, str], network: Network, course: Course, train_set: Dataset,
             val_set: Dataset, checkpoint: str | os.PathLike) -> dict[str, Any]:
    """The content of the file, as JSON values.

    Args:
      name: of the run.
      flags: all its settings as texts.
      checkpoint: the best one.
    """
    return {
        'format': FORMAT, 'run': name, 'finished': _now(), **course._asdict(), 'settings': dict(flags),
        'network': {**network._asdict(), 'image_size': list(network.image_size), 'sha256': _hash_of_file(checkpoint)},
        'data': {part: of_data(flags.get(f'{part}_data', ''), dataset, network)
                 for part, dataset in (('train', train_set), ('val', val_set))},
        'machine': machine(), 'packages': packages()}


def write(folder: str | os.PathLike, content: Mapping[str, Any]) -> pathlib.Path:
    """Writes the file into the run's folder; returns its path."""
    path = pathlib.Path(folder) / NAME
    atomic_file.write_text(path, json.dumps(content, indent=1) + '\n')
    return path


def read(folder: str | os.PathLike) -> dict[str, Any]:
    """The content of a run's file; empty where it has none, or another program's."""
    try:
        content = json.loads((pathlib.Path(folder) / NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and content.get('format') == FORMAT else {}


def of_data(spec: str, dataset: Dataset, network: Network | None) -> dict[str, Any]:
    """Counts, problems, box sizes and hash of a dataset, as JSON values."""
    count = len(dataset.class_names)
    per_image = [np.bincount(record.classes, minlength=count) for record in dataset.records]
    table = np.array(per_image, np.int64).reshape(-1, count)
    return {'spec': spec, 'images': len(dataset.records), 'objects': int(table.sum()),
            'classes': {name: {'objects': int(table[:, k].sum()), 'images': int((table[:, k] > 0).sum())}
                        for k, name in enumerate(dataset.class_names)},
            'problems': len(dataset.problems), 'first_problems': list(dataset.problems[:FIRST_PROBLEMS]),
            **(box_sizes(dataset, network) if network else {}), 'sha256': hash_of(dataset)}


def box_sizes(dataset: Dataset, network: Network) -> dict[str, float]:
    """Of the boxes' shorter sides in the network input: the part under ``SMALL`` pixels, and the median."""
    try:
        sides = network_sizes.of_boxes(dataset, *network.image_size, network.letterbox, network.tiles).min(axis=1)
    except InputError:                                  # no box, or no image whose size is known
        return {}
    return {'small_boxes': round(float((sides < SMALL).mean()), 6), 'median_side': round(float(np.median(sides)), 2)}


def hash_of(dataset: Dataset) -> str:
    """SHA-256 over class names, image names, file sizes and annotations, whatever the folder and the order."""
    rows = sorted(_row(record, dataset.class_names) for record in dataset.records)
    return hashlib.sha256('\n'.join([json.dumps(list(dataset.class_names)), *rows]).encode()).hexdigest()


def machine() -> dict[str, Any]:
    """Python, system, CPU, cores, memory in GiB, and the GPUs that TensorFlow sees, if it runs in this process."""
    return {'python': platform.python_version(), 'system': f'{platform.system()} {platform.machine()}',
            'cpu': _cpu(), 'cores': os.cpu_count(), 'memory_gib': _memory(), 'gpus': _gpus()}


def packages() -> dict[str, str]:
    """Name -> version of every installed package, and of this one."""
    own = __name__.partition('.')[0]
    found = {str(one.metadata['Name']).lower(): one.version for one in importlib.metadata.distributions()
             if one.metadata['Name']}
    return dict(sorted({**found, own: sys.modules[own].__version__}.items()))


def _row(record, class_names):
    try:
        size = os.path.getsize(record.image_path)
    except (OSError, ValueError):                       # a record of a shard, or gone
        size = 0
    objects = sorted([class_names[one], *box, bool(difficult), bool(crowd)] for one, box, difficult, crowd in zip(
        record.classes.tolist(), record.boxes.tolist(), record.difficult, record.crowd))
    return json.dumps([record.image_id, os.path.basename(record.image_path), size, objects])


def _hash_of_file(path):
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds')


def _cpu():
    try:
        with open(CPU_INFO, encoding='utf-8', errors='replace') as file:
            names = [line.partition(':')[2].strip() for line in file if line.startswith('model name')]
    except OSError:
        names = []
    return names[0] if names else platform.processor()


def _memory():
    try:
        return round(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2 ** 30, 1)
    except (AttributeError, OSError, ValueError):       # Windows
        return None


def _gpus():
    tensorflow = sys.modules.get('tensorflow')
    if tensorflow is None:
        return []
    details = tensorflow.config.experimental.get_device_details
    return [details(one).get('device_name', one.name) for one in tensorflow.config.list_physical_devices('GPU')]
