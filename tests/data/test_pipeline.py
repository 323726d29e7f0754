"""Batches: drawn rectangles found again in the pixels, order and randomness, restarts, and bad images."""
import collections
import itertools

import cv2
import numpy as np
import pytest
import tensorflow as tf
from fixtures.exif import with_exif

from yolov3_tf import geometry, orientation
from yolov3_tf.data import augment as one_image
from yolov3_tf.data import pipeline
from yolov3_tf.data.order import Order, steps_per_epoch
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, Record

SIZE = (64, 96)
MARKERS = np.array([[12, 10, 52, 40], [70, 30, 130, 80], [20, 60, 60, 110]], np.float32)
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]       # of class 0, 1, 2


def record(path, boxes=(), classes=None, crowd=None):
    boxes = np.reshape(np.asarray(boxes, np.float32), [-1, 4])
    n = len(boxes)
    classes = np.arange(n) % 3 if classes is None else classes
    crowd = np.zeros(n, bool) if crowd is None else np.asarray(crowd)
    return Record(str(path), path.stem, 0, 0, boxes, np.asarray(classes, np.int32), np.zeros(n, bool), crowd,
                  np.zeros(n, np.float32))


def draw_markers(path, height=120, width=160, boxes=MARKERS):
    """A black image with a filled rectangle in its class's colour for every box."""
    image = np.zeros([height, width, 3], np.uint8)
    for number, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        image[y1:y2, x1:x2] = COLOURS[number % 3][::-1]
    cv2.imwrite(str(path), image)
    return record(path, boxes)


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """Seven images: every other one PNG, upright and lying, with three boxes or none."""
    folder = tmp_path_factory.mktemp('images')
    records = []
    for number in range(7):
        path = folder / f'{number}{(".png", ".jpg")[number % 2]}'
        size = [(120, 160), (160, 140)][number % 3 > 0]
        records.append(draw_markers(path, *size, MARKERS[:0] if number == 6 else MARKERS))
    return Dataset(records, ['red', 'green', 'blue'], [])


def settings(batch_size=3, sizes=(SIZE,), **others):
    return pipeline.PipelineSettings(batch_size, sizes, threads=2, **others)


def batches(dataset, count, seed=0, first=(0, 0), **others):
    stream = pipeline.training_batches(dataset, settings(**others), seed, *first)
    return list(stream.take(count).as_numpy_iterator())


def order(found):
    return [indices.tolist() for _, _, indices in found]


def assert_equal(one, other):
    for a, b in zip(tf.nest.flatten(one), tf.nest.flatten(other)):
        np.testing.assert_array_equal(a, b)


def where(image, number):
    """Bounding box of the pixels in a class's colour."""
    others = [channel for channel in range(3) if channel != number]
    found = np.argwhere((image[..., number] > 160) & (image[..., others] < 100).all(axis=-1))
    return np.concatenate([found.min(axis=0)[::-1], found.max(axis=0)[::-1] + 1])


@pytest.mark.parametrize('names, letterbox', [
    ((), False), (('flip',), True), (('expand',), False), (('crop', 'interpolation'), True),
    (('flip', 'crop', 'expand'), True), (('flip', 'crop', 'expand', 'interpolation'), False),
    (('jitter',), True), (('jitter', 'expand', 'crop', 'flip'), True), (('rot90',), False), (('vflip',), True),
    (('rot90', 'vflip', 'flip', 'crop', 'expand', 'interpolation'), True)])
def test_boxes_and_classes_move_with_the_pixels(dataset, names, letterbox):
    """The marker of a box is where the box is, whatever was done to the image: a crop drops both or none."""
    kept = 0
    for images, truth, _ in batches(dataset, 12, sizes=((128, 192),), augment=names, letterbox=letterbox):
        for image, boxes, classes, valid in zip(images, truth.boxes, truth.classes, truth.valid):
            for box, number in zip(boxes[valid], classes[valid]):
                if min(box[2:] - box[:2]) > 4:      # a thinner one has no pixel of the pure colour
                    np.testing.assert_allclose(where(image, number), box, atol=2)
                    kept += 1
    assert kept > 50


def test_unaugmented_training_is_evaluation(dataset):
    expected = {}
    for batch in pipeline.evaluation_batches(dataset, *SIZE, True, 3).as_numpy_iterator():
        for image, boxes, valid, index in zip(batch.images, batch.truth.boxes, batch.truth.valid, batch.indices):
            expected[index] = image, boxes[valid]
    for images, truth, indices in batches(dataset, 2, augment=()):
        for image, boxes, valid, index in zip(images, truth.boxes, truth.valid, indices):
            np.testing.assert_array_equal(image, expected[index][0])
            np.testing.assert_allclose(boxes[valid], expected[index][1], atol=1e-4)


