"""darknet_weights: the layout of the files byte by byte, and every file that must be refused."""
import re
import struct

import numpy as np
import pytest
from fixtures import narrow_network

from yolov3_tf.errors import InputError
from yolov3_tf.models import yolov3_network
from yolov3_tf.models.darknet import weights as darknet_weights
from yolov3_tf.models.darknet.weights_file import Header, verify

CLASSES, WIDTH = 3, .125
# Convolutions of the network at width 1/8, by hand from its cfg: (out, in, size) of the first and the last.
FIRST, LAST = (8, 3, 3), (24, 32, 1)
LONG, SHORT = struct.pack('<iiiQ', 0, 2, 5, 12_345_678_901), struct.pack('<iiiI', 0, 1, 0, 7)


@pytest.fixture
def model():
    return narrow_network.fresh(CLASSES, WIDTH)


@pytest.fixture
def five():
    return narrow_network.fresh(5, WIDTH)


@pytest.fixture
def size(model):
    """Floats of a whole file, counted by Keras."""
    return model.count_params()


def floats(count, seed=0):
    # Positive, so that they pass as variances too.
    return np.random.default_rng(seed).uniform(.1, 1, count).astype('<f4')


def values(model):
    return [weight.copy() for weight in model.get_weights()]


def write_file(path, header, numbers, tail=b''):
    path.write_bytes(header + numbers.tobytes() + tail)
    return path


def test_first_and_last_convolution_byte_by_byte(tmp_path, model, size):
    numbers = floats(size)
    darknet_weights.read(write_file(tmp_path / 'a.weights', LONG, numbers), model)

    outputs, inputs, rows = FIRST
    norm, kernel = model.get_layer('backbone_bn_01'), model.get_layer('backbone_conv_01').get_weights()[0]
    vectors = numbers[:4 * outputs].reshape(4, outputs)
    for name, vector in zip(('beta', 'gamma', 'moving_mean', 'moving_variance'), vectors):
        np.testing.assert_array_equal(getattr(norm, name).numpy(), vector)
    for o, i, y, x in ((0, 0, 0, 0), (0, 0, 0, 1), (0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 0, 0), (7, 2, 1, 2)):
        assert kernel[y, x, i, o] == numbers[4 * outputs + ((o * inputs + i) * rows + y) * rows + x]

    outputs, inputs, _ = LAST
    kernel, bias = model.get_layer('head_conv_75').get_weights()
    np.testing.assert_array_equal(kernel[0, 0].T.ravel(), numbers[-outputs * inputs:])
    np.testing.assert_array_equal(bias, numbers[-outputs * inputs - outputs:-outputs * inputs])


@pytest.mark.parametrize('header, expected', [
    pytest.param(LONG, Header(0, 2, 5, 12_345_678_901), id='20 bytes'),
    pytest.param(SHORT, Header(0, 1, 0, 7), id='16 bytes')])
def test_round_trip_is_byte_equal(tmp_path, model, size, header, expected):
    path = write_file(tmp_path / 'a.weights', header, floats(size))
    assert len(header) == expected.size == (20 if expected.minor == 2 else 16)
    assert darknet_weights.read(path, model) == expected
    darknet_weights.write(tmp_path / 'b.weights', model, expected)
    assert (tmp_path / 'b.weights').read_bytes() == path.read_bytes()


def test_backbone_is_the_start_of_the_whole_and_leaves_the_head_alone(tmp_path, model, size):
    darknet_weights.read(write_file(tmp_path / 'a.weights', LONG, floats(size)), model)
    darknet_weights.write_backbone(tmp_path / 'a.conv.74', model, Header(0, 2, 5, 12_345_678_901))
    partial = (tmp_path / 'a.conv.74').read_bytes()
    assert (tmp_path / 'a.weights').read_bytes().startswith(partial)

    darknet_weights.read(write_file(tmp_path / 'b.weights', LONG, floats(size, seed=1)), model)
    head = [values(layer) for layer in model.layers if layer.name.startswith('head_')]
    darknet_weights.read_backbone(tmp_path / 'a.conv.74', model)
    darknet_weights.write_backbone(tmp_path / 'c.conv.74', model, Header(0, 2, 5, 12_345_678_901))
    assert (tmp_path / 'c.conv.74').read_bytes() == partial
    for layer, before in zip((layer for layer in model.layers if layer.name.startswith('head_')), head):
        for old, new in zip(before, layer.get_weights()):
            np.testing.assert_array_equal(old, new)


