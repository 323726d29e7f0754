"""What the user mistypes is one line and status 2, whoever finds it: absl, or the script itself."""
import os
import subprocess
import sys

import pytest

SCRIPT = """
from absl import app, flags
from yolov3_tf.cli import program as script
flags.DEFINE_integer('count', 1, 'how many', lower_bound=1)
flags.DEFINE_enum('kind', 'a', ['a', 'b'], 'which')

def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f'unexpected argument {argv[1]!r}')
    print('ran', flags.FLAGS.count)
    return 5

script.start(main)
"""


@pytest.mark.parametrize('argument, status, said', [
    ('--count=3', 5, 'ran 3'), ('--conut=3', 2, "Unknown command line flag 'conut'"), ('--count=0', 2, 'count=0'),
    ('--kind=c', 2, 'should be one of <a|b>'), ('--flagfile=nowhere', 2, 'nowhere'), ('word', 2, "'word'")])
def test_one_line_and_a_status(argument, status, said):
    run = subprocess.run([sys.executable, '-c', SCRIPT, argument], capture_output=True, text=True, check=False,
                         env=dict(os.environ, PYTHONPATH=os.pathsep.join(filter(None, sys.path))))
    assert run.returncode == status
    told = run.stdout if status == 5 else run.stderr
    assert said in told and len(told.splitlines()) == 1, told
    assert status == 5 or told.startswith('error: ')
