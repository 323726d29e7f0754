"""Darknet's lists and annotation files: where they are searched for, what they hold, and every fault."""
import re

import numpy as np
import pytest
from fixtures.darknet_set import write_set

from yolov3_tf.data.readers import darknet, specs
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
    ('fox .5 .5 .1 .1', "unknown class 'fox'.*expected one of cat, dog"),
    ('cat .5 .5', 'expected "class cx cy w h", got'),
    ('1 .5 x .1 .1', "could not convert string to float: 'x'"), ('cat 50 50 9 9', 'are they pixels'),
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
    (tmp_path / 'c.txt').write_bytes(b'\xff0 .5')
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


# What other programs write.

LINE = '1 .5 .5 .2 .4'


@pytest.mark.parametrize('listed', [
    r'obj\a.jpg', r'.\obj\a.jpg', r'C:\darknet\data\obj\a.jpg', '/content/darknet/data/obj/a.jpg', 'data/obj/a.jpg',
    'build/x64/data/obj/a.jpg', '../obj/a.jpg', 'obj/A.JPG'])
def test_lists_of_another_machine(tmp_path, listed):
    path = write_set(tmp_path, {'obj/a.jpg': '', 'obj/a.txt': LINE, 'train.txt': f'{listed}\r\n'})
    dataset = darknet.read(path, strict=True)
    record, = dataset.records
    assert record.image_id == 'a' and record.boxes.shape == (1, 4) and len(dataset.notes) == 1


def test_an_ending_in_upper_case(tmp_path):
    path = write_set(tmp_path, {'a.jpg': '', 'a.TXT': LINE, 'train.txt': 'a.jpg'})
    assert len(darknet.read(path, strict=True).records[0].boxes) == 1


def test_one_image_in_two_spellings_is_used_once(tmp_path):
    path = write_set(tmp_path, {'obj/a.jpg': '', 'obj/a.txt': LINE,
                                'train.txt': 'obj/a.jpg\nobj\\a.jpg\n./obj/a.jpg\n'})
    dataset = darknet.read(path)
    assert len(dataset.records) == 1 and [text.split(': ')[0][-1] for text in dataset.problems] == ['2', '3']


DATA = 'classes = 2\ntrain  = {0}train.txt\nvalid={0}val.txt\nnames = {0}obj.names\n# x\nbackup = backup/\n'


@pytest.mark.parametrize('prefix', ['', 'data/', 'build\\x64\\data\\', '/home/me/data/'])
def test_obj_data_is_followed(tmp_path, prefix):
    write_set(tmp_path, {'obj/a.jpg': '', 'obj/b.jpg': '', 'obj/a.txt': LINE, 'obj/b.txt': LINE,
                         'train.txt': f'{prefix}obj/a.jpg\n', 'val.txt': f'{prefix}obj/b.jpg\n',
                         'obj.data': DATA.format(prefix)})
    for part, name in ('train', 'a'), ('val', 'b'):
        dataset = specs.load(f'darknet:{tmp_path}/obj.data', split=part, strict=True)
        assert [record.image_id for record in dataset.records] == [name] and dataset.class_names == ['cat', 'dog']


@pytest.mark.parametrize('text, message', [
    ('names = obj.names', 'obj.data: expected a line "train = FILE" with the list of images; it has names'),
    ('', 'it has no such lines'), ('train = gone.txt', 'obj.data: train = gone.txt: no such file, neither'),
    ('train = train.txt\nnames = gone', 'names = gone: no such file')])
def test_an_obj_data_that_leads_nowhere(tmp_path, text, message):
    write_set(tmp_path, {'a.jpg': '', 'a.txt': LINE, 'train.txt': 'a.jpg', 'obj.data': text})
    with pytest.raises(InputError, match=message):
        darknet.read(f'{tmp_path}/obj.data')


def test_class_names_in_place_of_numbers(tmp_path):
    files = {'a.jpg': '', 'a.txt': 'dog .5 .5 .2 .4\n0 .5 .5 .2 .2\n"traffic light" .5 .5 .1 .1\n',
             'train.txt': 'a.jpg'}
    path = write_set(tmp_path, files, names='cat\ndog\ntraffic light\n')
    dataset = darknet.read(path, strict=True)
    assert dataset.records[0].classes.tolist() == [1, 0, 2]
    assert '2 objects have their class by name' in dataset.notes[0]
    assert darknet.read(path, classes=['traffic light', 'dog', 'cat']).records[0].classes.tolist() == [1, 2, 0]


def test_class_names_that_no_file_lists(tmp_path):
    files = {'a.jpg': '', 'b.jpg': '', 'a.txt': 'dog .5 .5 .2 .4\nred fox .5 .5 .2 .4\n',
             'b.txt': 'cat .5 .5 .2 .2\n', 'train.txt': 'a.jpg\nb.jpg'}
    path = write_set(tmp_path, files, names=None)
    dataset = darknet.read(path, strict=True)
    assert dataset.class_names == ['cat', 'dog', 'red fox']
    assert [record.classes.tolist() for record in dataset.records] == [[1, 2], [0]]
    (tmp_path / 'b.txt').write_text('1 .5 .5 .2 .2\n')
    assert 'class id 1 where other lines have class names' in darknet.read(path).problems[0]
    (tmp_path / 'obj.names').write_text('bird\nhorse\n')
    (tmp_path / 'b.txt').write_text('cat .5 .5 .2 .2\n')
    with pytest.raises(InputError, match="a.txt:1: unknown class 'dog'.*expected one of bird, horse.*no annotation"):
        darknet.read(path)


@pytest.mark.parametrize('coding', ['utf-16', 'utf-8-sig', 'utf-32'])
def test_codings(tmp_path, coding):
    path = write_set(tmp_path, {'obj/鱼.jpg': '', 'train.txt': ''}, names=None)
    for name, text in (('train.txt', 'obj/鱼.jpg\r\n'), ('obj/鱼.txt', '0 .5 .5 .2 .4\r\n'), ('obj.names', '鱼\r\n')):
        (tmp_path / name).write_bytes(text.encode(coding))
    dataset = darknet.read(path, strict=True)
    assert dataset.class_names == ['鱼'] and len(dataset.records[0].boxes) == 1
