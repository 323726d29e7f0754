"""Means, deviations and differences against arithmetic by hand; what was not evaluated is a dash."""
import csv
import io

import numpy as np
import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import report, results
from yolov3_tf.experiments import tabulate
from yolov3_tf.experiments.table_file import Cell, Table
from yolov3_tf.structures import Dataset, Detections, Record

SEEDS = [0, 1, 2]


def table(comparisons=(('giou', 'mse'),)):
    cells = tuple(Cell(name, (), paper, note, '') for name, paper, note in
                  (('mse', 82.46, 'squared'), ('giou', 83.11, ''), ('early', None, '')))
    return Table('mine', 'Mine', 'Which?', (), cells, comparisons)


def run(score, *samples):
    """A run with this mAP; its samples are the mAP of the set itself and of each resample."""
    summary = dict.fromkeys(tabulate.MEASURES, score)
    return tabulate.Scored(summary, {name: np.array([score, *samples]) for name in tabulate.MEASURES})


SCORED = {'mse': {0: run(.50, .5, .4), 1: run(.60, .6, .5), 2: run(.70, .7, .6)},
            'giou': {0: run(.53, .5, .5), 1: run(.66, .6, .6), 2: run(.69, .7, .7)}, 'early': {}}


def row(found, kind, name, measure='mAP'):
    return next(one for one in found if (one.kind, one.name, one.measure) == (kind, name, measure))


def test_means_deviations_and_differences_by_hand():
    """mse 50, 60, 70: mean 60, deviation sqrt((100 + 0 + 100) / 2) = 10. Differences +3, +6, -1: mean 8/3; of the two
    resamples the means are 0 and 10, whose middle 95 % runs from .25 to 9.75."""
    found = tabulate.rows(table(), SCORED)
    mse, difference = row(found, 'cell', 'mse'), row(found, 'difference', 'giou - mse')
    assert (mse.mean, mse.deviation, mse.paper) == (pytest.approx(60), pytest.approx(10), 82.46)
    assert list(difference.values.values()) == pytest.approx([3, 6, -1])
    assert (difference.mean, difference.paper) == (pytest.approx(8 / 3), pytest.approx(.65))
    assert (difference.low, difference.high) == (pytest.approx(.25), pytest.approx(9.75))
    assert difference.same_sign == 2
    coco = row(found, 'difference', 'giou - mse', 'coco_AP')
    assert (coco.mean, coco.low, coco.paper) == (pytest.approx(8 / 3), pytest.approx(.25), None)


def test_the_page():
    found = tabulate.rows(table((('giou', 'mse'), ('early', 'mse'))), SCORED)
    page = tabulate.to_markdown(table((('giou', 'mse'), ('early', 'mse'))), found, SEEDS, ['About.'], 'mine.png',
                                {'mse': [['python', 'train.py', '--a b']]})
    for line in ('# Mine', 'Which?', 'About.', 'mse: squared',
                 '![validation mAP over the steps of each cell](mine.png)',
                 '| mse | 82.46 | 60.00 ± 10.00 | 60.00 ± 10.00 | 60.00 ± 10.00 | 60.00 ± 10.00 | 3 of 3 |',
                 '| early | - | - | - | - | - | 0 of 3 |',
                 '| giou - mse | +0.65 | +2.67 | [+0.25, +9.75] | +3.00 | +6.00 | -1.00 | 2 of 3 |',
                 '| early - mse | - | - | - | - | - | - | - |', '| early - mse | - | - | - |',
                 '| giou - mse | +2.67 [+0.25, +9.75] | +2.67 [+0.25, +9.75] | +2.67 [+0.25, +9.75] |',
                 "* mse: `python train.py '--a b'`"):
        assert line in page.splitlines(), line