@pytest.mark.parametrize('letterbox', [True, False])
@pytest.mark.parametrize('quarters', range(4))
def test_rot90_is_numpy_s_rotation_of_image_and_boxes(tmp_path, monkeypatch, letterbox, quarters):
    """An image of 60 x 96 in 64 x 128: as if the stored one had been turned, then mirrored. All margins are even."""
    mirrored = quarters in (1, 2)
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, [60, 96, 3], np.uint8), (0, 0), 2)
    cv2.imwrite(str(tmp_path / 'a.png'), image[..., ::-1])
    boxes = np.array([[5, 7, 30, 52], [60, 40, 90, 60]])
    data = Dataset([record(tmp_path / 'a.png', boxes)], ['red', 'green', 'blue'], [])
    table = {**one_image.AUGMENTATIONS}
    for name, value in (('rot90', tf.constant(quarters)), ('flip', tf.constant(mirrored))):
        table[name] = table[name]._replace(draw=lambda seed, value=value: tf.identity(value))
    monkeypatch.setattr(one_image, 'AUGMENTATIONS', table)
    (images, truth, _), = batches(data, 1, batch_size=1, sizes=((64, 128),), letterbox=letterbox,
                                  augment=('rot90', 'flip'))

    def turned(array):
        array = np.rot90(array, quarters)
        return array[:, ::-1] if mirrored else array
    expected, placement = geometry.place_image(np.ascontiguousarray(turned(image)), 64, 128, letterbox)
    difference = np.abs(images[0].astype(int) - expected.numpy())
    assert difference.max() <= 1
    for box, found in zip(boxes, truth.boxes[0]):
        mask = np.zeros([60, 96], bool)
        mask[box[1]:box[3], box[0]:box[2]] = True
        rows, columns = np.nonzero(turned(mask))
        by_mask = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
        np.testing.assert_allclose(geometry.to_network(by_mask, placement)[0], found, atol=1e-4)


def test_bars_stay_grey_under_every_colour(dataset):
    for images, _, indices in batches(dataset, 6, sizes=((64, 192),), augment=('colour',)):
        assert (images[:, :, :40] == 128).all() and (images[:, :, -40:] == 128).all()
        assert (images[:, :, 80:112].std(axis=(1, 2)).max(axis=1)[indices != 6] > 5).all()


def test_an_epoch_shows_every_image_once_and_two_differ(dataset):
    found = batches(dataset, 14, batch_size=1)
    first, second = order(found[:7]), order(found[7:])
    assert sorted(first) == sorted(second) == [[number] for number in range(7)] and first != second
    by_index = [{int(indices[0]): images for images, _, indices in epoch} for epoch in (found[:7], found[7:])]
    assert all((by_index[0][number] != by_index[1][number]).any() for number in range(6))


@pytest.fixture(scope='module')
def usual(dataset):
    return batches(dataset, 6, seed=3)


def test_floor_of_n_over_b_batches_in_the_order_of_each_epoch(usual):
    assert steps_per_epoch(7, 3) == 2
    expected, other = [[Order(7, 3, seed).of_batch(epoch, step).tolist()
                        for epoch in range(3) for step in range(2)] for seed in (3, 4)]
    assert order(usual) == expected != other
    assert all(len({*first, *second}) == 6 for first, second in zip(expected[::2], expected[1::2]))


@pytest.mark.parametrize('threads', [1, 5])
def test_the_seed_decides_everything_and_threads_nothing(dataset, usual, threads):
    stream = pipeline.training_batches(dataset, settings()._replace(threads=threads), 3)
    assert_equal(list(stream.take(6).as_numpy_iterator()), usual)


def test_equal_shares_of_every_batch_are_the_whole_batches(dataset):
    """Two workers: each image once an epoch over both, pixels and augmentation those of one worker's batch."""
    whole = batches(dataset, 4, batch_size=2)
    chosen = settings(batch_size=2)
    shares = [list(pipeline.training_batches(dataset, chosen, 0, share=(k, 2)).take(4).as_numpy_iterator())
              for k in range(2)]
    for (images, truth, indices), *parts in zip(whole, *shares):
        for row, (image, own, index) in enumerate(parts):
            np.testing.assert_array_equal(image[0], images[row])
            assert index.tolist() == [indices[row]]
            np.testing.assert_array_equal(own.boxes[0], truth.boxes[row][truth.valid[row]])
    seen = [index for share in shares for _, _, indices in share[:3] for index in indices]
    assert len(set(seen)) == len(seen) == 6


