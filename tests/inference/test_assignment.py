"""The assignment against all assignments there are, and against values made by hand."""
import itertools

import numpy as np
import pytest

from yolov3_tf.inference.assignment import best_pairs


def by_trying(gains):
    """The largest sum of positive gains over all injections of the shorter side into the longer one."""
    gains = np.maximum(gains if gains.shape[0] <= gains.shape[1] else gains.T, 0)
    rows = range(gains.shape[0])
    return max(sum(gains[row, column] for row, column in zip(rows, columns))
               for columns in itertools.permutations(range(gains.shape[1]), gains.shape[0]))


@pytest.mark.parametrize('shape', [(0, 0), (0, 3), (3, 0), (1, 1), (1, 5), (5, 1), (3, 3), (4, 6), (6, 4), (5, 5)])
def test_the_sum_is_the_best_there_is(shape):
    random = np.random.RandomState(0)
    for trial in range(60):
        gains = random.uniform(-1, 1, shape)
        if trial % 3 == 0:
            gains = np.round(3 * gains)             # many equal sums, many zeros
        rows, columns = best_pairs(gains)
        assert len(set(rows)) == len(rows) == len(set(columns)) == len(columns)
        assert (gains[rows, columns] > 0).all() and rows.tolist() == sorted(rows)
        assert gains[rows, columns].sum() == pytest.approx(by_trying(gains))


def test_the_best_pair_is_given_up_where_two_others_are_worth_more():
    rows, columns = best_pairs(np.array([[5., 4.], [4., 0.]]))
    assert (rows.tolist(), columns.tolist()) == ([0, 1], [1, 0])
    rows, columns = best_pairs(np.array([[9., 4.], [4., -1.]]))
    assert (rows.tolist(), columns.tolist()) == ([0], [0])          # a pair of no gain is not made


def test_hundreds_are_no_matter_and_equal_input_gives_equal_pairs():
    gains = np.random.RandomState(1).uniform(size=[150, 200])
    rows, columns = best_pairs(gains)
    assert len(rows) == 150 and gains[rows, columns].sum() > 147    # the best of 200 each: about 1 - 1/200
    again = best_pairs(gains.copy())
    assert (again[1] == columns).all()
