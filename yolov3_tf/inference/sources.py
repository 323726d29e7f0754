"""Detects in images, videos, cameras and streams: reads them upright, detects in batches, draws and reports."""
from __future__ import annotations

import contextlib
import csv
import io
import itertools
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

import cv2
import numpy as np

from yolov3_tf import atomic_file, rgb_images
from yolov3_tf.data.image_formats import ENDINGS
from yolov3_tf.drawing.boxes import draw_detections
from yolov3_tf.errors import InputError
from yolov3_tf.inference import sequences, video_files
from yolov3_tf.structures import Detections

if TYPE_CHECKING:       # they import TensorFlow, and the detector imports this module
    from yolov3_tf.inference.detector import Detector
    from yolov3_tf.inference.tiles import Tiled
    from yolov3_tf.inference.tracking import Tracker

VIDEOS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg')
CAMERA = 'camera:'         # before its number
STREAM = re.compile(r'(rtsps?|https?)://', re.IGNORECASE)
COLUMNS = ('class', 'score', 'x1', 'y1', 'x2', 'y2')
TRACK = 'track'            # the column, and the JSON value, of the track of a detection


class Inputs(NamedTuple):
    """Files by kind; ``videos`` includes cameras and streams.

    ``problems`` has one message for each path that cannot be used, ``notes`` one for each folder with other files.
    """
    images: list[str]
    videos: list[str]
    problems: list[str]
    notes: list[str]


class RunReport(NamedTuple):
    """The results of a run.

    Attributes:
      entries: one dict of JSON values for each image or frame.
      problems: one message for each file that could not be used.
      seconds: time spent in the detector, without reading, drawing and writing.
    """
    entries: list[dict[str, Any]]
    problems: list[str]
    seconds: float


class Source(NamedTuple):
    """A kind of input to detect in.

    Attributes:
      form: how to write it, for messages.
      recognised: path -> whether it is of this kind; the first kind of the table that recognises a path is taken.
      live: whether it runs until the user stops it, so that frames must not wait for each other.
      open_as: path -> what OpenCV's VideoCapture opens; None for kinds without frames.
      closed: the message where it cannot be opened.
    """
    form: str
    recognised: Callable[[str], bool]
    live: bool = False
    open_as: Callable[[str], str | int] | None = None
    closed: str = ''


def find_inputs(paths: Sequence[str]) -> Inputs:
    """Sorts paths by their kind in ``SOURCES``; a folder means the images directly in it, sorted by name.

    Raises:
      InputError: a path does not exist.
    """
    found = Inputs([], [], [], [])
    for path in paths:
        kind = kind_of(path)
        if kind is None and not os.path.exists(path):
            raise InputError(f'{path}: no such file or folder')
        if kind is None:
            found.problems.append(f'{path}: unknown kind of file: expected {" ".join(ENDINGS + VIDEOS)}')
        elif kind == 'folder':
            _add_folder(path, found)
        elif (open_as := SOURCES[kind].open_as) is None:
            found.images.append(path)
        else:
            open_as(path)                               # raises for a camera without a number
            found.videos.append(path)
    return found


def kind_of(path: str) -> str | None:
    """The name in ``SOURCES``, or None where no kind recognises the path."""
    return next((name for name, source in SOURCES.items() if source.recognised(path)), None)


def without_password(path: str) -> str:
    """The path for messages and result files: the address of a stream without user and password."""
    return re.sub(r'(?<=://)[^/]*@', '', path) if STREAM.match(path) else path


def _camera_number(path):
    number = path[len(CAMERA):]
    if not (number.isdecimal() and number.isascii() and len(number) < 4):
        raise InputError(f'{path}: expected {CAMERA} and the number of a camera, such as {CAMERA}0')
    return int(number)


def _is_file(endings):
    return lambda path: path.lower().endswith(endings) and os.path.isfile(path)


SOURCES = {
    'camera': Source(f'{CAMERA}0', lambda path: path.startswith(CAMERA), True, _camera_number,
                     'no such camera, or another program has it'),
    'stream': Source('rtsp://ADDRESS or http(s)://ADDRESS', lambda path: bool(STREAM.match(path)), True, str,
                     'nothing answers there, or it sends no video that this OpenCV can read'),
    'folder': Source('a folder of images', os.path.isdir),
    'image': Source('images', _is_file(ENDINGS)),
    'video': Source('a video', _is_file(VIDEOS), False, str, 'not a video, or of a kind this OpenCV cannot read'),
}
FORMS = ', '.join(source.form for source in SOURCES.values())


def _add_folder(folder, found):
    files = sorted(entry.name for entry in os.scandir(folder) if entry.is_file())
    images = [name for name in files if name.lower().endswith(ENDINGS)]
    found.images.extend(os.path.join(folder, name) for name in images)
    if not images:
        found.problems.append(f'{folder}: no images in this folder: expected {" ".join(ENDINGS)}')
    elif len(files) > len(images):
        kinds = sorted({os.path.splitext(name)[1] or name for name in files if name not in images})
        found.notes.append(f'{folder}: {len(files) - len(images)} files of other kinds ignored: '
                           f'{" ".join(kinds[:10])}')


