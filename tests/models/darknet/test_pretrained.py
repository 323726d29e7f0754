"""pretrained: what a publisher's server may send, played by a server of our own on this machine."""
import functools
import http.server
import struct
import threading
import time

import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.fetch import transfer
from yolov3_tf.fetch.transfer import RemoteFile
from yolov3_tf.models.darknet.pretrained import BACKBONE, PUBLISHED, WHOLE, fetch, locate_backbone, locate_whole

HEADER = struct.pack('<iiiQ', 0, 2, 0, 0)
GOOD = HEADER + struct.pack('<100f', *range(100))


class Publisher(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; some names misbehave."""

    def do_GET(self):
        name = self.path.strip('/')
        if name in ('cut_off', 'endless', 'silent'):
            self.send_response(200)
            if name == 'cut_off':
                self.send_header('Content-Length', str(len(GOOD)))
            self.end_headers()
            self.wfile.write(GOOD[:100] if name == 'cut_off' else GOOD * (50 if name == 'endless' else 0))
            if name == 'silent':
                time.sleep(1)
        else:
            super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    """(folder, its address)"""
    folder = tmp_path_factory.mktemp('served')
    handler = functools.partial(Publisher, directory=str(folder))
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv('no_proxy', '127.0.0.1')


def test_what_is_published():
    sizes = {'darknet53.conv.74': 162_482_580, 'yolov3.weights': 248_007_048, 'yolov3-tiny.weights': 35_434_956}
    assert {name: file.size for name, file in PUBLISHED.items()} == sizes
    assert all(file.name == name and file.urls[0] == f'https://data.pjreddie.com/files/{name}'
               for name, file in PUBLISHED.items())


def test_fetches_a_file_of_the_published_size(served, tmp_path, capfd):
    folder, address = served
    size = PUBLISHED[BACKBONE].size
    with open(folder / BACKBONE, 'wb') as file:     # all zeros but the header; takes no space on the disk
        file.write(HEADER)
        file.truncate(size)
    published = {BACKBONE: RemoteFile(BACKBONE, size, (f'{address}/{BACKBONE}',))}
    path = locate_backbone('imagenet', True, tmp_path / 'weights', published)
    assert path == str(tmp_path / 'weights' / BACKBONE)
    assert (tmp_path / 'weights' / BACKBONE).stat().st_size == size
    assert [entry.name for entry in (tmp_path / 'weights').iterdir()] == [BACKBONE]
    assert capfd.readouterr().err.strip().endswith('162 of 162 MB')
    (folder / BACKBONE).unlink()
    # It is there now: found without a server, with and without --download.
    assert locate_backbone('imagenet', True, tmp_path / 'weights', published) == path
    assert locate_backbone('imagenet', False, tmp_path / 'weights', published) == path


BAD = {
    'short': (GOOD[:-4], 'expected 420 bytes, got 416'),
    'long': (GOOD + bytes(4), 'expected 420 bytes, got 424'),
    'page.html': (b'<html>' + b' ' * (len(GOOD) - 6), 'got a web page'),
    'text': (b'<html>' + b' ' * (len(GOOD) - 6), "got text that begins '<html>"),
    'nan': (GOOD[:-4] + struct.pack('<f', float('nan')), 'got nan as float 99'),
    'version': (struct.pack('<iiiQ', 77_777, 2, 0, 0) + GOOD[20:], 'got 77777.2.0'),
    'missing': (None, '404'),
    'cut_off': (None, 'expected 420 bytes, got 100'),
    'endless': (None, 'expected 420 bytes, got 421'),
    'silent': (None, 'timed out'),
}


@pytest.mark.parametrize('name', BAD)
def test_what_is_not_the_file_is_refused_and_leaves_nothing(served, tmp_path, monkeypatch, name):
    folder, address = served
    content, message = BAD[name]
    if content is not None:
        (folder / name).write_bytes(content)
    monkeypatch.setattr(transfer, 'TIMEOUT', .2)
    with pytest.raises(InputError, match=message) as caught:
        fetch(BACKBONE, tmp_path / 'weights', {BACKBONE: RemoteFile(BACKBONE, len(GOOD), (f'{address}/{name}',))})
    by_hand = f'curl -L --create-dirs -o {tmp_path / "weights" / BACKBONE} {address}/{name}'
    assert by_hand in str(caught.value) and '\n' not in str(caught.value)
    assert not list((tmp_path / 'weights').iterdir())


def test_no_network(tmp_path):
    with pytest.raises(InputError, match='refused.*curl'):
        fetch(BACKBONE, tmp_path, {BACKBONE: RemoteFile(BACKBONE, 420, ('http://127.0.0.1:9/x',))})
    with pytest.raises(InputError, match='unknown published weights.*darknet53.conv.74, yolov3-tiny.weights, yolov3'):
        fetch('darknet19', tmp_path)


def test_missing_backbone_explains_what_to_do(tmp_path):
    with pytest.raises(InputError) as caught:
        locate_backbone('imagenet', folder=tmp_path)
    for part in (str(tmp_path / BACKBONE), '162,482,580 bytes', '--download', '--backbone_weights=none',
                 f'curl -L --create-dirs -o {tmp_path / BACKBONE} https://data.pjreddie.com/files/{BACKBONE}'):
        assert part in str(caught.value)


def test_file_that_is_there_is_never_overwritten(served, tmp_path):
    (tmp_path / BACKBONE).write_bytes(b'cut off')
    for download in (False, True):
        with pytest.raises(InputError, match='expected 162,482,580 bytes, got 7'):
            locate_backbone('imagenet', download, tmp_path)
    with pytest.raises(InputError, match='expected 162,482,580 bytes, got 7'):
        fetch(BACKBONE, tmp_path)
    assert (tmp_path / BACKBONE).read_bytes() == b'cut off'


def test_other_choices(tmp_path):
    (tmp_path / 'mine.conv').write_bytes(GOOD)
    assert locate_backbone('none') is None
    assert locate_backbone(str(tmp_path / 'mine.conv')) == str(tmp_path / 'mine.conv')
    with pytest.raises(InputError, match='imagenet, none, or the path'):
        locate_backbone(str(tmp_path / 'imagnet'))


def test_coco_names_the_whole_network(served, tmp_path):
    folder, address = served
    (folder / WHOLE).write_bytes(GOOD)
    published = {WHOLE: RemoteFile(WHOLE, len(GOOD), ('http://127.0.0.1:9/x', f'{address}/{WHOLE}'))}
    with pytest.raises(InputError, match=r'--init_weights=coco: expected .*yolov3.weights \(420 bytes\).*--download'):
        locate_whole('coco', False, tmp_path, published)
    path = locate_whole('coco', True, tmp_path, published)
    assert path == str(tmp_path / WHOLE) == locate_whole('coco', False, tmp_path, published)
    assert (tmp_path / WHOLE).read_bytes() == GOOD
    assert locate_whole('mine.h5', True) == 'mine.h5'
    (tmp_path / WHOLE).write_bytes(GOOD[:-1])
    with pytest.raises(InputError, match='expected 420 bytes, got 419'):
        locate_whole('coco', True, tmp_path, published)
