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
