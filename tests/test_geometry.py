"""The resize and its box maps, against arithmetic and OpenCV, on images and inputs that are not square."""
import cv2
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf import geometry


def numbers(fitted):
    placement, *rest = fitted
    return [float(field) for field in placement], [int(part) for part in rest]


@pytest.mark.parametrize('image, network, letterbox, placement, position', [
    # 500 x 375 into 416 x 416: 416 / 500 = .832 decides; 375 * .832 = 312; (416 - 312) / 2 = 52 above.
    ((375, 500), (416, 416), True, [.832, .832, 0, 52], [312, 416, 52, 0]),
    # 333 rows: 333 * .832 = 277.06 -> 277, whose real scale is 277 / 333; (416 - 277) // 2 = 69.
    ((333, 500), (416, 416), True, [.832, 277 / 333, 0, 69], [277, 416, 69, 0]),
    # 320 high, 512 wide: 320 / 375 = .8533 decides; 500 * .8533 = 426.67 -> 427; (512 - 427) // 2 = 42.
    ((375, 500), (320, 512), True, [427 / 500, 320 / 375, 42, 0], [320, 427, 0, 42]),
    ((375, 500), (320, 512), False, [512 / 500, 320 / 375, 0, 0], [320, 512, 0, 0]),
    ((416, 416), (416, 416), True, [1, 1, 0, 0], [416, 416, 0, 0]),
    # An image of one row keeps a row: 96 / 5000 rounds to 0.
    ((1, 5000), (64, 96), True, [96 / 5000, 1, 0, 31], [1, 96, 31, 0]),
])
def test_fit(image, network, letterbox, placement, position):
    found_placement, found_position = numbers(geometry.fit(*image, *network, letterbox))
    assert found_position == position
    np.testing.assert_allclose(found_placement, placement, rtol=1e-6)


@pytest.mark.parametrize('letterbox', [True, False])
@pytest.mark.parametrize('shape', [(90, 160), (160, 90), (31, 47)])
def test_place_image_resizes_like_opencv(shape, letterbox):
    image = np.random.default_rng(0).integers(0, 256, [*shape, 3], np.uint8)
    placed, _ = geometry.place_image(image, 96, 192, letterbox)
    _, (height, width, top, left) = numbers(geometry.fit(*shape, 96, 192, letterbox))
    expected = np.full([96, 192, 3], 128, np.uint8)
    expected[top:top + height, left:left + width] = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    assert placed.dtype == tf.uint8
    assert np.abs(placed.numpy().astype(int) - expected).max() <= 1      # OpenCV's weights have 11 bits


@pytest.mark.parametrize('letterbox', [True, False])
def test_a_drawn_rectangle_is_where_its_box_is(letterbox):
    image = np.zeros([150, 220, 3], np.uint8)
    image[30:90, 150:210] = 255
    placed, placement = geometry.place_image(image, 160, 96, letterbox)
    x1, y1, x2, y2 = geometry.to_network(tf.constant([[150., 30, 210, 90]]), placement).numpy()[0]
    white = np.argwhere((placed.numpy() > 200).all(axis=-1))
    np.testing.assert_allclose(white.min(axis=0), [y1, x1], atol=1)
    np.testing.assert_allclose(white.max(axis=0) + 1, [y2, x2], atol=1)


def test_boxes_return_from_the_network():
    rng = np.random.default_rng(1)
    placements = [geometry.fit(*size, 320, 416, letterbox)[0]
                  for size, letterbox in [((375, 500), True), ((500, 333), True), ((17, 900), False)]]
    batch = geometry.Placement(*[tf.stack(field) for field in zip(*placements)])
    boxes = tf.constant(rng.uniform(0, 500, [3, 7, 4]), tf.float32)
    seen = geometry.to_network(boxes, batch)
    np.testing.assert_allclose(geometry.to_image(seen, batch), boxes, atol=1e-3)
    for row in range(3):        # a batch is its images one by one
        np.testing.assert_allclose(geometry.to_network(boxes[row], placements[row]), seen[row], rtol=1e-6)


def test_to_network_by_hand():
    placement = geometry.Placement(tf.constant(2.), tf.constant(3.), tf.constant(10.), tf.constant(20.))
    np.testing.assert_allclose(geometry.to_network(tf.constant([[1., 2, 3, 4]]), placement), [[12, 26, 16, 32]])
    back = geometry.to_image(tf.constant([[12., 26, 16, 32]]), placement)
    np.testing.assert_allclose(back, [[1, 2, 3, 4]], rtol=1e-6)


def test_mirror_twice_is_nothing():
    boxes = tf.constant([[1., 2, 30, 40], [0, 0, 100, 50]])
    np.testing.assert_allclose(geometry.mirror(boxes, 100), [[70, 2, 99, 40], [0, 0, 100, 50]])
    np.testing.assert_allclose(geometry.mirror(geometry.mirror(boxes, 100), 100), boxes)


def test_a_view_of_the_whole_image_is_fit():
    shown = geometry.fit_view(375, 500, tf.constant([0, 0, 500, 375]), 416, 416, True)
    placement, height, width, top, left = geometry.fit(375, 500, 416, 416, True)
    assert shown.rectangle.numpy().tolist() == [0, 0, 500, 375]
    assert shown.target.numpy().tolist() == [left, top, left + width, top + height]
    np.testing.assert_allclose(tf.stack(shown.placement), tf.stack(placement), rtol=1e-6)


def test_a_view_beyond_the_image():
    # A 200 x 200 view with the 100 x 100 image in its lower right quarter, stretched onto 64 x 128.
    shown = geometry.fit_view(100, 100, tf.constant([-100, -100, 100, 100]), 64, 128, False)
    assert shown.rectangle.numpy().tolist() == [0, 0, 100, 100]
    assert shown.target.numpy().tolist() == [64, 32, 128, 64]
    np.testing.assert_allclose(tf.stack(shown.placement), [.64, .32, 64, 32], rtol=1e-6)


def test_a_view_keeps_a_pixel_of_a_sliver():
    shown = geometry.fit_view(4, 4, tf.constant([-4000, -4000, 1, 1]), 32, 32, True)
    assert shown.rectangle.numpy().tolist() == [0, 0, 1, 1]
    assert shown.target.numpy().tolist() == [31, 31, 32, 32]


@pytest.mark.parametrize('letterbox', [True, False])
def test_the_same_eagerly_and_inside_tf_data(letterbox):
    images = [np.random.default_rng(seed).integers(0, 256, [40 + 30 * seed, 70, 3], np.uint8) for seed in range(2)]
    data = tf.data.Dataset.from_generator(lambda: images, output_signature=tf.TensorSpec([None, None, 3], tf.uint8))
    data = data.map(lambda image: geometry.place_image(image, 64, 96, letterbox))
    assert data.element_spec[0].shape == [64, 96, 3]
    for image, (placed, placement) in zip(images, data):
        expected_image, expected_placement = geometry.place_image(image, 64, 96, letterbox)
        np.testing.assert_array_equal(placed, expected_image)
        np.testing.assert_array_equal(tf.stack(placement), tf.stack(expected_placement))


def test_size_may_be_a_tensor():
    image = tf.zeros([10, 20, 3], tf.uint8)
    placed, _ = tf.function(lambda side: geometry.place_image(image, side, 2 * side, True))(tf.constant(32))
    assert placed.shape == [32, 64, 3]


def test_to_uint8_rounds_and_limits():
    assert geometry.to_uint8([-3., 0, .4, .6, 127.4, 127.6, 254.4, 254.6, 300]).numpy().tolist() == [
        0, 0, 0, 1, 127, 128, 254, 255, 255]
