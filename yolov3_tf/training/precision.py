"""The precision of the network's arithmetic, and what the machine supports."""
from __future__ import annotations

import contextlib
import os
import pathlib
import sys

import tensorflow as tf

from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError

ON_CPU = 'float32'      # what 'auto' chooses on a CPU
DRIVER = pathlib.Path('/proc/driver/nvidia/gpus')       # has one folder for each GPU, on Linux
POLICIES = {'auto': None, 'float32': 'float32', 'float16': 'mixed_float16', 'bfloat16': 'mixed_bfloat16'}


def resolve(name: str) -> str:
    """The precision that a flag value means on this machine: float32, float16 or bfloat16.

    'auto' chooses bfloat16 on a GPU of compute capability 8 or more, float16 (with loss scaling) on one of
    7 or more, float32 on every CPU: bfloat16 instructions alone do not make a CPU faster, and the demo reached 8 points
    of mAP less in bfloat16.

    Raises:
      InputError: the name is unknown, or float16 without a GPU (100 times slower than float32).
    """
    choose(POLICIES, name, 'mixed_precision')
    gpus = tf.config.list_physical_devices('GPU')
    if name == 'float16' and not gpus:
        raise InputError('mixed_precision=float16 on a CPU is 100 times slower than float32: '
                         'use auto, bfloat16 or float32')
    if name != 'auto':
        return name
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get('compute_capability', (0, 0))
        return 'bfloat16' if capability >= (8, 0) else 'float16' if capability >= (7, 0) else 'float32'
    return ON_CPU


def apply(name: str) -> str:
    """Sets the global Keras policy to the resolved precision and returns it; calls ``grow_memory`` first."""
    resolved = resolve(name)
    grow_memory()
    tf.keras.mixed_precision.set_global_policy(POLICIES[resolved])
    return resolved


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


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; if not, bfloat16 is slower than float32."""
    info = pathlib.Path('/proc/cpuinfo')
    flags = info.read_text().split() if info.is_file() else ()
    return 'avx512_bf16' in flags or 'amx_bf16' in flags
