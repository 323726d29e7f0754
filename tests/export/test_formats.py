"""Each file format against the Keras model that it was written from, opened as ``detect.py`` opens it."""
import sys
import zipfile

import cv2
import numpy as np
import pytest
import tensorflow as tf
from fixtures.lively_network import NAMES, SETTINGS, describe, lively_model

from yolov3_tf import boxes, export
from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.errors import InputError
from yolov3_tf.export import darknet, formats, tflite
from yolov3_tf.inference import detector
from yolov3_tf.models import checkpoints, yolov3_network


@pytest.fixture(scope='module')
def images():
    """Encoded files of different sizes with soft spots, one of them grey."""
    random = np.random.RandomState(1)
    files = []
    for (height, width), suffix, grey in (((40, 90), '.png', False), ((70, 33), '.png', False),
                                          ((64, 64), '.bmp', False), ((50, 60), '.png', True)):
        image = cv2.resize(random.randint(0, 256, [5, 6, 3]).astype(np.uint8), (width, height),
                           interpolation=cv2.INTER_CUBIC)
        files.append(cv2.imencode(suffix, image[..., 0] if grey else image)[1].tobytes())
    return files


@pytest.fixture(scope='module')
def model():
    return lively_model()


@pytest.fixture(scope='module')
def expected(model, images):
    found = detector.Detector(export.Server(model, describe(), SETTINGS), NAMES, SETTINGS).detect(images)
    assert all(10 < len(one.scores) < 250 for one in found), [len(one.scores) for one in found]
    return found


def written(model, name, path, **options):
    formats.write(name, path, model, describe(), formats.Options(SETTINGS, **options))
    return detector.load(path)


def assert_alike(found, expected, pixels, score):
    """Asserts the same detections, except one in fifty: where two overlap by about the threshold, rounding decides."""
    for one, other in zip(found, expected):
        assert abs(len(one.scores) - len(other.scores)) <= .02 * len(other.scores)
        apart = np.abs(one.boxes[:, None] - other.boxes[None]).max(-1)
        same = (apart < pixels) & (one.classes[:, None] == other.classes[None]) & (
            np.abs(one.scores[:, None] - other.scores[None]) < score)
        assert same.any(0).mean() >= .98 and same.any(1).mean() >= .98


@pytest.fixture(scope='module', params=['tflite', 'onnx', 'darknet', 'saved_model'])
def opened(request, model, tmp_path_factory):
    if request.param == 'onnx':
        pytest.importorskip('tf2onnx')
        pytest.importorskip('onnxruntime')
    return written(model, request.param, tmp_path_factory.mktemp('out') / f'net{formats.FORMATS[request.param].suffix}')


def test_each_format_finds_what_the_keras_model_finds(opened, expected, images):
    assert opened.class_names == NAMES and opened.settings == SETTINGS
    assert_alike(opened.detect(images), expected, .05, 1e-4)


@pytest.mark.parametrize('batch', [1, 3])
def test_each_format_takes_batches_and_arrays(opened, expected, images, batch):
    arrays = [tf.io.decode_image(data, 3, expand_animations=False).numpy() for data in images[:batch]]
    assert_alike(opened.detect(arrays), expected, .05, 1e-4)


def test_a_broken_image_is_named_in_each_format(opened, expected, images):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'images\[1\] of 2: a damaged or cut off PNG'):
        opened._server.encoded(tf.constant([images[0], images[1][:60]]))
    assert_alike(opened.detect(images), expected, .05, 1e-4)


def kept(found, expected, overlap, score):
    """Which of the expected detections that score .02 above the threshold have a partner of their class."""
    return [bool(((boxes.iou(one.boxes, box[None]).numpy() > overlap) & (one.classes == class_id)
                  & (abs(one.scores - value) < score)).any())
            for one, other in zip(found, expected)
            for box, value, class_id in zip(other.boxes, other.scores, other.classes)
            if value > SETTINGS.suppression.score_threshold + .02]


def test_float16_keeps_the_clear_detections(model, expected, images, tmp_path):
    found = written(model, 'tflite', tmp_path / 'half.tflite', tflite_type='float16')
    same = kept(found.detect(images), expected, .8, 5e-3)
    assert len(same) > 40 and np.mean(same) > .9


def test_int8_keeps_most_clear_detections(model, expected, images, tmp_path):
    """Calibrated on the same images: seven of ten boxes, which have a size of a pixel or two, at IoU .5, scores within
    .1."""
    arrays = [tf.io.decode_image(data, 3, expand_animations=False).numpy() for data in images]
    found = written(model, 'tflite', tmp_path / 'whole.tflite', tflite_type='int8', calibration=arrays)
    same = kept(found.detect(images), expected, .5, .1)
    assert len(same) > 40 and np.mean(same) > .7
    types = [tensor['dtype'] for tensor in tflite._interpreter(model_path=str(tmp_path / 'whole.tflite'))
             .get_tensor_details()]
    assert types[0] == np.uint8 and types.count(np.int8) > 30


