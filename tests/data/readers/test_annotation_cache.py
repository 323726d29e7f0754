"""A kept dataset is what was read, and is taken only while no file has changed."""
import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from yolov3_tf import cache_folder
from yolov3_tf.data.readers import annotation_cache, coco, specs, voc_xml
from yolov3_tf.errors import InputError

JPEG = bytes.fromhex('ffd8 ffc00011 08 0040 0060 03 012200 021101 031101 ffda000c') + bytes(20)        # 96 x 64


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of the cache, which keeps every set here, however small and new."""
    monkeypatch.delenv(annotation_cache.SWITCH, raising=False)
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    monkeypatch.setattr(annotation_cache, 'WORTH', 0)
    monkeypatch.setattr(annotation_cache, 'SETTLED', -1e6)
    return tmp_path / 'cache' / 'yolov3_tf' / 'annotations'


@pytest.fixture
def devkit(tmp_path):
    """A VOC folder with three images, one of them without objects and one with a faulty box."""
    home = tmp_path / 'set'
    for name in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (home / name).mkdir(parents=True)
    objects = {'a': [('dog', (0, 0, 5, 6), True), ('cat', (1.5, 2, 7, 9), False)], 'ü': [], 'c': [('dog', (3, 3, 3,
        9), False)]}
    for name, rows in objects.items():
        (home / 'JPEGImages' / f'{name}.jpg').write_bytes(JPEG)
        (home / 'Annotations' / f'{name}.xml').write_text(voc_xml.serialize(f'{name}.jpg', 96, 64, rows),
            encoding='utf-8')
    (home / 'ImageSets/Main/train.txt').write_text('\n'.join(objects), encoding='utf-8')
    return home


@pytest.fixture
def parsed(monkeypatch):
    """The files that were parsed, in order."""
    files, parse = [], voc_xml.parse
    monkeypatch.setattr(voc_xml, 'parse', lambda path: files.append(path) or parse(path))
    return files


def load(home, **settings):
    return specs.load(f'voc:{home}:train', **settings)


def assert_equal(one, other):
    assert one._replace(records=[]) == other._replace(records=[]) and len(one.records) == len(other.records)
    for mine, theirs in zip(one.records, other.records):
        for name, a, b in zip(mine._fields, mine, theirs):
            assert type(a) is type(b) and np.array_equal(a, b), name
            if isinstance(a, np.ndarray):
                assert (a.dtype, a.shape, a.flags.writeable) == (b.dtype, b.shape, True), name


def test_the_second_start_reads_no_annotation(cache, devkit, parsed):
    first = load(devkit)
    assert len(parsed) == 3 and len(first.problems) == 1 and len(list(cache.iterdir())) == 1
    second = load(devkit)
    assert len(parsed) == 3
    assert_equal(second, first)
    second.records[0].boxes[:] = 0              # a copy of its own
    assert_equal(load(devkit), first)


def same_size_and_time(path):
    """An edit that hides itself: one class name for another of its length, the time set back."""
    before = path.stat()
    path.write_bytes(path.read_bytes().replace(b'dog', b'cow'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)


CHANGES = {
    'label': lambda home: (home / 'Annotations/a.xml').write_text(voc_xml.serialize('a.jpg', 96, 64, [])),
    'label, unseen by size and time': lambda home: same_size_and_time(home / 'Annotations/a.xml'),
    'label, replaced': lambda home: os.replace(shutil.copy2(home / 'Annotations/a.xml', home / 'b'),
        home / 'Annotations/a.xml'),
    'label, removed': lambda home: (home / 'Annotations/a.xml').unlink(),
    'label, added': lambda home: shutil.copy2(home / 'Annotations/a.xml', home / 'Annotations/b.xml'),
    'label, renamed': lambda home: (home / 'Annotations/a.xml').rename(home / 'Annotations/a.XML'),
    'image': lambda home: (home / 'JPEGImages/a.jpg').write_bytes(JPEG + b'\0'),
    'image, touched': lambda home: (home / 'JPEGImages/a.jpg').touch(),
    'image, added': lambda home: (home / 'JPEGImages/a.png').write_bytes(b''),
    'image below': lambda home: ((home / 'JPEGImages/a').mkdir(), (home / 'JPEGImages/a/b.jpg').write_bytes(JPEG)),
    'list': lambda home: (home / 'ImageSets/Main/train.txt').write_text('c\na'),
    'list, another': lambda home: (home / 'ImageSets/Main/val.txt').write_text('a')}


@pytest.mark.parametrize('change', CHANGES)
def test_any_change_is_read(cache, devkit, parsed, change, monkeypatch):
    load(devkit)
    CHANGES[change](devkit)
    del parsed[:]
    found = load(devkit)
    assert parsed
    monkeypatch.setenv(annotation_cache.SWITCH, 'off')
    assert_equal(found, load(devkit))


def test_other_settings_are_other_sets(cache, devkit, parsed, monkeypatch):
    load(devkit)
    for settings in ({'classes': ['cat', 'dog']}, {'classes': ['dog', 'cat']}):
        del parsed[:]
        names = load(devkit, **settings).class_names
        assert parsed and names == settings['classes'] and load(devkit, **settings).class_names == names
    with pytest.raises(InputError, match='are swapped'):
        load(devkit, strict=True)
    monkeypatch.setattr(annotation_cache, '_rules', lambda: ['other code'])
    del parsed[:]
    load(devkit)
    assert parsed


def test_a_link_to_another_file_is_a_change(cache, devkit, parsed):
    label = devkit / 'Annotations/a.xml'
    label.rename(devkit / 'a.xml')
    shutil.copy2(devkit / 'a.xml', devkit / 'b.xml')
    label.symlink_to(devkit / 'a.xml')
    load(devkit)
    for change in (lambda: (label.unlink(), label.symlink_to(devkit / 'b.xml')),
        lambda: same_size_and_time(devkit / 'b.xml')):
        change()
        del parsed[:]
        load(devkit)
        assert parsed


def test_what_was_just_changed_is_not_kept(cache, devkit, monkeypatch):
    """It could change again within one tick of the file system's clock."""
    monkeypatch.setattr(annotation_cache, 'SETTLED', 3600.)
    load(devkit)
    assert not cache.exists()


