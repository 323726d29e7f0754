"""The whole loss against the slow reference, values and gradients, over all settings; and finiteness."""
import itertools

import numpy as np
import pytest
import tensorflow as tf
from fixtures import loss_cases as cases

from yolov3_tf import anchors, assign, codec
from yolov3_tf.errors import InputError
from yolov3_tf.losses import criterion
from yolov3_tf.losses.box import BOX_LOSSES
from yolov3_tf.losses.classes import CLASS_LOSSES
from yolov3_tf.losses.formulations import FORMULATIONS
from yolov3_tf.losses.objectness import OBJECTNESS_LOSSES, POSITIVE_WEIGHTS, TARGETS
from yolov3_tf.structures import GroundTruth

BOXES = ('mse', 'smooth_l1', 'iou', 'giou', 'diou', 'ciou')
NO_OVERLAP = ('mse', 'smooth_l1')
COMBINATIONS = [
    dict(box=box, focal=focal, ignore_scope=scope, matched=matched, label_smoothing=smoothing)
    for box, focal, scope, matched, smoothing in itertools.product(
        BOXES, (False, True), ('scale', 'image'), ('assigned', 'best'), (False, True))
    if not (matched == 'best' and box in NO_OVERLAP)]
KINDS = [dict(box=box, matched=matched) for box, matched in itertools.product(BOXES, ('assigned', 'best'))
         if not (matched == 'best' and box in NO_OVERLAP)]

# Everything beyond the reference: each choice at least once, in company.
OPTIONS = [
    *(formulation.loss._asdict() for formulation in FORMULATIONS.values()),
    dict(box='sqrt_wh', assigner='shape_ratio', focal=True, objectness_target='iou', positive_weight='balanced'),
    dict(box='plain_wh', assigner='iou_threshold', assign_thresh=.4, objectness='squared', ignore_scope='image'),
    dict(box='giou', assigner='shape_ratio', assign_thresh=.8, matched='best', background_weight=.3),
    dict(box='ciou', assigner='iou_threshold', matched='best', focal=True, classification='squared'),
    dict(box='smooth_l1', assigner='best_prediction', objectness_target='iou', label_smoothing=True),
    dict(box='ciou', assigner='neighbours', objectness_target='iou', box_weight=3., class_weight=.5),
    dict(box='giou', assigner='dynamic', assign_thresh=3., focal=True, objectness_target='iou', class_weight=2.),
    dict(box='iou', assigner='best_prediction', matched='best', objectness='squared', positive_weight='balanced'),
]
RULES = [dict(assigner=assigner, ignore_scope=scope, matched=matched) for assigner, scope, matched in
         itertools.product(assign.ASSIGNERS, ('scale', 'image'), ('assigned', 'best'))]
CONFIDENCES = [dict(objectness=objectness, focal=focal, objectness_target=target, positive_weight=weight,
                    background_weight=.3, box_weight=2.)
               for (objectness, focal), target, weight in itertools.product(
                   (('bce', False), ('bce', True), ('squared', False)), TARGETS, POSITIVE_WEIGHTS)]

SMALL = cases.random_case(seed=3, batch=3, height=32, width=96, class_count=3, objects=6)
# One class, and the nine priors of the paper on an image whose sides differ the other way round.
TALL = cases.random_case(seed=4, batch=2, height=96, width=64, class_count=1, objects=5,
                         table=anchors.YOLOV3_ANCHORS)
# Centres reach beyond their cells, as YOLOv4 has it.
REACHING = cases.random_case(seed=3, batch=3, height=32, width=96, class_count=3, objects=6,
                             table=cases.SMALL_ANCHORS._replace(sensitivity=(1.2, 1.1, 1.05)))


def name_of(settings):
    return '-'.join(str(value) for value in settings.values())


def test_the_options_cover_every_table():
    tables = dict(box=BOX_LOSSES, assigner=assign.ASSIGNERS, objectness=OBJECTNESS_LOSSES, objectness_target=TARGETS,
                  classification=CLASS_LOSSES, positive_weight=POSITIVE_WEIGHTS)
    for field, table in tables.items():
        tried = {getattr(criterion.LossSettings(**settings), field) for settings in OPTIONS + KINDS}
        assert tried == set(table), field


