"""The filter against the textbook's, with 8 x 8 matrices and an inverse."""
import numpy as np
import pytest

from yolov3_tf.inference import motion


class Textbook:
    """x = F x, P = F P F' + Q; K = P H' inv(H P H' + R), with the deviations of DeepSORT and ByteTrack."""

    def __init__(self, measured):
        self.x = np.concatenate([measured, np.zeros(4)])
        h = measured[3]
        self.P = np.diag(np.square([h / 10, h / 10, .01, h / 10, h / 16, h / 16, 1e-5, h / 16]))
        self.F = np.eye(8) + np.eye(8, k=4)
        self.H = np.eye(4, 8)

    def predict(self):
        h = self.x[3]
        Q = np.diag(np.square([h / 20, h / 20, .01, h / 20, h / 160, h / 160, 1e-5, h / 160]))
        self.x, self.P = self.F @ self.x, self.F @ self.P @ self.F.T + Q

    def correct(self, measured):
        h = self.x[3]
        S = self.H @ self.P @ self.H.T + np.diag(np.square([h / 20, h / 20, .1, h / 20]))
        K = self.P @ self.H.T @ np.linalg.inv(S)
        self.x, self.P = self.x + K @ (measured - self.H @ self.x), self.P - K @ S @ K.T


def box_of(measured):
    x, y, proportion, height = measured
    return [x - proportion * height / 2, y - height / 2, x + proportion * height / 2, y + height / 2]


def test_it_is_the_textbook_filter_for_each_box():
    random = np.random.RandomState(0)
    measured = [np.array([100., 50, .4, 80]), np.array([300., 200, 2.5, 30])]
    books, state = [Textbook(one) for one in measured], motion.begin([box_of(one) for one in measured])
    for frame in range(40):
        state = motion.predict(state, np.zeros(2, bool))
        for book in books:
            book.predict()
        if frame % 4 != 3:                          # not seen in every fourth frame
            measured = [one + random.normal(0, 1, 4) * [3, 3, .01, 1] for one in measured]
            state = motion.correct(state, np.array([box_of(one) for one in measured]))
            for book, one in zip(books, measured):
                book.correct(one)
        for row, book in enumerate(books):
            assert state.means[row] == pytest.approx(book.x[:4]) and state.velocities[row] == pytest.approx(book.x[4:])
            assert np.abs(book.P - np.block(
                [[np.diag(state.variances[row]), np.diag(state.covariances[row])],
                 [np.diag(state.covariances[row]), np.diag(state.velocity_variances[row])]])).max() < 1e-8


def test_boxes_come_back_and_a_steady_motion_is_learnt():
    boxes = np.array([[10., 20, 50, 100], [0, 0, 7, 3]])
    assert motion.begin(boxes).boxes() == pytest.approx(boxes)
    state = motion.begin(boxes)
    for frame in range(1, 30):
        state = motion.correct(motion.predict(state, np.zeros(2, bool)), boxes + frame * np.array([5, -2, 5, -2]))
    for _ in range(5):
        state = motion.predict(state, np.ones(2, bool))
    assert state.boxes()[0] == pytest.approx(boxes[0] + 34 * np.array([5, -2, 5, -2]), abs=.5)


def test_only_a_lost_box_keeps_its_height():
    state = motion.begin(np.array([[0., 0, 10, 10]] * 2))
    state.velocities[:, 3] = 2
    state = motion.predict(state, np.array([True, False]))
    assert state.means[:, 3].tolist() == [10, 12] and state.velocities[:, 3].tolist() == [0, 2]
