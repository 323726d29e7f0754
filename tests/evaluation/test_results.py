"""Result files: their exact text, round trips, the tar file for the server, and a message for each bad input."""
import json
import tarfile

import numpy as np
import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import results, voc
from yolov3_tf.structures import Dataset, Detections, Record

NAMES = ['dog', 'dining_table', 'table', 'traffic light']


def dataset(*image_ids):
    none = np.zeros(0)
    return Dataset([Record(f'{name}.jpg', name, 0, 0, none.reshape(0, 4), none, none, none, none)
                    for name in image_ids], NAMES, [])


def found(name, boxes, scores, classes):
    return Detections(name, np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32),
                             np.array(classes, np.int32))


def at_random(seed=1, images=('2008_000008', '000005', 'my photo')):
    rng, detections = np.random.default_rng(seed), []
    for name in images:
        near = rng.uniform(1, 400, (20, 2))
        boxes = np.hstack([near, near + rng.uniform(0, 300, (20, 2))])
        detections.append(found(name, boxes, rng.random(20) ** 8, rng.integers(0, len(NAMES), 20)))
    return detections


def assert_same(read, written):
    """Asserts that every image has the same detections; a text file holds them class by class."""
    assert {one.image_id for one in read} == {one.image_id for one in written}
    by_name = {one.image_id: one for one in read}
    for one in written:
        order = np.argsort(one.classes, kind='stable')
        other = by_name[one.image_id]
        again = np.argsort(other.classes, kind='stable')
        for field in ('boxes', 'scores', 'classes'):
            np.testing.assert_array_equal(getattr(other, field)[again], getattr(one, field)[order])
            assert getattr(other, field).dtype == getattr(one, field).dtype


def test_comp4_text_is_one_based_and_inclusive(tmp_path):
    """A box over the top left 10 x 20 pixels has the inclusive corners 1 1 and 10 20."""
    detections = [found('2008_000008', [[0, 0, 10, 20], [2.5, 3, 7, 9]], [.5, .25], [0, 2])]
    paths = results.write_voc(tmp_path / 'new' / 'folder', detections, NAMES, 'val')
    assert [path.name for path in paths] == [f'comp4_det_val_{name}.txt' for name in NAMES]
    assert [path.read_text() for path in paths] == [
        '2008_000008 0.5 1 1 10 20\n', '', '2008_000008 0.25 3.5 4 7 9\n', '']


def test_comp4_round_trip_is_exact(tmp_path):
    detections = at_random()
    results.write_voc(tmp_path, detections, NAMES, '2012_test')
    (tmp_path / 'notes.txt').write_text('not a result')
    assert_same(results.read_voc(tmp_path, dataset('000005', 'my photo', '2008_000008', 'other')), detections)


def test_submission_layout_and_bytes(tmp_path):
    detections = at_random()
    first = results.write_submission(tmp_path / 'deep' / 'a.tar', detections, NAMES)
    second = results.write_submission(tmp_path / 'b.tar', detections, NAMES)
    assert first.read_bytes() == second.read_bytes()
    texts = results.write_voc(tmp_path / 'text', detections, NAMES)
    written = {path.name: path.read_bytes() for path in texts}
    with tarfile.open(first) as archive:
        for member in archive.getmembers():
            assert (member.uid, member.gid, member.uname, member.mtime, member.mode) == (0, 0, '', 0, 0o644)
            content = archive.extractfile(member).read()
            assert content == written.pop(member.name[len('results/VOC2012/Main/'):])
    assert not written


def test_coco_round_trip_is_exact(tmp_path):
    detections = at_random(images=('139', '000005', '2008_000008'))
    path = results.write_coco(tmp_path / 'new' / 'r.json', detections, [18, 67, 1, 10])
    entries = json.loads(path.read_text())
    assert {entry['category_id'] for entry in entries} == {18, 67, 1, 10}
    assert [entries[k]['image_id'] for k in (0, 20, 40)] == [139, '000005', '2008_000008']
    assert_same(results.read_coco(path, dataset('139', '000005', '2008_000008'), [18, 67, 1, 10]), detections)


