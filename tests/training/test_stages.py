"""Schedules against arithmetic by hand, and freezing by name."""
import pytest
import tensorflow as tf
from fixtures import narrow_network

from yolov3_tf.errors import InputError
from yolov3_tf.training import stages
from yolov3_tf.training.stages import Stage


def test_rates_warm_up_linearly_and_then_the_pieces_begin():
    stage = Stage('full', stages.NOTHING, ((2, 1e-2), (1, 1e-3)), warmup_epochs=1)
    assert stage.epochs == 4
    rates = [stages.rate_at(stage, step, 4) for step in range(16)]
    assert rates[:4] == pytest.approx([0, .0025, .005, .0075])
    assert rates[4:12] == [1e-2] * 8
    assert rates[12:] == [1e-3] * 4


def test_two_stages_leave_out_a_part_without_epochs_and_warm_up_the_first():
    head, everything = stages.two_stages(((50, 1e-3),), ((30, 1e-4), (10, 1e-5)), warmup_epochs=3, patience=5)
    assert (head.epochs, head.patience, everything.epochs, everything.patience) == (53, 5, 40, 0)
    only, = stages.two_stages((), ((30, 1e-4),), warmup_epochs=3)
    assert (only.name, only.epochs) == ('full', 33)
    assert stages.two_stages((), ()) == ()


def test_the_last_epochs_are_free_of_mixes_by_the_stage_s_present_length():
    """Of 1 + 4 epochs the last two; of the same stage planned shorter, the last two of those."""
    stage, = stages.two_stages((), ((4, 1e-2),), warmup_epochs=1, mix_free_epochs=2)
    assert [stages.are_mixed(stage, epoch) for epoch in range(5)] == [True] * 3 + [False] * 2
    shorter = stage._replace(rates=((2, 1e-2),))
    assert [stages.are_mixed(shorter, epoch) for epoch in range(3)] == [True] + [False] * 2
    head, full = stages.two_stages(((2, 1.),), ((1, 1.),), mix_free_epochs=5)
    assert stages.are_mixed(head, 1) and not stages.are_mixed(full, 0)
    assert stages.are_mixed(full._replace(mix_free_epochs=0), 0)


def rates_of(schedule, rates, epochs, losses=(), **changes):
    """Rates at the start of each epoch of 4 steps."""
    stage, = stages.two_stages((), rates, schedule=schedule, **changes)
    return [stages.rate_at(stage, 4 * epoch, 4, losses[:epoch]) for epoch in range(epochs)]


def test_cosine_falls_from_the_rate_to_zero():
    rates = rates_of('cosine', ((4, 1e-2),), 5)
    half = 1e-2 / 2
    assert rates == pytest.approx([2 * half, half * (1 + .5 ** .5), half, half * (1 - .5 ** .5), 0])


def test_restarts_fall_to_zero_again_and_again_and_end_with_the_stage():
    """Loshchilov & Hutter 2017, eq. 5 with T_0 = 2, T_mult = 2: cycles of 2, 4 and 8 epochs after a warm-up of one."""
    stage, = stages.two_stages((), ((14, 1e-2),), warmup_epochs=1, schedule='restarts', cycles=3, growth=2.)
    assert stages.cycle_ends(14, 3, 2.) == [2, 6, 14]
    rates = [stages.rate_at(stage, 4 * epoch, 4) for epoch in range(16)]
    root, long = 2 ** .5 / 2, 1e-2 * .5 * (1 + .9238795325)         # cos(pi / 8)
    half = 1e-2 / 2
    assert rates[:7] == pytest.approx([0, 1e-2, half, 1e-2, half * (1 + root), half, half * (1 - root)])
    assert rates[7:9] == pytest.approx([1e-2, long]) and rates[11] == pytest.approx(half) and rates[15] == 0
    assert stages.rate_at(stage, 4 * 15 - 1, 4) == pytest.approx(half * (1 - .9951847267))      # cos(pi / 32)
    assert not stages.is_over(stage, 14, []) and stages.is_over(stage, 15, [])


@pytest.mark.parametrize('epochs, cycles, growth, ends', [
    (33, 3, 2., [5, 14, 33]), (10, 4, 1., [3, 5, 8, 10]), (7, 1, 2., [7]), (3, 3, 1., [1, 2, 3])])
def test_cycles_end_with_an_epoch_and_the_last_one_with_the_stage(epochs, cycles, growth, ends):
    """33 epochs in parts of 1, 2 and 4 sevenths: 4.71, 14.14, 33."""
    assert stages.cycle_ends(epochs, cycles, growth) == ends
    stage, = stages.two_stages((), ((epochs, .1),), schedule='restarts', cycles=cycles, growth=growth)
    assert [epoch for epoch in range(epochs) if stages.rate_at(stage, epoch, 1) == .1] == [0, *ends[:-1]]


def test_one_cycle_is_the_cosine():
    one = rates_of('restarts', ((4, 1e-2),), 4, cycles=1, growth=3.)
    assert one == pytest.approx(rates_of('cosine', ((4, 1e-2),), 4))


@pytest.mark.parametrize('epochs, cycles, growth', [(2, 3, 1.), (3, 3, 2.), (5, 3, 10.), (9, 10 ** 9, 1.)])
def test_a_cycle_shorter_than_an_epoch_is_refused(epochs, cycles, growth):
    with pytest.raises(InputError, match=f'{epochs} epochs of the full stage: a cycle would be shorter than an epoch'):
        stages.two_stages((), ((epochs, .1),), schedule='restarts', cycles=cycles, growth=growth)


