"""What folders of annotation tools hold, by their files: LabelMe, VGG Image Annotator, CVAT and others."""
from __future__ import annotations

import collections
import os
import re

from yolov3_tf.data.readers import kitti, via
from yolov3_tf.data.readers.folder_files import SAMPLE, Files, Proposal, json_with, pairs, spec_of


def of_labelme(files: Files) -> list[Proposal]:
    """LabelMe's JSON, one file an image."""
    return _one_each(files, 'labelme', 'LabelMe JSON', json_with(files, is_labelme))


def of_supervisely(files: Files) -> list[Proposal]:
    """Supervisely's JSON, one file an image."""
    return _one_each(files, 'supervisely', 'Supervisely JSON', json_with(files, is_supervisely))


def of_kitti(files: Files) -> list[Proposal]:
    """KITTI's text files, one an image."""
    folders = collections.defaultdict(list)
    for path in files.ending('.txt'):
        folders[os.path.dirname(path)].append(path)
    return _one_each(files, 'kitti', 'KITTI', [path for paths in folders.values() if _is_kitti(files, paths)
                                               for path in paths])


def of_via(files: Files) -> list[Proposal]:
    """VGG Image Annotator's JSON or CSV, one file a part."""
    found = [*json_with(files, is_via), *(path for path in files.ending('.csv') if _is_via_table(files, path))]
    return pairs(found, 'VGG Image Annotator', lambda path: files.spec_of_file('via', path)) if (
        found and files.images) else []


def of_createml(files: Files) -> list[Proposal]:
    """CreateML's JSON, one file a part."""
    found = json_with(files, is_createml)
    return pairs(found, 'CreateML JSON', lambda path: files.spec_of_file('createml', path)) if (
        found and files.images) else []


def of_cvat(files: Files) -> list[Proposal]:
    """CVAT for images, one XML file a part."""
    found = [path for path in files.ending('.xml')[:10 * SAMPLE] if is_cvat(files.head(path)[:4096])]
    return pairs(found, 'CVAT for images', lambda path: files.spec_of_file('cvat', path)) if (
        found and files.images) else []


def is_cvat(text: str) -> bool:
    """Whether the beginning of an XML file is that of CVAT's own format."""
    return re.search(r'<annotations[\s>]', text) is not None


def is_labelme(text: str) -> bool:
    """Whether the beginning and end of a JSON file are LabelMe's."""
    return bool(re.search(r'"(shapes|imagePath|imageData)"\s*:', text)) and text.lstrip().startswith('{')


def is_supervisely(text: str) -> bool:
    """Whether the beginning and end of a JSON file are an annotation of Supervisely's."""
    return bool(re.search(r'"objects"\s*:\s*\[', text) and re.search(r'"size"\s*:\s*\{', text)) and not is_labelme(text)


def is_via(text: str) -> bool:
    """Whether the beginning and end of a JSON file are VGG Image Annotator's."""
    return bool(re.search(r'"(shape_attributes|_via_img_metadata)"\s*:', text)) and '"filename"' in text


def is_createml(text: str) -> bool:
    """Whether the beginning and end of a JSON file are CreateML's."""
    return text.lstrip().startswith('[') and bool(re.search(r'"annotations?"\s*:\s*\[', text, re.IGNORECASE)) and bool(
        re.search(r'"coordinates"\s*:\s*\{', text))


def _is_kitti(files, paths):
    """Whether most of the text files in a folder are KITTI's, by its first ones that are not empty."""
    heads = [lines for path in paths[:5 * SAMPLE] if (lines := files.lines(path, 2))][:SAMPLE]
    return 2 * sum(all(map(kitti.is_line, lines)) for lines in heads) > len(heads)


def _is_via_table(files, path):
    head = files.lines(path, 1)
    return bool(head) and all(column in head[0] for column in via.COLUMNS)


def _one_each(files, name, words, found):
    """The proposal for annotation files of one image each."""
    return files.proposals(words, found, lambda folder, images: spec_of(name, folder, images)) if (
        found and files.images) else []


FAMILIES = of_labelme, of_supervisely, of_kitti, of_via, of_createml, of_cvat
