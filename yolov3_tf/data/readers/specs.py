"""Dataset specs: one string says which dataset to read, and in which format it is."""
from __future__ import annotations

import collections
import dataclasses
import os
import re
import sys
from collections.abc import Sequence
from typing import Callable, NamedTuple

import numpy as np

from yolov3_tf import collector
from yolov3_tf.choices import choose
from yolov3_tf.data.readers import (
    annotation_cache,
    builtin,
    class_files,
    coco,
    createml,
    cvat,
    darknet,
    faults,
    folders,
    kitti,
    labelme,
    lists,
    sizes,
    supervisely,
    tables,
    via,
    voc,
    xml_folder,
    yolo,
    yolo_folder,
)
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset


@dataclasses.dataclass(frozen=True)
class Spec:
    """One dataset, as ``parse`` understood it.

    Attributes:
      text: as written, for messages.
      format: its dataset format, a name in ``FORMATS``.
      path: annotation file, folder or pattern of file names; '' for the built-in shapes.
      split: of ``voc`` (several joined by '+') and ``yolo``; '' for the other formats.
      image_folder: of ``coco``, and of the formats with [:IMAGE_DIR]; '' where the spec names none.
      class_file: of ``darknet``; None where the spec names none.
      count: training images of ``shapes``.
    """
    text: str
    format: str
    path: str = ''
    split: str = ''
    image_folder: str = ''
    class_file: str | None = None
    count: int = 0

    def __str__(self) -> str:
        return self.text

    @property
    def is_coco(self) -> bool:
        """Whether the classes have COCO's category ids."""
        return self.format == 'coco'

    @property
    def is_builtin(self) -> bool:
        """Whether it is the set of drawn shapes, which brings its own validation part."""
        return self.format == 'shapes'

    @property
    def category_file(self) -> str | None:
        """The COCO instances file that holds the category ids, or None."""
        return self.path if self.is_coco else None


class _Format(NamedTuple):
    """A dataset format.

    Attributes:
      form: how its specs are written, for messages.
      parse: text behind the format's name -> fields of the Spec; None where the text does not fit ``form``.
      read: (Spec, classes or None, strict) -> Dataset.
      sources: Spec -> all that is read, for ``annotation_cache``; None where it is read anew each time.
      own_names: Spec -> class names beside annotations that hold numbers, or None; None where annotations hold names.
    """
    form: str
    parse: Callable[[str], dict | None]
    read: Callable[[Spec, Sequence[str] | None, bool], Dataset]
    own_names: Callable[[Spec], list[str] | None] | None = None
    sources: Callable[[Spec], list[annotation_cache.Source]] | None = None


def parse(text: str, split: str = 'train') -> tuple[Spec, ...]:
    """Reads a dataset spec; several joined by commas are one dataset.

    A comma separates two specs only where the name of a format or a folder follows it, so file names may hold commas.

    Args:
      text: a spec in one of the forms of ``FORMATS``, or a folder, which ``folders`` recognises.
      split: the part of a folder wanted: 'train', or 'val' for its held-out part (all of it where it has none).

    Raises:
      InputError: an unknown format, a text that does not fit its format, or a folder that is not recognised.
    """
    return tuple(spec for part in joined_texts(text) for spec in _parse_one(part, split))


def recognised(text: str) -> tuple[folders.Found, ...]:
    """What was found in the folders that a text for ``parse`` names; empty where all of it are specs."""
    return tuple(folders.recognise(part) for part in joined_texts(text) if is_folder(part))


def is_folder(text: str) -> bool:
    """Whether a text is a folder to recognise, and no spec."""
    name, colon, _ = text.partition(':')
    return not (colon and name in FORMATS) and text not in FORMATS and os.path.isdir(text)


def joined_texts(text: str) -> list[str]:
    """The specs and folders that a text for ``parse`` joins; file names with commas stay whole."""
    formats = '|'.join(FORMATS)
    found: list[str] = []
    for part in re.split(rf',\s*(?=(?:{formats})(?::|,|$))', text.strip()):
        first, *more = re.split(r',\s*', part)
        found.append(first)
        for piece in more:              # a folder behind a comma is one of its own, unless that is part of a name
            whole = f'{found[-1]},{piece}'
            if os.path.isdir(piece) and not os.path.exists(whole) and not os.path.exists(whole.partition(':')[2]):
                found.append(piece)
            else:
                found[-1] = whole
    return found


