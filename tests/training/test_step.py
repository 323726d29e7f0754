"""The step on one device and on two, in a process that is split in two before it computes."""
import pathlib
import subprocess
import sys


def test_a_shared_batch_makes_the_step_of_the_whole():
    tests = pathlib.Path(__file__).parents[1] / 'fixtures' / 'step_on_two_devices.py'
    run = subprocess.run([sys.executable, '-m', 'pytest', '-q', str(tests)], cwd=tests.parents[2], capture_output=True,
                         text=True, check=False)
    assert run.returncode == 0 and ' passed' in run.stdout and ' skipped' not in run.stdout, run.stdout + run.stderr
