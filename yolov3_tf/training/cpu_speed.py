"""How much faster than float32 this CPU trains in bfloat16: measured once a machine, then read from a file.

Instructions do not tell: of two CPUs with ``avx512_bf16``, an AMD Zen 4 trained the full network 1.75 times as fast as
in float32, and an Intel CPU without AMX .63 times.
"""
from __future__ import annotations

import contextlib
import json
import os
import pathlib
import statistics
import time
from collections.abc import Callable, Mapping

import tensorflow as tf

from yolov3_tf import atomic_file, cache_folder
from yolov3_tf.errors import InputError
from yolov3_tf.models.blocks import ConvStack
from yolov3_tf.models.keras_policy import keras_policy

INSTRUCTIONS = 'avx512_bf16', 'amx_bf16'        # any of them multiplies bfloat16
MATTERS = (*INSTRUCTIONS, 'amx_tile', 'avx2', 'avx512f', 'avx512_vnni', 'avx512_fp16')
SETTINGS = 'TF_ENABLE_ONEDNN_OPTS', 'ONEDNN_MAX_CPU_ISA', 'DNNL_MAX_CPU_ISA'
CPU_INFO = pathlib.Path('/proc/cpuinfo')        # on Linux
ROUNDS = 5
SIDE, CHANNELS = 26, 256        # the middle of the network at 416 px, of half as many channels, which takes a quarter


def has_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; if not, bfloat16 is slower than float32."""
    return any(name in _cpu()[1] for name in INSTRUCTIONS)


def bfloat16_speed() -> float:
    """Steps in bfloat16 in the time of one in float32; measured if ``cache_file`` does not have it."""
    path, key = cache_file(), machine()
    known = _read(path)
    if key not in known:
        known[key] = round(measure(), 2)
        with contextlib.suppress(InputError):       # measured again next time
            atomic_file.write_text(path, json.dumps(known, indent=1) + '\n')
    return known[key]


def machine() -> str:
    """What the measurement depends on: CPU, instructions, cores, TensorFlow and the settings of oneDNN."""
    name, flags = _cpu()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    settings = [f'{name}={os.environ[name]}' for name in SETTINGS if name in os.environ]
    return ', '.join([name, ' '.join(name for name in MATTERS if name in flags), f'{cores} cores',
                      f'TensorFlow {tf.__version__}', *settings])


def cache_file() -> pathlib.Path:
    """In the user's folder of caches; it may be removed at any time."""
    return cache_folder.folder() / 'bfloat16_speed.json'


def measure() -> float:
    """Times a 3x3 convolution with its BatchNorm and LeakyReLU, forward and backward, in both precisions."""
    return ratio({name: _training_step(policy) for name, policy in (
        ('float32', 'float32'), ('bfloat16', 'mixed_bfloat16'))})


def ratio(steps: Mapping[str, Callable[[], object]], clock: Callable[[], float] = time.perf_counter) -> float:
    """Median time of the step ``float32`` over that of ``bfloat16``.

    They take turns, so that other work on the machine slows both; a first round warms up.

    Args:
      steps: float32 and bfloat16 -> makes one step and waits for its end.
      clock: seconds.
    """
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(1 + ROUNDS):
        for name, step in steps.items():
            began = clock()
            step()
            if round_:
                spent[name].append(clock() - began)
    return statistics.median(spent['float32']) / statistics.median(spent['bfloat16'])


def _training_step(policy):
    with keras_policy(policy):
        features = tf.keras.Input([SIDE, SIDE, CHANNELS // 2])
        model = tf.keras.Model(features, ConvStack().conv(features, CHANNELS, 3))
    variables = [getattr(variable, '_value', variable) for variable in model.trainable_variables]
    images = tf.random.stateless_normal([1, SIDE, SIDE, CHANNELS // 2], [0, 0])

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([images, *variables])        # of the images, too: they stand for the layer before
            outputs = model(images, training=True)
        return [tf.reduce_sum(gradient) for gradient in tape.gradient(outputs, [images, *variables])]
    return lambda: [value.numpy() for value in step()]


def _cpu() -> tuple[str, frozenset[str]]:
    """The name of the CPU and its flags; both empty where the system has no ``CPU_INFO``."""
    try:
        lines = CPU_INFO.read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        return '', frozenset()
    found = {name.strip(): value.strip() for name, _, value in (line.partition(':') for line in lines)}
    return found.get('model name', ''), frozenset(found.get('flags', '').split())


def _read(path) -> dict[str, float]:
    """Machine -> speed; empty for a file that is absent or no cache."""
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(known, dict):
        return {}
    return {key: value for key, value in known.items() if isinstance(value, float) and value > 0}
