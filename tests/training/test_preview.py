"""What is drawn at the start of a run: the batches as trained on, the truth as validated against."""
import cv2
import numpy as np
import pytest

from yolov3_tf.drawing import boxes as draw
from yolov3_tf.structures import Dataset, GroundTruth, Record
from yolov3_tf.training import preview

NAMES = ['cat', 'dog']


def batch(count, size=96):
    """Grey images, each with one dog at (16, 16, 48, 48)."""
    truth = GroundTruth(np.full((count, 2, 4), [16, 16, 48, 48], np.float32), np.ones((count, 2), np.int32),
                        np.tile([True, False], (count, 1)), np.tile([1., 0.], (count, 1)).astype(np.float32))
    return np.full((count, size, size, 3), 120, np.uint8), truth


def test_the_sheet_is_written_once_it_is_full_and_shows_the_boxes_where_they_are(tmp_path):
    path = tmp_path / 'first.jpg'
    first = preview.FirstBatches(path, NAMES)
    first.add(*batch(10))
    assert not path.exists()
    first.add(*batch(10))
    sheet = cv2.imread(str(path))[..., ::-1]
    made = path.stat().st_mtime_ns
    first.add(*batch(10))
    first.end()
    assert path.stat().st_mtime_ns == made
    gap = max(2, preview.CELL // 80)
    assert sheet.shape[:2] == (4 * (preview.CELL + gap) + gap,) * 2
    scale = preview.CELL / 96
    left, foot = gap + round(16 * scale) + 1, gap + round(48 * scale) - 2
    assert np.abs(sheet[foot, left].astype(int) - draw.class_colour(1)).max() < 60         # JPEG
    assert np.abs(sheet[gap + round(70 * scale), gap + round(70 * scale)].astype(int) - 120).max() < 12


def test_a_run_that_ends_early_draws_what_it_saw(tmp_path):
    first = preview.FirstBatches(tmp_path / 'first.jpg', NAMES)
    first.end()
    assert not (tmp_path / 'first.jpg').exists()
    first = preview.FirstBatches(tmp_path / 'first.jpg', NAMES)
    first.add(*batch(3))
    first.end()
    assert cv2.imread(str(tmp_path / 'first.jpg')).shape[1] == 3 * (preview.CELL + 4) + 4


def test_truth_is_drawn_for_images_that_can_be_read(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((60, 80, 3), 120, np.uint8))
    record = Record(str(tmp_path / 'a.png'), 'a', 80, 60, np.float32([[10, 10, 40, 40]]), np.int32([0]),
                    np.array([False]), np.array([False]), np.float32([900]))
    dataset = Dataset([record, record._replace(image_path=str(tmp_path / 'gone.png'))], NAMES, [])
    preview.write_truth(tmp_path / 'truth.jpg', dataset)
    assert cv2.imread(str(tmp_path / 'truth.jpg')).shape[1] == preview.CELL + 2 * max(2, preview.CELL // 80)


def test_a_drawing_never_stops_a_training(tmp_path, capsys):
    first = preview.FirstBatches(tmp_path / 'no such folder' / 'first.jpg', NAMES)
    first.add(*batch(16))
    assert 'cannot be written' in capsys.readouterr().err


@pytest.mark.parametrize('weight, shown', [(1., 'dog'), (.4, 'dog 40%')])
def test_mixed_boxes_show_their_weight(monkeypatch, weight, shown):
    written = []
    monkeypatch.setattr(draw, '_write', lambda canvas, text, *rest: written.append(text))
    preview.draw_mixed(np.zeros((96, 96, 3), np.uint8), np.float32([[1, 1, 30, 30]]), np.int32([1]),
                       np.float32([weight]), NAMES)
    assert written == [shown]
