"""The SavedModel as servers use it: images of all formats, broken images, many callers, many requests."""
import concurrent.futures
import os
import resource

import cv2
import numpy as np
import pytest
import tensorflow as tf
from fixtures.lively_network import SETTINGS, describe, lively_model

from yolov3_tf import export
from yolov3_tf.export import warmup

# Two pixels, black and white.
GIF = (b'GIF89a\x02\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff'
       b'\x2c\x00\x00\x00\x00\x02\x00\x01\x00\x00\x02\x02\x44\x0a\x00\x3b')


def encode(suffix, image):
    return cv2.imencode(suffix, image)[1].tobytes()


@pytest.fixture(scope='module')
def image():
    random = np.random.RandomState(2)
    return cv2.resize(random.randint(0, 256, [5, 6, 3]).astype(np.uint8), (90, 50), interpolation=cv2.INTER_CUBIC)


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    return export.export(lively_model(), describe(), tmp_path_factory.mktemp('served'), settings=SETTINGS)


@pytest.fixture(scope='module')
def served(exported):
    return tf.saved_model.load(exported)


@pytest.fixture(scope='module')
def ask(served):
    return lambda *contents: served.signatures['serving_default'](images=tf.constant(contents))


def rows(outputs, index):
    return [value[index].numpy() for _, value in sorted(outputs.items())]


def assert_same(some, others):
    """Detections of equal scores may be in another order, so each column is sorted and compared by itself."""
    for one, other in zip(some, others):
        np.testing.assert_allclose(np.sort(one, axis=0) if one.ndim else one,
                                   np.sort(other, axis=0) if other.ndim else other, atol=1e-4)


def test_every_kind_of_image_is_read_as_the_same_pixels(ask, image):
    """Alpha is dropped and 16 bits are reduced to 8; sizes may differ within a request."""
    alpha = np.dstack([image, image[..., 0]])
    plain = rows(ask(encode('.png', image)), 0)
    assert plain[-1] > 10                               # num_detections
    same = [encode('.bmp', image), encode('.bmp', alpha), encode('.png', alpha),
            encode('.png', image.astype(np.uint16) * 257)]
    grey = image[..., 0]
    spread = encode('.png', np.dstack([grey] * 3))
    greys = [encode('.png', grey), encode('.bmp', grey), encode('.png', grey.astype(np.uint16) * 257)]
    found = ask(*same, GIF, spread, *greys, encode('.jpg', image), encode('.jpg', grey))
    for index in range(4):
        assert_same(rows(found, index), plain)
    for index in range(6, 9):
        assert_same(rows(found, index), rows(found, 5))
    assert found['num_detections'].shape == [11]


@pytest.mark.parametrize('broken, why', [
    (b'', 'empty'), (b'no image', 'neither JPEG, PNG, BMP nor GIF'), (b'\xff\xd8\xff', 'a damaged or cut off JPEG'),
    (b'\x89PNG\r\n\x1a\n', 'a damaged or cut off PNG'), (b'GIF89a', 'a damaged or cut off GIF'),
    (b'BM' + bytes(30), 'a damaged or cut off BMP')])
def test_a_broken_image_is_named_and_the_next_request_is_answered(ask, image, broken, why):
    good = encode('.jpg', image)
    before = rows(ask(good), 0)
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        ask(good, broken, good)
    assert f'images[1] of 3: {why}' in str(raised.value) and 'images[0]' not in str(raised.value)
    assert_same(rows(ask(good), 0), before)


