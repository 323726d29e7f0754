"""export_saved_model.py run as its users run it, detect on what it wrote, and what is refused."""
import json
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest
from fixtures import program_flags, small_checkpoint

from yolov3_tf.cli import detect, export
from yolov3_tf.training import cpu_speed

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(folder, script, *arguments):
    return subprocess.run([sys.executable, str(ROOT / script), *arguments], cwd=folder, capture_output=True,
                          text=True, timeout=300)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('work')
    small_checkpoint.save(folder / 'net.h5', ('ant', 'bee'), (96, 128), letterbox=False)
    return folder


def test_export_then_detect_in_a_video(folder, monkeypatch, capsys):
    done = run(folder, 'export_saved_model.py', '--model=net.h5', '--output=served', '--version=4',
               '--score_threshold=.2', '--max_total=40', '--class_offset=0')
    assert done.returncode == 0, done.stderr
    for line in ('served/4:', '  serving_default', '    in  images             string   [?]',
                 '    out detection_boxes    float32  [?, 40, 4]', 'Serve it:'):
        assert line in done.stdout.splitlines()
    values = json.loads((folder / 'served' / '4' / 'assets.extra' / 'model.json').read_text())
    assert values['input_size'] == [96, 128] and values['letterbox'] is False and values['class_offset'] == 0

    writer = cv2.VideoWriter(str(folder / 'film.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 5, (100, 80))
    for seed in range(3):
        writer.write(np.random.RandomState(seed).randint(0, 255, [80, 100, 3]).astype(np.uint8))
    writer.release()
    monkeypatch.chdir(folder)
    assert program_flags.run(detect, '--model=served', '--output=seen', '--score_threshold=.1', 'film.avi') == 0
    assert 'exported with score_threshold=0.2' in capsys.readouterr().out
    results = json.loads((folder / 'seen' / 'detections.json').read_text())
    assert results['file'] == 'film.avi' and [entry['frame'] for entry in results['frames']] == [0, 1, 2]
    found = [one for entry in results['frames'] for one in entry['detections']]
    assert found and {one['class'] for one in found} <= {'ant', 'bee'} and min(one['score'] for one in found) > .2


def test_wrong_input_is_one_line_and_ends_with_2(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert program_flags.run(export, '--model=absent.h5') == 2
    error = capsys.readouterr().err
    assert error.startswith('error: no checkpoint at absent.h5') and error.count('\n') == 1


@pytest.mark.parametrize('arguments, message', [
    (['--format=onnx', '--version=2'], '--version is for --format=saved_model'),
    (['--format=tflite', '--tflite_type=int8'], 'needs images to calibrate with')])
def test_flags_without_effect_are_refused(folder, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(folder)
    assert program_flags.run(export, '--model=net.h5', *arguments) == 2
    assert message in capsys.readouterr().err


def test_darknet_files_by_the_command_line_and_detections_from_them(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert program_flags.run(export, '--model=net.h5', '--format=darknet', '--class_offset=0') == 0
    assert 'wrote net.cfg' in capsys.readouterr().out
    cv2.imwrite(str(folder / 'a.png'), np.random.RandomState(0).randint(0, 255, [60, 90, 3]).astype(np.uint8))
    assert program_flags.run(detect, '--model=net.weights', '--output=dark', '--score_threshold=.1', 'a.png') == 0
    assert '1 images' in capsys.readouterr().out


@pytest.mark.parametrize('has, speed, note', [
    (False, None, 'note: this CPU does not multiply bfloat16: half the memory, but no faster here than float32\n'),
    (True, .57, 'note: bfloat16 measured 0.57 times as fast as float32 on this CPU: it only halves the memory\n'),
    (True, 1.7, '')])
def test_a_note_says_where_bfloat16_is_no_faster(monkeypatch, capsys, has, speed, note):
    monkeypatch.setattr(cpu_speed, 'has_bfloat16', lambda: has)
    monkeypatch.setattr(cpu_speed, 'bfloat16_speed', lambda: speed)
    export.note_speed()
    assert capsys.readouterr().out == note
