"""The reference's annotation lists, both directions and every fault."""
import os
import re
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3_tf.data.readers import class_files, faults, lists, voc
from yolov3_tf.errors import InputError


def write_list(folder, *lines, images=('a.jpg', 'b.jpg')):
    for name in images:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    path = folder / 'list.txt'
    path.write_text(''.join(f'{line}\n' for line in lines))
    return str(path)


def test_a_line_with_and_one_without_boxes(tmp_path):
    path = write_list(tmp_path, '0 a.jpg 100 50 11 1 2 30 40.5 14 0 0 100 50',
                      f'1   {tmp_path}/b.jpg\t60 70\r')
    dataset = lists.read(path)
    first, second = dataset.records
    np.testing.assert_array_equal(first.boxes, [[1, 2, 30, 40.5], [0, 0, 100, 50]])
    assert [dataset.class_names[index] for index in first.classes] == ['dog', 'person']
    assert (first.width, first.height, first.image_id) == (100, 50, 'a')
    assert second.boxes.shape == (0, 4) and second.image_id == 'b' and not dataset.problems


def test_paths_with_blanks_and_shared_stems(tmp_path):
    images = 'my images/a b.jpg', 'x/1.png', 'y/1.png'
    path = write_list(tmp_path, *(f'5 {name} 9 9 0 1 1 2 2' for name in images), images=images)
    assert [record.image_id for record in lists.read(path).records] == ['a b', 'x/1', 'y/1']


@pytest.mark.parametrize('line, message', [
    ('1 b.jpg 60', 'expected "index path width height'),
    ('hello', 'expected "index path width height'),
    ('1 b.jpg 60 70 3 1 2 3', 'expected five numbers a box, got 4'),
    ('1 b.jpg 60 70 dog 1 2 3', 'expected class x1 y1 x2 y2 a box, got .dog 1 2 3'),
    ('b.jpg', 'expected "index path width height'),
    ('1 b.jpg 60.5 70', 'expected width and height as whole pixels, got 60.5 70'),
    ('1 b.jpg -1 70', 'expected width and height'),
    ('1 none.jpg 60 70', 'no image .*none.jpg'),
    ('1 a.jpg 60 70', 'a.jpg is listed already; used once'),
])
def test_a_bad_line_is_dropped_and_reported(tmp_path, line, message):
    path = write_list(tmp_path, '0 a.jpg 100 50', '', line)
    dataset = lists.read(path)
    assert len(dataset.records) == 1 and len(dataset.problems) == 1
    assert dataset.problems[0].startswith(f'{path}:3: ') and re.search(message, dataset.problems[0])
    with pytest.raises(InputError, match='list.txt:3: .*--strict'):
        lists.read(path, strict=True)


@pytest.mark.parametrize('box, boxes, message', [
    ('9 8 1 2', [[1, 2, 9, 8]], 'swapped; put in order'),
    ('1 1 900 5', [[1, 1, 100, 5]], 'outside .*; clipped'),
    ('1 1 1 5', [], 'no area; object dropped'), ('nan 1 2 5', [], 'not finite pixels; object dropped')])
def test_a_bad_box_is_repaired_or_dropped_and_reported(tmp_path, box, boxes, message):
    dataset = lists.read(write_list(tmp_path, f'0 a.jpg 100 50 3 {box}'))
    np.testing.assert_array_equal(dataset.records[0].boxes, np.reshape(boxes, (-1, 4)))
    assert re.search(f'list.txt:1: object 1: .*{message}', dataset.problems[0])


@pytest.mark.parametrize('index, message', [('3', 'class id 3, but there are 3 class names'),
                                         ('-1', 'expected a class id from 0 to 9999, got -1'),
                                         ('.5', 'expected a class id'), ('nan', 'expected a class id')])
def test_a_class_id_without_a_name_stops(tmp_path, index, message):
    path = write_list(tmp_path, f'0 a.jpg 100 50 {index} 1 1 5 5')
    with pytest.raises(InputError, match=f'list.txt:1: {message}'):
        lists.read(path, ['x', 'y', 'z'])


def test_names_given_else_beside_the_list_else_voc_else_indices(tmp_path):
    path = write_list(tmp_path, '0 a.jpg 100 50 2 1 1 5 5')
    assert lists.read(path).class_names == list(class_files.VOC_CLASSES)
    (tmp_path / 'classes.names').write_text('p\nq\nr\n')
    assert lists.read(path).class_names == ['p', 'q', 'r']
    assert lists.read(path, ['k', 'l', 'm', 'n']).class_names == ['k', 'l', 'm', 'n']
    (tmp_path / 'classes.names').unlink()
    path = write_list(tmp_path, '0 a.jpg 100 50 20 1 1 5 5')
    assert lists.read(path).class_names == [str(index) for index in range(21)]


def test_empty_missing_and_useless_lists(tmp_path):
    with pytest.raises(InputError, match='the list is empty'):
        lists.read(write_list(tmp_path, '', '\r'))
    with pytest.raises(InputError, match='no usable line; the first problem: .*list.txt:1: no image'):
        lists.read(write_list(tmp_path, '0 none.jpg 5 5'))
    with pytest.raises(InputError, match='none.txt: cannot be read'):
        lists.read(str(tmp_path / 'none.txt'))


