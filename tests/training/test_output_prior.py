"""Prediction layers that start from the frequencies of the data."""
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf import codec
from yolov3_tf.data.readers import specs
from yolov3_tf.losses.criterion import LossSettings
from yolov3_tf.models import checkpoints
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.training import output_prior
from yolov3_tf.training.output_prior import Frequencies

SLOTS = 3 * (16 ** 2 + 8 ** 2 + 4 ** 2)     # at 128 pixels


@pytest.fixture(scope='module')
def shapes(tmp_path_factory):
    return specs.load('shapes:24', split='train', cache=str(tmp_path_factory.mktemp('shapes')))


def config(names, **changes):
    return ModelConfig(tuple(names), .0625, (128, 128), True, **changes)


def test_an_object_counts_once_for_each_of_its_slots(shapes):
    found = output_prior.count(shapes, config(shapes.class_names), LossSettings())
    objects = np.bincount(np.concatenate([record.classes for record in shapes.records]), minlength=5)
    # Hardly an object loses its only slot to another one.
    assert found.objectness == pytest.approx(objects.sum() / (24 * SLOTS), rel=.05)
    np.testing.assert_allclose(found.classes, objects / objects.sum(), atol=.05)
    many = output_prior.count(shapes, config(shapes.class_names), LossSettings(assigner='neighbours'))
    assert many.objectness > 5 * found.objectness


def test_tiles_are_counted_as_they_are_seen(shapes):
    """At most about MOST_IMAGES of them: of 24 images with 4 to 9 windows each."""
    sizes = [np.array([record.width, record.height]) for record in shapes.records]
    whole = output_prior.count(shapes, config(shapes.class_names), LossSettings())
    tiles = output_prior.count(shapes, config(shapes.class_names, tiles='100'), LossSettings())
    assert min(map(min, sizes)) > 100 and 0 < tiles.objectness != whole.objectness


def test_no_object_and_a_single_class_give_finite_biases(shapes):
    records = [record._replace(boxes=record.boxes[:0], classes=record.classes[:0], crowd=record.crowd[:0])
               for record in shapes.records]
    empty = output_prior.count(shapes._replace(records=records), config(shapes.class_names), LossSettings())
    assert empty.objectness == output_prior.LEAST and empty.classes.tolist() == [.2] * 5
    alone = shapes._replace(class_names=['shape'], records=[
        record._replace(classes=np.zeros_like(record.classes)) for record in shapes.records])
    assert output_prior.count(alone, config(['shape']), LossSettings()).classes.tolist() == [.99]


@pytest.mark.parametrize('head', ['coupled', 'separated', 'separated_early'])
def test_outputs_start_from_the_frequencies_whatever_the_head(head):
    """With three classes a box branch is as wide as a class branch."""
    model = checkpoints.build(config('abc', head=head))
    for layer in model.layers:          # so that only the biases are left
        if getattr(layer, 'use_bias', False):
            layer.kernel.assign(tf.zeros_like(tf.convert_to_tensor(layer.kernel)))
    output_prior.start_from(model, Frequencies(.02, np.array([.5, .3, .2])))
    raw = codec.split(model(np.zeros([1, 64, 64, 3], np.float32)))
    np.testing.assert_allclose(tf.sigmoid(raw.objectness), .02, rtol=1e-5)
    np.testing.assert_allclose(tf.sigmoid(raw.classes)[0, 7], [.5, .3, .2], rtol=1e-5)
    assert not np.any(raw.offsets)
