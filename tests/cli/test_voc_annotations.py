"""The command that turns a VOCdevkit into checked lists, run as its users run it."""
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

from yolov3_tf.data.readers import class_files, lists, voc

ROOT = pathlib.Path(__file__).resolve().parents[2]
XML = ('<annotation>{}\n<object><name>dog</name><difficult>{}</difficult>\n<bndbox>'
       '<xmin>{}</xmin><ymin>3</ymin><xmax>20</xmax><ymax>30</ymax></bndbox></object></annotation>')
SIZE = '<size><width>40</width><height>30</height></size>'


def run(*flags):
    return subprocess.run([sys.executable, '-m', 'voc_annotations', *flags], cwd=ROOT, capture_output=True,
                          text=True)


def add(folder, split, stem, xml):
    for name in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f'JPEGImages/{stem}.jpg'), np.zeros((30, 40, 3), np.uint8))
    (folder / f'Annotations/{stem}.xml').write_text(xml)
    with open(folder / f'ImageSets/Main/{split}.txt', 'a') as file:
        file.write(f'{stem}\n')


@pytest.fixture
def devkit(tmp_path):
    folder = tmp_path / 'VOCdevkit'
    add(folder / 'VOC2007', 'trainval', '000001', XML.format(SIZE, 0, 11))
    add(folder / 'VOC2012', 'trainval', '2012_1', XML.format(SIZE, 1, 11))
    add(folder / 'VOC2007', 'test', '000002', XML.format('', 0, 1))
    add(folder / 'VOC2007', 'test', '000003', XML.format(SIZE, 0, 20))
    return folder


def test_the_class_file_has_the_twenty_classes():
    assert class_files.read_class_file(ROOT / 'voc_annotations/voc.names') == list(class_files.VOC_CLASSES)


def test_paper_splits_by_name(devkit, tmp_path):
    before = {path: path.read_bytes() for path in devkit.rglob('*') if path.is_file()}
    result = run(f'--voc={devkit}', f'--output={tmp_path}/lists')
    assert result.returncode == 0, result.stderr
    out = tmp_path / 'lists'
    assert (out / 'train.txt').read_text() == (
        '0 ../VOCdevkit/VOC2007/JPEGImages/000001.jpg 40 30 11 10 2 20 30\n'
        '1 ../VOCdevkit/VOC2012/JPEGImages/2012_1.jpg 40 30\n')
    # The first has no size in its annotation, so the image's is written; the second's box has no width.
    assert (out / 'test.txt').read_text() == (
        '0 ../VOCdevkit/VOC2007/JPEGImages/000002.jpg 40 30 11 0 2 20 30\n'
        '1 ../VOCdevkit/VOC2007/JPEGImages/000003.jpg 40 30\n')
    assert class_files.read_class_file(out / 'classes.names') == list(class_files.VOC_CLASSES)
    location = f'{devkit}/VOC2007/Annotations/000003.xml:2'
    assert f"{location}: object 'dog': box (20, 3, 20, 30) has no area; object dropped" in result.stdout
    assert '2 images, 1 boxes: dog 1; 1 difficult left out' in result.stdout
    assert result.stdout.endswith('1 problems\n')
    assert {path: path.read_bytes() for path in devkit.rglob('*') if path.is_file()} == before


def test_lists_that_are_there_are_not_replaced_unasked(devkit, tmp_path):
    (tmp_path / 'lists').mkdir()
    (tmp_path / 'lists/test.txt').write_text('mine')
    result = run(f'--voc={devkit}', f'--output={tmp_path}/lists')
    assert result.returncode == 2 and 'test.txt exists: choose another name' in result.stderr
    assert [path.name for path in (tmp_path / 'lists').iterdir()] == ['test.txt']
    assert run(f'--voc={devkit}', f'--output={tmp_path}/lists', '--overwrite').returncode == 0
    assert (tmp_path / 'lists/test.txt').read_text() != 'mine'


def test_difficult_may_be_kept(devkit, tmp_path):
    run(f'--voc={devkit}', f'--output={tmp_path}', '--splits=mine=2012_trainval', '--difficult')
    assert (tmp_path / 'mine.txt').read_text().endswith(' 40 30 11 10 2 20 30\n')


def test_strict_writes_nothing_where_there_is_a_problem(devkit, tmp_path):
    result = run(f'--voc={devkit}', f'--output={tmp_path}/lists', '--strict')
    assert result.returncode == 1 and '000003.xml' in result.stdout and '1 problems' in result.stderr
    assert not (tmp_path / 'lists').exists()
    assert run(f'--voc={devkit}', f'--output={tmp_path}/lists', '--strict', '--splits=train').returncode == 0


@pytest.mark.parametrize('flags, message', [
    (['--splits=2007_val'], "no split '2007_val'; there are 2007_test"), (['--output='], 'expected --output=DIR'),
    (['--output={devkit}/VOC2007/ImageSets/Main'], 'whose files never change'),
    (['--splits=../x=test'], 'expected NAME=SPLIT'), (['--splits=a=test,a=test'], 'each NAME once'),
    (['--voc=nowhere'], 'nowhere: no such folder'), (['--classes=nowhere'], 'nowhere: cannot be read'),
])
def test_bad_flags_are_one_line(devkit, tmp_path, flags, message):
    result = run(f'--voc={devkit}', f'--output={tmp_path}/lists', '--splits=test', *(
        flag.format(devkit=devkit) for flag in flags))
    assert result.returncode == 2 and result.stderr.startswith('error: ') and message in result.stderr
    assert result.stderr.count('\n') == 1 and not (tmp_path / 'lists').exists()


def test_real_folder_reads_back_equal(shared_data, tmp_path):
    result = run(f'--voc={shared_data}/bccd/BCCD', f'--output={tmp_path}', '--splits=trainval,test')
    assert result.returncode == 0
    assert result.stdout.count('has no area; object dropped') == 2
    dataset = lists.read(str(tmp_path / 'trainval.txt'))
    direct = voc.read(f'{shared_data}/bccd/BCCD', 'trainval')
    assert dataset.class_names == direct.class_names == ['Platelets', 'RBC', 'WBC'] and not dataset.problems
    for listed, annotated in zip(dataset.records, direct.records):
        np.testing.assert_array_equal(listed.boxes, annotated.boxes)
