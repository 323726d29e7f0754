"""What a run was made with: complete, free of names of people and machines, and a hash that only content changes."""
import getpass
import json
import platform

import numpy as np
import pytest
from fixtures import small_report

from yolov3_tf.run_report import lock


@pytest.fixture
def dataset(tmp_path):
    return small_report.dataset(tmp_path / 'images')


def test_the_file_holds_versions_machine_data_and_hashes(dataset, tmp_path):
    content = small_report.made_with(tmp_path, dataset)
    path = lock.write(tmp_path, content)
    assert path.name == 'run.lock.json' and lock.read(tmp_path) == json.loads(path.read_text())
    assert content['packages']['numpy'] == np.__version__ and 'yolov3_tf' in content['packages']
    assert content['machine']['python'] == platform.python_version() and content['machine']['cores'] >= 1
    # printf weights | sha256sum
    assert content['network']['sha256'] == '9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c'
    data = content['data']['train']
    assert (data['images'], data['objects'], data['problems']) == (12, 24, 1)
    assert data['classes']['bee'] == {'objects': 18, 'images': 12}
    assert data['classes']['cow'] == {'objects': 0, 'images': 0}
    assert platform.node() not in json.dumps(content['machine']) and content['settings']['seed'] == '3'


def test_sizes_of_boxes_in_the_network_input(dataset):
    """80 x 60 in 64 x 64: 0.8 times; shorter sides 25 and 30 become 20 and 24; in 16 x 16 they are 5 and 6."""
    assert lock.box_sizes(dataset, lock.Network((64, 64), True, 1)) == {'small_boxes': 0, 'median_side': 22}
    assert lock.box_sizes(dataset, lock.Network((16, 16), True, 1))['small_boxes'] == 1
    assert lock.box_sizes(dataset._replace(records=[]), lock.Network((64, 64), True, 1)) == {}


def test_the_hash_changes_with_content_and_not_with_the_order_or_the_folder(dataset, tmp_path):
    before = lock.hash_of(dataset)
    assert lock.hash_of(dataset._replace(records=dataset.records[::-1])) == before
    moved = small_report.dataset(tmp_path / 'elsewhere')
    assert lock.hash_of(moved) == before
    first, *others = dataset.records
    for change in (dict(boxes=first.boxes + 1), dict(classes=1 - first.classes), dict(difficult=~first.difficult),
                   dict(image_id='x'), dict(boxes=first.boxes[:1], classes=first.classes[:1])):
        assert lock.hash_of(dataset._replace(records=[first._replace(**change), *others])) != before
    with open(others[0].image_path, 'ab') as file:
        file.write(b'more')
    assert lock.hash_of(dataset) != before
    assert lock.hash_of(dataset._replace(class_names=['a', 'b', 'c'])) != before


@pytest.mark.parametrize('text', [None, '', '[]', '{"format": 99}'])
def test_a_missing_or_foreign_file_is_empty(tmp_path, text):
    if text is not None:
        (tmp_path / lock.NAME).write_text(text)
    assert lock.read(tmp_path) == {}


def test_no_user_is_named(dataset, tmp_path):
    content = small_report.made_with(tmp_path, dataset)
    assert getpass.getuser() not in json.dumps([content['machine'], content['network']])
