"""VOC XML without lists: every annotation file below a folder, with the image that it belongs to.

labelImg and Roboflow write image and XML side by side, other collections have images/ and annotations/ in any letter
case. The image is found by the stem of the XML file, else by its <filename> (``image_lookup``).
"""
from __future__ import annotations

import html
import os
import re
from collections.abc import Sequence

from yolov3_tf import printable, regular_file
from yolov3_tf.data.readers import faults, image_lookup, lists, voc, voc_xml
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

ENDING = '.xml'
_FILE_NAME = re.compile(rb'<filename>\s*([^<]{1,1000}?)\s*</filename>')
_HEAD = 1 << 16         # bytes of a file in which its <filename> is searched


def read(folder: str, image_folder: str | None = None, classes: Sequence[str] | None = None, strict: bool = False
         ) -> Dataset:
    """Reads all VOC XML below a folder, in the order of their paths.

    An image without annotation file is left out, because nobody may have looked at it yet; one message counts
    them. An annotation file without objects is an image without objects.

    Args:
      folder: of the annotation files.
      image_folder: of the images, if they are elsewhere; else they are searched below ``folder``.
      classes: names in order, or None for those found.
      strict: stop at the first faulty annotation instead of repairing or dropping it.

    Raises:
      InputError: a folder is missing or has no XML, no image is usable, a class is not among ``classes``, or, under
        ``strict``, an annotation is faulty.
    """
    files = annotation_files(folder, ENDING)
    problems = faults.Problems(strict)
    images = image_lookup.Images(image_folder or folder)
    used: dict[str, str] = {}           # image -> its annotation file
    parsed: dict[str, voc.AnnotatedImage] = {}      # path of the image, relative to its folder -> its annotation
    for path in files:
        image = _annotated(path, folder, images, problems)
        if image is None:
            continue
        if image.image_path in used:
            problems.add(f'{path}: {image.image_path} has the annotation file {used[image.image_path]} already',
                         'annotation file left out')
            continue
        used[image.image_path] = path
        parsed[os.path.relpath(image.image_path, image_folder or folder)] = image
    dataset = voc.dataset_of(list(parsed.values()), classes, problems, f'{folder}: no usable image', own=True)
    return with_names(dataset, list(parsed), images, problems)


def annotation_files(folder: str, ending: str) -> list[str]:
    """Paths of all files below a folder with an ending, in any case.

    Raises:
      InputError: there is no such folder, or none of these files in it.
    """
    if not os.path.isdir(folder):
        raise InputError(f'{folder}: no such folder; expected one with annotation files (*{ending})')
    files = [os.path.join(here, name) for here, names in image_lookup.walk(folder) for name in names
             if name.lower().endswith(ending)]
    for path in [path for path in files if not printable.is_text(path)]:
        raise InputError(f'{os.path.dirname(path)!r}: the name of a file in it is not UTF-8: rename it')
    if not files:
        raise InputError(f'{folder}: no annotation file in it; expected files *{ending}')
    return files


def with_names(dataset: Dataset, names: Sequence[str], images: image_lookup.Images, problems: faults.Problems
               ) -> Dataset:
    """The dataset with ids from the names of its images, and a message about images without annotation.

    Args:
      names: of the records' images, in their order: paths relative to their folder.
      images: their folder; those that it still holds as unused have no annotation.
    """
    records = lists.with_ids(dict(zip(names, dataset.records)))
    left = list(images.unused)
    if left:
        more = f' and {len(left) - 3} more' if len(left) > 3 else ''
        problems.note(f'{len(left)} of {len(images.paths)} images have no annotation file: {", ".join(left[:3])}'
                      f'{more}; left out')
    return Dataset(records, dataset.class_names, problems.messages, problems.notes)


def _annotated(path, folder, images, problems):
    """The parsed annotation with its image; None, with the problem noted, where one of them cannot be used."""
    image, why = images.find(path, folder)
    if image is None:
        image, why = images.find(path, folder, _file_name(path))
    if image is None:
        problems.add(f'{path}: {why}', 'annotation file left out')
        return None
    try:
        return voc.AnnotatedImage(image, '', path, voc_xml.parse(path))
    except (InputError, OSError) as error:
        problems.add(str(error), 'image dropped')
        return None


def _file_name(path):
    """<filename> of an annotation file, '' where there is none."""
    try:
        with open(path, 'rb', opener=regular_file.opener) as file:
            match = _FILE_NAME.search(file.read(_HEAD))
    except OSError:
        return ''
    return html.unescape(match.group(1).decode('utf-8', 'replace')) if match else ''