def test_coco_entry_is_x_y_width_height(tmp_path):
    path = results.write_coco(tmp_path / 'r.json', [found('7', [[1, 2, 11, 22.5]], [.5], [3])])
    assert json.loads(path.read_text()) == [
        {'image_id': 7, 'category_id': 4, 'bbox': [1, 2, 10, 20.5], 'score': .5}]


def test_coco_leaves_out_a_class_without_a_number(tmp_path):
    found = Detections('7', np.array([[1, 2, 5, 8], [0, 0, 2, 2]], np.float32), np.array([.9, .8], np.float32),
                              np.array([0, 1], np.int32))
    path = results.write_coco(tmp_path / 'found.json', [found], [None, 18])
    assert [entry['category_id'] for entry in json.loads(path.read_text())] == [18]


def test_no_detections_round_trip(tmp_path):
    results.write_voc(tmp_path / 'voc', [], NAMES)
    results.write_coco(tmp_path / 'r.json', [])
    assert results.read_voc(tmp_path / 'voc', dataset('1')) == []
    assert results.read_coco(tmp_path / 'r.json', dataset('1')) == []


@pytest.mark.parametrize('line, message', [
    ('000005 .5 1 1 10', r'dog.txt:2: expected six columns, id score xmin .* got .000005 .5 1 1 10'),
    ('000005 .5 1 1 10 20 7', 'dog.txt:2: unknown image .000005 .5.'),
    ('000005 nan 1 1 10 20', 'dog.txt:2: expected six columns.*finite'),
    ('000005 .5 1 1 inf 20', 'dog.txt:2: expected six columns.*finite'),
    ('000005 .5 one 1 10 20', 'dog.txt:2: expected six columns.*finite'),
    ('000006 .5 1 1 10 20', 'dog.txt:2: unknown image .000006.'),
])
def test_bad_comp4_line(tmp_path, line, message):
    (tmp_path / 'comp4_det_test_dog.txt').write_text(f'000005 .9 1 1 5 5\n{line}\n')
    with pytest.raises(InputError, match=message):
        results.read_voc(tmp_path, dataset('000005'))


def test_bad_comp4_folders(tmp_path):
    with pytest.raises(InputError, match='expected a folder with comp4_det_SET_CLASS.txt files, got nothing'):
        results.read_voc(tmp_path / 'absent', dataset('1'))
    with pytest.raises(InputError, match='expected comp4_det_SET_CLASS.txt files, got none'):
        results.read_voc(tmp_path, dataset('1'))
    (tmp_path / 'comp3_det_test_dog.txt').write_text('')
    (tmp_path / 'comp3_det_val_dog.txt').write_text('')
    with pytest.raises(InputError, match='a second file of class .dog. beside comp3_det_test_dog.txt'):
        results.read_voc(tmp_path, dataset('1'))


def test_unknown_class_file_names_the_classes(tmp_path):
    (tmp_path / 'comp4_det_test_zebra.txt').write_text('')
    with pytest.raises(InputError, match='zebra.txt: unknown class.*dog, dining_table'):
        results.read_voc(tmp_path, dataset('1'))


def test_a_binary_file_is_refused(tmp_path):
    (tmp_path / 'comp4_det_test_dog.txt').write_bytes(b'000005 \xff\xfe')
    with pytest.raises(InputError, match='dog.txt:1: expected UTF-8 text, got the bytes'):
        results.read_voc(tmp_path, dataset('1'))


def test_slashes_in_class_names_become_underscores(tmp_path):
    names = ['../dog', 'bus/truck', 'a\\b']
    detections = [found('1', [[0, 0, 9, 9], [1, 1, 5, 5]], [.9, .8], [0, 1])]
    paths = results.write_voc(tmp_path / 'out', detections, names)
    assert [path.name for path in paths] == ['comp4_det_test_.._dog.txt', 'comp4_det_test_bus_truck.txt',
                                             'comp4_det_test_a_b.txt']
    assert sorted((tmp_path / 'out').iterdir()) == sorted(paths)
    assert_same(results.read_voc(tmp_path / 'out', dataset('1')._replace(class_names=names)), detections)
    with pytest.raises(InputError, match="classes 'a/b' and 'a_b' would have one file"):
        results.write_voc(tmp_path, [], ['a/b', 'a_b'])


