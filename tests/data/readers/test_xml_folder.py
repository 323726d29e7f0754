"""VOC XML without lists: which image an annotation belongs to."""
import pytest
from fixtures import labelled_folders as made
from fixtures.labelled_folders import write_image, write_text

from yolov3_tf.data.readers import specs, xml_folder
from yolov3_tf.errors import InputError


def images_of(folder, files):
    """{xml: image} of the pairs that are found, and the problems; names of files, .xml with its <filename>."""
    for number, (name, file_name) in enumerate(files.items()):
        if name.lower().endswith('.xml'):
            write_text(folder, name, made.xml_of(number, file_name))
        else:
            write_image(folder, name, number)
    dataset = xml_folder.read(str(folder))
    pairs = {record.annotation_file: record.image_path for record in dataset.records}
    return {str(one).replace(f'{folder}/', ''): str(other).replace(f'{folder}/', '') for one, other in pairs.items()
            }, [problem.replace(f'{folder}/', '') for problem in dataset.problems]


@pytest.mark.parametrize('files, expected', [
    ({'a.xml': 'b.jpg', 'a.jpg': '', 'b.jpg': ''}, {'a.xml': 'a.jpg'}),               # the stem goes before <filename>
    ({'1.xml': 'x/b.jpg', 'b.jpg': ''}, {'1.xml': 'b.jpg'}),
    ({'1.xml': 'B.JPG', 'img/b.jpg': ''}, {'1.xml': 'img/b.jpg'}),
    ({'1.xml': 'b &amp; c.jpg', 'b & c.jpg': ''}, {'1.xml': 'b & c.jpg'}),
    ({'a.jpg.xml': '', 'a.jpg': ''}, {'a.jpg.xml': 'a.jpg'}),
    ({'A.XML': '', 'a.JPG': ''}, {'A.XML': 'a.JPG'}),
    ({'xml/a.xml': '', 'x/a.png': '', 'x/a.jpg': ''}, {'xml/a.xml': 'x/a.jpg'}),        # the preferred ending
    ({'ann/day/a.xml': '', 'img/day/a.jpg': '', 'img/night/a.jpg': ''}, {'ann/day/a.xml': 'img/day/a.jpg'}),
    ({'t/xml/a.xml': '', 't/img/a.jpg': '', 'v/xml/a.xml': '', 'v/img/a.jpg': ''},
     {'t/xml/a.xml': 't/img/a.jpg', 'v/xml/a.xml': 'v/img/a.jpg'}),
])
def test_the_image_of_an_annotation(tmp_path, files, expected):
    assert images_of(tmp_path, files)[0] == expected


def test_what_cannot_be_paired_is_named(tmp_path):
    pairs, problems = images_of(tmp_path, {
        'a.xml': '', 'a.jpg': '', 'lost.xml': 'c:\\lost2.jpg', 'old/a.xml': '', 'm.xml': '', 'x/m.jpg': '',
        'y/m.jpg': '', 'alone.png': '', 'broken.jpg': ''})
    assert pairs == {'a.xml': 'a.jpg'}
    write_text(tmp_path, 'broken.xml', '<annotation>')
    dataset = xml_folder.read(str(tmp_path))
    for words in ('lost.xml: no image lost or lost2.jpg', 'old/a.xml: ', 'm.xml: several images may belong to it',
                  'broken.xml:1: not well-formed'):
        assert sum(words in problem for problem in dataset.problems) == 1, words
    assert '3 of 5 images have no annotation file' in dataset.notes[0] and len(problems) == 3
    with pytest.raises(InputError, match='--strict'):
        xml_folder.read(str(tmp_path), strict=True)


def test_images_without_annotation_are_left_out_also_under_strict(tmp_path):
    made.images(tmp_path, '{}.jpg', range(6))
    made.texts(tmp_path, '{}.xml', range(2), made.xml_of)
    assert len(specs.load(f'xml:{tmp_path}', strict=True).records) == 2
    dataset = specs.load(f'xml:{tmp_path}')
    assert len(dataset.records) == 2
    assert dataset.problems == [] and dataset.notes == [
        f'4 of 6 images have no annotation file: {tmp_path}/2.jpg, {tmp_path}/3.jpg, {tmp_path}/4.jpg and 1 more; '
        'left out']


def test_two_folders_and_a_colon_in_a_name(tmp_path):
    made.images(tmp_path, 'a:b/{}.jpg', [0])
    made.texts(tmp_path, 'x/{}.xml', [0], made.xml_of)
    made.texts(tmp_path, 'a:b/{}.xml', [0], made.xml_of)
    assert len(specs.load(f'xml:{tmp_path}/a:b').records) == 1
    (tmp_path / 'a:b').rename(tmp_path / 'c')
    assert len(specs.load(f'xml:{tmp_path}/x:{tmp_path}/c').records) == 1
    with pytest.raises(InputError, match='no such folder'):
        specs.load(f'xml:{tmp_path}/x:{tmp_path}/none/..:')
