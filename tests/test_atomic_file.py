"""Whatever happens while a file is written, what was there before stays until the new one is complete."""
import os
import signal
import subprocess
import sys

import pytest

from yolov3_tf import atomic_file
from yolov3_tf.errors import InputError


def test_an_older_file_gives_way_only_to_a_whole_one(tmp_path):
    path = tmp_path / 'a.weights'
    path.write_bytes(b'old')
    with pytest.raises(KeyboardInterrupt), atomic_file.writing(path) as file:
        file.write(b'half of the n')
        raise KeyboardInterrupt
    assert path.read_bytes() == b'old'
    assert [entry.name for entry in tmp_path.iterdir()] == ['a.weights']


def test_two_that_write_one_file_with_one_process_number_keep_apart(tmp_path):
    path = tmp_path / 'a.txt'
    with atomic_file.writing(path) as first:
        first.write(b'the first and ')
        atomic_file.write_text(path, 'the other')
        assert path.read_text() == 'the other'
        first.write(b'longer')
        assert first.name.endswith('.part')
    assert path.read_text() == 'the first and longer'
    assert os.listdir(tmp_path) == ['a.txt']


def test_text_is_written_in_utf_8_into_folders_made_for_it(tmp_path):
    path = tmp_path / 'new' / 'below' / 'a.txt'
    atomic_file.write_text(path, 'käse\n')
    assert path.read_bytes() == b'k\xc3\xa4se\n'
    assert os.listdir(path.parent) == ['a.txt']


def test_what_cannot_be_written_is_one_error_with_the_path(tmp_path):
    (tmp_path / 'file').write_bytes(b'')
    for path, message in ((tmp_path, 'got a folder'), (tmp_path / 'file' / 'below', 'cannot be written')):
        with pytest.raises(InputError, match=message):
            atomic_file.write_text(path, '')


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='/dev/full stands for a full disk; this system has none')
def test_a_full_disk_leaves_the_older_file(tmp_path, monkeypatch):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    monkeypatch.setattr(atomic_file, 'open', lambda path, mode: open('/dev/full', 'w+b'), raising=False)
    with pytest.raises(InputError, match='cannot be written: No space left'):
        atomic_file.write_text(path, 'new')
    assert path.read_text() == 'old'
    assert os.listdir(tmp_path) == ['a.txt']


def test_what_is_there_is_refused_unless_it_may_be_replaced(tmp_path):
    (tmp_path / 'a').write_text('mine')
    os.symlink(tmp_path / 'nowhere', tmp_path / 'link')
    atomic_file.check_free(tmp_path / 'b', tmp_path / 'c')
    for name in ('a', 'link'):
        with pytest.raises(InputError, match=f'{name} exists: choose another name, or allow overwriting'):
            atomic_file.check_free(tmp_path / 'b', tmp_path / name)
        atomic_file.check_free(tmp_path / name, overwrite=True)


def test_a_link_of_the_unfinished_name_is_not_followed(tmp_path, monkeypatch):
    (tmp_path / 'photo').write_text('mine')
    os.symlink(tmp_path / 'photo', tmp_path / 'a.txt.abcd.part')
    monkeypatch.setattr(atomic_file.secrets, 'token_hex', lambda size: 'abcd')
    with pytest.raises(InputError, match='cannot be written'):
        atomic_file.write_text(tmp_path / 'a.txt', 'new')
    assert (tmp_path / 'photo').read_text() == 'mine'


KILLED = """
import os, signal, sys
from yolov3_tf import atomic_file
with atomic_file.writing(sys.argv[1] + '/a.txt'), atomic_file.scratch_folder(sys.argv[1]) as folder:
    open(folder + '/half', 'w').close()
    print('here', flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(atomic_file.fcntl is None, reason='this system has no locks, so leftovers stay')
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_writes_stays(tmp_path):
    (tmp_path / 'mine.part').touch()
    (tmp_path / 'photo').write_text('mine')
    os.symlink(tmp_path / 'photo', tmp_path / 'b.txt.00000000.part')
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    with subprocess.Popen([sys.executable, '-c', KILLED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          env={**os.environ, 'PYTHONPATH': root}) as process:
        assert process.stdout.readline() == b'here\n'
        before = set(os.listdir(tmp_path))
        assert len(before) == 5
        atomic_file.remove_leftovers(tmp_path)
        assert set(os.listdir(tmp_path)) == before
        process.send_signal(signal.SIGKILL)
    atomic_file.remove_leftovers(tmp_path)
    assert set(os.listdir(tmp_path)) == {'mine.part', 'photo', 'b.txt.00000000.part'}
    assert (tmp_path / 'photo').read_text() == 'mine'
    atomic_file.remove_leftovers(tmp_path / 'nowhere')
