"""Damaged cfg and weights files: one line that explains what is wrong, or a network that works. Nothing else."""
import random
import re
import resource
import struct

import numpy as np
import pytest
from fixtures.small_cfg import TEXT

from yolov3_tf import anchors
from yolov3_tf.errors import InputError
from yolov3_tf.models.darknet import cfg
from yolov3_tf.models.darknet import weights as darknet_weights

ODD_VALUES = ('', '0', '-1', '1', '2', '3', '7', '8', '16', '999', '32768', '2147483648', '-99999999999', '9' * 5000,
              '.5', '1e9', '1e999', 'nan', 'inf', '0x10', '1,2', '-1,-2', ',', '1,' * 3000, 'linear', 'None', '\x00',
              'é', '１')
# Built only if small: what large valid ones take is bounded by the plan, and tried by itself below.
MOST_FLOATS, MOST_ACTIVATIONS = 200_000, 1_000_000


def damaged(text, rng):
    """One to four changes to lines, values or characters."""
    for _ in range(rng.choice((1, 1, 1, 2, 3, 4))):
        lines = text.split('\n')
        at, kind = rng.randrange(len(lines)), rng.randrange(8)
        if kind == 0:
            del lines[at]
        elif kind == 1:
            lines.insert(at, rng.choice(lines))
        elif kind == 2:
            other = rng.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif kind in (3, 4, 5):
            lines[at] = re.sub('=.*', lambda _: '=' + rng.choice(ODD_VALUES), lines[at])
        elif kind == 6:
            lines = lines[:at]
        else:
            where = rng.randrange(len(text) + 1)
            lines = (text[:where] + chr(rng.choice((0, 10, 35, 44, 45, 61, 91, 93, 255, 0x2028, rng.randrange(128))))
                     + text[where + rng.randrange(3):]).split('\n')
        text = '\n'.join(lines)
    return text


def try_cfgs(count, seed):
    """Parses ``count`` damaged texts and builds every twentieth that is good; -> how many were good, and built."""
    rng, good, built = random.Random(seed), 0, 0
    for _ in range(count):
        text = damaged(TEXT, rng)
        try:
            network = cfg.parse(text, 'net.cfg')
        except InputError as error:
            assert re.match(r'net\.cfg[:, ]', str(error)) and len(str(error).splitlines()) == 1, (text, error)
            assert len(str(error)) < 2000
            continue
        good += 1
        sums = [sum(layer.floats for layer in network.layers),
                sum(layer.rows * layer.columns * layer.channels for layer in network.layers)]
        if good % 20 == 0 and sums[0] < MOST_FLOATS and sums[1] < MOST_ACTIVATIONS:
            check_works(network, sums[0])
            built += 1
    return good, built


def check_works(network, floats):
    model = cfg.build(network)
    assert model.count_params() == darknet_weights.count(darknet_weights.walk(model)) == floats
    height, width = 2 * max(network.anchors.strides), max(network.anchors.strides)
    slots = anchors.lay_out(network.anchors, height, width).cells.shape[0]
    outputs = model(np.zeros((1, height, width, 3), np.float32))
    assert outputs.shape == (1, slots, 5 + network.num_classes)


def damaged_file(content, rng):
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        kind, at = rng.randrange(6), rng.randrange(len(content) + 1)
        if kind == 0:
            content = content[:at]
        elif kind == 1:
            content += bytes(rng.randrange(256) for _ in range(rng.randrange(1, 40)))
        elif kind == 2:
            content[:20] = bytes(rng.randrange(256) for _ in range(20))
        elif kind == 3:
            content[at:at + 4] = struct.pack('<f', rng.choice((float('nan'), float('inf'), -1., 1e38, 0.)))
        elif kind == 4 and len(content) > 4:
            struct.pack_into('<i', content, rng.choice((0, 4, 8, 12, 16)) % (len(content) - 3),
                             rng.choice((-1, 0, 1, 2, 3, 999, 1000, 2**31 - 1)))
        else:
            content[at:at + 1] = bytes([rng.randrange(256)])
    return bytes(content)


def try_files(count, seed, folder):
    """Reads ``count`` damaged files; a refused one changes nothing, a read one is written back as it was."""
    network = cfg.parse(TEXT, 'net.cfg')
    model, rng, good = cfg.build(network), random.Random(seed), 0
    start = struct.pack('<iiiQ', 0, 2, 5, 7)
    whole = start + np.random.default_rng(seed).uniform(.1, 1, 1868).astype('<f4').tobytes()
    path, back = folder / 'a.weights', folder / 'b.weights'
    path.write_bytes(whole)
    readers = [darknet_weights.read, darknet_weights.read_backbone, darknet_weights.read_transfer]
    for index in range(count):
        content = damaged_file(whole[:20 + 4 * 352] if index % 3 == 1 else whole, rng)
        path.write_bytes(content)
        before = [weight.copy() for weight in model.get_weights()] if index % 10 == 0 else []
        try:
            header = readers[index % 3](path, model)
        except InputError as error:
            assert str(error).startswith(str(path)) and len(str(error).splitlines()) == 1
            assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights()))
            continue
        good += 1
        if index % 3 == 0:
            darknet_weights.write(back, model, header)
            assert back.read_bytes() == content
    return good


def check_memory(before):
    """Kilobytes more than before, at the worst moment."""
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000


def test_damaged_cfgs():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    good, built = try_cfgs(300, seed=0)
    assert 20 < good < 200 and built
    check_memory(before)


def test_damaged_weights(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert 20 < try_files(300, 0, tmp_path) < 200
    check_memory(before)


@pytest.mark.slow
def test_ten_thousand_damaged_files(tmp_path):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    good, built = try_cfgs(10_000, seed=1)
    read = try_files(10_000, 1, tmp_path)
    print(f'{good} cfgs good, {built} built; {read} weights files read')
    assert built > 50
    check_memory(before)


@pytest.mark.parametrize('middle, message', [
    pytest.param('[convolutional]\nfilters=32768\nsize=63\npad=1\nactivation=relu\n', 'parameters', id='parameters'),
    pytest.param('[upsample]\nstride=32\n' * 30, 'activations', id='activations'),
    pytest.param('[route]\nlayers=-1,-1\n' * 900, 'activations', id='doubled channels'),
    pytest.param('[dropout]\n' * 1000, 'at most 999 layers', id='layers'),
    pytest.param('# \n' * 30_000, 'at most 50,000 characters', id='comments')])
def test_what_would_exhaust_the_machine_is_refused_first(middle, message):
    text = '[net]\nwidth=64\nheight=64\n[convolutional]\nfilters=8\nactivation=linear\n' + middle
    with pytest.raises(InputError, match=message):
        cfg.parse(text + '[convolutional]\nfilters=6\nactivation=linear\n[yolo]\nmask=0\nanchors=1,2\nclasses=1\n')
