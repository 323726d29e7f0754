"""Plans of epochs for a given time, with a clock of our own."""
import pytest

from yolov3_tf.training import pacing, stages

STAGE, = stages.two_stages((), ((9, 1e-2),), warmup_epochs=1, schedule='cosine')


@pytest.fixture
def clock(monkeypatch):
    now = [100.]
    monkeypatch.setattr(pacing.time, 'monotonic', lambda: now[0])
    return now


def epoch(pace, clock, seconds, validation=0., steps=5):
    """An epoch of equal steps and its validation."""
    pace.begin_epoch()
    for _ in range(steps):
        clock[0] += seconds / steps
        pace.add_step(seconds / steps)
    clock[0] += validation
    pace.validation = validation


def test_as_many_epochs_as_fit_with_their_validations_and_the_end():
    assert pacing.epochs_that_fit(120, 8, 2) == 9           # 120 - 20 - 2 x 2 in pieces of 10
    assert pacing.epochs_that_fit(120, 8, 2, every=2) == 10     # in pieces of 9
    assert pacing.epochs_that_fit(3, 8, 2) == 0


def test_the_first_epoch_plans_the_others(clock):
    pace = pacing.Pace(minutes=2)
    epoch(pace, clock, 10)
    # One is done in 10 of the 120 seconds, 20 are kept, 9 more fit.
    assert pace.plan(STAGE, 1, 0, 5, 1) == 10


def test_building_graphs_is_not_taken_for_the_pace(clock):
    pace = pacing.Pace(minutes=2)
    for seconds in (20, 2, 1, 1, 1):
        clock[0] += seconds
        pace.add_step(seconds)
    clock[0] += 30
    pace.validation = 30                                    # of which the graph took most
    assert pace.plan(STAGE, 1, 0, 5, 1) == 1 + (120 - 55 - 20 - 2 * 5) // (5 + 5)


def test_a_plan_stays_unless_the_run_would_end_late(clock):
    pace = pacing.Pace(minutes=2)
    planned = 0
    for done in (1, 2, 3, 4):
        epoch(pace, clock, 10)
        planned = pace.plan(STAGE, done, planned, 5, 1)
    assert planned == 10
    epoch(pace, clock, 11)                                  # a little slower
    assert pace.plan(STAGE, 5, planned, 5, 1) == 10
    epoch(pace, clock, 15)                                  # half as fast again: (120 - 66 - 20) / 15
    assert pace.plan(STAGE, 6, planned, 5, 1) == 8


def test_time_of_earlier_processes_counts_and_a_fast_machine_adds_nothing_later(clock):
    pace = pacing.Pace(minutes=2, seconds=60)
    epoch(pace, clock, 2)
    assert pace.seconds == pytest.approx(62)
    assert pace.plan(STAGE, 6, 12, 5, 1) == 12


def test_too_little_time_still_makes_the_warm_up_and_one_epoch(clock):
    pace = pacing.Pace(minutes=.1)
    epoch(pace, clock, 10)
    assert pace.plan(STAGE, 1, 0, 5, 1) == 2
    pace.begin_epoch()
    assert pace.plan(STAGE, 2, 2, 5, 1) == 2                # nothing was measured in between


def test_a_planned_stage_keeps_its_warm_up_and_its_rate():
    planned = pacing.with_epochs(STAGE, 5)
    assert planned.epochs == 5 and planned.rates == ((4, 1e-2),)
    assert pacing.with_epochs(STAGE, 0) is STAGE


def test_a_plan_says_when_it_cannot_end_on_time(clock):
    pace = pacing.Pace(minutes=1)
    epoch(pace, clock, 10)
    assert pace.describe(3, 1, 5) == 'planned 3 epochs, to end after 1 minute'
    assert pace.describe(9, 1, 5) == ('planned 9 epochs, the fewest: they take until 0:01:50, longer than the 1 minute '
                                      'asked for')            # 10 + 8 x 10 + 20 seconds
