"""Detection in tiles: the layout by hand, and a stub that, like a network, sees no object below a size of its input."""
import numpy as np
import pytest

cv2 = pytest.importorskip('cv2')
pytest.importorskip('tensorflow')

from yolov3_tf import export, postprocess, tiling  # noqa: E402
from yolov3_tf.errors import InputError  # noqa: E402
from yolov3_tf.inference import tiles  # noqa: E402
from yolov3_tf.inference.tiles import Tiled, Tiling, lay_out  # noqa: E402
from yolov3_tf.structures import Detections  # noqa: E402

INPUT, LEAST = 416, 8       # the stub's input size, and the smallest side that it sees there


class Eyes:
    """Finds bright rectangles (red: class 1, else 0) whose shorter side is LEAST pixels or more at the input.

    What an edge of the image cuts it finds cut. The score grows with the object; boxes are ``noise`` of a side off.
    """
    class_names, settings, image_size = ('white', 'red'), export.DEFAULTS, (INPUT, INPUT)

    def __init__(self, noise=0., least=LEAST):
        self.noise, self.least, self.calls, self.random = noise, least, [], np.random.RandomState(0)

    def detect(self, images, image_ids=None):
        self.calls.append([image.shape[:2] for image in images])
        return [self._in_one(image) for image in images]

    def _in_one(self, image):
        scale = INPUT / max(image.shape[:2])
        found = []
        for class_id in (0, 1):
            alike = (image[..., 0] > 200) & ((image[..., 1] < 100) if class_id else (image[..., 1] > 200))
            stats = cv2.connectedComponentsWithStats(alike.astype(np.uint8), connectivity=4)[2]
            for x, y, width, height, _ in stats[1:]:
                if min(width, height) * scale >= self.least:
                    off = self.random.uniform(-self.noise, self.noise, 4) * [width, height, width, height]
                    box = np.clip(np.array([x, y, x + width, y + height]) + off, 0, np.tile(image.shape[1::-1], 2))
                    found.append((*box, .5 + .4 * width * height / image[..., 0].size, class_id))
        found = np.array(sorted(found, key=lambda row: -row[4])).reshape(-1, 6)
        return Detections('', found[:, :4].astype(np.float32), found[:, 4].astype(np.float32), found[:, 5].astype(int))


def painted(height, width, boxes, colour=(255, 255, 255)):
    image = np.zeros([height, width, 3], np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = colour
    return image


def overlaps(a, b):
    a, b = np.asarray(a, float).reshape(-1, 1, 4), np.asarray(b, float).reshape(1, -1, 4)
    shared = np.maximum(np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]), 0).prod(-1)
    return shared / ((a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1) - shared)


def recall(found, truth, at=.5):
    return (overlaps(truth, found.boxes).max(1, initial=0) > at).mean()


def scattered(seed, sides, count, height=3000, width=3000, gap=6):
    """Rectangles of these sides at random places, none near another."""
    random, boxes = np.random.RandomState(seed), []
    for side in sides:
        for _ in range(count):
            for _ in range(1000):
                w, h = (max(int(side * random.uniform(.8, 1.25)), 1) for _ in range(2))
                x, y = random.randint(0, max(width - w, 1)), random.randint(0, max(height - h, 1))
                if all(x >= right + gap or x + w <= left - gap or y >= bottom + gap or y + h <= top - gap
                       for left, top, right, bottom in boxes):
                    boxes.append((x, y, min(x + w, width), min(y + h, height)))
                    break
    return boxes


@pytest.mark.parametrize('length, tile, overlap, starts', [
    (416, 416, .2, [0]), (300, 416, .2, [0]), (417, 416, .2, [0, 1]), (1000, 400, 0., [0, 300, 600]),
    (1200, 400, 0., [0, 400, 800]), (1040, 400, .2, [0, 320, 640]), (1041, 400, .2, [0, 214, 427, 641])])
def test_tiles_reach_from_edge_to_edge(length, tile, overlap, starts):
    assert tiling._starts(length, tile, overlap) == starts


