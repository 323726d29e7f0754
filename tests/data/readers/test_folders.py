"""Each layout of a labelled folder is recognised, and its spec reads every image and box."""
import pathlib
import re

import numpy as np
import pytest
from fixtures import labelled_folders as made
from fixtures.labelled_folders import images, reference_line, texts, write_image, write_text

from yolov3_tf.data.readers import folders, specs
from yolov3_tf.errors import InputError

TRAIN, VAL = (0, 1, 2), (3, 4)
ALL = TRAIN + VAL
YAML = 'train: {}\nval: {}\nnc: 2\nnames: [cat, dog]\n'
NAMES = 'cat\ndog\n'
CSV = 'filename,width,height,class,xmin,ymin,xmax,ymax\n'


def csv_row(number, name='{}.jpg', order='{name},100,50,{label},{x1},{y1},{x2},{y2}\n'):
    x1, y1, x2, y2 = made.box_of(number)
    return order.format(name=name.format(number), label=made.CLASSES[made.class_of(number)], x1=x1, y1=y1, x2=x2, y2=y2)


def voc(folder, lists, annotations='Annotations', home='JPEGImages'):
    images(folder, home + '/{}.jpg', ALL)
    texts(folder, annotations + '/{}.xml', ALL, made.xml_of)
    for name, numbers in lists.items():
        write_text(folder, f'ImageSets/Main/{name}.txt', ''.join(f'{number}\n' for number in numbers))


def devkit(folder):
    voc(folder / 'VOCdevkit/VOC2012', {'train': TRAIN, 'val': VAL, 'trainval': ALL, 'cat_train': TRAIN})


def two(write):
    """The same layout twice, in train/ and valid/."""
    def write_both(folder):
        write(folder / 'train', TRAIN)
        write(folder / 'valid', VAL)
    return write_both


def whole(write):
    return lambda folder: write(folder, ALL)


def flat_xml(folder, numbers):
    images(folder, '{}.jpg', numbers)
    texts(folder, '{}.xml', numbers, made.xml_of)


def renamed_xml(folder):
    """<filename> names the image, the stem does not."""
    images(folder, 'img/image {}.png', ALL)
    texts(folder, 'xml/{}.xml', ALL, lambda number: made.xml_of(number, f'C:\\data\\image {number}.PNG'))


def apart(annotations, image_folder, ending, text_of):
    def write(folder):
        images(folder, image_folder + '/{}.jpg', ALL)
        texts(folder, annotations + '/{}' + ending, ALL, text_of)
    return write


def apart_parts(annotations, image_folder, ending, text_of, order='{kind}/{part}'):
    """images/train, annotations/train, images/val ... or, by ``order``, train/images ..."""
    def write(folder):
        for part, numbers in (('train', TRAIN), ('val', VAL)):
            images(folder, order.format(kind=image_folder, part=part) + '/{}.jpg', numbers)
            texts(folder, order.format(kind=annotations, part=part) + '/{}' + ending, numbers, text_of)
    return write


def xml_part_images_together(folder):
    images(folder, 'images/{}.jpg', ALL)
    texts(folder, 'annotations/train/{}.xml', TRAIN, made.xml_of)
    texts(folder, 'annotations/val/{}.xml', VAL, made.xml_of)


def coco_beside(folder, numbers, name='_annotations.coco.json'):
    images(folder, '{}.jpg', numbers)
    write_text(folder, name, made.coco_of(numbers))


def coco_official(folder):
    for part, numbers in (('train', TRAIN), ('val', VAL)):
        images(folder, part + '2017/{}.jpg', numbers)
        write_text(folder, f'annotations/instances_{part}2017.json', made.coco_of(numbers))
        write_text(folder, f'annotations/person_keypoints_{part}2017.json', made.coco_of(numbers))


def coco_single(folder):
    images(folder, 'images/{}.jpg', ALL)
    write_text(folder, 'result.json', made.coco_of(ALL, 'images/{}.jpg', annotations_first=True))


def coco_same_names(folder):
    """Both parts number their images from 0, so only the folder's name tells them apart."""
    for part, numbers in (('train', TRAIN), ('val', VAL)):
        images(folder, f'images/{part}' + '/{}.jpg', numbers)
        write_text(folder, f'annotations/{part}.json', made.coco_of(numbers))
    write_image(folder, 'images/val/0.jpg', 99)


def yolo_yaml(folder):
    apart_parts('labels', 'images', '.txt', made.yolo_of)(folder)
    write_text(folder, 'data.yaml', YAML.format('images/train', 'images/val'))


