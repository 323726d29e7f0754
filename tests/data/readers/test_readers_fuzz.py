"""Whatever bytes an annotation file holds, a reader gives a dataset or one InputError; never another exception."""
import json
import os

import numpy as np
import pytest
import tensorflow as tf
from fixtures.darknet_set import write_set
from fixtures.tf_examples import THEIRS, serialized
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError

VALID = {
    'list.txt': b'0 a.jpg 100 50 1 1 2 30 40.5\n1 images/b.jpg 100 50\n',
    'train.txt': b'a.jpg\nimages/b.jpg\n',
    'a.txt': b'0 .5 .5 .1 .1\n1 .2 .2 .1 .3\n',
    'obj.names': b'cat\ndog\n',
    'd.yaml': b'path: .\ntrain: [images]\nnc: 2\nnames:\n  0: cat\n  1: "dog" # x\ndownload: |\n  some\n',
    'c.json': json.dumps({'images': [{'id': 1, 'file_name': 'a.jpg', 'width': 100, 'height': 50}],
                          'annotations': [{'id': 3, 'image_id': 1, 'category_id': 7, 'bbox': [1, 2, 3, 4], 'area': 9}],
                          'categories': [{'id': 7, 'name': 'dog'}]}).encode(),
    'Annotations/a.xml': b'<annotation><filename>a.jpg</filename><size><width>100</width><height>50</height><depth>3'
                         b'</depth></size><object><name>dog</name><difficult>0</difficult><bndbox><xmin>2</xmin>'
                         b'<ymin>3</ymin><xmax>40</xmax><ymax>30</ymax></bndbox></object></annotation>',
    'ImageSets/Main/train.txt': b'a\n',
    'comma.txt': b'a.jpg 1,2,30,40.5,cat 5,6,7,8,dog\nimages/b.jpg\n',
    't.csv': b'filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,100,50,cat,1,2,30,40\nimages/b.jpg,,,,,,,\n',
    'labelme/m.json': json.dumps({'imagePath': 'b.jpg', 'imageWidth': 100, 'imageHeight': 50, 'shapes': [
        {'label': 'cat', 'points': [[1, 2], [30, 40]], 'shape_type': 'rectangle', 'group_id': None}]}).encode(),
    'via.json': json.dumps({'a.jpg1': {'filename': 'a.jpg', 'size': 1, 'file_attributes': {}, 'regions': [
        {'shape_attributes': {'name': 'rect', 'x': 1, 'y': 2, 'width': 30, 'height': 40},
         'region_attributes': {'class': 'cat', 'seen': {'day': True}}},
        {'shape_attributes': {'name': 'polygon', 'all_points_x': [1, 30, 9], 'all_points_y': [2, 4, 40]},
         'region_attributes': {'class': {'dog': True}}}]}}).encode(),
    'via.csv': b'filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n'
               b'a.jpg,1,"{}",1,0,"{""name"":""circle"",""cx"":9,""cy"":8,""r"":5}","{""class"":""cat""}"\n',
    'createml.json': b'[{"image": "a.jpg", "annotations": [{"label": "cat", "coordinates": '
                     b'{"x": 20, "y": 20, "width": 9, "height": 8.5}}]}, {"image": "images/b.jpg", "annotations": []}]',
    'cvat.xml': b'<annotations><image id="0" name="a.jpg" width="100" height="50">\n<box label="cat" xtl="1" ytl="2" '
                b'xbr="30" ybr="40"/><polygon label="dog" points="1,2;30,4.5;9,40"/></image></annotations>',
    'supervisely/b.jpg.json': b'{"size": {"height": 50, "width": 100}, "objects": [{"classTitle": "cat", "points": '
                              b'{"exterior": [[1, 2], [30, 40]], "interior": []}}]}',
    'kitti/b.txt': b'Car 0.00 0 -1.58 1 2 30 40.5 1.65 1.67 3.64 -0.65 1.71 46.70 -1.59\n',
    'one.csv': b'image_id,bbox,width,height\na,"[1, 2, 30, 40]",100,50\nb,"[70.0, 2.0, 30.0, 40.0]",100,50\n',
    'names.json': b'{"categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]}',
    's.tfrecord': None}
