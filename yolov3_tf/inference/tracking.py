"""Detections of successive frames -> tracks: which of them are the same object. ByteTrack (Zhang et al., ECCV 2022).

In each frame, every track is predicted (``motion``), then

1. high-scoring detections are paired with the confirmed tracks, lost ones included, by overlap;
2. low-scoring ones with those tracks that were seen in the last frame and are still without one: what is half hidden
   or blurred scores low, but lies where its track expects it. Noise does not, so no track begins with a low score;
3. remaining high-scoring ones with the tracks that began in the last frame, which are confirmed by it, else forgotten;
4. each that is left begins a track. It has an id, and is reported, once it is confirmed; in the first frame at once.

A confirmed track without detection is lost: it moves on unseen, and is forgotten when the buffer has passed. All pairs
are of one class. Overlaps, steps 3 and 4, and what happens to doubles are those of the authors' program
(github.com/ifzhang/ByteTrack), with two differences, for here the score threshold is often low: overlap is not
multiplied by the score, and a track begins at the threshold, not .1 above it. 100 objects take 3 ms a frame.
"""
from __future__ import annotations

from typing import NamedTuple

import numpy as np

from yolov3_tf.errors import InputError
from yolov3_tf.evaluation.voc import iou
from yolov3_tf.inference import assignment, motion
from yolov3_tf.structures import Detections

LOW_SCORE = .1          # by default, at most half of the score threshold
LOW_SCORE_IOU = .5      # least overlap in step 2
CONFIRMING_IOU = .3     # in step 3
DOUBLE_IOU = .85        # a lost and a seen track that overlap more are one
FRAME_RATE = 30.        # where it is unknown
MOST_RATE = 240.        # streams without a rate announce the clock of their time stamps, such as 90000
MOST_BUFFER = 60.       # seconds


class Tracking(NamedTuple):
    """How detections become tracks.

    Attributes:
      score_threshold: tracks begin with detections that score above it, 0..1.
      low_score: detections above it go on with a track, 0..1, not above ``score_threshold``; where both are equal there
        is no second step. None: .1, or half of ``score_threshold`` where that is less.
      iou: least overlap of a detection and the predicted box of its track, 0..1.
      buffer: seconds after which an unseen track is forgotten, 0..60. The paper's 30 frames are one second.
    """
    score_threshold: float
    low_score: float | None = None
    iou: float = .2
    buffer: float = 1.

    @property
    def lowest(self) -> float:
        """The score that a detection must exceed to be of use."""
        return min(LOW_SCORE, self.score_threshold / 2) if self.low_score is None else self.low_score

    def buffer_frames(self, frame_rate: float) -> int:
        """The buffer in frames: at least one, unless it is 0."""
        rate = frame_rate if 0 < frame_rate <= MOST_RATE else FRAME_RATE
        return max(round(self.buffer * rate), 1) if self.buffer else 0


class Tracker:
    """Follows the objects of one video; ``update`` takes its frames in order.

    Raises:
      InputError: a setting is out of its range.
    """

    def __init__(self, tracking: Tracking, frame_rate: float = FRAME_RATE):
        check(tracking)
        self.tracking, self.buffer_frames = tracking, tracking.buffer_frames(frame_rate)
        self.frame = -1
        self._last_id = 0
        self._tracks = _Tracks(motion.begin(np.zeros([0, 4])), *(np.zeros(0, int) for _ in range(4)))

    def update(self, detections: Detections, frame: int | None = None) -> Detections:
        """The detections of the next frame that belong to tracks, with ``track_ids``.

        Args:
          detections: all above ``tracking.lowest``; what scores lower is ignored.
          frame: its number; default: one more than the last. Frames between them count as frames without detections.

        Returns:
          Some of the detections, in their order. An id is unique and never used again; the first is 1.

        Raises:
          ValueError: the frame is not after the last one.
        """
        number = self.frame + 1 if frame is None else frame
        if number <= self.frame:
            raise ValueError(f'frame {number}: expected one after {self.frame}')
        for _ in range(min(number - self.frame - 1, self.buffer_frames + 1)):       # then nothing is left to move
            self._step(_nothing(detections))
        self.frame = number - 1
        return self._step(detections)

    def _step(self, detections):
        first, self.frame = self.frame < 0, self.frame + 1
        tracks, found, left = self._paired(detections)
        matched = found >= 0
        tracks = tracks.seen(matched, np.asarray(detections.boxes)[found[matched]])
        tracks = tracks._replace(ids=self._with_new_ids(tracks.ids, matched))
        begun = _begin(detections, left, self.frame)
        if first:
            begun = begun._replace(ids=self._with_new_ids(begun.ids, begun.ids == 0))
        keep = matched | ((tracks.ids > 0) & (tracks.unseen <= self.buffer_frames))
        tracks, found = tracks.select(keep).join(begun), np.concatenate([found[keep], left])
        single = ~_doubles(tracks, self.frame)
        self._tracks, found = tracks.select(single), found[single]
        shown = np.flatnonzero((found >= 0) & (self._tracks.ids > 0))
        shown = shown[np.argsort(found[shown])]
        return detections.with_tracks(found[shown], self._tracks.ids[shown])

    def _paired(self, detections):
        """The predicted tracks, the detection of each or -1, and the high-scoring detections that are left."""
        tracks = self._tracks.moved()
        boxes, scores = np.asarray(detections.boxes, np.float64).reshape(-1, 4), np.asarray(detections.scores)
        usable = np.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
        high = usable & (scores > self.tracking.score_threshold)
        low = usable & ~high & (scores > self.tracking.lowest)
        overlaps = np.where(tracks.classes[:, None] == np.asarray(detections.classes)[None],
                            iou(tracks.motion.boxes()[:, None], boxes[None]), 0.)
        confirmed, in_last_frame = tracks.ids > 0, tracks.unseen == 0
        found = np.full(len(tracks.ids), -1)
        for of_tracks, of_detections, least in ((confirmed, high, self.tracking.iou),
                                                (confirmed & in_last_frame, low, LOW_SCORE_IOU),
                                                (~confirmed, high, CONFIRMING_IOU)):
            rows, columns = np.flatnonzero(of_tracks & (found < 0)), np.flatnonzero(of_detections)
            pairs = assignment.best_pairs(overlaps[np.ix_(rows, columns)] - least)
            found[rows[pairs[0]]] = columns[pairs[1]]
            high[columns[pairs[1]]] = False
        return tracks, found, np.flatnonzero(high)

    def _with_new_ids(self, ids, confirmed):
        """The ids, with the next free ones for confirmed tracks that have none."""
        ids, new = ids.copy(), np.flatnonzero(confirmed & (ids == 0))
        ids[new] = self._last_id + 1 + np.arange(len(new))
        self._last_id += len(new)
        return ids


