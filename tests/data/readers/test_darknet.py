"""Darknet's lists and annotation files: where they are searched for, what they hold, and every fault."""
import re

import numpy as np
import pytest
from fixtures.darknet_set import write_set

from yolov3_tf.data.readers import darknet
from yolov3_tf.errors import InputError


def test_shares_become_pixels_of_a_image_that_is_not_square(tmp_path):
    path = write_set(tmp_path, {'a.jpg': '', 'a.txt': '1 .5 .5 .2 .4\n\n0 0.25 0.5 0.5 1\r\n', 'train.txt': 'a.jpg\n'})
    dataset = darknet.read(path)
    record, = dataset.records
    # .5 +- .1 of 100 and .5 +- .2 of 50; .25 +- .25 of 100 and .5 +- .5 of 50
    np.testing.assert_allclose(record.boxes, [[40, 15, 60, 35], [0, 0, 50, 50]], atol=1e-4)
    assert [dataset.class_names[index] for index in record.classes] == ['dog', 'cat']
    assert (record.width, record.height, record.image_id) == (100, 50, 'a') and not dataset.problems
    assert record.annotation_file == str(tmp_path / 'a.txt') and record.annotation_lines.tolist() == [1, 3]


def test_annotations_are_found_in_the_folder_labels_or_beside(tmp_path):
    line = '0 .5 .5 .{} .1\n'
    path = write_set(tmp_path, {
        'images/train/a.jpg': '', 'labels/train/a.txt': line.format(2), 'images/train/a.txt': line.format(9),
        'VOC/JPEGImages/b.png': '', 'VOC/labels/b.txt': line.format(3), 'images/c.jpg': '',
        'images/c.txt': line.format(4), 'train.txt': 'images/train/a.jpg\nVOC/JPEGImages/b.png\n./images/c.jpg\n'})
    widths = [record.boxes[0, 2] - record.boxes[0, 0] for record in darknet.read(path).records]
    np.testing.assert_allclose(widths, [20, 30, 40], atol=1e-3)
    assert darknet.annotation_files('/d/images/images/x.y.jpg') == [
        '/d/images/labels/x.y.txt', '/d/images/images/x.y.txt']


@pytest.mark.parametrize('images', ['images', 'JPEGImages'])
def test_annotations_are_found_from_within_the_folder(tmp_path, monkeypatch, images):
    write_set(tmp_path, {f'{images}/train/a.jpg': '', 'labels/train/a.txt': '0 .5 .5 .2 .1\n',
                         'train.txt': f'{images}/train/a.jpg\n'})
    monkeypatch.chdir(tmp_path)
    record, = darknet.read('train.txt').records
    assert record.image_path == f'{images}/train/a.jpg' and record.annotation_file == 'labels/train/a.txt'
    assert darknet.annotation_files('myimages/a.jpg') == ['myimages/a.txt']


def test_paths_from_the_lists_folder_else_from_here(tmp_path, monkeypatch):
    path = write_set(tmp_path, {'data/a.jpg': '', 'data/a.txt': '0 .5 .5 .1 .1', 'train.txt': ''})
    (tmp_path / 'data' / 'train.txt').write_text('data/a.jpg\n')
    monkeypatch.chdir(tmp_path)
    assert darknet.read('data/train.txt').records[0].image_path == 'data/a.jpg'
    (tmp_path / 'train.txt').write_text('data/a.jpg\n')
    monkeypatch.chdir('/')
    assert darknet.read(path).records[0].image_path == str(tmp_path / 'data/a.jpg')


@pytest.mark.parametrize('line, message', [
    ('0 .5 .5 .1', 'expected "class cx cy w h" or an outline of three points or more, got 4 numbers'),
    ('0 .5 .5 .1 .1 .9', 'outline of three points or more, got 6 numbers'),
    ('0 .1 .1 .2 .2 nan .1', 'not finite pixels; object dropped'), ('0 .1 .1 .2 .1 .3 .1', 'has no area'),
    ('cat .5 .5 .1 .1', "could not convert string to float: 'cat'"),
    ('0 50 50 20 20', 'expected fractions of the image from 0 to 1, got 50 50 20 20; are they pixels'),
    ('-1 .5 .5 .1 .1', 'expected a class id from 0'), ('.5 .5 .5 .1 .1', 'expected a class id'),
    ('nan .5 .5 .1 .1', 'expected a class id'), ('0 nan .5 .1 .1', 'not finite pixels; object dropped'),
    ('0 .5 .5 0 .1', 'has no area; object dropped'), ('0 .5 .5 -.1 .1', 'swapped; put in order'),
    ('0 .95 .5 .2 .1', 'reaches outside the 100x50 image; clipped'), ('0 1.5 .5 .1 .1', 'lies outside')])
