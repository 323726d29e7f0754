"""YOLO's data.yaml: folders or lists of images for train, val and test, class names, and annotations as darknet's.

Only the part of YAML that such files need is read, strictly, by this file alone (YAML in full can build objects
and expand without bound): top-level ``key: value`` lines, ``#`` comments, plain and quoted scalars, lists
``[a, b]`` (over several lines too) or ``- a`` lines, mappings ``{0: a}`` or indented ``0: a`` lines. Keys other than
``KEYS``, such as ``download`` or ``roboflow``, are ignored with all that is indented below them. Anything else is
refused with its line. A backslash in double quotes stays one, as Windows' paths need it, except before a backslash, a
quote, or the number of a letter, as YAML's writers put it (``"caf\xE9"``).
"""
from __future__ import annotations

import collections
import os
import re
from collections.abc import Sequence
from typing import Any

from yolov3_tf import printable, regular_file
from yolov3_tf.data import image_formats
from yolov3_tf.data.readers import class_files, darknet, faults, paths, texts
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset

SPLITS = 'train', 'val', 'test'
ALIASES = {'valid': 'val', 'validation': 'val'}         # Roboflow's folder and some writers' key
KEYS = ('path', *SPLITS, *ALIASES, 'names', 'nc', 'kpt_shape')
LARGEST_FILE = 1 << 20      # bytes
_KEY = re.compile(r"""([A-Za-z_][\w-]*|\d{1,9}|'[^']*'|"[^"]*")\s*:(?:\s+(.*))?$""")
_QUOTED = re.compile(r"""'((?:[^']|'')*)'|"((?:[^"\\]|\\.)*)\"""")
_ESCAPED = re.compile(r'\\(?:(["\\/])|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8}))')
_SPECIAL = '&*!|>%@`?'      # open what this reader does not know: anchors, tags, blocks ...
_CLOSING = {'[': ']', '{': '}'}


def read(path: str, split: str, classes: Sequence[str] | None = None, strict: bool = False) -> Dataset:
    """Reads one split of a data.yaml.

    ``path`` in the file is relative to the file's folder; train, val and test are folders (searched to any
    depth), lists of images (.txt), or several of them, relative to ``path``. What leads nowhere is repaired by
    ``paths``: exports of Roboflow have a ``../`` too many, others the folders of the machine that wrote them.

    Args:
      path: the yaml file.
      split: 'train', 'val' (in the file also ``valid``) or 'test'.
      classes: names in order, or None for the file's own (``class_files.renumber``).
      strict: stop at the first fault instead of repairing or dropping.

    Raises:
      InputError: the file cannot be used (with its line), it has no such split, or ``darknet.read`` would.
    """
    values = parse(path)
    names = _names(path, values)
    split = ALIASES.get(split, split)
    if split not in SPLITS or not values.get(split, (0, None))[1]:
        there = ', '.join(name for name in SPLITS if values.get(name, (0, None))[1]) or 'none'
        raise InputError(f'{path}: no split {split!r}; there are: {there}')
    line, sources = values[split]
    problems = faults.Problems(strict)
    images: dict[str, str] = {}
    seen: set[str] = set()
    for source in sources if isinstance(sources, list) else [sources]:
        for name, image in _images(f'{path}:{line}', _locate(path, values, split, source, problems), problems).items():
            if image in seen:
                problems.add(f'{path}:{line}: {image} is listed already', 'used once')
            else:
                images[name if name not in images else image] = image
            seen.add(image)
    if not images:
        raise InputError(f'{path}:{line}: no images in {split}: {sources}' + ''.join(
            f'; {reason}' for reason in [*problems.notes[-1:], *problems.messages[:1]]))
    return darknet.read_images(images, names, classes, problems, path, keypoints='kpt_shape' in values)


def has_split(path: str, split: str, other: str) -> bool:
    """Whether a data.yaml has a split that is not the ``other``, and whose folder or list is there.

    Exports often name parts that they do not have, and small sets validate on what they train on.
    """
    try:
        values = parse(path)
        if values.get(split, (0, None))[1] == values.get(other, (0, None))[1]:
            return False
        _, sources = values.get(split, (0, None))
        for source in sources if isinstance(sources, list) else [sources]:
            _locate(path, values, split, source, faults.Problems())
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
    for number, line in _joined_lines(path):
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
    for written, meant in ALIASES.items():
        if values.get(written, (0, None))[1] and not values.get(meant, (0, None))[1]:
            values[meant] = values[written]
    return values


def _joined_lines(path):
    """As ``_raw_lines``, but a list or mapping in brackets that goes on in further lines is one line, its first."""
    parts: list[str] = []
    first = depth = 0
    for number, line in _raw_lines(path):
        match = None if parts else _KEY.match(line)
        if not parts and not (match and match.group(1) in KEYS and (match.group(2) or ' ')[0] in _CLOSING):
            yield number, line
            continue
        first = first if parts else number
        parts.append(line.strip())
        text = match.group(2) if match else line
        depth += sum((letter in '[{') - (letter in ']}') for _, letter in _outside_quotes(text))
        if depth <= 0:
            yield first, ' '.join(parts)
            parts, depth = [], 0
    if parts:
        yield first, ' '.join(parts)


