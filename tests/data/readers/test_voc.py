"""VOC layout: real annotations, and one hand-made file for each thing that can be wrong."""
import pathlib
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3_tf.data.readers import class_files, voc, voc_xml
from yolov3_tf.errors import InputError

OBJECT = ('<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin>'
          '<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>')
SIZE = '<size><width>100</width><height>50</height></size>'


def thing(xmin, ymin, xmax, ymax, name='dog'):
    return OBJECT.format(name, xmin, ymin, xmax, ymax)


def annotation(*parts):
    return '\n'.join(['<annotation>', SIZE, *parts, '</annotation>'])


def write_voc(folder, xmls, split='train', image='{}.jpg'):
    """A VOC folder with one (empty) image for each annotation."""
    for name in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for stem, xml in xmls.items():
        (folder / 'JPEGImages' / image.format(stem)).touch()
        if xml is not None:
            content = xml if isinstance(xml, bytes) else xml.encode()
            (folder / 'Annotations' / f'{stem}.xml').write_bytes(content)
    (folder / f'ImageSets/Main/{split}.txt').write_text(''.join(f'{stem}\n' for stem in xmls))
    return folder


def read_one(tmp_path, xml, **options):
    """The record of one annotation, beside a good one, and the problems."""
    folder = write_voc(tmp_path / 'set', {'good': annotation(thing(1, 1, 5, 5)), 'a': xml})
    dataset = voc.read(str(folder), 'train', **options)
    return {record.image_id: record for record in dataset.records}.get('a'), dataset.problems


# Real data.

def test_official_annotations_parts_and_tag_orders(shared_data):
    dataset = voc.read(str(shared_data / 'voc_six/VOCdevkit'), 'train+val')
    assert (len(dataset.records), dataset.problems) == (450, [])
    assert dataset.class_names == list(class_files.VOC_CLASSES)
    records = {record.image_id: record for record in dataset.records}
    # Annotations/2008_008744.xml: a person with <part>s of their own boxes, before and after other tags.
    record = records['2008_008744']
    names = [dataset.class_names[index] for index in record.classes]
    assert names[:2] == ['sheep', 'person']
    np.testing.assert_array_equal(record.boxes[:2], [[0, 124, 288, 338], [261, 76, 401, 313]])
    assert (record.width, record.height) == (500, 375)
    assert sum(int(record.difficult.sum()) for record in dataset.records) == 121


def test_boxes_equal_those_of_another_reader(shared_data):
    """An independent reading: objects without their parts, by ElementTree."""
    folder = shared_data / 'voc_six/VOCdevkit/VOC2012'
    for record in voc.read(str(folder), 'val').records:
        tree = ElementTree.parse(folder / 'Annotations' / f'{record.image_id}.xml')
        objects = tree.findall('object')
        boxes = [[float(item.find(f'bndbox/{tag}').text) for tag in ('xmin', 'ymin', 'xmax', 'ymax')]
                 for item in objects]
        np.testing.assert_allclose(np.add(record.boxes, [1, 1, 0, 0]), boxes, atol=1e-3)
        assert record.difficult.tolist() == [item.findtext('difficult') == '1' for item in objects]


def test_blood_cells_have_two_boxes_without_area(shared_data):
    dataset = voc.read(str(shared_data / 'bccd/BCCD'), 'trainval+test')
    assert dataset.class_names == ['Platelets', 'RBC', 'WBC']
    assert len(dataset.records) == 364 and sum(len(record.boxes) for record in dataset.records) == 4888 - 2
    assert [problem.split('/')[-1] for problem in dataset.problems] == [
        "BloodImage_00338.xml:158: object 'RBC': box (504, 337, 504, 337) has no area; object dropped",
        "BloodImage_00343.xml:50: object 'RBC': box (181, 329, 181, 329) has no area; object dropped"]
    with pytest.raises(InputError, match='BloodImage_00338.xml:158'):
        voc.read(str(shared_data / 'bccd/BCCD'), 'trainval', strict=True)


# Objects.

def test_voc_counts_from_one_and_includes_the_far_edge(tmp_path):
    record, problems = read_one(tmp_path, annotation(thing(1, 1, 100, 50), thing(8, 3, 9, 10)))
    np.testing.assert_array_equal(record.boxes, [[0, 0, 100, 50], [7, 2, 9, 10]])
    assert record.boxes.dtype == np.float32 and record.classes.dtype == np.int32
    assert record.areas.tolist() == [5000, 16] and not problems


