"""Data specs: one string, four kinds, and the rule for none."""
import pytest

from yolov3_tf.choices import InputError
from yolov3_tf.data import specs


@pytest.mark.parametrize('spec, said', [
    ('photos:x', "unknown kind of data 'photos': expected one of coco, list, shapes, voc; write voc:DIR"),
    ('', 'unknown kind of data'),
    ('voc', 'expected voc:DIR:SPLIT'), ('voc::train', 'expected voc:DIR:SPLIT'),
    ('voc:x', 'expected voc:DIR:SPLIT'),
    ('coco:a.json', 'expected coco:INSTANCES.json:IMAGE_DIR'), ('list:', 'expected list:FILE'),
    ('shapes:0', 'N from 1 to'), ('shapes:many', 'N from 1 to'), ('shapes:-3', 'N from 1 to'),
    ('shapes:99999999999999', 'N from 1 to'), ('shapes:²', 'N from 1 to'),
])
def test_a_spec_that_is_not_understood_says_what_is(spec, said):
    with pytest.raises(InputError, match=said):
        specs.load(spec)


def test_a_voc_spec_without_split_lists_the_splits(shared_data):
    with pytest.raises(InputError, match='splits there: val, test, train, trainval'):
        specs.load(f'voc:{shared_data}/bccd/BCCD')


def test_the_kinds_reach_their_readers(shared_data, tmp_path):
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
    assert specs.describe('shapes:8', train).startswith('shapes:8: 8 pictures, ')


def test_without_flags_the_devkit_else_shapes(shared_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train, held_out, message = specs.default_specs()
    assert (train, held_out) == ('shapes', 'shapes')
    assert 'no VOCdevkit/ here' in message and '\n' not in message
    (tmp_path / 'VOCdevkit').symlink_to(shared_data / 'voc_six/VOCdevkit')
    train, held_out, message = specs.default_specs()
    assert (train, held_out) == ('voc:VOCdevkit:2012_train', 'voc:VOCdevkit:2012_val')
    assert '2012_train' in message
    assert len(specs.load(held_out).records) == 150


def test_describe_tells_classes_found_marks_and_problems(shared_data):
    spec = f'voc:{shared_data}/bccd/BCCD:trainval'
    assert specs.describe('bccd', specs.load(spec)) == (
        'bccd: 292 pictures, 3941 boxes; 3 classes: Platelets, RBC, WBC; 2 label problems')
    six = specs.load(f'voc:{shared_data}/voc_six/VOCdevkit:trainval')
    assert specs.describe('six', six) == "six: 450 pictures, 1021 boxes, 121 difficult; VOC's 20 classes"
