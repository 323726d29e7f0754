"""Classification AP against hand arithmetic, and its file."""
import json
import math

import numpy as np
import pytest

from yolov3_tf.evaluation import classification
from yolov3_tf.structures import Record


def image(*objects):
    """A record of (class, difficult) pairs."""
    n = len(objects)
    return Record('x.jpg', 'x', 9, 9, np.tile(np.array([[0, 0, 5, 5]], np.float32), (n, 1)),
                  np.array([class_id for class_id, _ in objects], np.int32),
                  np.array([marked for _, marked in objects], bool), np.zeros(n, bool), np.full(n, 25, np.float32))


def test_images_are_ranked_by_score():
    records = [image((0, False)), image((1, False)), image((0, False), (0, False)), image()]
    scores = [[.9, .1], [.8, .2], [.7, .9], [.1, .8]]
    evaluated = classification.evaluate(records, scores, ['cat', 'dog'])
    # cat: hit at ranks 1 and 3 of 2 images: 1/2 (1 + 2/3); dog: hit at rank 3 of 1: 1/3
    assert evaluated.average_precision == pytest.approx([(1 + 2 / 3) / 2, 1 / 3])
    assert evaluated.mean == pytest.approx((5 / 6 + 1 / 3) / 2)
    assert evaluated.images.tolist() == [2, 1]


def test_an_image_with_only_difficult_objects_is_ignored():
    records = [image((0, True)), image((0, False)), image((0, True), (0, False)), image()]
    evaluated = classification.evaluate(records, [[.9], [.8], [.7], [.6]], ['cat'])
    assert evaluated.average_precision == pytest.approx([1.])        # the first image is ignored
    assert evaluated.images.tolist() == [2]


def test_a_class_that_occurs_in_no_image_has_no_ap(tmp_path):
    evaluated = classification.evaluate([image((0, False))], [[.3, .9]], ['cat', 'dog'])
    assert math.isnan(evaluated.average_precision[1]) and evaluated.mean == 1
    content = json.loads(classification.write(tmp_path / 'made', evaluated).read_text())
    assert content == {'mean': 1., 'per_class': {'cat': 1., 'dog': None}}
    rows = classification.table(evaluated).splitlines()
    assert [row.split() for row in rows[1:]] == [['cat', '1', '100.0'], ['dog', '0', '-'], ['mean', '100.0']]
