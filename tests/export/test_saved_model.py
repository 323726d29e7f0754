"""The exported model against the modules it is made of, and in a TensorFlow process that imports none of them."""
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf import anchors, export, geometry, postprocess
from yolov3_tf.errors import InputError
from yolov3_tf.inference import detector
from yolov3_tf.models import checkpoints, yolov3_network
from yolov3_tf.models.darknet import cfg

HEIGHT, WIDTH = 96, 128                                         # not square, so that swapped sides fail
NAMES = ('ant', 'bee', 'wasp')
SILENT = -30.
SETTINGS = export.Settings(export.Suppression(score_threshold=.02, max_per_class=200, max_total=250))


# YOLOv3's levels and anchors on five convolutions, the coarsest level first as in its own cfg.
SECTIONS = ['[net]\nwidth=128\nheight=96'] + ['[convolutional]\nfilters=4\nsize=3\nstride=2\npad=1'] * 5
for back, mask in ((0, '6,7,8'), (4, '3,4,5'), (8, '0,1,2')):
    SECTIONS += [f'[route]\nlayers=-{back}'] * bool(back) + [
        '[convolutional]\nfilters=24\nsize=1\nstride=1\nactivation=linear',
        f'[yolo]\nmask={mask}\nnum=9\nclasses=3\n'
        'anchors=10,13, 16,30, 33,23, 30,61, 62,45, 59,119, 116,90, 156,198, 373,326']
OUTPUTS_ALONE = '\n'.join(SECTIONS)


def describe(letterbox=True):
    return checkpoints.ModelConfig(NAMES, .125, (HEIGHT, WIDTH), letterbox)


def lively_model(seed=3, head='coupled'):
    """A network with random weights and statistics; its detections, about a hundred an image, depend on the image."""
    tf.keras.utils.set_random_seed(seed)
    model = yolov3_network.build(3, .125, head=head)
    random = np.random.RandomState(seed)
    for conv, norm in yolov3_network.convolutions(model):
        if norm is not None:
            gamma, beta, mean, variance = norm.get_weights()
            norm.set_weights([random.uniform(.5, 1.5, gamma.shape), random.normal(0, .3, beta.shape),
                              random.normal(0, .3, mean.shape), random.uniform(.5, 1.5, variance.shape)])
        else:
            kernel, bias = conv.get_weights()
            bias = bias.reshape(3, -1)
            if bias.shape[1] != 4:                      # an output that holds more than boxes
                bias[:, -4] = -2.                       # objectness stands before the three classes
            conv.set_weights([kernel, bias.ravel()])
    return model


@pytest.fixture(scope='module')
def plant():
    """Returns a function that makes a server's outputs the same in every cell, and returns that server.

    The function takes the biases of the output convolutions, coarsest level first, [3][3][5 + C].
    """
    network = cfg.parse(OUTPUTS_ALONE)
    config = describe()._replace(width_multiplier=1., anchors=network.anchors, cfg=network.text,
                                 backbone_layers=network.backbone_layers)
    model = checkpoints.build(config)
    outputs = [conv for conv, norm in yolov3_network.convolutions(model) if conv.filters == 24]
    for level, conv in enumerate(outputs):
        kernel, bias = conv.get_weights()
        conv.set_weights([np.zeros_like(kernel), np.full_like(bias, level)])
    server = export.Server(model, config, SETTINGS._replace(class_offset=0))
    biases = [variable for variable in server.network_variables if variable.shape == [24]]
    biases.sort(key=lambda variable: float(variable[0]))
    assert [float(variable[0]) for variable in biases] == [0., 1., 2.]

    def with_biases(values):
        for variable, value in zip(biases, values):
            variable.assign(np.ravel(value))
        return server

    return with_biases


def silent():
    return np.full([3, 3, 8], SILENT, np.float32)


def varied_images(folder):
    """Bytes of a JPEG, a PNG and a grey JPEG of different sizes with large soft spots; only the last is square."""
    random = np.random.RandomState(0)
    files = []
    for name, (height, width), grey in (('a.jpg', (90, 150), False), ('b.png', (200, 101), False),
                                        ('c.jpg', (120, 120), True)):
        coarse = random.randint(0, 256, [6, 8] if grey else [6, 8, 3]).astype(np.uint8)
        image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / name), image)
        files.append((folder / name).read_bytes())
    return files


@pytest.fixture(scope='module')
def lively():
    return lively_model()


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    return varied_images(tmp_path_factory.mktemp('images'))


@pytest.fixture(scope='module')
def exported(lively, tmp_path_factory):
    return export.export(lively, describe(), tmp_path_factory.mktemp('models') / 'bugs', 3, SETTINGS)


@pytest.fixture(scope='module')
def loaded(exported):
    return tf.saved_model.load(exported)


