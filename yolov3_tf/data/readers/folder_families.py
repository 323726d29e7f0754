"""What each family of dataset formats recognises in a folder: files -> proposals (``folders``)."""
from __future__ import annotations

import collections
import json
import os
import re

from yolov3_tf import regular_file
from yolov3_tf.data.readers import annotation_tools, image_lookup, lists, tables, voc, yolo, yolo_folder
from yolov3_tf.data.readers.folder_files import (
    SAMPLE,
    Files,
    Proposal,
    by_split,
    common,
    is_image_path,
    json_with,
    pairs,
    parts_words,
    spec_of,
    within,
)
from yolov3_tf.errors import InputError

_COCO_KEYS = 'images', 'annotations', 'categories'
_NOT_INSTANCES = ('captions', 'person_keypoints', 'stuff', 'panoptic', 'image_info')   # beside COCO's instances
_FILE_NAME = re.compile(r'"file_name"\s*:\s*("(?:[^"\\]|\\.)*")')
_SMALL = 1 << 26            # bytes of JSON that are read whole where their first bytes name no image
_WHOLE_SPLITS = ('train', 'trainval', 'training', 'default', 'all')     # of a VOC folder, in the order they are tried
_HELD_OUT_SPLITS = ('val', 'valid', 'validation', 'test')


def of_voc(files: Files) -> list[Proposal]:
    """VOCdevkits, folders in VOC layout with lists, and VOC XML without."""
    xml = files.ending('.xml')
    homes = _voc_homes(xml)
    found = []
    for home in homes:
        proposal = _with_lists(files.at(home))
        if proposal:
            found.append(proposal)
            xml = [path for path in xml if not within(path, home)]
    if any(re.search(r'<annotation[\s>]', files.head(path)[:4096]) for path in xml[:SAMPLE]) and files.images:
        found += files.proposals('VOC XML', xml, lambda folder, images: spec_of('xml', folder, images))
    return found


def _voc_homes(xml):
    """Folders that may be VOC folders with lists, a VOCdevkit in place of its years."""
    homes = dict.fromkeys(os.path.dirname(os.path.dirname(path)) for path in xml
                          if os.path.basename(os.path.dirname(path)) == 'Annotations')
    return list(dict.fromkeys(os.path.dirname(home) if re.fullmatch(r'VOC\d{4}', os.path.basename(home)) else home
                              for home in homes))


def _with_lists(home):
    """The proposal for a VOC folder with ImageSets, or None."""
    there = voc.splits_of(home)
    if not there:
        return None
    try:
        train, held = voc.training_splits(home)
    except InputError:
        bare = {re.sub(r'^\d{4}_', '', name): name for name in there}
        train = next((bare[name] for name in _WHOLE_SPLITS if name in bare), there[0] if len(there) == 1 else '')
        held = next((bare[name] for name in _HELD_OUT_SPLITS if name in bare), '')
    if not train:
        return None
    words = f'PASCAL VOC, lists {train} and {held}' if held else f'PASCAL VOC, list {train}, {parts_words(None)}'
    return Proposal(words, f'voc:{home}:{train}', f'voc:{home}:{held}' if held else None)


def of_coco(files: Files) -> list[Proposal]:
    """COCO instances, one JSON file a part."""
    found = [path for path in json_with(files, _is_coco) if not os.path.basename(path).startswith('image_info')]
    instances = {os.path.dirname(path) for path in found if 'instances' in os.path.basename(path).lower()}
    found = [path for path in found if os.path.dirname(path) not in instances
             or not os.path.basename(path).lower().startswith(_NOT_INSTANCES)]
    return pairs(found, 'COCO JSON', lambda path: f'coco:{files.at(path)}:{_coco_images(files, path)}') if (
        files.images and found) else []


def _is_coco(text):
    keys = sum(bool(re.search(rf'"{key}"\s*:\s*\[', text)) for key in _COCO_KEYS)
    return keys >= 2 and not annotation_tools.is_labelme(text)


def _coco_images(files, path):
    """The folder of the images that a COCO file names."""
    names = [_unquoted(name) for name in _FILE_NAME.findall(files.head(path))[:SAMPLE]] or _file_names(files, path)
    counts: collections.Counter[str] = collections.Counter()
    for name in names:
        plain = os.path.normpath(name.replace('\\', os.sep))
        for image in files.by_name.get(os.path.basename(plain), ()):
            ends = image == plain or image.endswith(os.sep + plain)
            counts[image[:-len(plain)].rstrip(os.sep) if ends else os.path.dirname(image)] += 1000 if ends else 1
    split = image_lookup.split_of(os.path.splitext(path)[0].split(os.sep))

    def rank(folder):
        same = image_lookup.split_of(folder.split(os.sep)) == split
        return counts[folder], same, within(folder, os.path.dirname(path)), -len(folder)
    return files.at(max(counts, key=rank) if counts else common(files.images))


