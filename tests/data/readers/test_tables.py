"""CSV tables: columns by name in any order, none at all, fractions, and every wrong row."""
import re

import numpy as np
import pytest
from fixtures.labelled_folders import write_image, write_text

from yolov3_tf.data.readers import specs, tables
from yolov3_tf.errors import InputError

HEAD = 'filename,width,height,class,xmin,ymin,xmax,ymax\n'


def write(folder, text, name='t.csv', images=('a.jpg', 'b.jpg')):
    for number, image in enumerate(images):
        write_image(folder, image, number)
    write_text(folder, name, text)
    return str(folder / name)


def values(dataset):
    return {record.image_id: [(dataset.class_names[index], *box) for index, box in
                              zip(record.classes, record.boxes.tolist())] for record in dataset.records}


def test_rows_of_an_image_are_one_image_and_empty_cells_none(tmp_path):
    path = write(tmp_path, HEAD + 'a.jpg,100,50,emu,1,2,30,40\nb.jpg,100,50,,,,,\na.jpg,100,50,cat,5,6,7,8\n')
    dataset = tables.read(path)
    assert values(dataset) == {'a': [('emu', 1, 2, 30, 40), ('cat', 5, 6, 7, 8)], 'b': []}
    assert dataset.class_names == ['cat', 'emu'] and dataset.problems == []
    assert dataset.records[0].annotation_lines.tolist() == [2, 4]


@pytest.mark.parametrize('text', [
    'xmin\tymin\txmax\tymax\tlabel\timage\n1\t2\t30\t40\temu\ta.jpg\n',
    'Image_Path;X_Min;Y_Min;X_Max;Y_Max;Class Name\r\n"a.jpg";1;2;30;40;emu\r\n',
    'file_name,x1,y1,x2,y2,category,comment\na.jpg,1,2,30,40,emu,"well, fine"\n',
    'img,left,top,right,bottom,label_name\na,1,2,30,40,emu\n',
    'image_id,source,LabelName,XMin,XMax,YMin,YMax\na,x,emu,.01,.3,.04,.8\n',
    'a.jpg,1,2,30,40,emu\n', 'a.jpg,100,50,emu,1,2,30,40\n',
    '\ufefffilename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,,,emu,1,2,30,40\n'])
def test_columns_go_by_their_names(tmp_path, text):
    dataset = tables.read(write(tmp_path, text))
    (label, *box), = values(dataset)['a']
    assert label == 'emu'
    np.testing.assert_allclose(box, [1, 2, 30, 40], atol=1e-4)
    assert (dataset.records[0].width, dataset.records[0].height) == (100, 50) and dataset.problems == []


@pytest.mark.parametrize('row, message', [
    ('a.jpg,100,50,emu,1,2,30', '2: expected 8 cells, got 7; row dropped'),
    ('a.jpg,100,50,emu,1,2,30,x', '2: expected four numbers, got 1, 2, 30, x; object dropped'),
    ('a.jpg,100,50,emu,,2,30,40', '2: expected four numbers'), ('a.jpg,100,50,emu,nan,2,30,40', '2: expected four'),
    ('a.jpg,100,50,,1,2,30,40', '2: no class; object dropped'),
    (',100,50,emu,1,2,30,40', '2: no name of an image'), ('c.jpg,100,50,emu,1,2,30,40', '2: no image c.jpg below'),
    ('a.jpg,100,50,emu,1,2,1,40', '2: object .emu.: .* has no area; object dropped'),
    ('a.jpg,100,50,emu,1,2,300,40', '2: object .emu.: .* reaches outside the 100x50 image; clipped')])
def test_a_wrong_row_is_named(tmp_path, row, message):
    path = write(tmp_path, f'{HEAD}{row}\nb.jpg,100,50,emu,1,2,30,40\n')
    dataset = tables.read(path)
    assert len(values(dataset)['b']) == 1 and len(dataset.problems) == 1
    assert re.search('t.csv:' + message, dataset.problems[0])
    with pytest.raises(InputError, match='--strict'):
        tables.read(path, strict=True)


@pytest.mark.parametrize('text, message', [
    ('name,id\ncat,0\n', 'expected a header with the columns filename, class'), ('', "got ''"),
    ('a.jpg,1,2,x,40,emu\n', 'expected a header'), (HEAD, 'no usable row; the first problem: it is empty'),
    (HEAD + 'c.jpg,1,1,x,1,2,3,4\n', 'no usable row; the first problem: .*no image c.jpg')])
