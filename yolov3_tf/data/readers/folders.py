"""Recognises the layout of a labelled folder, so that ``yolov3-tf train FOLDER`` needs no dataset spec.

Each family of formats (VOC, COCO, YOLO, lists, tables, annotation tools) looks for its own files and proposes specs of
training and held-out part. One proposal is taken and said; several are an error that lists them. Only names and the
first bytes of files are read here. What separates train, val and test are the names of folders and files
(``image_lookup.split_of``).
"""
from __future__ import annotations

import collections
import os
import shlex
from collections.abc import Sequence
from typing import NamedTuple

from yolov3_tf.data import image_formats
from yolov3_tf.data.readers import folder_families, image_lookup
from yolov3_tf.data.readers.folder_files import Files
from yolov3_tf.errors import InputError

# What is looked for, in the words of the message that nothing was found.
_LOOKED_FOR = (
    'VOC XML (a VOCdevkit, Annotations and JPEGImages, images and XML side by side, images/ and annotations/)',
    'COCO JSON (also _annotations.coco.json and instances_*.json)',
    'YOLO (data.yaml, obj.data, lists of images, images/ and labels/, images and .txt side by side)',
    'lists of images with boxes, CSV tables, LabelMe JSON',
    'VGG Image Annotator (JSON, CSV), CVAT for images, CreateML JSON, Supervisely JSON, KITTI')
_MOST_SHOWN = 6


class Found(NamedTuple):
    """What a folder holds.

    Attributes:
      folder: as given.
      words: the format, for people.
      train: dataset spec of its training part; of all of it where it has no parts.
      val: dataset spec of its held-out part, or None.
    """
    folder: str
    words: str
    train: str
    val: str | None

    def describe(self, split: str = 'both') -> str:
        """One line: what was found, and the spec to write next time; ``split``: the part used, or both."""
        if split == 'both':
            specs = _flags(self.train, self.val)
        else:
            specs = shlex.quote((self.val if split == 'val' else None) or self.train)
        return f'data: {self.folder} is {self.words}; its spec is {specs}'


def recognise(folder: str) -> Found:
    """Finds the dataset in a folder.

    Raises:
      InputError: there is none, or more than one; the message lists what was looked for and what is there, or the
        specs to choose from.
    """
    shown = folder
    folder = os.path.normpath(folder)
    files = Files(folder)
    proposals = [proposal for family in folder_families.FAMILIES for proposal in family(files)]
    if not proposals:
        raise InputError(f'{shown}: no dataset is recognised in this folder. It holds {_contents(files)}.'
                         + _hint(files) + ' Looked for:' + ''.join(f'\n  {line}' for line in _LOOKED_FOR)
                         + '\nGive its dataset spec instead (docs/DATA.md).')
    if len(proposals) > 1:
        raise InputError(f'{shown}: {len(proposals)} datasets are recognised in this folder. Choose one '
                         '(with --recipe=fast, as for a folder):'
                         + ''.join(f'\n  {_flags(proposal.train, proposal.val)}  ({proposal.words})' for proposal in
                                   proposals[:2 * _MOST_SHOWN]))
    return Found(shown, *proposals[0])


def _flags(train: str, val: str | None) -> str:
    """The flags of both parts as they are typed in a shell."""
    return shlex.join([f'--train_data={train}', *([f'--val_data={val}'] if val else [])])


def _contents(files: Files) -> str:
    """Counts of its files by their endings, and its first folders."""
    endings = collections.Counter(os.path.splitext(path)[1].lower() or 'without ending' for path in files.paths)
    counted = _listed([f'{count} {ending}' for ending, count in endings.most_common()])
    inside = sorted({path.split(os.sep)[0] for path in files.paths if os.sep in path})
    return (counted or 'no files') + (f' in the folders {_listed(inside)}' if inside else '')


def _hint(files: Files) -> str:
    """What is probably missing."""
    others = [path for path in files.paths if image_lookup.is_image(path, image_formats.ENDINGS)]
    if others and not files.images:
        ending = os.path.splitext(others[0])[1]
        return f' Its images ({others[0]}) are {ending} files, which are not read: convert them to JPEG or PNG.'
    if not others:
        return ' There is no image: expected the images below the same folder.'
    known = ('.xml', '.json', '.txt', '.csv', '.yaml', '.yml')
    if not any(path.lower().endswith(known) for path in files.paths):
        return ' There are images but no annotations: draw boxes first, for example with labelImg or CVAT.'
    return ''


def _listed(words: Sequence[str]) -> str:
    more = f' and {len(words) - _MOST_SHOWN} more' if len(words) > _MOST_SHOWN else ''
    return ', '.join(words[:_MOST_SHOWN]) + more
