"""Evaluation where some images could not be read."""
import numpy as np
import pytest

from yolov3_tf.evaluation import report
from yolov3_tf.structures import Dataset, Detections, Record


def record(name, boxes):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    none = np.zeros(len(boxes), bool)
    return Record(f'{name}.jpg', name, 100, 100, boxes, np.zeros(len(boxes), np.int32), none, none,
                  np.full(len(boxes), 100.))


def found(name, *boxes):
    return Detections(name, np.array(boxes, np.float32).reshape(-1, 4), np.full(len(boxes), .9, np.float32),
                             np.zeros(len(boxes), np.int32))


def test_objects_of_unreadable_images_do_not_count_as_missed():
    """One object found, one missed: AP .5. The three of the unreadable image would make it .2."""
    dataset = Dataset([record('a', [[0, 0, 9, 9]]), record('b', [[0, 0, 9, 9]]), record('c', [[1, 1, 9, 9]] * 3)],
                      ['cat'], [])
    detections, skipped = [found('a', [0, 0, 9, 9]), found('b')], {'c.jpg': 'c.jpg: truncated'}
    assert report.mean_ap(report.read_part(dataset, skipped), detections) == pytest.approx(.5)
    assert report.mean_ap(dataset, detections) == pytest.approx(.2)
    assert report.describe_skipped(dataset, skipped).startswith('1 of 3 images could not be read: they and their 3 o')
    assert report.describe_skipped(dataset, {}) == ''
