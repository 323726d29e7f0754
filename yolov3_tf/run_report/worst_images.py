"""The images with most errors at the operating point, as two small images each: the truth, and the prediction."""
from __future__ import annotations

import os
from typing import NamedTuple

import cv2
import numpy as np

from yolov3_tf import orientation, rgb_images
from yolov3_tf.drawing import boxes as draw
from yolov3_tf.drawing.boxes import Colour
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation.confusion import Confusion, Matches
from yolov3_tf.structures import Dataset, Detections, Record

SIDE = 400                  # pixels of the longer side
QUALITY = 80                # of the JPEG
CAPITAL = 9                 # height of letters in pixels: draw.FONT's smallest legible ones
NAMED = 15                  # most wrong boxes of an image that carry their names
RIGHT, WRONG, MISSED, IGNORED = (0, 158, 115), (213, 94, 0), (230, 159, 0), (120, 120, 120)    # Okabe and Ito


class Shown(NamedTuple):
    """One image: its position in the set, and the JPEGs of truth and prediction, None where it cannot be read."""
    position: int
    truth: bytes | None
    prediction: bytes | None


def choose(confusion: Confusion, most: int) -> list[int]:
    """Positions of the images with most missed objects, false detections and wrong classes; none without an error.

    Of equally many the one with fewer right detections comes first, then the earlier one.
    """
    wrong = [errors_of(one) for one in confusion.matches]
    right = [len(one.pairs) - one.wrong for one in confusion.matches]
    order = sorted(range(len(wrong)), key=lambda k: (-wrong[k], right[k], k))
    return [k for k in order[:most] if wrong[k]]


def errors_of(matches: Matches) -> int:
    """Missed objects, false detections and pairs of two classes of an image."""
    return len(matches.missed) + len(matches.false) + matches.wrong


def draw_all(dataset: Dataset, detections: list[Detections], confusion: Confusion, most: int) -> list[Shown]:
    """Draws the worst images; an item for each, the worst first."""
    return [_draw(position, dataset.records[position], detections[position], confusion.matches[position],
                  dataset.class_names) for position in choose(confusion, most)]


def _draw(position, record: Record, found: Detections, matches: Matches, names) -> Shown:
    try:
        image = read(record)
    except InputError:
        return Shown(position, None, None)
    scale = min(SIDE / max(image.shape[:2]), 1.)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    skip = record.difficult | record.crowd
    colours = [IGNORED if skip[k] else RIGHT for k in range(len(record.boxes))]
    for k in matches.missed:
        colours[k] = MISSED
    truth = _with_boxes(small, record.boxes * scale, colours, [names[k] for k in record.classes])
    shown, colours = [*matches.pairs[:, 0], *matches.false], []
    for detection, one in matches.pairs:
        colours.append(RIGHT if found.classes[detection] == record.classes[one] else WRONG)
    colours += [WRONG] * len(matches.false)
    texts = [f'{names[found.classes[k]]} {100 * found.scores[k]:.0f}' for k in shown]
    prediction = _with_boxes(small, np.asarray(found.boxes)[shown] * scale, colours, texts)
    return Shown(position, _encoded(truth), _encoded(prediction))


def read(record: Record) -> np.ndarray:
    """The pixels that a record's boxes lie on, uint8 [h, w, 3] RGB; a shard's image needs TensorFlow.

    Raises:
      InputError: it cannot be read.
    """
    path = record.image_path
    if '#' in path and not os.path.exists(path):
        from yolov3_tf.data import image_files
        return image_files.read_image(path, record.orientation)
    upright = rgb_images.read(path)
    if record.orientation < 1:
        return upright
    with open(path, 'rb') as file:                      # turned as its annotation says, not as the file does
        stored = rgb_images.stored(file.read())
    return upright if stored is None else np.ascontiguousarray(orientation.upright_pixels(stored, record.orientation))


def _with_boxes(image, boxes, colours: list[Colour], texts):
    """A copy with boxes; names only at those that are wrong, and only where these are few: they bury nothing."""
    canvas, wrong = image.copy(), sum(colour in (WRONG, MISSED) for colour in colours)
    thick = 2 if wrong <= NAMED else 1
    for box, colour in zip(np.clip(np.nan_to_num(boxes), -1e4, 1e4).round().astype(int).tolist(), colours):
        cv2.rectangle(canvas, (box[0], box[1]), (box[2] - 1, box[3] - 1), colour, 1 if colour == RIGHT else thick)
    for box, colour, text in zip(boxes, colours, texts):
        if colour in (WRONG, MISSED) and wrong <= NAMED:
            _write(canvas, text.encode('ascii', 'replace').decode(), float(box[0]), float(box[1]), colour)
    return canvas


def _write(canvas, text, left, top, colour):
    scale = CAPITAL / draw.CAPITAL
    (width, _), _ = cv2.getTextSize(text, draw.FONT, scale, 1)
    x = int(np.clip(left, 0, max(canvas.shape[1] - width - 4, 0)))
    y = int(np.clip(top, CAPITAL + 4, canvas.shape[0]))
    cv2.rectangle(canvas, (x, y - CAPITAL - 4), (x + width + 3, y - 1), colour, cv2.FILLED)
    cv2.putText(canvas, text, (x + 2, y - 3), draw.FONT, scale, draw.BLACK, 1, cv2.LINE_AA)


def _encoded(image) -> bytes:
    return cv2.imencode('.jpg', image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