def in_process(model, files, letterbox=True):
    """Each image by itself through the unfolded Keras model and its pre- and postprocessing -> outputs as exported."""
    rows = []
    for data in files:
        image = tf.io.decode_image(data, 3, expand_animations=False)
        height, width = image.shape[:2]
        placed, placement = geometry.place_image(image, HEIGHT, WIDTH, letterbox)
        outputs = model(tf.cast(placed[None], tf.float32) / 255., training=False)
        found = postprocess.detect(outputs, anchors.lay_out(anchors.YOLOV3_ANCHORS, HEIGHT, WIDTH),
                                   SETTINGS.suppression)
        placement = geometry.Placement(*[field[None] for field in placement])
        found = postprocess.undo_resize(found, placement, np.array([[height, width]]))
        count = int(found.count[0])
        rows.append((found.boxes[0, :count].numpy() / [width, height, width, height],
                     found.scores[0, :count].numpy(), found.classes[0, :count].numpy()))
    return rows


@pytest.fixture(scope='module')
def alone(lively, files):
    return in_process(lively, files)


def assert_same(rows, outputs, class_offset=1):
    outputs = {name: np.asarray(value) for name, value in outputs.items()}
    for i, (boxes, scores, classes) in enumerate(rows):
        count = int(outputs['num_detections'][i])
        assert count == len(scores) > 20
        np.testing.assert_allclose(outputs['detection_scores'][i, :count], scores, atol=2e-4)
        # Detections whose scores differ only by rounding may be in another order; compare them as sets.
        ours = np.c_[outputs['detection_classes'][i, :count] - class_offset,
                     outputs['detection_boxes'][i, :count][:, [1, 0, 3, 2]]]
        theirs = np.c_[classes, boxes]
        apart = np.abs(ours[:, None] - theirs[None]).max(-1)
        assert (apart.min(1) < 2e-3).all() and (apart.min(0) < 2e-3).all()


def test_exported_batch_of_mixed_images_equals_each_alone_in_process(alone, loaded, files):
    outputs = loaded.signatures['serving_default'](images=tf.constant(files))
    assert_same(alone, outputs)


def test_real_images_of_different_sizes_equal_in_process_too(lively, loaded, shared_data):
    photographs = [(shared_data / 'darknet' / name).read_bytes() for name in ('dog.jpg', 'person.jpg', 'eagle.jpg')]
    outputs = loaded.signatures['serving_default'](images=tf.constant(photographs))
    assert_same(in_process(lively, photographs), outputs)


def test_image_tensor_signature_equals_the_encoded_one(loaded, files):
    image = tf.io.decode_image(files[1], 3)
    one = loaded.signatures['serving_image_tensor'](images=tf.stack([image, image[:, ::-1]]))
    other = loaded.signatures['serving_default'](images=tf.constant(files[1:2]))
    for name, value in other.items():
        np.testing.assert_allclose(one[name][:1], value, rtol=1e-4, atol=1e-4)


def test_stretching_instead_of_letterboxing_is_exported_too(lively, files):
    server = export.Server(lively, describe(letterbox=False), SETTINGS)
    assert_same(in_process(lively, files, letterbox=False), server.encoded(tf.constant(files)))


def test_a_separated_head_is_served_too(files, tmp_path):
    """The detector loads it from a checkpoint, and folds, decodes and suppresses as for any head."""
    model = lively_model(head='separated')
    checkpoints.save_model(str(tmp_path / 'net.h5'), model, describe()._replace(head='separated'))
    found = detector.load(tmp_path / 'net.h5', SETTINGS).detect(files)
    for one, (_, scores, _) in zip(found, in_process(model, files)):
        assert len(scores) > 20
        np.testing.assert_allclose(one.scores, scores, atol=2e-4)


def test_signatures_names_dtypes_and_shapes(loaded):
    assert sorted(loaded.signatures) == ['serving_default', 'serving_image_tensor', 'serving_tf_example']
    for name, key, dtype, shape in (('serving_default', 'images', tf.string, [None]),
                                    ('serving_image_tensor', 'images', tf.uint8, [None, None, None, 3]),
                                    ('serving_tf_example', 'examples', tf.string, [None])):
        signature = loaded.signatures[name]
        (only,) = signature.structured_input_signature[1].values()
        assert (only.name, only.dtype, only.shape.as_list()) == (key, dtype, shape)
        outputs = signature.structured_outputs
        assert {key: (spec.dtype, spec.shape.as_list()) for key, spec in outputs.items()} == {
            'detection_boxes': (tf.float32, [None, 250, 4]), 'detection_scores': (tf.float32, [None, 250]),
            'detection_classes': (tf.float32, [None, 250]), 'num_detections': (tf.float32, [None])}


