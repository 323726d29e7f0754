"""Reads the PASCAL VOC layout: a VOCdevkit, or any folder with Annotations, JPEGImages and ImageSets.

Everingham et al., The PASCAL Visual Object Classes Challenge (development kit documentation).
"""
from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import NamedTuple

from yolov3_tf.data import image_formats
from yolov3_tf.data.readers import class_files, faults, paths, voc_xml
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

_MARK = re.compile(r'\s+(-1|0|1)$')
PAPER_SPLITS = {'train': '2007_trainval+2012_trainval', 'test': '2007_test'}


class _Part(NamedTuple):
    """One split of one VOC folder."""
    folder: str
    list_file: str


class AnnotatedImage(NamedTuple):
    """One image before class names have become indices."""
    image_path: str
    image_id: str
    xml: str
    annotation: voc_xml.Annotation


def read(folder: str, splits: str, classes: Sequence[str] | None = None, strict: bool = False) -> Dataset:
    """Reads the images of one or more splits, in the order of their lists.

    Every image listed becomes a Record, without objects too. Image and annotation are found by the
    listed name, which may have an ending or a folder (of another machine too); <filename> inside the XML is ignored
    (people copy and rename). <part> boxes are not objects.
    A box whose corners coincide counts as one without area, although with inclusive pixels it would have one.

    Args:
      folder: a VOCdevkit (holding VOC2007, VOC2012, ...) or one folder in VOC layout.
      splits: names joined by '+'; in a VOCdevkit '2007_trainval', or 'train' where one year alone has it.
      classes: names in order, or None to apply the rule of ``class_files.resolve_classes``.
      strict: stop at the first faulty annotation instead of repairing or dropping it.

    Raises:
      InputError: the folder or a split is missing or empty (the message lists the splits there), a class
        is not among ``classes``, no image is usable, or, under ``strict``, an annotation is faulty.
    """
    problems = faults.Problems(strict)
    images = _images([_find(folder, name.strip()) for name in splits.split('+')], problems)
    return dataset_of(images, classes, problems, f'{folder}: no usable image in {splits}')


def dataset_of(images: Sequence[AnnotatedImage], classes: Sequence[str] | None, problems: faults.Problems,
               empty: str, own: bool = False) -> Dataset:
    """The dataset of parsed annotations; ``empty`` says what is missing where no image is usable.

    ``own``: see ``class_files.resolve_classes``.

    Raises:
      InputError: a class is not among ``classes``, no image is usable, or, under ``strict``, an annotation is faulty.
    """
    found: dict[str, str] = {}      # name -> file and line of its first object
    for image in images:
        for item in image.annotation.objects:
            if item.name and item.name not in found:
                found[item.name] = f'{image.xml}:{item.line}'
    class_names = class_files.resolve_classes(found, classes, own)
    index = {name: number for number, name in enumerate(class_names)}
    records = faults.records([_fields(image, index, problems) for image in images])
    if not records:
        raise InputError(f'{empty}; the first: {problems.messages[0]}')
    return Dataset(records, class_names, problems.messages, problems.notes)


def folders(folder: str, splits: str) -> list[str]:
    """Every folder that ``read`` looks into; it raises what ``read`` would for a missing split."""
    homes = dict.fromkeys(_find(folder, name.strip()).folder for name in splits.split('+'))
    return [f'{home}/{name}' for home in homes for name in ('Annotations', 'JPEGImages', 'ImageSets')]


def splits_of(folder: str) -> list[str]:
    """Names of the splits in a VOC folder or VOCdevkit ('2007_trainval'), shortest first."""
    if _is_voc(folder):
        names = {ending[:-4] for lists in _list_folders(folder) for ending in _listing(lists)
                 if ending.endswith('.txt')}
    else:
        names = {f'{year}_{name}' for year in _years(folder) for name in splits_of(f'{folder}/VOC{year}')}
    return sorted(names, key=lambda name: (len(name), name))


def training_splits(folder: str) -> tuple[str, str]:
    """The paper's (training, held-out) splits where present, else train and val, or trainval and test, of one year.

    Raises:
      InputError: neither a test set nor train and val of one year are there.
    """
    there = set(splits_of(folder))
    prefixes = [''] if _is_voc(folder) else [f'{year}_' for year in _years(folder)]
    if PAPER_SPLITS['test'] in there:
        parts = [part for part in PAPER_SPLITS['train'].split('+') if part in there]
        if parts:
            return '+'.join(parts), PAPER_SPLITS['test']
    for prefix in reversed(prefixes):
        for train, held_out in (('train', 'val'), ('trainval', 'test')):
            if {prefix + train, prefix + held_out} <= there:
                return prefix + train, prefix + held_out
    raise InputError(f'{folder}: expected the splits train and val, or trainval and test; {_there(folder)}')


