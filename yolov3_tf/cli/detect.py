"""Detects objects in images, a video, a camera or a stream; writes copies with boxes, detections.json and .csv.

    python detect.py --model=runs/NAME image.jpg folder/
    python detect.py --model=runs/NAME video.mp4
    python detect.py --model=runs/NAME --track video.mp4    numbers its objects
    python detect.py --model=runs/NAME camera:0            until Ctrl-C
    python detect.py --model=runs/NAME rtsp://ADDRESS      or http(s)://

All results are in --output, by default a new folder for each call; nothing is written into the folders of the inputs.
Images that cannot be read are reported and skipped. Exit codes: 0 done, 1 nothing could be read, 2 wrong input.
"""
from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
import sys
import time

from absl import flags

from yolov3_tf import atomic_file, export, printable
from yolov3_tf.cli import tile_flags, track_flags
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import operating_points
from yolov3_tf.inference import detector, sequences, sources, tiles, track_files
from yolov3_tf.inference.tracking import Tracker, Tracking
from yolov3_tf.models import model_files
from yolov3_tf.training import precision

FOLDER = 'runs/detect'
# Flags that users know from other programs -> what to type here.
ANSWERS = {
    'checkpoint': 'it is --model here', 'weights': 'it is --model here',
    'source': 'give images, folders, a video, camera:0 or an address after the flags',
    'image': 'give images after the flags', 'video': 'give the video after the flags',
    'conf': 'it is --score_threshold', 'out': 'it is --output',
    'iou_threshold': 'it is fixed when a model is exported: export it with --iou_threshold',
    'nms_threshold': 'it is fixed when a model is exported: export it with --iou_threshold',
    'image_size': 'it is the model\'s own: convert or train one of another size'}


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    string, integer, number = (functools.partial(define, flag_values=values) for define in (
        flags.DEFINE_string, flags.DEFINE_integer, flags.DEFINE_float))
    string('model', None, f'The model: {model_files.KINDS}.')
    string('output', None, 'The folder for drawn images (or the video), detections.json and .csv (default: a new one, '
           f'{FOLDER}, {FOLDER}-2, ...).')
    number('score_threshold', None, "Detections must score above it (default: the model's own, which has the best F1 "
           f"on its run's validation data, else {detector.SCORE}).", 0, 1)
    integer('batch_size', 8, 'Images in one call of the network.', lower_bound=1)
    integer('max_frames', None, 'Stop after so many frames of a video, camera, stream or folder of frames (default: at '
            'its end, or Ctrl-C).', lower_bound=1)
    track_flags.define(values)
    tile_flags.define(values)


def run(arguments: list[str], options: flags.FlagValues) -> int:
    """Detects in what ``arguments`` name and writes the results; returns the exit status."""
    if not options.model:
        raise InputError(f'--model: expected {model_files.KINDS}, got none')
    tile_flags.given(options)
    track_flags.check(options)
    options.output = options.output or _new_folder()
    paths = [sequences.folder_of_images(path) for path in arguments] if options.track else arguments
    inputs = _inputs(paths, options.output)
    for line in inputs.notes:
        print(line)
    if not inputs.images and not inputs.videos:
        return _summarise(sources.RunReport([], [], 0.), inputs.problems, 0., options.output)
    sequence = _sequence(paths, inputs, options.max_frames) if options.track and inputs.images else None
    precision.grow_memory()
    model, score = _load(options)
    tracking = track_flags.settings(options, score) if options.track else None
    _note_exported(options, model.settings.suppression.score_threshold, score, tracking)
    tiling = tile_flags.of_model(options, model.tiles)
    if tiling:
        model = tiles.Tiled(model, tiling, options.batch_size)
    os.makedirs(options.output, exist_ok=True)
    choices = (options.output, score, options.batch_size)
    make_tracker = functools.partial(Tracker, tracking) if tracking else None
    start = time.perf_counter()
    if inputs.videos:
        report = sources.detect_video(model, inputs.videos[0], *choices, options.max_frames, make_tracker)
    elif sequence and make_tracker:
        report = sources.detect_images(model, sequence.paths, *choices, make_tracker(sequence.rate))
    else:
        report = sources.detect_images(model, inputs.images, *choices)
    _write_results('frames' if inputs.videos else 'images', inputs, report, options, score, tiling, tracking)
    tracks = None
    if tracking:
        tracks = _write_tracks(sequence.name if sequence else sources.film_name(inputs.videos[0]), report, options)
    return _summarise(report, inputs.problems + report.problems, time.perf_counter() - start, options.output, tracks)


def _new_folder() -> str:
    """The first of runs/detect, runs/detect-2, ... that does not exist, so that no results are overwritten."""
    return next(path for number in itertools.count(1)
                if not os.path.lexists(path := FOLDER + (f'-{number}' if number > 1 else '')))


