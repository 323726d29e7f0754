"""A checkpoint gives back what went in, in one piece or not at all."""
import json
import os
import pathlib
import subprocess
import sys

import h5py
import numpy as np
import pytest
import tensorflow as tf
from fixtures import narrow_network, small_cfg

from yolov3_tf.errors import InputError
from yolov3_tf.models import checkpoints, yolov3_network
from yolov3_tf.models.checkpoints import ModelConfig, Progress
from yolov3_tf.models.darknet import cfg

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAMES = 'cat', 'dög'
NETWORK = cfg.parse(small_cfg.TEXT, num_classes=2)
DESCRIPTION = ModelConfig(NAMES, 1., (96, 160), False, NETWORK.anchors, cfg=NETWORK.text,
                          backbone_layers=NETWORK.backbone_layers)
YOLOV3 = ModelConfig(NAMES, .125, (96, 160), False)


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """A checkpoint of a network of 16 layers, and that network."""
    path = str(tmp_path_factory.mktemp('checkpoints') / 'last.h5')
    model = checkpoints.build(DESCRIPTION)
    state = {'step': np.int64(7), 'momentum/000': np.arange(3, dtype=np.float32)}
    progress = Progress(state, {'stage': 1, 'sums': {'xy': .1}})
    checkpoints.save_model(path, model, DESCRIPTION, progress)
    return path, model


def save_drawn(path, head):
    """Writes a narrow YOLOv3 with weights that no other network begins with; returns the path and {layer: weights}."""
    model, random = narrow_network.fresh(2, head=head), np.random.default_rng(0)
    model.set_weights([random.uniform(.1, 1, weight.shape).astype('f4') for weight in model.get_weights()])
    checkpoints.save_model(str(path), model, YOLOV3._replace(head=head))
    return str(path), {layer.name: layer.get_weights() for layer in model.layers}


@pytest.fixture(scope='module')
def coupled(tmp_path_factory):
    return save_drawn(tmp_path_factory.mktemp('coupled') / 'last.h5', 'coupled')


@pytest.fixture(scope='module')
def separated(tmp_path_factory):
    return save_drawn(tmp_path_factory.mktemp('separated') / 'last.h5', 'separated')


def test_tiles_are_kept_and_a_file_without_them_is_as_before(saved, tmp_path):
    path, model = saved
    checkpoints.save_model(str(tmp_path / 'cut.h5'), model, DESCRIPTION._replace(tiles='auto'))
    assert checkpoints.describe(str(tmp_path / 'cut.h5')) == DESCRIPTION._replace(tiles='auto')
    with h5py.File(path) as file:
        assert 'tiles' not in json.loads(file.attrs['description'])


