"""The table of image formats against files that other libraries write."""
import cv2
import numpy as np
import pytest

from yolov3_tf.data import image_formats
from yolov3_tf.data.readers import headers


@pytest.mark.parametrize('ending', ['.jpg', '.jpeg', '.png', '.bmp'])
def test_first_bytes_are_those_opencv_writes(ending):
    contents = cv2.imencode(ending, np.zeros([5, 7, 3], np.uint8))[1].tobytes()
    name = image_formats.name_of(contents)
    assert ending in image_formats.FORMATS[name].endings


@pytest.mark.parametrize('ending', ['.webp', '.tiff'])
def test_what_only_opencv_reads_is_no_format_of_datasets(ending):
    contents = cv2.imencode(ending, np.zeros([5, 7, 3], np.uint8))[1].tobytes()
    assert image_formats.name_of(contents) is None and ending not in image_formats.ENDINGS
    assert [contents.startswith(one.magic) for one in image_formats.FORMATS.values() if ending in one.endings] == [True]


def test_every_format_of_datasets_has_a_reader_of_its_header():
    assert set(headers._READERS) == set(image_formats.IN_DATASETS)
    assert image_formats.NAMES == 'JPEG, PNG, BMP or GIF'
    assert image_formats.ENDINGS == ('.jpg', '.jpeg', '.png', '.bmp', '.gif')
    assert image_formats.name_of(b'GIF89a') == 'GIF' and image_formats.name_of(b'') is None
