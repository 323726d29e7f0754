"""Figures are made from files alone, of any run however short; numbers are read right and bad files named."""
import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from yolov3_tf.drawing import plots
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import report
from yolov3_tf.structures import Dataset, Detections, Record

BLUE = (0x00, 0x72, 0xB2)


def metrics_lines():
    """Two stages of 20 training lines and one validation line each."""
    lines = []
    for stage, rate, first in (('head', 1e-3, 0), ('full', 1e-4, 200)):
        same = dict(stage=stage, epoch=0)
        lines += [dict(same, kind='train', step=first + 10 * k, lr=rate, giou=2. / k, total=3. / k)
                  for k in range(1, 21)]
        lines.append(dict(same, kind='val', step=first + 200, giou=1., total=2., mAP=.5))
    return lines


def write_lines(path, lines, tail=''):
    path.write_text(''.join(json.dumps(line) + '\n' for line in lines) + tail)
    return path


def read_plot(path):
    image = cv2.imread(str(path))
    assert image is not None and image.shape[1] > 800 and len(np.unique(image)) > 20    # something is drawn
    return image


def has(image, rgb):
    """Whether a line of this colour is in the figure."""
    return (np.abs(image.astype(int) - rgb[::-1]).sum(axis=-1) < 12).sum() > 100


def test_training_curves(tmp_path):
    metrics = write_lines(tmp_path / 'm.jsonl', metrics_lines())
    image = read_plot(plots.training_curves(metrics, tmp_path / 'new' / 'c.png'))
    assert has(image, BLUE) and has(image, (0, 0, 0))    # the part, the total
    presence = [dict(line, class_mAP=line['mAP']) if 'mAP' in line else line for line in metrics_lines()]
    for line in presence:
        line.pop('mAP', None)
    assert read_plot(plots.training_curves(write_lines(tmp_path / 'p.jsonl', presence), tmp_path / 'p.png')).shape == \
        image.shape                                      # the asymptotic stage's score has a panel too
    losses_only = write_lines(tmp_path / 'n.jsonl', metrics_lines()[:5])
    assert read_plot(plots.training_curves(losses_only, tmp_path / 'd.png')).shape[0] < image.shape[0]


@pytest.mark.parametrize('lines', [
    metrics_lines()[:1],
    [dict(kind='train', stage='a', epoch=0, step=1, lr=0., total=0.)],
    [dict(kind='train', stage='a', epoch=0, step=1, lr=1e-3, total=-1., part=float('nan'))],
    [dict(kind='val', stage='a', epoch=0, step=1, mAP=0.)],
    [dict(kind='val', stage='a', epoch=0, step=1, mAP=float('nan'), total=1.)],
])
def test_the_shortest_runs(tmp_path, lines):
    assert plots.training_curves(write_lines(tmp_path / 'm.jsonl', lines), tmp_path / 'c.png').stat().st_size


def test_series_and_stages_are_read_right():
    lines = [*metrics_lines(), dict(kind='train', stage='full', step=999, lr=float('inf'))]
    rate = plots.series(lines, 'train', 'lr')
    assert rate.steps.tolist() == list(range(10, 401, 10))
    assert rate.values.tolist() == [1e-3] * 20 + [1e-4] * 20
    assert plots.series(lines, 'val', 'mAP').values.tolist() == [.5, .5]
    assert plots.stage_starts(lines) == [(10, 'head'), (200, 'full')]


def test_smoothing_by_hand():
    """Window 3: means of 2, 3, 3 and 2 neighbours; window 0 or 1 changes nothing."""
    assert plots.smooth(np.array([1., 2, 6, 4]), 3).tolist() == [1.5, 3, 4, 5]
    for window in (0, 1):
        assert plots.smooth(np.array([1., 5]), window).tolist() == [1, 5]
    assert plots.smooth(np.zeros(0), 3).tolist() == []


def test_an_unfinished_last_line_is_passed_over(tmp_path):
    lines = metrics_lines()
    assert plots.read_metrics(write_lines(tmp_path / 'm.jsonl', lines, '{"kind": "tra')) == lines


@pytest.mark.parametrize('text, message', [
    ('', 'expected at least one line, got an empty file'),
    ('{"kind": "train", "stage": "a", "step": 1}\n{"kind": \n', 'm.jsonl:2: expected a JSON object'),
    ('[]\n', r'm.jsonl:1: expected a JSON object with kind, stage and step, got \[\]'),
    ('{"kind": "train", "stage": "a", "step": null}\n', 'm.jsonl:1: expected a JSON object'),
])
def test_bad_metrics(tmp_path, text, message):
    (tmp_path / 'm.jsonl').write_text(text)
    with pytest.raises(InputError, match=message):
        plots.training_curves(tmp_path / 'm.jsonl', tmp_path / 'c.png')
    with pytest.raises(InputError, match='expected the metrics.jsonl of a run, got no such file'):
        plots.training_curves(tmp_path / 'absent', tmp_path / 'c.png')