def shares_of_a_slot(case):
    """Valid boxes with area that lost their slot to a later one."""
    lost = 0
    for b in range(len(case.boxes)):
        lost += int(case.valid[b].sum()) - len(cases.positives_of(case, b))
    return lost


@pytest.mark.parametrize('which', ['SMALL', 'TALL', 'GRADIENT_CASE'])
def test_the_cases_hold_what_they_are_for(which):
    case = globals()[which]
    assert shares_of_a_slot(case) >= 1
    assert not case.valid[-1].any() and case.valid[0].any() and not case.valid[0].all()
    parts = {(scope, thresh): cases.slow_loss_of(case, ignore_scope=scope, ignore_thresh=thresh)['objectness']
             for scope in ('scale', 'image') for thresh in (.3, .5, .7)}
    assert parts['scale', .3] < parts['scale', .5] < parts['scale', .7]
    assert parts['image', .3] < parts['scale', .3]
    assigned, best = (cases.slow_loss_of(case, matched=matched)['giou'] for matched in ('assigned', 'best'))
    assert best < assigned


# In turn: 3 is coprime to the number of values of each setting, so each pair of values meets each case.
IN_TURN = ((SMALL, .3), (SMALL, .7), (TALL, .5))


@pytest.mark.parametrize('number, settings', list(enumerate(COMBINATIONS)),
                         ids=[name_of(settings) for settings in COMBINATIONS])
def test_equals_the_slow_reference(number, settings):
    case, thresh = IN_TURN[number % len(IN_TURN)]
    expected = cases.slow_loss_of(case, ignore_thresh=thresh, **settings)
    got = cases.loss_of(case, ignore_thresh=thresh, **settings)
    assert got.keys() == expected.keys()
    for name in expected:
        assert got[name] == pytest.approx(expected[name], rel=1e-5, abs=1e-5), (name, thresh)


def test_every_pair_of_settings_meets_every_case():
    met = {(one, other, number % len(IN_TURN)) for number, settings in enumerate(COMBINATIONS)
           for one, other in itertools.combinations(settings.items(), 2)}
    pairs = {pair for settings in COMBINATIONS for pair in itertools.combinations(settings.items(), 2)}
    assert met == {(one, other, case) for one, other in pairs for case in range(len(IN_TURN))}


@pytest.mark.parametrize('settings', OPTIONS + RULES + CONFIDENCES, ids=name_of)
def test_other_formulations_equal_the_slow_reference(settings):
    settings = {'ignore_thresh': .4, **settings}
    expected, got = cases.slow_loss_of(REACHING, **settings), cases.loss_of(REACHING, **settings)
    assert got.keys() == expected.keys()
    for name in expected:
        assert got[name] == pytest.approx(expected[name], rel=1e-5, abs=1e-5), name


def test_the_rules_of_assignment_differ_on_the_case_they_are_compared_on():
    positives = [[cases.positives_of(REACHING, b, assigner=rule) for b in range(3)] for rule in assign.ASSIGNERS]
    assert all(one != other for one, other in itertools.combinations(positives, 2))


GRADIENT_CASE = cases.random_case(seed=45, batch=2, height=32, width=64, class_count=2, objects=6)
GRADIENT_SETTINGS = [
    dict(box='mse', focal=False, ignore_scope='scale', matched='assigned', label_smoothing=False),
    dict(box='smooth_l1', focal=True, ignore_scope='image', matched='assigned', label_smoothing=True),
    dict(box='iou', focal=False, ignore_scope='image', matched='best', label_smoothing=False),
    dict(box='giou', focal=True, ignore_scope='scale', matched='assigned', label_smoothing=False),
    dict(box='giou', focal=True, ignore_scope='scale', matched='best', label_smoothing=True),
    dict(box='diou', focal=False, ignore_scope='scale', matched='assigned', label_smoothing=False),
    dict(box='ciou', focal=True, ignore_scope='image', matched='assigned', label_smoothing=False),
    dict(box='ciou', focal=False, ignore_scope='scale', matched='best', label_smoothing=False),
]