def test_a_table_that_is_none(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        tables.read(write(tmp_path, text))


def test_numbers_have_the_names_beside_the_table(tmp_path):
    path = write(tmp_path, 'a.jpg,1,2,30,40,1\nb.jpg,1,2,30,40,0\n')
    assert tables.read(path).class_names == ['0', '1']
    assert values(tables.read(path, classes=['x', 'y']))['a'][0][0] == 'y'
    write_text(tmp_path, 'classes.csv', 'emu,0\ncat,1\n')
    dataset = tables.read(path)
    assert dataset.class_names == ['emu', 'cat'] and values(dataset)['a'][0][0] == 'cat'
    write_text(tmp_path, 'classes.txt', 'ant\n')
    with pytest.raises(InputError, match='class id 1, but there are 1 class names'):
        tables.read(path)


def test_images_are_found_by_name_and_told_where_they_were_elsewhere(tmp_path):
    path = write(tmp_path, HEAD + 'D:\\set\\train\\a.jpg,100,50,emu,1,2,30,40\nb.jpg,100,50,emu,1,2,30,40\n',
                 images=('train/a.jpg', 'val/a.jpg', 'deep/er/b.jpg'))
    dataset = tables.read(path)
    assert [record.image_path for record in dataset.records] == [
        str(tmp_path / 'train/a.jpg'), str(tmp_path / 'deep/er/b.jpg')]
    assert dataset.problems == [] and 'found by name' in dataset.notes[0]


def test_an_image_of_another_part_is_not_taken(tmp_path):
    path = write(tmp_path, HEAD + 'train/a.jpg,100,50,emu,1,2,30,40\ntrain/b.jpg,100,50,emu,1,2,30,40\n',
                 images=('val/a.jpg', 'train/b.jpg'))
    dataset = tables.read(path)
    assert [record.image_id for record in dataset.records] == ['b'] and 'no image train/a.jpg' in dataset.problems[0]


def test_the_spec_takes_the_folder_of_the_images(tmp_path):
    write(tmp_path, HEAD + 'a.jpg,100,50,emu,1,2,30,40\n', 'tables/t.csv', ['pics/a.jpg'])
    assert len(specs.load(f'csv:{tmp_path}/tables/t.csv:{tmp_path}/pics').records) == 1
    with pytest.raises(InputError, match='no image a.jpg'):
        specs.load(f'csv:{tmp_path}/tables/t.csv')
    with pytest.raises(InputError, match='expected csv:FILE'):
        specs.load('csv:')


@pytest.mark.parametrize('head, cell', [
    ('bbox_xywh', '[10.0, 5.0, 50.0, 30.0]'), ('bbox (x, y, width, height)', '10 5 50 30'), ('xyxy', '10,5,60,35'),
    ('Bounding Box [x1 y1 x2 y2]', '(10; 5; 60; 35)'), ('bbox_cxcywh', '35 20 50 30'), ('BBOX-COCO', '10 5 50 30'),
    ('boxes_pascal_voc', '[[10, 5, 60, 35]]'), ('bbox_xyxy', '.1 .1 .6 .7'), ('xywh', '1e1 5 5e1 30')])
def test_one_column_whose_name_says_its_numbers(tmp_path, head, cell):
    dataset = tables.read(write(tmp_path, f'image,"{head}",label\na.jpg,"{cell}",emu\n'))
    (label, *box), = values(dataset)['a']
    assert label == 'emu' and dataset.problems == [] and dataset.notes == []
    np.testing.assert_allclose(box, [10, 5, 60, 35], atol=1e-4)


@pytest.mark.parametrize('cells, box, words', [
    (['[10, 5, 50, 30]', '[70, 20, 30, 30]'], [10, 5, 60, 35],
     'read as x, y, width, height: as x1, y1, x2, y2, 1 of 2'),
    (['[10, 5, 60, 35]', '[70, 20, 90, 50]'], [10, 5, 60, 35],
     'read as x1, y1, x2, y2: as x, y, width, height, 1 of 2'),
    (['.1 .1 .5 .6', '.9 .1 .1 .8'], [10, 5, 60, 35], 'read as x, y, width, height'),
    (['.35 .4 .5 .6', '.8 .8 .4 .4'], [10, 5, 60, 35], 'read as x and y of the centre')])
def test_one_column_is_read_as_its_boxes_fit_the_images(tmp_path, cells, box, words):
    rows = ''.join(f'{name}.jpg,"{cell}",emu\n' for name, cell in zip('ab', cells))
    dataset = tables.read(write(tmp_path, f'image,bbox,label\n{rows}'))
    np.testing.assert_allclose(values(dataset)['a'][0][1:], box, atol=1e-3)
    assert dataset.problems == [] and words in dataset.notes[0]


@pytest.mark.parametrize('cells, words', [(['1 2 30 40', '2 3 40 45'], 'both fit'),
                                          (['90 40 10 60', '90 40 100 10'], 'neither fits')])
def test_one_column_that_nothing_tells_says_what_to_write(tmp_path, cells, words):
    rows = ''.join(f'{name}.jpg,{cell},emu\n' for name, cell in zip('ab', cells))
    with pytest.raises(InputError, match=f'{words} the images. In its first line, write bbox_xyxy or bbox_xywh in '
                                         'place of box'):
        tables.read(write(tmp_path, f'image,box,label\n{rows}'))


def test_headers_of_published_tables_say_their_numbers(tmp_path):
    path = write(tmp_path, 'image_id,width,height,bbox,source\na,100,50,"[1.0, 2.0, 30.0, 40.0]",x\nb,100,50,,x\n')
    assert values(tables.read(path)) == {'a': [('object', 1, 2, 31, 42)], 'b': []}
    path = write(tmp_path, 'image_name,BoxesString,domain\na.jpg,1 2 30 40;5 6 9 8,x\nb.jpg,no_box,x\n')
    assert values(tables.read(path)) == {'a': [('object', 1, 2, 30, 40), ('object', 5, 6, 9, 8)], 'b': []}


@pytest.mark.parametrize('cell', ['1 2 3', 'a b c d', '1 2 3 4 5', '1,2,3,x', '1 2 3 1e999'])
def test_one_column_a_wrong_cell_is_named(tmp_path, cell):
    path = write(tmp_path, f'image,bbox_xyxy,label\na.jpg,"{cell}",emu\nb.jpg,1 2 30 40,emu\n')
    assert tables.read(path).problems == [f'{path}:2: expected four numbers a box, got {cell!r}; object dropped']


@pytest.mark.parametrize('head, row', [
    ('x,y,w,h', '10,5,50,30'), ('x_center,y_center,width,height', '35,20,50,30'), ('cx,cy,w,h', '.35,.4,.5,.6'),
    ('x_min,y_min,width,height', '10,5,50,30'),
    ('bbox_x,bbox_y,bbox_width,bbox_height,width,height', '10,5,50,30,100,50'),
    ('x1,y1,x2,y2,w,h', '10,5,60,35,100,50'), ('top,left,bottom,right', '5,10,35,60'),
    ('startX,startY,endX,endY', '10,5,60,35')])
def test_corner_or_centre_and_size(tmp_path, head, row):
    dataset = tables.read(write(tmp_path, f'{head},image,label\n{row},a.jpg,emu\n'))
    np.testing.assert_allclose(values(dataset)['a'][0][1:], [10, 5, 60, 35], atol=1e-4)
    assert dataset.problems == []


def test_a_table_without_classes_is_one_class_and_says_so(tmp_path):
    path = write(tmp_path, 'filename,xmin,ymin,xmax,ymax\na.jpg,1,2,30,40\n')
    dataset = tables.read(path)
    assert values(dataset) == {'a': [('object', 1, 2, 30, 40)]}
    assert dataset.notes == [f'{path}: no column of classes (filename, xmin, ymin, xmax, ymax): all its objects are '
                             "one class, 'object'"]
    assert tables.read(path, classes=['fish']).class_names == ['fish']
    with pytest.raises(InputError, match='no column of classes .* nobody knows which of the classes cat, dog'):
        tables.read(path, classes=['cat', 'dog'])
    assert tables.read(write(tmp_path, 'a.jpg,1,2,30,40\n')).class_names == ['object']


def test_open_images_groups_are_crowds_and_codes_have_names(tmp_path):
    head = 'ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsGroupOf\n'
    path = write(tmp_path, head + 'a,x,/m/01,1,.1,.6,.1,.7,0,1\nb,x,/m/02,1,0,1,.2,.5,1,0\n')
    assert tables.read(path).class_names == ['/m/01', '/m/02']
    write_text(tmp_path, 'oidv7-class-descriptions-boxable.csv',
               'LabelName,DisplayName\n/m/02,"Cat, big"\n/m/01,Emu\n')
    dataset = tables.read(path)
    assert dataset.class_names == ['Cat, big', 'Emu'] and [record.crowd.tolist() for record in dataset.records] == [
        [True], [False]]