def test_balanced_batches_are_those_of_their_order_also_after_a_restart(dataset):
    """Six images have the three classes, one has none: with a fourth class in one image, that one is shown more."""
    rare = dataset.records[2]._replace(classes=np.array([0, 1, 3], np.int32))
    data = dataset._replace(records=[*dataset.records[:2], rare, *dataset.records[3:]])
    made = pipeline.order_of(data, settings(balance_classes=True), 4)
    assert made.repeats == pytest.approx([1.0954, 1.0954, 6 ** .5, 1.0954, 1.0954, 1.0954, 1], abs=1e-4)    # (6/5)^.5
    whole = batches(data, 12, seed=4, balance_classes=True)
    assert order(whole) == [made.of_batch(*divmod(step, 2)).tolist() for step in range(12)]
    assert sum(indices.count(2) for indices in order(whole)) > 7
    assert_equal(batches(data, 4, seed=4, first=(3, 1), balance_classes=True), whole[7:11])
    for position, expected in enumerate(order(whole)[2] + order(whole)[3]):
        _, _, index = pipeline.reproduce(data, settings(balance_classes=True), 4, 1, position)
        assert int(index) == expected


def test_a_set_smaller_than_a_batch_repeats(dataset):
    assert steps_per_epoch(7, 17) == 1
    (images, _, indices), _ = batches(dataset, 2, batch_size=17)
    counts = collections.Counter(indices.tolist())
    assert len(indices) == 17 and set(counts.values()) == {2, 3} and len(counts) == 7
    first, again = np.flatnonzero(indices == indices[0])[:2]
    assert (images[first] != images[again]).any()       # drawn anew each time


def test_restart_equals_the_uninterrupted_stream(dataset):
    choices = dict(sizes=(64, 96), batches_per_size=3)
    whole = batches(dataset, 9, **choices)
    assert len({images.shape for images, _, _ in whole}) == 2
    for epoch, step in [(1, 0), (2, 1)]:
        assert_equal(batches(dataset, 3, first=(epoch, step), **choices), whole[2 * epoch + step:][:3])


def test_multi_scale_changes_between_groups_of_batches(dataset):
    found = batches(dataset, 60, sizes=(32, 64, (32, 96)), augment=(), batches_per_size=10)
    shapes = [images.shape[1:3] for images, _, _ in found]
    groups = [set(shapes[start:start + 10]) for start in range(0, 60, 10)]
    assert all(len(group) == 1 for group in groups)
    assert 1 < len(set(shapes)) and set(shapes) <= {(32, 32), (64, 64), (32, 96)}


def test_shapes_and_types_are_known(dataset):
    images, truth, indices = pipeline.training_batches(dataset, settings(), 0).element_spec
    assert images.shape.as_list() == [None, *SIZE, 3] and images.dtype == tf.uint8
    assert truth.boxes.shape.as_list() == [None, None, 4] and truth.valid.dtype == tf.bool
    assert indices.shape.as_list() == [None] and indices.dtype == tf.int32
    many = pipeline.training_batches(dataset, settings(sizes=(32, 64)), 0).element_spec[0]
    assert many.shape.as_list() == [None, None, None, 3]


BAD = {'missing': None, 'empty': b'', 'text': b'no image at all', 'truncated': 'cut'}


@pytest.fixture
def spoiled(dataset, tmp_path):
    """The seven images and four that cannot be used, at 7 to 10."""
    records = list(dataset.records)
    for name, contents in BAD.items():
        path = tmp_path / f'{name}.jpg'
        if contents == 'cut':
            draw_markers(path)
            contents = path.read_bytes()[:-200]
        if contents is not None:
            path.write_bytes(contents)
        records.append(record(path, MARKERS))
    return dataset._replace(records=records)


def test_bad_images_are_left_out_and_can_be_named(spoiled):
    found = batches(spoiled, 6, batch_size=5, augment=('flip',))
    missing = set()
    for number, (images, truth, indices) in enumerate(found):
        expected = Order(11, 5, 0).of_batch(*divmod(number, 2))
        assert indices.tolist() == [index for index in expected if index < 7]
        assert len(images) == len(indices) == len(truth.valid)
        missing |= set(expected.tolist()) - set(indices.tolist())
    assert missing == {7, 8, 9, 10}
    for index, words in zip(range(7, 11), ['no such file', 'empty', 'expected a JPEG', 'truncated']):
        assert words in pipeline.reason(spoiled.records[index].image_path)
    assert 'reproduce' in pipeline.reason(spoiled.records[0].image_path)