def test_transfer_takes_all_but_the_output_layers_of_another_class_count(tmp_path, model, five, size):
    path = write_file(tmp_path / 'five.weights', SHORT, floats(five.count_params()))
    darknet_weights.read(path, five)
    darknet_weights.read(write_file(tmp_path / 'b.weights', LONG, floats(size, seed=1)), model)
    fresh = {layer.name: values(layer) for layer in model.layers}

    outputs = ('head_conv_59', 'head_conv_67', 'head_conv_75')
    assert darknet_weights.read_transfer(path, model) == [
        f'{layer}/{what}' for layer in outputs for what in ('bias', 'kernel')]
    for layer in model.layers:
        expected = fresh[layer.name] if layer.name in outputs else five.get_layer(layer.name).get_weights()
        for old, new in zip(expected, layer.get_weights()):
            np.testing.assert_array_equal(old, new)


def test_transfer_takes_everything_of_the_same_class_count(tmp_path, model, size):
    path = write_file(tmp_path / 'a.weights', LONG, floats(size))
    assert darknet_weights.read_transfer(path, model) == []
    darknet_weights.write(tmp_path / 'b.weights', model, Header(0, 2, 5, 12_345_678_901))
    assert (tmp_path / 'b.weights').read_bytes() == path.read_bytes()


def with_value(size, index, value):
    numbers = floats(size)
    numbers[index] = value
    return LONG + numbers.tobytes()


BAD = {
    'empty': (lambda size: b'', '16 or 20 bytes, got a file of 0 bytes'),
    'three bytes': (lambda size: b'\0\0\0', 'got a file of 3 bytes'),
    'half a header': (lambda size: LONG[:18], 'a header of 20 bytes, got a file of 18'),
    'header alone': (lambda size: LONG, 'expected [0-9,]+ bytes for a whole network of 3 classes .* got 20'),
    'one byte short': (lambda size: LONG + floats(size).tobytes()[:-1], '1 byte missing'),
    'one byte long': (lambda size: LONG + floats(size).tobytes() + b'\0', '1 byte too many'),
    'long header, old version': (lambda size: SHORT + bytes(4) + floats(size).tobytes(), '4 bytes too many'),
    'web page': (lambda size: b'<!DOCTYPE html>\n<html>404</html>', "text that begins '<!DOCTYPE html>'"),
    'image': (lambda size: b'\x89PNG\r\n\x1a\n' + bytes(4 * size), 'version such as 0.2.0'),
    'impossible version': (lambda size: struct.pack('<iiiQ', 1001, 0, 0, 0) + floats(size).tobytes(),
                           'got 1001.0.0'),
    'NaN in the first kernel': (lambda size: with_value(size, 4 * 8 + 27 + 4, np.nan),
                                re.escape('nan in backbone_conv_01 kernel[1, 0, 1, 1] (1 of its 216 values')),
    'infinity at the very end': (lambda size: with_value(size, -1, -np.inf),
                                 re.escape('-inf in head_conv_75 kernel[23, 31, 0, 0]')),
    'negative variance': (lambda size: with_value(size, 3 * 8 + 2, -.5),
                          re.escape('-0.5 in backbone_bn_01 moving_variance[2]')),
}


@pytest.mark.parametrize('name', BAD)
def test_bad_files_are_refused_and_change_nothing(tmp_path, model, size, name):
    content, message = BAD[name]
    path = tmp_path / 'bad.weights'
    path.write_bytes(content(size))
    before = values(model)
    with pytest.raises(InputError, match=message) as caught:
        darknet_weights.read(path, model)
    assert str(path) in str(caught.value) and '\n' not in str(caught.value)
    with pytest.raises(InputError):
        darknet_weights.read_transfer(path, model)
    for old, new in zip(before, model.get_weights()):
        np.testing.assert_array_equal(old, new)


def test_a_file_of_another_make_is_named(tmp_path, model, five):
    darknet_weights.write(tmp_path / 'five.weights', five)
    darknet_weights.write_backbone(tmp_path / 'backbone', five)
    with pytest.raises(InputError, match='fits a whole network of 5 classes.*--init_weights'):
        darknet_weights.read(tmp_path / 'five.weights', model)
    with pytest.raises(InputError, match='for the backbone alone.*fits a whole network of 5 classes'):
        darknet_weights.read_backbone(tmp_path / 'five.weights', model)
    with pytest.raises(InputError, match='fits the backbone alone.*--backbone_weights'):
        darknet_weights.read_transfer(tmp_path / 'backbone', model)
    with pytest.raises(InputError, match='width_multiplier 1 only'):
        darknet_weights.read_backbone(tmp_path / 'backbone', narrow_network.fresh(5, .25))


