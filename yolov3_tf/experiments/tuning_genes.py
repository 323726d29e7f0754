"""The settings that ``tune`` searches: their bounds, how they mutate, and how they go back into a recipe.

A candidate is a mapping of settings to numbers; a setting of several numbers, such as ``full_lr``, is its first one,
and the others keep their ratio to it.
"""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from yolov3_tf.errors import InputError
from yolov3_tf.training import recipe as recipes
from yolov3_tf.training.recipe import Recipe

DIGITS = 4      # significant digits of a value, so that flags can be read


class Gene(NamedTuple):
    """One continuous setting.

    Attributes:
      name: the setting.
      lowest, highest: bounds of its value.
      spread: standard deviation of the logarithm of the factor that a mutation multiplies it by.
      rest: the factor multiplies 1 - value: a decay of .99 is as far from .98 as .98 from .96.
      needs: settings, joined by `` or ``, of which one is not 0, off or unset in the recipe; or ``setting=value``.
    """
    name: str
    lowest: float
    highest: float
    spread: float = .2
    rest: bool = False
    needs: str = ''


# A new continuous setting is a new row.
GENES = (
    Gene('full_lr', 1e-5, 3e-2, .3),
    Gene('head_lr', 1e-5, 3e-2, .3, needs='head_epochs'),
    Gene('asymptotic_lr', 1e-5, 3e-2, .3, needs='asymptotic'),
    Gene('warmup_epochs', 1, 5, .5, needs='full_epochs or minutes'),
    Gene('decay_power', .5, 4, needs='schedule=power'),
    Gene('weight_decay', 1e-6, 1e-2, .3),
    Gene('momentum', .6, .99, .3, rest=True, needs='optimizer=sgd'),
    Gene('ema_decay', .9, .9999, .3, rest=True),
    Gene('bn_momentum', .8, .999, .3, rest=True),
    Gene('ignore_thresh', .2, .9),
    Gene('assign_thresh', .05, .9, needs='assigner=iou_threshold'),
    Gene('assign_thresh', .5, 6, needs='assigner=shape_ratio'),
    Gene('assign_thresh', 1.5, 10, needs='assigner=neighbours'),
    Gene('assign_thresh', 1.5, 10, needs='assigner=dynamic'),
    Gene('box_weight', .1, 20),
    Gene('class_weight', .1, 10),
    Gene('background_weight', .1, 10),
)
NAMES = tuple(dict.fromkeys(gene.name for gene in GENES))


class Genes(NamedTuple):
    """What is searched. genes: setting -> gene, with the bounds of this recipe; start: setting -> the recipe's value;
    left_out: setting -> why this recipe has no such gene."""
    genes: dict[str, Gene]
    start: dict[str, float]
    left_out: dict[str, str]


def of_recipe(recipe: Recipe, asked: Sequence[str] = ()) -> Genes:
    """The genes of a recipe. Imports TensorFlow, so the search calls it in another process.

    Args:
      asked: the settings to search; empty for all that the recipe uses.

    Raises:
      InputError: the recipe cannot be trained, here or at the ends of the bounds, an asked setting is unknown, or the
        recipe does not use it, or none is left.
    """
    from yolov3_tf.training import recipe_check  # it needs TensorFlow, the runner does not
    for name in asked:
        if name not in NAMES:
            raise InputError(f'--settings={name}: expected names out of {", ".join(NAMES)}')
    recipe_check.check(recipe)
    values = values_of(recipe)
    genes, left_out = {}, {}
    for name in [name for name in NAMES if name in asked] or NAMES:
        rows = [gene for gene in GENES if gene.name == name]
        fitting = [gene for gene in rows if _is_used(gene, values)]
        why = _why_fixed(values[name]) if fitting else f'needs {_choice(rows)}'
        if why and asked:
            raise InputError(f'--settings={name}: {why}, but the recipe has not')
        if why:
            left_out[name] = why
        else:
            genes[name] = _within(fitting[0], recipe)
    if not genes:
        raise InputError('no setting to search: the recipe uses none of the continuous ones')
    found = Genes(genes, {name: _first(values[name]) for name in genes}, left_out)
    for end in ('lowest', 'highest'):
        try:
            extreme = {name: getattr(one, end) for name, one in genes.items()}
            recipe_check.check(with_values(recipe, found.start, extreme))
        except InputError as error:
            raise InputError(f'with every setting at its {end} value: {error}') from error
    return found


def values_of(recipe: Recipe) -> dict[str, Any]:
    """Setting -> the value that training takes, with those of the loss where the recipe leaves them to it."""
    from yolov3_tf.assign import THRESHOLDS
    from yolov3_tf.training import plan
    loss = plan.loss_of(recipe)._asdict()
    values = {**recipe._asdict(), **{name: value for name, value in loss.items() if name in Recipe._fields}}
    if values['assign_thresh'] is None:
        values['assign_thresh'] = THRESHOLDS.get(values['assigner'])
    return values


def mutated(gene: Gene, value: float, factor: float) -> float:
    """The value, or 1 - value, times the factor, within the bounds and rounded."""
    moved = 1 - rounded((1 - value) * factor) if gene.rest else value * factor
    moved = min(max(moved, gene.lowest), gene.highest)
    if recipes.kind(gene.name).type is int:
        return float(math.floor(moved + .5))
    return float(f'{moved:.9g}') if gene.rest else rounded(moved)


def with_values(recipe: Recipe, start: Mapping[str, float], values: Mapping[str, float]) -> Recipe:
    """The recipe with these values; where a value is the start's, the recipe's setting does not change.

    All candidates train for the same number of epochs: what the warm-up gains, the longest piece of the full stage
    loses.
    """
    changed: dict[str, Any] = {}
    for name in values:
        if values[name] == start[name]:
            continue
        wanted, several, _ = recipes.kind(name)
        changed[name] = wanted(values[name])
        if several:
            changed[name] = tuple(rounded(one * values[name] / start[name]) for one in getattr(recipe, name))
    if 'warmup_epochs' in changed and recipe.full_epochs:
        pieces = list(recipe.full_epochs)
        pieces[pieces.index(max(pieces))] -= changed['warmup_epochs'] - recipe.warmup_epochs
        changed['full_epochs'] = tuple(pieces)
    return recipe._replace(**changed)


def rounded(value: float) -> float:
    """The value with ``DIGITS`` significant digits."""
    return float(f'{value:.{DIGITS}g}')


def _is_used(gene, values) -> bool:
    if not gene.needs:
        return True
    if '=' in gene.needs:
        name, _, wanted = gene.needs.partition('=')
        return str(values[name]) == wanted
    return any(_first(values.get(name) or 0) for name in gene.needs.split(' or '))


def _choice(rows) -> str:
    """The conditions of the rows of one setting: ``needs`` of each, a setting that several name only once."""
    parts = [gene.needs.partition('=') for gene in rows]
    return parts[0][0] + ''.join(parts[0][1:]) + ''.join(f' or {value}' for _, _, value in parts[1:])


def _why_fixed(value) -> str:
    """Why a value cannot be multiplied by a factor; '' if it can."""
    if value in (None, ()):
        return 'needs a value to start from'
    return '' if _first(value) > 0 else 'needs a value other than 0 to start from'


def _within(gene, recipe) -> Gene:
    """The gene with a warm-up that leaves an epoch to the longest piece of the full stage."""
    if gene.name != 'warmup_epochs' or not recipe.full_epochs:
        return gene
    return gene._replace(highest=min(gene.highest, recipe.warmup_epochs + max(recipe.full_epochs) - 1))


def _first(value) -> float:
    return float(value[0] if isinstance(value, tuple) else value)
