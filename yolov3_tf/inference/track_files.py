"""Tracks as files for other programs: MOTChallenge's results, and what each track is."""
from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Any

from yolov3_tf import atomic_file

COLUMNS = ('track', 'class', 'frames', 'first_frame', 'last_frame')


def write_mot(path: str, entries: Iterable[dict[str, Any]]):
    """Writes MOTChallenge's results (motchallenge.net/instructions), a line for each box of a track in a frame.

    ``frame,id,bb_left,bb_top,bb_width,bb_height,conf,-1,-1,-1``: pixels with two decimals, and the score. Frames, ids
    and positions count from 1, as the challenge wants: the first frame is 1, and a box at the left edge of the image
    has bb_left 1.

    Args:
      entries: ``frame`` (from 0) and ``detections`` of each frame: ``box`` x1, y1, x2, y2 from 0, ``score``, ``track``.
    """
    lines = []
    for entry in entries:
        for found in sorted(entry['detections'], key=lambda found: found['track']):
            x1, y1, x2, y2 = found['box']
            lines.append(f'{entry["frame"] + 1},{found["track"]},{x1 + 1:.2f},{y1 + 1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},'
                         f'{found["score"]:.4f},-1,-1,-1\n')
    atomic_file.write_text(path, ''.join(lines))


def write_tracks(path: str, entries: Iterable[dict[str, Any]]) -> int:
    """Writes ``COLUMNS`` of each track as CSV, frames counted from 1, and returns how many there are.

    MOTChallenge's results have no column for classes; a track has one class in all its frames, so it is here.
    """
    tracks: dict[int, list[int]] = {}
    classes: dict[int, str] = {}
    for entry in entries:
        for found in entry['detections']:
            tracks.setdefault(found['track'], []).append(entry['frame'] + 1)
            classes[found['track']] = found['class']
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    for number, frames in sorted(tracks.items()):
        writer.writerow([number, classes[number], len(frames), frames[0], frames[-1]])
    atomic_file.write_text(path, text.getvalue())
    return len(tracks)
