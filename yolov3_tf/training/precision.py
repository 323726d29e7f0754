"""The precision of the network's arithmetic, and what the machine supports."""
from __future__ import annotations

import contextlib
import os
import pathlib
import sys
from typing import NamedTuple

import tensorflow as tf

from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.training import cpu_speed

WORTH_IT = 1.2          # a CPU trains in bfloat16 if that is so many times as fast: more than a clock's noise
DRIVER = pathlib.Path('/proc/driver/nvidia/gpus')       # has one folder for each GPU, on Linux
POLICIES = {'auto': None, 'float32': 'float32', 'float16': 'mixed_float16', 'bfloat16': 'mixed_bfloat16'}


class Choice(NamedTuple):
    """A precision (float32, float16 or bfloat16) and why it was chosen."""
    precision: str
    reason: str

    def describe(self) -> str:
        return f'precision: {self.precision} ({self.reason})'


def check(name: str) -> None:
    """Raises InputError for an unknown name, or float16 without a GPU (100 times slower than float32)."""
    choose(POLICIES, name, 'mixed_precision')
    if name == 'float16' and not tf.config.list_physical_devices('GPU'):
        raise InputError('mixed_precision=float16 on a CPU is 100 times slower than float32: '
                         'use auto, bfloat16 or float32')


def resolve(name: str) -> Choice:
    """The precision that a flag value means on this machine.

    'auto' chooses bfloat16 on a GPU of compute capability 8 or more, float16 (with loss scaling) on one of
    7 or more, else float32. On a CPU it chooses bfloat16 where that is measured to be faster (``on_cpu``).

    Raises:
      InputError: as ``check``.
    """
    check(name)
    if name != 'auto':
        return Choice(name, 'by --mixed_precision')
    if gpus := tf.config.list_physical_devices('GPU'):
        capability = tf.config.experimental.get_device_details(gpus[0]).get('compute_capability', (0, 0))
        return Choice('bfloat16' if capability >= (8, 0) else 'float16' if capability >= (7, 0) else 'float32',
                      f'a GPU of compute capability {".".join(map(str, capability))}')
    return on_cpu()


def on_cpu() -> Choice:
    """bfloat16 on a CPU that trains ``WORTH_IT`` times faster in it, else float32; measures at most once a machine."""
    if not cpu_speed.has_bfloat16():
        return Choice('float32', 'this CPU has no instructions for bfloat16')
    speed = cpu_speed.bfloat16_speed()
    return Choice('bfloat16' if speed >= WORTH_IT else 'float32',
                  f'bfloat16 measured {speed:.2f} times as fast on this CPU')


def apply(name: str) -> Choice:
    """Sets the global Keras policy to the resolved precision; computes on a CPU, so call ``grow_memory`` before."""
    choice = resolve(name)
    tf.keras.mixed_precision.set_global_policy(POLICIES[choice.precision])
    return choice


def grow_memory():
    """Lets every GPU allocate memory as needed instead of all at once; call it before the first computation."""
    for gpu in tf.config.list_physical_devices('GPU'):
        with contextlib.suppress(RuntimeError):         # the caller has computed already: nothing changes
            tf.config.experimental.set_memory_growth(gpu, True)


def unused_gpus() -> str | None:
    """Why TensorFlow does not use the NVIDIA GPUs here, and what to do; None where it uses them or there are none.

    A plain installation of TensorFlow has no CUDA libraries and reports this only in its log.
    """
    hidden = os.environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1')
    count = len(list(DRIVER.iterdir())) if DRIVER.is_dir() else 0
    if hidden or not count or tf.config.list_physical_devices('GPU'):
        return None
    return (f'{count} NVIDIA GPU(s) in this machine, but TensorFlow finds none of them. CUDA\'s libraries come '
            f'with: {sys.executable} -m pip install "tensorflow[and-cuda]=={tf.__version__}"')