def central_difference(case, direction, step=1e-5, **settings):
    """Slope of the slow reference along ``direction``, a tuple of three arrays; CIoU's alpha stays put."""
    held, ends = {}, []
    cases.slow_loss_of(case, held=held, **settings)
    for sign in (1, -1):
        moved = [np.asarray(x, np.float64) + sign * step * d for x, d in zip(case[:3], direction)]
        ends.append(cases.slow_loss_of(case._replace(t=moved[0], objectness=moved[1], classes=moved[2]),
                                       held=held, **settings)['total'])
    return (ends[0] - ends[1]) / (2 * step)


def one_hot_directions(case, rng, **rule):
    """Single coordinates: all four t of three owned slots at most an image, and some of everything else."""
    for b in range(len(case.t)):
        for s in rng.permutation(sorted(cases.positives_of(case, b, **rule)))[:3]:
            yield from ((0, (b, s, axis)) for axis in range(4))
            yield 1, (b, s)
            yield 2, (b, s, int(rng.integers(case.classes.shape[-1])))
    for s in rng.integers(case.t.shape[1], size=4):
        yield from ((0, (0, s, 2)), (1, (0, s)), (2, (1, s, 0)))


@pytest.mark.parametrize('settings', GRADIENT_SETTINGS + OPTIONS, ids=name_of)
def test_gradients_equal_central_differences_of_the_slow_reference(settings):
    case, rng = GRADIENT_CASE, np.random.default_rng(0)
    if settings in OPTIONS:
        case = case._replace(anchors=case.anchors._replace(sensitivity=(1.2, 1.1, 1.05)))
    _, gradients = cases.gradients_of(case, **settings)
    rule = {field: settings[field] for field in ('assigner', 'assign_thresh') if field in settings}
    for which, index in one_hot_directions(case, rng, **rule):
        direction = [np.zeros(x.shape) for x in case[:3]]
        direction[which][index] = 1
        slope = central_difference(case, direction, **settings)
        assert gradients[which][index] == pytest.approx(slope, rel=2e-4, abs=2e-5), (which, index)
    for _ in range(3):
        direction = [rng.normal(size=x.shape) for x in case[:3]]
        slope = central_difference(case, direction, step=1e-6, **settings)
        along = sum(float((g.astype(np.float64) * d).sum()) for g, d in zip(gradients, direction))
        assert along == pytest.approx(slope, rel=1e-4, abs=1e-4)


def assert_finite(case, **settings):
    value, gradients = cases.gradients_of(case, **settings)
    assert np.isfinite(value)
    for gradient in gradients:
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize('settings', KINDS + OPTIONS, ids=name_of)
def test_finite_for_degenerate_boxes_and_huge_logits(settings):
    odd = [[10, 10, 10, 10], [20, 5, 20, 25], [5, 20, 40, 20], [40, 20, 10, 5],   # point, lines, inverted
           [95, 31, 97, 33], [0, 0, 0, 0], [-9, -9, 1, 1], [90, 0, 102, 12],      # on and over the border
           [0, 0, 96, 32], [50, 10, 50.0001, 10.0001], [30, 10, 30.001, 25]]      # all, next to nothing
    class_ids = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 7]
    case = cases.empty_case(32, 96, 2, odd, class_ids=class_ids, table=cases.SMALL_ANCHORS)
    rng = np.random.default_rng(2)
    for size in (0., 1., 1e30):
        t, objectness, classes = (rng.choice(np.float32([-size, size]), x.shape) for x in case[:3])
        assert_finite(case._replace(t=t, objectness=objectness, classes=classes),
                      **{'focal': settings.get('objectness') != 'squared' and size > 1, 'ignore_scope': 'image',
                         **settings})