def test_round_trip(saved):
    path, model = saved
    again, config = checkpoints.load_model(path)
    assert config == DESCRIPTION
    assert len(again.weights) == len(model.weights)
    for mine, other in zip(again.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(mine, other)
    progress = checkpoints.load_progress(path)
    assert progress.counters == {'stage': 1, 'sums': {'xy': .1}}
    np.testing.assert_array_equal(progress.optimizer['momentum/000'], [0, 1, 2])
    assert progress.optimizer['step'] == 7


def test_a_write_that_failed_half_way_leaves_the_old_file(saved, tmp_path, monkeypatch):
    _, model = saved
    path = str(tmp_path / 'last.h5')
    checkpoints.save_model(path, model, DESCRIPTION)
    before = pathlib.Path(path).read_bytes()

    def full_disk(number):
        raise OSError('No space left on device')
    monkeypatch.setattr(os, 'fsync', full_disk)
    with pytest.raises(InputError, match='last.h5: cannot be written: No space.*older checkpoint there is unchanged'):
        checkpoints.save_model(path, model, DESCRIPTION, Progress({}, {'new': 1}))
    assert pathlib.Path(path).read_bytes() == before and os.listdir(tmp_path) == ['last.h5']


def test_a_disk_without_room_is_an_error_and_no_crash(saved, tmp_path):
    """A separate process, whose files may not grow beyond 3 kB, as on a full disk."""
    (tmp_path / 'try.py').write_text(
        'import resource, signal, sys\n'
        'from yolov3_tf.models import checkpoints\n'
        'model, config = checkpoints.load_model(sys.argv[1])\n'
        'signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n'
        'resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))\n'
        'try:\n'
        '    checkpoints.save_model("last.h5", model, config)\n'
        'except checkpoints.InputError as error:\n'
        '    print(error)\n')
    done = subprocess.run([sys.executable, 'try.py', saved[0]], cwd=tmp_path, capture_output=True, text=True,
                          env=dict(os.environ, PYTHONPATH=str(ROOT)), check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith('last.h5: cannot be written: File too large') and os.listdir(tmp_path) == ['try.py']


def test_counters_may_be_infinite_as_losses_before_the_first_validation(saved, tmp_path):
    path, counters = str(tmp_path / 'last.h5'), {'val_losses': [float('inf')], 'scores': [-1.]}
    checkpoints.save_model(path, saved[1], DESCRIPTION, Progress({}, counters))
    assert checkpoints.load_progress(path).counters == checkpoints.load_counters(path) == counters


def test_counters_may_name_thousands_of_skipped_images(saved, tmp_path):
    _, model = saved
    skipped = {f'{index:05d}.jpg': 'not an image, or a damaged one' for index in range(5000)}
    path = str(tmp_path / 'last.h5')
    checkpoints.save_model(path, model, DESCRIPTION, Progress({}, {'skipped': skipped}))
    assert checkpoints.load_progress(path).counters == {'skipped': skipped}


def test_another_class_count_fits_when_the_outputs_may_start_afresh(coupled):
    path, weights = coupled
    other = narrow_network.fresh(5)
    with pytest.raises(InputError, match='head_conv_'):
        checkpoints.load_weights(path, other)
    kept = checkpoints.load_weights(path, other, yolov3_network.OUTPUTS)
    assert sorted({name.split('/')[0] for name in kept}) == ['head_conv_59', 'head_conv_67', 'head_conv_75']
    np.testing.assert_array_equal(other.get_layer('head_conv_74').get_weights()[0],
                                  weights['head_conv_74'][0])


def test_a_head_is_kept(separated):
    path, weights = separated
    again, config = checkpoints.load_model(path)
    assert config == YOLOV3._replace(head='separated')
    assert {layer.name for layer in again.layers} == set(weights)
    for layer in again.layers:
        assert len(layer.get_weights()) == len(weights[layer.name])
        for mine, other in zip(layer.get_weights(), weights[layer.name]):
            np.testing.assert_array_equal(mine, other)


def test_files_from_before_there_were_heads_are_coupled(saved, tmp_path):
    path = tmp_path / 'old.h5'
    path.write_bytes(pathlib.Path(saved[0]).read_bytes())
    with h5py.File(path, 'a') as file:
        fields = json.loads(file.attrs['description'])
        del fields['head'], file.attrs['checksums']
        file.attrs['description'] = json.dumps(fields)
    assert checkpoints.describe(str(path)) == DESCRIPTION and DESCRIPTION.head == 'coupled'


def test_a_separated_head_for_other_classes_starts_only_what_depends_on_them_afresh(separated):
    path, weights = separated
    other = narrow_network.fresh(5, head='separated')
    kept = checkpoints.load_weights(path, other, yolov3_network.OUTPUTS)
    assert sorted({name.split('/')[0] for name in kept}) == [
        f'head_{number}_class_conv_07' for number in (59, 67, 75)]
    for name in ('head_59_class_conv_06', 'head_59_box_conv_07', 'head_75_box_bn_03'):
        np.testing.assert_array_equal(other.get_layer(name).get_weights()[0], weights[name][0])


def test_another_head_gives_what_both_have_and_is_refused_otherwise(coupled, separated):
    path, weights = coupled
    other = narrow_network.fresh(2, head='separated')
    with pytest.raises(InputError, match='head_75_.*got None.*--head'):
        checkpoints.load_weights(path, other)
    kept = {name.split('/')[0] for name in checkpoints.load_weights(path, other, yolov3_network.OUTPUTS)}
    # Per level two branches of 6 x (convolution, BatchNorm) and an output.
    assert len(kept) == 3 * 2 * 13 and all('_class_' in name or '_box_' in name for name in kept)
    np.testing.assert_array_equal(other.get_layer('head_conv_74').get_weights()[0],
                                  weights['head_conv_74'][0])
    other = narrow_network.fresh(2)
    kept = checkpoints.load_weights(separated[0], other, yolov3_network.OUTPUTS)
    assert sorted({name.split('/')[0] for name in kept}) == ['head_conv_59', 'head_conv_67', 'head_conv_75']


def test_a_backbone_is_taken_alone_whatever_the_head_and_classes(separated):
    path, weights = separated
    other = narrow_network.fresh(5)
    before = {layer.name: layer.get_weights() for layer in other.layers}
    checkpoints.load_backbone(path, other)
    compared = 0
    for layer in other.layers:
        ours = layer.name.startswith('backbone_')
        expected = weights[layer.name] if ours else before[layer.name]
        compared += ours and len(expected)
        for mine, value in zip(layer.get_weights(), expected):
            np.testing.assert_array_equal(mine, value)
    assert compared == 52 * 5
    assert not np.array_equal(before['backbone_conv_01'][0], other.get_layer('backbone_conv_01').get_weights()[0])


def test_a_backbone_that_does_not_fit_changes_nothing(separated, tmp_path):
    path, _ = separated
    wider = narrow_network.fresh(2, .25)
    before = wider.get_weights()
    with pytest.raises(InputError, match='backbone_.*width_multiplier'):
        checkpoints.load_backbone(path, wider)
    cut = tmp_path / 'cut.h5'
    cut.write_bytes(pathlib.Path(path).read_bytes())
    with h5py.File(cut, 'a') as file:
        del file['weights/backbone_conv_52']
    narrow = narrow_network.fresh(2)
    first = narrow.get_layer('backbone_conv_01').get_weights()[0]
    with pytest.raises(InputError, match='backbone_conv_52/kernel.*got None'):
        checkpoints.load_backbone(str(cut), narrow)
    np.testing.assert_array_equal(narrow.get_layer('backbone_conv_01').get_weights()[0], first)
    for mine, old in zip(wider.get_weights(), before):
        np.testing.assert_array_equal(mine, old)
    images = tf.keras.Input([None, None, 3])
    with pytest.raises(InputError, match='no layer of such a name'):
        checkpoints.load_backbone(path, tf.keras.Model(images, tf.keras.layers.Conv2D(3, 1, name='conv_01')(images)))


def test_another_width_is_refused_and_changes_nothing(coupled):
    path, _ = coupled
    other = narrow_network.fresh(2, .25)
    before = other.get_weights()
    with pytest.raises(InputError, match='width_multiplier'):
        checkpoints.load_weights(path, other)
    for mine, old in zip(other.get_weights(), before):
        np.testing.assert_array_equal(mine, old)


@pytest.mark.parametrize('content', [b'', b'<html>'])
def test_files_that_are_no_checkpoint_are_refused(tmp_path, content):
    path = tmp_path / 'x.h5'
    path.write_bytes(content)
    with pytest.raises(InputError, match='not a readable checkpoint'):
        checkpoints.describe(str(path))


def test_truncated_missing_and_foreign_files_are_refused(saved, tmp_path):
    path, _ = saved
    half = tmp_path / 'half.h5'
    half.write_bytes(pathlib.Path(path).read_bytes()[:5000])
    with pytest.raises(InputError, match='truncated'):
        checkpoints.load_model(str(half))
    with pytest.raises(InputError, match='no checkpoint at'):
        checkpoints.load_model(str(tmp_path / 'none.h5'))
    with h5py.File(tmp_path / 'foreign.h5', 'w') as file:
        file['x'] = 1
    with pytest.raises(InputError, match='convert_darknet_weights'):
        checkpoints.load_model(str(tmp_path / 'foreign.h5'))


@pytest.mark.parametrize('field, value, message', [
    ('width_multiplier', 1e6, 'describes a network of .* weights or more'), ('width_multiplier', -1, 'positive width'),
    ('width_multiplier', float('inf'), 'Infinity is no number'), ('width_multiplier', [], 'damaged'),
    ('image_size', [1 << 20, 96], 'at most 8192 pixels'), ('image_size', [10 ** 400, 96], 'damaged'),
    ('image_size', 'ab', 'damaged'), ('class_names', [], 'class names'), ('class_names', ['a\nb', 'c'], 'class names'),
    ('class_names', ['a\u2028', 'c'], 'class names'), ('class_names', ['a', 'a'], 'different class names'),
    ('class_names', [1, 2], 'class names'), ('class_names', 'ab' * 6000, 'class names'),
    ('anchors', [[[['a', 1]] * 3] * 3, [8, 16, 32]], 'anchors are damaged'),
    ('anchors', [[[[1, 1]] * 3] * 2, [8, 16]], 'not those of its network'),
    ('anchors', [[[[1, 1]] * 3] * 3, [8, 16, 0]], 'anchors are damaged'), ('head', {'a': 1}, 'unknown head')])
def test_a_description_no_network_has_is_refused_before_one_is_built(coupled, tmp_path, monkeypatch, field, value,
                                                                     message):
    path = tmp_path / 'described.h5'
    path.write_bytes(pathlib.Path(coupled[0]).read_bytes())
    with h5py.File(path, 'a') as file:
        file.attrs['description'] = json.dumps({**json.loads(file.attrs['description']), field: value})
        del file.attrs['checksums']
    monkeypatch.setattr(checkpoints, 'build', None)
    with pytest.raises(InputError, match=message):
        checkpoints.load_model(str(path))


@pytest.mark.parametrize('config, message', [
    ('{broken', 'damaged'), ('{}', 'damaged'), (('[96, 160]', '[100, 160]'), 'multiple of 32'),
    (('coupled', 'doubled'), "unknown head in .*damaged.h5 'doubled'")])
def test_a_damaged_description_is_refused(coupled, tmp_path, config, message):
    path = tmp_path / 'damaged.h5'
    path.write_bytes(pathlib.Path(coupled[0]).read_bytes())
    with h5py.File(path, 'a') as file:
        good = file.attrs['description'].decode()
        del file.attrs['checksums']                 # as in a file from before there were any
        file.attrs['description'] = good.replace(*config) if isinstance(config, tuple) else config
    with pytest.raises(InputError, match=message):
        checkpoints.load_model(str(path))


def test_a_flipped_bit_is_found_in_weights_state_and_description(saved, tmp_path):
    whole = pathlib.Path(saved[0]).read_bytes()
    path = tmp_path / 'flipped.h5'
    with h5py.File(saved[0]) as file:
        places = {name: file[f'{name}'].id.get_offset() for name in ('weights/head_conv_014/bias', 'optimizer/step')}
    for name, place in places.items():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:])
        with pytest.raises(InputError, match=f'{name} is not what was written'):
            (checkpoints.load_model if name.startswith('weights') else checkpoints.load_progress)(str(path))
    place = whole.index(b'"image_size": [96, 160]') + 16
    path.write_bytes(whole[:place] + b'3' + whole[place + 1:])
    with pytest.raises(InputError, match='damaged'):
        checkpoints.describe(str(path))


