"""COCO's numbers equal those of pycocotools called directly on the files; VOC's difficult objects are ignored."""
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from yolov3_tf.data.readers import coco as coco_reader
from yolov3_tf.evaluation import coco, results
from yolov3_tf.structures import Detections, Record


def record(name, boxes, classes, areas=None, difficult=None, crowd=None):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    size = boxes[:, 2:] - boxes[:, :2]
    return Record(f'{name}.jpg', name, 640, 480, boxes, np.array(classes, np.int32),
                  np.zeros(len(boxes), bool) if difficult is None else np.array(difficult),
                  np.zeros(len(boxes), bool) if crowd is None else np.array(crowd),
                  size.prod(axis=1) if areas is None else np.array(areas, np.float32))


def found(name, boxes, scores, classes):
    return Detections(name, np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32),
                             np.array(classes, np.int32))


def read_instances(shared_data, split):
    """The file, its Dataset by the package's reader, and COCO's number of each class."""
    path = shared_data / 'coco_tiny' / 'annotations' / f'instances_{split}2017.json'
    dataset = coco_reader.read(str(path), str(shared_data / 'coco_tiny' / 'images' / f'{split}2017'))
    assert not dataset.problems
    return path, dataset, results.read_category_ids(path, dataset.class_names)


def jittered(dataset, seed):
    """Two moved copies of every object and some random boxes: all sizes, hits, misses and equal scores."""
    rng, detections = np.random.default_rng(seed), []
    for one in dataset.records:
        boxes = np.repeat(one.boxes, 2, axis=0)
        size = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
        boxes = boxes + size * rng.normal(0, .12, boxes.shape)
        far = np.sort(rng.uniform(0, 400, (5, 2, 2)), axis=1).reshape(5, 4)
        boxes = np.concatenate([np.hstack([boxes[:, :2], np.maximum(boxes[:, 2:], boxes[:, :2])]), far])
        classes = np.concatenate([np.repeat(one.classes, 2), rng.integers(0, len(dataset.class_names), 5)])
        detections.append(found(one.image_id, boxes, rng.random(len(boxes)).round(2), classes))
    return detections


def direct(truth_path, results_path):
    """pycocotools as its documentation calls it."""
    truth = COCO(str(truth_path))
    evaluator = COCOeval(truth, truth.loadRes(str(results_path)), 'bbox')
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return evaluator


@pytest.mark.parametrize('split', ['train', 'val'])
def test_identical_to_pycocotools_on_the_files(shared_data, tmp_path, split):
    path, dataset, category_ids = read_instances(shared_data, split)
    detections = jittered(dataset, seed=5)
    evaluator = direct(path, results.write_coco(tmp_path / 'results.json', detections, category_ids))
    ours = coco.evaluate(dataset.records, detections, len(dataset.class_names))
    expected = np.where(evaluator.stats == -1, np.nan, evaluator.stats)
    assert list(ours.summary) == list(coco.NAMES) and 0 < ours.summary['AP'] < 1
    np.testing.assert_array_equal(list(ours.summary.values()), expected)
    for class_id in range(len(category_ids)):
        precision = evaluator.eval['precision'][:, :, class_id, 0, -1]
        value = precision[precision > -1].mean() if (precision > -1).any() else np.nan
        np.testing.assert_allclose(ours.per_class[class_id], value, rtol=1e-12)


def test_identical_from_the_results_file_of_another_detector(shared_data, tmp_path):
    """The file has sixteen digits and the package uses float32; the numbers are still the same."""
    path, dataset, category_ids = read_instances(shared_data, 'val')
    rng = np.random.default_rng(2)
    rows = [dict(image_id=int(one.image_id), category_id=category_ids[class_id], score=float(rng.random()),
                 bbox=[float(x + rng.normal(0, 4)), float(y + rng.normal(0, 4)), float(u - x), float(v - y)])
            for one in dataset.records for (x, y, u, v), class_id in zip(one.boxes.tolist(), one.classes)]
    (tmp_path / 'results.json').write_text(json.dumps(rows))
    evaluator = direct(path, tmp_path / 'results.json')
    read = {one.image_id: one for one in results.read_coco(tmp_path / 'results.json', dataset, category_ids)}
    detections = [read.get(one.image_id) or found(one.image_id, [], [], []) for one in dataset.records]
    ours = coco.evaluate(dataset.records, detections, len(dataset.class_names))
    np.testing.assert_allclose(list(ours.summary.values()), np.where(evaluator.stats == -1, np.nan, evaluator.stats),
                               rtol=0, atol=1e-12)


def test_a_difficult_object_is_ignored():
    """The difficult object is found twice and before the ordinary one, without a loss; unmarked it would cost AP."""
    boxes, marks = [[0, 0, 50, 50], [100, 100, 200, 200]], [False, True]
    detections = [found('a', [boxes[1], boxes[1], boxes[0]], [.9, .8, .7], [0, 0, 0])]
    marked = coco.evaluate([record('a', boxes, [0, 0], difficult=marks)], detections, 1)
    unmarked = coco.evaluate([record('a', boxes, [0, 0])], detections, 1)
    assert marked.summary['AP'] == pytest.approx(1) and unmarked.summary['AP'] < .9
    detections = [found('a', boxes[:1], [.7], [0])]
    missed = coco.evaluate([record('a', boxes, [0, 0], difficult=marks)], detections, 1)
    assert missed.summary['AP'] == pytest.approx(1)


def test_areas_come_from_the_record():
    """A box of 2500 square pixels whose segmentation has 500 is a small object for COCO."""
    box = [[0, 0, 50, 50]]
    of = coco.evaluate([record('1', box, [0], areas=[500])], [found('1', box, [1], [0])], 1)
    assert of.summary['APsmall'] == pytest.approx(1) and np.isnan(of.summary['APmedium'])


def test_no_detections_and_no_images():
    none = coco.evaluate([record('a', [[0, 0, 9, 9]], [0])], [found('a', [], [], [])], 2)
    assert none.summary['AP'] == 0 and none.per_class[0] == 0 and np.isnan(none.per_class[1])
    assert np.isnan(coco.evaluate([], [], 1).summary['AP'])


def test_is_silent(capsys):
    coco.evaluate([record('a', [[0, 0, 9, 9]], [0])], [found('a', [[0, 0, 9, 9]], [1], [0])], 1)
    assert capsys.readouterr() == ('', '')


def test_image_numbers():
    assert coco.image_numbers(['139', '000785']) == [139, 785]
    assert coco.image_numbers(['2008_000001', '7']) == [1, 2]
    assert coco.image_numbers(['01', '1']) == [1, 2]