def test_files_that_count_from_zero_are_read_without_complaint(tmp_path):
    record, problems = read_one(tmp_path, annotation(thing(0, 0, 40, 30)))
    assert record.boxes.tolist() == [[0, 0, 40, 30]] and not problems


def test_float_coordinates_and_stray_whitespace(tmp_path):
    xml = annotation(thing('45.70000076293945', ' 2.5\n', '80.25', '40', '\n dog\t '))
    record, problems = read_one(tmp_path, xml)
    np.testing.assert_allclose(record.boxes, [[44.7, 1.5, 80.25, 40]], atol=1e-5)
    assert record.classes.tolist() == [class_files.VOC_CLASSES.index('dog')] and not problems


@pytest.mark.parametrize('xml, boxes, message', [
    (thing(40, 30, 10, 5), [[9, 4, 40, 30]],
     ":3: object 'dog': corners of box (40, 30, 10, 5) are swapped; put in order"),
    (thing(-20, 5, 10, 500), [[0, 4, 10, 50]],
     ":3: object 'dog': box (-21, 4, 10, 500) reaches outside the 100x50 image; clipped"),
    (thing(300, 5, 10, 9), [[9, 4, 100, 9]],
     ":3: object 'dog': corners of box (300, 5, 10, 9) are swapped, box (9, 4, 300, 9) reaches outside the "
     '100x50 image; put in order and clipped'),
    (thing(200, 5, 210, 9), [],
     ":3: object 'dog': box (199, 4, 210, 9) lies outside the 100x50 image; object dropped"),
    (thing(7, 5, 7, 9), [], ":3: object 'dog': box (7, 5, 7, 9) has no area; object dropped"),
    (thing('nan', 5, 7, 9), [], 'are not finite pixels; object dropped'),
    (thing('1e400', 5, 7, 9), [], 'are not finite pixels; object dropped'),
    (thing('ten', 5, 7, 9), [],
     "is not four numbers: xmin 'ten', ymin '5', xmax '7', ymax '9'; object dropped"),
    (thing('', 5, 7, 9), [], ":3: object 'dog' has no xmin; object dropped"),
    ('<object><name>dog</name></object>', [], ":3: object 'dog' has no box; object dropped"),
    (thing(1, 5, 7, 9, ''), [], ':3: object has no class name; object dropped'),
    ('<object><name>dog</name><part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>'
     '<ymax>9</ymax></bndbox></part></object>', [], ":3: object 'dog' has no box; object dropped"),
])
def test_a_faulty_object_is_repaired_or_dropped_and_reported(tmp_path, xml, boxes, message):
    record, problems = read_one(tmp_path, annotation(xml))
    np.testing.assert_array_equal(record.boxes, np.reshape(boxes, (-1, 4)))
    assert len(problems) == 1 and message in problems[0] and '/a.xml:3: ' in problems[0]
    with pytest.raises(InputError, match='a.xml:3: .*--strict'):
        read_one(tmp_path, annotation(xml), strict=True)


def test_unknown_class_stops_with_file_line_and_names(tmp_path):
    with pytest.raises(InputError, match="a.xml:3: unknown class 'dgo' .*'dog'.*expected one of cat, dog;"):
        read_one(tmp_path, annotation(thing(1, 1, 5, 5, 'dgo')), classes=['cat', 'dog'])


# Files.

@pytest.mark.parametrize('size', ['', '<size/>', '<size><width>0</width><height>0</height></size>',
                                  '<size><width>wide</width></size>'])
def test_an_unknown_size_is_zero_and_clips_nothing(tmp_path, size):
    record, problems = read_one(tmp_path, f'<annotation>{size}{thing(1, 1, 900, 800)}</annotation>')
    assert (record.width, record.height) == (0, 0)
    assert record.boxes.tolist() == [[0, 0, 900, 800]] and not problems


def test_an_image_without_objects_is_a_record(tmp_path):
    record, problems = read_one(tmp_path, annotation())
    assert record.boxes.shape == (0, 4) and record.areas.shape == (0,) and not problems


BOMB = ('<!DOCTYPE a [<!ENTITY b "dogdogdog"><!ENTITY c "&b;&b;&b;&b;">]>\n<annotation><object>'
        '<name>&c;</name></object></annotation>')