def yolo_roboflow(folder):
    """Their paths have one ../ too many, and a test part that was not exported."""
    apart_parts('labels', 'images', '.txt', made.yolo_of, '{part}/{kind}')(folder)
    write_text(folder, 'data.yaml', YAML.format('../train/images', '../val/images') + 'test: ../test/images\n')
    write_text(folder, 'README.dataset.txt', 'my data > 2024-01-01\nhttps://example.org\n')


def yolo_yaml_of_one_part(folder):
    apart('train/labels', 'train/images', '.txt', made.yolo_of)(folder)
    write_text(folder, 'data.yaml', YAML.format('train/images', 'train/images'))


def yolo_ultralytics(folder):
    apart_parts('labels', 'images', '.txt', made.yolo_of)(folder)
    write_text(folder, 'classes.txt', NAMES)


def yolo_parts(folder):
    apart_parts('labels', 'images', '.txt', made.yolo_of, '{part}/{kind}')(folder)
    write_text(folder, 'obj.names', NAMES)


def yolo_label_studio(folder, **_):
    apart('labels', 'images', '.txt', made.yolo_of)(folder)
    write_text(folder, 'notes.json', '{"categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}], "info": {}}')


def yolo_beside(folder):
    flat_yolo(folder, ALL)
    write_text(folder, 'classes.txt', NAMES)


def flat_yolo(folder, numbers):
    images(folder, '{}.jpg', numbers)
    texts(folder, '{}.txt', numbers, made.yolo_of)


def roboflow_darknet(folder, numbers):
    flat_yolo(folder, numbers)
    write_text(folder, '_darknet.labels', NAMES)


def yolo_letters(folder):
    apart('Labels', 'Images', '.txt', made.yolo_of)(folder)
    write_text(folder, 'classes.txt', NAMES)


def yolo_lists(folder):
    images(folder, 'obj/{}.jpg', ALL)
    texts(folder, 'obj/{}.txt', ALL, made.yolo_of)
    write_text(folder, 'train.txt', ''.join(f'obj/{number}.jpg\n' for number in TRAIN))
    write_text(folder, 'val.txt', ''.join(f'obj/{number}.jpg\n' for number in VAL))
    write_text(folder, 'obj.names', NAMES)


def listed(form, classes='classes.names', name='pics/{}.jpg'):
    def write(folder):
        images(folder, 'pics/{}.jpg', ALL)
        for part, numbers in (('train', TRAIN), ('val', VAL)):
            write_text(folder, f'{part}.txt',
                       ''.join(reference_line(number, name.format(number), form) for number in numbers))
        if classes:
            write_text(folder, classes, NAMES)
    return write


def roboflow_keras(folder, numbers):
    images(folder, '{}.jpg', numbers)
    write_text(folder, '_annotations.txt', ''.join(reference_line(number, f'{number}.jpg', '{name} {commas},{id}')
                                                   for number in numbers))
    write_text(folder, '_classes.txt', NAMES)


def table(head, order, name='{}.jpg'):
    def write(folder):
        images(folder, 'images/{}.jpg', ALL)
        for part, numbers in (('train', TRAIN), ('test', VAL)):
            rows = ''.join(csv_row(number, name, order) for number in numbers)
            write_text(folder, f'{part}_labels.csv', head + rows)
    return write


def roboflow_table(folder, numbers):
    images(folder, '{}.jpg', numbers)
    write_text(folder, '_annotations.csv', CSV + ''.join(map(csv_row, numbers)))


def wheat(folder):
    """Kaggle's wheat: no class, no ending, a test part without boxes, a submission."""
    images(folder, 'train/{}.jpg', ALL)
    write_image(folder, 'test/77.jpg', 77)
    rows = ''.join(csv_row(number, '{}', '{name},100,50,"[{x1}.0, {y1}.0, 50.0, 30.0]",usask_1\n') for number in ALL)
    write_text(folder, 'train.csv', f'image_id,width,height,bbox,source\n{rows}')
    write_text(folder, 'sample_submission.csv', 'image_id,PredictionString\n77,1.0 0 0 50 50\n')


