"""The measurement of bfloat16 on a CPU: medians of given times, and a cache that may be missing or broken."""
import json

import pytest
import tensorflow as tf

from yolov3_tf.training import cpu_speed

CPU = 'processor : 0\nmodel name : Some CPU @ 3.00GHz\nflags : fpu avx2 avx512f avx512_bf16 sse\n\nprocessor : 1\n'


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """A machine with one CPU, an empty cache, and results of measurements to hand out; each is handed out once."""
    results = []
    (tmp_path / 'cpuinfo').write_text(CPU)
    monkeypatch.setattr(cpu_speed, 'CPU_INFO', tmp_path / 'cpuinfo')
    monkeypatch.setattr(cpu_speed, 'measure', lambda: results.pop(0))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    for name in cpu_speed.SETTINGS:
        monkeypatch.delenv(name, raising=False)
    return results


def test_the_ratio_is_of_medians_of_steps_that_take_turns_after_a_warm_up():
    """float32: 3 s, with outliers; bfloat16: 2 s, with outliers; the first round of 100 s does not count."""
    durations = {'float32': [100, 3, 3, 90, 3, 1], 'bfloat16': [100, 2, 2, .1, 80, 2]}
    now, order = [0.], []

    def step(name):
        order.append(name)
        now[0] += durations[name].pop(0)
    steps = {name: lambda name=name: step(name) for name in durations}
    assert cpu_speed.ratio(steps, clock=lambda: now[0]) == pytest.approx(3 / 2)
    assert order == ['float32', 'bfloat16'] * 6


def test_a_machine_is_measured_once_and_again_when_anything_that_matters_changes(measured, monkeypatch, tmp_path):
    measured += [.571, 1.304, 2.]
    assert [cpu_speed.bfloat16_speed() for _ in range(3)] == [.57] * 3
    cores = cpu_speed.machine().split(', ')[2]
    assert json.loads((tmp_path / 'cache/yolov3_tf/bfloat16_speed.json').read_text()) == {
        f'Some CPU @ 3.00GHz, avx512_bf16 avx2 avx512f, {cores}, TensorFlow {tf.__version__}': .57}
    monkeypatch.setenv('TF_ENABLE_ONEDNN_OPTS', '0')
    assert [cpu_speed.bfloat16_speed() for _ in range(2)] == [1.3] * 2
    (tmp_path / 'cpuinfo').write_text(CPU.replace('avx512_bf16', 'avx512_bf16 amx_bf16'))
    assert cpu_speed.bfloat16_speed() == 2.
    monkeypatch.delenv('TF_ENABLE_ONEDNN_OPTS')
    (tmp_path / 'cpuinfo').write_text(CPU)
    assert cpu_speed.bfloat16_speed() == .57 and not measured


@pytest.mark.parametrize('content', [b'', b'{', b'[1]', b'\xff\xfe', b'{"machine": "fast"}', b'{"machine": -1.0}'])
def test_a_broken_cache_is_replaced(measured, monkeypatch, content):
    measured.append(.5)
    monkeypatch.setattr(cpu_speed, 'machine', lambda: 'machine')
    cpu_speed.cache_file().parent.mkdir(parents=True)
    cpu_speed.cache_file().write_bytes(content)
    assert cpu_speed.bfloat16_speed() == .5
    assert json.loads(cpu_speed.cache_file().read_text()) == {'machine': .5}


def test_a_cache_that_cannot_be_written_is_no_error(measured, monkeypatch, tmp_path):
    measured += [.5, .6]
    (tmp_path / 'file').write_text('no folder')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    assert [cpu_speed.bfloat16_speed(), cpu_speed.bfloat16_speed()] == [.5, .6]


def test_the_cache_is_below_the_home_folder_by_default(monkeypatch):
    monkeypatch.setenv('HOME', '/home/somebody')
    monkeypatch.delenv('XDG_CACHE_HOME', raising=False)
    assert str(cpu_speed.cache_file()) == '/home/somebody/.cache/yolov3_tf/bfloat16_speed.json'


@pytest.mark.parametrize('text, expected', [
    (CPU, True), (CPU.replace('avx512_bf16', 'amx_bf16'), True), (CPU.replace('avx512_bf16', 'avx512_vnni'), False),
    (None, False)])
def test_instructions_are_read_from_the_system(monkeypatch, tmp_path, text, expected):
    monkeypatch.setattr(cpu_speed, 'CPU_INFO', tmp_path / 'cpuinfo')
    if text is not None:
        (tmp_path / 'cpuinfo').write_text(text)
    assert cpu_speed.has_bfloat16() is expected


def test_the_measurement_itself_runs_and_leaves_the_policy(monkeypatch):
    """What it finds depends on the machine; that it is a number of a plausible size does not."""
    monkeypatch.setattr(cpu_speed, 'ROUNDS', 1)
    monkeypatch.setattr(cpu_speed, 'CHANNELS', 16)
    assert .001 < cpu_speed.measure() < 1000
    assert tf.keras.mixed_precision.global_policy().name == 'float32'
