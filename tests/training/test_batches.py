"""The stream of a run: batches with and without mixes from one position on."""
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.data import pipeline
from yolov3_tf.data.pipeline import PipelineSettings
from yolov3_tf.data.readers import specs
from yolov3_tf.losses.criterion import LossSettings
from yolov3_tf.training.batches import Batches
from yolov3_tf.training.counters import Position
from yolov3_tf.training.optimizers import OptimizerSettings
from yolov3_tf.training.settings import TrainingSettings


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    return specs.load('shapes:13', split='train', cache=str(tmp_path_factory.mktemp('shapes')))


def settings(**others):
    chosen = PipelineSettings(4, (64, 96), 2, augment=('mosaic', 'colour', 'flip'), **others)
    return TrainingSettings((), LossSettings(), OptimizerSettings(), chosen, seed=5)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(tf.nest.flatten(one), tf.nest.flatten(other)))


def test_without_mixes_a_stream_goes_on_with_the_same_other_augmentations(shapes):
    chosen, position = settings(), Position(data_epoch=1, step=1)
    run = Batches(shapes, chosen, position, (0, 1), None)
    mixed, plain = (list(pipeline.training_batches(shapes, chosen.batches._replace(augment=names), 5, 1, 1).take(4))
                    for names in (('mosaic', 'colour', 'flip'), ('colour', 'flip')))
    spec = run.stream.element_spec
    assert same(run.next(), mixed[0])
    stream = run.stream
    run.mix_images(True)
    assert run.stream is stream and same(run.next(), mixed[1])       # nothing new
    position.data_epoch, position.step = 2, 0
    run.mix_images(False)
    assert run.stream.element_spec == spec
    assert not same(plain[2], mixed[2]) and same(run.next(), plain[2])
    run.mix_images(False)
    position.step = 1
    assert same(run.next(), plain[3])


def test_missing_images_of_a_balanced_order_are_named(shapes, tmp_path):
    """One image of a rare class is damaged: each batch that should have it names it, and nothing else."""
    records = list(shapes.records)
    spoiled = tmp_path / 'spoiled.jpg'
    spoiled.write_bytes(pathlib.Path(records[1].image_path).read_bytes()[:200])
    records[1] = records[1]._replace(image_path=str(spoiled), classes=records[1].classes * 0 + 7)
    chosen, position = settings(balance_classes=True), Position()
    chosen = chosen._replace(batches=chosen.batches._replace(augment=()))
    run, seen = Batches(shapes._replace(records=records), chosen, position, (0, 1), None), 0
    for epoch in range(3):
        for step in range(3):
            position.data_epoch, position.step = epoch, step
            indices = run.next()[2].numpy()
            expected = run.order.of_batch(epoch, step)
            assert indices.tolist() == [index for index in expected if index != 1]
            named = {path for path, _ in run.missing(indices, len(indices), {})}
            assert named == ({str(spoiled)} if 1 in expected else set())
            seen += (expected == 1).sum()
    assert seen > 4
