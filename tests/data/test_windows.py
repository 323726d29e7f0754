"""Windows of large images by hand: where they lie, which boxes are left, and that training sees those pixels."""
import collections

import cv2
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf import tiling
from yolov3_tf.data import augment, network_sizes, pipeline, windows
from yolov3_tf.data.windows import Draw, Windows
from yolov3_tf.data_check import check
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, Record
from yolov3_tf.tiling import Tiling

SQUARE = Windows(Tiling(), (200, 200))
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]


def sample(height, width, boxes):
    boxes = np.reshape(np.float32(boxes), [-1, 4])
    return augment.whole_image(tf.constant(height), tf.constant(width), tf.constant(boxes),
                               tf.range(len(boxes), dtype=tf.int32))


def window(of, made=SQUARE, whole=False, near_object=False, chosen=0., position=(0., 0.)):
    numbers = Draw(tf.constant(whole), tf.constant(near_object), tf.constant(chosen), tf.constant(position))
    return windows.choose(of, made, numbers).numpy().tolist()


@pytest.mark.parametrize('position, expected', [
    ((0., 0.), [0, 0]), ((.5, .5), [400, 200]), ((.9999, .9999), [800, 400])])
def test_a_window_anywhere(position, expected):
    """801 x 401 positions of 200 x 200 in 1000 x 600."""
    x, y = expected
    assert window(sample(600, 1000, []), position=position) == [x, y, x + 200, y + 200]
    assert window(sample(600, 1000, []), near_object=True, position=position)[:2] == expected     # no object


@pytest.mark.parametrize('chosen, position, expected', [
    (0., (0., 0.), [0, 0]), (0., (.9999, .9999), [100, 50]),            # x from 0 to 100.5, y from 0 to 50
    (.6, (0., 0.), [780, 390]), (.6, (.5, .5), [790, 395]), (.9999, (.9999, .9999), [800, 400])])
def test_a_window_around_an_object(chosen, position, expected):
    """The second ends at 980, 590, so that windows begin at 780, 390 at least, and the image ends at 800, 400."""
    of = sample(600, 1000, [[100.5, 50, 120.5, 80], [200, 0, 401, 20], [900, 500, 980, 590]])     # one is too wide
    x, y = expected
    assert window(of, near_object=True, chosen=chosen, position=position) == [x, y, x + 200, y + 200]


def test_an_object_as_large_as_a_window_at_a_fraction_of_a_pixel():
    assert window(sample(600, 1000, [[300.5, 0, 500.5, 200]]), near_object=True)[:2] == [300, 0]


def test_the_whole_image_and_images_that_are_smaller_than_a_tile():
    assert window(sample(600, 1000, []), whole=True) == [0, 0, 1000, 600]
    for whole in (False, True):
        assert window(sample(100, 150, [[1, 1, 5, 5]]), whole=whole, near_object=True) == [0, 0, 150, 100]
    assert window(sample(100, 1000, []), position=(.5, .5)) == [400, 0, 600, 100]


@pytest.mark.parametrize('made', [Windows(Tiling(text), size) for text in ('auto', '500', '2', '3', '7', '31')
                                  for size in ((200, 200), (96, 160), (320, 224))])
def test_windows_have_the_size_of_the_tiles_of_detection(made):
    for height, width in ((600, 1000), (1000, 600), (3000, 2999), (333, 777), (40, 2000)):
        tiles = tiling.lay_out(made.tiling, height, width, made.image_size)
        found = window(sample(height, width, []), made, position=(.3, .7))
        expected = tiles[0, 2:] - tiles[0, :2] if len(tiles) else [width, height]
        assert [found[2] - found[0], found[3] - found[1]] == list(expected)


def left(of, where, made=SQUARE):
    seen = windows.objects_in(of, tf.constant(where), made)
    return seen.boxes.numpy().tolist(), seen.classes.numpy().tolist()


def test_boxes_are_cut_and_dropped_where_less_than_three_tenths_are_seen():
    of = sample(600, 1000, [[80, 150, 180, 200], [30, 150, 130, 200], [29, 150, 129, 200], [50, 50, 150, 150],
                            [200, 200, 212, 212], [400, 100, 500, 200], [250, 290, 350, 310]])
    boxes, classes = left(of, [100, 100, 300, 300])
    assert classes == [0, 1, 4]     # of the others a part of .29, .25, 0 and .25 is seen
    assert boxes == [[0, 50, 80, 100], [0, 50, 30, 100], [100, 100, 112, 112]]
    assert left(of, [600, 300, 800, 500]) == ([], [])


