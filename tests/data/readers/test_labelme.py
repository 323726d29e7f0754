"""LabelMe: the box of each kind of shape, groups, and every wrong shape."""
import json
import re

import numpy as np
import pytest
from fixtures.labelled_folders import write_image, write_text

from yolov3_tf.data.readers import labelme, specs
from yolov3_tf.errors import InputError


def shape(points, kind='polygon', label='cat', **more):
    return {'label': label, 'points': points, 'shape_type': kind, **more}


def write(folder, *shapes, name='a.json', size=(100, 50), path='a.jpg', image='a.jpg'):
    write_image(folder, image)
    write_text(folder, name, json.dumps({'imagePath': path, 'imageWidth': size[0], 'imageHeight': size[1],
                                         'shapes': list(shapes)}))
    return str(folder)


@pytest.mark.parametrize('points, kind, box', [
    ([[30, 40], [1.5, 2]], 'rectangle', [1.5, 2, 30, 40]),
    ([[1, 2], [30, 2], [30, 40], [1, 40]], 'rectangle', [1, 2, 30, 40]),
    ([[5, 2], [30, 9], [1, 40]], 'polygon', [1, 2, 30, 40]),
    ([[40, 25], [43, 29]], 'circle', [35, 20, 45, 30]), ([[1, 2], [30, 40]], 'mask', [1, 2, 30, 40]),
    ([[1, 2], [20, 9], [30, 40]], 'linestrip', [1, 2, 30, 40])])
def test_the_box_around_a_shape(tmp_path, points, kind, box):
    dataset = labelme.read(write(tmp_path, shape(points, kind)))
    np.testing.assert_allclose(dataset.records[0].boxes, [box])
    assert dataset.class_names == ['cat'] and dataset.problems == []


def test_a_group_is_one_object(tmp_path):
    left, right, other = ([[x, 5], [x + 9, 5], [x, 20]] for x in (1, 30, 60))
    dataset = labelme.read(write(tmp_path, shape(left, group_id=1), shape(right, group_id=1), shape(other, group_id=2),
                                 shape(other, group_id=1, label='emu'), shape(left, group_id=None, difficult=True)))
    assert dataset.records[0].boxes.tolist() == [[1, 5, 39, 20], [60, 5, 69, 20], [60, 5, 69, 20], [1, 5, 10, 20]]
    assert dataset.records[0].difficult.tolist() == [False, False, False, True]
    assert dataset.class_names == ['cat', 'emu']


@pytest.mark.parametrize('wrong, message', [
    (shape([[1, 2]], 'point'), "shape 2 'cat': box .* has no area; object dropped"),
    (shape([]), 'expected points'), (shape([[1, 'x'], [2, 3]]), 'expected points'), (shape(None), 'expected points'),
    (shape([[1, 2]], 'circle'), 'centre and edge of a circle, got 1 points'),
    (shape([[1, 2], [3, 4]], label=' '), 'shape 2 has no label'), ('x', 'shape 2 has no label'),
    (shape([[1, 2], [300, 40]]), 'reaches outside the 100x50 image; clipped')])
def test_a_wrong_shape_is_named(tmp_path, wrong, message):
    folder = write(tmp_path, shape([[1, 2], [30, 40]]), wrong)
    dataset = labelme.read(folder)
    assert dataset.records[0].boxes[0].tolist() == [1, 2, 30, 40] and len(dataset.problems) == 1
    assert re.search(f'a.json: .*{message}|a.json: {message}', dataset.problems[0])
    with pytest.raises(InputError, match='--strict'):
        labelme.read(folder, strict=True)


def test_sizes_that_are_not_there_are_those_of_the_image(tmp_path):
    record, = labelme.read(write(tmp_path, shape([[1, 2], [30, 40]]), size=(None, 'x'))).records
    assert (record.width, record.height) == (100, 50)


def test_the_image_by_its_stem_then_by_image_path(tmp_path):
    write(tmp_path, shape([[1, 2], [30, 40]]), path='..\\pics\\b 1.jpg', image='pics/b 1.jpg')
    assert labelme.read(str(tmp_path)).records[0].image_path == str(tmp_path / 'pics/b 1.jpg')
    write_image(tmp_path, 'a.png')
    dataset = labelme.read(str(tmp_path))
    assert dataset.records[0].image_path == str(tmp_path / 'a.png')
    assert '1 of 2 images have no annotation file' in dataset.notes[0]


def test_other_json_and_a_second_file_of_an_image_are_left_out(tmp_path):
    folder = write(tmp_path, shape([[1, 2], [30, 40]]))
    write(tmp_path, shape([[1, 2], [30, 40]]), name='old/a.json')
    write_text(tmp_path, 'x.json', '{"a": 1}')
    write_text(tmp_path, 'y.json', '{')
    dataset = labelme.read(folder)
    assert len(dataset.records) == 1 and len(dataset.problems) == 3
    assert all(any(words in problem for problem in dataset.problems) for words in (
        'has the annotation file', 'x.json: expected a LabelMe file', 'y.json:1: not JSON'))


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match='no annotation file in it; expected files .*json'):
        specs.load(f'labelme:{tmp_path}')
    with pytest.raises(InputError, match='none: no such folder'):
        specs.load(f'labelme:{tmp_path}/none')
    write_text(tmp_path, 'a.json', '{"shapes": []}')
    with pytest.raises(InputError, match='no usable image; the first problem: .*no image a in its folder'):
        specs.load(f'labelme:{tmp_path}')
