"""YOLO's data.yaml: folders or lists of images for train, val and test, class names, and annotations as darknet's.

Only the part of YAML that such files need is read, strictly, by this file alone (YAML in full can build objects
and expand without bound): top-level ``key: value`` lines, ``#`` comments, plain and quoted scalars, lists
``[a, b]`` or ``- a`` lines, mappings ``{0: a}`` or indented ``0: a`` lines. Keys other than ``KEYS``, such as
``download`` or ``roboflow``, are ignored with all that is indented below them. Anything else is refused with its line.
"""
from __future__ import annotations

import collections
import os
import re
from collections.abc import Sequence
from typing import Any

from yolov3_tf.data import image_formats
from yolov3_tf.data.readers import class_files, darknet, faults
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

SPLITS = 'train', 'val', 'test'
KEYS = ('path', *SPLITS, 'names', 'nc')
LARGEST_FILE = 1 << 20      # bytes
_KEY = re.compile(r'''([A-Za-z_][\w-]*|\d{1,9}|'[^']*'|"[^"]*")\s*:(?:\s+(.*))?$''')
_QUOTED = re.compile(r"""'((?:[^']|'')*)'|"([^"\\]*)\"""")
_SPECIAL = '&*!|>%@`?'      # open what this reader does not know: anchors, tags, blocks ...


def read(path: str, split: str, classes: Sequence[str] | None = None, strict: bool = False) -> Dataset:
    """Reads one split of a data.yaml.

    ``path`` in the file is relative to the file's folder; train, val and test are folders (searched to any
    depth), lists of images (.txt), or several of them, relative to ``path``. A leading ``../`` that leads
    nowhere is ignored, because exports of Roboflow have one too many.

    Args:
      path: the yaml file.
      split: 'train', 'val' or 'test'.
      classes: names in order, or None for the file's own (``class_files.renumber``).
      strict: stop at the first fault instead of repairing or dropping.

    Raises:
      InputError: the file cannot be used (with its line), it has no such split, or ``darknet.read`` would.
    """
    values = parse(path)
    names = _names(path, values)
    if split not in SPLITS or not values.get(split, (0, None))[1]:
        there = ', '.join(name for name in SPLITS if values.get(name, (0, None))[1]) or 'none'
        raise InputError(f'{path}: no split {split!r}; there are: {there}')
    line, sources = values[split]
    problems, images, seen = faults.Problems(strict), {}, set()
    for source in sources if isinstance(sources, list) else [sources]:
        for name, image in _images(f'{path}:{line}', _locate(path, values, line, source), problems).items():
            if image in seen:
                problems.add(f'{path}:{line}: {image} is listed already', 'used once')
            else:
                images[name if name not in images else image] = image
            seen.add(image)
    if not images:
        raise InputError(f'{path}:{line}: no images in {split}: {sources}'
                         + (f'; the first problem: {problems.messages[0]}' if problems.messages else ''))
    return darknet.read_images(images, names, classes, problems, path)


def has_split(path: str, split: str, other: str) -> bool:
    """Whether a data.yaml has a split that is not the ``other``, and whose folder or list is there.

    Exports often name parts that they do not have, and small sets validate on what they train on.
    """
    try:
        values = parse(path)
        if values.get(split, (0, None))[1] == values.get(other, (0, None))[1]:
            return False
        line, sources = values.get(split, (0, None))
        for source in sources if isinstance(sources, list) else [sources]:
            _locate(path, values, line, source)
    except InputError:
        return False
    return True


def parse(path: str) -> dict:
    """The keys of a data.yaml that are read: {key: (line, text, list of texts or {number: text})}.

    Raises:
      InputError: something beyond the subset, a key twice, or a value of the wrong kind; with the line.
    """
    try:
        size = os.path.getsize(path)
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: cannot be read ({error}): expected a data.yaml') from None
    if size > LARGEST_FILE:
        raise InputError(f'{path}: {size} bytes; expected at most {LARGEST_FILE}')
    values: dict[str, tuple[int, Any]] = {}
    below: tuple[str, int, list[tuple[str, str]]] | None = None     # key, its line, the indented lines so far
    for number, line in _raw_lines(path):
        where = f'{path}:{number}'
        if line[0] in ' \t-' and below is not None:
            below[2].append((where, line))
            continue
        _check_letters(where, line)
        _close(values, below)
        match = _KEY.match(line)
        if not match:
            raise InputError(f'{where}: expected "key: value", got {line[:80]!r}')
        key, text = match.group(1).strip('\'"'), match.group(2) or ''
        if key in values:
            raise InputError(f'{where}: the key {key!r} is there twice')
        if key in KEYS and text:
            values[key] = number, _value(where, text)
        below = (key, number, []) if not text or key not in KEYS else None
    _close(values, below)
    return values


def _raw_lines(path):
    """(line number, text) with indentation, without comments, blank lines and the document's marks."""
    with open(path, 'rb') as file:
        content = file.read(LARGEST_FILE + 1)
    for number, line in enumerate(content.splitlines(), 1):
        try:
            text = line.decode('utf-8-sig').rstrip()
        except UnicodeDecodeError:
            raise InputError(f'{path}:{number}: expected UTF-8 text, got the bytes {line[:40]!r}') from None
        text = _without_comment(text)
        if text and text not in ('---', '...'):
            yield number, text


def _without_comment(text):
    """Cuts at a # at the start or behind a blank, outside quotes."""
    for position, letter in _outside_quotes(text):
        if letter == '#' and (position == 0 or text[position - 1] == ' '):
            return text[:position].rstrip()
    return text


