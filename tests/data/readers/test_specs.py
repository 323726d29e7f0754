"""Dataset specs: one string, fifteen formats, several joined, and the rule for none."""
import re

import numpy as np
import pytest

from yolov3_tf.data.readers import default_data, specs
from yolov3_tf.errors import InputError


@pytest.mark.parametrize('spec, message', [
    ('photos:x', "no such folder, and unknown dataset format 'photos': expected one of coco, createml, csv, cvat, "
     'darknet, kitti, labelme, list, shapes, supervisely, tfrecord, via, voc, xml, yolo; write voc:DIR'),
    ('', 'unknown dataset format'),
    ('voc', 'expected voc:DIR:SPLIT'), ('voc::train', 'expected voc:DIR:SPLIT'),
    ('voc:x', 'expected voc:DIR:SPLIT'),
    ('coco:a.json', 'expected coco:INSTANCES.json:IMAGE_DIR'), ('list:', 'expected list:FILE'),
    ('darknet:', 'expected darknet:LIST'), ('yolo:a.yaml', 'expected yolo:DATA.yaml:SPLIT'),
    ('yolo::train', 'expected yolo:'), ('tfrecord:', 'expected tfrecord:PATTERN'),
    ('shapes:0', 'N from 1 to'), ('shapes:many', 'N from 1 to'), ('shapes:-3', 'N from 1 to'),
    ('shapes:99999999999999', 'N from 1 to'), ('shapes:²', 'N from 1 to'),
])
def test_a_spec_that_is_not_understood_names_the_formats(spec, message):
    with pytest.raises(InputError, match=message):
        specs.load(spec)


def test_a_voc_spec_without_split_lists_the_splits(shared_data):
    with pytest.raises(InputError, match='splits there: val, test, train, trainval'):
        specs.load(f'voc:{shared_data}/bccd/BCCD')


def test_the_formats_reach_their_readers(shared_data, tmp_path):
    tiny = f'{shared_data}/coco_tiny'
    coco = specs.load(f'coco:{tiny}/annotations/instances_val2017.json:{tiny}/images/val2017')
    assert len(coco.records) == 6
    assert len(specs.load(f'voc:{shared_data}/voc_six/VOCdevkit:2012_val').records) == 150
    (tmp_path / 'a.jpg').touch()
    (tmp_path / 'a.txt').write_text('0 a.jpg 5 5\n')
    assert len(specs.load(f'list:{tmp_path}/a.txt').records) == 1


def test_shapes_gives_the_part_asked_for(tmp_path):
    train = specs.load('shapes:8', cache=str(tmp_path))
    held_out = specs.load('shapes:8', train.class_names, split='val', cache=str(tmp_path))
    assert (len(train.records), len(held_out.records)) == (8, 2)
    assert specs.describe('shapes:8', train).startswith('shapes:8: 8 images, ')