def test_a_whole_image_leaves_out_what_only_tiles_show():
    """1000 pixels at 200: boxes of less than 30 pixels have less than 6 there; a tile shows them as they are."""
    of = sample(600, 1000, [[10, 10, 39, 39], [10, 10, 40, 20], [500, 300, 512, 312]])
    assert left(of, [0, 0, 1000, 600])[1] == [1]
    assert left(of, [0, 0, 200, 200])[1] == [0, 1]
    assert left(sample(150, 180, [[10, 10, 13, 13]]), [0, 0, 180, 150])[1] == [0]       # no tile shows it larger


def test_shares_of_whole_images_and_of_windows_around_objects():
    drawn = [windows.draw(tf.constant([seed, 1], tf.int64)) for seed in range(600)]
    assert abs(np.mean([one.whole.numpy() for one in drawn]) - .2) < .04
    assert abs(np.mean([one.near_object.numpy() for one in drawn]) - .75) < .04


def record(path, width=0, height=0, boxes=()):
    boxes = np.reshape(np.float32(boxes), [-1, 4])
    n = len(boxes)
    return Record(str(path), path.stem, width, height, boxes, np.arange(n, dtype=np.int32) % 3, np.zeros(n, bool),
                  np.zeros(n, bool), np.zeros(n, np.float32), kind='PNG')


@pytest.fixture(scope='module')
def dataset(tmp_path_factory):
    """Six images, JPEG and PNG, of 500 x 400, 300 x 700 and 60 x 40 pixels, with rectangles in the class's colour."""
    folder, random, records = tmp_path_factory.mktemp('large'), np.random.RandomState(0), []
    for number in range(6):
        width, height = [(500, 400), (300, 700), (60, 40)][number // 2]
        image, boxes = np.zeros([height, width, 3], np.uint8), []
        for x in range(4, width - 30, 70):
            for y in range(4, height - 30, 70):
                w, h = random.randint(10, 26, 2)
                image[y:y + h, x:x + w] = COLOURS[len(boxes) % 3][::-1]
                boxes.append([x, y, x + w, y + h])
        path = folder / f'{number}{(".png", ".jpg")[number % 2]}'
        cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 100])
        records.append(record(path, width, height, boxes)._replace(kind=('PNG', 'JPEG')[number % 2]))
    return Dataset(records, ['red', 'green', 'blue'], [])


def settings(augment=(), **others):
    return pipeline.PipelineSettings(4, (96,), augment=augment, threads=2,
                                     **{'windows': Windows(Tiling(), (96, 96)), **others})


def test_an_epoch_has_as_many_windows_as_fill_the_images(dataset, tmp_path):
    """500 x 400 / 96 x 96 = 21.7, 300 x 700 / 96 x 96 = 22.8, and one of what is smaller than a tile."""
    made = settings()
    assert windows.times(dataset.records, made.windows) == (22, 22, 23, 23, 1, 1)
    order = pipeline.order_of(dataset, made, 0)
    assert (order.shown, order.steps) == (92, 23)
    shown = collections.Counter(np.concatenate([order.of_batch(3, step) for step in range(23)]).tolist())
    assert [shown[index] for index in range(6)] == [22, 22, 23, 23, 1, 1]
    unknown = [one._replace(width=0, height=0) for one in dataset.records[:2]]
    assert windows.times([*unknown, record(tmp_path / 'gone.png')], made.windows) == (22, 22, 1)
    balanced = pipeline.order_of(dataset, settings(balance_classes=True), 0)
    assert (balanced.shown, balanced.steps) == (92, 23)
    assert set(np.concatenate([balanced.of_batch(0, step) for step in range(23)]).tolist()) == set(range(6))


def where(image, number):
    others = [channel for channel in range(3) if channel != number]
    return (image[..., number] > 150) & (image[..., others] < 110).all(axis=-1)


@pytest.mark.parametrize('cut, augment', [('auto', ()), ('64', ('flip', 'vflip', 'rot90')), ('3', ('crop', 'expand'))])
def test_boxes_lie_on_the_pixels_of_their_window(dataset, cut, augment):
    """Each box is full of its class's colour, and where pixels of a colour are, there is a box, or a small part."""
    made = settings(augment, windows=Windows(Tiling(cut), (96, 96)))
    seen = 0
    for images, truth, _ in pipeline.training_batches(dataset, made, 1).take(10).as_numpy_iterator():
        for image, boxes, classes, valid in zip(images, truth.boxes, truth.classes, truth.valid):
            for (x1, y1, x2, y2), number in zip(boxes[valid], classes[valid]):
                if min(x2 - x1, y2 - y1) > 8:
                    inside = where(image, number)[round(y1) + 2:round(y2) - 2, round(x1) + 2:round(x2) - 2]
                    assert inside.size and inside.mean() > .95
                    seen += 1
    assert seen > 20


