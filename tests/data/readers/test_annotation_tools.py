"""VGG Image Annotator, CreateML, Supervisely and KITTI: boxes of each shape, classes, and every wrong entry."""
import base64
import json
import re
import zlib

import cv2
import numpy as np
import pytest
from fixtures import labelled_folders as made
from fixtures.labelled_folders import write_image, write_text

from yolov3_tf.data.readers import createml, cvat, faults, kitti, rows, specs, supervisely, via
from yolov3_tf.data_check import check
from yolov3_tf.errors import InputError


def write(folder, name, content):
    for number in (0, 1):
        write_image(folder, f'{number}.jpg', number)
    write_text(folder, name, content if isinstance(content, str) else json.dumps(content))
    return str(folder / name)


def of(dataset):
    return {record.image_id: [(dataset.class_names[index], *box) for index, box in
                              zip(record.classes, record.boxes.round(3).tolist())] for record in dataset.records}


def region(attributes=None, name='rect', **shape):
    return {'shape_attributes': {'name': name, **(shape or dict(x=10, y=5, width=50, height=30))},
            'region_attributes': {'class': 'cat'} if attributes is None else attributes}


def via_file(folder, *regions, name='0.jpg'):
    return write(folder, 'v.json', {'0.jpg1': {'filename': name, 'size': 1, 'regions': list(regions)}})


@pytest.mark.parametrize('kind, box', [('rect', (10, 5, 60, 35)), ('polygon', (10, 5, 60, 35)),
                                       ('circle', (20, 5, 50, 35)), ('ellipse', (10, 5, 60, 35))])
def test_via_takes_the_box_around_a_shape(tmp_path, kind, box):
    dataset = via.read(write(tmp_path, 'v.json', made.via_of([0], kind=kind)))
    assert of(dataset) == {'0': [('cat', *box)]} and not dataset.problems and not dataset.notes


def test_via_numbered_regions_project_and_images_without_regions(tmp_path):
    content = {'_via_img_metadata': {
        'a': {'filename': 'C:\\pics\\0.jpg', 'regions': {'0': region(), '1': region({'class': 'emu'}, x=1, y=2, width=3,
                                                                                    height=4)}},
        'b': {'filename': '1.jpg', 'regions': []}}, '_via_settings': {}}
    dataset = via.read(write(tmp_path, 'p.json', content))
    assert of(dataset) == {'0': [('cat', 10, 5, 60, 35), ('emu', 1, 2, 4, 6)], '1': []}
    assert dataset.records[0].annotation_lines.tolist() == [1, 2] and '0.jpg' in dataset.notes[0]


@pytest.mark.parametrize('attributes, name', [
    ({'colour': 'red', 'Class': 'cat'}, 'cat'), ({'type': {'cat': True, 'dog': False}}, 'cat'), ({'kind': 3}, '3'),
    ({'name': 'cat', 'label': 'dog'}, 'dog'), ({'quality': {}, 'animal': 'cat'}, 'cat')])
def test_via_the_attribute_that_is_the_class(tmp_path, attributes, name):
    assert via.read(via_file(tmp_path, region(attributes))).class_names == [name]


def test_via_attributes_of_which_none_is_known(tmp_path):
    with pytest.raises(InputError, match="attributes 'a', 'b'; which one is the class is not known. Rename"):
        via.read(via_file(tmp_path, region({'a': 'x', 'b': 'y'})))


def test_via_without_attributes_is_one_class_and_says_so(tmp_path):
    path = via_file(tmp_path, region({}), region({}, x=1, y=1, width=9, height=9))
    dataset = via.read(path)
    assert dataset.class_names == ['object'] and "all its objects are one class, 'object'" in dataset.notes[0]
    assert via.read(path, classes=['fish']).class_names == ['fish']
    with pytest.raises(InputError, match='nobody knows which of the classes cat, dog'):
        via.read(path, classes=['cat', 'dog'])


