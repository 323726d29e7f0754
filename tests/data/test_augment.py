"""Augmentations as plans: what they may do to views, boxes and colours. The pixels are test_pipeline's."""
import cv2
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf import geometry
from yolov3_tf.choices import choose
from yolov3_tf.data import augment, rendering
from yolov3_tf.errors import InputError

HEIGHT, WIDTH = 120, 200
BOXES = [[10., 10, 60, 50], [100, 20, 190, 110], [5, 80, 25, 118]]


def make(boxes=BOXES):
    boxes = np.reshape(np.asarray(boxes, np.float32), [-1, 4])
    return augment.whole_image(tf.constant(HEIGHT), tf.constant(WIDTH), tf.constant(boxes),
                                 tf.range(len(boxes), dtype=tf.int32))


def seeds(count):
    return [tf.constant([7, number], tf.int64) for number in range(count)]


def over_seeds(count, function):
    """What ``function`` of a seed gives for many of them, inside tf.data, as NumPy."""
    return list(tf.data.Dataset.from_tensor_slices(tf.stack(seeds(count))).map(function).as_numpy_iterator())


def augmented(names, count, boxes=BOXES):
    return over_seeds(count, lambda seed: augment.augment(make(boxes), names, seed))


def test_whole_image_cuts_and_drops():
    sample = make([[-5, -5, 20, 20], [30, 30, 30, 60], [50, 70, 40, 80], [np.nan, 1, 5, 9], [210, 5, 230, 9],
                   [190, 100, 999, 999]])
    np.testing.assert_array_equal(sample.boxes, [[0, 0, 20, 20], [190, 100, 200, 120]])
    assert sample.classes.numpy().tolist() == [0, 5]
    assert sample.view.numpy().tolist() == [0, 0, WIDTH, HEIGHT]


def test_order_is_the_reference_s():
    """Those that the reference does not have stand where they disturb no other."""
    ours = ('grey', 'jitter', 'blur', 'rot90', 'vflip')
    assert [name for name in augment.AUGMENTATIONS if name not in ours] == [
        'colour', 'expand', 'crop', 'interpolation', 'flip']
    assert sorted(one.stream for one in augment.AUGMENTATIONS.values()) == list(range(10))
    with pytest.raises(InputError, match='blur, colour, crop, expand, flip, grey, interpolation, jitter, rot90, vflip'):
        choose(augment.AUGMENTATIONS, 'color', 'augmentation')


def test_expand_holds_the_image_half_of_the_time():
    ratios = []
    for sample in augmented(['expand'], 300):
        view = sample.view
        assert view[0] <= 0 and view[1] <= 0 and view[2] >= WIDTH and view[3] >= HEIGHT
        size = view[2:] - view[:2]
        assert abs(size[0] / size[1] - WIDTH / HEIGHT) < .03
        ratios.append(size[0] / WIDTH)
    ratios = np.array(ratios)
    assert .42 < np.mean(ratios == 1) < .58 and ratios.max() <= 4
    assert abs(ratios[ratios > 1].mean() - 2.5) < .25       # uniform in 1..4


def test_crop_keeps_boxes_by_their_centre_with_their_classes():
    changed = 0
    for sample in augmented(['expand', 'crop'], 100):
        view = sample.view
        centres = (np.array(BOXES)[:, :2] + np.array(BOXES)[:, 2:]) / 2
        inside = ((centres >= view[:2]) & (centres < view[2:])).all(axis=1)
        assert inside.any()
        assert sample.classes.tolist() == np.flatnonzero(inside).tolist()
        np.testing.assert_array_equal(sample.boxes, np.clip(np.array(BOXES)[inside], np.tile(view[:2], 2),
                                                            np.tile(view[2:], 2)))
        assert len(sample.weights) == inside.sum()
        changed += not inside.all()
    assert changed > 10


def overlap(box, view):
    near, far = np.maximum(box[:2], view[:2]), np.minimum(box[2:], view[2:])
    shared = np.prod(np.maximum(far - near, 0))
    return shared / (np.prod(box[2:] - box[:2]) + np.prod(view[2:] - view[:2]) - shared)


