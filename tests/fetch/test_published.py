"""The table of published files, against figures from elsewhere; and that nothing else asks the network."""
import ast
import pathlib
import re
import urllib.parse

import pytest

from yolov3_tf.fetch import published
from yolov3_tf.fetch.published import ITEMS

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_sums_have_their_length_and_addresses_their_file():
    for item in ITEMS.values():
        for file in item.files:
            assert file.size > 0 and len(set(file.urls)) == len(file.urls) and file.urls[0].startswith('https://')
            assert re.fullmatch('[0-9a-f]{64}', file.sha256 or '0' * 64)
            assert re.fullmatch('[0-9a-f]{32}', file.md5 or '0' * 32)
            assert len(file.urls) > 1 or not file.sha256
    assert [file.name for item in ITEMS.values() for file in item.files if not file.sha256] == ['darknet53.conv.74']


def test_sizes_are_those_of_the_issue():
    """VOC about 2.8 GB (GiB: 2.7), weights as darknet's author lists them."""
    assert ITEMS['voc'].size == 460_032_000 + 451_020_800 + 1_999_639_040
    assert ITEMS['yolov3'].file.sha256 == '523e4e69e1d015393a1b0a441cef1d9c7659e3eb2d7e15f793f060a21b32f297'
    assert {file.name: file.md5 for file in ITEMS['voc'].files} == {    # torchvision/datasets/voc.py
        'VOCtrainval_06-Nov-2007.tar': 'c52e279531787c972589f7e41ab4ae64',
        'VOCtest_06-Nov-2007.tar': 'b6e924de25625d8de591ea690078ad9f',
        'VOCtrainval_11-May-2012.tar': '6cd6e144f989b92b3379bac3b3de84fd'}


@pytest.mark.parametrize('name, kept', [
    ('BCCD_Dataset-1.0.zip', ['BCCD/JPEGImages/BloodImage_00000.jpg', 'LICENSE']),
    ('annotations_trainval2017.zip', ['annotations/instances_val2017.json']),
    ('val2017.zip', ['val2017/000000000139.jpg'])])
def test_what_is_taken_out(name, kept):
    """Names in the published archives; captions, key points and images of the repository's page are left."""
    archive = next(one for item in ITEMS.values() for one in item.archives if one.file.name == name)
    names = ['BCCD_Dataset-1.0/BCCD/JPEGImages/BloodImage_00000.jpg', 'BCCD_Dataset-1.0/LICENSE',
             'BCCD_Dataset-1.0/example.jpg', 'annotations/instances_val2017.json', 'annotations/captions_val2017.json',
             'val2017/000000000139.jpg']
    inside = [one[len(archive.within):] for one in names if one.startswith(archive.within)]
    assert [one for one in inside if re.match(archive.only, one)] == kept


def test_a_voc_set_is_there_when_every_listed_image_is(tmp_path):
    root = tmp_path / 'VOCdevkit/VOC2007'
    for folder in ('ImageSets/Main', 'JPEGImages', 'Annotations'):
        (root / folder).mkdir(parents=True)
    (archive,) = ITEMS['voc2007-test'].archives
    assert not archive.is_there(str(tmp_path))
    (root / 'ImageSets/Main/test.txt').write_text('000001\n000002\n')
    for number in (1, 2):
        assert not archive.is_there(str(tmp_path))
        (root / f'JPEGImages/00000{number}.jpg').touch()
        (root / f'Annotations/00000{number}.xml').touch()
    assert archive.is_there(str(tmp_path))
    assert not ITEMS['voc'].archives[0].is_there(str(tmp_path))
    (root / 'JPEGImages/000002.jpg').rename(root / 'JPEGImages/000002.jpg.part')
    assert not archive.is_there(str(tmp_path))


def test_a_folder_is_there_when_it_has_its_files(tmp_path):
    (tmp_path / 'val').mkdir()
    for name in ('a.jpg', 'b.jpg.part'):
        (tmp_path / 'val' / name).touch()
    assert published.files_are_there(str(tmp_path), 'val', 1)
    assert not published.files_are_there(str(tmp_path), 'val', 2)
    assert not published.files_are_there(str(tmp_path), 'none', 1)
    assert published.files_are_there(str(tmp_path), 'val/a.jpg', 1)


def test_only_the_transfer_opens_addresses_and_security_names_their_hosts():
    """SECURITY.md: no network, but for these hosts."""
    users = []
    for path in (ROOT / 'yolov3_tf').rglob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            names = ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                     [node.module or ''] if isinstance(node, ast.ImportFrom) else [])
            if any(re.match(r'(urllib\.request|http\.client|requests|httpx|ftplib|socket)\b', name) for name in names):
                users.append(path.relative_to(ROOT).as_posix())
    assert set(users) <= {'yolov3_tf/fetch/transfer.py', 'yolov3_tf/training/distribution.py'}
    hosts = {urllib.parse.urlsplit(url).netloc for item in ITEMS.values() for file in item.files for url in file.urls}
    text = (ROOT / 'SECURITY.md').read_text(encoding='utf-8')
    sentence = re.search(r'\*\*No network\*\*.*?(?=\n\* |\n\n)', text, flags=re.DOTALL)[0]
    assert set(re.findall(r'`([\w.-]+\.(?:com|uk|org))`', sentence)) == hosts
    for words in ('yolov3-tf data NAME', '--download', 'size', 'checksum', 'absolute path', 'links'):
        assert words in sentence, words