def test_a_long_class_name_fits_into_the_tar(tmp_path):
    """88 bytes; with prefix and ending the file's name has 107, and ustar holds 100."""
    name = 'Молоко пастеризованное 3,2% жирности, пакет 1 литр'
    path = results.write_submission(tmp_path / 'a.tar', [found('1', [[0, 0, 9, 9]], [.9], [0])], [name])
    with tarfile.open(path) as archive:
        assert archive.getnames() == [f'results/VOC2012/Main/comp4_det_test_{name}.txt']


def test_boxes_that_darknet_clipped_to_nothing_are_false_positives(tmp_path):
    """Far corner before the near one, as in darknet's files; the kit finds no overlap and counts a false positive."""
    (tmp_path / 'comp4_det_test_dog.txt').write_text('000005 .9 188.1 1.0 219.8 -5.4\n000005 .8 1 1 10 20\n'
                                                     '000005 .7 20 1 10 20\n000005 .6 5 5 5 5\n')
    notes = []
    one, = results.read_voc(tmp_path, dataset('000005'), notes)
    np.testing.assert_allclose(one.boxes, [[187.1, 0, 219.8, 0], [0, 0, 10, 20], [19, 0, 19, 20], [4, 4, 5, 5]],
                               rtol=1e-6)
    assert notes == [
        f'{tmp_path}: no file of 3 classes, which count as without detections: dining_table, table, traffic light',
        '2 boxes have no area, because the far corner is not beyond the near one: '
        f'{tmp_path}/comp4_det_test_dog.txt:1: 000005 .9 188.1 1.0 219.8 -5.4; each counts as a false positive, as in '
        'the VOC kit']
    truth = voc.Truth(np.array([[0, 0, 10, 20.]]), np.zeros(1, int), np.zeros(1, bool))
    for criterion in 'iou', 'giou':
        curve = voc.curves(voc.pair([truth], [one], 4, criterion))[0]
        np.testing.assert_allclose(curve.precision, [0, 1 / 2, 1 / 3, 1 / 4])


def test_coco_boxes_without_area_are_false_positives(tmp_path):
    boxes = [[1, 1, -2, 2], [1, 1, 0, 5], [1, 1, 5, 5]]
    (tmp_path / 'r.json').write_text(json.dumps([{'image_id': '1', 'category_id': '1', 'bbox': box, 'score': .5}
                                                 for box in boxes]))
    notes = []
    one, = results.read_coco(tmp_path / 'r.json', dataset('1'), notes=notes)
    assert one.boxes.tolist() == [[1, 1, 1, 3], [1, 1, 1, 6], [1, 1, 6, 6]]
    assert notes[0].startswith('2 boxes have no area')
    assert results.read_coco(write(tmp_path, '[]'), dataset('1'), notes=notes) == [] and 'is empty' in notes[1]


def write(folder, text):
    (folder / 'r.json').write_text(text)
    return folder / 'r.json'


def entry(**changes):
    return json.dumps([{'image_id': 1, 'category_id': 1, 'bbox': [1, 1, 2, 2], 'score': 1, **changes}])


@pytest.mark.parametrize('text, message', [
    ('[{"image_id": 1,\n "score" .5}]', r'r.json:2: expected JSON, got at column 10'),
    ('{"annotations": []}', 'expected a list of detections as COCO defines results, got a JSON dict'),
    ('[5]', 'entry 0: expected image_id, category_id, bbox and score, got 5'),
    ('[{"image_id": 1, "score": 1}]', 'entry 0: expected image_id, category_id, bbox and score, got {'),
    (entry(image_id=2), 'entry 0: unknown image_id 2'),
    (entry(category_id=9), 'entry 0: unknown category_id 9: expected one of 1, 2, 3, 4'),
    (entry(category_id=[]), 'entry 0: unknown category_id'),
    (entry(bbox=[1, 1, 2]), r'entry 0: expected bbox \[x, y'),
    (entry(bbox=[1, 1, 2, float('nan')]), 'entry 0: expected bbox.*finite'),
    (entry(score=None), 'entry 0: expected bbox.*finite'),
])
def test_bad_coco_results(tmp_path, text, message):
    (tmp_path / 'r.json').write_text(text)
    with pytest.raises(InputError, match=message):
        results.read_coco(tmp_path / 'r.json', dataset('1'))


