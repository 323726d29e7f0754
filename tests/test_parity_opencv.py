"""Our network against OpenCV's, on weights both read from one file written here from darknet's own cfg.

The cfg is the independent description: the test lays the file out from it, OpenCV builds the network from
it, and only the bytes of the file reach our side.
"""
import re
import struct

import numpy as np
import pytest

from yolov3_tf import darknet_weights
from yolov3_tf.models import yolov3

cv2 = pytest.importorskip('cv2')
# OpenCV numbers layers as darknet does; these are the three convolutions before the [yolo] sections.
OUTPUTS = ('conv_81', 'conv_93', 'conv_105')
SIZES = ((416, 416), (320, 416))


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
            shapes.append((filters, before, int(options['size']), int(options['stride']),
                           options.get('batch_normalize') == '1'))
            before = filters
        elif kind == 'route':
            steps = [int(step) for step in options['layers'].split(',')]
            before = sum(channels[step if step >= 0 else len(channels) + step] for step in steps)
        channels.append(before)
    return shapes


def shapes_of(model):
    shapes = []
    for conv, norm in yolov3.convolutions(model):
        rows, columns, inputs, outputs = conv.kernel.shape
        assert rows == columns and conv.use_bias == (norm is None)
        shapes.append((outputs, inputs, rows, conv.strides[0], norm is not None))
    return shapes


def random_file(path, shapes, rng):
    """Writes weights under which signals neither fade nor explode, so that the outputs follow the picture."""
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


def forward_opencv(cfg, weights, image):
    """Raw output convolutions [S, 5 + C], slots level by level, finest first, then row, column, anchor."""
    net = cv2.dnn.readNetFromDarknet(str(cfg), str(weights))
    net.setPreferableBackend(cv2.dnn.DNN_BACKEND_OPENCV)
    net.enableWinograd(False)
    net.setInput(np.ascontiguousarray(image.transpose(2, 0, 1)[None]))
    levels = [level[0].transpose(1, 2, 0) for level in net.forward(OUTPUTS)]      # [rows, columns, 3 (5 + C)]
    return np.concatenate([level.reshape(-1, level.shape[-1] // 3) for level in levels[::-1]])


def picture(shared_data, height, width):
    image = cv2.imread(str(shared_data / 'darknet' / 'dog.jpg'))[..., ::-1]
    return np.float32(cv2.resize(image, (width, height))) / 255


def check_parity(folder, cfg_text, classes, width_multiplier, shared_data, sizes):
    cfg, weights, back = folder / 'net.cfg', folder / 'net.weights', folder / 'back.weights'
    cfg.write_text(cfg_text)
    random_file(weights, convolution_shapes(read_cfg(cfg_text)), np.random.default_rng(7))
    model = yolov3.build(classes, width_multiplier)
    assert shapes_of(model) == convolution_shapes(read_cfg(cfg_text))
    header = darknet_weights.read(weights, model)
    darknet_weights.write(back, model, header)
    assert weights.read_bytes() == back.read_bytes()
    for height, width in sizes:
        image = picture(shared_data, height, width)
        theirs = forward_opencv(cfg, back, image)
        # The outputs depend on the picture, so that agreement means something.
        assert theirs.std(axis=0).mean() > .1
        compare(f'{height}x{width}', model(image[None], training=False).numpy()[0], theirs, 1e-3)
    # What differs above is the epsilon of BatchNorm: 1e-5 in the reference, 1e-6 in OpenCV. With theirs:
    for _, norm in yolov3.convolutions(model):
        if norm is not None:
            norm.epsilon = 1e-6
    compare('with epsilon 1e-6', model(image[None], training=False).numpy()[0], theirs, 2e-5)


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
    assert shapes_of(yolov3.build(20, .125)) == convolution_shapes(read_cfg(narrow(text, 20)))


@pytest.mark.slow
def test_published_network_agrees_with_opencv(tmp_path, published_cfg, shared_data):
    check_parity(tmp_path, published_cfg, 80, 1., shared_data, SIZES)
    assert (tmp_path / 'back.weights').stat().st_size == 248_007_048