def _file_names(files, path):
    """The first names of images in a COCO file, whose images may stand behind all annotations."""
    try:
        if os.path.getsize(files.at(path)) > _SMALL:
            return []
        with open(files.at(path), encoding='utf-8-sig', opener=regular_file.opener) as file:
            images = json.load(file)['images']
        return [image['file_name'] for image in images[:SAMPLE] if isinstance(image['file_name'], str)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []


def _unquoted(text):
    try:
        return json.loads(text)
    except ValueError:
        return text.strip('"')


def of_yolo(files: Files) -> list[Proposal]:
    """data.yaml, else darknet's obj.data, else lists of images, else images with text files."""
    if found := _yamls(files):
        return found
    if not files.images:
        return []
    if found := _data_files(files):
        return found
    labelled = _labelled(files)
    return (_image_lists(files) or _bare(files, labelled)) if labelled else []


def _yamls(files):
    found = []
    for path in files.ending('.yaml', '.yml'):
        keys = set(re.findall(r'''^['"]?(\w+)['"]?\s*:''', files.head(path), re.MULTILINE))
        if 'names' not in keys or not keys & {'train', 'val', 'valid'}:
            continue
        file = files.at(path)
        train = 'train' if 'train' in keys else 'val'
        held = next((name for name in ('val', 'test') if yolo.has_split(file, name, train)), None)
        found.append(Proposal(f'YOLO with {os.path.basename(path)}, {parts_words(held)}',
                              f'yolo:{file}:{train}', f'yolo:{file}:{held}' if held else None))
    return found


def _data_files(files):
    """darknet's obj.data (CVAT's YOLO 1.1 too): a file of train, valid and names."""
    found = []
    for path in files.ending('.data'):
        pairs_of_file = (line.partition('=') for line in files.lines(path))
        values = {key.strip(): value.strip() for key, equals, value in pairs_of_file if equals}
        train, valid, names = (_named_there(files, path, values.get(key)) for key in ('train', 'valid', 'names'))
        if train:
            val = f'darknet:{valid}:{names}' if valid and valid != train and names else None
            words = f'YOLO (darknet) with {os.path.basename(path)}, {parts_words("valid" if val else None)}'
            found.append(Proposal(words, f'darknet:{files.at(path)}', val))
    return found


def _named_there(files, data_file, value):
    """Path of a file that obj.data names, with or without its leading folder; None where it is not there."""
    plain = (value or '').replace('\\', '/').strip('"\'')
    for tail in (plain, plain.partition('/')[2], plain.rpartition('/')[2]):
        path = files.at(os.path.join(os.path.dirname(data_file), tail.lstrip('/')))
        if tail and os.path.isfile(path):
            return path
    return None


def _labelled(files):
    """The images that have a text file, if such files hold YOLO's lines."""
    if not any(path.lower().endswith('.txt') for path in files.paths):
        return []
    found = yolo_folder.annotation_files(map(files.at, files.images))
    kinds = [yolo_folder.holds_boxes(path) for path in list(found.values())[:5 * SAMPLE]]
    if True not in kinds:
        kinds = [yolo_folder.holds_boxes(path) for path in found.values()]
    only_empty = kinds and not any(kind is not None for kind in kinds) and not files.ending('.xml', '.json', '.csv')
    if not only_empty and (True not in kinds or kinds.count(False) > kinds.count(True)):
        return []
    return [path for path in files.images if files.at(path) in found]


def _image_lists(files):
    """Text files that name one image a line."""
    found = [path for path in _texts(files) if (lines := files.lines(path)) and all(map(is_image_path, lines))
             and any(map(files.has_image, lines))]
    return pairs(found, 'YOLO with lists of images', lambda path: _named(files, path, os.path.dirname(path), 0))


def _named(files, path, folder, parents):
    """darknet: spec of a list or folder, with the class file that its reader would not find by itself."""
    names = yolo_folder.class_file(files.at(folder), parents or len(folder.split(os.sep)))
    beside = names and lists.own_names(files.at(path)) is not None and os.path.isfile(files.at(path))
    return f'darknet:{files.at(path)}' + (f':{names}' if names and not beside else '')


def _bare(files, labelled):
    """Images with a text file each."""
    def form(folder, images):
        relative = os.path.relpath(images or folder, files.root)
        return _named(files, relative, '' if relative == '.' else relative, len(relative.split(os.sep)))

    groups = by_split(labelled)
    train = 'train' if 'train' in groups else ''
    held = next((name for name in ('val', 'test') if name in groups and train in groups), None)
    folders = {name: common(groups[name]) for name in groups}
    if held and not any(within(path, folders[train]) for name in groups if name != train for path in groups[name]):
        return [Proposal(f'YOLO without data.yaml, {parts_words(held)}', form(files.at(folders[train]), None),
                         form(files.at(folders[held]), None))]
    return [Proposal(f'YOLO without data.yaml, {parts_words(None)}', form(files.at(common(labelled)), None), None)]


def of_lists(files: Files) -> list[Proposal]:
    """Lists of images with boxes, of both Keras families."""
    if not files.images:
        return []
    found = [path for path in _texts(files) if any(map(lists.looks_like, files.lines(path)))
             and any(map(files.has_image, _images_of(files, path)))]
    return pairs(found, 'a list of images with boxes', lambda path: f'list:{files.at(path)}')


def _images_of(files, path):
    """The images that the first lines of a list name, as written."""
    return [name for line in files.lines(path) for name in lists.names_in(line)]


def of_tables(files: Files) -> list[Proposal]:
    """CSV tables of objects."""
    found = []
    texts = [path for path in _texts(files) if any(line.count(',') == 5 for line in files.lines(path, 1))]
    for path in [*files.ending('.csv', '.tsv'), *texts] if files.images else ():
        try:
            if files.lines(path, 1):
                tables.layout_of(files.at(path))
                found.append(path)
        except InputError:
            continue
    return pairs(found, 'a CSV table', lambda path: files.spec_of_file('csv', path))




def _texts(files):
    """Text files that may be lists: not those with the stem of an image, of which there may be very many."""
    stems = {os.path.splitext(os.path.basename(path))[0] for path in files.images}
    return [path for path in files.ending('.txt') if os.path.splitext(os.path.basename(path))[0] not in stems]


FAMILIES = of_voc, of_coco, of_yolo, of_lists, of_tables, *annotation_tools.FAMILIES
