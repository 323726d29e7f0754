"""Weighted images against a set that repeats each image as often, evaluated by evaluation.report."""
import dataclasses
import time

import numpy as np
import pytest

from yolov3_tf.evaluation import report
from yolov3_tf.experiments import bootstrap
from yolov3_tf.structures import Dataset, Detections, Record

CLASSES = 3


def record(boxes, classes, difficult=None, crowd=None):
    boxes, none = np.array(boxes, np.float32).reshape(-1, 4), np.zeros(len(boxes), bool)
    return Record('', 'image', 0, 0, boxes, np.array(classes, np.int32), none if difficult is None else difficult,
                  none if crowd is None else crowd, (boxes[:, 2:] - boxes[:, :2]).prod(axis=1))


def cases(seed, images):
    """Objects, some difficult or crowds, with detections near them, duplicates and misses; all scores differ."""
    rng, records, detections = np.random.default_rng(seed), [], []
    for number in range(images):
        count = rng.integers(0, 5)
        near = rng.uniform(0, 80, (count, 2))
        boxes = np.hstack([near, near + rng.uniform(5, 30, (count, 2))])
        classes = rng.integers(0, CLASSES, count)
        records.append(record(boxes, classes, rng.random(count) < .2, rng.random(count) < .1))
        found = np.concatenate([boxes, boxes, boxes + rng.normal(0, 40, boxes.shape)])
        found = found + rng.normal(0, 3, found.shape)
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2])
        detections.append(Detections(str(number), found, rng.random(len(found)), np.tile(classes, 3)))
    return records, detections


def written_out(records, detections, weights):
    """The slow way: repeats every image as often as it was drawn, under a new name, and evaluates this set."""
    order = np.repeat(np.arange(len(records)), np.asarray(weights, int))
    drawn = [records[index]._replace(image_id=f'{number}.') for number, index in enumerate(order)]
    found = [dataclasses.replace(detections[index], image_id=f'{number}.') for number, index in enumerate(order)]
    return report.evaluate(Dataset(drawn, [str(class_id) for class_id in range(CLASSES)], []), found).summary


@pytest.mark.parametrize('seed, images', [(0, 1), (1, 4), (2, 12), (3, 40)])
def test_weights_equal_repeated_images(seed, images):
    """Row 0 is the set itself."""
    records, detections = cases(seed, images)
    weights = bootstrap.resamples(images, 6, seed)
    evaluated = bootstrap.evaluate(records, detections, CLASSES, weights)
    assert set(evaluated) == set(bootstrap.MEASURES)
    for row, drawn in enumerate(weights):
        slow = written_out(records, detections, drawn)
        for name, values in evaluated.items():
            np.testing.assert_allclose(values[row], slow[name], rtol=0, atol=1e-12, err_msg=f'{name}, row {row}')


def test_a_table_of_counts_in_pieces_gives_the_same(monkeypatch):
    records, detections = cases(3, 40)
    weights = bootstrap.resamples(40, 20)
    whole = bootstrap.evaluate(records, detections, CLASSES, weights)
    monkeypatch.setattr(bootstrap, 'CELLS', 120)        # three columns at a time
    pieces = bootstrap.evaluate(records, detections, CLASSES, weights)
    assert all(np.array_equal(whole[name], pieces[name], equal_nan=True) for name in whole)


def test_by_hand():
    """Two images with one object each: one is found with score .9, the other image has a false positive of .95.

    The set itself: precision at the hit 1/2, recall 1/2, so the area is 1/4 and the 11 points are 6 x 1/2 / 11. The
    first image twice: no false positive, both found: 1. The second twice: nothing found: 0.
    """
    box = np.array([[0., 0, 10, 10]])
    records = [record(box, [0])] * 2
    detections = [Detections('a', box, np.array([.9]), np.array([0])),
                  Detections('b', box + 50, np.array([.95]), np.array([0]))]
    evaluated = bootstrap.evaluate(records, detections, 1, np.array([[1, 1], [2, 0], [0, 2]], np.float32))
    np.testing.assert_allclose(evaluated['mAP'], [1 / 4, 1, 0], atol=1e-15)
    np.testing.assert_allclose(evaluated['mAP_07'], [6 * .5 / 11, 1, 0], atol=1e-15)
    np.testing.assert_allclose(evaluated['coco_AP'], [51 * .5 / 101, 1, 0], atol=1e-15)


def test_without_objects_or_detections():
    nothing = record(np.zeros((0, 4)), [])
    none = Detections('', np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    ones = np.ones((2, 1), np.float32)
    assert all(np.isnan(values).all() for values in bootstrap.evaluate([nothing], [none], 2, ones).values())
    one = record([[0., 0, 9, 9]], [1])
    assert all(values.tolist() == [0, 0] for values in bootstrap.evaluate([one], [none], 2, ones).values())


def test_resamples_draw_every_image_equally_often():
    weights = bootstrap.resamples(50, 4000)
    assert (weights[0] == 1).all() and (weights.sum(axis=1) == 50).all()
    # The count of one image is binomial(50, 1/50): mean 1, variance 49/50; here over 4000 draws.
    np.testing.assert_allclose(weights[1:].mean(axis=0), 1, atol=.07)
    np.testing.assert_allclose(weights[1:].var(axis=0), .98, atol=.15)
    assert np.array_equal(weights, bootstrap.resamples(50, 4000))


def test_the_interval_covers_the_true_value_in_95_percent():
    """Of 200 sets of 60 images, one object each, found with probability .6 by one detector and .5 by the other
    and never falsely, AP is the share found; the true difference .1 lies in about 95 % of the intervals (binomial
    deviation 1.5 %)."""
    rng, covered = np.random.default_rng(0), 0
    weights = bootstrap.resamples(60, 500)
    for _ in range(200):
        samples = []
        for share in (.6, .5):
            found = rng.random(60) < share
            of = bootstrap.Hits(np.flatnonzero(found), np.ones(found.sum(), bool), np.ones(60, int))
            samples.append(bootstrap.average_precisions(of, weights))
        low, high = bootstrap.interval((samples[0] - samples[1])[1:])
        covered += low <= .1 <= high
    assert .90 <= covered / 200 <= .985


def test_interval_by_hand():
    """Of 0, 1 ... 100 the middle 95 % runs from 2.5 to 97.5; nan is left out."""
    assert bootstrap.interval(np.append(np.arange(101.), np.nan)) == pytest.approx((2.5, 97.5))
    assert np.isnan(bootstrap.interval(np.full(3, np.nan))).all()


@pytest.mark.slow
def test_it_is_fast():
    """2000 resamples of 500 images with 30,000 detections take seconds; repeated images would take an hour."""
    rng, records, detections = np.random.default_rng(0), [], []
    for number in range(500):
        near = rng.uniform(0, 300, (4, 2))
        boxes = np.hstack([near, near + 40])
        classes = rng.integers(0, CLASSES, 4)
        records.append(record(boxes, classes))
        found = np.tile(boxes, (15, 1)) + rng.normal(0, 15, (60, 1))
        detections.append(Detections(str(number), found, rng.random(60), np.tile(classes, 15)))
    began = time.process_time()
    bootstrap.evaluate(records, detections, CLASSES, bootstrap.resamples(500, 2000))
    assert time.process_time() - began < 60