def test_missing_file_and_folder(tmp_path, model):
    with pytest.raises(InputError, match='got no such file'):
        darknet_weights.read(tmp_path / 'none', model)
    with pytest.raises(InputError, match='got a folder'):
        darknet_weights.read(tmp_path, model)
    with pytest.raises(InputError, match='got a folder'):
        darknet_weights.write(tmp_path, model)
    (tmp_path / 'file').write_bytes(b'')
    with pytest.raises(InputError, match='cannot be written'):
        darknet_weights.write(tmp_path / 'file' / 'below', model)


def test_what_could_not_be_read_back_is_not_written(tmp_path, model):
    bias = np.zeros(24, np.float32)
    bias[5] = np.nan
    model.get_layer('head_conv_67').bias.assign(bias)
    with pytest.raises(InputError, match=r'head_conv_67 bias\[5\]'):
        darknet_weights.write(tmp_path / 'a.weights', model)
    assert not list(tmp_path.iterdir())


def test_verify_knows_no_network_but_every_byte(tmp_path):
    verify(write_file(tmp_path / 'a', LONG, floats(10)))
    with pytest.raises(InputError, match='whole floats'):
        verify(write_file(tmp_path / 'a', LONG, floats(10), b'\0'))
    with pytest.raises(InputError, match=r'nan as float 3 after the header \(1 of 10'):
        (tmp_path / 'a').write_bytes(with_value(10, 3, np.nan))
        verify(tmp_path / 'a')


def test_folded_network_has_files_of_its_own(tmp_path):
    """A cfg without batch_normalize: a bias and a kernel a convolution."""
    folded = narrow_network.fresh(CLASSES, WIDTH, folded=True)
    path = write_file(tmp_path / 'a.weights', LONG, floats(folded.count_params()))
    header = darknet_weights.read(path, folded)
    np.testing.assert_array_equal(folded.get_layer('backbone_conv_01').bias.numpy(),
                                  floats(folded.count_params())[:8])
    darknet_weights.write(tmp_path / 'b.weights', folded, header)
    assert (tmp_path / 'b.weights').read_bytes() == path.read_bytes()


def test_a_separated_head_has_no_file_but_its_backbone_has(tmp_path, model, size):
    separated = narrow_network.fresh(CLASSES, WIDTH, 'separated')
    before = values(separated)
    path = write_file(tmp_path / 'a.weights', LONG, floats(size))
    for refused in (lambda: darknet_weights.read(path, separated),
                    lambda: darknet_weights.read_transfer(path, separated),
                    lambda: darknet_weights.write(tmp_path / 'b.weights', separated)):
        with pytest.raises(InputError, match=r'[ab]\.weights: .*separated prediction layers: use --head=coupled'):
            refused()
    for mine, old in zip(values(separated), before):
        np.testing.assert_array_equal(mine, old)
    assert [entry.name for entry in tmp_path.iterdir()] == ['a.weights']
    with pytest.raises(InputError, match='for the backbone alone .*cut off or of another network'):
        darknet_weights.read_backbone(path, separated)
    darknet_weights.read(path, model)
    darknet_weights.write_backbone(tmp_path / 'part', model)
    darknet_weights.read_backbone(tmp_path / 'part', separated)
    np.testing.assert_array_equal(separated.get_layer('backbone_conv_52').get_weights()[0],
                                  model.get_layer('backbone_conv_52').get_weights()[0])


def test_published_files_have_their_published_sizes(tmp_path):
    """248,007,048 and 162,482,580 bytes: what the publisher's server sends as the sizes of the two files."""
    model = yolov3_network.build(80)
    darknet_weights.write(tmp_path / 'yolov3.weights', model)
    darknet_weights.write_backbone(tmp_path / 'darknet53.conv.74', model)
    assert (tmp_path / 'yolov3.weights').stat().st_size == 248_007_048
    assert (tmp_path / 'darknet53.conv.74').stat().st_size == 162_482_580
    first = model.get_layer('backbone_conv_52').get_weights()[0]
    model.get_layer('backbone_conv_52').kernel.assign(np.zeros_like(first))
    assert darknet_weights.read_backbone(tmp_path / 'darknet53.conv.74', model) == Header(0, 2, 0, 0)
    np.testing.assert_array_equal(model.get_layer('backbone_conv_52').get_weights()[0], first)
