"""detect.py run as its users run it, on a small untrained network, and what it refuses."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from fixtures import moving_squares, program_flags, small_checkpoint

from yolov3_tf.cli import detect as program
from yolov3_tf.cli import export as export_program
from yolov3_tf.inference.tracking import Tracking

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / 'detect.py'


def detect(folder, *arguments):
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], cwd=folder, capture_output=True, text=True,
                          timeout=300)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('work')
    small_checkpoint.save(folder / 'net.h5', ('ant', 'bee'), (96, 96))
    (folder / 'in').mkdir()
    random = np.random.RandomState(0)
    for name, size in (('a.jpg', (90, 120)), ('b.png', (150, 70)), ('c.jpg', (64, 64))):
        cv2.imwrite(str(folder / 'in' / name), random.randint(0, 255, [*size, 3]).astype(np.uint8))
    return folder


def test_each_call_has_a_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert program._new_folder() == 'runs/detect'
    (tmp_path / 'runs' / 'detect').mkdir(parents=True)
    assert program._new_folder() == 'runs/detect-2'
    (tmp_path / 'runs' / 'detect-2').mkdir()
    assert program._new_folder() == 'runs/detect-3'


def test_images_a_broken_one_and_an_unknown_kind(folder):
    (folder / 'broken.jpg').write_bytes((folder / 'in' / 'a.jpg').read_bytes()[:20])
    (folder / 'table.csv').touch()
    before = sorted((folder / 'in').iterdir())
    done = detect(folder, '--model=net.h5', '--score_threshold=.1', '--batch_size=2', 'in', 'broken.jpg', 'table.csv')
    assert done.returncode == 0, done.stderr
    assert '3 images' in done.stdout and 'images/s' in done.stdout
    assert 'skipped: broken.jpg: not an image' in done.stderr and 'table.csv: unknown kind' in done.stderr
    assert '2 inputs could not be used' in done.stderr
    assert sorted((folder / 'in').iterdir()) == before
    output = folder / 'runs' / 'detect'
    assert sorted(path.name for path in output.iterdir()) == ['a.jpg', 'b.jpg', 'c.jpg', 'detections.csv',
                                                              'detections.json']
    results = json.loads((output / 'detections.json').read_text())
    assert results['model'] == 'net.h5' and results['score_threshold'] == .1
    assert [(entry['file'], entry['width'], entry['height']) for entry in results['images']] == [
        ('in/a.jpg', 120, 90), ('in/b.png', 70, 150), ('in/c.jpg', 64, 64)]
    rows = (output / 'detections.csv').read_text().splitlines()
    assert len(rows) == 1 + sum(len(entry['detections']) for entry in results['images'])
    for entry in results['images']:
        assert entry['detections']
        for found in entry['detections']:
            x1, y1, x2, y2 = found['box']
            assert 0 <= x1 <= x2 <= entry['width'] and 0 <= y1 <= y2 <= entry['height']
            assert found['class'] in ('ant', 'bee') and found['score'] > .1


def test_a_run_brings_its_operating_point_and_the_flag_wins(folder, monkeypatch, capsys):
    (folder / 'run' / 'checkpoints').mkdir(parents=True)
    (folder / 'run' / 'evaluation').mkdir()
    shutil.copy(folder / 'net.h5', folder / 'run' / 'checkpoints' / 'best.h5')
    point = {'score': .12, 'f1': .8, 'precision': .9, 'recall': .7}
    (folder / 'run' / 'evaluation' / 'metrics.json').write_text(json.dumps(
        {'operating_point': {**point, 'per_class': {'ant': point}}}))
    monkeypatch.chdir(folder)
    assert program_flags.run(export_program, '--model=run', '--output=run/saved_model') == 0
    for number, (flags, score, note) in enumerate([
            (['--model=run'], .12, True), (['--model=run', '--score_threshold=.2'], .2, False),
            (['--model=run/saved_model'], .12, True), (['--model=net.h5'], .3, False)]):
        capsys.readouterr()
        assert program_flags.run(program, *flags, f'--output=by-{number}', 'in/a.jpg') == 0
        assert ('scores above 0.12, which has the best F1' in capsys.readouterr().out) == note
        found = json.loads((folder / f'by-{number}' / 'detections.json').read_text())
        assert found['score_threshold'] == score
        assert all(one['score'] > score - 1e-4 for image in found['images'] for one in image['detections'])


@pytest.mark.parametrize('arguments, code, message', [
    (['--model=net.h5', 'empty'], 1, 'skipped: empty: no images in this folder'),
    (['--model=net.h5', '--output=in', 'in'], 2, 'error: --output=in holds the input in/a.jpg'),
    (['--model=net.h5', '--tiles=1', 'in'], 2, "--tiles=1: tiles '1': expected auto, a number of tiles"),
    (['--model=net.h5', '--tile_overlap=.3', 'in'], 2, '--tile_overlap without --tiles'),
    (['--model=net.h5', '--track', 'in'], 2, 'in their numbers alone, such as frame_0001.jpg; got a.jpg'),
    (['--model=net.h5', '--track', 'in/a.jpg', 'in/b.png'], 2, 'folder of numbered images, got 2 images in 2 paths'),
    (['--model=net.h5', '--track', 'in/a.jpg'], 2, 'got 1 image in 1 path: give the folder alone'),
    (['--model=net.h5', '--track', 'empty'], 1, 'skipped: empty: no images in this folder'),
    (['--model=net.h5', '--track_buffer=2', 'in'], 2, 'error: --track_buffer without --track: nothing is followed'),
    (['--model=net.h5', '--track', '--score_threshold=.3', '--track_low_score=.4', 'in'], 2,
     '--track_low_score=0.4: expected at most the score that tracks begin above, 0.3 (--score_threshold)'),
    (['--model=net.h5', '--tiles=none', '--tile_overlap=.3', 'in'], 2, '--tile_overlap beside --tiles=none'),
    (['--model=net.h5'], 2, 'error: expected what to detect in after the flags, got nothing: camera:0, rtsp://'),
    (['in'], 2, "error: --model: expected a run's folder, a checkpoint (.h5)"),
    (['--model=gone', 'in'], 2, "error: gone: no model there: expected a run's folder, a checkpoint (.h5)"),
    (['--model=gone.h5', '--output=.', 'camera:0'], 2, 'gone.h5')])     # a camera is in no folder
def test_nothing_to_do_ends_with_1_and_wrong_input_with_2(folder, monkeypatch, capsys, arguments, code, message):
    (folder / 'empty').mkdir(exist_ok=True)
    monkeypatch.chdir(folder)
    assert program_flags.run(program, *arguments) == code
    assert message in capsys.readouterr().err


def test_detection_in_tiles(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    found = {}
    for name, flags in {'plain': [], 'cut': ['--tiles=48', '--tile_overlap=.3'], 'auto': ['--tiles=auto']}.items():
        assert program_flags.run(program, '--model=net.h5', '--score_threshold=.1', f'--output={name}', *flags,
                                 'in') == 0
        found[name] = json.loads((folder / name / 'detections.json').read_text())
    assert 'tiles' not in found['plain'] and (found['cut']['tiles'], found['cut']['tile_overlap']) == ('48', .3)
    count = {name: [len(image['detections']) for image in one['images']] for name, one in found.items()}
    assert count['cut'] != count['plain'] and count['auto'][2] == count['plain'][2]         # 64 pixels, a tile has 96


def test_a_video_and_a_folder_of_its_frames_are_tracked(folder, monkeypatch, capsys):
    """The network is asked for scores from --track_low_score; what is written are tracks, in files that agree."""
    scene = moving_squares.crossing()[:2]
    moving_squares.write_video(folder / 'film.avi', scene)
    moving_squares.write_folder(folder / 'MOT-1' / 'img1', scene)
    (folder / 'MOT-1' / 'seqinfo.ini').write_text('[Sequence]\nframeRate=10\n')
    asked, load = [], program.detector.load
    monkeypatch.setattr(program.detector, 'load', lambda path, settings: asked.append(
        settings.suppression.score_threshold) or load(path, settings))
    monkeypatch.chdir(folder)
    flags = ['--model=net.h5', '--score_threshold=.12', '--track', '--max_frames=6']
    for name, given, kind in (('MOT-1', ['MOT-1', '--tiles=200'], 'images'),
                              ('film', ['film.avi', '--track_low_score=.11', '--track_buffer=.5'], 'frames')):
        assert program_flags.run(program, *flags, f'--output=tracks-{len(asked)}', *given) == 0
        output = folder / f'tracks-{len(asked) - 1}'
        said = capsys.readouterr().out
        results = json.loads((output / 'detections.json').read_text())
        found = [(entry['frame'], one) for entry in results[kind] for one in entry['detections']]
        assert [entry['frame'] for entry in results[kind]] == list(range(6))
        numbers = {one['track'] for _, one in found}
        assert numbers == set(range(1, len(numbers) + 1)) and len(numbers) > 1
        assert f'6 images, {len(found)} detections of {len(numbers)} tracks' in said
        lines = [line.split(',') for line in (output / f'{name}.mot.txt').read_text().splitlines()]
        assert sorted((int(line[0]) - 1, int(line[1])) for line in lines) == sorted(
            (frame, one['track']) for frame, one in found)
        assert len((output / f'{name}.tracks.csv').read_text().splitlines()) == 1 + len(numbers)
        assert (output / 'detections.csv').read_text().splitlines()[0].endswith(',y2,track')
        assert results['score_threshold'] == .12
        if name == 'MOT-1':
            assert 'MOT-1/img1: the frames of one video, 000001.png to 000006.png, 10 in a second' in said
            assert results['tiles'] == '200' and (output / '000006.jpg').is_file()
    assert asked == [.06, .11]
    assert results['track'] == {'low_score': .11, 'iou': .2, 'buffer': .5}


@pytest.mark.parametrize('exported, score, tracking, noted', [
    (.3, .3, None, ''), (.3, .2, None, 'with score_threshold=0.3\n'), (.2, .3, Tracking(.3, .2), ''),
    (.3, .3, Tracking(.3), 'with score_threshold=0.3, so tracks cannot go on with detections that score from 0.1 to')])
def test_an_export_without_low_scores_is_said(capsys, exported, score, tracking, noted):
    program._note_exported(program_flags.options(program, '--model=high'), exported, score, tracking)
    said = capsys.readouterr().out
    assert noted in said and bool(said) == bool(noted)
def test_a_model_that_was_trained_for_tiles_looks_in_them(folder, monkeypatch, capsys):
    """As a checkpoint and exported; --tiles sets others, and none of them."""
    monkeypatch.chdir(folder)
    small_checkpoint.save(folder / 'cut.h5', ('ant', 'bee'), (96, 96), tiles='48')
    assert program_flags.run(export_program, '--model=cut.h5', '--output=cut_model') == 0
    for model in ('cut.h5', 'cut_model'):
        for name, flags, expected in (('own', ['--tile_overlap=.3'], ('48', .3)), ('other', ['--tiles=64'], ('64', .2)),
                                      ('none', ['--tiles=none'], None)):
            output = f'{model}-{name}'
            assert program_flags.run(program, f'--model={model}', '--score_threshold=.1', f'--output={output}', *flags,
                                     'in/b.png') == 0
            found = json.loads((folder / output / 'detections.json').read_text())
            assert (found.get('tiles'), found.get('tile_overlap')) == (expected or (None, None))
            said = 'tiles: 48, as this model was trained (--tiles=none for the whole image alone)'
            assert (said in capsys.readouterr().err) == (name == 'own')


def test_names_that_are_not_utf8_are_reported_and_the_other_images_are_used(folder, monkeypatch, capsys):
    (folder / 'odd').mkdir()
    try:
        shutil.copy(folder / 'in/a.jpg', os.fsencode(folder) + b'/odd/caf\xe9.jpg')
    except OSError:
        pytest.skip('this disk takes no such name')
    shutil.copy(folder / 'in/a.jpg', folder / 'odd')
    monkeypatch.chdir(folder)
    assert program_flags.run(program, '--model=net.h5', '--output=named', 'odd') == 0
    assert r"skipped: 'odd/caf\udce9.jpg': the name is not UTF-8, so rename the file" in capsys.readouterr().err
    results = json.loads((folder / 'named' / 'detections.json').read_text())
    assert [entry['file'] for entry in results['images']] == ['odd/a.jpg']
