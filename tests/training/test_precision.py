"""Precision depends on the machine, and what it does not support is refused."""
import re

import pytest
import tensorflow as tf

from yolov3_tf.errors import InputError
from yolov3_tf.training import precision

GPU = [tf.config.PhysicalDevice('/physical_device:GPU:0', 'GPU')] if hasattr(tf.config, 'PhysicalDevice') else ['gpu']


def machine(monkeypatch, gpus=(), capability=None, cpu_bfloat16=False):
    monkeypatch.setattr(tf.config, 'list_physical_devices', lambda kind: list(gpus))
    monkeypatch.setattr(tf.config.experimental, 'get_device_details', lambda gpu: {'compute_capability': capability})
    monkeypatch.setattr(precision, 'cpu_has_bfloat16', lambda: cpu_bfloat16)


@pytest.mark.parametrize('gpus, capability, cpu_bfloat16, expected', [
    ([], None, False, 'float32'), ([], None, True, 'float32'), (GPU, (6, 1), True, 'float32'),
    (GPU, (7, 0), False, 'float16'), (GPU, (7, 5), False, 'float16'), (GPU, (8, 0), False, 'bfloat16'),
    (GPU, (9, 0), False, 'bfloat16')])
def test_auto(request, monkeypatch, gpus, capability, cpu_bfloat16, expected):
    if not gpus and request.config.getoption('--auto-precision') != 'float32':
        pytest.skip('--auto-precision replaces what is tested here')
    machine(monkeypatch, gpus, capability, cpu_bfloat16)
    assert precision.resolve('auto') == expected


def test_float16_needs_a_gpu(monkeypatch):
    machine(monkeypatch)
    with pytest.raises(InputError, match='100 times slower'):
        precision.resolve('float16')
    machine(monkeypatch, GPU, (7, 0))
    assert precision.resolve('float16') == 'float16'


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
