"""Benchmark ``learning_curve``: its plans, what it hands to the peer, which detections count, and its table."""
import json
import pathlib

import numpy as np
import pytest

from benchmarks import learning_curve, learning_peer
from yolov3_tf.data.readers import specs
from yolov3_tf.evaluation import results
from yolov3_tf.structures import Detections


def line(name='ours', data='cells', minutes=2., seed=0, ap=.4):
    return dict(name=name, data=data, minutes=minutes, seed=seed, cpu_seconds=60 * minutes, updates=100, AP=ap,
                AP50=2 * ap, AP75=ap / 2)


@pytest.mark.parametrize('minutes, epochs', [(2, 10), (1, 4), (.01, 1), (2.08, 10), (2.1, 11)])
def test_epochs_end_closest_to_the_budget(minutes, epochs):
    # An epoch takes 10 s, the start 20 s: 10 epochs end after exactly 2 minutes.
    assert learning_curve.plan_epochs(minutes, [(1, 30.), (3, 50.)]) == epochs


def test_probes_that_measured_nothing_are_refused():
    with pytest.raises(ValueError, match='measure again'):
        learning_curve.plan_epochs(2, [(1, 30.), (3, 30.)])


@pytest.mark.parametrize('now, done, epochs', [
    (25, 1, 6),         # 15 s an epoch, 90 s from the first's begin to the end
    (55, 3, 6), (70, 3, 4), (101, 6, 6), (200, 7, 7)])
def test_the_peer_plans_anew_after_each_epoch(now, done, epochs):
    assert learning_peer.epochs_in(100, 10, now, done) == epochs


def test_settings_of_the_peer_are_typed():
    read = learning_peer.settings(['batch=4', 'lr0=1e-3', 'cos_lr=True', 'optimizer=AdamW', 'cache=ram'])
    assert read == {'batch': 4, 'lr0': .001, 'cos_lr': True, 'optimizer': 'AdamW', 'cache': 'ram'}
    assert type(read['batch']) is int


@pytest.mark.parametrize('settings, flags', [
    ('--cfg=a.cfg', ['--cfg=a.cfg', '--full_epochs=7']),
    ('--full_epochs={epochs},2 --full_lr=1e-3,1e-4', ['--full_epochs=7,2', '--full_lr=1e-3,1e-4']),
    ('--recipe=fast --minutes={minutes}', ['--recipe=fast', '--minutes=2.5'])])
def test_the_plan_goes_where_the_settings_say(settings, flags):
    assert learning_curve.fill(settings, epochs=7, minutes=2.5) == flags


def test_only_the_best_hundred_above_the_floor_count():
    scores = np.linspace(0, 1, 201, dtype=np.float32)           # every .005, worst first
    found = Detections('a', np.repeat(np.arange(201, dtype=np.float32)[:, None], 4, 1), scores, np.zeros(201, int))
    kept = learning_curve.best(found)
    assert len(kept) == 100 and kept.scores[0] == 1 and kept.scores[-1] == pytest.approx(.505)
    assert (kept.boxes[:, 0] == np.arange(200, 100, -1)).all()
    assert len(learning_curve.best(found[:2])) == 1             # .005; 0 is below the floor


def test_the_peer_gets_our_boxes(tmp_path):
    # Inclusive corners 11..30 and 21..60 of VOC are pixels 10 to 30 and 20 to 60.
    assert learning_curve.yolo_line([10., 20., 30., 60.], 2, 100, 200) == '2 0.200000 0.200000 0.200000 0.200000\n'
    options = learning_curve.parser().parse_args(
        ['run', 'peer', '--kind=peer', '--data=shapes', '--train=shapes:8', '--val=shapes:8', '--output=out.jsonl'])
    assert options.minutes == [2, 5, 10] and options.seeds == [0]