def test_the_layout_of_an_image_that_is_not_square():
    by_size = lay_out(Tiling('400', .25), 500, 1000, (320, 320))
    assert by_size.tolist() == [[x, y, x + 400, y + 400] for y in (0, 100) for x in (0, 300, 600)]
    assert (lay_out(Tiling(), 500, 1000, (400, 400)) == lay_out(Tiling('400', .2), 500, 1000, (64, 64))).all()
    wide = lay_out(Tiling('400', 0.), 500, 1000, (100, 200))              # tiles in the input's proportions
    assert set(map(tuple, wide[:, 2:] - wide[:, :2])) == {(400, 200)}
    by_count = lay_out(Tiling('3', 0.), 500, 900, (320, 320))
    assert sorted({x for x, _, _, _ in by_count.tolist()}) == [0, 300, 600] and len(by_count) == 6
    assert len(lay_out(Tiling('3', .2), 500, 900, (320, 320))) == 6
    assert len(lay_out(Tiling('512'), 300, 512, (320, 320))) == 0         # the whole image is the one tile
    assert lay_out(Tiling('100', 0.), 60, 150, (320, 320)).tolist() == [[0, 0, 100, 60], [50, 0, 150, 60]]


@pytest.mark.parametrize('text', ['', '0', '1', '-3', '2.5', 'many', '1e3', 'auto,2', '9999999'])
def test_a_tiling_that_is_none(text):
    with pytest.raises(InputError, match='expected auto, a number of tiles .2 to 31., or the longer side of a tile in '
                                         'pixels .32 or more'.replace('tiles .2', 'tiles along the longer side .2')):
        Tiled(Eyes(), Tiling(text))


def test_numbers_out_of_range():
    for overlap in (-.1, 0., .8, float('nan')):
        with pytest.raises(InputError, match="share of a tile's side, 0.05 to 0.75"):
            Tiled(Eyes(), Tiling(overlap=overlap))
    with pytest.raises(InputError, match='tiles, expected at most 10,000'):
        lay_out(Tiling('32', .75), 3000, 3000, (416, 416))
    blind = Eyes()
    blind.image_size = None
    with pytest.raises(InputError, match="give a tile's side in pixels"):
        Tiled(blind)


def test_small_objects_of_a_large_image_are_found_once():
    """Recall of 12 px objects at 3000 px at least triples; every object, small or large, has one box."""
    small, large = scattered(1, [12], 120), [(400, 350, 900, 800), (1500, 900, 2900, 2500), (100, 2200, 1300, 2950)]
    small = [box for box in small if not (overlaps([box], large) > 0).any()]
    eyes, image = Eyes(), painted(3000, 3000, small + large)
    alone, tiled = eyes.detect([image])[0], Tiled(eyes).detect([image], ['big'])[0]
    assert recall(alone, small) == 0. and recall(alone, large) == 1.
    assert recall(tiled, small) == 1. and recall(tiled, large) == 1.
    assert len(tiled) == len(small) + len(large) and tiled.image_id == 'big' and tiled.names == ('white', 'red')
    assert (np.diff(tiled.scores) <= 0).all()


@pytest.mark.parametrize('side', [18, 40, 90, 200, 500, 1200])
@pytest.mark.parametrize('tiling', [Tiling(), Tiling('640', .1), Tiling('5', .1), Tiling('416', .5)])
def test_no_doubles_and_no_misses_at_any_size(side, tiling):
    """From smaller than the overlap to larger than several tiles, where only parts and the whole image see it."""
    truth = scattered(side, [side], 1 if side > 1000 else 25, 1500, 2000)
    found = Tiled(Eyes(), tiling).detect([painted(1500, 2000, truth)])[0]
    assert recall(found, truth, .9) == 1. and len(found) == len(truth)


@pytest.mark.parametrize('seed', range(4))
def test_boxes_that_are_a_little_off_stay_single(seed):
    truth = scattered(seed, [14, 60, 150, 420], 8, 1400, 1800, gap=20)
    eyes = Eyes(noise=.08)
    eyes.random = np.random.RandomState(seed)
    found = Tiled(eyes).detect([painted(1400, 1800, truth)])[0]
    assert recall(found, truth) == 1. and len(found) == len(truth)


