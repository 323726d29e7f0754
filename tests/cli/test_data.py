"""``yolov3-tf data``: a small set of the published layout, from a server of our own."""
import hashlib
import io
import struct
import tarfile

import pytest
from absl import flags
from fixtures.publisher import Answer, publishing

from yolov3_tf.cli import data
from yolov3_tf.errors import InputError
from yolov3_tf.fetch import published, transfer
from yolov3_tf.fetch.transfer import RemoteFile


def devkit(*numbers):
    """A VOC tar with an image and an annotation for each number."""
    stream = io.BytesIO()
    files = {'ImageSets/Main/test.txt': ''.join(f'{number}\n' for number in numbers).encode()}
    files.update({f'JPEGImages/{number}.jpg': b'image' for number in numbers})
    files.update({f'Annotations/{number}.xml': b'<annotation/>' for number in numbers})
    with tarfile.open(fileobj=stream, mode='w') as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f'VOCdevkit/VOC2007/{name}')
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


TAR = devkit(1, 2)
WEIGHTS = struct.pack('<iiiQ', 0, 2, 0, 0) + struct.pack('<100f', *range(100))


@pytest.fixture(name='site')
def a_site(monkeypatch, tmp_path):
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    monkeypatch.chdir(tmp_path)
    with publishing() as publisher:
        items = dict(published.ITEMS)
        for name, content in (('voc2007-test', TAR), ('yolov3', WEIGHTS)):
            file = RemoteFile(items[name].files[0].name, len(content),
                              ('http://127.0.0.1:9/dead', f'{publisher.address}/{name}'),
                              hashlib.sha256(content).hexdigest())
            publisher.answers[name] = Answer(content)
            items[name] = items[name]._replace(file=file) if items[name].file else items[name]._replace(
                archives=(items[name].archives[0]._replace(file=file, unpacked=10_000),))
        monkeypatch.setattr(data, 'ITEMS', items)
        yield publisher


def run(*arguments):
    values = flags.FlagValues()
    data.define_flags(values)
    words = values(['data', *arguments])[1:]
    return data.run(words, values)


def test_without_a_name_it_lists_all(capsys):
    assert run() == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in published.ITEMS) and max(map(len, printed.splitlines())) <= 80


def test_a_set_is_fetched_unpacked_and_then_left_alone(site, tmp_path, capsys):
    assert run('voc2007-test') == 0
    printed = capsys.readouterr()
    assert 'SHA-256 as published, 5 files unpacked' in printed.out
    assert '--data=voc:VOCdevkit:2007_test' in printed.out and 'the next address is 127.0.0.1' in printed.err
    assert [entry.name for entry in tmp_path.iterdir()] == ['VOCdevkit']
    assert (tmp_path / 'VOCdevkit/VOC2007/JPEGImages/2.jpg').read_bytes() == b'image'
    assert run('voc2007-test', 'voc2007-test') == 0
    assert 'its content is there already' in capsys.readouterr().out and len(site.requests) == 1
    (tmp_path / 'VOCdevkit/VOC2007/JPEGImages/2.jpg').unlink()          # killed while it unpacked
    assert run('voc2007-test', '--keep_archives') == 0
    assert (tmp_path / 'VOCtest_06-Nov-2007.tar').read_bytes() == TAR and len(site.requests) == 2
    (tmp_path / 'VOCdevkit/VOC2007/JPEGImages/2.jpg').unlink()
    assert run('voc2007-test') == 0 and len(site.requests) == 2         # an archive brought by hand is used, and stays
    assert (tmp_path / 'VOCtest_06-Nov-2007.tar').exists()


def test_weights_go_where_training_looks_for_them(site, tmp_path, capsys):
    assert run('yolov3') == 0
    assert (tmp_path / 'weights/yolov3.weights').read_bytes() == WEIGHTS
    assert '--init_weights=coco' in capsys.readouterr().out
    assert run('yolov3') == 0 and 'was there already' in capsys.readouterr().out and len(site.requests) == 1
    assert run('yolov3', '--output=elsewhere') == 0 and (tmp_path / 'elsewhere/yolov3.weights').exists()


def test_an_archive_of_another_set_is_told(site, tmp_path):
    content = devkit()
    site.answers['voc2007-test'] = Answer(content)
    file = data.ITEMS['voc2007-test'].archives[0].file._replace(size=len(content), sha256=None)
    data.ITEMS['voc2007-test'] = data.ITEMS['voc2007-test']._replace(
        archives=(data.ITEMS['voc2007-test'].archives[0]._replace(file=file),))
    with pytest.raises(InputError, match='unpacked 1 files, but the set is not complete'):
        run('voc2007-test')


def test_what_cannot_be_is_said_before_the_first_byte(site, monkeypatch, capsys):
    with pytest.raises(InputError, match="unknown name of published data 'imagenet': expected one of bccd, coco2017"):
        run('voc2007-test', 'imagenet')
    monkeypatch.setattr(transfer, 'LEAST_SPARE', 10 ** 15)
    with pytest.raises(InputError, match='free for 1 archives and what is in them'):
        run('voc2007-test')
    assert not site.requests


def test_ctrl_c_says_how_to_go_on(site, monkeypatch, capsys):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(transfer, 'fetch', stop)
    assert run('yolov3') == 130
    assert 'the same command goes on from here' in capsys.readouterr().err
