"""The result of a check as JSON, for programs."""
from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from yolov3_tf.data_check.check import CheckReport
from yolov3_tf.structures import Dataset

LINE = re.compile(r'(?:(\d{1,18})| annotation (\d{1,18}))(?:[:;]|$)')


def text(dataset: Dataset, report: CheckReport) -> str:
    """One JSON object: images, objects, class_names, and problems with file, line and what, in the report's order."""
    problems = []
    for one in report.problems:
        files = [dataset.records[one.position].image_path] if one.position >= 0 else []
        problems.append(split(one.text, files))
    return json.dumps(dict(images=len(dataset.records), objects=int(report.boxes.sum()),
                           class_names=list(dataset.class_names), problems=problems), indent=1)


def split(message: str, files: Sequence[str] = ()) -> dict[str, Any]:
    """File, line and what of a message ``FILE:LINE: what``, as every reader writes it.

    Args:
      message: LINE may be missing, or stand as ``annotation ID`` after a file of JSON.
      files: that the message may be about, so that a name with a colon in it is known.

    Returns:
      ``line`` is None where the message has none.
    """
    file = next((file for file in files if message.startswith(f'{file}:')), None)
    if file is None:
        head = message.partition(': ')[0]
        file = re.sub(r':\d{1,18}$', '', head)
    rest = message[len(file) + 1:]
    found = LINE.match(rest)
    line = int(found.group(1) or found.group(2)) if found else None
    return dict(file=file, line=line, what=(rest[found.end():] if found else rest).strip())