@pytest.mark.parametrize('rule', range(6))
def test_crop_meets_the_rule_of_highest_priority(rule):
    box, lowest = np.array([15., 5, 195, 118]), augment.CROP_MIN_IOU[rule]

    def crop_by_rule(seed):
        draw = augment.draw_crop(seed)._replace(priorities=tf.one_hot(rule + 1, 7))
        return augment.crop(make([box]), draw).view

    views = [view for view in over_seeds(40, crop_by_rule) if view.tolist() != [0, 0, WIDTH, HEIGHT]]
    assert len(views) > (30 if lowest < .7 else 2)      # the whole view where no trial meets the rule
    for view in views:
        assert overlap(box, view) >= lowest
        width, height = view[2:] - view[:2]
        assert .3 ** 2 * .8 < width * height / (WIDTH * HEIGHT) <= 1
        assert .45 < width / height * HEIGHT / WIDTH < 2.2


def test_crop_can_leave_the_image_whole():
    draw = augment.draw_crop(seeds(1)[0])
    kept = augment.crop(make(), draw._replace(priorities=tf.one_hot(0, 7)))
    assert kept.view.numpy().tolist() == [0, 0, WIDTH, HEIGHT]
    # Two far corners: no crop but the whole has IoU .9 with both, so that rule falls back.
    corners = make([[0, 0, 9, 9], [190, 110, 200, 120]])
    assert augment.crop(corners, draw._replace(priorities=tf.one_hot(5, 7))).view[2] == WIDTH


def test_crop_without_boxes_still_shows_some_of_the_image():
    views = set()
    for sample in augmented(['expand', 'crop'], 40, boxes=[]):
        x1, y1, x2, y2 = sample.view
        assert min(x2, WIDTH) > max(x1, 0) and min(y2, HEIGHT) > max(y1, 0)
        assert sample.boxes.shape == (0, 4)
        views.add((x1, y1, x2, y2))
    assert len(views) > 20


def test_hundreds_of_boxes():
    near = np.random.default_rng(0).uniform(0, [180, 100], [500, 2])
    sample, = augmented(['crop'], 1, np.concatenate([near, near + 15], axis=1))
    assert sample.boxes.shape[0] == sample.classes.shape[0] == sample.weights.shape[0] > 0


def test_flip_twice_is_nothing():
    once = augment.flip(make(), True)
    assert bool(once.mirrored) and not bool(augment.flip(once, True).mirrored)
    assert not bool(augment.flip(make(), False).mirrored)
    assert .38 < np.mean(over_seeds(300, augment.draw_flip)) < .62


def by_numpy(sample, image):
    """What the sample's turn and reflections, in the order that ``Sample`` gives, make of an array."""
    image = image.T if sample.turned else image
    image = image[::-1] if sample.upended else image
    return image[:, ::-1] if sample.mirrored else image


@pytest.mark.parametrize('before', [(), ('flip',), ('vflip',), ('rot90',), ('rot90', 'flip')])
@pytest.mark.parametrize('quarters', range(4))
def test_rot90_is_numpy_s_whatever_was_done_before(before, quarters):
    image, sample = np.arange(6).reshape(2, 3), make()
    applied = {'flip': np.fliplr, 'vflip': np.flipud, 'rot90': np.rot90}
    expected = image
    for name in before:
        sample = augment.AUGMENTATIONS[name].apply(sample, tf.constant(1) if name == 'rot90' else tf.constant(True))
        expected = applied[name](expected)
    np.testing.assert_array_equal(by_numpy(sample, image), expected)
    turned = augment.rot90(sample, tf.constant(quarters))
    np.testing.assert_array_equal(by_numpy(turned, image), np.rot90(expected, quarters))


def test_vflip_half_of_the_time_and_every_quarter_turn_alike():
    assert .38 < np.mean(over_seeds(300, augment.draw_vflip)) < .62
    counts = np.bincount(over_seeds(400, augment.draw_rot90))
    assert len(counts) == 4 and (abs(counts - 100) < 35).all()
    assert not bool(augment.vflip(augment.vflip(make(), True), True).upended)


def test_jitter_by_hand():
    """Objects at half size: the view is 400 x 240 around the image of 200 x 120, moved by a tenth of itself."""
    draw = augment.Jitter(tf.constant(.5), tf.constant(1.), tf.constant([.1, -.1]))
    sample = augment.jitter(make(), draw)
    assert sample.view.numpy().tolist() == [-100 - 40, -60 + 24, 300 - 40, 180 + 24]
    np.testing.assert_array_equal(sample.boxes, BOXES)
    # At 1.25 times the size the view is x 20 to 180, y 12 to 108. The first box (10 to 60, 10 to 50) keeps 40 x 38 of
    # 50 x 40, the second (100 to 190, 20 to 110) 80 x 88 of 90 x 90, the third 5 x 28 of 20 x 38: less than .3.
    sample = augment.jitter(make(), draw._replace(scale=tf.constant(1.25), shift=tf.zeros([2])))
    assert sample.view.numpy().tolist() == [20, 12, 180, 108] and sample.classes.numpy().tolist() == [0, 1]
    np.testing.assert_array_equal(sample.boxes, [[20, 12, 60, 50], [100, 20, 180, 108]])


