"""A network of eight convolutions with YOLOv3's outputs and layer names, for tests of what surrounds networks."""
import tensorflow as tf

from yolov3_tf.models.blocks import ConvStack


def build(num_classes):
    """Images -> [B, S, 5 + C], as ``models.yolov3.build``; a backbone of five convolutions."""
    stack = ConvStack()
    x = images = tf.keras.Input([None, None, 3])
    routes = []
    for filters in (8, 8, 16, 16, 24):
        x = stack.conv(x, filters, 3, stride=2)
        routes.append(x)
    stack.part = 'head'
    channels = 3 * (5 + num_classes)
    slots = [tf.keras.layers.Reshape([-1, 5 + num_classes])(stack.output(route, channels)) for route in routes[2:]]
    return tf.keras.Model(images, tf.keras.layers.Concatenate(axis=1)(slots))
