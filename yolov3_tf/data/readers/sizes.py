"""Compares the sizes that annotations state with the images: resized after labelling, or turned by their camera.

Boxes fit only an image of the size they were drawn in. Every header is read once, after the annotations.
"""
from __future__ import annotations

import concurrent.futures
import time
from collections.abc import Sequence

import numpy as np

from yolov3_tf import orientation, regular_file
from yolov3_tf.data.readers import faults, headers
from yolov3_tf.image_headers import Header
from yolov3_tf.structures import Dataset, Record

PART = 256              # images whose headers are read together
SLOW = 4.               # times the processor time that a disk may take, before threads wait for it side by side
AT_ONCE = 8             # threads
MOST_BOXES = 10_000     # of an image: a batch is filled up to its image of most boxes, and 35,000 took 8 GiB
ROUNDING = 1.           # pixel: sizes are rounded when an image is resized


def match(dataset: Dataset, strict: bool = False) -> Dataset:
    """The set with boxes in the pixels of its upright images.

    * The stated size is the image's: nothing changes.
    * It has the same proportions: the image was resized, and the boxes are scaled; a problem names both sizes.
    * It has others: the boxes fit nothing, and the image is dropped.
    * EXIF turns the image a quarter: the stated size is either that of the upright image or that of the stored one, and
      the boxes belong to it; ``Record.orientation`` says that they are upright now. Where the size does not tell
      (half turns, squares, no size), the image cannot be used, and is named where it would be.

    An image of more than ``MOST_BOXES`` boxes is dropped, and so is one whose header claims more pixels than its file
    can hold, before a decoder takes memory for them.
    Images that cannot be opened are left as they are; they are named where they would be used.

    Raises:
      InputError: under ``strict``, a stated size is not the image's.
    """
    problems = faults.Problems(strict)
    found = [_matched(record, header, problems) for record, header in zip(dataset.records, _headers(dataset.records))]
    return dataset._replace(records=[record for record in found if record is not None],
                            problems=dataset.problems + problems.messages,
                            notes=[*dataset.notes, *_turned(dataset.records, found)])


def _turned(before, after):
    """Sentences on the images that EXIF turns: whose boxes were upright, whose were not, and whose nobody knows."""
    kinds: dict[str, list[str]] = {
        'upright': [], 'as stored, so their boxes are turned with them': [],
        'in no stated size, so they are left out': []}
    upright, stored, unknown = kinds.values()
    for old, new in zip(before, after):
        if new is not None and new.orientation not in (0, 1):
            was_upright = (new.width > new.height) == (old.width > old.height)
            (unknown if new.orientation < 0 else upright if was_upright else stored).append(new.image_path)
    return [f'{len(files)} images are turned by their EXIF orientation and annotated {what}, such as {files[0]}'
            for what, files in kinds.items() if files]


def is_resized(width: int, height: int, to_width: int, to_height: int) -> bool:
    """Whether one size is the other, resized with its proportions: they agree to a pixel of the smaller one."""
    off = abs(width * to_height - height * to_width)
    return off <= ROUNDING * max(width, height, to_width, to_height)


def _headers(records: Sequence[Record]) -> list[Header | None]:
    """The header of each image, None where it is not understood or the record is ready."""
    def of_some(some):
        return [headers.of_file(record.image_path) if record.orientation == 0 else None for record in some]

    began, busy = time.perf_counter(), time.process_time()
    found = of_some(records[:PART])
    if time.perf_counter() - began < SLOW * (time.process_time() - busy):
        return found + of_some(records[PART:])          # a local disk: threads would only wait for each other
    parts = [records[start:start + PART] for start in range(PART, len(records), PART)]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return found + [header for part in pool.map(of_some, parts) for header in part]


def _matched(record: Record, header: Header | None, problems: faults.Problems) -> Record | None:
    if len(record.boxes) > MOST_BOXES:
        problems.add(f'{record.annotation_file or record.image_path}: {len(record.boxes):,} boxes in one image; '
                     f'expected at most {MOST_BOXES:,}', 'image dropped')
        return None
    if header is None:
        if not regular_file.waits(record.image_path):
            return record
        problems.add(f'{record.image_path}: {regular_file.WHY}', 'image dropped')
        return None
    if why := headers.claims(record.image_path, header):
        problems.add(f'{record.image_path}: {why}', 'image dropped')
        return None
    stated, stored = (record.width, record.height), (header.width, header.height)
    if header.orientation == orientation.UPRIGHT and (not all(stated) or stated == stored):
        return record._replace(kind=header.kind, orientation=orientation.UPRIGHT)
    record = record._replace(kind=header.kind)
    upright = orientation.upright_size(*stored, header.orientation)
    fits = [size for size in dict.fromkeys([upright, stored]) if all(stated) and is_resized(*stated, *size)]
    if header.orientation != orientation.UPRIGHT and (not all(stated) or upright == stored or len(fits) > 1):
        return record._replace(orientation=-1)
    where = f'{record.annotation_file or record.image_path}: annotated as {stated[0]} x {stated[1]}, but '
    if not fits:
        problems.add(f'{where}{record.image_path} has {upright[0]} x {upright[1]}, other proportions', 'image dropped')
        return None
    if stated != fits[0]:
        problems.add(f'{where}{record.image_path} has {fits[0][0]} x {fits[0][1]}', 'boxes scaled')
        record = _scaled(record, *fits[0])
    if fits[0] != upright:
        record = record._replace(width=upright[0], height=upright[1], boxes=orientation.upright_boxes(
            record.boxes, *stored, header.orientation))
    return record._replace(orientation=header.orientation)


def _scaled(record, width, height):
    scale = np.array([width / record.width, height / record.height])
    boxes = np.minimum(record.boxes * np.tile(scale, 2), np.tile([width, height], 2))
    return record._replace(width=width, height=height, boxes=boxes.astype(np.float32),
                           areas=(record.areas * scale.prod()).astype(np.float32))
