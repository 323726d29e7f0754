"""faster-coco-eval gives the numbers of pycocotools: found equal but for the order of sums, 1e-16."""
import numpy as np
import pytest

from yolov3_tf.evaluation import coco
from yolov3_tf.structures import Detections, Record

pytest.importorskip('faster_coco_eval', reason="not installed: pip install '.[fast-eval]'")


def random_set(seed, images, objects, found, classes):
    """Crowds, difficult objects, equal scores, boxes without area and at COCO's borders of sizes, in any order."""
    chance = np.random.default_rng(seed)
    records, detections = [], []
    for number in chance.permutation(images):
        count, seen = chance.integers(0, objects + 1), chance.integers(0, found + 1)
        near = chance.integers(0, 200, [count, 2]).astype(np.float32)
        size = chance.choice([8, 32, 33, 95.5, 96, 120], [count, 2]).astype(np.float32)
        boxes = np.concatenate([near, near + size], axis=1)
        ids = chance.integers(0, classes, count).astype(np.int32)
        records.append(Record(f'{number}.jpg', str(number), 400, 400, boxes, ids, chance.uniform(size=count) < .1,
                              chance.uniform(size=count) < .1, size.prod(axis=1) * chance.choice([1, .5])))
        if count:
            of = chance.integers(0, count, seen)
            moved = boxes[of] + chance.choice([0, 0, 1, -2.5, 10], [seen, 4]).astype(np.float32)
            moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2])
            names = np.where(chance.uniform(size=seen) < .7, ids[of], chance.integers(0, classes, seen))
        else:
            moved, names = chance.uniform(0, 100, [seen, 2]).repeat(2, axis=1), chance.integers(0, classes, seen)
        scores = np.round(chance.uniform(size=seen), 2).astype(np.float32)
        detections.append(Detections(str(number), moved.astype(np.float32), scores, names.astype(np.int32)))
    return records, detections


@pytest.mark.parametrize('seed, images, objects, found, classes', [
    (0, 30, 6, 20, 3), (1, 8, 40, 160, 1), (2, 1, 0, 3, 2), (3, 40, 3, 5, 12), (4, 3, 0, 0, 2), (5, 12, 5, 0, 4)])
def test_the_same_numbers(seed, images, objects, found, classes, monkeypatch):
    assert coco._faster() is not None
    records, detections = random_set(seed, images, objects, found, classes)
    fast = coco.evaluate(records, detections, classes)
    monkeypatch.setattr(coco, '_faster', lambda: None)
    slow = coco.evaluate(records, detections, classes)
    assert fast.summary.keys() == slow.summary.keys()
    np.testing.assert_allclose(list(fast.summary.values()), list(slow.summary.values()), rtol=0, atol=1e-12)
    np.testing.assert_allclose(fast.per_class, slow.per_class, rtol=0, atol=1e-12)
