"""Kept images give the same batches, are read once, and a damaged copy counts as none."""
import os
import shutil

import cv2
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.data import caches, pipeline
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, Record


@pytest.fixture
def dataset(tmp_path):
    return draw_set(tmp_path)


def draw_set(folder):
    records = []
    for number in range(4):
        path = folder / f'{number}.png'
        cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 255, [40, 60, 3], np.uint8))
        records.append(Record(str(path), path.stem, 0, 0, np.array([[2, 3, 30, 20]], np.float32),
                              np.zeros(1, np.int32), np.zeros(1, bool), np.zeros(1, bool), np.zeros(1, np.float32)))
    return Dataset(records, ['thing'], [])


def epochs(dataset, cache, between=lambda: None):
    """Images and their numbers in two epochs of two batches; ``between`` happens once all have been read."""
    settings = pipeline.PipelineSettings(2, (32,), augment=('flip', 'crop'), threads=1)
    stream = iter(pipeline.training_batches(dataset, settings, 5, cache=cache).take(12))
    found = [next(stream) for _ in range(8)]            # more than two epochs, for batches are made ahead
    between()
    found += stream
    return [(images.numpy(), indices.numpy()) for images, _, indices in found]


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """The batches of such a set that is not kept."""
    return epochs(draw_set(tmp_path_factory.mktemp('plain')), None)


@pytest.mark.parametrize('kind', sorted(caches.CACHES))
def test_the_batches_are_the_same_and_images_are_read_once(dataset, plain, tmp_path, kind):
    def between():
        if kind != 'none':
            for record in dataset.records:
                (tmp_path / f'{record.image_id}.png').unlink()
    kept = epochs(dataset, caches.CACHES[kind](tmp_path / 'cache'), between)
    for (images, indices), (others, theirs) in zip(plain, kept):
        np.testing.assert_array_equal(indices, theirs)
        np.testing.assert_array_equal(images, others)


def test_a_damaged_copy_is_read_again_and_old_copies_are_dropped(dataset, plain, tmp_path):
    def damage():
        for copy in (tmp_path / 'cache').iterdir():
            copy.write_bytes(copy.read_bytes()[:40])
    kept = epochs(dataset, caches.Disk(tmp_path / 'cache'), damage)
    assert all(np.array_equal(images, others) for (images, _), (others, _) in zip(plain, kept))
    caches.Disk(tmp_path / 'cache')
    assert not list((tmp_path / 'cache').iterdir())


def read_bytes(cache, path):
    """What the pipeline's way of reading gives of one image, [] where it leaves it out."""
    read = tf.data.Dataset.range(1).map(lambda index: cache.contents(index, lambda: tf.io.read_file(str(path))))
    return list(read.ignore_errors().as_numpy_iterator())


def no_folder(folder):
    shutil.rmtree(folder)
    folder.touch()


def no_file(folder):
    os.symlink(folder / 'none' / '0', folder / '0')


@pytest.mark.parametrize('spoil', [no_folder, no_file, shutil.rmtree])
def test_an_image_that_cannot_be_kept_is_not_lost(tmp_path, spoil):
    (tmp_path / 'a').write_bytes(b'image')
    cache = caches.Disk(tmp_path / 'cache')
    spoil(tmp_path / 'cache')
    assert [read_bytes(cache, tmp_path / 'a') for _ in range(2)] == [[b'image']] * 2
    assert read_bytes(cache, tmp_path / 'gone') == ([b'image'] if spoil is shutil.rmtree else [])


@pytest.mark.parametrize('name', ['exp[1]', 'a*', 'what?', 'back\\slash'])
def test_copies_are_found_in_a_folder_with_the_letters_of_a_pattern(tmp_path, name):
    (tmp_path / 'a').write_bytes(b'image')
    cache = caches.Disk(tmp_path / name / 'cache')
    assert read_bytes(cache, tmp_path / 'gone') == []
    assert read_bytes(cache, tmp_path / 'a') == [b'image']
    (tmp_path / 'a').unlink()
    assert read_bytes(cache, tmp_path / 'a') == [b'image']


def test_processes_may_share_a_folder_and_a_file_may_not_be_one(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'rmtree', lambda folder, ignore_errors: os.makedirs(folder))   # another was faster
    caches.Disk(tmp_path / 'cache')
    monkeypatch.undo()
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='file: no folder to keep images in'):
        caches.Disk(tmp_path / 'file')


def test_auto_keeps_images_in_memory_up_to_a_quarter_of_what_is_free(tmp_path, monkeypatch):
    """Files of 30 and 50 bytes, a record of 20 in a shard and a file that is missing: 100 bytes fit in 400."""
    for name, size in (('a', 30), ('b', 50)):
        (tmp_path / name).write_bytes(b'x' * size)
    paths = [str(tmp_path / 'a'), str(tmp_path / 'b'), f'{tmp_path}/shard.tfrecord#12345+20', str(tmp_path / 'none')]
    for free, kind in ((400, caches.Memory), (399, type(None)), (0, type(None))):
        monkeypatch.setattr(caches, 'free_memory', lambda free=free: free)
        assert isinstance(caches.CACHES['auto'](tmp_path, paths), kind)
    monkeypatch.undo()
    monkeypatch.setattr(caches.os, 'sysconf', {'SC_AVPHYS_PAGES': 3, 'SC_PAGE_SIZE': 4096}.__getitem__)
    assert caches.free_memory() == 12288

    def missing(name):
        raise ValueError(name)          # as on a system without this number
    monkeypatch.setattr(caches.os, 'sysconf', missing)
    assert caches.free_memory() == 0
