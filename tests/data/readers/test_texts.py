"""Codings of annotation files: by mark, by declaration, never by guess."""
import pytest

from yolov3_tf.data.readers import class_files, texts
from yolov3_tf.errors import InputError

TEXT = 'dog\n鱼\nétang\n'


@pytest.mark.parametrize('coding', ['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'utf-16-be', 'utf-32'])
def test_unicode_by_its_mark_or_its_zeros(coding):
    assert texts.decode(TEXT.encode(coding)) == TEXT
    assert texts.lines('a\r\nb\rc\n\u2028d'.encode(coding)) == ['a', 'b', 'c', '\u2028d']


@pytest.mark.parametrize('coding', ['gbk', 'GB2312', 'gb18030', 'cp936'])
def test_declared(coding):
    assert texts.decode('鱼 dog'.encode(coding), coding) == '鱼 dog'
    assert texts.decode(f'# -*- coding: {coding} -*-\n鱼'.encode(coding)).endswith('\n鱼')


@pytest.mark.parametrize('declared', [None, '', 'klingon', 'rot13', 'idna', 'unicode_escape', 'utf-8', 'utf-16', '\0',
                                      'base64', 'zip'])
def test_undeclared_is_refused_with_its_line(declared):
    with pytest.raises(texts.UnknownCoding, match='expected UTF-8 text.*iconv') as caught:
        texts.decode('dog\n鱼\n'.encode('gbk'), declared)
    assert caught.value.line == 2


def test_utf_8_that_declares_its_former_coding():
    assert texts.decode('鱼'.encode(), 'gbk') == '鱼'


def test_class_files_of_notepad(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_bytes('鱼\r\nnet\r\n'.encode('utf-16'))
    assert class_files.read_class_file(path) == ['鱼', 'net']
    path.write_bytes('net\r\n鱼\r\n'.encode('gbk'))
    with pytest.raises(InputError, match='classes.txt:2: expected UTF-8 text'):
        class_files.read_class_file(path)


def test_names_that_differ_only_in_case_or_blanks():
    assert class_files.alike(['fish', 'net', 'bus stop', 'cat2', 'cat 2', 'cat-1-2', 'cat-12', '1 2', '12']) == [
        "the class names 'cat2', 'cat 2' differ only in letter case or blanks and are 2 classes; if one is meant, "
        'correct the annotations']
    assert len(class_files.alike(['Fish', 'fish', 'bus stop', 'Bus_Stop', 'busstop', 'ﬁsh'])) == 2
    assert not class_files.alike(class_files.VOC_CLASSES) and not class_files.alike(class_files.COCO_CLASSES)
