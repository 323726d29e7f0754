"""Which arithmetic the network runs in, and what the machine can do."""
from __future__ import annotations

import contextlib
import os
import pathlib
import sys

import tensorflow as tf

from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError

ON_CPU = 'float32'      # what 'auto' takes there
DRIVER = pathlib.Path('/proc/driver/nvidia/gpus')       # a folder a GPU, on Linux
POLICIES = {'auto': None, 'float32': 'float32', 'float16': 'mixed_float16', 'bfloat16': 'mixed_bfloat16'}


def resolve(name: str) -> str:
    """The precision a flag value stands for on this machine: float32, float16 or bfloat16.

    'auto' takes bfloat16 on a GPU of compute capability 8 or more, float16 (with loss scaling) on one of
    7 or more, float32 on every CPU: instructions for bfloat16 alone do not make it faster there, and the demo ended
    8 points of mAP lower in it.

    Raises:
      InputError: an unknown name, or float16 without a GPU (measured 100 times slower than float32).
    """
    choose(POLICIES, name, 'mixed_precision')
    gpus = tf.config.list_physical_devices('GPU')
    if name == 'float16' and not gpus:
        raise InputError('mixed_precision=float16 on a CPU measured 100 times slower than float32: '
                         'use auto, bfloat16 or float32')
    if name != 'auto':
        return name
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get('compute_capability', (0, 0))
        return 'bfloat16' if capability >= (8, 0) else 'float16' if capability >= (7, 0) else 'float32'
    return ON_CPU


def apply(name: str) -> str:
    """Sets the global Keras policy to what ``name`` resolves to, and returns that; ``grow_memory`` too."""
    resolved = resolve(name)
    grow_memory()
    tf.keras.mixed_precision.set_global_policy(POLICIES[resolved])
    return resolved


def grow_memory():
    """Tells every GPU to take memory as it is needed, not all of it at once; before anything is computed."""
    for gpu in tf.config.list_physical_devices('GPU'):
        with contextlib.suppress(RuntimeError):         # a Python user has computed already: it stays as it is
            tf.config.experimental.set_memory_growth(gpu, True)


def unused_gpus() -> str | None:
    """Why this machine's NVIDIA GPUs take no part, as one message with the way out; None where nothing is amiss.

    The TensorFlow of a plain installation has no CUDA libraries and then says so only in its log.
    """
    hidden = os.environ.get('CUDA_VISIBLE_DEVICES') in ('', '-1')
    count = len(list(DRIVER.iterdir())) if DRIVER.is_dir() else 0
    if hidden or not count or tf.config.list_physical_devices('GPU'):
        return None
    return (f'{count} NVIDIA GPU(s) in this machine, but TensorFlow finds none of them. CUDA\'s libraries come '
            f'with: {sys.executable} -m pip install "tensorflow[and-cuda]=={tf.__version__}"')


def cpu_has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; without it bfloat16 is slower than float32."""
    info = pathlib.Path('/proc/cpuinfo')
    flags = info.read_text().split() if info.is_file() else ()
    return 'avx512_bf16' in flags or 'amx_bf16' in flags