@pytest.mark.parametrize('batch', [1, 3])
def test_the_batch_is_always_the_first_dimension(loaded, files, batch):
    outputs = loaded.signatures['serving_default'](images=tf.constant(files[:batch]))
    assert {value.shape[0] for value in outputs.values()} == {batch}


def test_boxes_are_fractions_of_the_original_image(plant):
    """The boxes are known: 12 boxes of 16 x 24 network pixels around the centres of the cells of stride 32."""
    bias = silent()
    bias[0, 1] = [0, 0, np.log(16 / 156), np.log(24 / 198), 5, SILENT, 5, SILENT]
    image = np.zeros([192, 128, 3], np.uint8)     # into 96 x 128: halved, 32 grey columns on either side
    found = plant(bias).image_tensor(tf.constant(image[None]))
    # Centres at network x 16 48 80 112, y 16 48 80; image x = 2 (x - 32): -32 32 96 160.
    expected = []
    for y in (32., 96., 160.):
        for x in (-32., 32., 96., 160.):
            sides = [192, 128, 192, 128]
            expected.append(np.clip([y - 24, x - 16, y + 24, x + 16], 0, sides) / sides)
    assert found['num_detections'].numpy().tolist() == [12.]
    got = found['detection_boxes'][0, :12].numpy()
    np.testing.assert_allclose(got[np.lexsort(got.T[[1, 0]])], sorted(map(tuple, expected)), atol=1e-5)
    assert found['detection_classes'][0].numpy().tolist() == [1.] * 12 + [0.] * 238
    np.testing.assert_allclose(found['detection_scores'][0, :12], (1 / (1 + np.exp(-5.))) ** 2, rtol=1e-5)


def test_more_than_a_hundred_detections_and_the_padding(plant):
    bias = silent()
    bias[2, 0] = [0, 0, np.log(6 / 10), np.log(6 / 13), 5, SILENT, SILENT, 5]      # 12 x 16 cells of 8 pixels
    found = plant(bias).image_tensor(tf.zeros([2, HEIGHT, WIDTH, 3], tf.uint8))
    assert found['num_detections'].numpy().tolist() == [192., 192.]
    assert found['detection_classes'][1].numpy().tolist() == [2.] * 192 + [0.] * 58
    assert not found['detection_boxes'][:, 192:].numpy().any()


def test_no_detection_at_all(plant):
    server = plant(silent())
    found = server.image_tensor(tf.zeros([2, 50, 60, 3], tf.uint8))
    assert all(not value.numpy().any() for value in found.values())
    opened = detector.Detector(server, NAMES, SETTINGS)
    assert [len(one.boxes) for one in opened.detect([np.zeros([50, 60, 3], np.uint8)])] == [0]
    assert opened.detect([]) == []


BARE = '''
import json, sys
import tensorflow as tf
tf.keras = None                                                 # Keras must not be used
model = tf.saved_model.load(sys.argv[1])
images = [open(path, 'rb').read() for path in sys.argv[2:]]
outputs = model.signatures['serving_default'](images=tf.constant(images))
assert 'yolov3_tf' not in sys.modules
print(json.dumps({name: value.numpy().tolist() for name, value in outputs.items()}))
'''


