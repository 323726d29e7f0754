"""Reliability by score, by visible arithmetic."""
import numpy as np
import pytest

from yolov3_tf.evaluation import calibration, voc


def curve(hits, scores, positives):
    count = np.cumsum(hits)
    recall = count / positives if positives else np.full(len(hits), np.nan)
    return voc.Curve(recall, count / np.arange(1, len(hits) + 1), np.array(scores, float), positives)


def test_bins_and_error_by_hand():
    """.95 and .91 right: off by .07; .35 right, .31 wrong: off by .17; a class without objects adds .05 wrong."""
    of = calibration.find([curve([1, 1, 1, 0], [.95, .91, .35, .31], 4), curve([0], [.05], 0)])
    assert of.counts.tolist() == [1, 0, 0, 2, 0, 0, 0, 0, 0, 2]
    np.testing.assert_allclose(of.scores[[0, 3, 9]], [.05, .33, .93])
    np.testing.assert_allclose(of.precision[[0, 3, 9]], [0, .5, 1])
    assert np.isnan(of.precision[1]) and of.error == pytest.approx((.05 + 2 * .17 + 2 * .07) / 5)


def test_a_perfectly_calibrated_detector_has_no_error():
    scores = np.repeat([.75, .25], 4)
    of = calibration.find([curve([1, 1, 1, 0, 1, 0, 0, 0], scores, 9)])
    assert of.error == pytest.approx(0) and of.counts[[2, 7]].tolist() == [4, 4]


def test_a_score_of_1_is_in_the_last_bin_and_low_scores_can_be_left_out():
    of = calibration.find([curve([1, 0], [1., .04], 1)], least=.05)
    assert of.counts.tolist() == [0] * 9 + [1] and of.error == 0


@pytest.mark.parametrize('scores', [[], [7.], [-1.]])
def test_without_detections_or_with_other_scores_there_is_none(scores):
    of = calibration.find([curve([1] * len(scores), scores, 1)])
    assert np.isnan(of.error) and of.counts.sum() == 0
