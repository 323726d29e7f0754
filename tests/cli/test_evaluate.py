"""evaluate.py on result files and a checkpoint, its JSON, and what it refuses."""
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
from fixtures import program_flags, small_checkpoint

from yolov3_tf.cli import evaluate as program
from yolov3_tf.data.readers import specs
from yolov3_tf.evaluation import results
from yolov3_tf.structures import Detections

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Result files with the true boxes of the validation part of the shapes, and a checkpoint."""
    folder = tmp_path_factory.mktemp('work')
    truth = specs.load('shapes:12', split='val', cache=str(folder / 'runs' / 'data'))
    found = [Detections(record.image_id, record.boxes, np.ones(len(record.boxes), np.float32), record.classes)
             for record in truth.records]
    results.write_voc(folder / 'voc', found, truth.class_names)
    results.write_coco(folder / 'coco' / 'found.json', found)
    small_checkpoint.save(folder / 'model.h5', truth.class_names, (64, 64))
    (folder / 'reversed.names').write_text('\n'.join(reversed(truth.class_names)))
    return folder


def evaluate(folder, *flags):
    return subprocess.run([sys.executable, str(ROOT / 'evaluate.py'), '--data=shapes:12', *flags], cwd=folder,
                          capture_output=True, text=True, check=False)


@pytest.mark.parametrize('given', ['voc', 'coco/found.json'])
def test_the_true_boxes_score_100_percent_and_the_results_have_a_folder(folder, given):
    run = evaluate(folder, f'--results={given}', f'--output=out-{given[:3]}')
    assert run.returncode == 0, run.stderr
    evaluated = json.loads((folder / f'out-{given[:3]}' / 'metrics.json').read_text())
    assert evaluated['summary']['mAP'] == pytest.approx(1.)
    for name in ('comp4.tar', 'coco_results.json', 'precision_recall.png'):
        assert (folder / f'out-{given[:3]}' / name).stat().st_size


def test_the_category_numbers_of_coco_are_used_where_all_data_is_from_coco(folder):
    truth = specs.load('shapes:12', split='val', cache=str(folder / 'runs' / 'data'))
    record, name = truth.records[0], truth.class_names[0]
    (folder / 'one.json').write_text(json.dumps({
        'images': [{'id': 7, 'file_name': pathlib.Path(record.image_path).name, 'width': record.width,
                    'height': record.height}],
        'annotations': [{'id': 1, 'image_id': 7, 'category_id': 40, 'bbox': [1, 2, 30, 20]}],
        'categories': [{'id': 40, 'name': name}]}))
    coco = f'coco:one.json:{pathlib.Path(record.image_path).parent}'
    for spec, number in (coco, 40), (f'{coco},shapes:12', 1):
        (folder / 'found.json').write_text(json.dumps([
            {'image_id': 7, 'category_id': number, 'bbox': [1, 2, 30, 20], 'score': .9}]))
        run = evaluate(folder, f'--data={spec}', '--results=found.json', '--output=out-joined')
        assert run.returncode == 0, run.stderr
        written, = json.loads((folder / 'out-joined' / 'coco_results.json').read_text())
        assert written['category_id'] == number


def test_standard_output_has_only_the_json_and_a_run_means_its_best_checkpoint(folder):
    (folder / 'run' / 'checkpoints').mkdir(parents=True)
    shutil.copy(folder / 'model.h5', folder / 'run' / 'checkpoints' / 'best.h5')
    run = evaluate(folder, '--model=run', '--json=-', '--score_threshold=.001', '--iou_threshold=.6')
    assert run.returncode == 0, run.stderr
    scores = json.loads(run.stdout)
    truth = specs.load('shapes:12', split='val', cache=str(folder / 'runs' / 'data'))
    assert list(scores) == ['images', 'objects', 'class_names', 'metrics', 'per_class', 'skipped']
    assert scores['class_names'] == truth.class_names and scores['images'] == len(truth.records)
    assert scores['objects'] == sum(len(record.boxes) for record in truth.records) and scores['skipped'] == []
    assert 0 <= scores['metrics']['mAP'] <= 1 and len(scores['per_class']) == len(truth.class_names)
    assert 'VOC area' in run.stderr and 'written: ' in run.stderr
    written = json.loads((folder / 'run' / 'checkpoints' / 'evaluation-best' / 'metrics.json').read_text())
    assert written['summary'] == scores['metrics']


def test_json_goes_to_a_file_too(folder):
    run = evaluate(folder, '--results=voc', '--output=out-json', '--json=scores/out.json')
    assert run.returncode == 0, run.stderr
    assert json.loads((folder / 'scores' / 'out.json').read_text())['metrics']['mAP'] == pytest.approx(1.)
    assert 'VOC area' in run.stdout


@pytest.mark.parametrize('flags, message', [
    ([], 'either --model or --results'),
    (['--results=coco/found.json', '--output=coco'], 'choose another folder'),
    (['--model=model.h5', '--classes=reversed.names'], 'leave the flag out'),
    (['--model=none.h5'], 'no checkpoint at none.h5'),
    (['--model=model.h5', '--nms=soft', '--iou_threshold=.5'], 'soft suppression has no threshold'),
    (['--model=model.h5', 'shapes:12'], "unexpected argument 'shapes:12'"),
    (['--model=model.h5', '--tiles=2.5'], "--tiles=2.5: tiles '2.5': expected auto, a number of tiles"),
    (['--results=voc', '--tiles=auto'], '--tiles beside --results'),
    (['--model=model.h5', '--nms=hard'], "unknown kind of suppression (nms) 'hard'"),
])
def test_wrong_flags_are_refused_in_one_line(folder, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(folder)
    assert program_flags.run(program, '--data=shapes:12', *flags) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ') and message in error


def test_an_error_is_the_exit_status_of_the_script(folder):
    run = evaluate(folder)
    assert run.returncode == 2 and 'either --model or --results' in run.stderr.strip().splitlines()[-1]