@pytest.mark.parametrize('xml, message', [
    (annotation(thing(1, 1, 5, 5))[:-30],
     r'a.xml:3: not well-formed XML \(.*\); is the file truncated\?; image dropped'),
    ('', r'a.xml:1: not well-formed XML \(no element found\)'),
    (BOMB, 'a.xml:1: declares a document type'),
    ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', 'a.xml:1: declares a document type'),
    ('<html></html>', r'a.xml:1: expected <annotation>, got <html>'),
    ('<annotation>' + '<a>' * 2000, 'nested deeper than'),
    (b'<annotation>' + b' ' * voc_xml.LARGEST_FILE, 'bytes; expected at most'),
    (b'<?xml version="1.0" encoding="klingon"?><annotation/>', 'a.xml:1: '),
    (b'<?xml version="1.0" encoding="gbk"?><annotation><object><name>\xff\xff</name></object></annotation>',
     'a.xml:1: class .* no text in the coding'),
    (annotation(thing(1, 1, 5, 5, '鱼')).encode('gbk'), 'a.xml:3: class .* no text in the coding'),
    (b'\x89PNG\r\n\x1a\n\0\0', 'a.xml:1: not well-formed'),
    (None, r'train.txt:2: no annotation .*a.xml; image dropped'),
])
def test_an_unusable_annotation_drops_the_image(tmp_path, xml, message):
    record, problems = read_one(tmp_path, xml)
    assert record is None and len(problems) == 1 and re.search(message, problems[0])
    with pytest.raises(InputError, match='--strict'):
        read_one(tmp_path, xml, strict=True)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_bytes_do_more_than_raise_input_error(tmp_path_factory, data):
    """Cuts, overwrites and repeats pieces of a good file."""
    path = tmp_path_factory.getbasetemp() / 'fuzz.xml'
    content = annotation(thing(1, 1, 5, 5), thing('2.5', 3, 9, 9)).encode()
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    path.write_bytes(content[:start] + data.draw(st.binary(max_size=20)) + content[end:])
    try:
        voc_xml.parse(path)
    except InputError as error:
        assert str(error).startswith(str(path))


# Images and splits.

@pytest.mark.parametrize('image', ['{}.jpeg', '{}.png', '{}.JPG'])
def test_other_image_endings(tmp_path, image):
    folder = write_voc(tmp_path, {'a': annotation()}, image=image)
    assert voc.read(str(folder), 'train').records[0].image_path.endswith(image.format('/a'))


def test_jpg_goes_first(tmp_path):
    folder = write_voc(tmp_path, {'a': annotation()}, image='{}.png')
    (folder / 'JPEGImages/a.jpg').touch()
    assert voc.read(str(folder), 'train').records[0].image_path.endswith('/a.jpg')


@pytest.mark.parametrize('line, message', [
    ('none', 'train.txt:2: no image .*JPEGImages/none with the ending .jpg'),
    ('a.jpg', r'train.txt:2: a is listed already'),
    ('b.jpg', r'train.txt:2: no image .*JPEGImages/b.jpg with the ending'),
    ('../../secret', "train.txt:2: expected the bare name of an image, got '../../secret'"),
    ('/etc/passwd', 'expected the bare name'),
    ('..', 'expected the bare name'),
    ('a', r'train.txt:2: a is listed already in .*train.txt:1; used once'),
])
def test_a_bad_line_of_a_split_drops_that_image(tmp_path, line, message):
    folder = write_voc(tmp_path, {'a': annotation()})
    (folder / 'ImageSets/Main/train.txt').write_text(f'a\n{line}\n')
    dataset = voc.read(str(folder), 'train')
    assert [record.image_id for record in dataset.records] == ['a']
    assert len(dataset.problems) == 1 and re.search(message, dataset.problems[0])


def test_carriage_returns_and_per_class_marks_in_a_split(tmp_path):
    folder = write_voc(tmp_path, {'a': annotation(), 'b': annotation(), 'c': annotation()})
    (folder / 'ImageSets/Main/dog_train.txt').write_bytes(b'a -1\r\n\r\nb  1\r\nc  0\r\n')
    assert [record.image_id for record in voc.read(str(folder), 'dog_train').records] == ['a', 'b', 'c']


