"""The drawn validation part: every image on one side, seeded, stratified, copies together; kept and read again."""
import os

import numpy as np
import pytest
from fixtures.labelled_folders import write_image
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3_tf.data import held_out
from yolov3_tf.data.readers import faults, specs
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset


def record(path, classes, size=(100, 50)):
    objects = [((1, 2, 30, 40), number, False, False, None, 1) for number in classes]
    return faults.record(str(path), str(path), *size, objects)


def records(*classes):
    """Records of images that do not exist, so none is another's copy."""
    return [record(f'/nowhere/{number}.jpg', found) for number, found in enumerate(classes)]


def shares(those, split, number_of_classes):
    """Images with each class: (in val, in all)."""
    def count(indices, label):
        return sum(label in those[index].classes for index in indices)
    return [(count(split.val, label), count(range(len(those)), label)) for label in range(number_of_classes)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), max_size=4), min_size=2, max_size=60), st.floats(.01, .9),
       st.integers(0, 9))
def test_every_image_is_on_one_side_and_both_have_boxes(classes, fraction, seed):
    those = records(*classes)
    if sum(map(bool, classes)) < 2:
        with pytest.raises(InputError, match='a validation part cannot be drawn'):
            held_out.draw(those, fraction, seed)
        return
    split = held_out.draw(those, fraction, seed)
    assert sorted(split.train + split.val) == list(range(len(those)))
    for side in (split.train, split.val):
        assert any(len(those[index].boxes) for index in side)
    assert split == held_out.draw(those, fraction, seed)


def test_seeds_draw_different_parts():
    those = records(*[[0]] * 50)
    drawn = {tuple(held_out.draw(those, .2, seed).val) for seed in range(5)}
    assert len(drawn) == 5 and {len(val) for val in drawn} == {10}


def test_rare_classes_are_on_both_sides_in_the_share_asked_for():
    """200 images: class 0 in nearly all, 1 in 40, 2 in 10, 3 in 3 of them; 20 without a box."""
    classes = [[0]] * 137 + [[0, 1]] * 30 + [[1, 2]] * 10 + [[0, 3]] * 3 + [[]] * 20
    for seed in range(5):
        split = held_out.draw(those := records(*classes), .2, seed)
        (zero, _), (one, _), (two, _), (three, _) = shares(those, split, 4)
        assert (one, two, three) == (8, 2, 1) and abs(zero - 34) <= 1 and len(split.val) == 40
        assert sum(not classes[index] for index in split.val) == 4


def test_a_plain_draw_would_miss_a_rare_class():
    """The same counts, drawn by chance: in 51 % of 200 draws no image of three has the rare class."""
    random = np.random.default_rng(0)
    missed = [not set(random.permutation(200)[:40]) & {0, 1, 2} for _ in range(200)]
    assert .4 < np.mean(missed) < .62


def test_copies_stay_together(tmp_path):
    """Six of ten images are the same file under other names; two differ from each other in nothing but size of one."""
    for number in range(10):
        write_image(tmp_path, f'{number}.png', number if number >= 6 else 77)
    those = [record(tmp_path / f'{number}.png', [0]) for number in range(10)]
    assert held_out.copies(those) == [[0, 1, 2, 3, 4, 5], [6], [7], [8], [9]]
    for seed in range(10):
        split = held_out.draw(those, .3, seed)
        assert len({index in split.val for index in range(6)}) == 1
        assert '6 images are copies of others' in split.notes[0]


