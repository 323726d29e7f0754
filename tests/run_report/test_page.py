"""The page: one file that loads and runs nothing, right also for what is missing, hostile, or too much."""
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from fixtures import small_report
from fixtures.html_tags import Tags

from yolov3_tf.run_report import card, contents, page, sections, worst_images
from yolov3_tf.structures import Dataset, Detections, Record


@pytest.fixture(scope='module')
def shown(tmp_path_factory):
    return small_report.make(tmp_path_factory.mktemp('run'))


@pytest.fixture(scope='module')
def tags(shown):
    return Tags(page.render(shown))


def test_it_runs_and_loads_nothing(tags):
    assert not {'script', 'link', 'iframe', 'object', 'form'} & tags.seen
    assert {'svg', 'img', 'table', 'path', 'nav'} <= tags.seen
    assert all(re.match(r'data:image/jpeg;base64,|#\w+$', source) for source in tags.sources)
    assert "default-src 'none'" in page.web_page.POLICY


def test_every_section_is_there_and_every_text_is_escaped(shown, tags):
    text = ' '.join(tags.texts)
    for title in ('What to try next', 'Classes', 'Precision, recall and score', 'Training', 'Kinds of errors',
                  'Which class is taken for which', 'Images with most errors', 'Sizes of objects', 'Calibration',
                  'What was trained'):
        assert title in tags.texts
    assert small_report.HOSTILE.strip() in text                     # as text, not as a tag
    assert '<b>.png' in text and 'im1' in text
    assert 'Python 3.' in text and shown.lock['network']['sha256'] in text and '1.5 minutes, 60 steps' in text


def test_the_numbers_are_those_of_the_report(shown, tags):
    text = ' '.join(tags.texts)
    score, f1, precision, recall = shown.report.operating.overall
    for value in (f'{score}', f'{100 * f1:.1f}', f'{100 * precision:.1f} %', f'{100 * recall:.1f} %',
                  f'{100 * shown.report.summary["mAP"]:.1f}', f'{100 * shown.report.summary["coco_AP"]:.1f}'):
        assert value in text
    for row in shown.confusion.matrix.tolist():
        assert all(f'{count:,}' in tags.texts for count in row)


def test_images_with_errors_come_worst_first_and_a_missing_file_is_said(shown):
    order = worst_images.choose(shown.confusion, 24)
    errors = [worst_images.errors_of(shown.confusion.matches[k]) for k in order]
    assert errors == sorted(errors, reverse=True) and min(errors) > 0
    assert worst_images.choose(shown.confusion, 2) == order[:2]
    text = sections.worst(shown, 24)
    assert text.count('data:image/jpeg') == 2 * len([k for k in order if k]) and ('cannot be read now' in text) == (
        0 in order)
    assert 'data:image' not in sections.worst(shown, 0)


def test_right_and_wrong_boxes_have_their_colours(shown):
    drawn = {one.position: one for one in worst_images.draw_all(shown.dataset, shown.detections, shown.confusion, 24)}
    for position, one in drawn.items():
        if one.truth is None:
            continue
        matches = shown.confusion.matches[position]
        pixels = cv2.imdecode(np.frombuffer(one.prediction, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
        wrong = (np.abs(pixels - worst_images.WRONG).sum(axis=-1) < 60).sum()
        assert (wrong > 20) == bool(len(matches.false) or matches.wrong)


def test_without_a_run_there_is_no_training_and_it_is_said(shown):
    bare = contents.gather('results', 'coco:a:b', shown.dataset, shown.detections)
    text = page.render(bare)
    assert 'id="training"' not in text and 'there is no run.lock.json' in text and Tags(text)
    assert bare.report.summary['mAP'] == shown.report.summary['mAP']


def empty_set(images=1, names=('ant',), boxes=()):
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    none = np.zeros(len(boxes), bool)
    return Dataset([Record('gone.jpg', str(k), 0, 0, boxes, np.zeros(len(boxes), np.int32), none, none,
                           np.ones(len(boxes), np.float32)) for k in range(images)], list(names), [])


@pytest.mark.parametrize('of, found', [
    (empty_set(0), []), (empty_set(), []), (empty_set(boxes=[[0, 0, 9, 9]]), []),
    (empty_set(), [Detections('0', np.ones((1, 4), np.float32), np.array([7.], np.float32), np.zeros(1, np.int32))]),
    (empty_set(boxes=[[0, 0, 9, 9]]), [Detections('0', np.array([[0, 0, 9, 9]], np.float32),
                                                  np.array([-2.], np.float32), np.zeros(1, np.int32))])])
def test_pages_of_almost_nothing(of, found):
    assert 'svg' in Tags(page.render(contents.gather('nothing', '', of, found))).seen
    assert card.text(contents.gather('nothing', '', of, found))


def test_many_classes_have_a_list_instead_of_a_matrix():
    names = [f'class {k}' for k in range(sections.MATRIX_CLASSES + 1)]
    box = np.array([[0, 0, 9, 9]], np.float32)
    of = empty_set(names=names, boxes=box)
    found = [Detections('0', box, np.array([.9], np.float32), np.array([3], np.int32))]
    text = sections.confusion(contents.gather('many', '', of, found))
    assert 'class 3' in text and 'class="matrix"' not in text


def test_of_the_last_stage_the_trend_is_read():
    lines = [dict(kind='val', stage='head', step=1, total=1., mAP=.9), *small_report.metrics()]
    scores, val_losses, train_losses = contents.of_last_stage(lines)
    np.testing.assert_allclose(scores, [.1, .2, .3, .4, .5, .6])
    assert val_losses == (7, 6, 5, 6, 7, 8) and train_losses == (9, 4.5, 3, 2.25, 1.8, 1.5)
    assert contents.of_last_stage([]) == ((), (), ())


def test_the_card_has_the_scores_and_no_markup_of_others(shown, tmp_path):
    path = card.write(tmp_path, shown)
    text = path.read_text(encoding='utf-8')
    assert path.name == 'README.md' and '<script>' not in text
    assert f'score above {shown.report.operating.overall.score}: on the validation data' in text
    rows = [line for line in text.splitlines() if line.startswith('|')]
    assert len(rows) == 2 + 3 + 1 and all(re.sub(r'\\.', '', row).count('|') == 6 for row in rows)


def test_it_needs_no_tensorflow_and_no_matplotlib():
    code = ('import sys; sys.modules["tensorflow"] = None\n'
            'from yolov3_tf.run_report import card, page\nfrom yolov3_tf.cli import report\n'
            'assert "matplotlib" not in sys.modules')
    subprocess.run([sys.executable, '-c', code], check=True)