def open_images(folder):
    head = ('ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf,IsDepiction,'
            'IsInside\n')
    write_text(folder, 'class-descriptions-boxable.csv', '/m/01cat,cat\n/m/02dog,dog\n/m/03emu,Emu\n')
    for part, numbers in (('train', TRAIN), ('validation', VAL)):
        images(folder, part + '/{}.jpg', numbers)
        rows = []
        for number in numbers:
            x1, y1, x2, y2 = made.box_of(number)
            code = ('/m/01cat', '/m/02dog')[made.class_of(number)]
            rows.append(f'{number},xclick,{code},1,{x1 / 100},{x2 / 100},{y1 / 50},{y2 / 50},0,0,0,0,0\n')
        write_text(folder, f'{part}-annotations-bbox.csv', head + ''.join(rows))


def one_file(write_of, name):
    def write(folder, numbers=ALL):
        images(folder, '{}.jpg', numbers)
        write_text(folder, name, write_of(numbers))
    return write


def supervisely(folder):
    write_text(folder, 'meta.json', '{"classes": [{"title": "cat", "shape": "rectangle"}], "tags": []}')
    for part, numbers in (('train', TRAIN), ('val', VAL)):
        images(folder, part + '/img/{}.jpg', numbers)
        texts(folder, part + '/ann/{}.jpg.json', numbers, made.supervisely_of)


def kitti(folder):
    images(folder, 'training/image_2/{:06d}.png', ALL)
    texts(folder, 'training/label_2/{:06d}.txt', ALL, made.kitti_of)
    texts(folder, 'training/calib/{:06d}.txt', ALL, lambda _: 'P0: 7.2 0.0 0.0\n')
    write_image(folder, 'testing/image_2/000099.png', 99)


