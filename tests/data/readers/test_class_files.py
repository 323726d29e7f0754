"""Class names: published lists, class files, and the rule that finds them."""
import subprocess
import sys

import pytest

from yolov3_tf.data.readers import class_files
from yolov3_tf.errors import InputError


def test_published_lists_equal_the_files_published_with_darknet(shared_data):
    for names, file_name in ((class_files.VOC_CLASSES, 'voc.names'), (class_files.COCO_CLASSES, 'coco.names')):
        # darknet writes COCO's names in VOC's spelling where both have the class
        darknet = {'motorbike': 'motorcycle', 'aeroplane': 'airplane', 'sofa': 'couch', 'tvmonitor': 'tv',
                   'pottedplant': 'potted plant', 'diningtable': 'dining table'}
        published = (shared_data / 'darknet' / file_name).read_text().split('\n')[:len(names)]
        if file_name == 'coco.names':
            published = [darknet.get(name, name) for name in published]
        assert list(names) == published


def test_blank_lines_carriage_returns_and_blanks_are_no_classes(tmp_path):
    path = tmp_path / 'a.names'
    path.write_bytes(b'\xef\xbb\xbfdog\r\n\r\n  traffic light \t\n\r\n\ncat\r\n\r\n')
    assert class_files.read_class_file(path) == ['dog', 'traffic light', 'cat']


def test_old_macintosh_line_ends(tmp_path):
    path = tmp_path / 'a.names'
    path.write_bytes(b'dog\rcat\r')
    assert class_files.read_class_file(path) == ['dog', 'cat']


@pytest.mark.parametrize('content, message', [
    (b'dog\ncat\n\ndog\n', ":4: class 'dog' repeats line 1"),
    (b'\r\n \n', 'no class names'),
    (b'dog\n\xff\xfe\x00\n', ':2: expected UTF-8'),
])
def test_a_bad_class_file_is_named_with_its_line(tmp_path, content, message):
    path = tmp_path / 'a.names'
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        class_files.read_class_file(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_class_file_is_named(tmp_path):
    with pytest.raises(InputError, match='none.names: cannot be read'):
        class_files.read_class_file(tmp_path / 'none.names')


@pytest.mark.parametrize('found, given, expected', [
    (['dog', 'cat'], None, list(class_files.VOC_CLASSES)),
    (['dog', 'WBC'], None, ['WBC', 'dog']),
    (['dog'], ['cat', 'dog'], ['cat', 'dog']),
    ([], None, list(class_files.VOC_CLASSES)),
])
def test_rule_given_else_voc_else_found(found, given, expected):
    assert class_files.resolve_classes(dict.fromkeys(found, 'f:1'), given) == expected


def test_an_unknown_class_is_reported_with_file_line_and_the_nearest_name():
    message = r"^a.xml:7: unknown class 'Dog' \(did you mean 'dog'\?\): expected one of dog, cat;.*--classes"
    with pytest.raises(InputError, match=message):
        class_files.resolve_classes({'cat': 'a.xml:1', 'Dog': 'a.xml:7'}, ['dog', 'cat'])


def test_readers_start_without_tensorflow():
    code = 'import sys, yolov3_tf.data.readers.specs; sys.exit("tensorflow" in sys.modules)'
    assert subprocess.run([sys.executable, '-c', code]).returncode == 0