def test_a_seed_that_one_cell_lacks_is_left_out_of_the_difference():
    evaluated = dict(SCORED, giou={1: SCORED['giou'][1]})
    found = tabulate.rows(table(), evaluated)
    assert row(found, 'difference', 'giou - mse').mean == pytest.approx(6)
    assert row(found, 'cell', 'giou').deviation is None
    text = tabulate.to_csv(found, SEEDS)
    line = next(one for one in csv.DictReader(io.StringIO(text)) if one['name'] == 'giou' and one['measure'] == 'mAP')
    assert line == dict(kind='cell', name='giou', measure='mAP', paper='83.11', runs='1', mean='66.0000', deviation='',
                        low='', high='', same_sign='', seed_0='', seed_1='66.0000', seed_2='')


def test_a_score_that_is_nan_is_a_dash():
    """COCO's AP of a set without objects."""
    nothing = run(float('nan'), float('nan'))
    found = tabulate.rows(table(), dict(mse={0: nothing}, giou={0: nothing}, early={}))
    page = tabulate.to_markdown(table(), found, [0], [], '', {})
    assert '| mse | 82.46 | - | - | - | - | 1 of 1 |' in page and 'nan' not in page
    assert 'nan' not in tabulate.to_csv(found, [0])


def test_times(tmp_path):
    """Of 10, 20 and 60 seconds the median is 20."""
    lines = [dict(run=f'r{seconds}', kind='cell', steps=5, seconds=seconds) for seconds in (10, 20, 60)]
    path = tabulate.write_times(tmp_path / 't.csv', [*lines, dict(run='p', kind='asymptotic', steps=2, seconds=7)])
    assert path.read_text().splitlines() == ['run,kind,steps,seconds,to_median', 'r10,cell,5,10,0.50',
                                             'r20,cell,5,20,1.00', 'r60,cell,5,60,3.00', 'p,asymptotic,2,7,1.00']


def finished_run(folder, dataset, seed):
    rng = np.random.default_rng(seed)
    detections = [Detections(record.image_id, record.boxes + rng.normal(0, 3, record.boxes.shape),
                                    rng.random(len(record.boxes)), record.classes) for record in dataset.records]
    evaluated = report.evaluate(dataset, detections)
    report.write(folder / 'evaluation', evaluated)
    results.write_coco(folder / 'evaluation' / 'detections.json', detections)
    (folder / 'labels.txt').write_text(''.join(f'{name}\n' for name in dataset.class_names))
    return evaluated


def random_set():
    rng, records = np.random.default_rng(0), []
    for number in range(20):
        near = rng.uniform(0, 90, (3, 2)).astype(np.float32)
        boxes = np.hstack([near, near + rng.uniform(10, 40, (3, 2)).astype(np.float32)])
        records.append(Record('', f'00{number}', 0, 0, boxes, rng.integers(0, 2, 3).astype(np.int32),
                              rng.random(3) < .3, np.zeros(3, bool), np.ones(3, np.float32)))
    return Dataset(records, ['cat', 'dog'], [])


def test_a_run_is_read_from_its_files_and_checked_against_its_own_score(tmp_path, monkeypatch):
    dataset = random_set()
    monkeypatch.setattr(tabulate.specs, 'load', lambda spec, classes, split: dataset)
    evaluated = finished_run(tmp_path / 'a', dataset, 1)
    finished_runs = tabulate.FinishedRuns('voc:somewhere:val', 50)
    got = finished_runs.of(tmp_path / 'a')
    assert got.summary['coco_AP'] == pytest.approx(evaluated.summary['coco_AP'])
    assert {name: values[0] for name, values in got.samples.items()} == pytest.approx(
        {name: evaluated.summary[name] for name in got.samples}, abs=1e-9)
    assert len(got.samples['mAP']) == 51 and len(np.unique(got.samples['mAP'])) > 10
    finished_run(tmp_path / 'b', dataset, 2)
    (tmp_path / 'b/evaluation/detections.json').write_text((tmp_path / 'a/evaluation/detections.json').read_text())
    with pytest.raises(InputError, match='the run reported .*: were the annotations changed'):
        finished_runs.of(tmp_path / 'b')
    finished_run(tmp_path / 'c', dataset._replace(class_names=['dog', 'cat']), 2)
    with pytest.raises(InputError, match='other classes are compared: cat, dog and dog, cat'):
        finished_runs.of(tmp_path / 'c')
