"""Reads COCO instances files (https://cocodataset.org/#format-data) into Records."""
from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from yolov3_tf.data.readers import class_files, faults
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset


def read(path: str, image_folder: str, classes: Sequence[str] | None = None, strict: bool = False) -> Dataset:
    """Reads the images of an instances file in its order, those without annotations too.

    Boxes x, y, width, height become our x1, y1, x2, y2; ``iscrowd`` becomes ``crowd`` and the area of the
    segmentation is kept. ``image_id`` is the number as text.

    Args:
      path: the JSON file.
      image_folder: folder to which the file names are relative.
      classes: names in order; None takes the file's categories in the order of their ids, so COCO's ids
        1..90 with gaps become the class ids 0..79.
      strict: stop at the first fault instead of repairing or dropping.

    Raises:
      InputError: the file is not JSON (with line and column) or no instances file, a category is not
        among ``classes``, or no image is usable.
    """
    content = _load(path)
    problems = faults.Problems(strict)
    names = _category_names(path, content['categories'])
    class_names = list(names.values()) if classes is None else list(classes)
    images = _images(path, content['images'], image_folder, problems)
    if not images:
        first = ([*problems.messages, 'it lists no images'])[0]
        raise InputError(f'{path}: no usable image; the first problem: {first}')
    listed = {_id(image) for image in content['images']}
    objects: dict[int, list[tuple]] = {image_id: [] for image_id in images}
    for annotation in content['annotations']:
        where = _where(path, annotation)
        image_id = annotation.get('image_id') if isinstance(annotation, dict) else None
        if not isinstance(image_id, int) or image_id not in listed:
            problems.add(f'{where}: no image has the id {image_id!r}', 'annotation dropped')
        elif image_id in images:
            item = _object(where, annotation, images[image_id], names, class_names, problems)
            if item is not None:
                objects[image_id].append(item)
    records = [faults.record(os.path.join(image_folder, image['file_name']), str(image_id), image['width'],
                             image['height'], objects[image_id], path) for image_id, image in images.items()]
    return Dataset(records, class_names, problems.messages)


def _load(path):
    try:
        with open(path, encoding='utf-8-sig') as file:
            content = json.load(file)
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror}); expected COCO instances') from None
    except json.JSONDecodeError as error:
        raise InputError(f'{path}:{error.lineno}: not JSON ({error.msg}, column {error.colno}); '
                         'is the file truncated?') from None
    except (ValueError, RecursionError) as error:  # not UTF-8, numbers of thousands of digits, deep nesting
        raise InputError(f'{path}: not readable as JSON ({error})') from None
    for key in ('images', 'annotations', 'categories'):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise InputError(f'{path}: expected a COCO instances file with the list {key!r}')
    return content


def _category_names(path, categories) -> dict[int, str]:
    """{category id: name} in the order of the ids."""
    names: dict[int, str] = {}
    for category in categories:
        name = category.get('name') if isinstance(category, dict) else None
        if not isinstance(name, str) or not name.strip() or _id(category) is None:
            raise InputError(f'{path}: expected categories with id and name, got {str(category)[:80]}')
        if _id(category) in names or name.strip() in names.values():
            raise InputError(f'{path}: category {name!r} (id {_id(category)}) is listed twice')
        names[_id(category)] = name.strip()
    return {number: names[number] for number in sorted(names)}


def _images(path, entries, folder, problems) -> dict[int, dict[str, Any]]:
    """{image id: entry} of the images that are there."""
    images: dict[int, dict[str, Any]] = {}
    for image in entries:
        fault = _image_fault(image, images, folder)
        if fault:
            problems.add(f'{path}: image {_id(image)}: {fault}', 'image dropped')
        else:
            images[_id(image)] = image
    return images


def _image_fault(image, images, folder):
    """Why an image cannot be used, '' where it can."""
    if _id(image) is None or not isinstance(image.get('file_name'), str):
        return f'expected id and file_name, got {str(image)[:80]}'
    if _id(image) in images:
        return 'the id is listed twice'
    if not all(_is_count(image.get(side)) for side in ('width', 'height')):
        size = image.get('width'), image.get('height')
        return f'expected width and height as whole pixels, got {size}'
    name = image['file_name']
    if os.path.isabs(name) or '..' in name.replace('\\', '/').split('/') or '\0' in name:
        return f'file name {name[:80]!r} leads outside the folder'
    return '' if os.path.isfile(os.path.join(folder, name)) else f'no image {os.path.join(folder, name)}'


def _object(where, annotation, image, names, class_names, problems):
    """One entry for ``faults.record``, or None with the problem noted."""
    name = names.get(annotation.get('category_id')) if _is_count(annotation.get('category_id')) else None
    if name is None:
        problems.add(f'{where}: no category has the id {annotation.get("category_id")!r}',
                     'annotation dropped')
        return None
    if name not in class_names:
        raise InputError(f'{where}: {class_files.unknown_class(name, class_names)}')
    values = annotation.get('bbox')
    if not isinstance(values, list) or len(values) != 4 or not all(_is_number(value) for value in values):
        problems.add(f'{where}: expected bbox [x, y, width, height], got {str(values)[:80]}',
                     'object dropped')
        return None
    x, y, width, height = values
    corners = x, y, x + width, y + height
    box = faults.repair(where, corners, image['width'], image['height'], problems)
    if box is None:
        return None
    area = annotation.get('area')
    return (box, class_names.index(name), False, annotation.get('iscrowd') == 1,
            area if _is_number(area) and 0 < area < 2 ** 48 else None, _line(annotation))


def _where(path, annotation):
    name = annotation.get('id') if isinstance(annotation, dict) else str(annotation)[:40]
    return f'{path}: annotation {name}'


def _line(annotation):
    """The annotation's id, which stands for a line; -1 where it has none that fits."""
    number = annotation.get('id')
    return number if isinstance(number, int) and 0 <= number < 2 ** 63 else -1


def _id(entry):
    number = entry.get('id') if isinstance(entry, dict) else None
    return number if isinstance(number, int) else None


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2 ** 24
