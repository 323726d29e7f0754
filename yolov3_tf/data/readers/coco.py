"""Reads COCO instances files (https://cocodataset.org/#format-data) into Records."""
from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from yolov3_tf import printable, regular_file
from yolov3_tf.data.readers import class_files, faults, headers, image_lookup, lists, paths, texts
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset


class Categories(NamedTuple):
    """The categories of an instances file.

    Attributes:
      names: {category id: class name} in the order of the ids; two ids with one name are one class.
      notes: what was left out or joined, a sentence each.
    """
    names: dict[int, str]
    notes: list[str]

    @property
    def class_names(self) -> list[str]:
        """Each name once, in the order of the ids."""
        return list(dict.fromkeys(self.names.values()))


def read(path: str, image_folder: str, classes: Sequence[str] | None = None, strict: bool = False) -> Dataset:
    """Reads the images of an instances file in its order, those without annotations too.

    Boxes x, y, width, height become our x1, y1, x2, y2; ``iscrowd`` becomes ``crowd`` and the area of the
    segmentation is kept. ``image_id`` is the id as text. An annotation without a box gets that of its segmentation,
    and an image without a size that of its file.

    Args:
      path: the JSON file.
      image_folder: folder to which the file names are relative.
      classes: names in order; None takes the file's categories in the order of their ids, so COCO's ids
        1..90 with gaps become the class ids 0..79 (``categories``).
      strict: stop at the first fault instead of repairing or dropping.

    Raises:
      InputError: the file is not JSON (with line and column) or no instances file, a category is not
        among ``classes``, or no image is usable.
    """
    content = _load(path)
    problems = faults.Problems(strict)
    found = categories(path, content['categories'], content['annotations'])
    problems.note(*found.notes)
    class_names = found.class_names if classes is None else list(classes)
    index = {name: position for position, name in enumerate(class_names)}
    finder = paths.Finder(image_folder, inside=True)
    images = _images(path, content['images'], finder, problems)
    if not images:
        first = ([*problems.messages, 'it lists no images'])[0]
        raise InputError(f'{path}: no usable image; the first problem: {first}')
    problems.note(*finder.notes(path))
    listed = {_id(image) for image in content['images']}
    objects: dict[int | str, list[tuple]] = {image_id: [] for image_id in images}
    for annotation in content['annotations']:
        where = _where(path, annotation)
        written = annotation.get('image_id') if isinstance(annotation, dict) else None
        image_id = as_id(written)
        if image_id is None or image_id not in listed:
            problems.add(f'{where}: no image has the id {written!r}', 'annotation dropped')
        elif image_id in images:
            item = _object(where, annotation, images[image_id], found.names, index, problems)
            if item is not None:
                objects[image_id].append(item)
    records = [faults.record(image.path, str(image_id), image.width, image.height, objects[image_id], path)
               for image_id, image in images.items()]
    return Dataset(records, class_names, problems.messages, problems.notes)


def categories(path: str, entries: Sequence[Any], annotations: Sequence[Any] = ()) -> Categories:
    """The classes of a file's list of categories.

    Roboflow's exports begin with a root category that no object has and that the others name as their
    ``supercategory``: it is left out. Of categories with one name, those that no object has are left out if it is the
    root's; the others are one class.

    Args:
      path: for messages.
      annotations: those of the file; without any, every category counts as one that objects have.

    Raises:
      InputError: an entry without id or name, or an id that is there twice with two names.
    """
    names: dict[int, str] = {}
    parents: dict[int, Any] = {}
    notes = []
    for entry in entries:
        written = entry.get('name') if isinstance(entry, dict) else None
        number = _id(entry)
        if not isinstance(written, str) or not isinstance(number, int) or not printable.clean_name(written):
            raise InputError(f'{path}: expected categories with id and name, got {str(entry)[:80]}')
        name = printable.clean_name(written)
        class_files.check_length(name, path)
        if names.get(number, name) != name:
            raise InputError(f'{path}: category id {number} is listed twice, as {names[number]!r} and as {name!r}')
        if name != written.strip():
            notes.append(f'{path}: category {written!r} is read as {name!r}: a class name is one line of text')
        names[number], parents[number] = name, entry.get('supercategory')
    used = {as_id(entry.get('category_id')) for entry in annotations if isinstance(entry, dict)} or set(names)
    roots = {number for number, name in names.items() if number not in used and parents[number] in (None, '', 'none')
             and any(parent == name for other, parent in parents.items() if other != number)}
    uses: dict[str, list[int]] = {}
    for number in sorted(names):
        uses.setdefault(names[number], []).append(number)
    dropped = roots | {number for root in roots for number in uses[names[root]]
                       if not used.intersection(uses[names[root]])}
    notes += [f'{path}: category {names[number]!r} (id {number}) is left out: no object has it, and it is the '
              f'{"root" if number in roots else "double of the root"} of the others' for number in sorted(dropped)]
    for name, several in uses.items():
        kept = [number for number in several if number not in dropped]
        if len(kept) > 1:
            notes.append(f'{path}: the categories with the ids {", ".join(map(str, kept))} are one class, {name!r}')
    return Categories({number: names[number] for number in sorted(names) if number not in dropped}, notes)