def load(spec: str | Sequence[Spec], classes: Sequence[str] | None = None, strict: bool = False, split: str = 'train',
         cache: str = builtin.CACHE) -> Dataset:
    """Reads the annotations of a dataset spec; of images themselves only the headers are read (``sizes.match``).

    Of joined specs, the class names are those of the first, then those of the others that are new, in order;
    classes of one name are one class. With ``classes`` given, each part's names must be among them. Annotations
    with mere numbers (``list`` and ``darknet`` without a class file) can only be joined when ``classes`` says what
    they mean. A file listed by several parts is used once, and of different images with one ``image_id`` all get
    the number of their part in front: ``1:a``, ``2:a``.

    Args:
      spec: text for ``parse``, or its result.
      classes: names in order (``class_files.read_class_file``, or those of the training set); None applies the
        reader's own rule.
      strict: raise at the first faulty annotation instead of repairing or dropping it.
      split: 'train' or 'val', the part of ``shapes`` or of a folder wanted; the other formats name theirs in the spec.
      cache: folder under which ``shapes`` is drawn once.

    Raises:
      InputError: the spec is not understood, nothing usable is there, a class is not among ``classes``,
        or, under ``strict``, an annotation is faulty.
    """
    if isinstance(spec, str):
        for found in recognised(spec):
            print(found.describe(split), file=sys.stderr)
    parts = parse(spec, split) if isinstance(spec, str) else spec
    if len(parts) > 1 and classes is None:
        for part in parts:
            _check_named(part)
    with collector.paused():
        sets = [_kept(part, classes, strict, split, cache) for part in parts]
        dataset = sets[0] if len(sets) == 1 else _joined(parts, sets, strict)
    return dataset._replace(notes=[*dataset.notes, *class_files.alike(dataset.class_names)])


def describe(spec: str | Sequence[Spec], dataset: Dataset) -> str:
    """One line: what was read, which classes it has, and how many annotations were faulty."""
    title = spec if isinstance(spec, str) else ', '.join(map(str, spec))
    boxes = sum(len(record.boxes) for record in dataset.records)
    counts = {name: sum(int(getattr(record, name).sum()) for record in dataset.records)
              for name in ('difficult', 'crowd')}
    marks = ''.join(f', {count} {name}' for name, count in counts.items() if count)
    faulty = f'; {len(dataset.problems)} annotation problems' if dataset.problems else ''
    return (f'{title}: {len(dataset.records)} images, {boxes} boxes{marks}; '
            f'{class_files.describe_classes(dataset.class_names)}{faulty}')


def _parse_one(text, split):
    if is_folder(text):
        found = folders.recognise(text)
        return parse((found.val if split == 'val' else None) or found.train)
    name, colon, rest = text.partition(':')
    if name and not colon and name not in FORMATS:
        raise InputError(f'data {text!r}: there is no such folder here; expected a labelled folder, or a dataset spec '
                         f'FORMAT:... with one of the formats {", ".join(FORMATS)} (docs/DATA.md)')
    try:
        chosen = choose(FORMATS, name, 'dataset format')
    except InputError as error:
        forms = ', '.join(entry.form for entry in FORMATS.values())
        raise InputError(f'data {text!r}: there is no such folder, and {error}; write {forms}') from None
    fields = chosen.parse(rest)
    if fields is None:
        splits = voc.splits_of(rest.rpartition(':')[0] or rest) if name == 'voc' else []
        there = f'; splits there: {", ".join(splits[:12])}' if splits else ''
        raise InputError(f'data {name}:{rest}: expected {chosen.form}{there}')
    return (Spec(text, name, **fields),)


def _kept(spec, classes, strict, split, cache):
    """The dataset of one spec with its boxes in the pixels of the images, from the cache or read."""
    of_format = FORMATS[spec.format].sources
    return annotation_cache.through(
        [*dataclasses.astuple(spec), None if classes is None else list(classes), strict, split],
        of_format(spec) if of_format else [], lambda: sizes.match(_read(spec, classes, strict, split, cache), strict))