def detect_images(detector: Detector | Tiled, paths: Sequence[str], output: str, threshold: float,
                  batch_size: int, tracker: Tracker | None = None) -> RunReport:
    """Detects in images and writes each image with its boxes as a JPEG of the same name into the folder ``output``.

    With a ``tracker`` the images are the frames of one video, all of the first one's size: what is reported and drawn
    are its tracks, whatever the threshold, and entries have ``frame`` (from 0). One that cannot be used counts too.
    """
    entries: list[dict[str, Any]] = []
    problems: list[str] = []
    seconds = 0.
    names = dict(zip(paths, _distinct_names(paths)))
    numbers = {path: number for number, path in enumerate(paths)}
    readable = _readable(paths, problems)
    for batch in batches(readable if tracker is None else _of_one_size(readable, problems), batch_size):
        start = time.perf_counter()
        found = detector.detect([image for _, image in batch])
        seconds += time.perf_counter() - start
        for (path, image), detections in zip(batch, found):
            values, drawn = _as_entry(detector, image, _reported(detections, threshold, tracker, numbers[path]))
            rgb_images.write(os.path.join(output, names[path]), drawn, overwrite=True)
            entries.append({'file': path, 'drawn': names[path], 'width': image.shape[1], 'height': image.shape[0],
                            **({} if tracker is None else {'frame': numbers[path]}), 'detections': values})
    return RunReport(entries, problems, seconds)


def detect_video(detector: Detector | Tiled, path: str, output: str, threshold: float, batch_size: int,
                 max_frames: int | None = None,
                 make_tracker: Callable[[float], Tracker] | None = None) -> RunReport:
    """Detects in every frame of a video, camera or stream and writes the video with boxes into the folder ``output``.

    Entries have ``frame`` (from 0) and ``time`` in seconds. If a video ends before its announced length, the frames
    that were read are reported together with a problem. A live source is read until ``max_frames``, Ctrl-C or its end,
    one frame at a time, so that no frame waits for others; all detections until then are reported. With
    ``make_tracker``, frames a second -> a tracker, its tracks are reported and drawn, whatever the threshold.

    Raises:
      InputError: it cannot be opened, or this OpenCV cannot write videos.
    """
    entries: list[dict[str, Any]] = []
    problems: list[str] = []
    seconds = 0.
    with contextlib.ExitStack() as stack:
        frames = stack.enter_context(contextlib.closing(Frames(path)))
        film = stack.enter_context(contextlib.closing(_Film(output, path, frames.rate)))
        tracker = make_tracker(frames.rate) if make_tracker else None
        stack.enter_context(contextlib.suppress(KeyboardInterrupt) if frames.live else contextlib.nullcontext())
        for batch in batches(itertools.islice(frames, max_frames), 1 if frames.live else batch_size):
            start = time.perf_counter()
            found = detector.detect(batch)
            seconds += time.perf_counter() - start
            for image, detections in zip(batch, found):
                values, drawn = _as_entry(detector, image, _reported(detections, threshold, tracker))
                film.write(drawn)
                entries.append({'frame': len(entries), 'time': round(len(entries) / frames.rate, 4),
                                'detections': values})
    if len(entries) < min(frames.announced, max_frames or frames.announced):
        problems.append(f'{path}: {len(entries)} of {frames.announced} frames read: cut off or damaged')
    return RunReport(entries, problems, seconds)


