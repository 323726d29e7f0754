"""Annotated sizes against the images': resized after labelling, turned by the camera, or of another image."""
import struct

import numpy as np
import pytest
from fixtures.exif import with_exif

from yolov3_tf.data.readers import faults, sizes
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

BOX = 20, 10, 60, 40


def dataset(folder, stated, contents, ending='.jpg'):
    """One image, annotated with this width and height and one box."""
    path = folder / f'a{ending}'
    path.write_bytes(contents)
    record = faults.record(str(path), 'a', *stated, [(BOX, 0, False, False, 1000., 3)], 'a.xml')
    return Dataset([record], ['fish'], [])


@pytest.mark.parametrize('size, factors', [((240, 180), (2, 2)), ((60, 45), (.5, .5)), ((121, 90), None), ((180, 136),
                         (1.5, 136 / 90)), ((320, 240), (8 / 3, 8 / 3)), ((40, 30), (1 / 3, 1 / 3))])
def test_a_resized_image_scales_its_boxes(tmp_path, size, factors):
    factors = factors or (121 / 120, 1)
    read = sizes.match(dataset(tmp_path, (120, 90), with_exif(*size)))
    record, = read.records
    assert (record.width, record.height, record.orientation, record.kind) == (*size, 1, 'JPEG')
    np.testing.assert_allclose(record.boxes, [np.multiply(BOX, np.tile(factors, 2))], rtol=1e-6)
    np.testing.assert_allclose(record.areas, [1000 * factors[0] * factors[1]], rtol=1e-6)
    problem, = read.problems
    assert problem == f'a.xml: annotated as 120 x 90, but {record.image_path} has {size[0]} x {size[1]}; boxes scaled'
    with pytest.raises(InputError, match='annotated as 120 x 90.*--strict'):
        sizes.match(dataset(tmp_path, (120, 90), with_exif(*size)), strict=True)


@pytest.mark.parametrize('size', [(90, 120), (120, 120), (640, 640), (240, 90), (125, 90)])
def test_an_image_of_other_proportions_is_dropped_with_both_sizes(tmp_path, size):
    read = sizes.match(dataset(tmp_path, (120, 90), with_exif(*size)))
    assert not read.records
    assert f'a.jpg has {size[0]} x {size[1]}, other proportions; image dropped' in read.problems[0]


@pytest.mark.parametrize('stated', [(120, 90), (0, 0), (0, 90)])
def test_the_same_or_no_size_changes_nothing(tmp_path, stated):
    before = dataset(tmp_path, stated, with_exif(120, 90))
    read = sizes.match(before, strict=True)
    assert read.records[0].boxes is before.records[0].boxes and read.records[0].orientation == 1
    assert (read.records[0].width, read.records[0].height) == stated and not read.problems and not read.notes


@pytest.mark.parametrize('number, stated, boxes, note', [
    # stored 120 x 90: the size says which of the two was annotated
    (6, (90, 120), [BOX], 'annotated upright'),
    (6, (120, 90), [(90 - 40, 20, 90 - 10, 60)], 'annotated as stored'),
    (8, (120, 90), [(10, 120 - 60, 40, 120 - 20)], 'annotated as stored'),
    (5, (120, 90), [(10, 20, 40, 60)], 'annotated as stored'),
    (7, (90, 120), [BOX], 'annotated upright'),
    # resized as well
    (6, (180, 240), [np.divide(BOX, 2)], 'annotated upright'),
    (6, (240, 180), [(90 - 20, 10, 90 - 5, 30)], 'annotated as stored'),
])
def test_the_stated_size_decides_which_image_was_annotated(tmp_path, number, stated, boxes, note):
    read = sizes.match(dataset(tmp_path, stated, with_exif(120, 90, number)))
    record, = read.records
    assert (record.width, record.height, record.orientation) == (90, 120, number)
    np.testing.assert_allclose(record.boxes, boxes)
    assert len(read.notes) == 1 and f'1 images are turned by their EXIF orientation and {note}' in read.notes[0]


@pytest.mark.parametrize('number, size, stated', [
    (3, (120, 90), (120, 90)), (2, (120, 90), (120, 90)), (6, (90, 90), (90, 90)), (6, (120, 90), (0, 0))])
def test_what_no_size_tells_is_not_used(tmp_path, number, size, stated):
    read = sizes.match(dataset(tmp_path, stated, with_exif(*size, number)))
    assert read.records[0].orientation == -1 and 'in no stated size, so they are left out' in read.notes[0]


def test_a_turned_image_of_another_size_is_dropped(tmp_path):
    read = sizes.match(dataset(tmp_path, (300, 100), with_exif(120, 90, 6)))
    assert not read.records and 'has 90 x 120, other proportions' in read.problems[0]


def test_a_header_that_claims_more_than_its_file_holds_drops_the_image(tmp_path):
    frame = b'\xff\xd8\xff\xc0' + struct.pack('>HBHHB', 17, 8, 24000, 32000, 3) + bytes(9) + b'\xff\xda' + bytes(600)
    read = sizes.match(dataset(tmp_path, (32000, 24000), frame))
    assert not read.records and 'claims 32000 x 24000 pixels, which 623 bytes cannot hold' in read.problems[0]


def test_images_that_cannot_be_opened_are_left_to_those_who_use_them(tmp_path):
    before = dataset(tmp_path, (120, 90), b'nothing')
    assert sizes.match(before).records == before.records
    (tmp_path / 'a.jpg').unlink()
    assert sizes.match(before).records == before.records


def test_slow_storage_is_read_by_threads(tmp_path, monkeypatch):
    one, = dataset(tmp_path, (120, 90), with_exif(120, 90)).records
    monkeypatch.setattr(sizes, 'SLOW', 0.)
    monkeypatch.setattr(sizes, 'PART', 2)
    read = sizes.match(Dataset([one._replace(width=120 + 120 * (number == 5), height=90 + 90 * (number == 5))
                                for number in range(9)], ['fish'], []))
    assert len(read.records) == 9 and len(read.problems) == 1
    np.testing.assert_allclose(read.records[5].boxes, [np.divide(BOX, 2)])


def test_an_image_of_too_many_boxes_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, 'MOST_BOXES', 3)
    read = dataset(tmp_path, (120, 90), with_exif(120, 90))
    record = read.records[0]
    crowded = record._replace(boxes=record.boxes.repeat(4, 0), classes=record.classes.repeat(4))
    found = sizes.match(read._replace(records=[record, crowded]))
    assert len(found.records) == 1
    assert found.problems == ['a.xml: 4 boxes in one image; expected at most 3; image dropped']