def test_a_bad_line_is_reported_with_file_and_line(tmp_path, line, message):
    path = write_set(tmp_path, {'a.jpg': '', 'a.txt': f'1 .5 .5 .1 .1\n{line}\n', 'train.txt': 'a.jpg\n'})
    dataset = darknet.read(path)
    problem, = dataset.problems
    assert problem.startswith(f'{tmp_path}/a.txt:2: ') and re.search(message, problem)
    assert dataset.records[0].classes[0] == 1
    with pytest.raises(InputError, match='a.txt:2: .*--strict'):
        darknet.read(path, strict=True)


def test_an_outline_gives_its_box(tmp_path):
    """x from .2 to .6 of 100 pixels, y from .1 to .5 of 50."""
    path = write_set(tmp_path, {'a.jpg': '', 'a.txt': '1 .2 .3 .4 .1 .6 .5\n', 'train.txt': 'a.jpg\n'})
    record, = darknet.read(path, strict=True).records
    np.testing.assert_allclose(record.boxes, [[20, 5, 60, 25]], rtol=1e-6)
    assert record.classes.tolist() == [1]


def test_images_without_annotations_and_annotations_that_are_no_text(tmp_path):
    path = write_set(tmp_path, {'a.jpg': '', 'a.txt': '', 'b.jpg': '', 'c.jpg': '', 'c.txt': '', 'd.txt': '',
                                'train.txt': 'a.jpg\nb.jpg\nc.jpg\nnone.jpg\na.jpg\nd.txt\n'})
    (tmp_path / 'c.txt').write_bytes(b'\xff\xfe0 .5')
    dataset = darknet.read(path)
    assert [len(record.boxes) for record in dataset.records] == [0, 0, 0]
    for found, message in zip(dataset.problems, [
            'train.txt:4: no image .*none.jpg', 'train.txt:5: a.jpg is listed already',
            r'b.jpg: no annotation file .*b.txt; taken as without objects', 'c.txt:1: expected UTF-8 text.*left out',
            'd.txt: expected a JPEG']):
        assert re.search(message, found)


def test_class_names_beside_given_or_none(tmp_path):
    files = {'a.jpg': '', 'a.txt': '1 .5 .5 .1 .1', 'train.txt': 'a.jpg'}
    path = write_set(tmp_path, files)
    assert darknet.read(path).class_names == ['cat', 'dog']
    assert darknet.read(path, classes=['x', 'dog', 'cat']).records[0].classes.tolist() == [1]
    assert darknet.read(path, classes=['dog', 'cat']).records[0].classes.tolist() == [0]
    (tmp_path / 'other').write_text('p\nq\n')
    assert darknet.read(path, str(tmp_path / 'other')).class_names == ['p', 'q']
    (tmp_path / 'obj.names').unlink()
    assert darknet.read(path).class_names == ['0', '1']
    with pytest.raises(InputError, match=r'a.txt:1: class id 1, but there are 1 class names \(x\)'):
        darknet.read(path, classes=['x'])


def test_sets_that_are_of_no_use(tmp_path):
    path = write_set(tmp_path, {'a.jpg': '', 'train.txt': 'a.jpg\n'})
    with pytest.raises(InputError, match='none of the 1 images has an annotation file; tried .*a.txt for the first'):
        darknet.read(path)
    (tmp_path / 'train.txt').write_text('')
    with pytest.raises(InputError, match='no usable line.*it is empty'):
        darknet.read(path)
    (tmp_path / 'train.txt').write_text('gone.jpg')
    with pytest.raises(InputError, match='no usable line.*train.txt:1: no image'):
        darknet.read(path)
    (tmp_path / 'train.txt').write_text('obj.names')
    with pytest.raises(InputError, match='no usable image; the first problem: .*obj.names: expected a JPEG'):
        darknet.read(path)