def test_warm_up_then_power():
    stage, = stages.two_stages((), ((4, 1e-2),), warmup_epochs=1, schedule='power', power=2.)
    rates = [stages.rate_at(stage, step, 4) for step in range(0, 20, 2)]
    assert rates == pytest.approx([1e-2 * part for part in (0, .5, 1, 49 / 64, 9 / 16, 25 / 64, 1 / 4, 9 / 64, 1 / 16,
                                                            1 / 64)])


def test_a_plateau_starts_the_next_rate_and_the_last_plateau_ends_the_stage():
    losses = [5., 4., 4.5, 4.2, 3., 2.9, 3.1, 3.2]       # two epochs above 4, then two above 2.9
    stage, = stages.two_stages((), ((9, 1e-2), (9, 1e-3)), schedule='plateau', patience=2)
    assert [stages.rate_at(stage, 4 * epoch, 4, losses[:epoch]) for epoch in range(8)] == [1e-2] * 4 + [1e-3] * 4
    assert [stages.is_over(stage, epoch, losses[:epoch]) for epoch in range(9)] == [False] * 8 + [True]


def test_a_piece_of_a_plateau_is_over_after_its_epochs_at_the_latest():
    losses = [9., 8., 7., 6., 5.]
    stage, = stages.two_stages((), ((2, 1e-2), (3, 1e-3)), schedule='plateau', patience=4)
    assert [stages.rate_at(stage, epoch, 1, losses[:epoch]) for epoch in range(5)] == [1e-2] * 2 + [1e-3] * 3
    assert stages.is_over(stage, 5, losses) and not stages.is_over(stage, 4, losses[:4])


@pytest.mark.parametrize('schedule, rates, patience, message', [
    ('cosine', ((2, .1), (1, .01)), 0, 'one rate'), ('power', ((2, .1), (1, .01)), 0, 'one rate'),
    ('restarts', ((2, .1), (1, .01)), 0, 'one rate'),
    ('plateau', ((2, .1),), 0, 'patience'), ('stairs', ((2, .1),), 0, 'cosine')])
def test_schedules_that_cannot_be_made_are_refused(schedule, rates, patience, message):
    with pytest.raises(InputError, match=message):
        stages.two_stages((), rates, patience=patience, schedule=schedule)


@pytest.mark.parametrize('epochs, rates, message', [
    ([1, 2], [.1], 'as many'), ([-1], [.1], '0 or more'), ([1], [0.], 'positive'), ([1], [float('nan')], 'positive')])
def test_invalid_pieces_are_refused(epochs, rates, message):
    with pytest.raises(InputError, match=message):
        stages.pieces(epochs, rates, 'full')


def test_pieces_without_epochs_are_left_out():
    assert stages.pieces([0, 3], [1., .1], 'head') == ((3, .1),)


@pytest.mark.parametrize('losses, settled', [
    ([], False), ([3.], False), ([3., 2., 2.5], False), ([3., 2., 2.5, 2.4], True), ([3., 2., 2.5, 1.9], False),
    ([2., 2., 2.], True)])
def test_a_stage_settles_after_patience_epochs_without_a_lower_loss(losses, settled):
    assert stages.has_settled(Stage('head', '^b', ((9, 1.),), patience=2), losses) is settled
    assert not stages.has_settled(Stage('head', '^b', ((9, 1.),), patience=0), losses)


@pytest.mark.parametrize('scores, over', [
    ([], False), ([.3, .2], False), ([.3, .2, .3], True), ([.2, .3, .25], False), ([-1., -1., .1], False)])
def test_a_stage_stops_after_epochs_without_a_better_score(scores, over):
    """Two epochs since the first of the best scores; -1 is the score before the first validation."""
    stage = Stage('full', '^$', ((9, 1.),), stop_after=2)
    assert stages.is_over(stage, 3, [1.] * len(scores), scores) is over
    assert not stages.is_over(stage._replace(stop_after=0), 3, [1.] * len(scores), scores)


def test_the_head_stage_freezes_the_backbone_and_nothing_else():
    model = narrow_network.fresh(1)
    head, everything = stages.two_stages(((1, .1),), ((1, .1),), frozen_bn='fixed')
    stages.freeze(model, head)
    frozen = {layer.name for layer in model.layers if layer.weights and not layer.trainable}
    assert len(frozen) == 104 and all(name.startswith('backbone_') for name in frozen)
    stages.freeze(model, everything)
    assert all(layer.trainable for layer in model.layers)


@pytest.mark.parametrize('frozen_bn, moves', [('adapt', True), ('fixed', False)])
def test_statistics_of_a_frozen_backbone_move_only_when_they_adapt(frozen_bn, moves):
    model = narrow_network.fresh(1)
    head, _ = stages.two_stages(((1, .1),), ((1, .1),), frozen_bn=frozen_bn)
    stages.freeze(model, head)
    norm = model.get_layer('backbone_bn_01')
    before = norm.moving_mean.numpy().copy()
    model(tf.random.stateless_uniform([1, 32, 32, 3], [1, 2]), training=True)
    assert bool(abs(norm.moving_mean.numpy() - before).max() > 0) == moves


@pytest.mark.parametrize('pattern', ['^no_such_layer', '.'])
def test_a_pattern_that_freezes_nothing_or_everything_is_refused(pattern):
    with pytest.raises(InputError, match='some but not all'):
        stages.freeze(narrow_network.fresh(1), Stage('head', pattern, ((1, .1),)))