def _read(spec, classes, strict, split, cache):
    if spec.is_builtin:         # a VOC folder once it is drawn
        spec = dataclasses.replace(spec, path=builtin.prepare(spec.count, cache), split=split)
    elif spec.format == 'darknet':      # an obj.data names a list for each part
        spec = dataclasses.replace(spec, split=split)
    return FORMATS[spec.format].read(spec, classes, strict)


def _joined(parts, sets, strict):
    names = list(dict.fromkeys(name for one in sets for name in one.class_names))
    index = {name: number for number, name in enumerate(names)}
    problems = faults.Problems(strict)
    seen: dict[str, int] = {}       # file -> the first part that lists it
    records = []
    for position, one in enumerate(sets):
        numbers = np.array([index[name] for name in one.class_names], np.int32)
        for record in one.records:
            path = record.image_path if '://' in record.image_path else os.path.realpath(record.image_path)
            if seen.setdefault(path, position) != position:
                problems.add(f'{parts[position]}: {record.image_path} is in {parts[seen[path]]} already', 'used once')
            else:
                records.append((position, record._replace(classes=numbers[record.classes])))
    return Dataset(_distinct(records), names, [text for one in sets for text in one.problems] + problems.messages,
                   [text for one in sets for text in one.notes])


def _check_named(spec):
    """Raises InputError for a part whose annotations hold numbers without names for them."""
    own_names = FORMATS[spec.format].own_names
    if own_names and own_names(spec) is None:
        raise InputError(f'data {spec}: its classes are numbers; to join it with other data, put {lists.CLASS_FILE} '
                         'with their names beside the list, or give all names with --classes=FILE')


def _distinct(records):
    """Records of (number of the part, Record), each id once."""
    uses = collections.defaultdict(set)
    for number, record in records:
        uses[record.image_id].add(number)
    return [record._replace(image_id=f'{number + 1}:{record.image_id}') if len(uses[record.image_id]) > 1 else record
            for number, record in records]


def _path(rest):
    return {'path': rest} if rest else None


def _path_and(field):
    """Parses PATH:VALUE, where the value behind the last colon is the Spec's ``field``."""
    def parse_both(rest):
        path, _, value = rest.rpartition(':')
        return {'path': path, field: value} if path and value else None
    return parse_both


def _path_maybe_and(field):
    """Parses PATH[:VALUE]; a path that exists as a whole may hold colons."""
    def parse_both(rest):
        path, colon, value = rest.rpartition(':')
        both = colon and path and value and not os.path.exists(rest)
        return {'path': path, field: value} if both else _path(rest)
    return parse_both


def _darknet(rest):
    path, colon, names = rest.rpartition(':')
    if os.path.exists(rest):
        return _path(rest)
    return ({'path': path, 'class_file': names} if path else None) if colon else _path(rest)


def _shapes(rest):
    if rest and not (rest.isdecimal() and rest.isascii() and 1 <= int(rest[:9]) <= builtin.LARGEST_COUNT):
        return None
    return {'count': int(rest) if rest else builtin.DEFAULT_COUNT}


def _sources_of_voc(spec):
    return [annotation_cache.Source(folder) for folder in voc.folders(spec.path, spec.split)]


def _walked_sources(spec):
    return [annotation_cache.Source(path, reader_walks=True) for path in (spec.path, spec.image_folder) if path]


def _sources_of_coco(spec):
    """None of a small file, whose folder may hold more images than it names."""
    large = os.path.isfile(spec.path) and os.path.getsize(spec.path) >= annotation_cache.LARGE_FILE
    return [annotation_cache.Source(path) for path in (spec.path, spec.image_folder) if large]


def _read_voc(spec, classes, strict):
    return voc.read(spec.path, spec.split, classes, strict)


def _read_list(spec, classes, strict):
    if _is_table(spec.path):
        return tables.read(spec.path, None, classes, strict)
    return lists.read(spec.path, classes, strict)