def _find(folder, name) -> _Part:
    """The folder and list file of a split."""
    if not os.path.isdir(folder):
        raise InputError(f'{folder}: no such folder; expected a VOCdevkit or a folder in VOC layout')
    if not name:
        raise InputError(f'{folder}: expected the name of a split; {_there(folder)}')
    homes = [(folder, name)]
    if not _is_voc(folder):
        year, _, rest = name.partition('_')
        years = _years(folder)
        homes = [(f'{folder}/VOC{year}', rest)] if year in years else [
            (f'{folder}/VOC{year}', name) for year in years]
    found = [_Part(home, path) for home, split in homes for path in [_list_file(home, split)] if path]
    if not found:
        raise InputError(f'{folder}: no split {name!r}; {_there(folder)}')
    if len(found) > 1:
        options = ', '.join(f'{os.path.basename(part.folder)[3:]}_{name}' for part in found)
        raise InputError(f'{folder}: several years have the split {name!r}; '
                         f'name one of {options}, or join them by +')
    return found[0]


def _images(parts, problems):
    """Reads the annotations of every image listed, each id once."""
    first: dict[str, str] = {}      # image id -> file and line that list it first
    images = []
    for part in parts:
        files = _Files(part.folder)
        lines = list(class_files.read_lines(part.list_file))
        if not lines:
            raise InputError(f'{part.list_file}: the split is empty; expected one image name a line')
        # dog_train.txt and its like add a mark to every name; IMG 0 and IMG 1 are names.
        marked = all(_MARK.search(line) and not files.has(line) for _, line in lines)
        for number, line in lines:
            image_id = files.find(_MARK.sub('', line) if marked else line)
            where = f'{part.list_file}:{number}'
            if image_id in first:
                problems.add(f'{where}: {image_id} is listed already in {first[image_id]}', 'used once')
                continue
            first[image_id] = where
            image = _annotated(files, image_id, where, problems)
            if image:
                images.append(image)
        problems.note(*files.notes(part.list_file))
    return images


def _annotated(files, image_id, where, problems):
    """Reads one annotation; None, with the problem noted, where annotation or image cannot be used."""
    image, xml = files.image(image_id), files.xml(image_id)
    if image is None and paths.leads_out(image_id):
        problems.add(f'{where}: expected the bare name of an image, got {image_id[:80]!r}', 'image dropped')
        return None
    if image is None:
        problems.add(f'{where}: no image {files.folder}/JPEGImages/{image_id} with the ending '
                     f'{", ".join(image_formats.ENDINGS)}{files.other(image_id)}', 'image dropped')
        return None
    try:
        annotation = voc_xml.parse(xml)
    except FileNotFoundError:
        problems.add(f'{where}: no annotation {xml}', 'image dropped')
    except InputError as error:
        problems.add(str(error), 'image dropped')
    else:
        return AnnotatedImage(image, image_id, xml, annotation)
    return None


class _Files:
    """The images and annotations of one VOC folder, by name without ending; listed once, with subfolders on demand."""

    def __init__(self, folder: str):
        self.folder = folder
        self.repaired: list[tuple[str, str]] = []       # (name as listed, image id)
        self._listed: dict[str, _Listed] = {}

    def find(self, line: str) -> str:
        """The image id of a list's line, which may have an ending or a folder; the line where it fits nothing."""
        if self.has(line) or '\0' in line:
            return line
        for _, name in paths.repairs(line):
            stem, ending = os.path.splitext(name)
            candidates = [name, stem] if ending.lower() in (*image_formats.ENDINGS, '.xml') else [name]
            for candidate in candidates:
                if self.has(candidate):
                    self.repaired.append((line, candidate))
                    return candidate
        return line

    def has(self, image_id: str) -> bool:
        """Whether there is an image or an annotation of this name."""
        name, listed = self._at(image_id)
        return name in listed.images or name in listed.xmls

    def image(self, image_id: str) -> str | None:
        """The image's file, None where there is none."""
        name, listed = self._at(image_id)
        file = listed.images.get(name)
        return file and listed.image_folder + file

    def xml(self, image_id: str) -> str:
        """The annotation's file, whether it is there or not; its ending may be in upper case."""
        name, listed = self._at(image_id)
        return listed.xml_folder + listed.xmls.get(name, f'{name}.xml')

    def other(self, image_id: str) -> str:
        """For the message: a file of this name in a format that is not read."""
        name, listed = self._at(image_id)
        found = [file for file in listed.others if os.path.splitext(file)[0] == name]
        return f'; {found[0]} is there, which is not read: convert it to JPEG or PNG' if found else ''

    def notes(self, file: str) -> list[str]:
        """A sentence about names that were listed in another form, if any."""
        if not self.repaired:
            return []
        written, image_id = self.repaired[0]
        return [f'{file}: {len(self.repaired)} names with an ending or folder, such as {written[:120]!r}: read as '
                f'{image_id}']

    def _at(self, image_id):
        """The bare name of an image, and what is in its folder."""
        folder, name = os.path.split(image_id) if '/' in image_id else ('', image_id)
        if folder not in self._listed:
            self._listed[folder] = self._list(folder)
        return name, self._listed[folder]

    def _list(self, folder):
        plain = not folder or folder == os.path.normpath(folder) != '.'
        inside = plain and not paths.leads_out(folder) and '\0' not in folder
        image_folder = os.path.join(self.folder, 'JPEGImages', folder, '')
        xml_folder = os.path.join(self.folder, 'Annotations', folder, '')
        names, xmls = (_listing(of) if inside else [] for of in (image_folder, xml_folder))
        others = [name for name in names if os.path.splitext(name)[1].lower() not in image_formats.ENDINGS]
        return _Listed(image_folder, xml_folder, _image_files(names), _xml_files(xmls), others)