def test_small_sets_and_the_switch_leave_no_file(cache, devkit, monkeypatch):
    monkeypatch.setenv(annotation_cache.SWITCH, 'off')
    load(devkit)
    monkeypatch.delenv(annotation_cache.SWITCH)
    monkeypatch.setattr(annotation_cache, 'WORTH', 60)
    load(devkit)
    assert not cache.exists()


def test_damaged_files_are_read_anew(cache, devkit, parsed):
    first = load(devkit)
    path, = cache.iterdir()
    content = path.read_bytes()
    places = [0, 5, 25, 40, 90, 100, len(content) // 2, len(content) - 1]
    for damaged in [content[:place] for place in places] + [content + b'\0', b'', content.replace(b'tions 1',
        b'tions 0')] + [
            content[:place] + bytes([content[place] ^ 1]) + content[place + 1:] for place in places]:
        path.write_bytes(damaged)
        del parsed[:]
        assert_equal(load(devkit), first)
        assert parsed and path.read_bytes() == content


def test_a_file_that_says_something_else_is_no_cache(cache, devkit):
    """With a right checksum, but other counts than its parts have."""
    first = load(devkit)
    path, = cache.iterdir()
    key, state = saved(path)
    records = first.records
    annotation_cache.save(path, key, state, first._replace(records=[records[0]._replace(image_id='a\0b'),
        *records[1:]]))
    assert saved(path) == (key, state)          # left as it was
    assert annotation_cache.load(path, key, 'other') is None and annotation_cache.load(path, 'other', state) is None
    for change in ({'images': 2}, {'objects': 1 << 60}, {'objects': -1}, {'texts': [1, 2, 3, 4]}, {'texts': None},
        {'notes': 0}):
        with pytest.raises((ValueError, TypeError)):
            annotation_cache._dataset({**head_of(path), **change}, b'')


def head_of(path):
    body = path.read_bytes()[len(annotation_cache._MAGIC) + 64:]
    return json.loads(body[8:8 + int.from_bytes(body[:8], 'little')])


def saved(path):
    head = head_of(path)
    return head['key'], head['digest']


def test_a_folder_that_cannot_be_written(cache, devkit):
    cache.parent.parent.mkdir(parents=True)
    cache.parent.write_text('a file')
    assert len(load(devkit).records) == 3


def test_the_oldest_make_room(cache, devkit, monkeypatch):
    load(devkit)
    size = next(cache.iterdir()).stat().st_size
    first = next(cache.iterdir())
    os.utime(first, (1, 1))
    monkeypatch.setattr(annotation_cache, 'MOST_BYTES', 2 * size + size // 2)
    load(devkit, classes=['cat', 'dog'])
    assert first.exists()
    load(devkit)                # used again
    for classes in (['dog', 'cat'], ['dog', 'cat', 'cow']):
        os.utime(max(cache.iterdir(), key=lambda path: path.stat().st_mtime_ns))
        load(devkit, classes=classes)
    assert len(list(cache.iterdir())) == 2


def test_xml_folders_beside_their_runs(cache, devkit, monkeypatch):
    """Folders that the reader leaves out may change: a training writes to runs/."""
    monkeypatch.chdir(devkit)
    first = specs.load('xml:.')
    (devkit / 'runs').mkdir()
    (devkit / 'runs/a.xml').write_text('')
    (devkit / '.hidden').write_text('')
    monkeypatch.setattr(voc_xml, 'parse', None)
    assert_equal(specs.load('xml:.'), first)


def test_coco_beside_its_images(cache, tmp_path, monkeypatch):
    """A missing image that comes later is seen; small files are not kept."""
    (tmp_path / 'images').mkdir()
    (tmp_path / 'images/a.jpg').write_bytes(JPEG)
    images = [{'id': number, 'file_name': f'{name}.jpg', 'width': 96, 'height': 64} for number, name in enumerate('ab')]
    boxes = [{'id': number, 'image_id': number, 'category_id': 0, 'bbox': [1, 2, 3, 4]} for number in range(2)]
    (tmp_path / 'c.json').write_text(json.dumps({'images': images, 'annotations': boxes, 'categories': [
        {'id': 0, 'name': 'dog'}]}))
    spec = f'coco:{tmp_path}/c.json:{tmp_path}/images'
    assert len(specs.load(spec).records) == 1 and not cache.exists()
    monkeypatch.setattr(annotation_cache, 'LARGE_FILE', 1)
    first = specs.load(spec)
    assert len(list(cache.iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(coco, 'read', None)
        assert_equal(specs.load(spec), first)
    (tmp_path / 'images/b.jpg').write_bytes(JPEG)
    assert len(specs.load(spec).records) == 2
    same = (tmp_path / 'c.json').read_text().replace('[1, 2, 3, 4]', '[1, 2, 3, 5]')
    (tmp_path / 'c.json').write_text(same)
    assert specs.load(spec).records[0].boxes.tolist() == [[1, 2, 4, 7]]


def test_without_the_source_code_nothing_is_kept(cache, devkit, tmp_path, monkeypatch):
    """Then an update of the package could not be seen."""
    annotation_cache._rules.cache_clear()
    monkeypatch.setattr(annotation_cache, '_ROOT', tmp_path)
    try:
        assert len(load(devkit).records) == 3 and not cache.exists()
    finally:
        annotation_cache._rules.cache_clear()


def test_relative_paths_of_another_folder(cache, devkit, tmp_path, monkeypatch):
    monkeypatch.chdir(devkit)
    assert specs.load('xml:.').class_names == ['cat', 'dog']
    (tmp_path / 'other').mkdir()
    monkeypatch.chdir(tmp_path / 'other')
    with pytest.raises(InputError, match='no annotation file'):
        specs.load('xml:.')


def test_files_outside_the_folders_are_never_kept(cache, devkit):
    state = annotation_cache.state_of([annotation_cache.Source(str(devkit / 'Annotations'))])
    assert not annotation_cache._covers(state, load(devkit))
    assert annotation_cache._covers(annotation_cache.state_of([annotation_cache.Source(str(devkit))]), load(devkit))


def test_folders_that_hold_themselves(devkit):
    (devkit / 'again').symlink_to(devkit)
    assert annotation_cache.state_of([annotation_cache.Source(str(devkit))]) is not None
    assert annotation_cache.state_of([annotation_cache.Source(str(devkit / 'none'))]) is None


def test_where_it_is(monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', '/x')
    assert cache_folder.folder() == pathlib.Path('/x/yolov3_tf')
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', '/home/me')
    assert cache_folder.folder() == pathlib.Path('/home/me/.cache/yolov3_tf')
