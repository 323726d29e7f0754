"""The settings that `tune` searches: values by hand, bounds that train accepts, and what is refused."""
import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.experiments import tuning_genes
from yolov3_tf.experiments.tuning_genes import GENES, Gene
from yolov3_tf.training import recipe
from yolov3_tf.training.recipe import RANGES

SHAPES = dict(train_data='shapes:12', backbone_weights='none', head_epochs=0, full_epochs=(13, 5), full_lr=(1e-3, 1e-4))


@pytest.mark.parametrize('gene, value, factor, expected', [
    (Gene('full_lr', 1e-5, 3e-2), 1e-3, 2., 2e-3), (Gene('full_lr', 1e-5, 3e-2), 1e-3, 1 / 3, 3.333e-4),
    (Gene('full_lr', 1e-5, 3e-2), 1e-3, 100., 3e-2), (Gene('ignore_thresh', .2, .9), .45, .1, .2),
    (Gene('momentum', .6, .99, rest=True), .9, .5, .95), (Gene('momentum', .6, .99, rest=True), .9, .01, .99),
    (Gene('ema_decay', .9, .9999, rest=True), .998, 1.5, .997),
    (Gene('ema_decay', .9, .9999, rest=True), .998, 99., .9),
    (Gene('warmup_epochs', 1, 5), 1., 1.49, 1.), (Gene('warmup_epochs', 1, 5), 1., 1.51, 2.),
    (Gene('warmup_epochs', 1, 5), 3., .1, 1.)])
def test_a_value_or_its_distance_from_one_is_multiplied_clipped_and_rounded(gene, value, factor, expected):
    assert tuning_genes.mutated(gene, value, factor) == expected


def test_several_rates_keep_their_ratio_and_the_warm_up_does_not_lengthen_a_training():
    base = recipe.make(**SHAPES, warmup_epochs=1)
    start = dict(full_lr=1e-3, warmup_epochs=1., box_weight=1.)
    assert tuning_genes.with_values(base, start, start) == base
    child = tuning_genes.with_values(base, start, dict(full_lr=2.5e-3, warmup_epochs=3., box_weight=1.))
    assert child == base._replace(full_lr=(2.5e-3, 2.5e-4), warmup_epochs=3, full_epochs=(11, 5))
    assert isinstance(child.warmup_epochs, int)


@pytest.mark.parametrize('gene', GENES, ids=lambda gene: f'{gene.name}-{gene.needs}')
def test_bounds_are_numbers_that_the_setting_may_have(gene):
    assert recipe.kind(gene.name).type in (int, float) and 0 < gene.spread <= .5
    assert 0 < gene.lowest < gene.highest and (not gene.rest or gene.highest < 1)
    assert RANGES[gene.name].holds(gene.lowest) and RANGES[gene.name].holds(gene.highest)
    assert all(name in recipe.Recipe._fields or name == 'minutes'
               for name in gene.needs.partition('=')[0].split(' or ') if name)


def test_the_genes_of_a_recipe_are_the_settings_that_it_uses_from_the_values_that_training_takes():
    adam = tuning_genes.of_recipe(recipe.make(**SHAPES, optimizer='adam'))
    always = dict(full_lr=1e-3, weight_decay=5e-4, ignore_thresh=.5, box_weight=1., background_weight=1.)
    assert always.items() <= adam.start.items() and list(adam.start) == list(adam.genes)
    assert {'momentum', 'ema_decay', 'head_lr', 'warmup_epochs', 'assign_thresh', 'decay_power'} <= set(adam.left_out)
    assert adam.left_out['momentum'] == 'needs optimizer=sgd'
    more = tuning_genes.of_recipe(recipe.make(
        **dict(SHAPES, head_epochs=2, full_epochs=3, full_lr=1e-3), formulation='yolov4', schedule='power',
        ema_decay=.998, warmup_epochs=1))
    assert dict(momentum=.9, ema_decay=.998, head_lr=1e-3, warmup_epochs=1., decay_power=1., assign_thresh=.213,
                ignore_thresh=.7).items() <= more.start.items()
    assert more.genes['assign_thresh'].highest < 1 and more.genes['warmup_epochs'].highest == 3


@pytest.mark.parametrize('changes, asked, message', [
    ({}, ['box_wieght'], '--settings=box_wieght: expected names out of full_lr, '),
    (dict(optimizer='adam'), ['full_lr', 'momentum'], '--settings=momentum: needs optimizer=sgd, but the recipe has'),
    ({}, ['ema_decay'], '--settings=ema_decay: needs a value other than 0 to start from'),
    (dict(full_lr=None, full_epochs=None), ['full_lr'], '--settings=full_lr: needs a value to start from'),
    (dict(full_epochs=(1, 2, 3)), [], 'as many learning rates'),
    (dict(full_epochs=7, full_lr=1e-3, warmup_epochs=1, schedule='restarts'), [],
     'with every setting at its highest value: --restart_cycles=3 of --restart_factor=2 in 3 epochs')])
def test_a_search_that_cannot_be_made_is_refused(changes, asked, message):
    with pytest.raises(InputError, match=message):
        tuning_genes.of_recipe(recipe.make(**{**SHAPES, **changes}), asked)
