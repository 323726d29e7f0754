"""Paths written on another machine: what is found, what is never followed, and what is said."""
import os
import unicodedata

import pytest

from yolov3_tf.data.readers import paths


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'')


@pytest.mark.parametrize('written, found', [
    ('images/a.jpg', 'images/a.jpg'),
    ('./images/a.jpg', './images/a.jpg'),
    (r'images\a.jpg', 'images/a.jpg'),
    (r'.\images\a.jpg', 'images/a.jpg'),
    (r'..\set\images\a.jpg', 'images/a.jpg'),
    (r'C:\Users\me\set\images\a.jpg', 'images/a.jpg'),
    ('D:/set/images/a.jpg', 'images/a.jpg'),
    (r'\\server\share\images\a.jpg', 'images/a.jpg'),
    ('/content/drive/set/images/a.jpg', 'images/a.jpg'),
    ('data/images/a.jpg', 'images/a.jpg'),
    ('../images/a.jpg', 'images/a.jpg'),
    ('"images/a.jpg"', 'images/a.jpg'),
    ('images/my%20fish.jpg', 'images/my fish.jpg'),
    ('http://example.org/images/a.jpg', 'images/a.jpg'),
    ('images/A.JPG', 'images/a.jpg'),
    (r'C:\set\IMAGES.old\images\A.Jpg', 'images/a.jpg'),
    ('images/c.jpg', None), ('', None), ('a\0b', None), ('..', None), ('images', None), ('x' * 5000, None),
])
def test_found(tmp_path, written, found):
    touch(tmp_path, 'images/a.jpg', 'images/my fish.jpg')
    finder = paths.Finder(str(tmp_path))
    assert finder.find(written) == (found and os.path.join(tmp_path, found))
    assert bool(finder.repaired) == (found is not None and os.path.join(found) != written)


def test_as_written_comes_first_and_the_longest_end_next(tmp_path):
    touch(tmp_path, r'b\a.jpg', 'b/a.jpg', 'a.jpg', 'x/c.jpg', 'c.jpg')
    find = paths.Finder(str(tmp_path)).find
    assert find(r'b\a.jpg') == os.path.join(tmp_path, r'b\a.jpg')           # a name may hold a backslash here
    assert find('/other/b/a.jpg') == os.path.join(tmp_path, 'b/a.jpg')
    assert find(r'E:\x\c.jpg') == os.path.join(tmp_path, 'x/c.jpg')
    assert find(r'E:\y\c.jpg') == os.path.join(tmp_path, 'c.jpg')


def test_two_files_that_differ_only_in_letter_case_are_not_confused(tmp_path):
    touch(tmp_path, 'a.jpg', 'A.jpg', unicodedata.normalize('NFD', 'é.jpg'))
    finder = paths.Finder(str(tmp_path))
    assert finder.find('a.JPG') is None
    assert finder.find(unicodedata.normalize('NFC', 'é.jpg'))


def test_inside_never_leaves_its_folder(tmp_path):
    touch(tmp_path, 'secret.jpg', 'set/images/a.jpg')
    inside = paths.Finder(str(tmp_path / 'set'), inside=True)
    assert inside.find('../secret.jpg') is None and inside.find(str(tmp_path / 'secret.jpg')) is None
    assert inside.find(r'..\secret.jpg') is None
    assert inside.find('../images/a.jpg') == str(tmp_path / 'set' / 'images/a.jpg')
    assert paths.Finder(str(tmp_path / 'set')).find('../secret.jpg')
    for name in '../a', '/a', r'C:\a', r'b\..\a', 'b/../a':
        assert paths.leads_out(name)
        assert all(not paths.leads_out(candidate) for _, candidate in paths.repairs(name))


def test_the_second_folder_is_only_tried_as_written(tmp_path):
    touch(tmp_path, 'here/x.txt', 'there/a.jpg')
    finder = paths.Finder(str(tmp_path / 'here'), str(tmp_path / 'there'))
    assert finder.find('a.jpg') == str(tmp_path / 'there' / 'a.jpg') and finder.find(r'b\a.jpg') is None


def test_folders_and_notes(tmp_path):
    touch(tmp_path, 'train/images/a.jpg', 'train/images/b.jpg')
    finder = paths.Finder(str(tmp_path), exists=os.path.exists)
    assert finder.find(r'train\images') == os.path.join(tmp_path, 'train/images')
    files = paths.Finder(str(tmp_path))
    for name in (r'train\images\a.jpg', r'train\images\b.jpg', '/content/train/images/b.jpg'):
        files.find(name)
    assert files.notes('data.yaml') == [
        r"data.yaml: 2 paths with backslashes, such as 'train\\images\\a.jpg': read from "
        f'{tmp_path}/train/images/a.jpg',
        f"data.yaml: 1 path of another machine, such as '/content/train/images/b.jpg': read from "
        f'{tmp_path}/train/images/b.jpg']