RETINA = '{name},{x1},{y1},{x2},{y2},{label}\n'
# Layout -> (what writes it, spec of the training part, spec of the held-out part or None); {} is the folder.
LAYOUTS = {
    'VOCdevkit': (devkit, 'voc:{}/VOCdevkit:2012_train', 'voc:{}/VOCdevkit:2012_val'),
    'VOC with train and val': (lambda folder: voc(folder, {'train': TRAIN, 'val': VAL}), 'voc:{}:train', 'voc:{}:val'),
    'VOC with train and test': (lambda folder: voc(folder, {'train': TRAIN, 'test': VAL}), 'voc:{}:train',
                                'voc:{}:test'),
    'CVAT VOC': (lambda folder: voc(folder, {'default': ALL}), 'voc:{}:default', None),
    'VOC without lists': (lambda folder: voc(folder, {}), 'xml:{}', None),
    'labelImg': (lambda folder: flat_xml(folder / 'imgs', ALL), 'xml:{}', None),
    'Roboflow VOC': (two(flat_xml), 'xml:{}/train', 'xml:{}/valid'),
    'Roboflow VOC, train alone': (lambda folder: flat_xml(folder / 'train', ALL), 'xml:{}/train', None),
    'images and annotations': (apart('annotations', 'images', '.xml', made.xml_of), 'xml:{}', None),
    'Images and ANNOTATIONS': (apart('ANNOTATIONS', 'Images', '.XML', made.xml_of), 'xml:{}', None),
    'nested folders': (apart('set/annotations/day', 'set/images/day', '.xml', made.xml_of), 'xml:{}', None),
    'images/train and annotations/train': (apart_parts('annotations', 'images', '.xml', made.xml_of),
                                           'xml:{0}/annotations/train:{0}/images/train',
                                           'xml:{0}/annotations/val:{0}/images/val'),
    'train/images and train/annotations': (apart_parts('annotations', 'images', '.xml', made.xml_of, '{part}/{kind}'),
                                           'xml:{}/train', 'xml:{}/val'),
    'annotations in parts, images together': (xml_part_images_together, 'xml:{0}/annotations/train:{0}/images',
                                              'xml:{0}/annotations/val:{0}/images'),
    'image by <filename>': (renamed_xml, 'xml:{}', None),
    'COCO 2017': (coco_official, 'coco:{0}/annotations/instances_train2017.json:{0}/train2017',
                  'coco:{0}/annotations/instances_val2017.json:{0}/val2017'),
    'Roboflow COCO': (two(coco_beside), 'coco:{0}/train/_annotations.coco.json:{0}/train',
                      'coco:{0}/valid/_annotations.coco.json:{0}/valid'),
    'Label Studio COCO': (coco_single, 'coco:{0}/result.json:{0}', None),
    'COCO file alone': (lambda folder: coco_beside(folder, ALL, 'boxes.json'), 'coco:{0}/boxes.json:{0}', None),
    'COCO with one name twice': (coco_same_names, 'coco:{0}/annotations/train.json:{0}/images/train',
                                 'coco:{0}/annotations/val.json:{0}/images/val'),
    'Ultralytics with yaml': (yolo_yaml, 'yolo:{}/data.yaml:train', 'yolo:{}/data.yaml:val'),
    'Roboflow YOLO': (yolo_roboflow, 'yolo:{}/data.yaml:train', 'yolo:{}/data.yaml:val'),
    'yaml whose val is its train': (yolo_yaml_of_one_part, 'yolo:{}/data.yaml:train', None),
    'Ultralytics without yaml': (yolo_ultralytics, 'darknet:{0}/images/train:{0}/classes.txt',
                                 'darknet:{0}/images/val:{0}/classes.txt'),
    'train/images without yaml': (yolo_parts, 'darknet:{0}/train/images:{0}/obj.names',
                                  'darknet:{0}/val/images:{0}/obj.names'),
    'Label Studio YOLO': (yolo_label_studio, 'darknet:{0}/images:{0}/notes.json', None),
    'labelImg YOLO': (yolo_beside, 'darknet:{0}:{0}/classes.txt', None),
    'Roboflow darknet': (two(roboflow_darknet), 'darknet:{0}/train:{0}/train/_darknet.labels',
                         'darknet:{0}/valid:{0}/valid/_darknet.labels'),
    'Images and Labels': (yolo_letters, 'darknet:{0}/Images:{0}/classes.txt', None),
    'lists of images': (yolo_lists, 'darknet:{}/train.txt', 'darknet:{}/val.txt'),
    'qqwweee': (listed('{name} {commas},{id}'), 'list:{}/train.txt', 'list:{}/val.txt'),
    'qqwweee with names': (listed('{name} {commas},{label}', None), 'list:{}/train.txt', 'list:{}/val.txt'),
    'qqwweee of another machine': (listed('{name} {commas},{id}', 'classes.txt', '/home/me/x/pics/{}.jpg'),
                                   'list:{}/train.txt', 'list:{}/val.txt'),
    'reference': (listed('{index} {name} {size} {id} {box}'), 'list:{}/train.txt', 'list:{}/val.txt'),
    'reference without size': (listed('{index} {name} {id} {box}', 'my_classes.txt'), 'list:{}/train.txt',
                               'list:{}/val.txt'),
    'reference without index and size': (listed('{name} {id} {box}'), 'list:{}/train.txt', 'list:{}/val.txt'),
    'reference with names': (listed('{index} {name} {size} {label} {box}', None), 'list:{}/train.txt',
                             'list:{}/val.txt'),
    'Roboflow Keras': (two(roboflow_keras), 'list:{}/train/_annotations.txt', 'list:{}/valid/_annotations.txt'),
    'CSV': (table(CSV, '{name},100,50,{label},{x1},{y1},{x2},{y2}\n'), 'csv:{}/train_labels.csv',
            'csv:{}/test_labels.csv'),
    'CSV in another order': (table('label;x_max;y_max;x_min;y_min;Image Name\n',
                                   '{label};{x2};{y2};{x1};{y1};{name}\n'),
                             'csv:{}/train_labels.csv', 'csv:{}/test_labels.csv'),
    'CSV with stems': (table('ImageID,LabelName,XMin,XMax,YMin,YMax\n', '{name},{label},{x1},{x2},{y1},{y2}\n', '{}'),
                       'csv:{}/train_labels.csv', 'csv:{}/test_labels.csv'),
    'keras-retinanet': (table('', RETINA, 'images/{}.jpg'), 'csv:{}/train_labels.csv', 'csv:{}/test_labels.csv'),
    'rows in a .txt': (whole(lambda folder, numbers: (
        images(folder, '{}.jpg', numbers),
        write_text(folder, 'annotations.txt', ''.join(csv_row(number, '{}.jpg', RETINA) for number in numbers)))),
                       'csv:{}/annotations.txt', None),
    'Roboflow CSV': (two(roboflow_table), 'csv:{}/train/_annotations.csv', 'csv:{}/valid/_annotations.csv'),
    'CSV with one column': (table('image,boxes_xyxy,label\n', '{name},{x1} {y1} {x2} {y2},{label}\n'),
                            'csv:{}/train_labels.csv', 'csv:{}/test_labels.csv'),
    'CSV with corner and size': (table('file_name,x,y,w,h,label\n', '{name},{x1},{y1},50,30,{label}\n'),
                                 'csv:{}/train_labels.csv', 'csv:{}/test_labels.csv'),
    'Kaggle wheat': (wheat, 'csv:{}/train.csv', None),
    'Open Images': (open_images, 'csv:{}/train-annotations-bbox.csv', 'csv:{}/validation-annotations-bbox.csv'),
    'VIA': (one_file(made.via_of, 'via_region_data.json'), 'via:{}/via_region_data.json', None),
    'VIA project': (one_file(lambda numbers: made.via_of(numbers, 'type', True, 'polygon'), 'my_project.json'),
                    'via:{}/my_project.json', None),
    'VIA CSV': (one_file(made.via_table_of, 'via_export_csv.csv'), 'via:{}/via_export_csv.csv', None),
    'VIA in parts': (two(one_file(made.via_of, 'via_region_data.json')), 'via:{}/train/via_region_data.json',
                     'via:{}/valid/via_region_data.json'),
    'Roboflow CreateML': (two(one_file(made.createml_of, '_annotations.createml.json')),
                          'createml:{}/train/_annotations.createml.json',
                          'createml:{}/valid/_annotations.createml.json'),
    'CreateML beside images/': (lambda folder: (images(folder, 'images/{}.jpg', ALL), write_text(
        folder, 'json/boxes.json', made.createml_of(ALL))), 'createml:{0}/json/boxes.json:{0}/images', None),
    'CVAT for images': (lambda folder: (images(folder, 'images/{}.jpg', ALL), write_text(
        folder, 'annotations.xml', made.cvat_of(ALL))), 'cvat:{0}/annotations.xml', None),
    'Supervisely': (supervisely, 'supervisely:{}/train', 'supervisely:{}/val'),
    'KITTI': (kitti, 'kitti:{}/training', None),
    'KITTI side by side': (apart('labels', 'images', '.txt', made.kitti_of), 'kitti:{}', None),
    'LabelMe': (apart('.', '.', '.json', made.labelme_of), 'labelme:{}', None),
    'LabelMe polygons': (apart('json', 'img', '.json', lambda number: made.labelme_of(number, kind='polygon')),
                         'labelme:{}', None),
    'LabelMe in parts': (apart_parts('labels', 'images', '.json', made.labelme_of, '{part}/{kind}'),
                         'labelme:{}/train', 'labelme:{}/val'),
}