@pytest.mark.parametrize('wrong, message', [
    (region(name='point', cx=3, cy=4), "1: 0.jpg, region 1: a shape 'point' has no box"),
    (region(x='a', y=1, width=2, height=3), 'expected x, y, width, height of a rect'),
    (region(name='polygon', all_points_x=[1], all_points_y=[]), 'expected all_points_x'),
    (region({}), "expected one class as attribute 'class', got None"),
    (region({'class': {'cat': True, 'dog': True}}), 'expected one class'),
    (region(x=90, y=5, width=50, height=30), "annotation 1: 0.jpg, region 1: object 'cat': box .* reaches outside"),
    (region(x=9, y=5, width=0, height=30), 'has no area'), ('x', "a shape 'None' has no box")])
def test_via_a_wrong_region_is_named(tmp_path, wrong, message):
    path = via_file(tmp_path, wrong, region())
    problem, = via.read(path).problems
    assert problem.startswith(f'{path}: annotation 1') and re.search(message, problem)
    with pytest.raises(InputError, match='without --strict'):
        via.read(path, strict=True)


@pytest.mark.parametrize('content, message', [
    ('{"a": ', 'v.json:1: not JSON'), ('{}', 'expected a project or export'), ('[1]', 'expected a project or export'),
    ('{"a": {"filename": "9.jpg", "regions": []}}', 'no usable image; the first problem: .*no image 9.jpg')])
