"""The part of YAML that a data.yaml needs, and the folders and lists it leads to."""
import os
import re
import shutil

import cv2
import numpy as np
import pytest
from fixtures.darknet_set import write_set

from yolov3_tf.data.readers import yolo
from yolov3_tf.errors import InputError

COCO128 = """# COCO128 dataset (first 128 images from COCO train2017)
path: data  # dataset root dir
train: images/train
val: images/val
test: # test images (optional)

# Classes
names:
  0: person
  1: "traffic: light"
  2: 'driver''s seat'

# Download script/URL (optional)
download: |
  from pathlib import Path
\tif True: {x}
"""
ROBOFLOW = """train: ../images/train
val: [images/val, more.txt]

nc: 3
names: ['person', 'traffic: light', "driver's seat"]

roboflow:
  workspace: some
  project: &anchor
"""
IMAGES = {'images/train/sub/a.jpg': '', 'labels/train/sub/a.txt': '2 .5 .5 .1 .1', 'images/train/b.png': '',
            'images/val/a.jpg': '', 'labels/val/a.txt': '0 .5 .5 .1 .1', 'images/c.jpg': '', 'labels/c.txt': ''}
NAMES = ['person', 'traffic: light', "driver's seat"]


@pytest.mark.parametrize('text, root', [(COCO128, 'data/'), (ROBOFLOW, '')])
def test_published_forms(tmp_path, text, root):
    write_set(tmp_path, {root + name: value for name, value in IMAGES.items()}, names=None)
    (tmp_path / 'more.txt').write_text('images/c.jpg\nimages/val/a.jpg\n')
    path = tmp_path / 'd.yaml'
    path.write_text(text)
    train = yolo.read(str(path), 'train')
    assert train.class_names == NAMES
    assert [record.image_id for record in train.records] == ['b', 'a']
    assert train.records[1].image_path == str(tmp_path / root / 'images/train/sub/a.jpg')
    assert train.records[1].classes.tolist() == [2]
    assert len(train.problems) == 1 and 'b.png: no annotation file' in train.problems[0]
    assert len(yolo.read(str(path), 'val').records) == (1 if root else 2)
    with pytest.raises(InputError, match="no split 'test'; there are: train, val"):
        yolo.read(str(path), 'test')
    np.testing.assert_array_equal(yolo.read(str(path), 'train', NAMES[::-1]).records[1].classes, [0])


@pytest.mark.parametrize('text, names', [
    ('names: [a, b c, "d,e"]', ['a', 'b c', 'd,e']), ("names: {0: a, 1: 'b: c'}", ['a', 'b: c']),
    ('names:\n- a\n- "b#c" # comment', ['a', 'b#c']), ("names: [it's, b#c,]", ["it's", 'b#c']),
    ('names: [a,\n  b,  # c\n\n "d]"\n  ]', ['a', 'b', 'd]']), ('names:\n  [a,\n   b]', ['a', 'b']),
    ('names: {0: a,\n  1: b}', ['a', 'b']), ('names: [\na\n]', ['a']),
    (r'names: ["caf\xE9", "\u9c7c"]', ['café', '鱼']),
    ('names:\n    - a', ['a']), ('\ufeff---\nnames: [a]\n...', ['a']), ("'names': [ü]", ['ü'])])
def test_ways_to_write_names(tmp_path, text, names):
    path = tmp_path / 'd.yaml'
    path.write_text(text, encoding='utf-8')
    value = yolo.parse(str(path))['names'][1]
    assert (list(value.values()) if isinstance(value, dict) else value) == names


@pytest.mark.parametrize('text, message', [
    ('names: *all', ':1: expected plain or quoted text'), ('names: !!python/object:os [x]', ':1: expected plain'),
    ('names: [[a]]', ':1: expected values separated'), ('names: [a, b', ':1: expected plain'),
    ('names: [a,\n  b\ntrain: x', ':1: expected plain'),
    ('names: |\n  a', ':1: expected plain'), ('names:\n  a: b', ":2: expected a class id, got 'a'"),
    ('names:\n  0: a\n  0: b', ':3: the number 0 is there twice'), ('names:\n  0: a\n   1: b', 'indented '),
    ('names:\n\t- a', ':2: tabs'), ('names: [a]\nnames: [b]', ":2: the key 'names' is there twice"),
    ('hello', ':1: expected "key: value"'), ('- a', ':1: expected "key: value"'), ('<<: x', ':1: expected "key'),
    ('names: [a, ""]', "a name is empty"), ('names: [a, a]', "class 'a' is there twice"),
    ('names: a', ':1: expected names as a list'), ('names: {1: a}', 'numbered from 0 to 0 without a gap'),
    ('nc: 2\nnames: [a]', ':1: nc is 2, but there are 1 names'), ('train: x', 'expected the key names'),
    ('names: [a]', "no split 'train'; there are: none"), ('names: [a]\ntrain: no', ':2: no folder or list'),
    ('names: [a]\ntrain: d.yaml', ':2: expected a folder or a .txt list'), ('names: [a]\ntrain: .', ':2: no images'),
    ('names: [a]\ntrain: {0: x}', ':2: expected the split as the path'),
    ('names: [a]\npath: [x]\ntrain: x', 'expected path')])
def test_what_goes_beyond_is_refused_by_line(tmp_path, text, message):
    path = tmp_path / 'd.yaml'
    path.write_text(text, encoding='utf-8')
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        yolo.read(str(path), 'train')
    assert str(caught.value).startswith(str(path))


