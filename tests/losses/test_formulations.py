"""Every preset by hand on one object, against its parts, and what replacing parts of it gives."""
import math

import pytest
from fixtures import loss_cases as cases

from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.errors import InputError
from yolov3_tf.losses import formulations
from yolov3_tf.losses.criterion import LossSettings

# One class, every raw prediction 0: a prior in the middle of each cell, every confidence 1/2. The object
# is 20 x 13 around the cell's centre (20, 28). Shape IoU with 10 x 13, 16 x 30, 33 x 23: 130/260,
# 208/532, 260/759; with 30 x 61, the next: 260/1830 = .142.
HEIGHT, WIDTH = 64, 96
OBJECT = [10, 21.5, 30, 34.5]
SLOTS = 3 * (8 * 12 + 4 * 6 + 2 * 3)
LN2 = math.log(2)
SMALLNESS = 2 - 20 * 13 / (96 * 64)


def one_object(name):
    table = YOLOV3_ANCHORS._replace(sensitivity=formulations.FORMULATIONS[name].sensitivity)
    return cases.empty_case(HEIGHT, WIDTH, 1, [OBJECT], table=table)


def parts_of(name, case):
    return cases.loss_of(case, **formulations.settings(name)._asdict())


def test_yolov1_by_hand():
    """10 x 13 overlaps the object best, by 1/2, which its confidence happens to be."""
    parts = parts_of('yolov1', one_object('yolov1'))
    assert parts['xy'] == 0
    assert parts['wh'] == pytest.approx(5 * (math.sqrt(20 / 96) - math.sqrt(10 / 96)) ** 2, rel=1e-5)
    assert parts['objectness'] == pytest.approx(.5 * (SLOTS - 1) * (1 / 2) ** 2, rel=1e-6)
    assert parts['classes'] == pytest.approx((1 / 2) ** 2, rel=1e-6)


def test_yolov1_matches_the_best_prediction_and_ignores_nothing():
    """16 x 30 is made 20 x 13: it overlaps the object by 1, so 10 x 13 is negative like all others."""
    case = one_object('yolov1')
    case.t[0, cases.slot_at(case, 0, 3, 2, 1), 2:] = math.log(20 / 16), math.log(13 / 30)
    parts = parts_of('yolov1', case)
    assert parts['wh'] == pytest.approx(0, abs=1e-9)
    assert parts['objectness'] == pytest.approx((1 - 1 / 2) ** 2 + .5 * (SLOTS - 1) * (1 / 2) ** 2, rel=1e-5)


def test_yolov2_by_hand():
    parts = parts_of('yolov2', one_object('yolov2'))
    assert parts['xy'] == 0
    assert parts['wh'] == pytest.approx(5 * SMALLNESS * ((20 - 10) / 96) ** 2, rel=1e-5)
    assert parts['objectness'] == pytest.approx(.5 * (SLOTS - 1) * (1 / 2) ** 2, rel=1e-6)
    assert parts['classes'] == pytest.approx((1 / 2) ** 2, rel=1e-6)


def test_yolov2_matches_the_best_shape_and_ignores_good_predictions():
    case = one_object('yolov2')
    case.t[0, cases.slot_at(case, 0, 3, 2, 1), 2:] = math.log(20 / 16), math.log(13 / 30)
    parts = parts_of('yolov2', case)
    assert parts['wh'] == pytest.approx(5 * SMALLNESS * ((20 - 10) / 96) ** 2, rel=1e-5)
    assert parts['objectness'] == pytest.approx(.5 * (SLOTS - 2) * (1 / 2) ** 2, rel=1e-6)


def test_yolov3_by_hand():
    """No other prediction reaches an IoU of .5."""
    parts = parts_of('yolov3', one_object('yolov3'))
    assert parts['xy'] == 0
    assert parts['wh'] == pytest.approx(SMALLNESS * math.log(20 / 10) ** 2, rel=1e-5)
    assert parts['objectness'] == pytest.approx(SLOTS * LN2, rel=1e-6)
    assert parts['classes'] == pytest.approx(LN2, rel=1e-6)