def _raw_lines(path):
    """(line number, text) with indentation, without comments, blank lines and the document's marks."""
    try:
        with open(path, 'rb', opener=regular_file.opener) as file:
            content = file.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from None
    try:
        lines = texts.lines(content)
    except texts.UnknownCoding as error:
        raise InputError(f'{path}:{error.line}: {error}') from None
    for number, line in enumerate(lines, 1):
        text = _without_comment(line.rstrip())
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
    stripped = [(where, line.strip()) for where, line in lines]
    if stripped[0][1][0] in _CLOSING:
        values[key] = number, _value(stripped[0][0], ' '.join(line for _, line in stripped))
        return
    if len({len(line) - len(line.lstrip(' ')) for _, line in lines}) > 1:
        raise InputError(f'{lines[0][0]}: the lines under {key!r} are indented differently')
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
        return quoted.group(1).replace("''", "'") if quoted.group(1) is not None else _unescaped(quoted.group(2))
    if not text or text[0] in _SPECIAL + '[]{},\'"#' or text.startswith('- ') or ': ' in text or text.endswith(':'):
        raise InputError(f'{where}: expected plain or quoted text, got {text[:80]!r}; anchors, tags, blocks and '
                         'nested values are not read here')
    return text


def _unescaped(text):
    def letter(match):
        kept, *numbers = match.groups()
        number = int(next(filter(None, numbers), '0'), 16)
        return kept or (chr(number) if number < 0x110000 else match.group())
    return _ESCAPED.sub(letter, text)


def _mapping(pairs):
    """{number: text} of (where, key, text)."""
    mapping = {}
    for where, written, text in pairs:
        key = written.strip('\'"')
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
    names = [printable.clean_name(name) for name in names]
    name, count = collections.Counter(names).most_common(1)[0]
    if count > 1 or not all(names):
        raise InputError(f'{path}:{line}: class {name!r} is there twice, or a name is empty')
    if 'nc' in values and values['nc'][1] != str(len(names)):
        raise InputError(f'{path}:{values["nc"][0]}: nc is {values["nc"][1]}, but there are {len(names)} names')
    return names


def _locate(path, values, split, source, problems):
    """The folder or list that a source of a split names."""
    line = values.get(split, (0, None))[0]
    root = values.get('path', (0, ''))[1]
    for key, text in (('path', root), ('the split', source)):
        if not isinstance(text, str):
            raise InputError(f'{path}:{line}: expected {key} as the path of a folder or list, got {str(text)[:80]}')
    found, notes = _find(path, root, source)
    if found is None:
        raise InputError(f'{path}:{line}: no folder or list {os.path.join(os.path.dirname(path), root, source)}')
    for other in SPLITS if notes else ():
        several = values.get(other, (0, None))[1]
        for text in several if isinstance(several, list) else [several]:
            if other != split and isinstance(text, str) and text != source and _find(path, root, text)[0] == found:
                raise InputError(f'{path}:{line}: {split} ({source}) is not here, and both it and {other} ({text}) '
                                 f'would be read from {found}: correct the paths')
    problems.note(*notes)
    return found


def _find(path, root, source):
    """The folder or list that a source below ``root`` names, or None; and notes on what was repaired."""
    home = os.path.dirname(path)
    roots = paths.Finder(home, exists=os.path.isdir)
    folder = roots.find(root) if root else home
    notes = [*roots.notes(path), *([] if folder is not None else [
        f'{path}: path {root[:200]!r} is not here: the splits are looked for beside the file'])]
    for start in dict.fromkeys([home if folder is None else folder, home]):
        finder = paths.Finder(start, exists=os.path.exists)
        found = finder.find(source)
        if found is not None:
            return os.path.normpath(found), notes + finder.notes(path)
    return None, notes


def _images(where, source, problems):
    """{name: path} of the images below a folder, in order, or on a list."""
    if not os.path.isdir(source):
        if not source.endswith('.txt'):
            raise InputError(f'{where}: expected a folder or a .txt list of images, got {source}')
        return darknet.listed(source, problems)
    files = [os.path.join(folder, name) for folder, _, names in os.walk(source) for name in names]
    found = [file for file in files if os.path.splitext(file)[1].lower() in image_formats.ENDINGS]
    if others := image_formats.not_read(files):
        problems.note(f'{where}: {source}: {others}')
    images = {os.path.relpath(image, source): image for image in sorted(found)}
    for name in [name for name in images if not printable.is_text(name)]:
        problems.add(f'{where}: image {name!r}: its name is not UTF-8, so rename it', 'image dropped')
        del images[name]
    return images
