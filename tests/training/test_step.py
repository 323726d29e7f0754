"""The step on one device and on two, in a process whose CPU is split into two devices."""
import pathlib
import subprocess
import sys


def test_a_step_on_a_shared_batch_equals_that_on_the_whole_batch():
    tests = pathlib.Path(__file__).parents[1] / 'fixtures' / 'step_on_two_devices.py'
    run = subprocess.run([sys.executable, '-m', 'pytest', '-q', str(tests)], cwd=tests.parents[2], capture_output=True,
                         text=True, check=False)
    assert run.returncode == 0 and ' passed' in run.stdout and ' skipped' not in run.stdout, run.stdout + run.stderr
