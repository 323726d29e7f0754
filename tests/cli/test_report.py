"""The command report on a run's files, on result files of any detector, and on what is neither."""
import json
import os
import shutil

import numpy as np
import pytest
from fixtures import program_flags, small_report

from yolov3_tf.cli import report as program
from yolov3_tf.data import held_out
from yolov3_tf.data.readers import specs
from yolov3_tf.evaluation import results
from yolov3_tf.run_report import lock
from yolov3_tf.structures import Detections


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a run on a list, COCO results, and comp4 files."""
    monkeypatch.chdir(tmp_path)
    dataset = small_report.dataset(tmp_path / 'images')
    dataset = dataset._replace(class_names=['ant', 'bee', 'cow'], records=[
        record._replace(difficult=record.difficult & False) for record in dataset.records])
    shutil.copy(dataset.records[1].image_path, dataset.records[0].image_path)
    found = small_report.detections(dataset)
    (tmp_path / 'names.txt').write_text('ant\nbee\ncow\n')
    lines = [' '.join([str(number), record.image_path, '80', '60', *(
        f'{label} {" ".join(f"{x:g}" for x in box)}' for label, box in zip(record.classes, record.boxes))])
        for number, record in enumerate(dataset.records)]
    (tmp_path / 'val.txt').write_text('\n'.join(lines) + '\n')
    shutil.copy(tmp_path / 'names.txt', tmp_path / 'classes.names')
    results.write_coco(tmp_path / 'found.json', found)
    results.write_voc(tmp_path / 'comp4', found, dataset.class_names)
    run = tmp_path / 'runs' / 'mine'
    results.write_coco(run / 'evaluation' / 'detections.json', found)
    (run / 'run.flags').write_text('--val_data=list:val.txt\n--train_data=list:val.txt\n--seed=3\n')
    shutil.copy(tmp_path / 'names.txt', run / 'labels.txt')
    (run / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in small_report.metrics()))
    lock.write(run, small_report.made_with(tmp_path, dataset))
    return tmp_path


def test_the_page_of_a_run_is_in_it(folder, capsys):
    assert program_flags.run(program, 'runs/mine/') == 0
    text = (folder / 'runs' / 'mine' / 'report.html').read_text(encoding='utf-8')
    assert '<h1>mine</h1>' in text and 'id="training"' in text and 'Python 3.' in text and text.count('<img') > 4
    said = capsys.readouterr().out
    assert 'Best F1' in said and '* Few objects' in said and said.splitlines()[-1] == 'report  runs/mine/report.html'
    assert max(map(len, said.splitlines())) <= 100


def test_a_drawn_validation_part_is_found_in_the_run_under_the_names_of_the_data(folder):
    """A COCO set: its images have numbers there, and names of files in the lists of the split."""
    whole = specs.load('list:val.txt')
    (folder / 'set.json').write_text(json.dumps({
        'images': [{'id': 40 + k, 'file_name': os.path.basename(record.image_path), 'width': 80, 'height': 60}
                   for k, record in enumerate(whole.records)],
        'annotations': [{'id': 100 * k + j + 1, 'image_id': 40 + k, 'category_id': int(label) + 1, 'iscrowd': 0,
                         'bbox': [float(box[0]), float(box[1]), float(box[2] - box[0]), float(box[3] - box[1])]}
                        for k, record in enumerate(whole.records)
                        for j, (label, box) in enumerate(zip(record.classes, record.boxes))],
        'categories': [{'id': k + 1, 'name': name} for k, name in enumerate(whole.class_names)]}))
    run, dataset = folder / 'runs' / 'mine', specs.load('coco:set.json:images')
    split = held_out.draw(dataset.records, .3, 0)
    held_out.write(run / 'split', dataset, split)
    (run / 'run.flags').write_text('--train_data=coco:set.json:images\n')
    part = held_out.part(dataset, split.val, False)
    results.write_coco(run / 'evaluation' / 'detections.json', [
        Detections(record.image_id, record.boxes, np.ones(len(record.boxes), np.float32), record.classes)
        for record in part.records])
    assert program_flags.run(program, 'runs/mine', '--output=page.html', '--images=0') == 0
    text = (folder / 'page.html').read_text(encoding='utf-8')
    shown = f'<b>{len(part.records)}</b>images'
    assert '<img' not in text and '<b>100.0</b>mAP' in text and shown in text
    # The whole set and the run's own list mean the same images.
    for data in ('coco:set.json:images', 'list:runs/mine/split/val.txt'):
        program_flags.run(program, 'runs/mine', '--output=again.html', '--images=0', f'--data={data}')
        assert shown in (folder / 'again.html').read_text(encoding='utf-8')


@pytest.mark.parametrize('given', ['found.json', 'comp4', 'evaluated'])
def test_results_of_any_detector(folder, given):
    (folder / 'evaluated').mkdir()
    shutil.copy(folder / 'found.json', folder / 'evaluated' / 'coco_results.json')
    assert program_flags.run(program, given, '--data=list:val.txt') == 0
    name = given.partition('.')[0]
    text = (folder / 'runs' / f'report-{name}' / 'report.html').read_text(encoding='utf-8')
    assert f'<h1>{name}</h1>' in text and 'there is no run.lock.json' in text


@pytest.mark.parametrize('arguments, message', [
    ([], 'expected the folder of a run, or result files, got nothing'), (['a', 'b'], 'got a and b'),
    (['gone'], 'gone: nothing there'), (['found.json'], '--data: expected the annotated images that found.json'),
    (['images', '--data=list:val.txt'], 'expected comp4_det_SET_CLASS.txt files'),
    (['runs/mine', '--data=list:other.txt'], 'other.txt')])
def test_what_it_cannot_use(folder, capsys, arguments, message):
    assert program_flags.run(program, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith('error: ') and message in error and len(error.splitlines()) == 1


def test_data_that_moved_and_a_run_that_is_not_finished(folder, capsys):
    (folder / 'val.txt').rename(folder / 'moved.txt')
    assert program_flags.run(program, 'runs/mine') == 2
    assert 'give them with --data=SPEC if they have moved' in capsys.readouterr().err
    assert program_flags.run(program, 'runs/mine', '--data=list:moved.txt') == 0
    shutil.rmtree(folder / 'runs' / 'mine' / 'evaluation')
    assert program_flags.run(program, 'runs/mine') == 2
    assert 'type its command again to finish it' in capsys.readouterr().err


def test_a_run_of_the_asymptotic_stage_has_its_page_already(folder, capsys):
    (folder / 'runs' / 'asy' / 'evaluation').mkdir(parents=True)
    (folder / 'runs' / 'asy' / 'evaluation' / 'presence.json').write_text('{}')
    (folder / 'runs' / 'asy' / 'run.flags').write_text('--asymptotic\n')
    assert program_flags.run(program, 'runs/asy') == 2
    assert 'ends with the stage asymptotic' in capsys.readouterr().err