def evaluated(classes, seed=0, names=None):
    """A report in which the last class has no object."""
    rng, records, detections = np.random.default_rng(seed), [], []
    for image_number in range(classes):
        near = rng.uniform(0, 90, (8, 2))
        boxes = np.hstack([near, near + 30]).astype(np.float32)
        class_ids = ((np.arange(8) + 8 * image_number) % (classes - 1)).astype(np.int32)
        none = np.zeros(8, bool)
        records.append(Record('', str(image_number), 0, 0, boxes, class_ids, none, none, np.full(8, 900.)))
        moved = (boxes + rng.normal(0, 4, (8, 1))).astype(np.float32)
        detections.append(Detections(str(image_number), moved, rng.random(8), class_ids))
    names = names or [f'class {k}' for k in range(classes)]
    return report.evaluate(Dataset(records, names, []), detections)


@pytest.mark.parametrize('classes', [3, 25, 40])
def test_precision_recall(tmp_path, classes):
    path = report.write(tmp_path, evaluated(classes))
    image = read_plot(plots.precision_recall(path, tmp_path / 'new' / 'pr.png'))
    assert has(image, (0, 0, 0)) and has(image, BLUE) == (classes - 1 <= plots.NAMED_CURVES)


@pytest.mark.parametrize('name', ['$', 'a$\\b$', '$_$', 'US$ 5_^{', '\\frac'])
def test_a_class_name_is_no_formula(tmp_path, name):
    path = report.write(tmp_path, evaluated(3, names=[name, 'dog', 'cow']))
    assert has(read_plot(plots.precision_recall(path, tmp_path / 'drawn.png')), BLUE)


def test_the_area_under_each_drawn_line_is_the_ap_beside_it():
    """Hundreds of detections, classes with few and many objects, and one without a detection."""
    def area(line):
        return np.sum(np.diff(line.steps) * line.values[:-1])

    of = evaluated(9)
    content = json.loads(report.to_json(of._replace(curves=[
        *of.curves[:-1], of.curves[-1]._replace(positives=3)])))
    for row, curve in zip(content['per_class'][:-1], content['curves']):
        assert area(plots.staircase([curve])) == pytest.approx(row['voc_area'], abs=1e-6)
    assert area(plots.staircase(content['curves'][:-1])) == pytest.approx(content['summary']['mAP'], abs=1e-6)
    assert area(plots.staircase(content['curves'])) == pytest.approx(content['summary']['mAP'] * 8 / 9, abs=1e-6)


def test_steps_by_hand():
    """One class reaches recall .5 with precision 1, the other recall 1 with precision .5 at last."""
    line = plots.staircase([dict(recall=[.5], precision=[1.]), dict(recall=[.25, 1.], precision=[.25, .5])])
    assert line.steps.tolist() == [0, .25, .5, 1] and line.values.tolist() == [.75, .75, .25, 0]


def test_equal_data_give_an_equal_file(tmp_path):
    path = report.write(tmp_path, evaluated(3))
    first, second = (plots.precision_recall(path, tmp_path / name) for name in ('a.png', 'b.png'))
    assert first.read_bytes() == second.read_bytes()


def test_without_any_object_or_detection(tmp_path):
    path = report.write(tmp_path, report.evaluate(Dataset([], ['dog'], []), []))
    assert plots.precision_recall(path, tmp_path / 'pr.png').stat().st_size


@pytest.mark.parametrize('text, message', [('{"summary": 1}', 'expected a report with summary'),
                                           ('{\n"a"', 'metrics.json:2: expected JSON')])
def test_bad_report(tmp_path, text, message):
    (tmp_path / 'metrics.json').write_text(text)
    with pytest.raises(InputError, match=message):
        plots.precision_recall(tmp_path / 'metrics.json', tmp_path / 'pr.png')
    with pytest.raises(InputError, match='got no such file'):
        plots.precision_recall(tmp_path / 'absent.json', tmp_path / 'pr.png')


def test_rooms_of_measuring_and_drawing_need_no_tensorflow_and_import_no_matplotlib():
    """Result files of any detector are evaluated on a machine without TensorFlow."""
    code = ('import sys; sys.modules["tensorflow"] = None\n'
            'from yolov3_tf.drawing import boxes, plots\nfrom yolov3_tf.evaluation import coco, report, results, voc\n'
            'assert "matplotlib" not in sys.modules')
    subprocess.run([sys.executable, '-c', code], check=True)
