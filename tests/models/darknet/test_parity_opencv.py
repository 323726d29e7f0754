"""Our networks against OpenCV's, on weights both read from one file: written here from a cfg, or a published one.

For the hand-written network the cfg is the independent config: the test lays the file out from it, OpenCV
builds the network from it, and only the bytes of the file reach our side. A network that we build from the
cfg too is held to OpenCV's reading of it.
"""
import json
import re
import struct

import numpy as np
import pytest
from fixtures import narrow_network

from yolov3_tf import anchors, boxes, codec
from yolov3_tf.models import yolov3_network
from yolov3_tf.models.darknet import cfg as darknet_cfg
from yolov3_tf.models.darknet import weights as darknet_weights

cv2 = pytest.importorskip('cv2')
SIZES = ((416, 416), (320, 416))
NANO = 'MobileNetV2-YOLOv3-Nano-voc'
# What darknet's published cfgs do not have, or only the large ones.
MIXED = '''
[net]
width=64
height=64
channels=3
[convolutional]
batch_normalize=1
filters=16
size=3
stride=2
pad=1
activation=mish
[route]
layers=-1
groups=2
group_id=1
[convolutional]
batch_normalize=1
filters=8
size=3
stride=1
pad=1
groups=4
activation=swish
[avgpool]
[convolutional]
filters=8
size=1
stride=1
pad=1
activation=logistic
[scale_channels]
from=-3
activation=linear
[route]
layers=-1,-6
[maxpool]
size=2
stride=2
[convolutional]
batch_normalize=1
filters=24
size=3
stride=1
pad=1
groups=24
activation=relu
[maxpool]
size=5
stride=1
[convolutional]
filters=21
size=1
stride=1
pad=1
activation=linear
[yolo]
mask=0,1,2
anchors=10,14, 23,27, 37,58
classes=2
num=3
'''


def read_cfg(text):
    """[(section, {key: value})] of a darknet cfg."""
    sections = []
    for line in text.splitlines():
        line = line.split('#')[0].strip()
        if line.startswith('['):
            sections.append((line.strip('[]'), {}))
        elif line:
            key, value = line.split('=', 1)
            sections[-1][1][key.strip()] = value.strip()
    return sections


def narrow(text, classes):
    """The cfg with an eighth of the filters (at least 8; all are powers of two) and another class count."""
    def filters(match):
        is_output = match[1] in ('255', '75')
        return f'filters={3 * (5 + classes) if is_output else max(8, int(match[1]) // 8)}'
    text = re.sub(r'^classes=\d+', f'classes={classes}', text, flags=re.M)
    return re.sub(r'^filters=(\d+)', filters, text, flags=re.M)


def convolution_shapes(sections):
    """(out, in, size, stride, has BatchNorm) of each convolution; channels are followed through routes."""
    channels, shapes = [], []
    for kind, options in sections[1:]:
        before = channels[-1] if channels else int(sections[0][1]['channels'])
        if kind == 'convolutional':
            filters = int(options['filters'])
            shapes.append((filters, before // int(options.get('groups', 1)), int(options['size']),
                           int(options['stride']), options.get('batch_normalize') == '1'))
            before = filters
        elif kind == 'route':
            steps = [int(step) for step in options['layers'].split(',')]
            before = sum(channels[step if step >= 0 else len(channels) + step] for step in steps)
            before //= int(options.get('groups', 1))
        channels.append(before)
    return shapes


def shapes_of(model):
    shapes = []
    for conv, norm in yolov3_network.convolutions(model):
        rows, columns, inputs, outputs = conv.kernel.shape
        assert rows == columns and conv.use_bias == (norm is None)
        stride = conv.stride if hasattr(conv, 'stride') else conv.strides[0]
        shapes.append((outputs, inputs, rows, stride, norm is not None))
    return shapes


def random_file(path, shapes, rng):
    """Writes weights under which signals neither fade nor explode, so that the outputs follow the image."""
    with open(path, 'wb') as file:
        file.write(struct.pack('<iiiQ', 0, 2, 0, 32_013_312))
        for outputs, inputs, size, _, normalised in shapes:
            fan_in = inputs * size * size
            vectors = [rng.normal(0, .1, outputs)]                                        # beta, or bias
            if normalised:
                vectors += [rng.uniform(.5, 1.2, outputs),                                # gamma
                            rng.normal(0, .1, outputs), rng.uniform(.5, 2, outputs)]      # mean, variance
            kernel = rng.standard_normal((outputs, inputs, size, size), np.float32) * (2 / fan_in) ** .5
            for values in (*vectors, kernel):
                file.write(values.astype('<f4').tobytes())


def outputs_of(sections):
    """OpenCV's names of the convolutions before [yolo], and anchors a level, finest level first."""
    found = [(f'conv_{index - 1}', len(options['mask'].split(',')))
             for index, (kind, options) in enumerate(sections[1:]) if kind == 'yolo']
    return [name for name, _ in found[::-1]], found[0][1]           # every cfg here has the coarse level first