def test_weights_of_another_type_are_refused(saved, tmp_path):
    path = tmp_path / 'wide.h5'
    path.write_bytes(pathlib.Path(saved[0]).read_bytes())
    with h5py.File(path, 'a') as file:
        del file['weights/head_conv_014/bias'], file.attrs['checksums']
        file['weights/head_conv_014/bias'] = np.full(14, 7, np.int64)
    with pytest.raises(InputError, match='head_conv_014/bias as float32, got int64'):
        checkpoints.load_model(str(path))


def test_weights_that_are_not_finite_are_refused(saved, tmp_path):
    path = tmp_path / 'nan.h5'
    path.write_bytes(pathlib.Path(saved[0]).read_bytes())
    with h5py.File(path, 'a') as file:
        del file.attrs['checksums']
        file['weights/head_conv_014/bias'][3] = np.nan
    with pytest.raises(InputError, match='head_conv_014/bias.*not finite'):
        checkpoints.load_model(str(path))


def test_a_best_checkpoint_holds_no_training_to_go_on_with(saved, tmp_path):
    _, model = saved
    path = str(tmp_path / 'best.h5')
    checkpoints.save_model(path, model, DESCRIPTION)
    with pytest.raises(InputError, match='no training'):
        checkpoints.load_progress(path)