@pytest.mark.parametrize('names, lines, read', [
    (['IMG 0', 'IMG 1', 'IMG 2'], 'IMG 1\nIMG 0\nIMG 2\n', ['IMG 1', 'IMG 0', 'IMG 2']),
    (['IMG 0', 'IMG 1', 'IMG -1'], 'IMG 0\nIMG 1\nIMG -1\n', ['IMG 0', 'IMG 1', 'IMG -1']),
    (['IMG', 'IMG 1'], 'IMG 1\n', ['IMG 1']),
    (['IMG 0', 'IMG 1'], 'IMG 0  1\nIMG 1 -1\n', ['IMG 0', 'IMG 1']),
    (['a', 'b'], 'a  1\nb -1\nnone  0\n', ['a', 'b']),
    (['a', 'b'], 'a\nb 1\n', ['a'])])        # b 1 is missing: not every line has a mark, so it is a name
def test_a_name_that_ends_like_a_mark(tmp_path, names, lines, read):
    folder = write_voc(tmp_path, {name: annotation() for name in names})
    (folder / 'ImageSets/Main/train.txt').write_text(lines)
    assert [record.image_id for record in voc.read(str(folder), 'train').records] == read


@pytest.mark.parametrize('line', [
    'a.jpg', 'a.JPG', 'a.xml', 'JPEGImages/a.jpg', '/home/me/VOC/JPEGImages/a.jpg', r'C:\VOC\JPEGImages\a.jpg',
    r'JPEGImages\a', './a', '"a"'])
def test_names_with_ending_or_folder(tmp_path, line):
    folder = write_voc(tmp_path, {'a': annotation(), 'b.c': annotation()})
    (folder / 'ImageSets/Main/train.txt').write_text(f'{line}\nb.c\n')
    dataset = voc.read(str(folder), 'train', strict=True)
    assert [record.image_id for record in dataset.records] == ['a', 'b.c']
    note, = dataset.notes
    assert f'1 names with an ending or folder, such as {line!r}: read as a' in note


def test_images_in_subfolders(tmp_path):
    folder = write_voc(tmp_path, {'a': annotation()})
    for name in ('JPEGImages/day/a.jpg', 'Annotations/day/a.XML'):
        (folder / name).parent.mkdir()
        (folder / name).write_text(annotation(thing(1, 1, 5, 5)))
    (folder / 'ImageSets/Main/train.txt').write_text('a\nday/a\nday/a.jpg\n')
    dataset = voc.read(str(folder), 'train')
    assert [(record.image_id, len(record.boxes)) for record in dataset.records] == [('a', 0), ('day/a', 1)]
    assert dataset.records[1].image_path == f'{folder}/JPEGImages/day/a.jpg' and len(dataset.problems) == 1


def test_endings_in_upper_case(tmp_path):
    folder = write_voc(tmp_path, {'a': annotation(thing(1, 1, 5, 5)), 'b': annotation()}, image='{}.JPG')
    (folder / 'Annotations/a.xml').rename(folder / 'Annotations/a.XML')
    dataset = voc.read(str(folder), 'train', strict=True)
    assert dataset.records[0].annotation_file == f'{folder}/Annotations/a.XML' and len(dataset.records) == 2


def test_an_image_in_a_format_that_is_not_read_is_named(tmp_path):
    folder = write_voc(tmp_path, {'a': annotation(), 'b': annotation()})
    (folder / 'JPEGImages/b.jpg').rename(folder / 'JPEGImages/b.heic')
    problem, = voc.read(str(folder), 'train').problems
    assert 'b.heic is there, which is not read: convert it to JPEG or PNG' in problem


CODED = '<?xml version="1.0" encoding="{}"?>\n<annotation><path>/家/a.jpg</path>{}{}</annotation>'


@pytest.mark.parametrize('coding, declared', [
    ('gbk', 'GBK'), ('gb2312', 'gb2312'), ('gb18030', 'GB18030'), ('cp932', 'Shift_JIS'), ('utf-16', 'utf-16'),
    ('utf-16-le', 'utf-16'), ('utf-8-sig', 'utf-8'), ('utf-8', 'gbk'), ('utf-8', 'utf-16'), ('utf-8', 'UTF-8')])
def test_codings(tmp_path, coding, declared):
    record, problems = read_one(tmp_path, CODED.format(declared, SIZE, thing(1, 1, 9, 9, '家')).encode(coding))
    assert record.boxes.tolist() == [[0, 0, 9, 9]] and not problems
    dataset = voc.read(str(tmp_path / 'set'), 'train')
    assert dataset.class_names == ['dog', '家']