def test_jitter_stays_gentle_and_never_loses_the_image():
    sizes, shifts = [], []
    for sample in augmented(['jitter'], 300):
        size = sample.view[2:] - sample.view[:2]
        sizes.append(size / [WIDTH, HEIGHT])
        shifts.append(([WIDTH / 2, HEIGHT / 2] - (sample.view[:2] + sample.view[2:]) / 2) / size)
        near = np.maximum(np.array(BOXES)[:, :2], sample.view[:2])
        far = np.minimum(np.array(BOXES)[:, 2:], sample.view[2:])
        left = (far - near).clip(0).prod(axis=1) / [50 * 40, 90 * 90, 20 * 38]
        assert sample.classes.tolist() == np.flatnonzero(left >= .3).tolist()
        np.testing.assert_array_equal(sample.boxes, np.concatenate([near, far], 1)[left >= .3])
    scales, aspects = 1 / np.sqrt(np.prod(sizes, 1)), np.divide(*np.transpose(sizes))
    assert .49 < scales.min() < .55 and 1.45 < scales.max() < 1.52 and abs(scales.mean() - 1) < .06
    assert .94 < aspects.min() < .965 and 1.035 < aspects.max() < 1.06
    assert .09 < np.abs(shifts).max() < .11 and np.abs(np.mean(shifts, 0)).max() < .015
    # After expand the image may be a corner of the view; a jitter that would miss it is not made.
    for view in (sample.view for sample in augmented(['expand', 'jitter'], 200)):
        assert min(view[2], WIDTH) > max(view[0], 0) and min(view[3], HEIGHT) > max(view[1], 0)
    corner = make([])._replace(view=tf.constant([-600, -360, 10, 10]))
    draw = augment.Jitter(tf.constant(1.5), tf.constant(1.), tf.constant([.1, .1]))
    assert augment.jitter(corner, draw).view.numpy().tolist() == [-600, -360, 10, 10]


@pytest.mark.parametrize('kernel, by_opencv', list(zip(range(4), [
    lambda image: cv2.resize(image, (45, 20), interpolation=cv2.INTER_LINEAR),
    lambda image: image[1::3, 1::2],        # the pixel below each centre; OpenCV's is its upper left neighbour
    lambda image: cv2.resize(image, (45, 20), interpolation=cv2.INTER_CUBIC),
    lambda image: cv2.resize(image, (45, 20), interpolation=cv2.INTER_AREA),
])), ids='bilinear nearest bicubic area'.split())
def test_every_kernel_resizes_like_opencv(kernel, by_opencv):
    # Blurred, because the two bicubic kernels differ in their free parameter (-.5 and -.75).
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, [60, 90, 3], np.uint8), (0, 0), 2)
    resized = rendering.resize(tf.constant(image), 20, 45, make()._replace(interpolation=tf.constant(kernel)))
    np.testing.assert_allclose(resized, by_opencv(image), atol=1.1)


@pytest.fixture(scope='module')
def colours():
    return over_seeds(200, augment.draw_colour)


def test_colour_draws_stay_in_range_and_change_nothing_half_of_the_time(colours):
    drawn = np.array(colours)
    for column, (neutral, reach) in zip(drawn.T, [(0, 32), (0, np.pi / 5), (1, .5), (1, .5)]):
        assert .38 < np.mean(column == neutral) < .62
        assert np.abs(column - neutral).max() <= reach and np.abs(column - neutral).max() > .8 * reach


def test_colour_by_hand():
    grey, red = [128., 128, 128], [200., 40, 40]
    neutral = augment.Colour(0., 0., 1., 1.)
    np.testing.assert_allclose(augment.colour(make(), neutral).matrix, np.eye(3), atol=1e-6)
    for draw, pixel, expected in [
            (neutral._replace(brightness=20.), red, [220, 60, 60]),
            (neutral._replace(value=.5), red, [100, 20, 20]),
            (neutral._replace(hue=.6, saturation=.5), grey, grey),
            # No saturation: the luma .299 * 200 + .701 * 40 = 87.84.
            (neutral._replace(saturation=0.), red, [87.84] * 3),
            (neutral._replace(brightness=10., value=2.), grey, [276] * 3)]:
        sample = augment.colour(make(), draw)
        np.testing.assert_allclose(sample.matrix.numpy() @ pixel + sample.offset.numpy(), expected, atol=.1)