def test_an_empty_batch_keeps_the_count_of_steps(spoiled):
    found = batches(spoiled, 22, batch_size=1, augment=('flip',))
    expected = [Order(11, 1, 0).of_batch(*divmod(step, 11)).tolist() for step in range(22)]
    assert order(found) == [[index] if index < 7 else [] for index, in expected]
    assert all(images.shape[1:] == (*SIZE, 3) for images, _, _ in found)


def test_strict_stops(spoiled):
    with pytest.raises(tf.errors.OpError):
        batches(spoiled, 6, strict=True, augment=('flip',))
    with pytest.raises(tf.errors.OpError):
        list(pipeline.evaluation_batches(spoiled, *SIZE, True, 3, strict=True))


def test_reproduce_makes_the_sample_again_or_raises_its_error(spoiled):
    choices = settings(batch_size=5)
    for images, truth, indices in batches(spoiled, 1, batch_size=5):
        position = Order(11, 5, 0).of_batch(0, 0).tolist().index(indices[0])
        image, row, index = pipeline.reproduce(spoiled, choices, 0, 0, position)
        assert int(index) == indices[0]
        # Eager kernels round as the compiled graph's do, but for the last bit of a fused product.
        assert np.abs(image.numpy().astype(int) - images[0]).max() <= 1
        np.testing.assert_allclose(row.boxes, truth.boxes[0][truth.valid[0]], atol=1e-3)
    bad = Order(11, 5, 0).of_batch(0, 0).tolist() + Order(11, 5, 0).of_batch(0, 1).tolist()
    with pytest.raises(tf.errors.OpError):
        pipeline.reproduce(spoiled, choices, 0, 0, next(row for row, index in enumerate(bad) if index > 6))


def test_annotations_that_could_do_harm(tmp_path):
    path = tmp_path / 'a.png'
    draw_markers(path)
    near = np.random.default_rng(0).uniform(0, [120, 90], [150, 2])
    many = record(path, np.concatenate([near, near + 12], axis=1))
    odd = record(path, [[np.nan] * 4, [5, 5, 5, 40], [10, 10, 60, 60], [-50, 20, 30, 40], [200, 10, 220, 30]],
                 classes=[0, 1, 2, 1, 0])
    crowds = record(path, [[10, 10, 60, 60], [20, 20, 150, 110]], classes=[1, 2], crowd=[True, False])
    nothing = record(path)
    dataset = Dataset([many, odd, crowds, nothing], ['red', 'green', 'blue'], [])
    for augment in (), pipeline.DEFAULT_AUGMENTATIONS:
        for _, truth, indices in batches(dataset, 8, batch_size=4, augment=augment):
            boxes = truth.boxes[truth.valid]
            assert np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all()
            assert (boxes >= -1e-3).all() and (boxes <= np.array(SIZE[::-1] * 2) + 1e-3).all()
            assert not truth.boxes[~truth.valid].any() and not truth.classes[~truth.valid].any()
            np.testing.assert_array_equal(truth.weights, truth.valid.astype(np.float32))
            counts = truth.valid.sum(axis=1)[np.argsort(indices)]
            assert counts[0] <= 150 and counts[2] <= 1 and counts[3] == 0
            assert set(truth.classes[indices == 2][truth.valid[indices == 2]]) <= {2}
    counts = truth.valid.sum(axis=1)
    assert augment and counts.max() > 0
    _, truth, indices = batches(dataset, 1, batch_size=4, augment=())[0]
    assert truth.valid.sum(axis=1)[np.argsort(indices)].tolist() == [150, 2, 1, 0]
    nobody = batches(dataset._replace(records=[nothing]), 1, batch_size=2)[0]
    assert nobody[1].boxes.shape == (2, 0, 4)


def test_evaluation_is_everything_in_order_unaugmented(spoiled):
    one, two = [list(pipeline.evaluation_batches(spoiled, *SIZE, True, 3).as_numpy_iterator()) for _ in range(2)]
    assert_equal(one, two)
    assert [batch.indices.tolist() for batch in one] == [[0, 1, 2], [3, 4, 5], [6]]
    for batch in one:
        for row, index in enumerate(batch.indices):
            image = cv2.imread(spoiled.records[index].image_path)[..., ::-1]
            assert batch.sizes[row].tolist() == list(image.shape[:2])
            placed, placement = geometry.place_image(image, *SIZE, True)
            if index % 2 == 0:      # PNG; two JPEG decoders differ at the markers' edges
                np.testing.assert_array_equal(placed, batch.images[row])
            found = geometry.Placement(*[field[row] for field in batch.placement])
            np.testing.assert_allclose(tf.stack(found), tf.stack(placement), rtol=1e-6)
            boxes = batch.truth.boxes[row][batch.truth.valid[row]]
            np.testing.assert_allclose(geometry.to_image(boxes, found), spoiled.records[index].boxes, atol=1e-3)


