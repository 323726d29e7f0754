"""The transfer of one file, from servers of our own that are dead, cut it, or send something else."""
import hashlib
import re
import shutil
import threading

import pytest
from fixtures.publisher import Answer, publishing

from yolov3_tf.errors import InputError
from yolov3_tf.fetch import transfer
from yolov3_tf.fetch.transfer import RemoteFile

DATA = bytes(range(256)) * 8
SHA, MD5 = hashlib.sha256(DATA).hexdigest(), hashlib.md5(DATA).hexdigest()
DEAD = 'http://127.0.0.1:9/file'
PAGE = b'<!DOCTYPE html><html>Moved</html>'


@pytest.fixture(name='site')
def a_site(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.setattr(transfer, 'PAUSE', 0.)
    monkeypatch.setattr(transfer, 'TIMEOUT', .5)
    monkeypatch.setattr(transfer, 'LEAST_KEPT', 1)
    with publishing() as publisher:
        yield publisher


def get(site, tmp_path, *names, verify=None, **sums):
    urls = tuple(name if '://' in name else f'{site.address}/{name}' for name in names)
    return transfer.fetch(RemoteFile('file', len(DATA), urls, **sums), str(tmp_path / 'file'), verify)


def test_a_file_is_fetched_once(site, tmp_path, capfd):
    site.answers['a'] = Answer(DATA)
    assert get(site, tmp_path, 'a', sha256=SHA.upper(), md5='not looked at') == str(tmp_path / 'file')
    assert (tmp_path / 'file').read_bytes() == DATA
    assert [entry.name for entry in tmp_path.iterdir()] == ['file']
    error = capfd.readouterr().err
    assert error.count('\n') == 1 and 'file from 127.0.0.1' in error
    get(site, tmp_path, 'a', md5=MD5)
    assert site.requests == [('a', None)]


@pytest.mark.parametrize('first, message', [
    (Answer(b'', 503), '503'), (Answer(PAGE, kind='text/html'), 'got a web page'),
    (Answer(PAGE.ljust(len(DATA))), "got text that begins '<!DOCTYPE html>"),
    (Answer(b'\xef\xbb\xbf\n <HTML>' + DATA, length=False), 'got text that begins'),
    (Answer(b'<?xml version="1.0"?><Error><Code>AccessDenied'.ljust(len(DATA)), kind='text/plain'), 'text that begins'),
    (Answer(DATA[:-1]), 'expected 2,048 bytes, got 2,047'), (Answer(DATA + b'1'), 'got 2,049'),
    (Answer(DATA * 9, length=False), 'got 2,049'), (Answer(DATA[:-1] + b'x'), 'expected SHA256 [0-9a-f]{64}, got'),
    (Answer(DATA, wait=1.), 'timed out'), (Answer(DATA, cut=0), 'got 0: cut off'), (None, 'refused')])
def test_the_next_address_is_tried(site, tmp_path, capfd, first, message):
    """Dead, a page instead of a file, another size, another byte: each is named, and the second address is right."""
    site.answers.update(b=Answer(DATA), **({'a': first} if first else {}))
    get(site, tmp_path, 'a' if first else DEAD, 'b', sha256=SHA)
    assert (tmp_path / 'file').read_bytes() == DATA and not (tmp_path / 'file.part').exists()
    note = capfd.readouterr().err
    assert re.search(f'note: .*{message}', note) and 'the next address is 127.0.0.1' in note


def test_a_transfer_that_is_cut_is_resumed_at_once(site, tmp_path):
    site.answers['a'] = [Answer(DATA, cut=1000), Answer(DATA, cut=500), Answer(DATA)]
    get(site, tmp_path, 'a', sha256=SHA)
    assert (tmp_path / 'file').read_bytes() == DATA
    assert site.requests == [('a', None), ('a', 'bytes=1000-'), ('a', 'bytes=1500-')]


def test_a_part_is_kept_and_resumed_by_the_next_call(site, tmp_path):
    site.answers['a'] = [Answer(DATA, cut=1500), Answer(b'', 500)]
    with pytest.raises(InputError, match='500.*0 MB are kept: the same command goes on from there.*curl -L'):
        get(site, tmp_path, 'a', sha256=SHA)
    assert (tmp_path / 'file.part').read_bytes() == DATA[:1500] and not (tmp_path / 'file').exists()
    site.answers['b'] = Answer(DATA)
    get(site, tmp_path, 'b', sha256=SHA)
    assert site.requests[-1] == ('b', 'bytes=1500-') and (tmp_path / 'file').read_bytes() == DATA


@pytest.mark.parametrize('page', [Answer(PAGE, kind='text/html', ranges=False), Answer(PAGE, ranges=False),
                                  Answer(PAGE.ljust(len(DATA)), ranges=False), Answer(b'', 404)])
def test_a_page_costs_nothing_that_came_before(site, tmp_path, page):
    (tmp_path / 'file.part').write_bytes(DATA[:1999])
    site.answers.update(a=page, b=Answer(DATA))
    get(site, tmp_path, 'a', 'b', sha256=SHA)
    assert site.requests == [('a', 'bytes=1999-'), ('b', 'bytes=1999-')]
    assert (tmp_path / 'file').read_bytes() == DATA


def test_a_server_without_ranges_sends_the_beginning_again(site, tmp_path):
    site.answers['a'] = [Answer(DATA, cut=1000, ranges=False), Answer(DATA, cut=1200, ranges=False),
                         Answer(DATA, ranges=False)]
    get(site, tmp_path, 'a', sha256=SHA)
    assert (tmp_path / 'file').read_bytes() == DATA and len(site.requests) == 3


def test_a_part_of_another_file_is_thrown_away_once(site, tmp_path):
    (tmp_path / 'file.part').write_bytes(b'x' * 100)
    site.answers['a'] = Answer(DATA)
    get(site, tmp_path, 'a', sha256=SHA)
    assert site.requests == [('a', 'bytes=100-'), ('a', None)] and (tmp_path / 'file').read_bytes() == DATA


@pytest.mark.parametrize('size', [0, 10, 3000])
def test_a_part_too_short_or_too_long_is_no_part(site, tmp_path, monkeypatch, size):
    monkeypatch.setattr(transfer, 'LEAST_KEPT', 64)
    (tmp_path / 'file.part').write_bytes(b'x' * size)
    site.answers['a'] = Answer(DATA)
    get(site, tmp_path, 'a', sha256=SHA)
    assert site.requests == [('a', None)]


def test_a_whole_part_is_only_verified(site, tmp_path):
    """A kill between the last byte and the name."""
    (tmp_path / 'file.part').write_bytes(DATA)
    get(site, tmp_path, DEAD, sha256=SHA)
    assert (tmp_path / 'file').read_bytes() == DATA and not site.requests


def test_content_is_verified_beside_size(site, tmp_path):
    def verify(path):
        raise InputError(f'{path}: got nan')

    site.answers.update(a=Answer(DATA), b=Answer(DATA))
    with pytest.raises(InputError, match='got nan; .*got nan'):
        get(site, tmp_path, 'a', 'b', verify=verify)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('content, message', [(DATA[:-1], 'expected 2,048 bytes, got 2,047.*remove it'),
                                              (DATA[:-1] + b'x', 'expected MD5.*remove it')])
def test_another_file_of_that_name_is_left_alone(site, tmp_path, content, message):
    (tmp_path / 'file').write_bytes(content)
    with pytest.raises(InputError, match=message):
        get(site, tmp_path, 'a', md5=MD5)
    assert (tmp_path / 'file').read_bytes() == content and not site.requests


def test_a_full_disk_is_told_before_the_first_byte(site, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
    with pytest.raises(InputError, match='expected 0 MB free for file, got 1 MB: make room'):
        get(site, tmp_path, 'a')
    assert not site.requests


def test_two_processes_do_not_write_one_file(site, tmp_path):
    site.answers['a'] = Answer(DATA, wait=.3)
    first = threading.Thread(target=get, args=(site, tmp_path, 'a'))
    first.start()
    while not site.requests:
        pass
    with pytest.raises(InputError, match='another process fetches it'):
        get(site, tmp_path, 'a')
    first.join()
    assert (tmp_path / 'file').read_bytes() == DATA


def test_a_folder_that_cannot_be_written(site, tmp_path):
    (tmp_path / 'file.part').mkdir()
    with pytest.raises(InputError, match='file: cannot be written: Is a directory'):
        get(site, tmp_path, 'a')