class _Listed(NamedTuple):
    """One folder below JPEGImages and Annotations: both, with a slash behind; {stem: file} of each; the other files."""
    image_folder: str
    xml_folder: str
    images: dict[str, str]
    xmls: dict[str, str]
    others: list[str]


def _fields(image, index, problems):
    """The arguments of ``faults.record``."""
    width, height, annotated = image.annotation
    objects = []
    for item in annotated:
        if item.corners and item.name:
            x1, y1, x2, y2 = item.corners
            if 1 <= x1 < x2 <= width and 1 <= y1 < y2 <= height:        # nothing to repair
                objects.append((voc_xml.to_exclusive(item.corners), index[item.name], item.difficult, False, None,
                                item.line))
                continue
        where = f'{image.xml}:{item.line}: object' + (f' {item.name!r}' if item.name else '')
        if item.corners is None or not item.name:
            problems.add(f'{where} {item.fault or "has no class name"}', 'object dropped')
            continue
        box = faults.repair(where, item.corners, width, height, problems, voc_xml.to_exclusive)
        if box is not None:
            objects.append((box, index[item.name], item.difficult, False, None, item.line))
    return image.image_path, image.image_id, width, height, objects, image.xml


def _image_files(names):
    """{stem: file name} of the images among a folder's files, the preferred ending where a stem has several."""
    ranked: dict[str, tuple[int, bool, str]] = {}
    for name in names:
        stem, ending = os.path.splitext(name)
        if ending.lower() in image_formats.ENDINGS:
            rank = image_formats.ENDINGS.index(ending.lower()), ending.isupper(), name
            ranked[stem] = min(rank, ranked.get(stem, rank))
    return {stem: rank[-1] for stem, rank in ranked.items()}


def _xml_files(names):
    """{stem: file name} of the annotations among a folder's files, .xml before .XML."""
    found = {}
    for name in sorted(names, key=lambda name: name.endswith('.xml')):
        stem, ending = os.path.splitext(name)
        if ending.lower() == '.xml':
            found[stem] = name
    return found


def _is_voc(folder):
    return all(os.path.isdir(f'{folder}/{name}') for name in ('Annotations', 'JPEGImages', 'ImageSets'))


def _years(folder):
    return [name[3:] for name in _listing(folder) if re.fullmatch(r'VOC\d{4}', name)
            and _is_voc(f'{folder}/{name}')]


def _list_folders(folder):
    return f'{folder}/ImageSets/Main', f'{folder}/ImageSets'


def _list_file(folder, split):
    """Path of the split's list, or None; the name comes from a listing, so it cannot lead elsewhere."""
    for lists in _list_folders(folder):
        if f'{split}.txt' in _listing(lists):
            return f'{lists}/{split}.txt'
    return None


def _listing(folder):
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []


def _there(folder):
    """What the folder offers, for messages."""
    names = splits_of(folder)
    if names:
        more = f' and {len(names) - 12} more' if len(names) > 12 else ''
        return f'there are {", ".join(names[:12])}{more}'
    inside = ', '.join(_listing(folder)[:8]) or 'nothing'
    return ('expected VOC2007, VOC2012, ... or Annotations, JPEGImages and ImageSets/Main/*.txt; '
            f'it holds {inside}')
