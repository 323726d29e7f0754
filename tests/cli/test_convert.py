"""convert_darknet_weights.py from its command line, on files of the narrow network."""
import contextlib
import io
import pathlib
import struct
import subprocess
import sys

import numpy as np
import pytest
from fixtures import narrow_network, program_flags
from fixtures.small_cfg import TEXT as SMALL

from yolov3_tf.cli import convert as program
from yolov3_tf.models import checkpoints, yolov3_network
from yolov3_tf.models.darknet import cfg
from yolov3_tf.models.darknet import weights as darknet_weights

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLASSES, WIDTH = 3, .125
HEADER = struct.pack('<iiiQ', 0, 2, 5, 32_013_312)

COMMANDS = {
    'to checkpoint': ['--model=net.weights', '--output=new/net.h5', '--classes=names', '--image_size=320,416',
                      '--noletterbox'],
    'and back': ['--model=new/net.h5', '--output=back.weights', '--to_darknet', '--darknet_version=0.2.5',
                 '--seen=32013312'],
    'to plain': ['--model=net.weights', '--output=net.weights.h5', '--num_classes=3'],
    'backbone': ['--model=net.conv.74', '--backbone', '--num_classes=20', '--output=start.h5'],
    'backbone back': ['--model=start.h5', '--backbone', '--to_darknet', '--output=back.conv.74'],
    'onto itself': ['--model=net.weights', '--output=./net.weights'],
    'other class count': ['--model=net.weights', '--output=x.h5', '--num_classes=20'],
    'names do not fit': ['--model=net.weights', '--output=x.h5', '--num_classes=3', '--classes=two_names'],
    'backbone of what': ['--model=net.conv.74', '--output=x.h5', '--backbone'],
    'not a checkpoint': ['--model=net.weights', '--output=x.weights', '--to_darknet'],
    'cfg to checkpoint': ['--model=small.weights', '--cfg=small.cfg', '--output=small.h5', '--noletterbox'],
    'ending says darknet': ['--model=small.h5', '--output=small.again.weights', '--darknet_version=0.2.5',
                            '--seen=32013312'],
    'ending of neither': ['--model=small.weights', '--cfg=small.cfg', '--output=x.weights'],
    'cfg and back': ['--model=small.h5', '--output=small.back', '--to_darknet', '--darknet_version=0.2.5',
                     '--seen=32013312'],
    'cfg backbone': ['--model=small.conv.2', '--cfg=small.cfg', '--backbone', '--num_classes=3', '--output=three.h5'],
    'cfg backbone back': ['--model=three.h5', '--backbone', '--to_darknet', '--output=back.conv.2'],
    'cfg of other classes': ['--model=two.h5', '--to_darknet', '--output=two.weights', '--output_cfg=two.cfg'],
    'over a cfg': ['--model=two.h5', '--to_darknet', '--output=x.weights', '--output_cfg=two.cfg'],
    'cfg of nothing': ['--model=small.weights', '--cfg=small.cfg', '--output=x.h5', '--output_cfg=x.cfg'],
    'another cfg': ['--model=net.weights', '--cfg=small.cfg', '--output=x.h5'],
    'file of no layer': ['--model=small.weights', '--cfg=small.cfg', '--backbone', '--output=x.h5'],
    'cfg and width': ['--model=small.weights', '--cfg=small.cfg', '--width_multiplier=.5', '--output=x.h5'],
    'cfg too many': ['--model=small.h5', '--cfg=small.cfg', '--to_darknet', '--output=x.weights'],
    'no such version': ['--model=small.h5', '--output=x.weights', '--to_darknet', '--darknet_version=0.1000.0'],
    'seen too much': ['--model=small.h5', '--output=x.weights', '--to_darknet', '--darknet_version=0.1.0',
                      '--seen=4294967296'],
    'size of no grid': ['--model=small.weights', '--cfg=small.cfg', '--image_size=30', '--output=x.h5'],
    'odd size': ['--model=net.weights', '--output=x.h5', '--image_size=big'],
}