def test_windows_follow_from_seed_epoch_and_step(dataset):
    """With others of several images too: a mosaic is made of windows."""
    made = settings(('mosaic', 'flip'))
    whole = list(pipeline.training_batches(dataset, made, 5).take(5).as_numpy_iterator())
    late = list(pipeline.training_batches(dataset, made, 5, 0, 2).take(3).as_numpy_iterator())
    for one, other in zip(tf.nest.flatten(whole[2:]), tf.nest.flatten(late)):
        np.testing.assert_array_equal(one, other)
    image, truth, index = pipeline.reproduce(dataset, made, 5, 0, 2 * 4 + 1)
    np.testing.assert_array_equal(image, whole[2][0][1])
    assert index == whole[2][2][1] and len(truth.boxes) == whole[2][1].valid[1].sum()


def test_tiles_of_validation(dataset, tmp_path):
    """The whole image first, then the tiles; a batch holds one image's, and one that cannot be read has none."""
    (tmp_path / 'bad.png').write_bytes(b'\x89PNG\r\n\x1a\n no image')
    made = Windows(Tiling('200'), (96, 96))
    bad = record(tmp_path / 'bad.png', 500, 400)
    data = dataset._replace(records=[dataset.records[0], bad, *dataset.records[4:]])
    found = list(pipeline.tile_batches(data, made, True, 4).as_numpy_iterator())
    assert [batch.indices.tolist() for batch, _ in found] == [[0] * 4, [0] * 4, [0] * 2, [2], [3]]
    laid = tiling.lay_out(made.tiling, 400, 500, (96, 96))
    cut = np.concatenate([some for _, some in found[:3]])
    assert cut.tolist() == [[0, 0, 500, 400], *laid.tolist()]
    first = found[0][0]
    assert first.images.shape == (4, 96, 96, 3) and first.sizes.tolist() == [[400, 500]] + [[200, 200]] * 3
    tile = sample(400, 500, data.records[0].boxes)
    expected = windows.objects_in(tile, tf.constant(cut[1], tf.int32), made).boxes.numpy() * 96 / 200
    np.testing.assert_allclose(first.truth.boxes[1][first.truth.valid[1]], expected, rtol=1e-6)
    with pytest.raises(tf.errors.OpError):
        list(pipeline.tile_batches(data, made, True, 4, strict=True))


def test_too_many_tiles_are_refused_before_training(dataset):
    many = dataset._replace(records=[dataset.records[0]._replace(width=60_000, height=60_000)])
    for make in (lambda: pipeline.order_of(many, settings(), 0),
                 lambda: pipeline.tile_batches(many, settings().windows, True, 4)):
        with pytest.raises(InputError, match='an image of 60000 x 60000 pixels: .* tiles, expected at most 10,000'):
            make()


def test_sizes_in_the_network_input_are_those_of_the_tiles(tmp_path):
    """1000 x 500 at 100: .1 of the whole image; in tiles of 200 half, but what is larger than a tile stays."""
    data = Dataset([record(tmp_path / 'a.png', 1000, 500, [[0, 0, 20, 10], [0, 0, 300, 100], [5, 5, 205, 205]])],
                   ['x'], [])
    np.testing.assert_allclose(network_sizes.of_boxes(data, 100, 100, True), [[2, 1], [30, 10], [20, 20]])
    np.testing.assert_allclose(network_sizes.of_boxes(data, 100, 100, True, '200'), [[10, 5], [30, 10], [100, 100]])


def test_the_check_of_a_set_sees_small_boxes_as_the_tiles_show_them(dataset):
    """Boxes of 10 to 25 pixels in images of 300 x 700 at 32: .5 to 1.1 pixels, in tiles of 64 5 to 12."""
    data = dataset._replace(records=dataset.records[2:3])
    whole, cut = (check.check(data, [(10, 10)], 32, 32, True, tiles) for tiles in ('', '64'))
    assert any(one.kind == 'speck' for one in whole.findings) and not any(one.kind == 'speck' for one in cut.findings)
    np.testing.assert_allclose(cut.sizes, whole.sizes * 700 / 64)