def load(path: str) -> Any:
    """The content of a JSON file of any coding that ``texts`` reads.

    Raises:
      InputError: it cannot be read or is not JSON, with line and column.
    """
    try:
        with open(path, 'rb', opener=regular_file.opener) as file:
            return json.loads(texts.decode(file.read()))
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror}); expected COCO instances') from None
    except json.JSONDecodeError as error:
        raise InputError(f'{path}:{error.lineno}: not JSON ({error.msg}, column {error.colno}); '
                         'is the file truncated?') from None
    except texts.UnknownCoding as error:
        raise InputError(f'{path}:{error.line}: {error}') from None
    except (ValueError, RecursionError) as error:       # numbers of thousands of digits, deep nesting
        raise InputError(f'{path}: not readable as JSON ({error})') from None


def as_id(value: Any) -> int | str | None:
    """An id as a whole number where it is one, also written as text or with a fraction of 0; else text, or None."""
    if isinstance(value, str):
        text = value.strip()
        return int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else text or None
    if isinstance(value, float) and value == value and abs(value) < 2 ** 53 and value == int(value):
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


class _Image(NamedTuple):
    """An image that is there; its size is 0 where neither the entry nor the file says what the boxes refer to."""
    path: str
    width: int
    height: int


class _Below:
    """Images by their bare names in any folder below one; ``found`` are those (as written, path) that it gave."""

    def __init__(self, folder):
        self.folder = folder
        self.found: list[tuple[str, str]] = []
        self.images: image_lookup.Images | None = None

    def find(self, name):
        if image_lookup.base_name(name) != name:
            return None
        if self.images is None:         # only now: it walks the folder
            self.images = image_lookup.Images(self.folder or '.')
        files = self.images.named(name)
        self.found += [(name, file) for file in files[:1] if len(files) == 1]
        return files[0] if len(files) == 1 else None


def _load(path):
    content = load(path)
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise InputError(f'{path}: expected a COCO instances file with the list {key!r}')
    return content


def _images(path, entries, finder, problems) -> dict[int | str, _Image]:
    """{image id: image} of the images that are there."""
    images: dict[int | str, _Image] = {}
    below = _Below(finder.folders[0])
    unsized = 0
    for entry in entries:
        number = _id(entry)
        image = _image(entry, number, images, finder, below)
        if isinstance(image, str):
            problems.add(f'{path}: image {number}: {image}', 'image dropped')
        else:
            images[number] = image
            unsized += not all(_side(entry.get(side)) for side in ('width', 'height'))
    lists.note_elsewhere(path, below.found, problems)
    if unsized:
        problems.note(f'{path}: {unsized} images have no usable width and height there: taken from their files')
    return images


def _image(entry, number, images, finder, below):
    """An ``_Image``, or why it cannot be used."""
    name = entry.get('file_name') if isinstance(entry, dict) else None
    if number is None or not isinstance(name, str):
        return f'expected id and file_name, got {str(entry)[:80]}'
    if number in images:
        return 'the id is listed twice'
    file = finder.find(name) or below.find(name)
    if file is None and paths.leads_out(name):
        return f'file name {name[:80]!r} leads outside the folder, and no file there has this name'
    if file is None:
        return f'no image {os.path.join(finder.folders[0], name[:200])}'
    width, height = _side(entry.get('width')), _side(entry.get('height'))
    if width and height:
        return _Image(file, width, height)
    header = headers.of_file(file)
    if header is None:
        return f'expected width and height as whole pixels, got {(entry.get("width"), entry.get("height"))}'
    return _Image(file, header.width, header.height) if header.orientation == 1 else _Image(file, 0, 0)


