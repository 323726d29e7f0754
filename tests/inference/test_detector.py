"""A detector called on every kind of image, loaded from every kind of path, and evaluated."""
import struct

import cv2
import numpy as np
import pytest
import tensorflow as tf
from fixtures import moving_squares
from fixtures.lively_network import NAMES, describe, lively_model

from yolov3_tf import export
from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import report, validation
from yolov3_tf.evaluation.operating_points import OperatingPoint, OperatingPoints
from yolov3_tf.inference import detector, evaluate
from yolov3_tf.inference.tiles import Tiling
from yolov3_tf.inference.tracking import Tracking
from yolov3_tf.models import checkpoints
from yolov3_tf.postprocess import Suppression
from yolov3_tf.structures import Detections

WIDTH, HEIGHT = 90, 40


class OneBox:
    """A server that finds the left half of every image with score .9 as class 1, and the whole with .2 as class 0."""

    def __init__(self):
        self.calls = []

    def image_tensor(self, images):
        return self._found(images, images.shape[0])

    def encoded(self, contents):
        return self._found(contents, contents.shape[0])

    def _found(self, images, count):
        self.calls.append(count)
        one = np.array([[[0, 0, 1, .5], [0, 0, 1, 1]]], np.float32)
        return {'detection_boxes': tf.constant(one.repeat(count, 0)),
                'detection_scores': tf.constant(np.array([[.9, .2]], np.float32).repeat(count, 0)),
                'detection_classes': tf.constant(np.array([[2., 1.]], np.float32).repeat(count, 0)),
                'num_detections': tf.constant(np.full(count, 2., np.float32))}


@pytest.fixture
def one_box():
    return detector.Detector(OneBox(), ('ant', 'bee'), export.DEFAULTS)


@pytest.fixture
def image():
    return np.random.RandomState(0).randint(0, 256, [HEIGHT, WIDTH, 3]).astype(np.uint8)


def given_as(kind, image, folder):
    """The image as a user may give it."""
    path = folder / 'dog.png'
    path.write_bytes(cv2.imencode('.png', image[..., ::-1])[1].tobytes())
    if kind == 'pil':
        return pytest.importorskip('PIL.Image').fromarray(image)
    return {'path': str(path), 'pathlib': path, 'bytes': path.read_bytes(), 'array': image}[kind]


@pytest.mark.parametrize('kind', ['path', 'pathlib', 'bytes', 'array', 'pil'])
def test_an_image_is_given_in_any_way(one_box, image, tmp_path, kind):
    given = given_as(kind, image, tmp_path)
    found = one_box(given)
    assert isinstance(found, Detections) and found.class_names == ['bee']
    np.testing.assert_allclose(found.boxes, [[0, 0, WIDTH / 2, HEIGHT]])
    assert found.boxes.dtype == found.scores.dtype == np.float32 and found.classes.tolist() == [1]
    assert found.image_id == ('dog' if 'path' in kind else '0')
    assert found.path == (str(tmp_path / 'dog.png') if 'path' in kind else None)
    drawn = found.draw()
    assert drawn.shape == image.shape and (drawn != image).any() and (drawn == image).any()
    several = one_box([given, given])
    assert [len(one) for one in several] == [1, 1] and one_box([]) == []


def test_a_list_goes_through_in_batches_and_the_score_threshold_is_the_callers(one_box, image):
    found = one_box([image] * 5, score_threshold=.1, batch_size=2)
    assert one_box._server.calls == [2, 2, 1]
    assert [one.image_id for one in found] == list('01234') and [len(one) for one in found] == [2] * 5
    assert len(one_box(image, score_threshold=.95)) == 0


def test_without_a_threshold_of_the_caller_the_operating_point_is_taken(image):
    points = OperatingPoints(OperatingPoint(.15, .8, .9, .7), {})
    taught = detector.Detector(OneBox(), ('ant', 'bee'), export.DEFAULTS._replace(operating=points))
    assert taught.score_threshold == .15 and len(taught(image)) == 2 and len(taught(image, .3)) == 1
    assert len(taught(image, score_threshold=0.)) == 2


def test_files_are_turned_upright(one_box, tmp_path):
    encoded = cv2.imencode('.jpg', np.zeros([60, 80, 3], np.uint8))[1].tobytes()
    exif = b'Exif\x00\x00' + b'II*\x00' + struct.pack('<I', 8) + struct.pack('<HHHIHHI', 1, 0x0112, 3, 1, 6, 0, 0)
    (tmp_path / 'a.jpg').write_bytes(encoded[:2] + b'\xff\xe1' + struct.pack('>H', len(exif) + 2) + exif + encoded[2:])
    for given in (tmp_path / 'a.jpg', (tmp_path / 'a.jpg').read_bytes()):
        found = one_box(given)
        assert found.boxes.tolist() == [[0, 0, 30, 80]] and found.draw().shape == (80, 60, 3)