def test_class_names_are_stored_with_each_file(model, tmp_path):
    formats.write('tflite', tmp_path / 'a.tflite', model, describe(), formats.Options(SETTINGS))
    with zipfile.ZipFile(tmp_path / 'a.tflite') as archive:
        assert archive.read('labels.txt') == b'a\nb\nc\nd\ne\nf\ng\n'
    formats.write('darknet', tmp_path / 'a.weights', model, describe(), formats.Options(SETTINGS))
    assert (tmp_path / 'a.names').read_text() == 'a\nb\nc\nd\ne\nf\ng\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.cfg', 'a.json', 'a.names', 'a.tflite', 'a.weights']


def test_a_file_is_not_replaced_without_overwrite(model, tmp_path):
    (tmp_path / 'a.names').write_text('mine')
    with pytest.raises(InputError, match='a.names exists'):
        formats.write('darknet', tmp_path / 'a.weights', model, describe(), formats.Options(SETTINGS))
    assert [path.name for path in tmp_path.iterdir()] == ['a.names'] and (tmp_path / 'a.names').read_text() == 'mine'


@pytest.mark.parametrize('name, path, change, options, message', [
    ('onyx', 'a.onnx', {}, {}, "unknown format 'onyx'"),
    ('onnx', 'a.tflite', {}, {}, 'name ending in .onnx'),
    ('onnx', 'a.onnx', {'precision': 'bfloat16'}, {}, 'float32'),
    ('tflite', 'a.tflite', {'precision': 'bfloat16'}, {}, 'float16 or int8'),
    ('tflite', 'a.tflite', {'nms': 'diou'}, {}, 'export a SavedModel'),
    ('tflite', 'a.tflite', {}, {'tflite_type': 'int4'}, 'unknown number type'),
    ('tflite', 'a.tflite', {}, {'tflite_type': 'int8'}, 'calibration_data'),
    ('darknet', 'a.weights', {'class_offset': 2}, {}, 'expected 0 or 1')])
def test_a_setting_that_a_format_does_not_support_is_refused(model, tmp_path, name, path, change, options, message):
    with pytest.raises(InputError, match=message):
        formats.write(name, tmp_path / path, model, describe(),
                      formats.Options(export.Settings.from_flat({**SETTINGS.flat(), **change}), **options))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('package', ['tf2onnx', 'onnxruntime'])
def test_a_missing_package_is_named_with_the_command_to_install_it(model, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)                 # importing it raises ImportError
    with pytest.raises(InputError, match=rf"pip install 'yolov3_tf\[onnx\]', or {package} alone"):
        if package == 'tf2onnx':
            pytest.importorskip('onnx')
            formats.write('onnx', tmp_path / 'a.onnx', model, describe(), formats.Options(SETTINGS))
        else:
            detector.load(tmp_path / 'a.onnx')


@pytest.mark.parametrize('name, content, message', [
    ('a.tflite', None, 'no model at'), ('a.tflite', b'TFL3 and no archive', 'expected a TensorFlow Lite model'),
    ('a.onnx', b'no protobuf', 'cannot open it'), ('a.weights', b'\0' * 40, 'convert_darknet_weights.py')])
def test_files_of_other_programs_are_refused_by_name(tmp_path, name, content, message):
    if name == 'a.onnx':
        pytest.importorskip('onnxruntime')
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as raised:
        detector.load(tmp_path / name)
    assert name in str(raised.value)


def test_an_archive_that_unpacks_to_too_much_is_not_read(tmp_path):
    with zipfile.ZipFile(tmp_path / 'a.tflite', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('labels.txt', '\0' * 5_000_000)
    with pytest.raises(InputError, match='a.tflite: its archive unpacks to more than 4,000,000 bytes'):
        detector.load(tmp_path / 'a.tflite')


def test_the_hand_written_network_is_exported_to_darknet_with_a_cfg(tmp_path):
    """The outputs are the same, although darknet adds 1e-6 to variances and the hand-written network 1e-5."""
    anchors = YOLOV3_ANCHORS._replace(sensitivity=(1.2, 1.1, 1.05))
    config = checkpoints.ModelConfig(('ant', 'bee'), .125, (64, 96), False, anchors)
    tf.keras.utils.set_random_seed(2)           # a seed whose outputs differ enough to compare them
    model = checkpoints.build(config)
    for _, norm in yolov3_network.convolutions(model):
        if norm is not None:
            norm.moving_variance.assign(norm.moving_variance * 1e-4)        # so small that the epsilon matters
            norm.gamma.assign(norm.gamma * 1e-2)
    formats.write('darknet', tmp_path / 'a.weights', model, config, formats.Options())
    read, read_config, _ = darknet.load(str(tmp_path / 'a.weights'))
    assert read_config.anchors == anchors and read_config.image_size == (64, 96) and read_config.letterbox is False
    images = np.random.RandomState(0).uniform(size=[1, 64, 96, 3]).astype(np.float32)
    expected = model(images, training=False).numpy()
    assert expected.std() > .01
    np.testing.assert_allclose(read(images, training=False), expected, atol=1e-4 * np.abs(expected).max())