@pytest.mark.parametrize('declared', ['', '<?xml version="1.0" encoding="utf-8"?>'])
def test_only_class_names_must_be_text(tmp_path, declared):
    xml = f'{declared}<annotation><folder>鱼\\</folder>{SIZE}{thing(1, 1, 9, 9)}</annotation>'
    record, problems = read_one(tmp_path, xml.encode('gbk'))
    assert record.boxes.tolist() == [[0, 0, 9, 9]] and not problems


def test_a_class_name_on_two_lines(tmp_path):
    read_one(tmp_path, annotation(thing(1, 1, 9, 9, 'traffic\nlight')))
    assert voc.read(str(tmp_path / 'set'), 'train').class_names == ['dog', 'traffic light']


def test_lists_directly_in_imagesets(tmp_path):
    folder = write_voc(tmp_path, {'a': annotation()})
    (folder / 'ImageSets/Main/train.txt').rename(folder / 'ImageSets/mine.txt')
    assert len(voc.read(str(folder), 'mine').records) == 1


@pytest.fixture
def devkit(tmp_path):
    folder = tmp_path / 'VOCdevkit'
    for year, splits in (('2007', ('trainval', 'test')), ('2012', ('trainval', 'val'))):
        for split in splits:
            write_voc(folder / f'VOC{year}', {f'{year}_{split}': annotation()}, split)
    return folder


@pytest.mark.parametrize('splits, ids', [
    ('2007_trainval+2012_trainval', ['2007_trainval', '2012_trainval']), ('test', ['2007_test']),
    ('val+2007_test', ['2012_val', '2007_test'])])
def test_splits_of_a_devkit(devkit, splits, ids):
    assert [record.image_id for record in voc.read(str(devkit), splits).records] == ids


@pytest.mark.parametrize('splits, message', [
    ('train', "no split 'train'; there are 2012_val, 2007_test, 2007_trainval, 2012_trainval"),
    ('2007_val', "no split '2007_val'; there are"),
    ('../x', 'no split'),
    ('test+', 'expected the name of a split; there are'),
    ('trainval', 'several years have the split .trainval.; name one of 2007_trainval, 2012_trainval'),
])
def test_a_split_that_is_not_there_lists_those_that_are(devkit, splits, message):
    with pytest.raises(InputError, match=message):
        voc.read(str(devkit), splits)


def test_empty_or_useless_splits_and_folders(devkit, tmp_path):
    empty = devkit / 'VOC2012/ImageSets/Main/val.txt'
    empty.write_text('\n\r\n')
    with pytest.raises(InputError, match='val.txt: the split is empty'):
        voc.read(str(devkit), 'val')
    empty.write_text('missing\n')
    with pytest.raises(InputError, match='no usable image in val; the first: .*val.txt:1: no image'):
        voc.read(str(devkit), 'val')
    with pytest.raises(InputError, match='no such folder'):
        voc.read(str(tmp_path / 'none'), 'train')
    (tmp_path / 'photos').mkdir()
    (tmp_path / 'photos/x.jpg').touch()
    with pytest.raises(InputError, match='expected VOC2007.*it holds x.jpg'):
        voc.read(str(tmp_path / 'photos'), 'train')


def test_paper_splits_where_present_else_the_nearest(devkit, tmp_path):
    assert voc.training_splits(str(devkit)) == ('2007_trainval+2012_trainval', '2007_test')
    plain = write_voc(write_voc(tmp_path / 'plain', {'a': annotation()}), {'b': annotation()}, 'val')
    assert voc.training_splits(str(plain)) == ('train', 'val')
    alone = write_voc(tmp_path / 'alone', {'a': annotation()})
    with pytest.raises(InputError, match='expected the splits train and val.*there are train'):
        voc.training_splits(str(alone))


def test_annotation_text_and_back(tmp_path):
    path = pathlib.Path(tmp_path / 'a.xml')
    objects = [('a & b', (0, 10, 30.25, 40), False), ('<c>', (99, 0, 100, 50), True)]
    path.write_text(voc_xml.serialize('a.jpg', 100, 50, objects))
    parsed = voc_xml.parse(path)
    assert (parsed.width, parsed.height) == (100, 50)
    assert [(item.name, voc_xml.to_exclusive(item.corners), item.difficult)
            for item in parsed.objects] == objects
