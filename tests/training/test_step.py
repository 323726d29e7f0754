"""The step on one device and on two, in a process whose CPU is split into two devices."""
import pathlib
import subprocess
import sys

import tensorflow as tf

from yolov3_tf.training import step
from yolov3_tf.training.optimizers import Optimizer, OptimizerSettings


def test_a_step_on_a_shared_batch_equals_that_on_the_whole_batch():
    tests = pathlib.Path(__file__).parents[1] / 'fixtures' / 'step_on_two_devices.py'
    run = subprocess.run([sys.executable, '-m', 'pytest', '-q', str(tests)], cwd=tests.parents[2], capture_output=True,
                         text=True, check=False)
    assert run.returncode == 0 and ' passed' in run.stdout and ' skipped' not in run.stdout, run.stdout + run.stderr


def test_another_size_needs_no_other_trace():
    weight, traced = tf.Variable([2.], name='kernel'), []

    def compute_loss(images, truth, training):
        traced.append(training)
        return {'total': tf.reduce_mean(tf.cast(images, tf.float32)) * weight[0] + tf.reduce_sum(truth)}
    signature = [tf.TensorSpec([None, None, None, 3], tf.uint8), tf.TensorSpec([None, None, 4], tf.float32)]
    made = step.make(compute_loss, Optimizer([weight], OptimizerSettings()), signature)
    for size, count in ((32, 1), (64, 3), (96, 0), (64, 2)):
        parts = made(tf.ones([2, size, size + 32, 3], tf.uint8), tf.zeros([2, count, 4]), tf.constant(0.),
                     tf.constant(0.))
        assert float(parts['total']) == 2 and float(parts['applied']) == 1
    assert traced == [True]
