"""figures.overlaps: constructed boxes against hand arithmetic, and every random pair inside the proven limits."""
import cv2
import numpy as np
import pytest

from yolov3_tf.drawing.plots import COLOURS
from yolov3_tf.errors import InputError
from yolov3_tf.figures import overlaps

BLUE, ORANGE = ([int(colour[k:k + 2], 16) for k in (1, 3, 5)] for colour in COLOURS[:2])


def has(path, rgb):
    """Whether some of this colour is in the figure."""
    image = cv2.imread(str(path)).astype(int)
    return (np.abs(image - rgb[::-1]).sum(axis=-1) < 12).sum() > 100


def test_the_least_giou_is_that_of_a_cross():
    """Bars of 1 x k across: overlap 1, union 2 k - 1, hull k^2. k = 2: 1/3 - 1/4; k = 5: 1/9 - 16/25."""
    assert overlaps.lowest_giou(1 / 3) == pytest.approx(1 / 3 - 1 / 4)
    assert overlaps.lowest_giou(1 / 9) == pytest.approx(1 / 9 - 16 / 25)
    assert overlaps.lowest_giou(0) == -1 and overlaps.lowest_giou(1) == 1


def test_random_pairs_keep_the_limits_and_the_seed():
    pairs = overlaps.random_pairs(4000, seed=3)
    apart = pairs.iou == 0
    assert apart.sum() > 400 and (~apart).sum() > 400
    assert (pairs.giou[apart] < 0).all() and (pairs.giou >= -1).all()
    assert (pairs.giou <= pairs.iou + 1e-5).all()
    assert (pairs.giou >= overlaps.lowest_giou(pairs.iou) - 1e-5).all()
    assert np.histogram(pairs.iou[~apart], 10, (0, 1))[0].min() > 20            # every tenth of the axis is filled
    again, other = (overlaps.random_pairs(4000, seed=seed) for seed in (3, 4))
    assert np.array_equal(pairs.iou, again.iou) and not np.array_equal(pairs.iou, other.iou)
    with pytest.raises(InputError, match='--pairs=3: expected at least 10'):
        overlaps.random_pairs(3, 0)


def test_constructed_boxes_are_equally_far_in_their_own_numbers():
    for case in overlaps.equal_corners():
        assert np.linalg.norm(case.box - [0, 0, 40, 40]) == pytest.approx(30)
    for case in overlaps.equal_centres():
        x1, y1, x2, y2 = case.box
        assert np.linalg.norm(np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])
                              - [20, 20, 40, 40]) == pytest.approx(30)


def test_their_overlaps_by_hand(tmp_path):
    """Truth 40 x 40; corners moved by 30 on one side or 15 on four, centre and size by 30 or twice 30 / sqrt 2."""
    step = 30 / 2 ** .5
    moved = (40 - step) ** 2
    moved_iou = moved / (3200 - moved)
    expected = [
        (1600 / (70 * 40),) * 2, (1600 / 70 ** 2,) * 2,
        (25 ** 2 / (3200 - 25 ** 2), 25 ** 2 / 2575 - (55 ** 2 - 2575) / 55 ** 2), (10 ** 2 / 1600,) * 2,
        (1600 / (70 * 40),) * 2, (1600 / (40 + step) ** 2,) * 2, (10 / 40,) * 2,
        (moved_iou, moved_iou - ((40 + step) ** 2 - (3200 - moved)) / (40 + step) ** 2)]
    text = overlaps.equal_l2(tmp_path / 'new' / 'l2.png')
    lines = [line for line in text.split('\n') if 'IoU' in line]
    assert len(lines) == len(expected) == 8
    for line, (iou, giou) in zip(lines, expected):
        assert line.endswith(f'IoU {iou:.2f}   GIoU {giou:.2f}')
    assert has(tmp_path / 'new' / 'l2.png', ORANGE)


def test_giou_over_iou_is_drawn_with_its_numbers(tmp_path):
    text = overlaps.giou_over_iou(tmp_path / 'g.png', 500, seed=1)
    pairs = overlaps.random_pairs(500, seed=1)
    assert f'500 pairs: {(pairs.iou > 0).sum()} overlap' in text and f'{(pairs.iou == 0).sum()} do not' in text
    assert has(tmp_path / 'g.png', ORANGE) and cv2.imread(str(tmp_path / 'g.png')).shape[1] == 1240
    overlaps.giou_over_iou(tmp_path / 'h.png', 500, seed=1)
    assert (tmp_path / 'g.png').read_bytes() == (tmp_path / 'h.png').read_bytes()