def _outside_quotes(text):
    """(position, letter) of what is not quoted; a quote opens where a value can begin."""
    quote, before = '', ''
    for position, letter in enumerate(text):
        if quote:
            quote = '' if letter == quote else quote
        elif letter in '\'"' and before in ('', *':,[{-'):
            quote = letter
        else:
            yield position, letter
        before = letter if letter != ' ' else before


def _check_letters(where, line):
    if not line.isprintable():
        raise InputError(f'{where}: tabs and control characters are not read here; indent with blanks')


def _close(values, below):
    """Takes the lines under a key as a list or a mapping; those under a key that is not read are ignored."""
    if below is None or below[0] not in KEYS:
        return
    key, number, lines = below
    if not lines:
        return
    for where, line in lines:
        _check_letters(where, line)
    if len({len(line) - len(line.lstrip(' ')) for _, line in lines}) > 1:
        raise InputError(f'{lines[0][0]}: the lines under {key!r} are indented differently')
    stripped = [(where, line.strip()) for where, line in lines]
    if all(re.match(r'-(\s|$)', line) for _, line in stripped):
        values[key] = number, [_scalar(where, line[1:].strip()) for where, line in stripped]
        return
    pairs = []
    for where, line in stripped:
        match = _KEY.match(line)
        if not match:
            raise InputError(f'{where}: expected "- value" or "number: value", got {line[:80]!r}')
        pairs.append((where, match.group(1), _scalar(where, match.group(2) or '')))
    values[key] = number, _mapping(pairs)


def _value(where, text):
    """A scalar, [list] or {mapping} on one line."""
    if text[0] == '[' and text[-1] == ']':
        return [_scalar(where, part) for part in _parts(where, text[1:-1])]
    if text[0] == '{' and text[-1] == '}':
        matches = []
        for part in _parts(where, text[1:-1]):
            match = re.match(r'(\S+?)\s*:\s*(.+)$', part)
            if not match:
                raise InputError(f'{where}: expected "number: value", got {part[:80]!r}')
            matches.append(match)
        return _mapping([(where, match.group(1), _scalar(where, match.group(2))) for match in matches])
    return _scalar(where, text)


def _parts(where, text):
    """The parts between commas that are outside quotes; one comma may end them."""
    cuts = [-1]
    for position, letter in _outside_quotes(text):
        if letter in '[]{}':
            raise InputError(f'{where}: expected values separated by commas, got {text[position:position + 80]!r}')
        if letter == ',':
            cuts.append(position)
    parts = [text[near + 1:far].strip() for near, far in zip(cuts, [*cuts[1:], len(text)])]
    return parts if parts[-1] else parts[:-1]


def _scalar(where, text):
    """Plain or quoted text."""
    quoted = _QUOTED.fullmatch(text)
    if quoted:
        return quoted.group(1).replace("''", "'") if quoted.group(1) is not None else quoted.group(2)
    if not text or text[0] in _SPECIAL + '[]{},\'"#' or text.startswith('- ') or ': ' in text or text.endswith(':'):
        raise InputError(f'{where}: expected plain or quoted text, got {text[:80]!r}; anchors, tags, blocks and '
                         'nested values are not read here')
    return text


def _mapping(pairs):
    """{number: text} of (where, key, text)."""
    mapping = {}
    for where, key, text in pairs:
        if not (key.isdecimal() and key.isascii() and len(key) < 10):
            raise InputError(f'{where}: expected a class id, got {key[:40]!r}')
        if int(key) in mapping:
            raise InputError(f'{where}: the number {key} is there twice')
        mapping[int(key)] = text
    return mapping


def _names(path, values):
    """Class names, checked against nc."""
    if 'names' not in values:
        raise InputError(f'{path}: expected the key names with the class names')
    line, names = values['names']
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise InputError(f'{path}:{line}: expected names numbered from 0 to {len(names) - 1} without a gap')
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names or len(names) > class_files.MOST_CLASSES:
        raise InputError(f'{path}:{line}: expected names as a list or as "number: name"')
    name, count = collections.Counter(names).most_common(1)[0]
    if count > 1 or not all(name.strip() for name in names):
        raise InputError(f'{path}:{line}: class {name!r} is there twice, or a name is empty')
    if 'nc' in values and values['nc'][1] != str(len(names)):
        raise InputError(f'{path}:{values["nc"][0]}: nc is {values["nc"][1]}, but there are {len(names)} names')
    return names


def _locate(path, values, line, source):
    """The folder or list that a split names."""
    root = values.get('path', (0, ''))[1]
    for key, text in (('path', root), ('the split', source)):
        if not isinstance(text, str):
            raise InputError(f'{path}:{line}: expected {key} as the path of a folder or list, got {str(text)[:80]}')
    folder = os.path.join(os.path.dirname(path), root)
    candidates = [os.path.join(folder, source)]
    if source.startswith('../'):
        candidates.append(os.path.join(folder, source[3:]))
    found = next((candidate for candidate in candidates if os.path.exists(candidate)), None)
    if found is None:
        raise InputError(f'{path}:{line}: no folder or list {candidates[0]}')
    return os.path.normpath(found)


def _images(where, source, problems):
    """{name: path} of the images below a folder, in order, or on a list."""
    if not os.path.isdir(source):
        if not source.endswith('.txt'):
            raise InputError(f'{where}: expected a folder or a .txt list of images, got {source}')
        return darknet.listed(source, problems)
    found = [os.path.join(folder, name) for folder, _, names in os.walk(source) for name in names
             if os.path.splitext(name)[1].lower() in image_formats.ENDINGS]
    images = {os.path.relpath(image, source): image for image in sorted(found)}
    for name in [name for name in images if not class_files.is_text(name)]:
        problems.add(f'{where}: image {name!r}: its name is not UTF-8, so rename it', 'image dropped')
        del images[name]
    return images