def test_a_bare_tensorflow_process_gets_the_same(exported, alone, files, tmp_path):
    paths = []
    for i, data in enumerate(files):
        paths.append(tmp_path / str(i))
        paths[-1].write_bytes(data)
    environment = {key: value for key, value in os.environ.items() if key != 'PYTHONPATH'}
    done = subprocess.run([sys.executable, '-I', '-c', BARE, exported, *map(str, paths)], cwd=tmp_path,
                          env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert_same(alone, json.loads(done.stdout.splitlines()[-1]))


def test_every_convolution_runs_fused_with_its_bias_and_activation(exported):
    """In the graph as TensorFlow rewrites it: 72 are fused with LeakyReLU, the 3 outputs with their bias only."""
    fused = []
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        served = tf.compat.v1.saved_model.load(session, ['serve'], exported)
        signature = served.signature_def['serving_image_tensor']
        metadata = tf.compat.v1.RunMetadata()
        session.run(signature.outputs['num_detections'].name,
                    {signature.inputs['images'].name: np.zeros([1, 40, 40, 3], np.uint8)},
                    tf.compat.v1.RunOptions(output_partition_graphs=True), metadata)
        for graph in metadata.partition_graphs:
            fused += [b'+'.join(node.attr['fused_ops'].list.s) for node in graph.node
                      if node.op.endswith('FusedConv2D')]
    assert fused.count(b'BiasAdd+LeakyRelu') == 72 and fused.count(b'BiasAdd') == 3


def test_bfloat16_stores_bfloat16_and_finds_about_the_same(lively, alone, files):
    server = export.Server(lively, describe(), SETTINGS._replace(precision='bfloat16'))
    stored = [variable.dtype for variable in server.network_variables]
    assert stored.count(tf.bfloat16) == 2 * 72 and stored.count(tf.float32) == 2 * 3
    assert tf.keras.mixed_precision.global_policy().name == 'float32'
    found = server.encoded(tf.constant(files))
    for i, (_, scores, _) in enumerate(alone):
        np.testing.assert_allclose(found['detection_scores'][i, :10], scores[:10], atol=.05)


def test_assets_describe_the_model(exported):
    with open(os.path.join(exported, 'assets.extra', 'labels.txt')) as file:
        assert file.read() == 'ant\nbee\nwasp\n'
    with open(os.path.join(exported, 'assets.extra', 'model.json')) as file:
        values = json.load(file)
    assert values['input_size'] == [96, 128] and values['letterbox'] is True and values['class_offset'] == 1
    assert values['score_threshold'] == .02 and values['max_total'] == 250 and values['precision'] == 'float32'


def test_detector_gives_pixels_for_bytes_and_arrays_of_mixed_sizes(exported, alone, files):
    opened = detector.load(os.path.dirname(exported))           # the folder of versions
    assert opened.class_names == NAMES and opened.settings == SETTINGS
    arrays = [tf.io.decode_image(data, 3).numpy() for data in files]
    by_bytes, by_arrays = opened.detect(files, ['a', 'b', 'c']), opened.detect(arrays)
    by_one = opened.detect(arrays[:1])
    assert [one.image_id for one in by_bytes] == ['a', 'b', 'c']
    for one, other, array, row in zip(by_bytes, by_arrays, arrays, alone):
        height, width = array.shape[:2]
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_allclose(one.scores, row[1], atol=2e-4)
        assert one.classes.dtype == np.int32 and set(one.classes) <= {0, 1, 2}
        np.testing.assert_allclose(one.boxes[0], row[0][0] * [width, height, width, height], atol=.3)
    np.testing.assert_allclose(by_one[0].boxes, by_arrays[0].boxes, atol=.05)


def test_a_version_is_not_overwritten_unless_asked_and_no_other_file_is_left(lively, exported):
    folder = os.path.dirname(exported)
    before = os.stat(os.path.join(exported, 'saved_model.pb')).st_mtime_ns
    with pytest.raises(InputError, match='3 exists'):
        export.export(lively, describe(), folder, 3, SETTINGS)
    assert os.stat(os.path.join(exported, 'saved_model.pb')).st_mtime_ns == before
    assert os.listdir(folder) == ['3']


def test_a_failed_export_leaves_the_old_version_and_no_scratch(lively, tmp_path, monkeypatch):
    (tmp_path / '1').mkdir()
    (tmp_path / '1' / 'old').touch()

    def fail(*_, **__):
        raise OSError('disk full')

    monkeypatch.setattr(tf.saved_model, 'save', fail)
    with pytest.raises(OSError, match='disk full'):
        export.export(lively, describe(), tmp_path, 1, overwrite=True)
    assert os.listdir(tmp_path) == ['1'] and os.listdir(tmp_path / '1') == ['old']


def test_overwriting_replaces_the_whole_version(lively, tmp_path, monkeypatch):
    (tmp_path / '1').mkdir()
    (tmp_path / '1' / 'old').touch()
    monkeypatch.setattr(tf.saved_model, 'save', lambda _, folder, signatures: os.makedirs(folder))
    export.export(lively, describe(), tmp_path, 1, overwrite=True)
    assert os.listdir(tmp_path) == ['1'] and os.listdir(tmp_path / '1') == ['assets.extra']


@pytest.mark.parametrize('field, value, message', [
    ('precision', 'float64', 'unknown precision'), ('score_threshold', 1.5, 'from 0 to 1'),
    ('iou_threshold', -.1, 'from 0 to 1'), ('max_total', 0, 'from 1 on'),
    ('max_total', None, 'outputs of one size'), ('class_offset', 2, 'expected 0 or 1')])
def test_settings_out_of_range_are_refused(field, value, message):
    with pytest.raises(InputError, match=message):
        export.check(export.Settings.from_flat({field: value}))


def test_files_of_other_programs_are_refused(tmp_path):
    with pytest.raises(InputError, match='no checkpoint'):
        detector.load(tmp_path / 'absent.h5')
    with pytest.raises(InputError, match='expected a run, a SavedModel'):
        detector.load(tmp_path)
    (tmp_path / 'saved_model.pb').touch()
    with pytest.raises(InputError, match='model.json'):
        detector.load(tmp_path)