def test_written_lists_read_back_equal(shared_data, tmp_path):
    dataset = voc.read(str(shared_data / 'voc_six/VOCdevkit'), 'val')
    path = str(tmp_path / 'val.txt')
    lists.write(path, dataset.records)
    again = lists.read(path)
    assert again.problems == [] and again.class_names == dataset.class_names
    for ours, theirs in zip(dataset.records, again.records):
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
        np.testing.assert_array_equal(ours.classes, theirs.classes)
        assert ours[1:4] == theirs[1:4]
    assert [path.name for path in tmp_path.iterdir()] == ['val.txt']


PIECES = st.sampled_from(['a', 'B', ' ', '  ', '.', '.jpg', '.jpg ', ' 12 3', '12', '#', '"', "'", ',', ':', '%', '-',
                          '\u00e4',
                          '\u3000', '\t', '\x0b', '\x85', '\u2028', '.png/', '/', '.gif 5 5 0 1 1 2 2/', '\ufeff'])
ENDINGS = st.sampled_from(['.jpg', '.JPEG', '.Png', '.bmp', '.gif', '.GIF'])


def record_of(path):
    return faults.record(path, '', 60, 40, [((1.1, 2, 30, 39.9), 1, False, False, None, -1)])


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=6).map(''.join), ENDINGS)
def test_nasty_names_read_back_equal(middle, ending):
    with tempfile.TemporaryDirectory() as folder:
        names = os.path.normpath(f'x{middle}x{ending}'), f'other{ending}'
        for name in names:
            os.makedirs(os.path.dirname(f'{folder}/{name}'), exist_ok=True)
            open(f'{folder}/{name}', 'wb').close()
        records = [record_of(f'{folder}/{name}') for name in names]
        lists.write(f'{folder}/list.txt', records)
        again = lists.read(f'{folder}/list.txt', strict=True).records
        assert [record.image_path for record in again] == [record.image_path for record in records]
        for ours, theirs in zip(records, again):
            np.testing.assert_array_equal(ours.boxes, theirs.boxes)
            assert ours[2:4] == theirs[2:4]


@pytest.mark.parametrize('name', ['a\nb.jpg', 'a\rb.jpg', ' a.jpg', 'a.jpg ', 'a b.dat', 'b\udce9.jpg', 'a.jpg b.dat'])
def test_a_path_that_would_not_read_back_is_not_written(tmp_path, name):
    with pytest.raises(InputError, match='list.txt: a list cannot hold the path') as caught:
        lists.write(f'{tmp_path}/list.txt', [record_of(f'{tmp_path}/a.jpg'), record_of(f'{tmp_path}/{name}')])
    assert str(caught.value).isprintable() and not os.listdir(tmp_path)


@pytest.mark.parametrize('line, box', [
    ('0 a.jpg 100 50 2 1 2 30 40', [1, 2, 30, 40]), ('0 a.jpg 2 1 2 30 40', [1, 2, 30, 40]),
    ('a.jpg 100 50 2 1 2 30 40', [1, 2, 30, 40]), ('a.jpg 2 1 2 30 40', [1, 2, 30, 40]),
    ('a.jpg 1,2,30,40,2', [1, 2, 30, 40]), ('a.jpg 1.5,2,30,40,2', [1.5, 2, 30, 40]),
    ('.\\a.jpg 1,2,30,40,2', [1, 2, 30, 40]), ('C:\\x\\a.jpg 1,2,30,40,2', [1, 2, 30, 40])])
def test_the_forms_of_both_families(tmp_path, line, box):
    (tmp_path / 'classes.names').write_text('x\ny\nz\n')
    record, = lists.read(write_list(tmp_path, line)).records
    np.testing.assert_array_equal(record.boxes, [box])
    assert record.classes.tolist() == [2] and record.image_path.endswith('a.jpg')


@pytest.mark.parametrize('line', ['0 a.jpg 100 50 traffic light 1 2 30 40 emu 5 6 7 8',
                                  '0 a.jpg traffic light 1 2 30 40 emu 5 6 7 8'])
def test_names_of_classes_may_hold_blanks(tmp_path, line):
    dataset = lists.read(write_list(tmp_path, line))
    assert dataset.class_names == ['emu', 'traffic light'] and lists.has_names(str(tmp_path / 'list.txt'))
    assert dataset.records[0].classes.tolist() == [1, 0]
    with pytest.raises(InputError, match="list.txt:1: unknown class 'traffic light'"):
        lists.read(str(tmp_path / 'list.txt'), ['emu'])


def test_the_comma_family_has_images_without_boxes_and_blanks_in_paths(tmp_path):
    images = 'my images/2 b.jpg', 'a.jpg', 'c.jpg'
    path = write_list(tmp_path, 'a.jpg 1,2,30,40,dog 5,6,7,8,cat', 'my images/2 b.jpg',
                      'c.jpg 1,2,3,dog', images=images)
    dataset = lists.read(path)
    assert [(record.image_id, len(record.boxes)) for record in dataset.records] == [('a', 2), ('2 b', 0)]
    assert dataset.problems == [f'{path}:3: expected "path x1,y1,x2,y2,class ...", got \'c.jpg 1,2,3,dog\'; line '
                                'dropped']


def test_class_files_beside_a_list(tmp_path):
    path = write_list(tmp_path, 'a.jpg 1,2,30,40,1')
    for name in ('my_classes.txt', 'classes.txt', 'obj.names', 'classes.names'):      # each goes before those above
        (tmp_path / name).write_text(f'x\n{name}\n')
        assert lists.read(path).class_names == ['x', name]
