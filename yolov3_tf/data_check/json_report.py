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
    """One JSON object: images, objects, class_names, and problems (file, line, what) in the report's order."""
    problems = []
    for one in report.problems:
        files = [dataset.records[one.position].image_path] if one.position >= 0 else []
        problems.append(split(one.text, files))
    return json.dumps(dict(images=len(dataset.records), objects=int(report.boxes.sum()),
                           class_names=list(dataset.class_names), problems=problems), indent=1)


def split(message: str, files: Sequence[str] = ()) -> dict[str, Any]:
    """Splits a message ``FILE:LINE: what``, the form that every reader writes, into file, line and what.

    Args:
      message: LINE may be missing, or be ``annotation ID`` after a JSON file.
      files: names that the message may begin with, so that a name with a colon is recognised.

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