def read(spec):
    """{number of the image: (class name, box)} of a dataset of one box an image, without problems."""
    dataset = specs.load(spec)
    assert dataset.problems == []
    found = {}
    for record in dataset.records:
        number = int(re.sub(r'\D', '', pathlib.Path(record.image_path).stem))
        assert len(record.boxes) == 1 and number not in found and pathlib.Path(record.image_path).is_file()
        assert (record.width, record.height) == (made.WIDTH, made.HEIGHT)
        found[number] = dataset.class_names[record.classes[0]], record.boxes[0]
    return found


@pytest.mark.parametrize('name', LAYOUTS)
def test_a_layout_is_recognised_and_read(tmp_path, name):
    write, train, val = LAYOUTS[name]
    folder = tmp_path / 'mine'
    write(folder)
    found = folders.recognise(str(folder))
    assert (found.train, found.val) == (train.format(folder), val and val.format(folder))
    parts = [read(found.train), read(found.val) if found.val else {}]
    assert [sorted(part) for part in parts] == ([list(TRAIN), list(VAL)] if val else [list(ALL), []])
    for number, (label, box) in {**parts[0], **parts[1]}.items():
        assert label == ('object' if name == 'Kaggle wheat' else made.CLASSES[made.class_of(number)])
        np.testing.assert_allclose(box, made.box_of(number), atol=.01)


def test_the_line_says_what_it_is_and_what_to_write(tmp_path, capsys):
    two(flat_xml)(tmp_path)
    found = folders.recognise(str(tmp_path))
    assert found.describe() == (f'data: {tmp_path} is VOC XML, parts train and val; its spec is '
                                f'--train_data=xml:{tmp_path}/train --val_data=xml:{tmp_path}/valid')
    dataset = specs.load(str(tmp_path), split='val')
    assert len(dataset.records) == len(VAL)
    assert capsys.readouterr().err == f'{found.describe("val")}\n'
    assert specs.parse(f'{tmp_path}', 'val') == specs.parse(found.val)
    assert len(specs.load(f'{tmp_path}').records) == len(TRAIN)


def test_folder_and_spec_are_one_dataset(tmp_path):
    flat_xml(tmp_path / 'one', TRAIN)
    flat_xml(tmp_path / 'two', VAL)
    assert len(specs.load(f'{tmp_path}/one,xml:{tmp_path}/two').records) == len(ALL)


