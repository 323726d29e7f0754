"""Orientations: pixels and boxes turn alike, and as Pillow turns them."""
import numpy as np
import pytest

from yolov3_tf import orientation


@pytest.mark.parametrize('number', range(1, 9))
def test_boxes_follow_the_pixels(number):
    stored = np.zeros([20, 30], np.uint8)
    stored[3:9, 5:20] = 1
    upright = orientation.upright_pixels(stored, number)
    rows, columns = np.nonzero(upright)
    expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_array_equal(orientation.upright_boxes(np.array([[5, 3, 20, 9]]), 30, 20, number), [expected])
    assert orientation.upright_size(30, 20, number) == upright.shape[::-1]
    assert orientation.upright_boxes(np.zeros([0, 4]), 30, 20, number).shape == (0, 4)


@pytest.mark.parametrize('number', range(1, 9))
def test_pixels_turn_as_pillow_turns_them(number):
    image = pytest.importorskip('PIL.Image')
    ops = pytest.importorskip('PIL.ImageOps')
    pixels = np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3)
    marked = image.fromarray(pixels)
    marked.getexif()[orientation.TAG] = number
    np.testing.assert_array_equal(orientation.upright_pixels(pixels, number), np.asarray(ops.exif_transpose(marked)))
