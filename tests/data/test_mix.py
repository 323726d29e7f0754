"""Mosaic, cutmix and mix-up: by hand, against pixels counted one by one, and markers found again in batches."""
import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from yolov3_tf.data import mix, pipeline
from yolov3_tf.structures import Dataset, Record

SIZES = [(120, 160), (160, 140), (100, 200)]                  # height, width
MARKERS = np.array([[12, 10, 52, 40], [70, 30, 130, 80], [20, 60, 60, 98]], np.float32)


def draw_channel(path, channel, height, width):
    """Black, with a full rectangle in one channel for every marker; their class is the channel."""
    image = np.zeros([height, width, 3], np.uint8)
    for x1, y1, x2, y2 in MARKERS.astype(int):
        image[y1:y2, x1:x2, 2 - channel] = 255
    cv2.imwrite(str(path), image)
    none = np.zeros(3, bool)
    return Record(str(path), path.stem, 0, 0, MARKERS, np.full(3, channel, np.int32), none, none,
                  np.zeros(3, np.float32))


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    return Dataset([draw_channel(folder / f'{k}.png', k % 3, *SIZES[k % 3]) for k in range(6)], ['r', 'g', 'b'], [])


def batches(dataset, count, augment, seed=0, **others):
    chosen = pipeline.PipelineSettings(6, ((128, 192),), augment=augment, threads=2, **others)
    return list(pipeline.training_batches(dataset, chosen, seed).take(count).as_numpy_iterator())


def found_again(image, box, channel, weight, reach=4):
    """Bounding box of the pixels near a box that have its channel at half of its weight or more."""
    near = np.maximum(np.floor(box[:2]).astype(int) - reach, 0)
    far = np.ceil(box[2:]).astype(int) + reach
    rows, columns = np.nonzero(image[near[1]:far[1], near[0]:far[0], channel] >= 255 * weight / 2)
    assert len(rows), (box, channel, weight)
    return np.add([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], [*near, *near])


@pytest.mark.parametrize('names, letterbox, least', [
    (('cutmix', 'flip'), False, 150), (('mixup', 'interpolation', 'flip'), False, 300),
    (('mosaic', 'crop', 'blur', 'flip'), True, 150)])
def test_boxes_move_with_the_pixels_and_weigh_what_they_show(dataset, names, letterbox, least):
    """The pixels never end within the box; beyond it they go on only where the remains of another one touch it."""
    checked = crowded = 0
    for images, truth, _ in batches(dataset, 18, names, letterbox=letterbox):
        assert (truth.weights[truth.valid] > 0).all() and (truth.weights[~truth.valid] == 0).all()
        for image, boxes, classes, weights in zip(images, truth.boxes, truth.classes, truth.weights):
            for box, channel, weight in zip(boxes, classes, weights):
                if weight > .15 and min(box[2:] - box[:2]) > 6:
                    beyond = (found_again(image, box, channel, weight) - box) * [-1, -1, 1, 1]
                    assert (beyond > -2.1).all()
                    checked, crowded = checked + 1, crowded + (beyond > 2.1).any()
    assert checked > least and crowded < .3 * checked


def test_other_mixes_leave_the_usual_augmentations_as_they_were(dataset):
    """Half of the images are not mixed; those are the very ones that come without any mix."""
    usual, mixed = (batches(dataset, 6, names) for names in (('flip',), ('mixup', 'flip')))
    same = [np.array_equal(a, b) for (one, _, _), (other, _, _) in zip(usual, mixed) for a, b in zip(one, other)]
    assert 6 < sum(same) < 30
    assert [indices.tolist() for *_, indices in usual] == [indices.tolist() for *_, indices in mixed]


def test_restart_and_reproduce(dataset):
    names = ('cutmix', 'mixup', 'flip')
    chosen = pipeline.PipelineSettings(4, (64,), augment=names, threads=2)
    whole = list(pipeline.training_batches(dataset, chosen, 5).take(3).as_numpy_iterator())
    again = list(pipeline.training_batches(dataset, chosen, 5, 2, 0).take(1).as_numpy_iterator())
    tf.nest.map_structure(np.testing.assert_array_equal, again[0], whole[2])
    mixed = np.flatnonzero((whole[2][1].valid & (whole[2][1].weights < 1)).any(axis=1))[0]
    image, truth, _ = pipeline.reproduce(dataset, chosen, 5, 2, int(mixed))
    assert np.abs(image.numpy().astype(int) - whole[2][0][mixed]).max() <= 2
    np.testing.assert_allclose(truth.weights, whole[2][1].weights[mixed][whole[2][1].valid[mixed]], atol=1e-5)


def test_an_image_that_cannot_be_used_is_no_partner(dataset, tmp_path):
    (tmp_path / 'bad.png').write_bytes(b'no image')
    bad = dataset.records[1]._replace(image_path=str(tmp_path / 'bad.png'))
    broken = dataset._replace(records=[dataset.records[0], bad, bad, bad])
    for images, truth, indices in batches(broken, 3, tuple(mix.MIXES)):
        assert len(images) and set(indices.tolist()) == {0}
        assert set(truth.classes[truth.valid]) == {0} and (truth.weights[truth.valid] == 1).all()


def test_a_set_of_one_image_is_mixed_with_itself(dataset):
    alone, = batches(dataset._replace(records=dataset.records[:1]), 1, ('cutmix', 'mixup'))
    assert len(alone[0]) == 6 and alone[1].weights.min() < 1


