"""Sets without a box or an image that can be used are refused, with the first reasons."""
import cv2
import numpy as np
import pytest

from yolov3_tf.data import unused
from yolov3_tf.data.readers import faults
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset


def record(path, *crowds):
    return faults.record(str(path), 'a', 9, 9, [((0, 0, 5, 5), 0, False, crowd, None, 1) for crowd in crowds])


def test_one_box_is_enough_and_a_crowd_is_none():
    unused.require_boxes('x', Dataset([record('a'), record('b', True, False)], ['fish'], []), 'to train on')
    for records in [record('a')], [record('a', True)], []:
        with pytest.raises(InputError, match='^x: (none of its 1 images has a box|no image is left) to train on'):
            unused.require_boxes('x', Dataset(records, ['fish'], []), 'to train on')


def test_the_first_problems_are_named():
    problems = [f'a.txt:{number}: wrong; dropped' for number in range(8)]
    with pytest.raises(InputError) as caught:
        unused.require_boxes('list:x', Dataset([record('a')], ['fish'], problems), 'to train on')
    assert str(caught.value).splitlines() == [
        'list:x: none of its 1 images has a box to train on; the first problems:',
        *(f'  {problem}' for problem in problems[:5]), '  and 3 more', 'yolov3-tf check list:x shows all']


def test_one_readable_image_is_enough(tmp_path):
    good = tmp_path / 'good.png'
    cv2.imwrite(str(good), np.zeros([9, 9, 3], np.uint8))
    bad = [record(tmp_path / f'gone{number}.png') for number in range(8)]
    unused.require_an_image('x', Dataset([*bad, record(good)], ['fish'], []))
    with pytest.raises(InputError, match='x: none of its 8 images can be used; .*reasons:\n.*gone0.png: there is'):
        unused.require_an_image('x', Dataset(bad, ['fish'], []))
