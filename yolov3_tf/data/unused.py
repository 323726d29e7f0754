"""Sets that are of no use, found before the work on them begins."""
from __future__ import annotations

from yolov3_tf.data import image_files
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

SHOWN = 5           # problems


def require_boxes(spec: str, dataset: Dataset, purpose: str) -> None:
    """Raises InputError, with the first problems, where no image of a set has a box; crowds do not count.

    Args:
      purpose: what the boxes are for, such as ``to train on``.
    """
    if any((~record.crowd).any() for record in dataset.records):
        return
    count = len(dataset.records)
    which = f'none of its {count} images has a box' if count else 'no image is left'
    more = f'\n  and {len(dataset.problems) - SHOWN} more' if len(dataset.problems) > SHOWN else ''
    first = ''.join(f'\n  {problem}' for problem in dataset.problems[:SHOWN])
    raise InputError(f'{spec}: {which} {purpose}' + (
        f'; the first problems:{first}{more}' if first else ': the annotations are read without a problem, but are '
        'empty; are they the right ones?') + f'\nyolov3-tf check {spec} shows all')


def require_an_image(spec: str, dataset: Dataset) -> None:
    """Raises InputError where no image of a set can be read; opens images up to the first that can."""
    reasons = []
    for record in dataset.records:
        why = image_files.explain(record.image_path, record.orientation)
        if why is None:
            return
        reasons.append(why)
    first = ''.join(f'\n  {why}' for why in reasons[:SHOWN])
    raise InputError(f'{spec}: none of its {len(reasons)} images can be used; the first reasons:{first}')
