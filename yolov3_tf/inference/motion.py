"""Where tracked boxes are in the next frame: a Kalman filter of constant velocity, all tracks at once.

The state is that of SORT (Bewley et al., ICIP 2016) with the noise of DeepSORT, as in ByteTrack (Zhang et al.,
ECCV 2022): centre, proportion width / height, and height of a box, and how they change from frame to frame. All noise
follows the height. Each of the four moves by itself: no matrix of the filter mixes them, so the 8 x 8 covariance is
four of 2 x 2, and no matrix has to be inverted.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Standard deviations as a share of the height (centre and height), and of the proportion itself, by frame.
POSITION, VELOCITY = 1 / 20, 1 / 160
PROPORTION, PROPORTION_VELOCITY, PROPORTION_SEEN = 1e-2, 1e-5, 1e-1
LEAST_HEIGHT = 1.       # pixels, for the noise: of a height of 0 every measurement would be certain


class Motion(NamedTuple):
    """The state of n boxes.

    Attributes:
      means: float64 [n, 4] centre x, centre y in pixels, width / height, height in pixels.
      velocities: float64 [n, 4] their change in one frame.
      variances, covariances, velocity_variances: float64 [n, 4] of the means, of both, of the velocities.
    """
    means: np.ndarray
    velocities: np.ndarray
    variances: np.ndarray
    covariances: np.ndarray
    velocity_variances: np.ndarray

    def select(self, keep: np.ndarray) -> Motion:
        """Some of the boxes, by a mask or indices."""
        return Motion(*(part[keep] for part in self))

    def boxes(self) -> np.ndarray:
        """float64 [n, 4] x1, y1, x2, y2 in pixels."""
        heights = self.means[:, 3]
        half = np.stack([self.means[:, 2] * heights, heights], 1) / 2
        return np.concatenate([self.means[:, :2] - half, self.means[:, :2] + half], 1)


def begin(boxes: np.ndarray) -> Motion:
    """The state of boxes [n, 4] (x1, y1, x2, y2, positive sides) that are seen for the first time, at rest."""
    means = _measured(boxes)
    return Motion(means, np.zeros_like(means), _variance(means, 2 * POSITION, PROPORTION), np.zeros_like(means),
                  _variance(means, 10 * VELOCITY, PROPORTION_VELOCITY))


def predict(motion: Motion, lost: np.ndarray) -> Motion:
    """The state one frame later; ``lost`` bool [n] marks boxes whose height no longer changes, as in ByteTrack."""
    velocities = motion.velocities.copy()
    velocities[lost, 3] = 0.
    covariances = motion.covariances + motion.velocity_variances
    return Motion(
        motion.means + velocities, velocities,
        motion.variances + motion.covariances + covariances + _variance(motion.means, POSITION, PROPORTION),
        covariances,
        motion.velocity_variances + _variance(motion.means, VELOCITY, PROPORTION_VELOCITY))


def correct(motion: Motion, boxes: np.ndarray) -> Motion:
    """The state after each box was seen at ``boxes`` [n, 4] (x1, y1, x2, y2, positive sides)."""
    innovations = motion.variances + _variance(motion.means, POSITION, PROPORTION_SEEN)
    gains, velocity_gains = motion.variances / innovations, motion.covariances / innovations
    off = _measured(boxes) - motion.means
    return Motion(
        motion.means + gains * off, motion.velocities + velocity_gains * off,
        motion.variances - gains ** 2 * innovations,
        motion.covariances - gains * velocity_gains * innovations,
        motion.velocity_variances - velocity_gains ** 2 * innovations)


def _measured(boxes):
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, sides[:, :1] / sides[:, 1:], sides[:, 1:]], 1)


def _variance(means, of_height, of_proportion):
    deviations = np.repeat(of_height * np.maximum(means[:, 3:], LEAST_HEIGHT), 4, 1)
    deviations[:, 2] = of_proportion
    return deviations ** 2
