"""What is printed moves no cursor and needs no letters that a console lacks; nobody reading it ends no program."""
import io
import os
import subprocess
import sys

import pytest

from yolov3_tf import printable
from yolov3_tf.cli.terminal import Printable

# Prints as a program does, and then writes its result; the first line of the output is all that anybody reads.
PROGRAM = """
import sys
from yolov3_tf.cli import terminal
terminal.protect()
for number in range(100_000):
    print('line', number)
print('error', file=sys.stderr)
open('result', 'w').write('whole')
"""


@pytest.mark.parametrize('text, shown', [
    ('cat, döner, 猫 100 %', 'cat, döner, 猫 100 %'), ('a\tb\r\n', 'a\tb\r\n'), ('\x1b[2Jgone', '\\x1b[2Jgone'),
    ('\x9b31m', '\\x9b31m'), ('a\u2028b\x85', 'a\\u2028b\\x85'), ('\ud800', '\\ud800'), ('\x07\x00', '\\x07\\x00'),
    ('gpj.\u202egnp', 'gpj.\\u202egnp')])
def test_what_is_not_to_be_shown_is_escaped(text, shown):
    assert printable.printable(text) == shown


def test_a_console_of_few_letters_gets_escapes():
    raw = io.BytesIO()
    stream = Printable(io.TextIOWrapper(raw, 'cp1252', newline=''))
    assert stream.write('döner 猫\n') == 8
    stream.flush()
    assert raw.getvalue() == 'döner \\u732b\n'.encode('cp1252') and stream.encoding == 'cp1252'
    assert not stream.isatty()


@pytest.mark.parametrize('shell', ['| head -1', '>&-', '>&- 2>&-', '> /dev/full 2>&1', '2>&1 | head -1'])
def test_an_output_that_nobody_reads_ends_no_program(tmp_path, shell):
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(f'{sys.executable} -c "$PROGRAM" {shell}', shell=True, cwd=tmp_path, capture_output=True,
                          text=True, env={**os.environ, 'PROGRAM': PROGRAM, 'PYTHONPATH': root})
    assert (tmp_path / 'result').read_text() == 'whole'
    assert 'Traceback' not in done.stderr and 'Exception' not in done.stderr
    assert not done.stderr or done.stderr == 'error\n'
