"""Darknet's cfg files as checked sections: every option known by name, every number in its range.

A cfg is INI-like text: ``[section]`` lines, ``option=value`` lines below each, ``#`` and ``;`` begin comments.
``[net]`` comes first; every section after it is one layer, numbered from 0. What this package does not
support is refused with its line; only options of darknet's own training are ignored.

Source: darknet, src/parser.c (``parse_*``), src/option_list.c (``read_data_cfg``).
"""
from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Callable, NamedTuple

from yolov3_tf.errors import InputError

# No published cfg comes near these limits; a damaged one should not exhaust the machine before it is refused. The
# text goes into a checkpoint's config, which HDF5 limits to 64 kB.
MOST_TEXT, MOST_LAYERS, MOST_LISTED, MOST_FILTERS, MOST_CLASSES = 50_000, 999, 100, 1 << 15, 1 << 13
LARGEST_SIZE, LARGEST_KERNEL = 4096, 63
ACTIVATIONS = ('leaky', 'linear', 'logistic', 'mish', 'relu', 'relu6', 'swish')


class Section(NamedTuple):
    """One section with darknet's defaults filled in.

    Attributes:
      kind: such as ``convolutional``.
      where: 'FILE:LINE' of its first line.
      values: option -> value, as ``OPTIONS`` reads them.
    """
    kind: str
    where: str
    values: dict[str, Any]


class Option(NamedTuple):
    """How an option's text is read, and its default; None: it must be given."""
    read: Callable[[str], Any]
    default: Any


def whole(default: int | None, lowest: int, highest: int) -> Option:
    """A whole number in a range."""
    return Option(lambda text: _whole(text, lowest, highest), default)


def number(default: float | None, lowest: float, highest: float) -> Option:
    """A number in a range."""
    return Option(lambda text: _number(text, lowest, highest), default)


def word(default: str, *words: str) -> Option:
    """One of several words."""
    return Option(lambda text: text if text in words else _expect(f'one of {", ".join(words)}'), default)


def listed(read: Callable, lowest: float, highest: float) -> Option:
    """A list of numbers between commas; a comma at the end of the list is common and ignored."""
    def values(text):
        parts = text.rstrip(',').split(',')
        return tuple(read(part, lowest, highest) for part in parts) if len(parts) <= MOST_LISTED else _expect(
            f'at most {MOST_LISTED} numbers')
    return Option(values, None)


def only(*texts: str) -> Option:
    """An option that is understood but for which only these values are supported."""
    return Option(lambda text: text if text in texts else _expect(f'{" or ".join(texts)}, nothing else is supported'),
                  texts[0])


def _whole(text, lowest, highest):
    value = int(text) if re.fullmatch(r'[+-]?[0-9]{1,9}', text) else None
    return value if value is not None and lowest <= value <= highest else _expect(
        f'a whole number from {lowest} to {highest}')


def _number(text, lowest, highest):
    value = float(text) if re.fullmatch(r'[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?', text, re.I) else None
    return value if value is not None and lowest <= value <= highest else _expect(
        f'a number from {lowest:g} to {highest:g}')


def _expect(what):
    raise ValueError(f'expected {what}')