@pytest.mark.parametrize('settings', KINDS + OPTIONS, ids=name_of)
def test_no_boxes_at_all_and_three_hundred(settings):
    nothing = cases.random_case(7, 2, 32, 64, 2, 4)
    nothing = nothing._replace(boxes=np.zeros((2, 0, 4), np.float32), class_ids=np.zeros((2, 0), np.int32),
                               valid=np.zeros((2, 0), bool), weights=np.zeros((2, 0), np.float32))
    assert_finite(nothing, **settings)
    expected = cases.slow_loss_of(nothing, **settings)
    for name, value in cases.loss_of(nothing, **settings).items():
        assert value == pytest.approx(expected[name], rel=1e-5)
    assert all(expected[name] == 0 for name in expected if name not in ('objectness', 'total'))
    many = cases.random_case(8, 2, 32, 64, 2, 300)
    assert_finite(many, **settings)
    if settings in KINDS and settings['box'] in ('mse', 'giou'):
        expected = cases.slow_loss_of(many, **settings)
        for name, value in cases.loss_of(many, **settings).items():
            assert value == pytest.approx(expected[name], rel=2e-5), name


@pytest.mark.parametrize('settings', KINDS + OPTIONS, ids=name_of)
def test_padding_and_boxes_without_area_change_nothing(settings):
    batch = len(SMALL.boxes)
    rows = np.tile(np.array([[0, 0, 0, 0], [7, 9, 30, 30], [40, 10, 40, 30]], np.float32), (batch, 1, 1))
    padded = SMALL._replace(
        boxes=np.concatenate([SMALL.boxes, rows], 1),
        class_ids=np.concatenate([SMALL.class_ids, np.ones((batch, 3), np.int32)], 1),
        valid=np.concatenate([SMALL.valid, np.tile([[False, False, True]], (batch, 1))], 1),
        weights=np.concatenate([SMALL.weights, np.tile(np.float32([[0, 0, 1]]), (batch, 1))], 1))
    for scope in ('scale', 'image'):
        scoped = {**settings, 'ignore_scope': scope}
        assert cases.loss_of(padded, **scoped) == pytest.approx(cases.loss_of(SMALL, **scoped), rel=1e-6)


def test_a_batch_is_the_mean_of_its_images():
    def alone(b):
        return SMALL._replace(**{field: getattr(SMALL, field)[b:b + 1] for field in SMALL._fields[:7]})
    singles = [cases.loss_of(alone(b), box='mse') for b in range(3)]
    whole = cases.loss_of(SMALL, box='mse')
    for name, value in whole.items():
        assert value == pytest.approx(np.mean([single[name] for single in singles]), rel=1e-5)


def test_parts_add_up_and_carry_their_names():
    names = {'mse': {'xy', 'wh'}, **{box: {box} for box in BOXES[1:]}}
    for box in BOXES:
        parts = cases.loss_of(SMALL, box=box)
        assert set(parts) == names[box] | {'objectness', 'classes', 'total'}
        assert parts['total'] == pytest.approx(sum(parts.values()) - parts['total'], rel=1e-6)


@pytest.mark.parametrize('settings', [dict(focal=True, ignore_scope='image', matched='best'),
                                      FORMULATIONS['yolov1'].loss._asdict(), FORMULATIONS['yolov4'].loss._asdict()],
                         ids=['giou', 'yolov1', 'yolov4'])
def test_inside_a_graph_of_unknown_sizes_as_in_eager_mode(settings):
    unknown = GroundTruth(tf.TensorSpec([None, None, 4], tf.float32), tf.TensorSpec([None, None], tf.int32),
                          tf.TensorSpec([None, None], tf.bool), tf.TensorSpec([None, None], tf.float32))
    size = tf.TensorSpec([], tf.int32)

    @tf.function(input_signature=(tf.TensorSpec([None, None, None], tf.float32), unknown, size, size))
    def step(outputs, truth, height, width):
        priors = anchors.lay_out(REACHING.anchors, height, width)
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            parts = criterion.detection_loss(codec.split(outputs), truth, priors, criterion.LossSettings(**settings))
        return parts, tape.gradient(parts['total'], outputs)

    no_objects = REACHING._replace(**{field: getattr(REACHING, field)[:, :0]
                                      for field in ('boxes', 'class_ids', 'valid', 'weights')})
    for case in (REACHING, cases.random_case(9, 2, 64, 32, 3, 4, table=REACHING.anchors), no_objects):
        outputs = tf.constant(np.concatenate([case.t, case.objectness[..., None], case.classes], -1))
        height, width = tf.constant(case.height), tf.constant(case.width)
        parts, gradient = step(outputs, cases.truth_of(case), height, width)
        assert {value.dtype for value in parts.values()} == {tf.float32}
        eager = cases.loss_of(case, **settings)
        assert {name: float(value) for name, value in parts.items()} == pytest.approx(eager, rel=1e-5)
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize('rule', [
    dict(assigner='best_anchor'), dict(assigner='shape_ratio'), dict(assigner='shape_ratio', assign_thresh=.9),
    dict(assigner='iou_threshold'), dict(assigner='iou_threshold', assign_thresh=.5),
    dict(assigner='best_prediction')], ids=name_of)
