"""tf.train.Examples as other people write them."""
import cv2
import numpy as np
import tensorflow as tf

PNG = cv2.imencode('.png', np.zeros([40, 60, 3], np.uint8))[1].tobytes()
# As the Object Detection API's create_pascal_tf_record.py writes it.
THEIRS = {'image/encoded': [PNG], 'image/width': [60], 'image/height': [40], 'image/filename': [b'x.png'],
          'image/source_id': [b'x'], 'image/object/bbox/xmin': [.5, .0], 'image/object/bbox/xmax': [1., .25],
          'image/object/bbox/ymin': [.25, .5], 'image/object/bbox/ymax': [.5, 1.],
          'image/object/class/text': [b'dog', b'cat'], 'image/object/class/label': [2, 1]}


def serialized(values):
    """An Example of {key: list of numbers or bytes}."""
    return tf.train.Example(features=tf.train.Features(
        feature={key: _feature(value) for key, value in values.items()})).SerializeToString()


def _feature(value):
    kind = {int: 'int64_list', float: 'float_list', bytes: 'bytes_list'}[type(value[0])]
    return tf.train.Feature(**{kind: {'value': value}})