_LAYER_INDEX = listed(_whole, -MOST_LAYERS, MOST_LAYERS)
_ACTIVATION = word('linear', *ACTIVATIONS)
OPTIONS: dict[str, dict[str, Option]] = {
    'net': {'width': whole(None, 1, LARGEST_SIZE), 'height': whole(None, 1, LARGEST_SIZE), 'channels': only('3')},
    'convolutional': {
        'filters': whole(1, 1, MOST_FILTERS), 'size': whole(1, 1, LARGEST_KERNEL), 'stride': whole(1, 1, 32),
        'pad': whole(0, 0, 1), 'padding': whole(0, 0, LARGEST_KERNEL), 'groups': whole(1, 1, MOST_FILTERS),
        'batch_normalize': whole(0, 0, 1), 'activation': word('logistic', *ACTIVATIONS),
        **dict.fromkeys(['dilation'], only('1')),
        **dict.fromkeys(['antialiasing', 'assisted_excitation', 'binary', 'bin_output', 'cbn', 'coordconv', 'deform',
                         'dot', 'flipped', 'rotate', 'share_index', 'stretch', 'stretch_sway', 'sway', 'xnor'],
                        only('0'))},
    'shortcut': {'from': _LAYER_INDEX, 'activation': _ACTIVATION, 'weights_type': only('none'),
                 'weights_normalization': only('none')},
    'route': {'layers': _LAYER_INDEX, 'groups': whole(1, 1, MOST_FILTERS), 'group_id': whole(0, 0, MOST_FILTERS)},
    'upsample': {'stride': whole(2, 1, 32), 'scale': number(1., 1., 1.)},
    'maxpool': {'size': whole(None, 1, LARGEST_KERNEL), 'stride': whole(1, 1, 32),
                **dict.fromkeys(['antialiasing', 'maxpool_depth'], only('0'))},
    'avgpool': {},
    'dropout': {'probability': number(.5, 0., .99), 'dropblock': only('0')},
    'scale_channels': {'from': _LAYER_INDEX, 'activation': _ACTIVATION, 'scale_wh': only('0')},
    'sam': {'from': _LAYER_INDEX, 'activation': _ACTIVATION},
    'yolo': {
        'mask': listed(_whole, 0, MOST_LISTED), 'classes': whole(20, 1, MOST_CLASSES),
        'num': whole(1, 1, MOST_LISTED), 'anchors': listed(_number, .01, 1e5),
        'scale_x_y': number(1., 1., 2.), 'new_coords': only('0'), 'embedding_layer': only('0')},
}
# What only darknet's training, its video tracking or its speed depend on.
PASSED_ANYWHERE = {
    'burnin_update', 'clip', 'dont_update', 'grad_centr', 'learning_rate_scale', 'onlyforward', 'stopbackward',
    'train_only_bn'}
PASSED: dict[str, set] = {
    'net': {
        'B1', 'B2', 'adam', 'adversarial_lr', 'angle', 'aspect', 'attention', 'augment_speed',
        'badlabels_reject_threshold', 'badlabels_rejection_percentage', 'batch', 'batches_cycle_mult',
        'batches_per_cycle', 'blur', 'burn_in', 'contrastive', 'contrastive_color', 'contrastive_jit_flip', 'cutmix',
        'decay', 'dynamic_minibatch', 'ema_alpha', 'eps', 'equidistant_point', 'exposure', 'flip', 'gamma',
        'gaussian_noise', 'hue', 'init_sequential_subdivisions', 'inputs', 'label_smooth_eps', 'learning_rate',
        'learning_rate_min', 'letter_box', 'loss_scale', 'max_batches', 'max_chart_loss', 'max_crop', 'min_crop',
        'mixup', 'momentum', 'mosaic', 'mosaic_bound', 'num_sigmas_reject_badlabels', 'optimized_memory', 'policy',
        'power', 'reverse', 'saturation', 'scale', 'scales', 'seq_scales', 'sequential_subdivisions', 'sgdr_cycle',
        'sgdr_mult', 'step', 'steps', 'subdivisions', 'time_steps', 'track', 'try_fix_nan', 'unsupervised',
        'weights_reject_freq', 'workspace_size_limit_MB'},
    'yolo': {
        'absolute', 'beta_nms', 'cls_normalizer', 'counters_per_class', 'delta_normalizer', 'detection_gate',
        'dets_for_show', 'dets_for_track', 'focal_loss', 'ignore_thresh', 'iou_loss', 'iou_normalizer', 'iou_thresh',
        'iou_thresh_kind', 'jitter', 'label_smooth_eps', 'map', 'max', 'max_delta', 'nms_kind', 'obj_normalizer',
        'objectness_smooth', 'random', 'resize', 'show_details', 'sim_thresh', 'track_ciou_norm',
        'track_history_size', 'truth_thresh'},
}
ALIASES = {'conv': 'convolutional', 'max': 'maxpool', 'avg': 'avgpool', 'network': 'net'}


def read(text: str, name: str) -> list[Section]:
    """The sections of a cfg's text, ``[net]`` first.

    Args:
      name: of the file, for messages.

    Raises:
      InputError: no cfg, a section or an option that is not supported, a value that is no number or out
        of its range; with file and line.
    """
    if len(text) > MOST_TEXT or len(json.dumps(text)) > MOST_TEXT:
        raise InputError(f'{name}: expected a cfg of at most {MOST_TEXT:,} characters: this is no darknet cfg, or one '
                         'with more comments than layers')
    split = _split(text, name)
    if not split or split[0][0] != 'net' or any(kind == 'net' for kind, _, _ in split[1:]):
        raise InputError(f'{name}:1: expected one [net] section and the layers below it: not a darknet cfg')
    sections = [_checked(kind, line, given, name) for kind, line, given in split]
    if len(sections) - 1 > MOST_LAYERS:
        raise InputError(f'{name}: expected at most {MOST_LAYERS} layers, got {len(sections) - 1:,}')
    return sections