def check(tracking: Tracking) -> None:
    """Raises InputError for a setting out of its range."""
    for name in ('score_threshold', 'low_score', 'iou'):
        value = getattr(tracking, name)
        if value is not None and not 0 <= value <= 1:
            raise InputError(f'{name} {value}: expected a number from 0 to 1')
    if tracking.lowest > tracking.score_threshold:
        raise InputError(f'low_score {tracking.lowest:g}: expected at most the score_threshold, '
                         f'{tracking.score_threshold:g}')
    if not 0 <= tracking.buffer <= MOST_BUFFER:
        raise InputError(f'buffer {tracking.buffer}: expected seconds, 0 to {MOST_BUFFER:g}')


class _Tracks(NamedTuple):
    """n tracks: class ids; ids, 0 until confirmed; frames since each was seen; the frame it began in. int [n] each."""
    motion: motion.Motion
    classes: np.ndarray
    ids: np.ndarray
    unseen: np.ndarray
    began: np.ndarray

    def select(self, keep):
        return _Tracks(self.motion.select(keep), *(part[keep] for part in self[1:]))

    def join(self, other):
        moved = motion.Motion(*(np.concatenate(both) for both in zip(self.motion, other.motion)))
        return _Tracks(moved, *(np.concatenate(both) for both in zip(self[1:], other[1:])))

    def moved(self):
        """The tracks one frame later. Until it is confirmed, a track stays where it is, for it has no velocity yet."""
        later = motion.predict(self.motion, self.unseen > 0)
        confirmed = self.ids[:, None] > 0
        return self._replace(motion=motion.Motion(*(np.where(confirmed, *both) for both in zip(later, self.motion))))

    def seen(self, matched, boxes):
        """The tracks after some were seen at these boxes, and the others were not."""
        corrected = motion.correct(self.motion.select(matched), boxes)
        moved = motion.Motion(*(part.copy() for part in self.motion))
        for part, new in zip(moved, corrected):
            part[matched] = new
        return self._replace(motion=moved, unseen=np.where(matched, 0, self.unseen + 1))


def _begin(detections, rows, frame):
    """New tracks of these detections, without ids."""
    none = np.zeros(len(rows), int)
    return _Tracks(motion.begin(np.asarray(detections.boxes)[rows]), np.asarray(detections.classes)[rows].astype(int),
                   none, none, none + frame)


def _doubles(tracks, frame):
    """bool [n]: of a lost and a seen track of one class in one position, the one that was followed for less time."""
    doubles = np.zeros(len(tracks.ids), bool)
    seen, lost = np.flatnonzero(tracks.unseen == 0), np.flatnonzero(tracks.unseen)
    boxes, followed = tracks.motion.boxes(), frame - tracks.unseen - tracks.began
    alike = (iou(boxes[seen][:, None], boxes[lost][None]) > DOUBLE_IOU) & (
        tracks.classes[seen][:, None] == tracks.classes[lost])
    for one, other in zip(*np.nonzero(alike)):
        doubles[lost[other] if followed[seen[one]] > followed[lost[other]] else seen[one]] = True
    return doubles


def _nothing(detections):
    return detections[np.zeros(len(detections), bool)]