def test_without_flags_the_devkit_else_three_ways_on(shared_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as error:
        default_data.specs_here()
    assert 'no VOCdevkit/ here' in str(error.value).splitlines()[0]
    assert all(len(line) < 100 for line in str(error.value).splitlines())
    _, *ways = re.split(r'\n  \d\. ', str(error.value))
    assert len(ways) == 3
    for way, words in zip(ways, ('VOCtest_06-Nov-2007.tar', '--val_data=voc:DIR:val', '--train_data=shapes')):
        assert words in way
    (tmp_path / 'VOCdevkit').symlink_to(shared_data / 'voc_six/VOCdevkit')
    train, held_out, message = default_data.specs_here()
    assert (train, held_out) == ('voc:VOCdevkit:2012_train', 'voc:VOCdevkit:2012_val')
    assert '2012_train' in message
    assert len(specs.load(held_out).records) == 150


def test_describe_names_classes_found_marks_and_problems(shared_data):
    spec = f'voc:{shared_data}/bccd/BCCD:trainval'
    assert specs.describe('bccd', specs.load(spec)) == (
        'bccd: 292 images, 3941 boxes; 3 classes: Platelets, RBC, WBC; 2 annotation problems')
    six = specs.load(f'voc:{shared_data}/voc_six/VOCdevkit:trainval')
    assert specs.describe('six', six) == "six: 450 images, 1021 boxes, 121 difficult; VOC's 20 classes"


def write_list(folder, name, lines, classes=None):
    """A list of one-box images; ``lines`` are (image, class id)."""
    (folder / name).mkdir(parents=True)
    for image, _ in lines:
        (folder / name / image).touch()
    (folder / name / 'all.txt').write_text(''.join(f'0 {image} 9 9 {number} 1 1 5 5\n' for image, number in lines))
    if classes:
        (folder / name / 'classes.names').write_text('\n'.join(classes))
    return f'list:{folder}/{name}/all.txt'


def classes_of(dataset):
    return {record.image_id: [dataset.class_names[index] for index in record.classes] for record in dataset.records}


def test_joined_sets_share_their_classes_by_name(tmp_path):
    one = write_list(tmp_path, 'one', [('a.jpg', 0), ('b.jpg', 1)], ['cat', 'dog'])
    two = write_list(tmp_path, 'two', [('a.jpg', 0), ('c.jpg', 1)], ['dog', 'emu'])
    both = specs.load(f'{one},{two}')
    assert both.class_names == ['cat', 'dog', 'emu'] and not both.problems
    assert classes_of(both) == {'1:a': ['cat'], 'b': ['dog'], '2:a': ['dog'], 'c': ['emu']}
    assert specs.load(f'{two}, {one}').class_names == ['dog', 'emu', 'cat']
    # The names of a training set, given to one of its parts alone or to both in another order, mean the same.
    assert classes_of(specs.load(two, both.class_names)) == {'a': ['dog'], 'c': ['emu']}
    assert classes_of(specs.load(f'{two},{one}', both.class_names)) == {
        '2:a': ['cat'], 'b': ['dog'], '1:a': ['dog'], 'c': ['emu']}
    with pytest.raises(InputError, match="'dog' has the class id 0 there and 1 in the list .*'emu' is missing"):
        specs.load(two, ['cat', 'dog'])


def test_an_image_in_two_joined_sets_is_used_once(tmp_path):
    one = write_list(tmp_path, 'one', [('a.jpg', 0), ('b.jpg', 1)], ['cat', 'dog'])
    twice = specs.load(f'{one},{one}')
    assert len(twice.records) == 2 and len(twice.problems) == 2
    assert f'{one}: {tmp_path}/one/a.jpg is in {one} already; used once' in twice.problems
    with pytest.raises(InputError, match='is in .* already; .*--strict'):
        specs.load(f'{one},{one}', strict=True)


def test_numbers_without_names_are_joined_only_under_given_names(tmp_path):
    one = write_list(tmp_path, 'one', [('a.jpg', 0)])
    two = write_list(tmp_path, 'two', [('b.jpg', 1)])
    with pytest.raises(InputError, match='its classes are numbers; to join it .* give all names with --classes=FILE'):
        specs.load(f'{one},{two}')
    assert classes_of(specs.load(f'{one},{two}', ['x', 'y'])) == {'a': ['x'], 'b': ['y']}


@pytest.mark.parametrize('spec, parts', [
    ('voc:a:train,list:b', ['voc:a:train', 'list:b']), ('list:a,b.txt', ['list:a,b.txt']),
    ('shapes, shapes:30,yolo:x,y:val', ['shapes', 'shapes:30', 'yolo:x,y:val']),
    ('list:voc,vocal', ['list:voc,vocal'])])
def test_a_comma_separates_where_a_format_follows(spec, parts):
    assert [str(part) for part in specs.parse(spec)] == parts


def test_a_spec_is_parsed_into_its_fields():
    assert specs.parse('voc:C:/kit:2007_train+2012_train, coco:a:b.json:c') == (
        specs.Spec('voc:C:/kit:2007_train+2012_train', 'voc', 'C:/kit', '2007_train+2012_train'),
        specs.Spec('coco:a:b.json:c', 'coco', 'a:b.json', image_folder='c'))
    assert specs.parse('darknet:a,b.txt:c.names') == (
        specs.Spec('darknet:a,b.txt:c.names', 'darknet', 'a,b.txt', class_file='c.names'),)
    assert specs.parse('darknet:a.txt')[0].class_file is None
    assert specs.parse('shapes')[0].count == 600 and specs.parse('shapes:7')[0].count == 7


def test_a_spec_has_the_properties_others_need(tmp_path):
    coco, shapes, listed = specs.parse('coco:a.json:b,shapes,list:c.txt')
    assert coco.is_coco and coco.category_file == 'a.json' and not coco.is_builtin
    assert shapes.is_builtin and not shapes.is_coco and listed.category_file is None
    parsed = specs.parse('shapes:4')
    dataset = specs.load(parsed, cache=str(tmp_path))
    assert len(dataset.records) == 4 and specs.describe(parsed, dataset) == specs.describe('shapes:4', dataset)


def test_formats_meet_in_one_set(shared_data, tmp_path):
    tiny = f'{shared_data}/coco_tiny'
    coco = f'coco:{tiny}/annotations/instances_val2017.json:{tiny}/images/val2017'
    both = specs.load(f'voc:{shared_data}/voc_six/VOCdevkit:2012_val,{coco}')
    assert len(both.records) == 156 and both.class_names[:2] == ['aeroplane', 'bicycle']
    alone = specs.load(coco)
    assert [both.class_names[index] for index in both.records[150].classes] == [
        alone.class_names[index] for index in alone.records[0].classes]
    assert both.records[150].classes.dtype == np.int32


def test_folders_are_joined_by_commas_which_names_may_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ('one', 'two', 'a,b', 'x,two'):
        (tmp_path / folder).mkdir()
    (tmp_path / 'l,two').mkdir()
    assert specs.joined_texts('one, two,list:a,b.txt,two') == ['one', 'two', 'list:a,b.txt', 'two']
    assert specs.joined_texts('a,b,one') == ['a,b', 'one'] and specs.joined_texts('xml:x,two') == ['xml:x,two']
    assert specs.joined_texts('xml:one,two,voc:x:y') == ['xml:one', 'two', 'voc:x:y']
    assert specs.joined_texts('z,w') == ['z,w']