def test_damage_in_the_middle_is_found_and_every_broken_image_is_named(ask, image):
    good, jpeg = encode('.png', image), encode('.jpg', image)
    damaged = good[:200] + bytes(40) + good[240:]
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        ask(damaged, good, jpeg[:len(jpeg) // 2])
    assert 'images[0] of 3: a damaged or cut off PNG; images[2] of 3: a damaged or cut off JPEG]' in str(raised.value)


def example(**features):
    return tf.train.Example(features=tf.train.Features(feature={
        name.replace('__', '/'): tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for name, value in features.items()})).SerializeToString()


def test_examples_give_the_same_detections_as_their_images(served, ask, image):
    contents = encode('.jpg', image), encode('.png', image[:40])
    asked = tf.constant([example(image__encoded=content, image__source_id=b'7') for content in contents])
    found, expected = served.signatures['serving_tf_example'](examples=asked), ask(*contents)
    for index in range(2):
        assert_same(rows(found, index), rows(expected, index))


@pytest.mark.parametrize('broken', [b'\x99\x99', example(image__source_id=b'7'), example(image__encoded=b'no image')])
def test_a_broken_example_is_named(served, image, broken):
    good = example(image__encoded=encode('.jpg', image))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r'examples\[0\] of 2: no tf.Example with a JPEG'):
        served.signatures['serving_tf_example'](examples=tf.constant([broken, good]))


def test_simultaneous_callers_get_their_own_results(ask, image):
    """Eight threads, one image in five is broken; each result is as in a single request."""
    contents = [encode('.png', image[:30 + 5 * i]) for i in range(4)]
    alone = [rows(ask(content), 0) for content in contents]

    def call(i):
        if i % 5 == 4:
            with pytest.raises(tf.errors.InvalidArgumentError, match=r'images\[0\] of 1: neither'):
                ask(b'no image')
            return True
        assert_same(rows(ask(contents[i % 5]), 0), alone[i % 5])
        return True

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(call, range(40)))


def resident():
    """Bytes of memory that the process holds; Linux."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.skipif(not os.path.exists('/proc/self/statm'), reason='needs /proc')
@pytest.mark.parametrize('requests', [80, pytest.param(500, marks=pytest.mark.slow)])
def test_memory_stays_flat(ask, image, requests):
    """Mixed sizes and broken images; the limit is what a leak of one decoded image for each request would add."""
    large = cv2.resize(image, (640, 480))
    contents = [encode('.jpg', large[:240 + 40 * i]) for i in range(4)]

    def some(count):
        for i in range(count):
            ask(*contents[:1 + i % 4])
            if i % 10 == 0:
                with pytest.raises(tf.errors.InvalidArgumentError):
                    ask(contents[0], b'no image')

    some(60)                                            # caches and thread pools fill
    before = resident()
    some(requests)
    assert resident() - before < requests * 240 * 640 * 3


def test_warm_up_requests_are_valid_protobuf():
    """The bytes are worked out by hand from the field numbers of the proto files (see ``warmup``)."""
    log = warmup.prediction_log('s', {'x': np.array([1], np.uint8)})
    tensor = tf.make_tensor_proto(np.array([1], np.uint8)).SerializeToString()
    entry = b'\x0a\x01x\x12' + bytes([len(tensor)]) + tensor
    request = b'\x0a\x0b\x0a\x06yolov3\x1a\x01s' + b'\x12' + bytes([len(entry)]) + entry
    predict = b'\x0a' + bytes([len(request)]) + request
    assert log == b'\x32' + bytes([len(predict)]) + predict
    assert warmup._field(2, bytes(300))[:3] == b'\x12\xac\x02'           # 300 = 2 * 128 + 44


def test_warm_up_requests_are_where_the_server_reads_them_and_can_be_run(exported, served):
    path = os.path.join(exported, 'assets.extra', 'tf_serving_warmup_requests')
    logs = [record.numpy() for record in tf.data.TFRecordDataset(path)]
    assert [sum(name.encode() in log for log in logs) for name in served.signatures] == [2, 1, 2]
    for signature, inputs in warmup._requests(32, 64, (1, 8)):
        assert warmup.prediction_log(signature, inputs) in logs
        answer = served.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        assert answer['num_detections'].shape == [len(next(iter(inputs.values())))]
    with open(os.path.join(exported, 'assets.extra', 'batching_parameters.txt')) as file:
        fields = [line.split()[0] for line in file if not line.startswith('#')]
    assert fields == ['max_batch_size', 'batch_timeout_micros', 'max_enqueued_batches', 'num_batch_threads']
