"""Memory and time of a training step against batch, input size, classes and boxes an image.

    python benchmarks/scale.py [--width=.25] [--image_size=224] [--batch=4] [--classes=20] [--boxes=8] [--steps=5]

One value changes at a time, from the base that the flags define. Every case runs in its own process, because a peak
of memory never falls. The numbers are its peak resident memory minus that of a process that has only imported
TensorFlow, and the median processor time of a step after two to warm up (wall time would depend on other
processes). Quote the ratios to the base.
"""
from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

VARIED = {'batch': (1, 2, 8), 'image_size': (320, 416), 'classes': (80, 500), 'boxes': (1, 20, 200)}


def peak_mib() -> float:
    """Largest resident memory of this process so far (Linux gives KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one_case(options) -> dict:
    """In a process of its own: MiB before and at the peak, and seconds of processor time a step."""
    import tensorflow as tf
    import training_step

    from yolov3_tf.models import yolov3_network
    tf.constant(0.).numpy()
    before = peak_mib()
    images, truth = training_step.batch(options.image_size, options.batch, options.boxes)
    model = yolov3_network.build(options.classes, options.width)
    step = training_step.full_step(model, images, truth)
    seconds = []
    for turn in range(2 + options.steps):
        began = time.process_time()
        tf.nest.map_structure(lambda value: value.numpy(), step())
        if turn >= 2:
            seconds.append(time.process_time() - began)
    return {'before': before, 'peak': peak_mib(), 'seconds': statistics.median(seconds)}


def measure(options, **changed) -> dict:
    """``one_case`` of the base with these changes."""
    settings = dict({name: getattr(options, name) for name in (*VARIED, 'width', 'steps')}, **changed)
    command = [sys.executable, os.path.abspath(__file__), '--one_case', *(f'--{k}={v}' for k, v in settings.items())]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (('batch', 4), ('image_size', 224), ('classes', 20), ('boxes', 8), ('steps', 5)):
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--width', type=float, default=.25)
    parser.add_argument('--one_case', action='store_true', help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one_case:
        print(json.dumps(one_case(options)))
        return
    print(f'{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, Python '
          f'{platform.python_version()}; base: width {options.width:g}, batch {options.batch}, '
          f'{options.image_size} px, {options.classes} classes, {options.boxes} boxes an image; '
          f'median of {options.steps} steps')
    base = measure(options)
    print('| case | processor s a step | to base | MiB above bare TensorFlow | to base |\n|---|---:|---:|---:|---:|')
    changes = [{}] + [{name: value} for name, values in VARIED.items() for value in values]
    for changed in changes:
        name = ' '.join(f'{key} {value}' for key, value in changed.items()) or 'base'
        found = measure(options, **changed) if changed else base
        memory, of_base = (case['peak'] - case['before'] for case in (found, base))
        print(f'| {name} | {found["seconds"]:.3f} | {found["seconds"] / base["seconds"]:.2f} | {memory:.0f} | '
              f'{memory / of_base:.2f} |', flush=True)


if __name__ == '__main__':
    main()