@pytest.fixture
def model():
    return narrow_network.fresh(CLASSES, WIDTH)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    model, folder = narrow_network.fresh(CLASSES, WIDTH), tmp_path_factory.mktemp('converted')
    numbers = np.random.default_rng(0).uniform(.1, 1, model.count_params())
    (folder / 'net.weights').write_bytes(HEADER + numbers.astype('<f4').tobytes())
    backbone = sum(layer.count_params() for layer in model.layers if layer.name.startswith('backbone_'))
    (folder / 'net.conv.74').write_bytes((folder / 'net.weights').read_bytes()[:20 + 4 * backbone])
    numbers = np.random.default_rng(0).uniform(.1, 1, 1868).astype('<f4')
    (folder / 'small.cfg').write_text(SMALL)
    (folder / 'small.weights').write_bytes(HEADER + numbers.tobytes())
    (folder / 'small.conv.2').write_bytes(HEADER + numbers[:352].tobytes())
    two = cfg.parse(SMALL, num_classes=2)
    checkpoints.save_model(str(folder / 'two.h5'), cfg.build(two), checkpoints.ModelConfig(
        ('a', 'b'), 1., two.size, True, two.anchors, cfg=two.text, backbone_layers=two.backbone_layers))
    (folder / 'names').write_text('circle\nsquare\nstar\n')
    (folder / 'two_names').write_text('circle\nsquare\n')
    return folder


@pytest.fixture(scope='module')
def answers(folder):
    """(exit code, standard output, standard error) of every command, run in this order.

    A network of the same kind is built once for all of them; each finds it as built.
    """
    def build(num_classes, width_multiplier=1., folded=False, head='coupled'):
        return narrow_network.fresh(num_classes, width_multiplier, head, folded)

    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yolov3_network, 'build', build)
        patch.chdir(folder)
        for name, flags in COMMANDS.items():
            out, err, width = io.StringIO(), io.StringIO(), [f'--width_multiplier={WIDTH}']
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = program_flags.run(program, *width * ('cfg' not in ''.join(flags)), *flags)
            found[name] = code, out.getvalue(), err.getvalue()
    return found


def test_to_a_checkpoint_and_back_byte_for_byte(folder, answers, model):
    code, out, err = answers['to checkpoint']
    assert code == 0, err
    floats = model.count_params()
    for part in ('version 0.2.5, 32,013,312 images seen', '75 convolutions, 72 with BatchNorm; 3 classes',
                 f'{20 + 4 * floats:,} bytes = a header of 20 + 4 x {floats:,} floats; 0 bytes unaccounted for',
                 'wrote new/net.h5'):
        assert part in out
    assert checkpoints.describe(str(folder / 'new' / 'net.h5')) == checkpoints.ModelConfig(
        ('circle', 'square', 'star'), WIDTH, (320, 416), False)
    assert answers['and back'][0] == 0, answers['and back']
    assert (folder / 'back.weights').read_bytes() == (folder / 'net.weights').read_bytes()


def test_to_plain_keras_weights(folder, answers, model):
    assert answers['to plain'][0] == 0, answers['to plain']
    model.load_weights(str(folder / 'net.weights.h5'))
    start = np.frombuffer((folder / 'net.weights').read_bytes(), '<f4', 8, offset=20)
    np.testing.assert_array_equal(model.get_layer('backbone_bn_01').beta.numpy(), start)


def test_backbone_alone(folder, answers):
    code, out, err = answers['backbone']
    assert code == 0, err
    assert '52 convolutions, 52 with BatchNorm; the backbone alone' in out
    assert checkpoints.describe(str(folder / 'start.h5')).class_names[:2] == ('aeroplane', 'bicycle')
    assert answers['backbone back'][0] == 0, answers['backbone back']
    assert (folder / 'back.conv.74').read_bytes()[20:] == (folder / 'net.conv.74').read_bytes()[20:]


