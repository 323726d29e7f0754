"""Precision depends on the machine, and what it does not support is refused."""
import re

import pytest
import tensorflow as tf

from yolov3_tf.errors import InputError
from yolov3_tf.training import cpu_speed, precision

GPU = [tf.config.PhysicalDevice('/physical_device:GPU:0', 'GPU')] if hasattr(tf.config, 'PhysicalDevice') else ['gpu']
ON_CPU = precision.on_cpu       # conftest replaces it, so that no other test depends on what is measured


def machine(monkeypatch, gpus=(), capability=None, has=False, speed=None):
    """A machine with these GPUs, whose CPU has bfloat16 or not and was measured, or must not be."""
    def measured():
        assert speed is not None, 'measured without need'
        return speed

    monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: list(gpus))
    monkeypatch.setattr(tf.config.experimental, 'get_device_details', lambda gpu: {'compute_capability': capability})
    monkeypatch.setattr(cpu_speed, 'has_bfloat16', lambda: has)
    monkeypatch.setattr(cpu_speed, 'bfloat16_speed', measured)
    monkeypatch.setattr(precision, 'on_cpu', ON_CPU)


@pytest.mark.parametrize('gpus, capability, has, speed, expected', [
    ([], None, False, None, 'precision: float32 (this CPU has no instructions for bfloat16)'),
    ([], None, True, .57, 'precision: float32 (bfloat16 measured 0.57 times as fast on this CPU)'),
    ([], None, True, 1.19, 'precision: float32 (bfloat16 measured 1.19 times as fast on this CPU)'),
    ([], None, True, 1.2, 'precision: bfloat16 (bfloat16 measured 1.20 times as fast on this CPU)'),
    (GPU, (6, 1), True, None, 'precision: float32 (a GPU of compute capability 6.1)'),
    (GPU, (7, 0), False, None, 'precision: float16 (a GPU of compute capability 7.0)'),
    (GPU, (7, 5), False, None, 'precision: float16 (a GPU of compute capability 7.5)'),
    (GPU, (8, 0), False, None, 'precision: bfloat16 (a GPU of compute capability 8.0)'),
    (GPU, (9, 0), False, None, 'precision: bfloat16 (a GPU of compute capability 9.0)')])
def test_auto(monkeypatch, gpus, capability, has, speed, expected):
    machine(monkeypatch, gpus, capability, has, speed)
    described = precision.resolve('auto').describe()
    assert described == expected and len(described) <= 80


def test_a_given_precision_is_taken_and_nothing_is_measured(monkeypatch):
    machine(monkeypatch, has=True)
    for name in ('float32', 'bfloat16'):
        assert precision.resolve(name).describe() == f'precision: {name} (by --mixed_precision)'


def test_float16_needs_a_gpu(monkeypatch):
    machine(monkeypatch)
    with pytest.raises(InputError, match='100 times slower'):
        precision.resolve('float16')
    machine(monkeypatch, GPU, (7, 0))
    assert precision.resolve('float16').precision == 'float16'


def test_unknown_names_are_refused_with_the_list():
    with pytest.raises(InputError, match='auto, bfloat16, float16, float32'):
        precision.resolve('half')


@pytest.mark.parametrize('found, hidden, gpus, expected', [
    (2, None, [], r'2 NVIDIA GPU\(s\).*tensorflow\[and-cuda\]==' + re.escape(tf.__version__)), (2, None, GPU, None),
    (2, '', [], None), (2, '-1', [], None), (0, None, [], None), (None, None, [], None)])
def test_unused_gpus_are_reported_with_the_command_that_helps(monkeypatch, tmp_path, found, hidden, gpus, expected):
    machine(monkeypatch, gpus)
    monkeypatch.setattr(precision, 'DRIVER', tmp_path / 'gpus')
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    if hidden is not None:
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', hidden)
    for number in range(found or 0):
        (tmp_path / 'gpus' / f'0000:0{number}:00.0').mkdir(parents=True)
    if found == 0:
        (tmp_path / 'gpus').mkdir()
    message = precision.unused_gpus()
    assert re.search(expected, message) if expected else message is None
