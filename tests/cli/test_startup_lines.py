"""Only TensorFlow's start-up lines are dropped: no error, no traceback, no message of a crash."""
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Lines as TensorFlow 2.15 and 2.21 wrote them.
KNOWN = r"""WARNING: All log messages before absl::InitializeLog() is called are written to STDERR
E0000 00:00:1795574974.907074   22083 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)
2026-11-25 02:49:18.330985: E external/local_xla/xla/stream_executor/cuda/cuda_dnn.cc:9261] Unable to register cuDNN factory: Attempting to register factory for plugin cuDNN when one has already been registered
2026-11-25 02:49:18.334597: E external/local_xla/xla/stream_executor/cuda/cuda_fft.cc:607] Unable to register cuFFT factory: Attempting to register factory for plugin cuFFT when one has already been registered
"""     # noqa: E501
REAL = """E0000 00:00:1795574974.9 22083 cuda_platform.cc:52] failed call to cuInit: CUDA_ERROR_UNKNOWN: unknown error
2026-11-25 02:49:18.3: E tensorflow/core/x.cc:1] Out of memory
Traceback (most recent call last):
"""
SCRIPT = """
import os, sys
from yolov3_tf.cli import startup_lines
with startup_lines.filtered():
    os.write(2, sys.argv[1].encode())
    print('from Python', file=sys.stderr)
    os.write(2, b'no end of line')
    if sys.argv[2] == 'raise':
        raise ValueError('of the import')
    if sys.argv[2] == 'abort':
        os.abort()
os.write(2, b'; ' + sys.argv[1].encode())
"""
TENSORFLOW = """
import os, sys
from yolov3_tf.cli import startup_lines
startup_lines.hide()
import tensorflow as tf
import tensorflow.python
assert tf.reduce_sum(tf.ones([3])).numpy() == 3 and 'CPU' in str(tf.config.list_physical_devices())
print(os.environ.get('TF_CPP_MIN_LOG_LEVEL'), type(tf.__loader__).__name__, file=sys.stderr)
"""


def run(script, *arguments, stderr=subprocess.PIPE, **environment):
    inherited = {name: value for name, value in os.environ.items() if name != 'TF_CPP_MIN_LOG_LEVEL'}
    return subprocess.run([sys.executable, '-c', script, *arguments], cwd=ROOT, stderr=stderr, text=True, check=False,
                          env={**inherited, **environment}, timeout=300)


@pytest.mark.parametrize('end, status', [('go on', 0), ('raise', 1), ('abort', -6)])
def test_only_the_known_lines_are_dropped(end, status):
    done = run(SCRIPT, KNOWN + REAL, end)
    shown, rest = done.stderr.split('no end of line')
    assert done.returncode == status and shown == REAL + 'from Python\n'
    assert {'go on': rest == '; ' + KNOWN + REAL, 'raise': 'ValueError: of the import' in rest, 'abort': True}[end]


def test_into_a_file_and_without_a_descriptor(tmp_path):
    with open(tmp_path / 'log', 'w') as file:
        assert run(SCRIPT, KNOWN + REAL, 'go on', stderr=file).returncode == 0
    assert (tmp_path / 'log').read_text() == REAL + 'from Python\nno end of line; ' + KNOWN + REAL
    script = 'from yolov3_tf.cli import startup_lines\nwith startup_lines.filtered():\n    print("ran")'
    done = subprocess.run(['sh', '-c', 'exec "$0" -c "$1" 2>&-', sys.executable, script], cwd=ROOT, text=True,
                          stdout=subprocess.PIPE, check=False)
    assert (done.returncode, done.stdout) == (0, 'ran\n')


def test_importing_tensorflow_prints_nothing():
    assert run(TENSORFLOW).stderr == 'None SourceFileLoader\n'


def test_with_a_log_level_nothing_is_hidden():
    done = run(TENSORFLOW, TF_CPP_MIN_LOG_LEVEL='0', TF_ENABLE_ONEDNN_OPTS='1')
    assert done.stderr.endswith('0 SourceFileLoader\n') and 'oneDNN custom operations are on' in done.stderr