@pytest.mark.parametrize('given, message', [
    ('gone.jpg', 'gone.jpg: cannot be read: No such file'), (b'text', r'image 0: not an image, or a damaged one'),
    (np.zeros([4, 4], np.uint8), r'image 0: expected .*, got uint8 \[4, 4\]'), (7, 'image 0: expected .*, got int'),
    (np.zeros([4, 4, 3]), r'image 0: expected a path, .* RGB pixels, got float64 \[4, 4, 3\]')])
def test_what_is_no_image_is_refused(one_box, given, message):
    with pytest.raises(InputError, match=message):
        one_box(given)


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A run's folder with its best checkpoint."""
    folder = tmp_path_factory.mktemp('runs') / 'mine'
    (folder / 'checkpoints').mkdir(parents=True)
    checkpoints.save_model(str(folder / 'checkpoints' / 'best.h5'), lively_model(), describe())
    return folder


@pytest.fixture(scope='module')
def dataset(tmp_path_factory, run):
    """Images annotated with what the model finds surely in them, and one box that it does not find."""
    shapes = specs.load('shapes:16', split='val', cache=str(tmp_path_factory.mktemp('shapes')))
    shapes, opened, records = shapes._replace(class_names=list(NAMES)), detector.load(run), []
    for record in shapes.records:
        sure = opened(record.image_path)[:5]
        count = len(sure) + 1
        records.append(record._replace(
            boxes=np.concatenate([sure.boxes, [[0, 0, 9, 9]]]).astype(np.float32),
            classes=np.append(sure.classes, 0).astype(np.int32), difficult=np.zeros(count, bool),
            crowd=np.zeros(count, bool), areas=np.full(count, 2000., np.float32)))
    return shapes._replace(records=records)


def test_a_runs_folder_is_its_best_checkpoint(run, image):
    opened = detector.load(run)
    assert opened.class_names == NAMES and opened.checkpoint == str(run / 'checkpoints' / 'best.h5')
    assert repr(opened) == 'Detector(7 classes: a, b, c, d, e, ...)'
    found = opened(image, score_threshold=.02)
    whole = opened.detect([image])[0]
    assert len(found) == (whole.scores > .02).sum() > 0 and set(found.class_names) <= set(NAMES)


def test_a_detector_its_run_and_its_checkpoint_have_one_score(run, dataset):
    model, config = checkpoints.load_model(str(run / 'checkpoints' / 'best.h5'))
    outcome = validation.Validator(model, config, dataset).run()
    expected = report.evaluate(dataset, outcome.detections)
    for given in (run, str(run / 'checkpoints' / 'best.h5'), detector.load(run)):
        evaluated = evaluate.evaluate(given, dataset)
        np.testing.assert_equal(evaluated.summary, expected.summary)
        assert .1 < evaluated.summary['mAP'] < 1 and evaluated.images == len(dataset.records)
    assert 'VOC07' in str(evaluated)
    larger = evaluate.detect_dataset(run, dataset, Suppression(.3, max_total=None), image_size=64)
    assert [len(one) for one in larger.detections] != [len(one) for one in outcome.detections]
    assert all(one.scores.min(initial=1) > .3 for one in larger.detections)
    assert larger.detections[0].path == dataset.records[0].image_path


def test_an_exported_model_has_its_settings_and_almost_the_same_score(run, dataset, tmp_path):
    model, config = checkpoints.load_model(str(run / 'checkpoints' / 'best.h5'))
    exported = export.export(model, config, str(tmp_path / 'saved_model'))
    evaluated = evaluate.evaluate(detector.load(exported), dataset)
    assert evaluated.summary['mAP'] == pytest.approx(evaluate.evaluate(run, dataset).summary['mAP'], abs=.02)
    with pytest.raises(InputError, match='image_size 64: fixed in an exported model'):
        evaluate.evaluate(exported, dataset, image_size=64)


def assert_alike(found, other):
    """Validation's own way to look in tiles, and that of a detector; equal scores come in any order."""
    for one, two in zip(found.detections, other.detections):
        assert len(one) == len(two) > 0 and one.image_id == two.image_id
        np.testing.assert_allclose(one.scores, two.scores, atol=1e-5)
        np.testing.assert_allclose(np.sort(one.boxes, axis=0), np.sort(two.boxes, axis=0), atol=.01)