def as_values(detections: Detections, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Detections as JSON values: class, score, box x1, y1, x2, y2 in pixels, far edge exclusive; its track if any."""
    values = [{'class': class_names[class_id], 'score': round(float(score), 4),
               'box': [round(float(edge), 2) for edge in box]}
              for box, score, class_id in zip(detections.boxes, detections.scores, detections.classes)]
    if detections.track_ids is None:
        return values
    return [{**one, TRACK: int(number)} for one, number in zip(values, detections.track_ids)]


def write_csv(path: str, entries: Sequence[dict[str, Any]], tracked: bool = False):
    """Writes one row for each detection: the image's file, or frame and time, then ``COLUMNS``; if ``tracked``, the
    track too.
    """
    named = [name for name in ('file', 'frame', 'time') if entries and name in entries[0]]
    text = io.StringIO()
    writer = csv.writer(text)
    last = [TRACK] if tracked else []
    writer.writerow([*named, *COLUMNS, *last])
    for entry in entries:
        for found in entry['detections']:
            writer.writerow([*(entry[name] for name in named), found['class'], found['score'], *found['box'],
                             *(found[name] for name in last)])
    atomic_file.write_text(path, text.getvalue())


def _reported(detections, threshold, tracker, frame=None):
    """The detections above the threshold; with a tracker those of its tracks."""
    return detections.above(threshold) if tracker is None else tracker.update(detections, frame)


def _as_entry(detector, image, kept):
    """Returns the detections as JSON values, and the image with their boxes."""
    names = detector.class_names
    return as_values(kept, names), draw_detections(image, kept.boxes, kept.classes, kept.scores, names, kept.track_ids)


def _readable(paths, problems) -> Iterator[tuple[str, np.ndarray]]:
    """Yields path and image of those that can be read, and adds a message to ``problems`` for each other path."""
    for path in paths:
        try:
            yield path, rgb_images.read(path)
        except InputError as error:
            problems.append(str(error))


def _of_one_size(images, problems):
    """The images of the first one's size, and a message for each other: a video has one size."""
    size = None
    for path, image in images:
        size = size or image.shape[:2]
        if image.shape[:2] == size:
            yield path, image
        else:
            problems.append(f'{path}: {image.shape[1]} x {image.shape[0]} pixels: expected {size[1]} x {size[0]}, the '
                            'size of the images before it')


def batches(items: Iterable, size: int) -> Iterator[list]:
    """Lists of ``size`` items; the last may be shorter."""
    items = iter(items)
    while True:
        batch = list(itertools.islice(items, size))
        if not batch:
            return
        yield batch


def _distinct_names(paths) -> list[str]:
    """dog.jpg, dog.png and other/dog.jpg -> dog.jpg, dog_2.jpg, dog_3.jpg."""
    names: dict[str, None] = {}
    for path in paths:
        stem = os.path.splitext(os.path.basename(path))[0]
        candidates = itertools.chain([f'{stem}.jpg'], (f'{stem}_{n}.jpg' for n in itertools.count(2)))
        names[next(name for name in candidates if name not in names)] = None
    return list(names)


class Frames:
    """Iterates over the frames of a video, camera or stream: uint8 RGB, turned upright by OpenCV.

    Attributes:
      live: whether it runs until the user stops it.
      rate: frames a second, as announced.
      announced: number of frames, as announced; 0 where it is live.

    Raises:
      InputError: it cannot be opened, or is none of them.
    """

    def __init__(self, path):
        kind = kind_of(path)
        open_as = None if kind is None else SOURCES[kind].open_as
        if kind is None or open_as is None:
            raise InputError(f'{without_password(path)}: expected a video, a camera or a stream')
        source = SOURCES[kind]
        self.live = source.live
        if not self.live:
            video_files.check(path)
        self._video = cv2.VideoCapture(open_as(path))
        if not self._video.isOpened():
            raise InputError(f'{without_password(path)}: {source.closed}')
        self.rate = self._video.get(cv2.CAP_PROP_FPS) or 25.
        self.announced = 0 if self.live else int(self._video.get(cv2.CAP_PROP_FRAME_COUNT))

    def __iter__(self):
        while True:
            success, frame = self._video.read()
            if not success:
                return
            yield np.ascontiguousarray(frame[..., ::-1])

    def close(self):
        self._video.release()


def open_frames(path: str) -> Frames | sequences.ImageSequence:
    """The frames of a video, a camera, a stream, or a folder of numbered images; to be closed after use.

    Raises:
      InputError: it is none of them, or cannot be opened.
    """
    if kind_of(path) != 'folder':
        find_inputs([path])                             # raises where there is nothing
        return Frames(path)
    found = find_inputs([sequences.folder_of_images(path)])
    if not found.images:
        raise InputError(found.problems[0])
    return sequences.in_order(os.path.dirname(found.images[0]), found.images)


def film_name(source):
    """film.avi -> film, camera:1 -> camera_1, rtsp://user:password@host/a?b -> host_a_b."""
    if STREAM.match(source):
        return re.sub(r'[^\w.-]+', '_', without_password(source).split('://', 1)[1]).strip('._') or 'stream'
    return os.path.splitext(os.path.basename(source))[0].replace(':', '_')


class _Film:
    """Writes frames as NAME.mp4, or as NAME.avi (motion JPEG) where this OpenCV cannot write MPEG-4."""

    def __init__(self, folder, source, rate):
        self._stem = os.path.join(folder, film_name(source))
        self._rate, self._writer = rate, None

    def write(self, image):
        if self._writer is None:
            self._writer = self._open(image.shape[1], image.shape[0])
        self._writer.write(np.ascontiguousarray(image[..., ::-1]))

    def _open(self, width, height):
        for suffix, code in (('.mp4', 'mp4v'), ('.avi', 'MJPG')):
            writer = cv2.VideoWriter(self._stem + suffix, cv2.VideoWriter.fourcc(*code), self._rate, (width, height))
            if writer.isOpened():
                return writer
        raise InputError(f'{self._stem}.mp4: this OpenCV cannot write videos: detect in images instead')

    def close(self):
        if self._writer is not None:
            self._writer.release()