def test_a_cfg_network_to_a_checkpoint_and_back_byte_for_byte(folder, answers):
    code, out, err = answers['cfg to checkpoint']
    assert code == 0, err
    assert '6 convolutions, 3 with BatchNorm; 7 classes' in out and '0 bytes unaccounted for' in out
    described = checkpoints.describe(str(folder / 'small.h5'))
    assert described.cfg == SMALL and described.image_size == (32, 64) and not described.letterbox
    assert described.anchors.strides == (2, 4) and len(described.class_names) == 7
    model, _ = checkpoints.load_model(str(folder / 'small.h5'))
    assert model.output_shape == (None, None, 12)
    assert answers['cfg and back'][0] == 0, answers['cfg and back']
    assert (folder / 'small.back').read_bytes() == (folder / 'small.weights').read_bytes()
    assert answers['ending says darknet'][0] == 0, answers['ending says darknet']
    assert (folder / 'small.again.weights').read_bytes() == (folder / 'small.weights').read_bytes()


def test_a_cfg_backbone_ends_where_its_file_ends(folder, answers):
    code, out, err = answers['cfg backbone']
    assert code == 0, err
    assert '2 convolutions, 2 with BatchNorm; the backbone alone' in out
    described = checkpoints.describe(str(folder / 'three.h5'))
    assert described.backbone_layers == 2 and described.class_names == ('class_0', 'class_1', 'class_2')
    assert answers['cfg backbone back'][0] == 0, answers['cfg backbone back']
    assert (folder / 'back.conv.2').read_bytes()[20:] == (folder / 'small.conv.2').read_bytes()[20:]


def test_a_network_of_other_classes_is_written_with_its_cfg(folder, answers):
    assert answers['cfg of other classes'][0] == 0, answers['cfg of other classes']
    network = cfg.load(folder / 'two.cfg')
    assert network.num_classes == 2 and network.anchors == cfg.parse(SMALL).anchors
    model = cfg.build(network)
    darknet_weights.read(folder / 'two.weights', model)
    # 16 x 2 (5 + 2) + 2 (5 + 2): the fine level's output, last in the file.
    last = np.fromfile(folder / 'two.weights', '<f4', offset=20)[-(16 * 14 + 14):]
    np.testing.assert_array_equal(model.get_layer('head_conv_014').bias.numpy(), last[:14])


@pytest.mark.parametrize('name, message', [
    ('over a cfg', 'two.cfg exists: choose another name, or allow overwriting (--overwrite)'),
    ('cfg of nothing', '--output_cfg without --to_darknet'),
    ('another cfg', 'It is cut off or of another cfg'),
    ('file of no layer', 'small.weights: small.cfg: backbone_layers=15: expected 0 to 10, the first layer whose'),
    ('cfg and width', '--width_multiplier beside --cfg'),
    ('cfg too many', '--cfg beside --to_darknet'),
    ('no such version', 'version 0.1000.0: expected three whole numbers such as 0.2.0, major and minor below 1000'),
    ('seen too much', 'seen 4294967296: expected from 0 to 4294967295 in a file of version 0.1.0'),
    ('size of no grid', 'input height 30 is not a positive multiple of 4'),
    ('onto itself', 'expected a file to write, got a folder or the file to read'),
    ('other class count', 'It fits a whole network of 3 classes'),
    ('names do not fit', '--classes=two_names: expected 3 names, got 2'),
    ('backbone of what', 'expected --num_classes beside it'),
    ('not a checkpoint', 'net.weights is not a readable checkpoint'),
    ('ending of neither', '--output=x.weights: expected a file ending in .h5'),
    ('odd size', '--image_size: expected 2 whole numbers')])
def test_an_error_is_one_line(folder, answers, name, message):
    code, _, err = answers[name]
    assert code == 2
    assert err.startswith('error: ') and message in err and err.count('\n') == 1
    assert not list(folder.glob('x.*')) and not list(folder.glob('*.part*'))


def test_started_as_a_script(tmp_path):
    done = subprocess.run([sys.executable, str(ROOT / 'convert_darknet_weights.py'), '--model=none.weights',
                           '--output=x.h5'], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        'error: none.weights: expected a darknet weights file, got no such file: check the path')