def test_versions_of_one_source_stay_together():
    names = [f'{source}_jpg.rf.{version * 8}a1b2c3d4.jpg' for source in 'abcde' for version in '123']
    those = [record(f'/nowhere/{name}', [0]) for name in names]
    assert held_out.copies(those) == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], [12, 13, 14]]
    split = held_out.draw(those, .2, 0)
    assert len(split.val) == 3 and len({index // 3 for index in split.val}) == 1


@pytest.mark.parametrize('those', [records([0]), records([0], []), records()])
def test_too_few_images_are_an_error_that_says_what_to_do(those):
    with pytest.raises(InputError, match=rf'{len(those)} images, of which . ha.*expected 2 or more. .*--val_data'):
        held_out.draw(those, .2, 0)


def test_only_copies_cannot_be_split(tmp_path):
    for number in range(3):
        write_image(tmp_path, f'{number}.png', 5)
    with pytest.raises(InputError, match='3 images, of which 1 has boxes'):
        held_out.draw([record(tmp_path / f'{number}.png', [0]) for number in range(3)], .2, 0)


def test_two_images_are_one_and_one():
    assert {len(held_out.draw(records([0], [1]), .2, seed).val) for seed in range(5)} == {1}


def dataset_in(folder, count=10):
    for number in range(count):
        write_image(folder, f'images/a {number}.png', number)
    return Dataset([record(folder / f'images/a {number}.png', [number % 2]) for number in range(count)],
                   ['cat', 'dog'], ['a problem'])


def test_what_is_written_is_a_dataset_and_reads_back(tmp_path):
    dataset = dataset_in(tmp_path)
    split = held_out.draw(dataset.records, .3, 1)
    folder = tmp_path / 'runs/mine/split'
    assert not held_out.is_there(folder)
    held_out.write(folder, dataset, split)
    assert held_out.is_there(folder) and held_out.read(folder, dataset.records) == split
    val = specs.load(f'list:{folder}/val.txt')
    assert val.class_names == ['cat', 'dog'] and val.problems == []
    expected = held_out.part(dataset, split.val, False)
    assert [record.classes.tolist() for record in val.records] == [one.classes.tolist() for one in expected.records]
    for ours, theirs in zip(val.records, expected.records):
        assert os.path.samefile(ours.image_path, theirs.image_path)
        np.testing.assert_array_equal(ours.boxes, theirs.boxes)
    assert expected.problems == [] and held_out.part(dataset, split.train, True).problems == ['a problem']


def test_later_and_lost_images_are_noted(tmp_path):
    dataset = dataset_in(tmp_path)
    split = held_out.draw(dataset.records, .3, 1)
    held_out.write(tmp_path / 'split', dataset, split)
    write_image(tmp_path, 'images/new.png', 99)
    now = [record(tmp_path / 'images/new.png', [0]), *dataset.records[1:]]
    again = held_out.read(tmp_path / 'split', now)
    assert sorted(again.train + again.val) == list(range(1, 10))
    assert set(again.val) == set(split.val) - {0} and 0 not in again.train
    assert len(again.notes) == 2
    assert f'{tmp_path}/images/new.png came after the split' in again.notes[0]
    assert 'a 0.png is in the split' in again.notes[1] and 'not in the data any more' in again.notes[1]


def test_a_class_that_came_later_does_not_change_the_others(tmp_path):
    dataset = dataset_in(tmp_path)
    split = held_out.draw(dataset.records, .3, 1)
    held_out.write(tmp_path / 'split', dataset, split)
    now = Dataset([one._replace(classes=one.classes + 1) for one in dataset.records], ['ant', 'cat', 'dog'], [])
    same = held_out.with_classes_of(tmp_path / 'split', now, split)
    assert same.class_names == ['cat', 'dog']
    assert [one.classes.tolist() for one in same.records] == [one.classes.tolist() for one in dataset.records]
    renamed = now._replace(class_names=['ant', 'cat', 'cow'])
    assert held_out.with_classes_of(tmp_path / 'split', renamed, split) is renamed


def test_moved_data_are_an_error_that_explains_the_paths(tmp_path):
    dataset = dataset_in(tmp_path)
    held_out.write(tmp_path / 'split', dataset, held_out.draw(dataset.records, .3, 1))
    elsewhere = records([0], [1])
    with pytest.raises(InputError, match='train.txt: none of its 7 images is in the data any more .*move data'):
        held_out.read(tmp_path / 'split', elsewhere)


def test_moved_together_they_fit(tmp_path):
    held_out.write(tmp_path / 'old/split', dataset := dataset_in(tmp_path / 'old'),
                   split := held_out.draw(dataset.records, .3, 1))
    (tmp_path / 'old').rename(tmp_path / 'new')
    assert held_out.read(tmp_path / 'new/split', dataset_in(tmp_path / 'new').records) == split
