"""COCO instances: real files, and every fault."""
import json
import re

import numpy as np
import pytest

from yolov3_tf.data.readers import class_files, coco
from yolov3_tf.errors import InputError


def instances(**changes):
    content = {
        'images': [{'id': 7, 'file_name': 'a.jpg', 'width': 100, 'height': 50},
                   {'id': 3, 'file_name': 'b.jpg', 'width': 60, 'height': 70}],
        'annotations': [{'id': 1, 'image_id': 7, 'category_id': 90, 'bbox': [10, 20, 30, 5.5], 'area': 99.5,
                         'iscrowd': 0},
                        {'id': 2, 'image_id': 7, 'category_id': 4, 'bbox': [0, 0, 100, 50], 'area': 80,
                         'iscrowd': 1}],
        'categories': [{'id': 90, 'name': 'brush'}, {'id': 4, 'name': ' bike '}]}
    return {**content, **changes}


def write(folder, content):
    (folder / 'a.jpg').touch()
    (folder / 'b.jpg').touch()
    path = folder / 'instances.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path), str(folder)


def test_ids_become_contiguous_and_boxes_ours(tmp_path):
    dataset = coco.read(*write(tmp_path, instances()))
    assert dataset.class_names == ['bike', 'brush'] and not dataset.problems
    first, second = dataset.records
    assert first.image_id == '7' and second.image_id == '3' and second.boxes.shape == (0, 4)
    np.testing.assert_array_equal(first.boxes, [[10, 20, 40, 25.5], [0, 0, 100, 50]])
    assert first.classes.tolist() == [1, 0] and first.crowd.tolist() == [False, True]
    assert first.areas.tolist() == [99.5, 80] and not first.difficult.any()


@pytest.mark.parametrize('split, images, boxes, crowds', [('train', 32, 288, 4), ('val', 6, 136, 1)])
def test_real_instances(shared_data, split, images, boxes, crowds):
    folder = f'{shared_data}/coco_tiny'
    dataset = coco.read(f'{folder}/annotations/instances_{split}2017.json', f'{folder}/images/{split}2017')
    assert dataset.class_names == list(class_files.COCO_CLASSES) and dataset.problems == []
    assert len(dataset.records) == images
    assert sum(len(record.boxes) for record in dataset.records) == boxes
    assert sum(int(record.crowd.sum()) for record in dataset.records) == crowds


def test_given_names_decide_the_indices(tmp_path):
    path, folder = write(tmp_path, instances())
    assert coco.read(path, folder, ['car', 'brush', 'bike']).records[0].classes.tolist() == [1, 2]
    with pytest.raises(InputError, match="annotation 2: unknown class 'bike'.*car, brush"):
        coco.read(path, folder, ['car', 'brush'])


@pytest.mark.parametrize('change, message', [
    ({'bbox': [10, 20, 30]}, r'expected bbox \[x, y, width, height\], got \[10, 20, 30\]; object dropped'),
    ({'bbox': [10, 20, 30, 'x']}, 'expected bbox'),
    ({'bbox': None}, 'expected bbox'),
    ({'bbox': [10, 20, float('nan'), 5]}, 'expected bbox'),
    ({'bbox': [10, 20, 0, 5]}, r'box \(10, 20, 10, 25\) has no area; object dropped'),
    ({'bbox': [10, 20, -5, 5]}, 'swapped; put in order'),
    ({'bbox': [90, 20, 50, 5]}, 'reaches outside the 100x50 image; clipped'),
    ({'category_id': 5}, 'no category has the id 5; annotation dropped'),
    ({'category_id': [5]}, 'no category has the id'),
    ({'image_id': 8}, 'no image has the id 8; annotation dropped'),
    ({'image_id': None}, 'no image has the id None'),
])
def test_a_bad_annotation_is_reported_by_its_id(tmp_path, change, message):
    content = instances()
    content['annotations'][0].update(change)
    path, folder = write(tmp_path, content)
    dataset = coco.read(path, folder)
    assert len(dataset.records) == 2 and len(dataset.problems) == 1
    assert dataset.problems[0].startswith(f'{path}: annotation 1: ') and re.search(message, dataset.problems[0])
    with pytest.raises(InputError, match='annotation 1: .*--strict'):
        coco.read(path, folder, strict=True)


@pytest.mark.parametrize('change, message', [
    ({'file_name': 'none.jpg'}, 'image 7: no image .*none.jpg; image dropped'),
    ({'file_name': '../a.jpg'}, 'leads outside the folder'), ({'file_name': '/etc/passwd'}, 'leads outside'),
    ({'file_name': None}, 'expected id and file_name'), ({'width': 0}, 'expected width and height'),
    ({'id': 3}, 'image 3: the id is listed twice')])
def test_a_bad_image_is_dropped_with_its_annotations(tmp_path, change, message):
    content = instances()
    content['images'][0].update(change)
    content['annotations'] = []
    dataset = coco.read(*write(tmp_path, content))
    assert len(dataset.records) == 1 and len(dataset.problems) == 1 and re.search(message, dataset.problems[0])


def test_annotations_of_a_missing_image_are_not_reported_again(tmp_path):
    content = instances()
    content['images'][0]['file_name'] = 'none.jpg'
    assert len(coco.read(*write(tmp_path, content)).problems) == 1


@pytest.mark.parametrize('content, message', [
    ('{"images": [\n1,,]}', r'instances.json:2: not JSON \(.*column 3\)'),
    ('{"images": [', 'is the file truncated'),
    ('', 'instances.json:1: not JSON'),
    ('[' * 100_000, 'not readable as JSON'),
    ('[]', "expected a COCO instances file with the list 'images'"),
    ({'images': [], 'annotations': []}, "with the list 'categories'"),
    (instances(images=[]), 'no usable image; the first problem: it lists no images'),
    (instances(categories=[{'id': 1, 'name': 'a'}, {'id': 2, 'name': 'a'}]), "category 'a' .* twice"),
    (instances(categories=[{'name': 'a'}]), 'expected categories with id and name'),
])
def test_an_unusable_file_stops(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        coco.read(*write(tmp_path, content))
    with pytest.raises(InputError, match='cannot be read'):
        coco.read(str(tmp_path / 'none.json'), str(tmp_path))
