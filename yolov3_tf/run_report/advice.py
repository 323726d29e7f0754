"""What to try next, from simple rules over the numbers of a run. Each rule is a function and a row in ``RULES``."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Callable, NamedTuple

import numpy as np

FEW_TRAINED = 50            # objects of a class to train on
FEW_VALIDATED = 20          # objects of a class to evaluate on: one more or less found moves its recall by 5 points
SMALL = 8                   # pixels of the network input, the finest stride of YOLOv3
SMALL_SHARE = .1
IMPROVING = .01             # mAP gained by the line through the last validations
VALIDATIONS = 4             # fewest of them that show a trend
LEAP = .05                  # mAP gained by the last validation: no noise, even where there are but two
NOT_LEARNT = .01            # AP of a class of which nothing is found
WORSE = 1.1                 # times the lowest validation loss
LOW_SCORE = .1
COSTLY = .03                # AP that one kind of error costs
MOST_NAMES = 8


class Facts(NamedTuple):
    """The numbers that the rules look at; what is unknown keeps its default, and its rules stay silent.

    Attributes:
      problems: number of annotations that were dropped or repaired, in training and validation data.
      trained: class name -> objects in the training data; validated: in the data of the evaluation.
      image_size: longer side of the network input in pixels, 0 where unknown.
      small: part of the boxes whose shorter side in the network input is under ``SMALL`` pixels.
      scores: mAP of each validation of the last stage, in order.
      val_losses, train_losses: total loss at each of them, the latter as the mean since the one before.
      operating_score: the score threshold with the best F1.
      costs: kind of error -> AP that it costs, 0..1 (``evaluation.errors``).
      confused: (true class, predicted class, count), the most frequent first.
      found: class name -> its AP at IoU .5, of the classes with objects.
      loss: the box loss that was trained with.
    """
    problems: int = 0
    trained: Mapping[str, int] = {}
    validated: Mapping[str, int] = {}
    image_size: int = 0
    small: float = 0.
    scores: tuple[float, ...] = ()
    val_losses: tuple[float, ...] = ()
    train_losses: tuple[float, ...] = ()
    operating_score: float | None = None
    costs: Mapping[str, float] = {}
    confused: tuple[tuple[str, str, int], ...] = ()
    found: Mapping[str, float] = {}
    loss: str = ''


def advise(facts: Facts) -> list[str]:
    """A sentence or two of each rule that has something to say; one that says so where none has."""
    return [text for text in (rule(facts) for rule in RULES) if text] or [
        'Nothing stands out. More varied images, a larger input (--image_size) or a wider network (--width_multiplier) '
        'are what is left to try.']


def problems(facts: Facts) -> str:
    """Labels that were dropped are objects that the network learns to miss."""
    if not facts.problems:
        return ''
    return (f'Annotations that were dropped or repaired: {facts.problems}. Look at them with yolov3-tf check before '
            'anything else: an object without its label teaches the network to miss it.')


def few_to_train(facts: Facts) -> str:
    """Classes with too few objects to learn from."""
    few = {name: count for name, count in facts.trained.items() if count < FEW_TRAINED}
    if not few:
        return ''
    return (f'Few objects to learn from: {_listed(few)}. Label more images of these classes (about {FEW_TRAINED} '
            'objects are a start), or show them more often with --balance_classes.')


def few_to_validate(facts: Facts) -> str:
    """Classes whose AP says little."""
    few = {name: count for name, count in facts.validated.items() if count < FEW_VALIDATED}
    if not few:
        return ''
    return (f'Too few objects to evaluate on: {_listed(few)}. The scores of these classes say little; move or label '
            'more of them into the validation data.')


def small_boxes(facts: Facts) -> str:
    """Boxes that the input size makes too small."""
    if facts.small < SMALL_SHARE:
        return ''
    larger = f' (now {facts.image_size}: try {2 * facts.image_size})' if facts.image_size else ''
    return (f'{100 * facts.small:.0f} % of the boxes are under {SMALL} pixels in the network input, too small to be '
            f'seen well. Use a larger --image_size{larger}; of large images, tiles: --train_tiles=auto.')


def still_improving(facts: Facts) -> str:
    """A run that ended too early: the line through the last third of its validations rises, the best among them."""
    count = max(VALIDATIONS, len(facts.scores) // 3)
    last = np.array(facts.scores[-count:])
    if len(last) < VALIDATIONS or last.max() < max(facts.scores):
        return ''
    rise = float(np.polyfit(np.arange(len(last)), last, 1)[0]) * (len(last) - 1)
    if rise < IMPROVING:
        return ''
    return (f'mAP still rose by {100 * rise:.1f} points over the last {len(last)} validations. Train longer: '
            '--extend adds epochs to a finished run.')


def hardly_begun(facts: Facts) -> str:
    """A run with too few validations for ``still_improving``, the last of which brought very much."""
    if not 2 <= len(facts.scores) < VALIDATIONS or facts.scores[-1] - max(facts.scores[:-1]) < LEAP:
        return ''
    rise = 100 * (facts.scores[-1] - max(facts.scores[:-1]))
    return (f'mAP rose by {rise:.1f} points up to the last of {len(facts.scores)} validations: the run ended long '
            'before it was done. Train longer: more --minutes or epochs; --extend adds epochs to a finished run.')


def not_learnt(facts: Facts) -> str:
    """Classes of which nothing is found although others are: small, rare, or trained too short."""
    lost = [name for name, ap in facts.found.items() if ap < NOT_LEARNT]
    if not lost or len(lost) == len(facts.found):
        return ''
    shown = ', '.join(lost[:MOST_NAMES]) + (f' and {len(lost) - MOST_NAMES} more' if len(lost) > MOST_NAMES else '')
    return (f'Not learnt yet: {shown} (AP under {100 * NOT_LEARNT:.0f}). Small or rare objects are learnt last: train '
            'longer, with a larger --image_size or with --balance_classes.')


def over_fitting(facts: Facts) -> str:
    """The validation loss rose well above its lowest value while the training loss fell."""
    losses, trained = np.array(facts.val_losses), np.array(facts.train_losses)
    if len(losses) < VALIDATIONS or len(trained) != len(losses):
        return ''
    lowest = int(losses.argmin())
    if lowest == len(losses) - 1 or losses[-1] < WORSE * losses[lowest] or trained[-1] >= trained[lowest]:
        return ''
    return (f'Over-fitting: the validation loss is {losses[-1] / losses[lowest]:.1f} times its lowest value, while the '
            'training loss fell on. More images, more augmentation (--augment) or fewer epochs help.')


def low_threshold(facts: Facts) -> str:
    """The network is sure of nothing."""
    if facts.operating_score is None or facts.operating_score >= LOW_SCORE:
        return ''
    return (f'The best score threshold is very low ({facts.operating_score}): the network is sure of nothing yet. It '
            'has trained too short, or its labels contradict each other.')


def worst_errors(facts: Facts) -> str:
    """The kind of error that costs most."""
    kind = max(facts.costs, key=lambda name: facts.costs[name], default='')
    if not kind or facts.costs[kind] < COSTLY:
        return ''
    if kind == 'classification' and facts.confused:
        true, predicted, count = facts.confused[0]
        more = f' The most frequent mistake: {true} taken for {predicted} ({count} times).'
    else:
        more = ''
    remedy = REMEDIES[kind].replace(_CIOU, '') if facts.loss == 'ciou' else REMEDIES[kind]
    return f'{100 * facts.costs[kind]:.1f} points of AP are lost by {kind} errors: {remedy}{more}'


def many_in_the_background(facts: Facts) -> str:
    """Whether background errors are worth a look at the labels even where another kind costs more."""
    cost = facts.costs.get('background', 0.)
    if cost < COSTLY or cost == max(facts.costs.values()):
        return ''
    return (f'Background errors cost {100 * cost:.1f} points of AP. Look at the images with most errors: where a box '
            'shows a real object, its label is missing.')


_CIOU = ' or --loss=ciou'       # no advice for a run that has it
REMEDIES = {
    'classification': 'boxes are found but named wrongly. More examples of the confused classes help, or one class for '
                      'what nobody can tell apart.',
    'localisation': 'objects are found, but their boxes are not tight. Check how tightly the labels are drawn; a '
                    'larger --image_size or --loss=ciou helps.',
    'both': 'boxes are neither tight nor named rightly: train longer, and check the labels of the worst images.',
    'duplicate': 'objects are found several times. A lower --iou_threshold or --nms=diou when exporting removes more '
                 'of them.',
    'background': 'boxes are seen where nothing is labelled. Look at the images with most errors: either labels are '
                  'missing there, or images without objects are missing in the training data.',
    'missed': 'objects are not found at all. More varied training images, a larger --image_size or longer training '
              'help.'}
RULES: tuple[Callable[[Facts], str], ...] = (
    problems, few_to_train, few_to_validate, small_boxes, still_improving, hardly_begun, not_learnt, over_fitting,
    low_threshold, worst_errors, many_in_the_background)


def _listed(counts):
    """Names with their counts, the fewest first, and how many are left out."""
    names = sorted(counts, key=lambda name: (counts[name], name))
    shown = ', '.join(f'{name} ({counts[name]})' for name in names[:MOST_NAMES])
    return shown + (f' and {len(names) - MOST_NAMES} more' if len(names) > MOST_NAMES else '')