def test_yolov4_by_hand():
    """Three priors exceed .213; a sigmoid of 1/2 is the middle of the cell at any sensitivity."""
    parts, wanted = parts_of('yolov4', one_object('yolov4')), 0.
    for shared, (w, h) in ((130, (10, 13)), (208, (16, 30)), (260, (33, 23))):
        iou = shared / (260 + w * h - shared)
        v = 4 / math.pi ** 2 * (math.atan(20 / 13) - math.atan(w / h)) ** 2
        wanted += 1 - iou + v * v / (1 - iou + v)
    assert parts['ciou'] == pytest.approx(wanted, rel=1e-5)
    assert parts['objectness'] == pytest.approx(SLOTS * LN2, rel=1e-6)
    assert parts['classes'] == pytest.approx(3 * LN2, rel=1e-6)


def test_yolov4_reaches_beyond_the_cell():
    """A sigmoid of 1 at s = 1.2 is 1.1 cells, 4.8 pixels right of the middle: 19.8 to 29.8, still in the object."""
    case = one_object('yolov4')
    near = parts_of('yolov4', case)['ciou']
    case.t[0, cases.slot_at(case, 0, 3, 2, 0), 0] = 30
    assert parts_of('yolov4', case)['ciou'] == pytest.approx(near + 4.8 ** 2 / (20 ** 2 + 13 ** 2), rel=1e-5)


PARTS = {
    'yolov1': dict(box='sqrt_wh', box_weight=5., objectness='squared', objectness_target='iou', background_weight=.5,
                   classification='squared', assigner='best_prediction', ignore_thresh=1.),
    'yolov2': dict(box='plain_wh', box_weight=5., objectness='squared', objectness_target='iou', background_weight=.5,
                   classification='squared', assigner='best_anchor', ignore_thresh=.6, ignore_scope='image'),
    'yolov3': dict(box='mse', focal=False, ignore_thresh=.5, ignore_scope='scale', assigner='best_anchor',
                   objectness='bce', objectness_target='one', classification='bce'),
    'yolov4': dict(box='ciou', assigner='iou_threshold', assign_thresh=.213, ignore_thresh=.7, ignore_scope='image',
                   objectness='bce', classification='bce'),
}


@pytest.mark.parametrize('name', sorted(formulations.FORMULATIONS))
def test_a_preset_equals_its_parts(name):
    case = cases.random_case(3, 3, 32, 96, 3, 6)
    preset = cases.loss_of(case, **formulations.settings(name)._asdict())
    by_flags = formulations.settings(None, **PARTS[name])
    assert cases.loss_of(case, **by_flags._asdict()) == preset
    assert cases.slow_loss_of(case, **PARTS[name]) == pytest.approx(preset, rel=1e-5)


def test_what_was_asked_for_replaces_the_preset_and_none_does_not():
    chosen = formulations.settings('yolov4', box='giou', focal=True, ignore_thresh=None, assigner=None)
    assert chosen == formulations.FORMULATIONS['yolov4'].loss._replace(box='giou', focal=True)
    assert formulations.settings('yolov1', assigner='shape_ratio', assign_thresh=1.).assign_thresh == 1
    assert formulations.settings() == LossSettings()
    assert formulations.settings('yolov3') == LossSettings(box='mse')


def test_only_yolov4_has_a_grid_sensitivity():
    found = {name: formulation.sensitivity for name, formulation in formulations.FORMULATIONS.items()}
    assert found == {'yolov1': (), 'yolov2': (), 'yolov3': (), 'yolov4': (1.2, 1.1, 1.05)}


@pytest.mark.parametrize('name, chosen, reason', [
    ('yolov5', {}, "unknown formulation 'yolov5': expected one of yolov1, yolov2, yolov3, yolov4"),
    ('yolov1', dict(focal=True), 'formulation=yolov1: focal.*objectness=squared'),
    ('yolov2', dict(label_smoothing=True), 'formulation=yolov2: label_smoothing.*classification=squared'),
    ('yolov1', dict(matched='best'), 'formulation=yolov1: matched=best.*loss=sqrt_wh'),
    ('yolov3', dict(assign_thresh=.3), 'formulation=yolov3: assign_thresh=0.3.*best_anchor'),
    (None, dict(box='gio'), "^unknown loss 'gio'"),
])
def test_a_contradiction_names_the_formulation_and_the_reason(name, chosen, reason):
    with pytest.raises(InputError, match=reason):
        formulations.settings(name, **chosen)