def test_a_clip_across_tile_edges_has_one_box_in_each_frame():
    """An object moves over edges and corners of tiles, pixel by pixel."""
    for step in range(0, 120, 3):
        truth = [(290 + step, 300 + step, 330 + step, 326 + step), (333 + step, 20, 393 + step, 36)]
        found = Tiled(Eyes(), Tiling('416', .1)).detect([painted(800, 900, truth)])[0]
        assert recall(found, truth, .9) == 1. and len(found) == 2, step


def test_what_only_parts_show_is_joined():
    """A bar too thin for the whole image, and longer than three tiles: its parts make one box."""
    truth = [(50, 700, 1900, 712), (1000, 100, 1012, 600)]
    eyes = Eyes()
    image = painted(1500, 2000, truth)
    assert len(eyes.detect([image])[0]) == 0
    found = Tiled(eyes).detect([image])[0]
    assert len(found) == 2 and recall(found, truth, .95) == 1.


def test_a_small_object_inside_a_large_one_of_its_class_stays():
    class Two(Eyes):
        """White rings, and squares in them: both of class 0."""

        def _in_one(self, image):
            found, scale = [], INPUT / max(image.shape[:2])
            for value in (255, 230):
                for x, y, w, h, _ in cv2.connectedComponentsWithStats((image[..., 0] == value).astype(np.uint8))[2][1:]:
                    if min(w, h) * scale >= self.least:
                        found.append((x, y, x + w, y + h))
            boxes = np.array(found, np.float32).reshape(-1, 4)
            return Detections('', boxes, np.full(len(boxes), .7, np.float32), np.zeros(len(boxes), int))

    image = painted(1200, 1200, [(100, 100, 1100, 1100)])
    image[120:1080, 120:1080] = 0
    inner = [(x, y, x + 20, y + 20) for x in range(200, 1000, 87) for y in range(200, 1000, 93)]
    for x1, y1, x2, y2 in inner:
        image[y1:y2, x1:x2] = 230
    found = Tiled(Two()).detect([image])[0]
    assert recall(found, inner, .9) == 1. and recall(found, [(100, 100, 1100, 1100)], .9) == 1.
    assert len(found) == len(inner) + 1


def test_classes_do_not_suppress_each_other():
    image = painted(900, 900, [(380, 380, 420, 440)])
    red = painted(900, 900, [(421, 380, 461, 440)], (255, 0, 0))
    found = Tiled(Eyes()).detect([np.maximum(image, red)])[0]
    assert sorted(found.classes.tolist()) == [0, 1] and found.class_names.count('red') == 1


@pytest.mark.parametrize('nms', postprocess.NMS)
def test_every_kind_of_suppression(nms):
    eyes = Eyes()
    eyes.settings = export.Settings(postprocess.Suppression(nms=nms))
    truth = scattered(3, [40], 20, 1000, 1000)
    found = Tiled(eyes).detect([painted(1000, 1000, truth)])[0]
    assert recall(found, truth, .9) == 1. and len(found) == len(truth)


def test_batches_and_images_that_need_no_tiles():
    eyes = Eyes()
    Tiled(eyes, Tiling('420', .05), batch_size=4).detect([painted(800, 1200, [])])
    assert [len(call) for call in eyes.calls] == [1, 4, 2]
    eyes.calls.clear()
    found = Tiled(eyes).detect([painted(200, 300, [(10, 20, 60, 90)]), painted(416, 416, [])])
    assert [len(call) for call in eyes.calls] == [1, 1]
    np.testing.assert_array_equal(found[0].boxes, [[10, 20, 60, 90]])
    assert len(found[1]) == 0 and found[1].boxes.shape == (0, 4)


def test_an_encoded_image_is_read_as_the_detector_reads_it():
    class Encoded(Eyes):
        def detect(self, images, image_ids=None):
            return super().detect([tiles._decoded(image) if isinstance(image, bytes) else image for image in images])

    truth = scattered(5, [12], 10, 900, 700)
    content = cv2.imencode('.png', painted(900, 700, truth))[1].tobytes()
    found = Tiled(Encoded()).detect([content], ['a'])[0]
    assert recall(found, truth, .9) == 1. and len(found) == len(truth) and found.image_id == 'a'