def test_hundred_thousand_images_start_at_once(dataset):
    many = dataset._replace(records=dataset.records * 15000)
    _, _, indices = batches(many, 1)[0]
    np.testing.assert_array_equal(indices, Order(105000, 3, 0).of_batch(0, 0))
    assert indices.max() > 1000


@pytest.mark.parametrize('change, words', [
    (dict(augment=('color',)), "unknown augmentation 'color': expected one of blur, colour, crop, cutmix, expand, "),
    (dict(sizes=(416, 400)), 'multiples of 32'),
    (dict(sizes=()), 'multiples of 32'),
    (dict(batch_size=0), 'batch size 0'),
])
def test_settings_that_cannot_be_used(dataset, change, words):
    with pytest.raises(InputError, match=words):
        pipeline.training_batches(dataset, settings(**change), 0)


def test_no_records():
    with pytest.raises(InputError, match='no images'):
        pipeline.training_batches(Dataset([], [], []), settings(), 0)
    with pytest.raises(InputError, match='no images'):
        pipeline.evaluation_batches(Dataset([], [], []), *SIZE, True, 3)


def test_real_images(shared_data):
    """A second of real VOC images through everything, from annotations in VOC's own files."""
    from yolov3_tf.data.readers import specs
    dataset = specs.load(f'voc:{shared_data / "voc_six" / "VOCdevkit"}:val', None)
    stream = pipeline.training_batches(dataset, settings(batch_size=8, sizes=(128,)), 0)
    for images, truth, indices in itertools.islice(stream.as_numpy_iterator(), 4):
        assert images.shape == (8, 128, 128, 3) and len(indices) == 8
        assert truth.valid.any(axis=1).all()        # every image has an object, and the crop keeps one
        for row, index in enumerate(indices):
            assert set(truth.classes[row][truth.valid[row]]) <= set(dataset.records[index].classes)


@pytest.mark.parametrize('number', [3, 5, 6, 8])
def test_boxes_lie_on_the_pixels_of_images_that_exif_turns(tmp_path, number):
    """Stored pixels with red at the box; the reader turned the box, the pipeline turns the image."""
    stored = np.zeros([120, 160, 3], np.uint8)
    x1, y1, x2, y2 = MARKERS[0].astype(int)
    stored[y1:y2, x1:x2] = COLOURS[0]
    path = tmp_path / 'a.jpg'
    path.write_bytes(with_exif(160, 120, number, stored))
    turned = record(path, orientation.upright_boxes(MARKERS[:1], 160, 120, number))._replace(
        orientation=number, kind='JPEG')
    dataset = Dataset([turned] * 3, ['red', 'green', 'blue'], [])
    batch = next(iter(pipeline.evaluation_batches(dataset, 160, 160, True, 3)))
    made = [(image, boxes[0]) for image, boxes in zip(batch.images.numpy(), batch.truth.boxes.numpy())]
    for images, truth, _ in batches(dataset, 2, augment=('flip', 'jitter'), sizes=((160, 160),)):
        made += [(image, boxes[0]) for image, boxes, valid in zip(images, truth.boxes, truth.valid) if valid.any()]
    assert len(made) >= 6
    for image, box in made:
        rows, columns = np.nonzero((image[..., 0] > 130) & (image[..., 1] < 90) & (image[..., 2] < 90))
        np.testing.assert_allclose([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], box, atol=2.5)


def test_webp_and_palette_bmp_are_batches_like_others(tmp_path):
    records = []
    for ending in '.webp', '.tiff', '.bmp', '.png':
        records.append(draw_markers(tmp_path / f'a{ending}'))
    found = []
    for _ in range(2):
        batch, = pipeline.evaluation_batches(Dataset(records, ['red', 'green', 'blue'], []), 120, 160, True, 4)
        assert batch.indices.numpy().tolist() == [0, 1, 2, 3]
        found.append(batch.images.numpy())
    assert np.abs(found[0][1:].astype(int) - found[0][1]).max() == 0 and (found[0] == found[1]).all()
    assert np.abs(found[0][0].astype(int) - found[0][1]).mean() < 2         # WebP loses a little
    assert len(next(iter(pipeline.training_batches(Dataset(records, ['r', 'g', 'b'], []), settings(4), 0)))[2]) == 4