def test_category_ids_by_name(tmp_path):
    path = tmp_path / 'instances.json'
    content = {'categories': [{'id': 90, 'name': 'toothbrush'}, {'id': 18, 'name': 'dog '}]}
    path.write_text(json.dumps(content))
    assert results.read_category_ids(path, ['dog', 'toothbrush']) == [18, 90]
    with pytest.raises(InputError, match='no category named .cat.: expected one of dog, toothbrush'):
        results.read_category_ids(path, ['cat'])
    assert results.read_category_ids(path, ['cat', 'dog'], partly=True) == [None, 18]
    with pytest.raises(InputError, match='absent.json: expected a file, got nothing'):
        results.read_coco(tmp_path / 'absent.json', dataset('1'))
    path.write_text('[]')
    with pytest.raises(InputError, match='expected COCO.s instances'):
        results.read_category_ids(path, ['cat'])


ODD = {'image_id': [7, '7', '000005', 5, 7.0, True, None, 'other', [7]], 'category_id': [1, 4, 5, 1.0, '2', True, None],
       'bbox': [[1, 2, 3, 4], [1.5, 2.5, 0, 4], [5, 5, -3, 2.25], [1, 2, 3], (), '1234', [1, 2, '3', 4],
                [True, 0, 1, 1], [None] * 4, [float('nan')] * 4, [10 ** 400, 0, 1, 1], [1e308, 0, 1e308, 1],
                [2 ** 70, 0, 1, 1],
                [-0., 0, 1, 1]],
       'score': [.5, 1, 0, '.25', None, float('inf'), True, .1, [], 10 ** 400]}


USUAL = {'image_id': 1, 'category_id': 2, 'bbox': 3, 'score': 3}         # so many of them are plain


def read_both(monkeypatch, path, entries):
    """What the quick and the slow way answer, and whether the quick one was taken."""
    path.write_text(json.dumps(entries))
    answers, taken = [], []
    quick = results._coco_columns
    for way in (lambda *given: taken.append(quick(*given)) or taken[-1], lambda *given: None):
        monkeypatch.setattr(results, '_coco_columns', way)
        notes = []
        try:
            read = results.read_coco(path, dataset('7', '000005', '5'), notes=notes)
            columns = [(one.image_id, one.boxes, one.scores, one.classes) for one in read]
            parts = [[name, *((of.tolist(), of.dtype, of.shape) for of in rest)] for name, *rest in columns]
            answers.append((parts, notes))
        except InputError as error:
            answers.append(str(error))
    monkeypatch.setattr(results, '_coco_columns', quick)
    return *answers, taken[0] is not None


@pytest.mark.filterwarnings('ignore:overflow:RuntimeWarning')
def test_both_ways_through_coco_results_agree(tmp_path, monkeypatch):
    chance = np.random.default_rng(0)
    ways = []
    for _ in range(400):
        plain = chance.uniform() < .5
        entries = [{name: values[chance.integers(USUAL[name] if plain or chance.uniform() < .8 else len(values))]
                    for name, values in ODD.items()} for _ in range(chance.integers(0, 6))]
        quick, slow, taken = read_both(monkeypatch, tmp_path / 'r.json', entries)
        assert repr(quick) == repr(slow), entries
        ways.append(taken)
    assert 100 < sum(ways) < 350
    for entries in ([{}], [1], [{'image_id': 7}], [{**json.loads(entry())[0], 'more': 1}], []):
        quick, slow, _ = read_both(monkeypatch, tmp_path / 'r.json', entries)
        assert repr(quick) == repr(slow)
