"""Priors as published, and their order over images that are not square."""
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.anchors import YOLOV3_ANCHORS, Anchors, lay_out
from yolov3_tf.errors import InputError

# Anchors line of darknet's yolov3.cfg, masks 0-2 at stride 8 to 6-8 at stride 32.
DARKNET = '10,13,  16,30,  33,23,  30,61,  62,45,  59,119,  116,90,  156,198,  373,326'


def test_the_nine_priors_are_darknets():
    numbers = [float(word) for word in DARKNET.replace(' ', '').split(',')]
    assert np.ravel(YOLOV3_ANCHORS.sizes).tolist() == numbers
    assert YOLOV3_ANCHORS.strides == (8, 16, 32)


@pytest.mark.parametrize('size, slots', [(416, 10647), (608, 22743), (320, 6300)])
def test_published_numbers_of_predictions(size, slots):
    assert lay_out(YOLOV3_ANCHORS, size, size).cells.shape == (slots, 2)


@pytest.mark.parametrize('height, width', [(96, 160), (64, 32), (32, 32)])
@pytest.mark.parametrize('graph', [False, True])
def test_order_is_level_row_column_prior(height, width, graph):
    def arrays(height, width):
        priors = lay_out(YOLOV3_ANCHORS, height, width)
        return priors.cells, priors.strides, priors.anchors, priors.levels, priors.grids
    if graph:
        arrays = tf.function(arrays)
        height, width = tf.constant(height), tf.constant(width)
    cells, strides, sizes, levels, grids = (x.numpy() for x in arrays(height, width))
    rows = []
    for level, stride in enumerate((8, 16, 32)):
        for row in range(int(height) // stride):
            for column in range(int(width) // stride):
                for prior in YOLOV3_ANCHORS.sizes[level]:
                    rows.append((column, row, stride, *prior, level))
    got = np.concatenate([cells, strides[:, None], sizes, levels[:, None]], -1)
    np.testing.assert_array_equal(got, rows)
    np.testing.assert_array_equal(grids, [[int(height) // s, int(width) // s] for s in (8, 16, 32)])


def test_types_are_those_of_the_structure():
    priors = lay_out(YOLOV3_ANCHORS, 64, 96)
    assert [x.dtype for x in priors[:4]] == [tf.float32, tf.float32, tf.float32, tf.int32]
    assert priors.grids.dtype == tf.int32 and priors.table is YOLOV3_ANCHORS


def test_two_levels_of_unequal_counts():
    tiny = Anchors(sizes=(((10., 14.), (23., 27.)), ((81., 82.),)), strides=(16, 32))
    priors = lay_out(tiny, 64, 32)
    assert priors.cells.shape == (4 * 2 * 2 + 2 * 1 * 1, 2)
    np.testing.assert_array_equal(priors.levels, [0] * 16 + [1] * 2)
    np.testing.assert_array_equal(priors.anchors[-3:], [[23, 27], [81, 82], [81, 82]])


@pytest.mark.parametrize('height, width, message', [
    (100, 96, 'height 100.*32.*96'), (96, 250, 'width 250.*256'), (0, 32, 'height 0'), (32, -32, 'width -')])
def test_a_size_that_does_not_fit_is_refused_with_one_that_does(height, width, message):
    with pytest.raises(InputError, match=message):
        lay_out(YOLOV3_ANCHORS, height, width)