def test_evaluation_in_tiles(run, dataset, tmp_path):
    """Tiles that hold a whole image change nothing; smaller ones find other boxes, with the thresholds asked for.

    In two images and few tiles: a network of random weights finds thousands of boxes in each.
    """
    dataset = dataset._replace(records=dataset.records[:2])
    model, config = checkpoints.load_model(str(run / 'checkpoints' / 'best.h5'))
    exported = export.export(model, config, str(tmp_path / 'saved_model'))
    assert_alike(evaluate.detect_dataset(str(run), dataset, Suppression(max_total=300), tiling=Tiling('64', .25)),
                 evaluate.detect_dataset(exported, dataset, tiling=Tiling('64', .25)))
    for path in (str(run), exported):
        plain = evaluate.detect_dataset(path, dataset)
        whole = evaluate.detect_dataset(path, dataset, tiling=Tiling('4000'))
        for one, other in zip(plain.detections, whole.detections):
            assert len(one) == len(other) > 0 and one.image_id == other.image_id
        cut = evaluate.detect_dataset(path, dataset, tiling=Tiling('192', .25))
        assert [len(one) for one in cut.detections] != [len(one) for one in plain.detections]
        assert 0 < cut.report().summary['mAP'] <= 1
    surer = evaluate.detect_dataset(run, dataset, Suppression(.3, max_total=None), tiling=Tiling('192', .25))
    assert all(one.scores.min(initial=1) > .3 for one in surer.detections)
    assert detector.load(exported).image_size == detector.load(run).image_size == (32, 64)


def test_data_of_other_classes_and_a_path_without_a_model_are_refused(run, dataset, tmp_path):
    with pytest.raises(InputError, match='the data has the classes x, the model a, b'):
        evaluate.evaluate(run, dataset._replace(class_names=['x']))
    with pytest.raises(InputError, match="typo: no model there: expected a run's folder"):
        detector.load(tmp_path / 'typo')


@pytest.mark.parametrize('kind', ['iterator', 'array', 'folder', 'video', 'paths'])
def test_frames_of_every_kind_are_tracked(one_box, tmp_path, kind):
    """The half (.9) begins a track, the whole (.2) only where tracks begin lower; batches are 4, 4, 2."""
    scene = [moving_squares.square(0, range(10), 10, 10, (3, 0))]
    frames = list(moving_squares.images(scene))
    given = {'iterator': lambda: iter(frames), 'array': lambda: np.stack(frames),
             'folder': lambda: moving_squares.write_folder(tmp_path / 'frames', scene),
             'video': lambda: moving_squares.write_video(tmp_path / 'a.avi', scene),
             'paths': lambda: [str(path) for path in sorted((tmp_path / 'frames').iterdir())]}
    if kind == 'paths':
        given['folder']()
    found = list(one_box.track(given[kind](), batch_size=4))
    assert one_box._server.calls == [4, 4, 2]
    assert [one.image_id for one in found] == [str(number) for number in range(10)]
    assert all(one.track_ids.tolist() == [1] and one.class_names == ['bee'] for one in found)
    assert (found[9].source == frames[9]).all() or kind == 'video'
    drawn = found[9].draw()
    assert drawn.shape == (240, 320, 3) and (drawn != found[9].source).any()
    assert repr(found[0]) == "Detections('0', 1: #1 bee 90% (0, 0, 160, 240))"
    assert [one.track_ids.tolist() for one in one_box.track(frames[:2], Tracking(.1))] == [[1, 2]] * 2


def test_wrong_settings_of_tracking_are_said_at_once_and_wrong_frames_at_theirs(one_box, image):
    with pytest.raises(InputError, match='low_score 0.4: expected at most the score_threshold, 0.3'):
        one_box.track([image], Tracking(.3, .4))
    frames = one_box.track([image, image[..., 0]], batch_size=1)
    assert next(frames).track_ids.tolist() == [1]
    with pytest.raises(InputError, match='image 1: expected a path'):
        next(frames)


def test_a_choice_of_tracks_keeps_their_ids():
    found = Detections('', np.zeros([3, 4], np.float32), np.array([.9, .8, .7], np.float32), np.array([0, 1, 0]),
                       track_ids=np.array([4, 2, 7]))
    assert found.above(.75).track_ids.tolist() == [4, 2] and found[found.classes == 0].track_ids.tolist() == [4, 7]
    assert found[1].track_ids.tolist() == [2] and found[:0].track_ids.tolist() == []
