"""COCO instances: real files, and every fault."""
import json
import re
import time

import cv2
import numpy as np
import pytest

from yolov3_tf import printable
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
    ({'file_name': '../c.jpg'}, 'leads outside the folder'), ({'file_name': '/etc/passwd'}, 'leads outside'),
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
    (instances(categories=[{'id': 1, 'name': 'a'}, {'id': 1, 'name': 'b'}]), "id 1 is listed twice, as 'a' and as 'b'"),
    (instances(categories=[{'id': 'a', 'name': 'a'}]), 'expected categories with id and name'),
    (instances(categories=[{'id': 1, 'name': 'a' * 201}]), 'has 201 bytes; expected at most 200'),
    (instances(categories=[{'name': 'a'}]), 'expected categories with id and name'),
])
def test_an_unusable_file_stops(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        coco.read(*write(tmp_path, content))
    with pytest.raises(InputError, match='cannot be read'):
        coco.read(str(tmp_path / 'none.json'), str(tmp_path))


# What other programs write.

def two(categories, annotations=(), images=(), **of_annotation):
    """Two images of 100 x 50 with one box each, and what a case changes."""
    made = [{'id': number, 'file_name': name, 'width': 100, 'height': 50} for number, name in enumerate('ab')]
    for image, changes in zip(made, images or ({}, {})):
        image['file_name'] += '.jpg'
        image.update(changes)
    boxes = [{'id': number, 'image_id': number, 'category_id': number, 'bbox': [10, 20, 30, 5], **of_annotation,
              **changes} for number, changes in enumerate(annotations or ({}, {}))]
    return {'images': made, 'annotations': boxes, 'categories': [
        {'id': number, 'name': name, **more} for number, name, more in categories]}


def read(folder, content, **options):
    for name in 'ab':
        cv2.imwrite(str(folder / f'{name}.jpg'), np.zeros([50, 100, 3], np.uint8))
    path = folder / 'instances.json'
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return coco.read(str(path), str(folder), **options)


def test_numbers_written_as_text(tmp_path):
    dataset = read(tmp_path, two(((0, 'fish', {}), (1, 'net', {})), bbox=['10', '20.0', ' 30', '5']), strict=True)
    assert dataset.records[0].boxes.tolist() == [[10, 20, 40, 25]]


FISH_AND_NET = ((0, 'fish', {}), (1, 'net', {}))


def test_category_and_image_ids_begin_at_zero(tmp_path):
    dataset = read(tmp_path, two(FISH_AND_NET), strict=True)
    assert [record.classes.tolist() for record in dataset.records] == [[0], [1]]
    assert [record.image_id for record in dataset.records] == ['0', '1']


@pytest.mark.parametrize('kind', [str, float, lambda number: f' {number:03d} '])
def test_ids_as_text_or_with_a_fraction_are_numbers(tmp_path, kind):
    content = two([(kind(number), name, {}) for number, name, _ in FISH_AND_NET], images=[{'id': kind(0)}, {}],
                  annotations=[{'category_id': 0}, {'image_id': kind(1), 'category_id': kind(1)}])
    dataset = read(tmp_path, content, strict=True)
    assert [record.image_id for record in dataset.records] == ['0', '1']
    assert [record.classes.tolist() for record in dataset.records] == [[0], [1]]


def test_images_may_have_names_as_ids_but_no_truth_values(tmp_path):
    content = two(FISH_AND_NET, images=[{'id': 'IMG_a'}, {}], annotations=[{'image_id': 'IMG_a'}, {'image_id': True}])
    dataset = read(tmp_path, content)
    assert [record.image_id for record in dataset.records] == ['IMG_a', '1']
    assert [len(record.boxes) for record in dataset.records] == [1, 0]
    assert 'no image has the id True' in dataset.problems[0]


@pytest.mark.parametrize('size, noted', [
    ({'width': 100., 'height': 50.}, 0), ({'width': '100', 'height': '50'}, 0), ({'width': None}, 1),
    ({'width': 0, 'height': 0}, 1), ({'width': -100}, 1), ({'width': 99.5}, 1), ({'width': [100]}, 1)])
def test_a_size_that_is_no_number_is_that_of_the_file(tmp_path, size, noted):
    dataset = read(tmp_path, two(FISH_AND_NET, images=[size, {}]), strict=True)
    assert [(record.width, record.height) for record in dataset.records] == [(100, 50)] * 2
    assert len(dataset.notes) == noted and all('1 images have no usable width' in note for note in dataset.notes)


SQUARE = [20, 10, 70, 10, 70, 40, 20, 40]


@pytest.mark.parametrize('outline', [
    [SQUARE], SQUARE, [[[20, 10], [70, 40]]], [SQUARE[:4], SQUARE[4:]],
    {'size': [50, 100], 'counts': [1010, *[30, 20] * 49, 30, 1510]}])
@pytest.mark.parametrize('missing', [{}, {'bbox': []}, {'bbox': None}])
def test_an_outline_without_a_box_gives_its_box(tmp_path, outline, missing):
    content = two(FISH_AND_NET, segmentation=outline)
    for annotation in content['annotations']:
        del annotation['bbox']
        annotation.update(missing)
    for record in read(tmp_path, content, strict=True).records:
        assert record.boxes.tolist() == [[20, 10, 70, 40]]


def test_coded_masks_as_pycocotools_writes_them(tmp_path):
    mask = pytest.importorskip('pycocotools.mask')
    random = np.random.RandomState(0)
    for _ in range(30):
        top, left = random.randint(0, 40), random.randint(0, 80)
        pixels = np.zeros([50, 100], np.uint8, order='F')
        pixels[top:top + random.randint(1, 50), left:left + random.randint(1, 60)] = 1
        pixels *= random.rand(50, 100) < .8
        coded = mask.encode(pixels)
        x, y, width, height = mask.toBbox(coded)
        found = coco._of_mask({'size': [50, 100], 'counts': coded['counts'].decode()})
        assert found == ((x, y, x + width, y + height) if pixels.any() else None)


@pytest.mark.parametrize('outline', [
    None, [], [[1]], [['x', 1]], {}, {'size': [50, 100]}, {'size': [50, 100], 'counts': [-1, 5]}, {'size': [0, 0],
    'counts': [1, 2]}, {'size': [50, 100], 'counts': 'abc\u1234'}, {'size': 5, 'counts': [1]}, {'size': [50, 100],
    'counts': []}])
def test_an_outline_that_is_none(tmp_path, outline):
    content = two(FISH_AND_NET, annotations=[{'segmentation': outline, 'bbox': None}, {}])
    dataset = read(tmp_path, content)
    assert len(dataset.problems) == 1 and 'annotation 0: expected bbox' in dataset.problems[0]


@pytest.mark.parametrize('categories, used, names, noted', [
    # Roboflow's root, with the name of a class and with its own
    ([(0, 'fish', 'none'), (1, 'fish', 'fish')], (1, 1), ['fish'], [0]),
    ([(0, 'sea-x1y2', 'none'), (1, 'fish', 'sea-x1y2'), (2, 'net', 'sea-x1y2')], (1, 1), ['fish', 'net'], [0]),
    ([(0, 'fish', 'none'), (1, 'fish', 'fish'), (2, 'net', 'fish')], (2, 2), ['net'], [0, 1]),
    # a root that objects have stays, and so does a class that only happens to have none
    ([(0, 'sea', 'none'), (1, 'fish', 'sea')], (0, 1), ['sea', 'fish'], []),
    ([(1, 'person', 'person'), (2, 'bus', 'vehicle')], (2, 2), ['person', 'bus'], []),
    ([(1, 'fish', None), (2, 'net', None)], (2, 2), ['fish', 'net'], []),
    # doubled: one class
    ([(1, 'fish', None), (2, 'net', None), (5, ' fish', None)], (1, 5), ['fish', 'net'], ['1, 5'])])
def test_root_and_doubled_categories(tmp_path, categories, used, names, noted):
    content = two([(number, name, {'supercategory': parent} if parent else {}) for number, name, parent in categories],
                  annotations=[{'category_id': number} for number in used])
    dataset = read(tmp_path, content, strict=True)
    assert dataset.class_names == names
    assert all(record.classes.tolist() for record in dataset.records)
    assert len(dataset.notes) == len(noted) and all(str(one) in note for one, note in zip(noted, dataset.notes))


@pytest.mark.parametrize('written, read_as', [
    ('a\nb', 'a b'), ('\ud800cat', '\ufffdcat'), ('../../x', '../../x'), ('a\tb\x00', 'a b'), ('a\u2028b', 'a b')])
def test_a_class_name_is_one_line_of_text(tmp_path, written, read_as):
    dataset = read(tmp_path, two([(0, written, {}), (1, 'net', {})]))
    assert dataset.class_names == [read_as, 'net'] and printable.is_text(dataset.class_names[0])


@pytest.mark.parametrize('name', [r'..\set\a.jpg', r'C:\set\a.jpg', '/home/me/set/a.jpg', '../a.jpg', './a.jpg',
                                  'A.JPG'])
def test_file_names_of_another_machine(tmp_path, name):
    dataset = read(tmp_path, two(FISH_AND_NET, images=[{'file_name': name}, {}]), strict=True)
    assert dataset.records[0].image_path.endswith('a.jpg') and len(dataset.records) == 2


@pytest.mark.parametrize('coding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'utf-32'])
def test_codings(tmp_path, coding):
    text = json.dumps(two([(0, '鱼', {}), (1, 'net', {})]), ensure_ascii=False)
    assert read(tmp_path, text.encode(coding), strict=True).class_names == ['鱼', 'net']
    with pytest.raises(InputError, match=r'instances.json:1: expected UTF-8 text, .*iconv'):
        read(tmp_path, text.encode('gbk'))


def test_many_classes_are_found_at_once(tmp_path):
    """Looked up one by one, 5000 classes took seconds for 20,000 boxes."""
    names = [(number, f'class {number}', {}) for number in range(5000)]
    content = two(names)
    content['annotations'] *= 10_000
    content['annotations'] = [{**one, 'category_id': 4000 + number % 1000}
                              for number, one in enumerate(content['annotations'])]
    began = time.process_time()
    assert sum(len(record.boxes) for record in read(tmp_path, content).records) == 20_000
    assert time.process_time() - began < 3