def test_a_file_that_is_no_via(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        via.read(write(tmp_path, 'v.json', content))


def test_via_table_names_its_lines(tmp_path):
    text = made.via_table_of([0, 1]) + '1.jpg,1,"{}",0,0,"{}","{}"\n0.jpg,1,"{}",1,0,"{""name"": ""rect""}","{}"\n'
    path = write(tmp_path, 'v.csv', text.replace('filename,', '#filename,', 1))
    dataset = via.read(path)
    assert of(dataset) == {'0': [('cat', 10, 5, 60, 35)], '1': [('dog', 11, 5, 61, 35)]}
    assert dataset.problems[0].startswith(f'{path}:5: expected x, y') and len(dataset.problems) == 1
    with pytest.raises(InputError, match='expected a project or export .* columns filename'):
        via.read(write(tmp_path, 'w.csv', 'a,b\n1,2\n'))


def test_createml_boxes_have_their_centre(tmp_path):
    path = write(tmp_path, 'c.json', [
        {'image': '0.jpg', 'annotations': [{'label': 'cat', 'coordinates': dict(x=35, y=20, width=50, height=30)}]},
        {'imagefilename': '1.jpg', 'annotation': []}])
    dataset = createml.read(path)
    assert of(dataset) == {'0': [('cat', 10, 5, 60, 35)], '1': []} and not dataset.problems
    fractions = [{'image': '0.jpg', 'annotations': [{'label': 'cat', 'coordinates': dict(x=.35, y=.4, width=.5,
                                                                                         height=.6)}]}]
    assert of(createml.read(write(tmp_path, 'f.json', fractions))) == {'0': [('cat', 10, 5, 60, 35)]}


@pytest.mark.parametrize('content, message', [
    ([{'image': '0.jpg', 'annotations': [{'label': 'cat', 'coordinates': {'x': 1}}]}],
     'annotation 1: 0.jpg: expected a label and coordinates of x, y, width, height'),
    ([{'image': '0.jpg', 'annotations': [{'coordinates': dict(x=9, y=9, width=5, height=5)}]}], 'expected a label'),
    ([{'image': '0.jpg', 'annotations': []}, {'picture': 1}], 'entry 2: expected "image" and "annotations"'),
    ([{'image': '0.jpg', 'annotations': []}, {'image': '7.jpg', 'annotations': []}], 'no image 7.jpg')])
def test_createml_a_wrong_entry_is_named(tmp_path, content, message):
    problem, = createml.read(write(tmp_path, 'c.json', content)).problems
    assert message in problem


@pytest.mark.parametrize('content, message', [('[', 'c.json:1: not JSON'), ('{}', 'expected a CreateML file'),
                                              ('[{"a": 1}]', 'expected a CreateML file')])
def test_a_file_that_is_no_createml(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        createml.read(write(tmp_path, 'c.json', content))


def figure(points=None, **more):
    return {'classTitle': 'cat', 'points': {'exterior': points or [], 'interior': []}, **more}


def supervisely_folder(folder, *objects):
    write_image(folder, 'img/0.jpg')
    write_text(folder, 'meta.json', '{"classes": []}')
    write_text(folder, 'ann/0.jpg.json', json.dumps({'size': {'height': 50, 'width': 100}, 'objects': list(objects)}))
    return str(folder)


def test_supervisely_outlines_and_masks(tmp_path):
    mask = cv2.imencode('.png', np.full([6, 8], 255, np.uint8))[1].tobytes()
    bitmap = {'data': base64.b64encode(zlib.compress(mask)).decode(), 'origin': [20, 10]}
    dataset = supervisely.read(supervisely_folder(tmp_path, figure([[60, 5], [10, 35]]), figure(
        [[1, 2], [9, 4], [5, 8]], classTitle='emu'), figure(bitmap=bitmap)))
    assert of(dataset) == {'0': [('cat', 10, 5, 60, 35), ('emu', 1, 2, 9, 8), ('cat', 20, 10, 28, 16)]}
    assert not dataset.problems and not dataset.notes


@pytest.mark.parametrize('wrong, message', [
    (figure([[1, 2]]), "object 1 'cat': expected points with"), (figure([[1, 2], ['a', 3]]), 'expected points with'),
    (figure(bitmap={'origin': [1, 2], 'data': 'eA=='}), 'expected points with'),
    (figure([[1, 2], [9, 8]], classTitle=None), 'object 1 has no classTitle'),
    (figure([[-5, 2], [9, 8]]), "object 1 'cat': box .* reaches outside the 100x50 image"), (3, 'no classTitle')])
def test_supervisely_a_wrong_object_is_named(tmp_path, wrong, message):
    problem, = supervisely.read(supervisely_folder(tmp_path, wrong)).problems
    assert re.search(message, problem) and problem.startswith(f'{tmp_path}/ann/0.jpg.json: object 1')


LINE = 'Car 0.00 0 -1.58 10 5 60 35.5 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59'


def kitti_folder(folder, text):
    write_image(folder, 'image_2/0.png')
    write_text(folder, 'label_2/0.txt', text)
    return str(folder)


def test_kitti_boxes_and_regions_that_are_no_objects(tmp_path):
    folder = kitti_folder(tmp_path, f'{LINE}\n{LINE} 0.9\n{LINE.replace("Car", "DontCare")}\n')
    dataset = kitti.read(folder)
    assert of(dataset) == {'0': [('Car', 10, 5, 60, 35.5)] * 2}
    assert not dataset.problems and dataset.notes == [f'{folder}: regions DontCare are no objects: 1 left out']
    assert kitti.read(kitti_folder(tmp_path / 'none', '')).records[0].boxes.shape == (0, 4)


@pytest.mark.parametrize('line, message', [
    ('Car 1 2', ':2: expected a type and 14 numbers, got'), (LINE.replace('5 60', 'x 60'), ':2: expected a type'),
    (LINE.replace('10 5', '70 5'), ":2: object 'Car': corners of box .* are swapped"),
    (LINE.replace('60 35', '160 35'), ":2: object 'Car': box .* reaches outside")])
def test_kitti_a_wrong_line_is_named(tmp_path, line, message):
    problem, = kitti.read(kitti_folder(tmp_path, f'{LINE}\n{line}\n')).problems
    assert problem.startswith(f'{tmp_path}/label_2/0.txt:2: ') and re.search(message, problem)


def test_kitti_with_nothing_of_kitti(tmp_path):
    with pytest.raises(InputError, match='no usable image; the first problem: .*0.txt:1: expected a type'):
        kitti.read(kitti_folder(tmp_path, 'hello\n'))


@pytest.mark.parametrize('spec', ['via:{0}/v.json', 'createml:{0}/c.json', 'csv:{0}/t.csv'])
def test_check_finds_the_image_of_a_problem(tmp_path, spec):
    box = dict(x=90, y=5, width=50, height=30)
    via_file(tmp_path, region(), region(**box))
    write(tmp_path, 'c.json', [{'image': '0.jpg', 'annotations': [{'label': 'cat', 'coordinates': box}]}])
    write(tmp_path, 't.csv', 'image,bbox_xywh,label\n0.jpg,90 5 50 30,cat\n')
    dataset = specs.load(spec.format(tmp_path))
    report = check.check(dataset, [(10, 10)], 96, 96, True)
    assert [finding.position for finding in report.problems] == [0]


def test_one_class_by_the_name_asked_for():
    assert rows.one_class('t.csv', ['fish', 'object'], 'no column', faults.Problems()) == 'object'


def cvat_file(folder, *shapes, head='', image='0.jpg'):
    first = f'<image id="0" name="{image}" width="100" height="50">\n'
    return write(folder, 'annotations.xml', f'{head}<annotations>\n{first}'
                 + '\n'.join(shapes) + '\n</image>\n<image id="1" name="1.jpg"/>\n</annotations>\n')


@pytest.mark.parametrize('shape, box', [
    ('<box label="cat" xtl="10.5" ytl="5" xbr="60" ybr="35"><attribute name="a">b</attribute></box>',
     (10.5, 5, 60, 35)),
    ('<polygon label="cat" points="10,8;60,5;14,35"/>', (10, 5, 60, 35)),
    ('<ellipse label="cat" cx="35" cy="20" rx="25" ry="15"/>', (10, 5, 60, 35)),
    ('<mask label="cat" rle="1" left="10" top="5" width="50" height="30"/>', (10, 5, 60, 35))])
def test_cvat_takes_the_box_around_a_shape(tmp_path, shape, box):
    dataset = cvat.read(cvat_file(tmp_path, shape, image='set/0.jpg'))
    assert of(dataset) == {'0': [('cat', *box)], '1': []} and not dataset.problems


@pytest.mark.parametrize('shape, message', [
    ('<points label="cat" points="1,2"/>', ':3: a shape <points> has no box'),
    ('<box label="" xtl="1"/>', ':3: no label'),
    ('<box label="cat" xtl="x" ytl="5" xbr="60" ybr="35"/>', ':3: expected xtl, ytl, xbr, ybr of a box'),
    ('<polygon label="cat" points="1;2"/>', ':3: expected points of a polygon'),
    ('<box label="cat" xtl="-9" ytl="5" xbr="60" ybr="35"/>', ":3: object 'cat': box .* reaches outside")])
def test_cvat_a_wrong_shape_is_named(tmp_path, shape, message):
    path = cvat_file(tmp_path, shape)
    problem, = cvat.read(path).problems
    assert problem.startswith(path) and re.search(message, problem)


@pytest.mark.parametrize('content, message', [
    ('<annotations><image', ':1: not well-formed XML'),
    ('<annotation/>', ':1: expected <annotations> of CVAT, got <annotation>'),
    ('<annotations><track id="0"/></annotations>', ':1: a track of a video; export'),
    ('<!DOCTYPE a [<!ENTITY b "c">]><annotations/>', ':1: expected no document type'),
    ('<annotations/>', 'no usable image; the first problem: it is empty')])
def test_a_file_that_is_no_cvat(tmp_path, content, message):
    with pytest.raises(InputError, match=message):
        cvat.read(write(tmp_path, 'annotations.xml', content))