def with_classes(text: str, num_classes: int) -> str:
    """A valid cfg's text for another class count: ``classes`` of [yolo], ``filters`` of the convolutions before.

    Everything else, comments included, is unchanged.
    """
    lines, split = text.splitlines(), _split(text, 'cfg')
    ends = [line - 1 for _, line, _ in split[1:]] + [len(lines)]
    for (_, start, _), end, (kind, line, given), last in zip(split, ends, split[1:], ends[1:]):
        if kind == 'yolo':
            mask = _value(OPTIONS['yolo']['mask'], 'mask', given['mask'][0], 'cfg')
            _set(lines, start, end, 'filters', len(mask) * (5 + num_classes))
            _set(lines, line, last, 'classes', num_classes)
    return '\n'.join(lines) + '\n'


def with_anchors(text: str, sizes: Sequence[Sequence[tuple[float, float]]]) -> str:
    """A valid cfg's text with other anchors; sizes: of each [yolo] section's mask, in the order of the file."""
    lines, split = text.splitlines(), _split(text, 'cfg')
    ends = [line - 1 for _, line, _ in split[1:]] + [len(lines)]
    yolos = [(line, end, given) for (kind, line, given), end in zip(split, ends) if kind == 'yolo']
    for (line, end, given), own in zip(yolos, sizes):
        mask, numbers = (_value(OPTIONS['yolo'][name], name, given[name][0], 'cfg') for name in ('mask', 'anchors'))
        pairs = dict(enumerate(zip(numbers[::2], numbers[1::2])))
        pairs.update(zip(mask, own))
        _set(lines, line, end, 'anchors', ', '.join(f'{width:g},{height:g}' for width, height in pairs.values()))
    return '\n'.join(lines) + '\n'


def _set(lines, start, end, option, value):
    """Gives ``option`` its value in the section of these lines, [start] being its first option's."""
    found = [at for at in range(start, end) if re.sub(r'\s', '', lines[at]).startswith(f'{option}=')]
    for at in found:
        lines[at] = f'{option}={value}'
    if not found:
        lines[start - 1] += f'\n{option}={value}'


def _split(text, name) -> list[tuple[str, int, dict[str, tuple[str, int]]]]:
    """[(kind, line, {option: (value, line)})]; blanks are ignored everywhere, as in darknet."""
    sections: list[tuple[str, int, dict[str, tuple[str, int]]]] = []
    for line, content in enumerate(text.splitlines(), 1):
        content = re.sub(r'\s', '', re.split('[#;]', content)[0])
        if not content:
            continue
        if content.startswith('[') and content.endswith(']'):
            kind = content[1:-1]
            sections.append((ALIASES.get(kind, kind), line, {}))
            continue
        option, equals, value = content.partition('=')
        if not (sections and equals and option and value):
            raise InputError(f'{name}:{line}: expected [section] or option=value below one, got {content[:40]!r}')
        given, _ = sections[-1][2].setdefault(option, (value, line))
        if given != value:
            raise InputError(f'{name}:{line}: {option}={value[:40]} in a section that has {option}={given[:40]} '
                             'already: leave one of them')
    return sections


def _checked(kind, line, given, name):
    where = f'{name}:{line}'
    if kind not in OPTIONS:
        raise InputError(f'{where}: [{kind[:40]}] is not supported: expected one of {", ".join(sorted(OPTIONS))}')
    values = {option: known.default for option, known in OPTIONS[kind].items()}
    for option, (text, at) in given.items():
        if option in OPTIONS[kind]:
            values[option] = _value(OPTIONS[kind][option], option, text, f'{name}:{at}')
        elif option not in PASSED_ANYWHERE and option not in PASSED.get(kind, ()):
            raise InputError(f'{name}:{at}: option {option[:40]} of [{kind}] is not supported: expected one of '
                             f'{", ".join(sorted(OPTIONS[kind])) or "none"}')
    for option, value in values.items():
        if value is None:
            raise InputError(f'{where}: [{kind}] expected {option}=..., got none')
    return Section(kind, where, values)


def _value(option, name, text, where):
    try:
        return option.read(text)
    except ValueError as error:
        raise InputError(f'{where}: {name}={text[:40]}: {error}') from None