def test_assignment_equals_the_slow_reference(rule):
    for seed in range(4):
        case = cases.random_case(seed, 3, 64, 96, 2, 40, table=REACHING.anchors)
        priors = cases.lay_out(case.anchors, case.height, case.width)
        decoded = codec.decode(tf.constant(case.t), priors)
        slots, objects, positive = (x.numpy() for x in assign.ASSIGNERS[rule['assigner']](
            cases.truth_of(case), priors, decoded, rule.get('assign_thresh')))
        for b in range(3):
            expected = cases.positives_of(case, b, **rule)
            assert dict(zip(slots[b][positive[b]], objects[b][positive[b]])) == expected
            assert positive[b].sum() == len(expected)


@pytest.mark.parametrize('box', NO_OVERLAP)
def test_best_of_scale_is_refused_where_there_is_no_overlap_to_be_best_at(box):
    with pytest.raises(InputError, match=f'matched=best.*{box}.*assigned'):
        criterion.check(criterion.LossSettings(box=box, matched='best'))


@pytest.mark.parametrize('field, known', [
    ('box', 'ciou, diou, giou, iou, mse, plain_wh, smooth_l1, sqrt_wh'), ('ignore_scope', 'image, scale'),
    ('matched', 'assigned, best'),
    ('assigner', 'best_anchor, best_prediction, dynamic, iou_threshold, neighbours, shape_ratio'),
    ('objectness', 'bce, squared'), ('objectness_target', 'iou, one'), ('classification', 'bce, squared'),
    ('positive_weight', 'balanced, none')])
def test_an_unknown_name_raises_with_the_list(field, known):
    with pytest.raises(InputError, match=f"'gio'.*one of {known}$"):
        criterion.check(criterion.LossSettings(**{field: 'gio'}))


@pytest.mark.parametrize('settings, reason', [
    (dict(focal=True, objectness='squared'), 'focal.*objectness=bce or leave focal out'),
    (dict(label_smoothing=True, classification='squared'), 'label_smoothing.*classification=bce or leave'),
    (dict(assign_thresh=.3), 'assign_thresh=0.3.*best_anchor.*dynamic, iou_threshold, neighbours, shape_ratio'),
    (dict(assign_thresh=.3, assigner='best_prediction'), 'best_prediction, which has no threshold'),
    (dict(assign_thresh=2., assigner='iou_threshold'), 'between 0 and 1.*0.213'),
    (dict(assign_thresh=0., assigner='shape_ratio'), 'assign_thresh 0.0.*by default 2'),
    (dict(assign_thresh=float('nan'), assigner='shape_ratio'), 'assign_thresh nan'),
    (dict(box_weight=0.), 'box_weight 0.0.*positive'), (dict(box_weight=float('inf')), 'box_weight inf'),
    (dict(background_weight=-1.), 'background_weight -1.0'),
    (dict(class_weight=0.), 'class_weight 0.0'), (dict(background_weight=float('nan')), 'nan'),
])
def test_what_contradicts_itself_is_refused_with_the_reason(settings, reason):
    with pytest.raises(InputError, match=reason):
        criterion.check(criterion.LossSettings(**settings))


@pytest.mark.parametrize('thresh', [-.1, 1.1, 45., float('nan')])
def test_a_threshold_that_is_no_iou_is_refused(thresh):
    with pytest.raises(InputError, match='ignore_thresh'):
        criterion.check(criterion.LossSettings(ignore_thresh=thresh))


def test_every_combination_of_the_table_is_accepted():
    for settings in COMBINATIONS + OPTIONS + RULES + CONFIDENCES:
        criterion.check(criterion.LossSettings(**settings))
