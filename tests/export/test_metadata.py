"""model.json: flat keys that are read back as written, also where an older export lacks some."""
import json

import pytest

from yolov3_tf import export
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation.operating_points import OperatingPoint, OperatingPoints
from yolov3_tf.export import metadata
from yolov3_tf.models.checkpoints import ModelConfig

CONFIG = ModelConfig(('ant', 'bee'), 1., (96, 128), True)
SETTINGS = export.Settings(export.Suppression(.02, .6, 20, 50, 'soft', 70), 'bfloat16', 0)
# What version 0.1.0 wrote before there was a choice of suppression.
OLD = {'format': 1, 'labels': 'labels.txt', 'input_size': [64, 32], 'letterbox': False, 'anchors': {},
       'score_threshold': .1, 'iou_threshold': .5, 'max_per_class': 20, 'max_total': 50, 'precision': 'float32',
       'class_offset': 0, 'signatures': {}, 'outputs': {}}


def test_settings_are_flat_keys_and_are_read_back():
    texts = metadata.texts(CONFIG, SETTINGS, number_type='int8')
    written = json.loads(texts['model.json'])
    assert {name: written[name] for name in export.NAMES} == dict(
        score_threshold=.02, iou_threshold=.6, max_per_class=20, max_total=50, nms='soft', top_k=70,
        precision='bfloat16', class_offset=0)
    assert written['number_type'] == 'int8' and 'suppression' not in written
    assert metadata.read(texts, 'here') == metadata.Metadata(('ant', 'bee'), (96, 128), True, SETTINGS)


def test_the_operating_point_is_in_it_where_it_is_known():
    points = OperatingPoints(OperatingPoint(.37, .8, .9, .7), {'ant': OperatingPoint(.4, .5, .6, .4)})
    texts = metadata.texts(CONFIG, SETTINGS._replace(operating=points))
    assert json.loads(texts['model.json'])['operating_point'] == {
        'score': .37, 'f1': .8, 'precision': .9, 'recall': .7,
        'per_class': {'ant': {'score': .4, 'f1': .5, 'precision': .6, 'recall': .4}}}
    assert metadata.read(texts, 'here').settings == SETTINGS._replace(operating=points)
    assert 'operating_point' not in json.loads(metadata.texts(CONFIG, SETTINGS)['model.json'])
    damaged = dict(texts, **{'model.json': texts['model.json'].replace('"score": 0.37', '"score": "x"')})
    with pytest.raises(InputError, match='here: expected a model'):
        metadata.read(damaged, 'here')


def test_tiles_are_in_it_where_the_network_was_trained_for_them():
    texts = metadata.texts(CONFIG._replace(tiles='auto'), SETTINGS)
    assert json.loads(texts['model.json'])['tiles'] == 'auto' and metadata.read(texts, 'here').tiles == 'auto'
    assert 'tiles' not in json.loads(metadata.texts(CONFIG, SETTINGS)['model.json'])


def test_an_older_export_is_read_with_the_defaults_of_missing_settings():
    read = metadata.read({'model.json': json.dumps(OLD), 'labels.txt': 'ant\n'}, 'here')
    assert read == metadata.Metadata(('ant',), (64, 32), False, export.Settings(
        export.Suppression(.1, .5, 20, 50, 'per_class', None), 'float32', 0))


@pytest.mark.parametrize('text', ['', '[]', '{"labels": "labels.txt"}'])
def test_damaged_metadata_is_refused_with_the_name_of_the_file(text):
    with pytest.raises(InputError, match=r'here: expected a model of export_saved_model.py with model.json'):
        metadata.read({'model.json': text, 'labels.txt': 'ant\n'}, 'here')