def test_names_that_are_not_text_are_reported_and_left_out(tmp_path):
    write_set(tmp_path, {'images/a.jpg': '', 'labels/a.txt': '0 .5 .5 .1 .1', 'd.yaml': 'names: [x]\ntrain: images'})
    odd = os.fsencode(tmp_path / 'images') + b'/caf\xe9.jpg'
    try:
        shutil.copy(tmp_path / 'images/a.jpg', odd)
    except OSError:
        pytest.skip('this disk takes no such name')
    dataset = yolo.read(f'{tmp_path}/d.yaml', 'train')
    assert [record.image_id for record in dataset.records] == ['a']
    problem, = dataset.problems
    assert problem.encode().startswith(f"{tmp_path}/d.yaml:2: image 'caf\\udce9.jpg': its name is not".encode())
    with pytest.raises(InputError, match='rename it; .*--strict'):
        yolo.read(f'{tmp_path}/d.yaml', 'train', strict=True)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match='none.yaml: cannot be read'):
        yolo.read(f'{tmp_path}/none.yaml', 'train')
    (tmp_path / 'd.yaml').write_bytes(b'names: [\xff]')
    with pytest.raises(InputError, match='d.yaml:1: expected UTF-8'):
        yolo.read(f'{tmp_path}/d.yaml', 'train')
    (tmp_path / 'd.yaml').write_bytes(b'a' * (yolo.LARGEST_FILE + 1))
    with pytest.raises(InputError, match='expected at most'):
        yolo.read(f'{tmp_path}/d.yaml', 'train')


# What other programs write.

SET = {'train/images/a.jpg': '', 'train/labels/a.txt': '0 .5 .5 .2 .4', 'valid/images/b.jpg': '',
       'valid/labels/b.txt': '0 .5 .5 .2 .4'}


@pytest.mark.parametrize('text', [
    'train: train/images\nvalid: valid/images', 'train: train/images\nvalidation: valid/images\nval:',
    'path: .\ntrain: train\\images\nval: valid\\images', 'train: "train\\images"\nval: "valid\\\\images"',
    'path: /content/drive/MyDrive/fish\ntrain: train/images\nval: valid/images',
    'path: C:\\Users\\me\\fish\ntrain: train/images\nval: valid/images',
    'path: ../datasets/fish\ntrain: train\nval: valid',
    'train: /content/fish/train/images\nval: /content/fish/valid/images',
    "train: 'D:\\fish\\train\\images'\nval: 'D:\\fish\\valid\\images'",
    'train: ../fish/train/images\nval: ../fish/valid/images', 'train: Train/Images\nval: Valid/images'])
def test_paths_of_another_machine(tmp_path, text):
    write_set(tmp_path, {**SET, 'data.yaml': f'{text}\nnames: [fish]\n'}, names=None)
    for split, name in ('train', 'a'), ('val', 'b'), ('valid', 'b'):
        dataset = yolo.read(f'{tmp_path}/data.yaml', split, strict=True)
        assert [record.image_id for record in dataset.records] == [name] and len(dataset.records[0].boxes) == 1


def test_two_splits_are_never_read_from_one_folder_by_repair(tmp_path):
    write_set(tmp_path, {'images/a.jpg': '', 'labels/a.txt': '0 .5 .5 .2 .4', 'data.yaml':
                         'train: /content/train/images\nval: /content/valid/images\nnames: [fish]\n'})
    with pytest.raises(InputError, match='data.yaml:1: train .* is not here, and both it and val'):
        yolo.read(f'{tmp_path}/data.yaml', 'train')
    (tmp_path / 'data.yaml').write_text('train: images\nval: images\nnames: [fish]\n')
    assert len(yolo.read(f'{tmp_path}/data.yaml', 'val').records) == 1


@pytest.mark.parametrize('coding', ['utf-16', 'utf-8-sig', 'utf-16-be', 'gbk'])
def test_codings(tmp_path, coding):
    write_set(tmp_path, SET, names=None)
    text = f'# coding: {coding}\ntrain: train/images\nnames: [鱼]\n'
    (tmp_path / 'data.yaml').write_bytes(text.encode(coding))
    assert yolo.read(f'{tmp_path}/data.yaml', 'train', strict=True).class_names == ['鱼']


def test_images_that_are_not_read_are_named_by_their_ending(tmp_path):
    write_set(tmp_path, {'images/a.txt': '', 'data.yaml': 'train: images\nnames: [fish]\n'}, names=None)
    for name in 'a.heic', 'b.HEIC':
        (tmp_path / 'images' / name).touch()
    with pytest.raises(InputError, match='no images in train: images; .*2 .heic files are there, which are not read'):
        yolo.read(f'{tmp_path}/data.yaml', 'train')


@pytest.mark.parametrize('ending', ['.webp', '.tif', '.TIFF'])
def test_webp_and_tiff(tmp_path, ending):
    write_set(tmp_path, {'labels/a.txt': '0 .5 .5 .2 .4', 'data.yaml': 'train: images\nnames: [fish]\n'}, names=None)
    (tmp_path / 'images').mkdir()
    cv2.imwrite(f'{tmp_path}/images/a{ending}', np.zeros([50, 100, 3], np.uint8))
    record, = yolo.read(f'{tmp_path}/data.yaml', 'train', strict=True).records
    np.testing.assert_allclose(record.boxes, [[40, 15, 60, 35]], atol=1e-4)
