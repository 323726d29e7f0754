"""Pipes and devices where files are expected: refused or left out at once, never waited for."""
import os

import cv2
import numpy as np
import pytest

from yolov3_tf import regular_file
from yolov3_tf.anchors import files as anchor_files
from yolov3_tf.data.readers import class_files, specs
from yolov3_tf.errors import InputError

XML = ('<annotation><size><width>120</width><height>90</height></size><object><name>fish</name><bndbox><xmin>21</xmin>'
       '<ymin>21</ymin><xmax>71</xmax><ymax>61</ymax></bndbox></object></annotation>')


def replace(path):
    if os.path.exists(path):
        os.remove(path)
    os.mkfifo(path)


@pytest.fixture
def folder(tmp_path):
    """Three images with VOC XML and darknet's labels."""
    for number in range(3):
        cv2.imwrite(str(tmp_path / f'{number}.png'), np.full((90, 120, 3), 50 * number, np.uint8))
        (tmp_path / f'{number}.xml').write_text(XML)
        (tmp_path / f'{number}.txt').write_text('0 .5 .5 .2 .2')
    (tmp_path / 'list').write_text(''.join(f'{tmp_path}/{number}.png\n' for number in range(3)))
    (tmp_path / 'names').write_text('fish')
    return tmp_path


@pytest.mark.parametrize('spec, annotation', [('xml:{}', '1.xml'), ('darknet:{0}/list:{0}/names', '1.txt')])
def test_a_pipe_among_images_or_annotations_is_left_out(folder, spec, annotation):
    spec = spec.format(folder)
    assert len(specs.load(spec).records) == 3
    replace(folder / '2.png')
    found = specs.load(spec)
    assert len(found.records) == 2 and any('2.png' in problem for problem in found.problems)
    replace(folder / annotation)
    found = specs.load(spec)
    assert [os.path.basename(record.image_path) for record in found.records if len(record.boxes)] == ['0.png']
    assert any(annotation in problem or '1.png' in problem for problem in found.problems)


@pytest.mark.parametrize('spec', ['list:{}', 'csv:{}', 'coco:{}:.', 'yolo:{}:train', 'darknet:{}', 'via:{}', 'cvat:{}',
                                  'createml:{}'])
def test_a_pipe_as_the_file_of_a_spec_is_refused(tmp_path, spec):
    os.mkfifo(tmp_path / 'pipe')
    with pytest.raises(InputError, match='pipe'):
        specs.load(spec.format(tmp_path / 'pipe'))


@pytest.mark.parametrize('read', [class_files.read_class_file, anchor_files.read_for_yolov3])
def test_a_pipe_or_a_device_as_a_small_file_is_refused(tmp_path, read):
    os.mkfifo(tmp_path / 'pipe')
    os.symlink('/dev/zero', tmp_path / 'zero')
    for name in ('pipe', 'zero'):
        with pytest.raises(InputError, match='pipe or a device, not a file'):
            read(str(tmp_path / name))


def test_files_and_folders_are_none(tmp_path):
    (tmp_path / 'a').write_text('text')
    with open(tmp_path / 'a', opener=regular_file.opener) as file:
        assert file.read() == 'text'
    with pytest.raises(IsADirectoryError):
        open(tmp_path, opener=regular_file.opener)
    with pytest.raises(FileNotFoundError):
        open(tmp_path / 'b', opener=regular_file.opener)
    assert not regular_file.waits(tmp_path / 'a') and not regular_file.waits(tmp_path) and not regular_file.waits('\0')