def test_a_path_with_a_trailing_slash_or_a_dot_is_the_same(tmp_path, monkeypatch):
    two(flat_xml)(tmp_path / 'mine')
    monkeypatch.chdir(tmp_path)
    assert [folders.recognise(text).train for text in ('mine', 'mine/', './mine')] == ['xml:mine/train'] * 3
    monkeypatch.chdir(tmp_path / 'mine')
    assert folders.recognise('.').train == 'xml:train'
    (tmp_path / 'flat').mkdir()
    monkeypatch.chdir(tmp_path / 'flat')
    flat_yolo(tmp_path / 'flat', ALL)
    found = folders.recognise('.')
    assert found.train == 'darknet:.' and specs.load(found.train).class_names == ['0', '1']


def refusal(folder):
    with pytest.raises(InputError) as error:
        folders.recognise(str(folder))
    return str(error.value)


def test_several_datasets_are_an_error_that_lists_them(tmp_path):
    flat_xml(tmp_path, ALL)
    write_text(tmp_path, 'labels.csv', CSV + ''.join(map(csv_row, ALL)))
    write_text(tmp_path, 'boxes.json', made.coco_of(ALL))
    message = refusal(tmp_path)
    assert '3 datasets are recognised' in message
    for spec in (f'--train_data=xml:{tmp_path} ', f'--train_data=csv:{tmp_path}/labels.csv ',
                 f'--train_data=coco:{tmp_path}/boxes.json:{tmp_path} '):
        assert spec in message


def test_two_files_for_one_part_are_not_guessed(tmp_path):
    coco_beside(tmp_path, ALL, 'train_a.json')
    write_text(tmp_path, 'train_b.json', made.coco_of(TRAIN))
    assert 'train_a.json' in refusal(tmp_path) and 'train_b.json' in refusal(tmp_path)


@pytest.mark.parametrize('files, words', [
    ({}, ['It holds no files.', 'There is no image']),
    ({'a.jpg': None, 'b/c.png': None}, ['1 .jpg, 1 .png in the folders b', 'images but no annotations', 'VOC XML']),
    ({'labels/a.txt': '0 .5 .5 .1 .1\n'}, ['1 .txt', 'There is no image']),
    ({'a.jpg': None, 'notes.txt': 'hello\n', 'x.json': '{}', 'x.csv': 'a,b\n1,2\n', 'x.xml': '<x/>'},
     ['no dataset is recognised', 'Looked for:']),
])
def test_nothing_found_says_what_was_looked_for_and_what_is_there(tmp_path, files, words):
    for name, text in files.items():
        write_image(tmp_path, name) if text is None else write_text(tmp_path, name, text)
    message = refusal(tmp_path)
    assert all(word in message for word in words), message


def test_other_folders_are_not_searched(tmp_path):
    """Runs of this program hold lists, macOS archives hold shadows of every file."""
    flat_xml(tmp_path, ALL)
    write_text(tmp_path, '__MACOSX/._0.xml', '<annotation/>')
    write_text(tmp_path, 'runs/mine/split/val.txt', reference_line(0, '../../../0.jpg'))
    write_text(tmp_path, '.cache/0.xml', made.xml_of(0))
    assert len(read(folders.recognise(str(tmp_path)).train)) == len(ALL)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match='there is no such folder here; expected a labelled folder, or a dataset spec'):
        specs.load(f'{tmp_path}/none')
    assert 'no such folder' in refusal(tmp_path / 'none')


@pytest.mark.parametrize('name, images_there, boxes', [
    ('voc_flat_roboflow', 2, 2), ('voc_labelimg', 2, 2), ('voc_kaggle', 2, 2), ('ls_qqwweee', 2, 3), ('ls_csv', 2, 2),
    ('dk_labelstudio', 2, 2), ('dk_objdata', 2, 2), ('dk_cvat_yolo11', 2, 2), ('dk_windows_list', 2, 2),
    ('y_valid_key', 2, 2), ('y_backslash', 2, 2), ('y_names_wrapped', 2, 2)])
def test_cases_of_real_reports(shared_data, name, images_there, boxes):
    folder = shared_data.parent / 'cases/annotations' / name
    if not folder.is_dir():
        pytest.skip('no ../shared/cases')
    dataset = specs.load(str(folder))
    assert (len(dataset.records), sum(len(record.boxes) for record in dataset.records)) == (images_there, boxes)
    np.testing.assert_allclose(dataset.records[0].boxes[0], [20, 20, 70, 60], atol=1.01)