SPEC_OF = {'list.txt': 'list:{}/list.txt', 'train.txt': 'darknet:{}/train.txt', 'a.txt': 'darknet:{}/train.txt',
           'obj.names': 'darknet:{}/train.txt', 'd.yaml': 'yolo:{}/d.yaml:train', 'c.json': 'coco:{0}/c.json:{0}',
           'Annotations/a.xml': 'voc:{}:train', 'ImageSets/Main/train.txt': 'voc:{}:train',
           'comma.txt': 'list:{}/comma.txt', 't.csv': 'csv:{}/t.csv', 'via.json': 'via:{}/via.json',
           'via.csv': 'via:{}/via.csv', 'cvat.xml': 'cvat:{}/cvat.xml',
           'createml.json': 'createml:{}/createml.json', 'one.csv': 'csv:{}/one.csv',
           'supervisely/b.jpg.json': 'supervisely:{0}/supervisely:{0}', 'kitti/b.txt': 'kitti:{0}/kitti:{0}',
           'labelme/m.json': 'labelme:{0}/labelme:{0}',
           'names.json': 'darknet:{0}/images:{0}/names.json',
           's.tfrecord': 'tfrecord:{}/s.tfrecord'}
WORDS = [b'<!DOCTYPE a [<!ENTITY b "c">]>', b'&b;', b'<', b'</object>', b'<object>',
         b'0', b'-1', b'1e999', b'nan', b'9' * 40, b'..', b'/', b'\0', b'\xff', b'\r', b'\n', b' ', b'\t', b': ', b'- ',
         b'[', b'}', b'"', b"'", b'#', b'&a', b'../../x', b'true', b'null', b'names', b'train:', b'a.jpg',
         b'\xe2\x80\xae', b'{"id": {}}']


@st.composite
def damaged(draw, contents):
    """The contents with some spans cut, doubled or replaced, or nothing of them."""
    contents = bytearray(contents)
    for _ in range(draw(st.integers(1, 4))):
        near, far = sorted(draw(st.integers(0, len(contents))) for _ in range(2))
        far = min(far, near + draw(st.integers(0, 20)))
        piece = draw(st.one_of(st.sampled_from(WORDS), st.binary(max_size=8), st.just(bytes(contents[near:far]) * 2)))
        contents[near:far] = piece
    return bytes(contents)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('formats')
    write_set(folder, {'a.jpg': '', 'images/b.jpg': '', 'images/b.txt': '0 .5 .5 .2 .2', 'JPEGImages/a.jpg': ''})
    with tf.io.TFRecordWriter(str(folder / 's.tfrecord')) as writer:
        writer.write(serialized(THEIRS))
        writer.write(serialized(THEIRS))
    VALID['s.tfrecord'] = (folder / 's.tfrecord').read_bytes()
    for name, contents in VALID.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(contents)
    return folder


def load(folder, name, contents, strict):
    """Loads the spec of a file with these contents, and puts the valid ones back."""
    path = folder / name
    path.write_bytes(contents)
    try:
        dataset = specs.load(SPEC_OF[name].format(folder), strict=strict)
    except InputError as error:
        assert str(error) and len(str(error)) < 4000
        return
    finally:
        path.write_bytes(VALID[name])
    for record in dataset.records:
        boxes = record.boxes
        assert np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all()
        assert set(record.classes) <= set(range(len(dataset.class_names)))
        assert os.path.realpath(record.image_path).startswith(os.path.realpath(folder))
    assert not (strict and dataset.problems)


def test_the_undamaged_files_are_read(folder):
    for name, contents in VALID.items():
        assert len(specs.load(SPEC_OF[name].format(folder), strict=True).records) in (1, 2)
        load(folder, name, contents, True)


@pytest.mark.parametrize('name', sorted(VALID))
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_files(folder, name, data):
    load(folder, name, data.draw(damaged(VALID[name])), data.draw(st.booleans()))


@pytest.mark.slow
@pytest.mark.parametrize('name', sorted(VALID))
@settings(max_examples=1200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_ten_thousand_damaged_files(folder, name, data):
    load(folder, name, data.draw(st.one_of(damaged(VALID[name]), st.binary(max_size=300))), data.draw(st.booleans()))
