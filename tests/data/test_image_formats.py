"""The table of image formats against files that other libraries write."""
import cv2
import numpy as np
import pytest

from yolov3_tf import image_headers
from yolov3_tf.data import image_formats


@pytest.mark.parametrize('ending', ['.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff'])
def test_first_bytes_are_those_opencv_writes(ending):
    contents = cv2.imencode(ending, np.zeros([5, 7, 3], np.uint8))[1].tobytes()
    name = image_formats.name_of(contents)
    assert ending in image_formats.FORMATS[name].endings and ending in image_formats.ENDINGS
    assert image_formats.FORMATS[name].served == (ending not in ('.webp', '.tif', '.tiff'))


def test_every_format_has_a_reader_of_its_header():
    starts = {magic[:2] for one in image_formats.FORMATS.values() for magic in one.magic}
    assert starts == set(image_headers._READERS)
    assert image_formats.NAMES == 'JPEG, PNG, BMP, GIF, WEBP or TIFF'
    assert image_formats.SERVED_NAMES == 'JPEG, PNG, BMP or GIF'
    assert image_formats.ENDINGS == ('.jpg', '.jpeg', '.jfif', '.jpe', '.png', '.bmp', '.gif', '.webp', '.tif', '.tiff')
    assert image_formats.name_of(b'GIF89a') == 'GIF' and image_formats.name_of(b'') is None
    assert image_formats.name_of(b'RIFF\0\0\0\0AVI ') is None


def test_images_that_are_not_read_are_counted_by_ending():
    assert image_formats.not_read(['a/b.HEIC', 'c.heic', 'd.jpg', 'e.txt', 'f.avif']) == (
        '1 .avif, 2 .heic files are there, which are not read: convert them to JPEG or PNG')
    assert image_formats.not_read(['a.jpg', 'a.txt']) == ''
