"""Files as other programs write them, each read as it is meant; the first image of every set has one box."""
import json

import numpy as np
import pytest
from fixtures import labelled_folders as made
from fixtures.labelled_folders import write_image, write_text

from yolov3_tf.data.readers import specs

BOX = (10, 5, 60, 35)
NAMES = 'cat\ndog\n'


def read(folder, spec='{}'):
    """Class and box of the one object, and the notes; there is no problem."""
    dataset = specs.load(spec.format(folder))
    assert dataset.problems == [] and len(dataset.records) == 1
    np.testing.assert_allclose(dataset.records[0].boxes, [BOX], atol=.01)
    return dataset.class_names[dataset.records[0].classes[0]], dataset.notes


def coco(folder, name, image='0.jpg', **annotation):
    write_image(folder, image)
    content = json.loads(made.coco_of([0], name))
    content['annotations'][0].update(annotation)
    write_text(folder, 'ann.json', json.dumps(content))
    return read(folder, 'coco:{0}/ann.json:{0}')


def test_coco_links_with_a_query_and_bare_names_of_images_further_down(tmp_path):
    _, notes = coco(tmp_path / 'a', 'https://x.org/media/0.jpg?token=1#x')
    assert 'of another machine' in notes[0]
    _, notes = coco(tmp_path / 'b', '0.jpg', 'images/deep/0.jpg')
    assert '0.jpg: not there, but found by name' in notes[0]


def test_a_coco_box_of_zeros_is_that_of_the_outline(tmp_path):
    coco(tmp_path, '0.jpg', bbox=[0, 0, 0, 0], segmentation=[[10, 5, 60, 5, 60, 35]])


def test_a_coco_name_that_two_images_have_is_not_guessed(tmp_path):
    write_image(tmp_path, 'b/0.jpg', 1)
    with pytest.raises(Exception, match='no image'):
        coco(tmp_path, '0.jpg', 'a/0.jpg')


@pytest.mark.parametrize('text', [
    'sep=;\nfilename;class;xmin;ymin;xmax;ymax\n0.jpg;cat;10;5;60;35\n',
    '# written by a tool\nfilename,class,xmin,ymin,xmax,ymax\n0.jpg,cat,10,5,60,35\n',
    'filename;class;xmin;ymin;xmax;ymax\n0.jpg;cat;10,0;5,00;60;35,0\n',
    'filename\tclass\txmin\tymin\txmax\tymax\n0.jpg\tcat\t0,1\t,1\t0,6\t0,7\n'])
def test_tables_of_spreadsheets(tmp_path, text):
    write_image(tmp_path, '0.jpg')
    write_text(tmp_path, 't.csv', text)
    assert read(tmp_path)[0] == 'cat'


def test_a_darknet_list_of_bare_names(tmp_path):
    write_image(tmp_path, 'obj/0.jpg')
    write_text(tmp_path, 'obj/0.txt', made.yolo_of(0))
    write_text(tmp_path, 'train.txt', '0.jpg\n')
    write_text(tmp_path, 'obj.names', NAMES)
    name, notes = read(tmp_path)
    assert name == 'cat' and 'found by name' in notes[0]


@pytest.mark.parametrize('labels, classes', [
    ('labels', 'labels/classes.txt'), ('yolo_labels', 'classes.txt'), ('bbox', 'names.txt'),
    ('Boxes', 'Boxes/classes.txt'),
    ('labels', 'data/predefined_classes.txt')])
def test_class_files_and_folders_of_labelimg_and_others(tmp_path, labels, classes):
    write_image(tmp_path, 'images/0.jpg')
    write_text(tmp_path, labels + '/0.txt', made.yolo_of(0))
    write_text(tmp_path, classes, NAMES)
    assert read(tmp_path)[0] == 'cat'


def yaml(folder, text, image='0.jpg', label=None):
    write_image(folder, 'train/images/0.jpg')
    (folder / 'train/images/0.jpg').rename(folder / 'train/images' / image)
    write_text(folder, 'train/labels/0.txt', label or made.yolo_of(0))
    write_text(folder, 'data.yaml', f'train: train/images\nval: val/images\n{text}')
    return read(folder)[0]


def test_keypoints_behind_a_box_are_no_outline(tmp_path):
    assert yaml(tmp_path, 'kpt_shape: [2, 3]\nnames: [cat, dog]\n',
                label=f'{made.yolo_of(0).strip()} 0.9 0.9 2 0.1 0.95 1\n') == 'cat'


def test_numbers_in_quotes_before_names(tmp_path):
    assert yaml(tmp_path, """names:\n  '0': cat\n  "1": dog\n""") == 'cat'


@pytest.mark.parametrize('ending', ['jfif', 'JPE'])
def test_other_endings_of_jpeg(tmp_path, ending):
    assert yaml(tmp_path, 'names: [cat, dog]\n', f'0.{ending}') == 'cat'


def test_a_folder_with_empty_text_files_is_recognised_so_that_its_fault_is_named(tmp_path):
    write_image(tmp_path, 'images/0.jpg')
    write_text(tmp_path, 'labels/0.txt', '')
    write_text(tmp_path, 'classes.txt', NAMES)
    dataset = specs.load(str(tmp_path))
    assert len(dataset.records) == 1 and dataset.class_names == ['cat', 'dog'] and not len(dataset.records[0].boxes)