def _is_table(path):
    return path.lower().endswith(('.csv', '.tsv'))


def _names_of_list(spec):
    """Class names beside a list; [] where it holds the names itself."""
    return lists.own_names(spec.path) or ([] if _is_table(spec.path) or lists.has_names(spec.path) else None)


def _read_xml(spec, classes, strict):
    return xml_folder.read(spec.path, spec.image_folder or None, classes, strict)


def _with_images(read):
    """Reads PATH[:IMAGE_DIR] by a function of path, folder of the images or None, classes and strict."""
    return lambda spec, classes, strict: read(spec.path, spec.image_folder or None, classes, strict)


def _read_coco(spec, classes, strict):
    return coco.read(spec.path, spec.image_folder, classes, strict)


def _read_darknet(spec, classes, strict):
    if os.path.isdir(spec.path):
        return yolo_folder.read(spec.path, spec.class_file, classes, strict)
    return darknet.read(spec.path, spec.class_file, classes, strict, spec.split or 'train')


def _names_of_darknet(spec):
    reader = yolo_folder if os.path.isdir(spec.path) else darknet
    return reader.own_names(spec.path, spec.class_file)


def _read_yolo(spec, classes, strict):
    return yolo.read(spec.path, spec.split, classes, strict)


def _read_shards(spec, classes, strict):
    # Only this reader needs TensorFlow.
    from yolov3_tf.data.readers import shards
    return shards.read(spec.path, classes, strict)


FORMATS = {
    'voc': _Format('voc:DIR:SPLIT[+SPLIT...] (voc:VOCdevkit:2007_trainval+2012_trainval)', _path_and('split'),
                   _read_voc, sources=_sources_of_voc),
    'xml': _Format('xml:DIR[:IMAGE_DIR] (xml:mine), VOC XML without lists', _path_maybe_and('image_folder'), _read_xml,
                   sources=_walked_sources),
    'list': _Format('list:FILE (list:data/train.txt)', _path, _read_list, _names_of_list),
    'csv': _Format('csv:FILE[:IMAGE_DIR] (csv:train.csv:images)', _path_maybe_and('image_folder'),
                   _with_images(tables.read)),
    'coco': _Format('coco:INSTANCES.json:IMAGE_DIR (coco:annotations/instances_val2017.json:val2017)',
                    _path_and('image_folder'), _read_coco, sources=_sources_of_coco),
    'labelme': _Format('labelme:DIR[:IMAGE_DIR] (labelme:mine)', _path_maybe_and('image_folder'),
                       _with_images(labelme.read), sources=_walked_sources),
    'via': _Format('via:FILE[:IMAGE_DIR] (via:via_region_data.json:images)', _path_maybe_and('image_folder'),
                   _with_images(via.read)),
    'cvat': _Format('cvat:FILE[:IMAGE_DIR] (cvat:annotations.xml:images), CVAT for images',
                    _path_maybe_and('image_folder'), _with_images(cvat.read)),
    'createml': _Format('createml:FILE[:IMAGE_DIR] (createml:train/_annotations.createml.json)',
                        _path_maybe_and('image_folder'), _with_images(createml.read)),
    'supervisely': _Format('supervisely:DIR[:IMAGE_DIR] (supervisely:project)', _path_maybe_and('image_folder'),
                           _with_images(supervisely.read)),
    'kitti': _Format('kitti:DIR[:IMAGE_DIR] (kitti:training/label_2:training/image_2)',
                     _path_maybe_and('image_folder'), _with_images(kitti.read)),
    'darknet': _Format('darknet:LIST_OR_IMAGE_DIR[:NAMES] (darknet:data/train.txt:data/obj.names)', _darknet,
                       _read_darknet, _names_of_darknet),
    'yolo': _Format('yolo:DATA.yaml:SPLIT (yolo:coco128.yaml:train)', _path_and('split'), _read_yolo),
    'tfrecord': _Format('tfrecord:PATTERN (tfrecord:data/train-*.tfrecord)', _path, _read_shards),
    'shapes': _Format(f'shapes[:N] (shapes:600), N from 1 to {builtin.LARGEST_COUNT}', _shapes, _read_voc),
}
