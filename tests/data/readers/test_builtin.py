"""The built-in set: real VOC layout, deterministic, held-out images, bounded overlaps, tight boxes."""
import hashlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from yolov3_tf.data.readers import builtin, shapes, voc


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return builtin.prepare(24, str(tmp_path_factory.mktemp('cache')))


def digest(folder):
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(pathlib.Path(folder).rglob('*')) if path.is_file()}


def test_read_by_the_voc_reader_without_a_problem(folder):
    train = voc.read(folder, 'train', strict=True)
    val = voc.read(folder, 'val', shapes.CLASS_NAMES, strict=True)
    assert len(train.records) == 24 and len(val.records) == 6
    assert train.class_names == list(shapes.CLASS_NAMES)
    for record in train.records:
        height, width = cv2.imread(record.image_path).shape[:2]
        assert (record.width, record.height) == (width, height)
    assert any(record.width != record.height for record in train.records)


def test_the_same_bytes_every_time_and_the_same_first_images(folder, tmp_path):
    assert digest(builtin.prepare(24, str(tmp_path))) == digest(folder)
    fewer = digest(builtin.prepare(4, str(tmp_path)))
    shared = {name for name in fewer if 'ImageSets' not in name}
    more = digest(folder)
    assert len(shared) == 10 and all(more[name] == fewer[name] for name in shared)


def test_held_out_images_are_no_training_images(folder):
    images = {name: value for name, value in digest(folder).items() if name.endswith('.jpg')}
    assert len(set(images.values())) == len(images) == 30


def test_a_complete_set_is_used_again(folder):
    before = pathlib.Path(folder).stat().st_mtime_ns
    assert builtin.prepare(24, str(pathlib.Path(folder).parent)) == folder
    assert pathlib.Path(folder).stat().st_mtime_ns == before


def test_a_kill_half_way_leaves_no_set_and_the_next_call_draws_it_whole(folder, tmp_path):
    code = f'from yolov3_tf.data.readers import builtin; builtin.prepare(5000, {str(tmp_path)!r})'
    process = subprocess.Popen([sys.executable, '-c', code])
    while not list(tmp_path.glob('.shapes*/JPEGImages/*3.jpg')) and process.poll() is None:
        time.sleep(.05)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not list(tmp_path.glob('shapes*'))
    assert digest(builtin.prepare(24, str(tmp_path))) == digest(folder)


def test_what_another_container_with_this_process_number_draws_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(os, 'getpid', lambda: 1)
    others = tmp_path / f'.shapes-4-v{builtin.VERSION}.1' / 'JPEGImages'
    others.mkdir(parents=True)
    builtin.prepare(4, str(tmp_path))
    assert others.is_dir()


def test_boxes_are_tight_around_the_drawn_pixels(monkeypatch):
    """Painted without clutter, an object's box is exactly where the image differs from its ground."""
    monkeypatch.setattr(shapes, '_ground', lambda rng, h, w: np.full((h, w, 3), 128, np.float32))
    monkeypatch.setattr(shapes, '_paint', lambda rng, image, mask: image.__setitem__(mask >= 128, 255))
    monkeypatch.setattr(shapes, 'FEWEST_OBJECTS', 1)
    monkeypatch.setattr(shapes, 'MOST_OBJECTS', 1)
    for seed in range(12):
        drawing = shapes.draw(np.random.default_rng(seed))
        drawn = (drawing.image.astype(int) > 190).any(-1)  # the noise stays far below
        rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
        assert drawing.objects[0].box == (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)


def test_small_and_large_objects_of_every_class_and_bounded_overlap():
    drawings = [shapes.draw(np.random.default_rng([9, seed])) for seed in range(60)]
    objects = [(item, drawing.image.shape) for drawing in drawings for item in drawing.objects]
    assert {item.name for item, _ in objects} == set(shapes.CLASS_NAMES)
    sides = [max(item.box[2] - item.box[0], item.box[3] - item.box[1]) / min(shape[:2])
             for item, shape in objects]
    assert min(sides) < .2 and .45 < max(sides) < .75
    for item, (height, width, _) in objects:
        x1, y1, x2, y2 = item.box
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
    assert 2 * len(drawings) < len(objects) < 5 * len(drawings)
    assert not any(item.difficult for item, _ in objects)      # three quarters of each are visible


def test_no_object_is_hidden_beyond_the_bound():
    first, second = np.zeros((2, 40, 40), bool)
    first[10:20, 10:20] = True
    cover = np.zeros((40, 40), np.uint8)
    cover[10:20, 10:18] = 255
    assert shapes._hides_too_much(cover, [first])
    cover[10:20, 12:18] = 0
    assert not shapes._hides_too_much(cover, [first])
    second[10:20, 19:20] = True  # what is hidden by two together counts
    assert shapes._hides_too_much(cover, [first, second])