def test_written_boxes_are_read_back_by_the_yolo_reader(tmp_path, voc_folder):
    options = learning_curve.parser().parse_args(
        ['run', 'peer', '--kind=peer', '--data=cells', f'--train=voc:{voc_folder}:train',
         f'--val=voc:{voc_folder}:train', '--output=out.jsonl'])
    path = learning_curve.write_yolo(options, tmp_path / 'yolo')
    wanted, read = specs.load(options.train, None), specs.load(f'yolo:{path}:train', None)
    assert read.class_names == wanted.class_names
    for one, other in zip(wanted.records, read.records):
        assert one.image_id == other.image_id and one.classes.tolist() == other.classes.tolist()
        np.testing.assert_allclose(other.boxes, one.boxes, atol=.01)


@pytest.fixture()
def voc_folder(tmp_path):
    """Two images of 100 x 50 with a cell each, in VOC's layout."""
    import cv2
    folder = tmp_path / 'voc'
    for name in ('JPEGImages', 'Annotations', 'ImageSets/Main'):
        (folder / name).mkdir(parents=True)
    for number in (1, 2):
        cv2.imwrite(str(folder / 'JPEGImages' / f'{number}.jpg'), np.zeros((50, 100, 3), np.uint8))
        (folder / 'Annotations' / f'{number}.xml').write_text(
            f'<annotation><filename>{number}.jpg</filename><size><width>100</width><height>50</height><depth>3</depth>'
            f'</size><object><name>cell</name><difficult>0</difficult><bndbox><xmin>{11 * number}</xmin><ymin>6</ymin>'
            '<xmax>60</xmax><ymax>45</ymax></bndbox></object></annotation>')
    (folder / 'ImageSets' / 'Main' / 'train.txt').write_text('1\n2\n')
    return folder


def test_a_perfect_result_scores_one(tmp_path, voc_folder):
    dataset = specs.load(f'voc:{voc_folder}:train', None)
    found = [Detections(record.image_id, record.boxes, np.ones(1, np.float32), record.classes)
             for record in dataset.records]
    path = results.write_coco(tmp_path / 'results.json', found)
    assert learning_curve.score(dataset, path) == {'AP': 1, 'AP50': 1, 'AP75': 1}


def test_a_run_that_is_there_is_not_made_again(tmp_path, voc_folder, monkeypatch, capsys):
    output = tmp_path / 'out.jsonl'
    output.write_text(json.dumps(line(data='cells', seed=0)) + '\n')
    options = learning_curve.parser().parse_args(
        ['run', 'ours', '--kind=ours', '--data=cells', f'--train=voc:{voc_folder}:train', '--minutes=2',
         f'--val=voc:{voc_folder}:train', '--seeds=0,1', f'--output={output}', f'--folder={tmp_path}'])
    made = []

    def train(options, folder, minutes, seed, probes):
        made.append((minutes, seed))
        (folder / 'none.json').write_text('[]')
        return learning_curve.Trained(99., 10, 5, {}, folder / 'none.json')
    monkeypatch.setattr(learning_curve, 'train', train)
    learning_curve.series(options)
    assert made == [(2., 1)]
    first, second = learning_curve.read([output])
    assert (second['seed'], second['cpu_seconds'], second['AP50']) == (1, 99., 0.) and first['seed'] == 0


def test_the_table_has_means_over_seeds():
    lines = [line(ap=.3), line(ap=.4, seed=1), line(minutes=5.), line('peer', minutes=5., ap=.1)]
    assert learning_curve.table(lines).splitlines() == [
        '| data | contestant | 2 min | 5 min |', '|---|---|---|---|',
        '| cells | ours | 35.0 / 70.0 / 17.5 (2.0 min, 100 steps, 2 seeds) '
        '| 40.0 / 80.0 / 20.0 (5.0 min, 100 steps) |',
        '| cells | peer |  | 10.0 / 20.0 / 5.0 (5.0 min, 100 steps) |']


def test_the_figure_has_a_row_for_each_set(tmp_path):
    lines = [line(), line(minutes=5.), line('peer'), line(data='animals', ap=.1)]
    learning_curve.draw(lines, tmp_path / 'curve.png')
    assert pathlib.Path(tmp_path / 'curve.png').stat().st_size > 10000