def canvas(height, width, level, boxes, class_id):
    boxes = np.reshape(np.asarray(boxes, np.float32), [-1, 4])
    return mix.Canvas(tf.fill([height, width, 3], tf.constant(level, tf.uint8)), tf.constant(boxes),
                      tf.fill([len(boxes)], class_id), tf.ones([len(boxes)]))


def whole_of(other):
    def others(number, window):
        shape = tf.shape(other.pixels)
        return mix.cut_out(other, window(shape[0], shape[1]))
    return others


def test_mixup_by_hand():
    one, two = canvas(4, 6, 200, [[0, 0, 3, 3]], 1), canvas(5, 2, 40, [[0, 1, 2, 5]], 2)
    mixed = mix.mixup(one, whole_of(two), mix.Mixup(True, .75, 0.), (32, 32))
    pixels = mixed.pixels.numpy()[..., 0]
    # .75 * 200 + .25 * 40 = 160 where both are, .75 * 200 = 150, .25 * 40 = 10, black where neither reaches.
    expected = np.zeros([5, 6])
    expected[:4] = 150
    expected[:, :2] = 10
    expected[:4, :2] = 160
    np.testing.assert_array_equal(pixels, expected)
    np.testing.assert_array_equal(mixed.boxes, [[0, 0, 3, 3], [0, 1, 2, 5]])
    assert mixed.classes.numpy().tolist() == [1, 2] and mixed.weights.numpy().tolist() == [.75, .25]


def test_mixup_draws_beta_for_half_of_the_images():
    seeds = tf.constant([[3, number] for number in range(2000)], tf.int64)
    drawn = list(tf.data.Dataset.from_tensor_slices(seeds).map(mix.draw_mixup).as_numpy_iterator())
    shares = np.array([draw.share for draw in drawn])
    assert .46 < np.mean([draw.chosen for draw in drawn]) < .54
    # Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1)) = 1 / 16 for a = 1.5.
    assert abs(shares.mean() - .5) < .02 and abs(shares.var() - 1 / 16) < .005
    assert len(set(shares.tolist())) > 1900


def test_cutmix_by_hand():
    one = canvas(40, 80, 200, [[0, 0, 30, 40], [50, 5, 70, 35], [32, 12, 36, 18]], 1)
    two = canvas(20, 100, 40, [[60, 0, 80, 20], [0, 0, 10, 10]], 2)
    # A quarter of the area: 40 x 20, from x = .5 * (100 - 40) = 30 on, to x = .5 * 40 = 20, y = .5 * 20 = 10.
    draw = mix.Cutmix(True, .25, 0., tf.constant([.5, .5]), tf.constant([.5, .5]))
    mixed = mix.cutmix(one, whole_of(two), draw, (32, 32))
    expected = np.full([40, 80], 200)
    expected[10:30, 20:60] = 40
    np.testing.assert_array_equal(mixed.pixels.numpy()[..., 0], expected)
    # The first loses a corner only; the second keeps more than half; the third is hidden. Of the other image
    # 30..70 is seen, half of the box 60..80, which lands at 60 - 30 + 20 = 50; its second lies outside.
    np.testing.assert_array_equal(mixed.boxes, [[0, 0, 30, 40], [50, 5, 70, 35], [50, 10, 60, 30]])
    draw = draw._replace(source=tf.constant([1., 0.]))        # 60..100 is seen: the box lands at 20..40
    np.testing.assert_array_equal(mix.cutmix(one, whole_of(two), draw, (32, 32)).boxes[-1], [20, 10, 40, 30])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=8, max_size=8))
def test_uncovered_is_the_bounding_box_of_the_pixels_left(numbers):
    box, hidden = (sorted(numbers[k:k + 4:2]) + sorted(numbers[k + 1:k + 4:2]) for k in (0, 4))
    (x1, x2, y1, y2), (left, right, top, bottom) = box, hidden
    mask = np.zeros([13, 13], bool)
    mask[y1:y2, x1:x2] = True
    if not mask.any():
        return
    mask[top:bottom, left:right] = False
    found = mix.uncovered(tf.constant([[x1, y1, x2, y2]], tf.float32),
                          tf.constant([left, top, right, bottom], tf.float32))
    rows, columns = np.nonzero(mask)
    if len(rows):
        np.testing.assert_array_equal(found[0], [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    else:
        assert (found[0, 2:] <= found[0, :2]).numpy().any()


def test_mosaic_by_hand():
    one, two = canvas(100, 100, 200, [[40, 30, 60, 60]], 1), canvas(50, 200, 40, [[0, 0, 25, 50], [100, 0, 150, 50]], 2)
    draw = mix.Mosaic(True, tf.constant([.5, .5]), tf.zeros([3]), tf.constant([[0., 0.], [0., 0.], [1., 0.], [.5, .5]]))
    made = mix.mosaic(one, whole_of(two), draw, (64, 128))
    pixels = made.pixels.numpy()[..., 0]
    assert pixels.shape == (64, 128) and (pixels[:32, :64] == 200).all()
    assert (pixels[:32, 64:] == 40).all() and (pixels[32:] == 40).all()
    # Tiles are 64 x 32, 2:1. Of the square image the upper half is seen, 100 x 50, at .64: the box is cut at 50.
    np.testing.assert_allclose(made.boxes[0], [40 * .64, 30 * .64, 60 * .64, 32], atol=1e-4)
    # Of the other 100 x 50 is seen: at 0 the first box, at 100 the second, at 50 the second.
    np.testing.assert_allclose(made.boxes[1:], [[64, 0, 80, 32], [0, 32, 32, 64], [64 + 32, 32, 128, 64]], atol=1e-4)