def _object(where, annotation, image, names, index, problems):
    """One entry for ``faults.record``, or None with the problem noted."""
    written = annotation.get('category_id')
    number = as_id(written)
    name = names.get(number) if number is not None else None
    if name is None:
        problems.add(f'{where}: no category has the id {written!r}', 'annotation dropped')
        return None
    if name not in index:
        raise InputError(f'{where}: {class_files.unknown_class(name, list(index))}')
    corners = _corners(annotation)
    if corners is None:
        problems.add(f'{where}: expected bbox [x, y, width, height], got {str(annotation.get("bbox"))[:80]}',
                     'object dropped')
        return None
    box = faults.repair(where, corners, image.width, image.height, problems)
    if box is None:
        return None
    area = annotation.get('area')
    return (box, index[name], False, annotation.get('iscrowd') == 1,
            area if _is_number(area) and 0 < area < 2 ** 48 else None, _line(annotation))


def _corners(annotation):
    """x1, y1, x2, y2 of an annotation's box, or else of its outline; None where it has neither."""
    values = annotation.get('bbox')
    if isinstance(values, list) and len(values) == 4:
        values = [_of_text(value) for value in values]
        if all(_is_number(value) for value in values):
            x, y, width, height = values
            around = _of_outline(annotation) if not any(values) else None
            return around or (x, y, x + width, y + height)
    if values:                          # a box that is wrong, not one that is missing
        return None
    return _of_outline(annotation)


def _of_outline(annotation):
    outline = annotation.get('segmentation')
    return _of_mask(outline) if isinstance(outline, dict) else _of_polygons(outline)


def _of_text(value):
    """A number that is written as text; anything else as it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _of_polygons(outline):
    """The box around all points of lists [x, y, x, y, ...] or [[x, y], ...]."""
    numbers: list[float] = []
    waiting = [outline]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, list):
            return None
        if one and all(_is_number(value) for value in one):
            if len(one) % 2:
                return None
            numbers += one
        else:
            waiting += one
    x, y = numbers[::2], numbers[1::2]
    return (min(x), min(y), max(x), max(y)) if numbers else None


def _of_mask(mask):
    """The box around a run-length coded mask: runs of 0 and 1 in turn, column by column, a list or COCO's text."""
    size, counts = mask.get('size'), mask.get('counts')
    if not isinstance(size, list) or len(size) != 2 or not all(_side(side) for side in size):
        return None
    runs = _runs(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) and run >= 0 for run in runs):
        return None
    height, ends = _side(size[0]), list(itertools.accumulate(runs))
    ones = [(near, far) for near, far in zip(ends[::2], ends[1::2]) if far > near]
    if not ones:
        return None
    tops = [0 if (far - 1) // height > near // height else near % height for near, far in ones]
    bottoms = [height if (far - 1) // height > near // height else (far - 1) % height + 1 for near, far in ones]
    return ones[0][0] // height, min(tops), (ones[-1][1] - 1) // height + 1, max(bottoms)


def _runs(text):
    """Runs of COCO's text (rleFrString of its maskApi.c): six bits a letter, differences to the run before the last."""
    runs: list[int] = []
    value = shift = 0
    for letter in text.encode('ascii', 'replace'):
        bits = letter - 48
        if not 0 <= bits < 64 or shift > 60:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) and 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _where(path, annotation):
    name = annotation.get('id') if isinstance(annotation, dict) else str(annotation)[:40]
    return f'{path}: annotation {name}'


def _line(annotation):
    """The annotation's id, which stands for a line; -1 where it has none that fits."""
    number = as_id(annotation.get('id'))
    return number if isinstance(number, int) and 0 <= number < 2 ** 63 else -1


def _id(entry):
    return as_id(entry.get('id')) if isinstance(entry, dict) else None


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _side(value):
    """A size in whole pixels, 0 where the value is none; also written as text or with a fraction of 0."""
    number = as_id(value)
    return number if isinstance(number, int) and 0 < number < 2 ** 24 else 0
