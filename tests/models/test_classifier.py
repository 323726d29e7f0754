"""The classifier of the asymptotic step shares its backbone with the detector."""
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf.errors import InputError
from yolov3_tf.models import yolov3_network
from yolov3_tf.models.classifier import classifier

IMAGES = tf.random.stateless_uniform([2, 64, 96, 3], [1, 2])


@pytest.fixture(scope='module')
def pair():
    tf.keras.utils.set_random_seed(1)
    detector = yolov3_network.build(4, .125)
    return detector, classifier(detector, 4)


def test_full_width_has_darknet53s_classifier():
    """Redmon & Farhadi 2018, table 1: 40,584,928 trainable in the body, then 1024 x C weights and C biases."""
    model = classifier(yolov3_network.build(20), 20)
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert trainable == 40_584_928 + 1024 * 20 + 20


def test_logits_are_the_mean_features_times_the_kernel(pair):
    detector, model = pair
    last = [layer for layer in detector.layers if layer.name.startswith('backbone_')][-1]
    features = tf.keras.Model(detector.inputs, last.output)(IMAGES).numpy()
    kernel, bias = model.get_layer('classifier_output').get_weights()
    assert features.shape[1:3] == (2, 3)                                       # stride 32
    np.testing.assert_allclose(model(IMAGES), features.mean((1, 2)) @ kernel + bias, atol=1e-5)


def test_what_the_classifier_learns_is_in_the_detector(pair):
    detector, model = pair
    shared = {layer.name for layer in model.layers if layer.weights} - {'classifier_output'}
    assert shared == {layer.name for layer in detector.layers if layer.weights and layer.name.startswith('backbone_')}
    assert all(model.get_layer(name) is detector.get_layer(name) for name in shared)


def test_a_network_without_a_backbone_by_name_is_refused():
    images = tf.keras.Input([None, None, 3])
    with pytest.raises(InputError, match='backbone'):
        classifier(tf.keras.Model(images, tf.keras.layers.Conv2D(2, 1)(images)), 2)