def forward_opencv(cfg, weights, image):
    """Raw output convolutions [S, 5 + C], slots level by level, finest first, then row, column, anchor."""
    names, anchors = outputs_of(read_cfg(cfg.read_text()))
    net = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.enableWinograd(False)
    net.setInput(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))
    levels = [level[0].transpose(1, 2, 0) for level in net.forward(names)]        # [rows, columns, A (5 + C)]
    return np.concatenate([level.reshape(-1, level.shape[-1] // anchors) for level in levels])


def input_of(shared_data, height, width, name='dog'):
    image = cv2.imread(str(shared_data / 'darknet' / f'{name}.jpg'))[..., ::-1]
    return np.float32(cv2.resize(image, (width, height))) / 255


def check_parity(folder, cfg_text, classes, width_multiplier, shared_data, sizes):
    cfg, weights, back = folder / 'net.cfg', folder / 'net.weights', folder / 'back.weights'
    cfg.write_text(cfg_text)
    random_file(weights, convolution_shapes(read_cfg(cfg_text)), np.random.default_rng(7))
    model = yolov3_network.build(classes, width_multiplier)
    assert shapes_of(model) == convolution_shapes(read_cfg(cfg_text))
    header = darknet_weights.read(weights, model)
    darknet_weights.write(back, model, header)
    assert weights.read_bytes() == back.read_bytes()
    for height, width in sizes:
        image = input_of(shared_data, height, width)
        theirs = forward_opencv(cfg, back, image)
        # The outputs depend on the image, so that agreement means something.
        assert theirs.std(axis=0).mean() > .1
        compare(f'{height}x{width}', model(image[None], training=False).numpy()[0], theirs, 1e-3)
    # What differs above is the epsilon of BatchNorm: 1e-5 in the reference, 1e-6 in OpenCV. With theirs:
    for _, norm in yolov3_network.convolutions(model):
        if norm is not None:
            norm.epsilon = 1e-6
    # oneDNN adds up in another order than Eigen: 3.6e-5 of the spread apart at the most, where Eigen is within 2e-5.
    compare('with epsilon 1e-6', model(image[None], training=False).numpy()[0], theirs, 5e-5)


def compare(name, ours, theirs, tolerance):
    assert ours.shape == theirs.shape
    largest, difference = np.abs(theirs).max(), np.abs(ours - theirs).max()
    print(f'{name}: largest difference {difference:.1e} = {difference / largest:.1e} of the largest output '
          f'{largest:.1f}, {np.abs(ours - theirs).mean() / np.abs(theirs).mean():.1e} in the mean')
    assert difference <= tolerance * largest
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * theirs.std())


@pytest.fixture(scope='module')
def published_cfg(shared_data):
    return (shared_data / 'darknet' / 'cfg' / 'yolov3.cfg').read_text()


def test_narrow_network_agrees_with_opencv(tmp_path, published_cfg, shared_data):
    check_parity(tmp_path, narrow(published_cfg, 3), 3, .125, shared_data, SIZES)


def test_convolutions_of_the_voc_cfg(shared_data):
    text = (shared_data / 'darknet' / 'cfg' / 'yolov3-voc.cfg').read_text()
    assert shapes_of(narrow_network.fresh(20)) == convolution_shapes(read_cfg(narrow(text, 20)))


@pytest.mark.slow
def test_published_network_agrees_with_opencv(tmp_path, published_cfg, shared_data):
    check_parity(tmp_path, published_cfg, 80, 1., shared_data, SIZES)
    assert (tmp_path / 'back.weights').stat().st_size == 248_007_048


def check_cfg_parity(folder, text, shared_data, sizes):
    """A network built from the cfg by us and by OpenCV, on one random file that we also write back byte for byte."""
    cfg, weights, back = folder / 'net.cfg', folder / 'net.weights', folder / 'back.weights'
    cfg.write_text(text)
    random_file(weights, convolution_shapes(read_cfg(text)), np.random.default_rng(7))
    model = darknet_cfg.build(darknet_cfg.load(cfg))
    assert shapes_of(model) == convolution_shapes(read_cfg(text))
    darknet_weights.write(back, model, darknet_weights.read(weights, model))
    assert weights.read_bytes() == back.read_bytes()
    for height, width in sizes:
        image = input_of(shared_data, height, width)
        theirs = forward_opencv(cfg, back, image)
        assert theirs.std(axis=0).mean() > .1
        compare(f'{height}x{width}', model(image[None], training=False).numpy()[0], theirs, 2e-5)


@pytest.mark.parametrize('name', ['yolov3-tiny', pytest.param('yolov3-spp', marks=pytest.mark.slow)])
def test_narrow_cfg_networks_agree_with_opencv(tmp_path, shared_data, name):
    text = (shared_data / 'darknet' / 'cfg' / f'{name}.cfg').read_text()
    check_cfg_parity(tmp_path, narrow(text, 3), shared_data, SIZES)


def test_what_published_cfgs_lack_agrees_with_opencv(tmp_path, shared_data):
    check_cfg_parity(tmp_path, MIXED, shared_data, ((64, 64), (96, 32)))


@pytest.mark.slow
@pytest.mark.parametrize('name, size', [
    ('yolov3', 416), ('yolov3-voc', 416), ('yolov3-tiny', 416), ('yolov3-spp', 608)])
def test_published_cfg_networks_agree_with_opencv(tmp_path, shared_data, name, size):
    text = (shared_data / 'darknet' / 'cfg' / f'{name}.cfg').read_text()
    check_cfg_parity(tmp_path, text, shared_data, ((size, size),))


@pytest.fixture(scope='module')
def nano(shared_data):
    """The real network with its published weights, and their folder."""
    folder = shared_data / 'darknet' / 'nano_voc'
    model = darknet_cfg.build(darknet_cfg.load(folder / f'{NANO}.cfg'))
    return model, folder, darknet_weights.read(folder / f'{NANO}.weights', model)


def test_nano_gives_the_recorded_outputs(nano):
    """OpenCV's, recorded elsewhere from the same image; within 1e-4 where the largest is 21."""
    model, folder, _ = nano
    meta = json.loads((folder / 'reference' / 'meta.json').read_text())[NANO.lower()]
    recorded = np.load(folder / 'reference' / f'{NANO.lower()}.npz')
    levels = [recorded[f'raw_{name}'][0].transpose(1, 2, 0).reshape(-1, 25) for name in meta['raw']]
    image = np.load(folder / 'reference' / 'input_dog_320_nchw_rgb01.npy').transpose(0, 2, 3, 1)
    difference = np.abs(model(image).numpy()[0] - np.concatenate(levels[::-1])).max()
    print(f'largest difference {difference:.1e}')
    assert difference < 1e-4


def test_nano_decodes_as_recorded(nano):
    """OpenCV's boxes as parts of the image, with scale_x_y 1.05 and 1.1, and its scores; under .2 it returns 0."""
    model, folder, _ = nano
    recorded = np.load(folder / 'reference' / f'{NANO.lower()}.npz')
    theirs = np.concatenate([recorded['decoded_yolo_79'], recorded['decoded_yolo_69']])
    image = np.load(folder / 'reference' / 'input_dog_320_nchw_rgb01.npy').transpose(0, 2, 3, 1)
    raw = codec.split(model(image))
    network = darknet_cfg.load(folder / f'{NANO}.cfg')
    decoded = boxes.to_cxcywh(codec.decode(raw.offsets, anchors.lay_out(network.anchors, 320, 320)))[0] / 320
    np.testing.assert_allclose(decoded, theirs[:, :4], atol=1e-5)
    objectness = 1 / (1 + np.exp(-raw.objectness.numpy()[0].astype(np.float64)))
    scores = objectness[:, None] / (1 + np.exp(-raw.classes.numpy()[0].astype(np.float64)))
    np.testing.assert_allclose(objectness, theirs[:, 4], atol=1e-5)
    np.testing.assert_allclose(np.where(scores > .2, scores, 0), theirs[:, 5:], atol=1e-5)
    assert (scores > .2).sum() == 30


@pytest.mark.parametrize('name', ['eagle', 'giraffe', 'horses', 'kite', 'person'])
def test_nano_agrees_with_opencv_on_other_images(nano, shared_data, name):
    model, folder, _ = nano
    image = input_of(shared_data, 320, 320, name)
    theirs = forward_opencv(folder / f'{NANO}.cfg', folder / f'{NANO}.weights', image)
    difference = np.abs(model(image[None]).numpy()[0] - theirs).max()
    print(f'{name}: largest difference {difference:.1e}')
    assert difference < 1e-4


def test_nano_is_written_back_byte_for_byte(nano, tmp_path):
    model, folder, header = nano
    published, backbone = (folder / f'{NANO}.weights').read_bytes(), (folder / 'MobileNetV2-Nano.57').read_bytes()
    darknet_weights.write(tmp_path / 'whole', model, header)
    assert (tmp_path / 'whole').read_bytes() == published
    six = darknet_cfg.build(darknet_weights.fit_backbone(folder / 'MobileNetV2-Nano.57', darknet_cfg.load(
        folder / f'{NANO}.cfg', 6)))
    darknet_weights.write_backbone(tmp_path / 'part', six, darknet_weights.read_backbone(
        folder / 'MobileNetV2-Nano.57', six))
    assert (tmp_path / 'part').read_bytes() == backbone
    assert darknet_weights.read_transfer(folder / f'{NANO}.weights', six) == [
        f'head_conv_{layer}/{what}' for layer in ('068', '078') for what in ('bias', 'kernel')]