def _load(options):
    """The model, and the score that its detections must exceed."""
    asked = options.score_threshold
    if asked is None:
        known = operating_points.of_checkpoint(model_files.resolve(options.model))
        least = known.overall.score if known else detector.SCORE
    else:
        least = asked
    if options.track:
        least = Tracking(least, options.track_low_score).lowest
    suppression = export.DEFAULTS.suppression._replace(score_threshold=least)
    model = detector.load(options.model, export.DEFAULTS._replace(suppression=suppression))
    if asked is None and model.settings.operating:
        print(f'scores above {model.score_threshold}, which has the best F1 on the validation data of this model '
              '(--score_threshold sets another)')
    return model, model.score_threshold if asked is None else asked


def _note_exported(options, exported, score, tracking):
    """Says what the threshold that a model was exported with leaves out."""
    note = f'note: {options.model} was exported with score_threshold={exported}'
    if tracking and exported > tracking.lowest:
        print(f'{note}, so tracks cannot go on with detections that score from {tracking.lowest:g} to that: an export '
              'with a lower one keeps hidden objects longer')
    elif exported > score:
        print(note)


def _sequence(paths, inputs, max_frames) -> sequences.ImageSequence:
    """The images as the frames of one video; raises InputError where they are none."""
    if len(paths) != 1 or not os.path.isdir(paths[0]):
        count = f'{len(inputs.images)} image{"s" * (len(inputs.images) > 1)}'
        raise InputError('--track: expected one video, camera, stream, or folder of numbered images, got '
                         f'{count} in {len(paths)} path{"s" * (len(paths) > 1)}: give the folder alone, or leave '
                         '--track out for single images')
    sequence = sequences.in_order(paths[0], inputs.images)
    sequence = dataclasses.replace(sequence, paths=sequence.paths[:max_frames])
    first, last = (os.path.basename(sequence.paths[end]) for end in (0, -1))
    print(f'{paths[0]}: the frames of one video, {first} to {last}, {sequence.rate:g} in a second')
    return sequence


def _inputs(paths, output):
    """The inputs; raises InputError for a mix of images and videos, and for an input in the output folder."""
    if not paths:
        raise InputError(f'expected what to detect in after the flags, got nothing: {sources.FORMS}')
    inputs = _named_in_text(sources.find_inputs(paths))
    if len(inputs.videos) > 1 or (inputs.videos and inputs.images):
        raise InputError(f'expected images or one video, got {len(inputs.videos)} videos and '
                         f'{len(inputs.images)} images: run them one after the other')
    for path in filter(os.path.exists, inputs.images + inputs.videos):
        if os.path.realpath(os.path.dirname(path)) == os.path.realpath(output):
            raise InputError(f'--output={output} holds the input {path}: choose another folder')
    return inputs


def _named_in_text(inputs):
    """The inputs without images whose names are not UTF-8: results cannot hold such names, so they become problems."""
    text: list[str] = []
    other: list[str] = []
    for path in inputs.images:
        (text if printable.is_text(path) else other).append(path)
    problems = [f'{path!r}: the name is not UTF-8, so rename the file' for path in other]
    return inputs._replace(images=text, problems=inputs.problems + problems)


def _write_results(kind, inputs, report, options, score, tiling, tracking):
    results = {'model': options.model, 'score_threshold': score}
    if tiling:
        results.update(tiles=tiling.tiles, tile_overlap=tiling.overlap)
    if tracking:
        results['track'] = {'low_score': tracking.lowest, 'iou': tracking.iou, 'buffer': tracking.buffer}
    if inputs.videos:
        results['file'] = sources.without_password(inputs.videos[0])
    results[kind] = report.entries
    path = os.path.join(options.output, 'detections.json')
    atomic_file.write_text(path, json.dumps(results, indent=1))
    sources.write_csv(os.path.join(options.output, 'detections.csv'), report.entries, options.track)


def _write_tracks(name, report, options) -> int:
    """Writes the files of tracks, and returns how many tracks there are."""
    stem = os.path.join(options.output, name)
    track_files.write_mot(f'{stem}.mot.txt', report.entries)
    return track_files.write_tracks(f'{stem}.tracks.csv', report.entries)


def _summarise(report, problems, seconds, output, tracks=None) -> int:
    """Prints the problems and the speed; returns the exit status."""
    for problem in problems:
        print(f'skipped: {problem}', file=sys.stderr)
    count = len(report.entries)
    found = sum(len(entry['detections']) for entry in report.entries)
    if count:
        of_tracks = '' if tracks is None else f' of {tracks} tracks'
        print(f'{count} images, {found} detections{of_tracks}, {count / seconds:.2f} images/s '
              f'({count / report.seconds:.2f} without reading, drawing and writing) -> {output}')
    if problems:
        print(f'{len(problems)} inputs could not be used, or only in part', file=sys.stderr)
    return 0 if count else 1