def test_colour_against_tensorflow_addons(colours):
    addons = pytest.importorskip('tensorflow_addons', reason='this TensorFlow has no tensorflow-addons')
    image = np.random.default_rng(0).uniform(.2, .8, [8, 16, 3]).astype(np.float32)
    for draw in colours[:20]:
        draw = draw._replace(brightness=0.)
        sample = augment.colour(make(), draw)
        expected = addons.image.adjust_hsv_in_yiq(image, float(draw.hue), float(draw.saturation), float(draw.value))
        np.testing.assert_allclose(rendering.paint(tf.constant(image), sample), expected, atol=2e-3)


def test_paint_is_the_matrix_product_and_leaves_the_bars_grey(colours):
    canvas = np.random.default_rng(0).uniform(0, 255, [6, 32, 3]).astype(np.float32)
    for draw in colours[:30]:
        sample = augment.colour(make(), draw)
        expected = canvas @ sample.matrix.numpy().T + sample.offset.numpy()
        np.testing.assert_allclose(rendering.paint(tf.constant(canvas), sample), expected, atol=1e-3)
        bars = tf.fill([2, 8, 3], rendering.grey_to_paint(sample, 128))
        assert (geometry.to_uint8(rendering.paint(bars, sample)).numpy() == 128).all()


def test_grey_is_the_luma_after_any_colour(colours):
    drawn = over_seeds(400, augment.draw_grey)
    assert .05 < np.mean(drawn) < .15
    for draw in colours[:20]:
        sample = augment.colour(make(), draw)
        grey = augment.grey(sample, True)
        pixel = np.array([200., 40, 90])
        coloured = sample.matrix.numpy() @ pixel
        luma = coloured @ [.299, .587, .114]
        np.testing.assert_allclose(grey.matrix.numpy() @ pixel, [luma] * 3, rtol=1e-4)
        np.testing.assert_allclose(rendering.grey_to_paint(grey, 128), rendering.grey_to_paint(sample, 128), rtol=1e-4)
    np.testing.assert_array_equal(augment.grey(make(), False).matrix, np.eye(3))


def test_blur_against_opencv():
    drawn = np.array(over_seeds(400, augment.draw_blur))
    assert .05 < np.mean(drawn > 0) < .15 and drawn[drawn > 0].min() >= .5 and drawn.max() <= 2
    image = np.random.default_rng(0).uniform(0, 255, [40, 60, 3]).astype(np.float32)
    for sigma in (.5, 1.3, 2.):
        softened = rendering.soften(tf.constant(image), make()._replace(blur=tf.constant(sigma)))
        expected = cv2.GaussianBlur(image, (9, 9), sigma, borderType=cv2.BORDER_REPLICATE)
        np.testing.assert_allclose(softened, expected, atol=.01)
    np.testing.assert_array_equal(rendering.soften(tf.constant(image), make()), image)
    thin = rendering.soften(tf.constant(image[:1]), make()._replace(blur=tf.constant(2.)))
    assert thin.shape == (1, 60, 3)


def test_the_same_eagerly_and_inside_tf_data():
    for seed, sample in zip(seeds(5), augmented(augment.AUGMENTATIONS, 5)):
        expected = augment.augment(make(), augment.AUGMENTATIONS, seed)
        for name, found in sample._asdict().items():
            np.testing.assert_allclose(found, getattr(expected, name), rtol=1e-5, atol=1e-5, err_msg=name)


def test_leaving_one_out_does_not_change_the_others():
    for both, flip, colour in zip(*[augmented(names, 8) for names in (['colour', 'flip'], ['flip'], ['colour'])]):
        assert both.mirrored == flip.mirrored
        np.testing.assert_array_equal(both.matrix, colour.matrix)


def test_geometric_augmentations_are_rows_like_the_others():
    """Each row changes nothing but the part of the plan that it names."""
    fields = {'view': {'view', 'boxes', 'classes', 'weights', 'mirrored'},
              'turn': {'turned', 'mirrored', 'upended'}, 'colour': {'matrix', 'offset'},
              'kernel': {'interpolation'}, 'focus': {'blur'}}
    plain = make()
    for name, row in augment.AUGMENTATIONS.items():
        for sample in augmented([name], 20):
            changed = {field for field, new, old in zip(plain._fields, sample, plain)
                       if np.shape(new) != np.shape(old) or np.any(np.asarray(new) != np.asarray(old))}
            assert changed <= fields[row.changes], name
