"""The files of a folder that is to be recognised, and how they fall into train, val and test."""
from __future__ import annotations

import collections
import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from yolov3_tf import printable, regular_file
from yolov3_tf.data.readers import image_lookup
from yolov3_tf.errors import InputError

HEAD, TAIL = 1 << 18, 1 << 13       # bytes of a file that are looked at
SAMPLE = 20                         # files of a kind that are looked at


class Proposal(NamedTuple):
    """One reading of a folder: words for people, dataset specs of the training part, and the held-out part or None."""
    words: str
    train: str
    val: str | None


class Files:
    """All files below a folder, as paths relative to it; hidden ones are left out.

    Attributes:
      root: the folder.
      paths: the files, folder by folder.
      images: those that are images by their ending.
    """

    def __init__(self, root: str):
        if not os.path.isdir(root):
            raise InputError(f'{root}: no such folder')
        self.root = root
        self.paths = [os.path.normpath(os.path.join(os.path.relpath(here, root), name))
                      for here, names in image_lookup.walk(root) for name in names]
        self.paths = [path for path in self.paths if printable.is_text(path)]
        self.images = [path for path in self.paths if image_lookup.is_image(path)]
        self.by_name: dict[str, list[str]] = {}     # name of an image -> its paths
        for path in self.images:
            self.by_name.setdefault(os.path.basename(path), []).append(path)

    def ending(self, *endings: str) -> list[str]:
        """The files with one of these endings, in any case."""
        return [path for path in self.paths if path.lower().endswith(endings)]

    def at(self, relative: str) -> str:
        """The path to write for one relative to the folder."""
        return os.path.normpath(os.path.join(self.root, relative))

    def head(self, relative: str, tail: bool = False) -> str:
        """The first characters of a file, and with ``tail`` its last; '' where it cannot be read."""
        try:
            with open(self.at(relative), 'rb', opener=regular_file.opener) as file:
                content = file.read(HEAD)
                if tail:
                    file.seek(max(len(content), os.path.getsize(self.at(relative)) - TAIL))
                    content += b'\n' + file.read(TAIL)
        except OSError:
            return ''
        if content[:2] in (b'\xff\xfe', b'\xfe\xff'):
            return content.decode('utf-16', 'replace')
        return content.decode('utf-8-sig', 'replace')

    def lines(self, relative: str, count: int = SAMPLE) -> list[str]:
        """The first lines of a text file that are not blank, stripped."""
        lines = (line.strip() for line in self.head(relative).splitlines())
        return [line for line, _ in zip(filter(None, lines), range(count))]

    def spec_of_file(self, name: str, relative: str) -> str:
        """The spec of a file in a format, with the folder of the images where they are not below the file's own."""
        below = os.path.dirname(relative)
        apart = not any(within(image, below) for image in self.images)
        return spec_of(name, self.at(relative), self.at(common(self.images)) if apart else None)

    def has_image(self, written: str) -> bool:
        """Whether an image that a list names is in the folder, perhaps elsewhere than the list says."""
        return image_lookup.base_name(written) in self.by_name

    def proposals(self, words: str, annotations: Sequence[str], form: Callable[[str, str | None], str]
                  ) -> list[Proposal]:
        """One proposal for annotation files that lie beside their images or in a folder beside theirs.

        Args:
          annotations: relative paths, at least one.
          form: (folder of the annotations, folder of the images or None where they are below it) -> dataset spec.
        """
        groups, images = by_split(annotations), by_split(self.images)
        train = 'train' if 'train' in groups else ''
        held = next((name for name in ('val', 'test') if name in groups), None)
        if train in groups and held and not ('' in groups and train):
            pair = [self._folders(name, groups, images) for name in (train, held)]
            if all(pair):
                return [Proposal(f'{words}, {parts_words(held)}', *(form(*both) for both in pair if both))]
        if train == 'train' and len(groups) == 1:
            whole = self._folders(train, groups, images)
            if whole:
                return [Proposal(f'{words}, {parts_words(None)}', form(*whole), None)]
        return [Proposal(f'{words}, {parts_words(None)}', form(self.at(''), None), None)]

    def _folders(self, split, groups, images):
        """(folder of the annotations of a part, that of its images or None), which hold no other part; else None."""
        others = [path for name in groups for path in groups[name] if name != split]
        images_others = [path for name in images for path in images[name] if name != split]
        own = images.get(split, [])
        both = common([*groups[split], *own])
        if own and not any(within(path, both) for path in [*others, *images_others]):
            return self.at(both), None
        annotations = common(groups[split])
        folder = common(own or self.images)
        if any(within(path, annotations) for path in others):
            return None
        return self.at(annotations), (None if within(folder, annotations) else self.at(folder))


def spec_of(name: str, path: str, images: str | None) -> str:
    """The dataset spec of a file or folder, with the folder of its images if they are elsewhere."""
    return f'{name}:{path}' + (f':{images}' if images else '')


def json_with(files: Files, wanted: Callable[[str], bool]) -> list[str]:
    """JSON files with wanted contents; of a folder with very many, the first ones stand for all."""
    folders = collections.defaultdict(list)
    for path in files.ending('.json'):
        folders[os.path.dirname(path)].append(path)
    found = []
    for paths in folders.values():
        sample = [path for path in paths[:10 * SAMPLE] if wanted(files.head(path, tail=True))]
        found += paths if len(sample) >= 5 * SAMPLE else sample
    return found


def parts_words(held: str | None) -> str:
    """Words for the parts of a dataset whose held-out part has this name."""
    return f'parts train and {held}' if held else 'without a validation part'


def by_split(paths: Iterable[str], with_file: bool = False) -> dict[str, list[str]]:
    """{'train', 'val', 'test' or '': paths}, by the names of their folders; ``with_file``: of the file too."""
    groups: dict[str, list[str]] = {}
    for path in paths:
        parts = path.split(os.sep)
        if with_file:
            parts[-1] = os.path.splitext(parts[-1])[0]
        groups.setdefault(image_lookup.split_of(parts if with_file else parts[:-1]), []).append(path)
    return groups


def common(paths: Sequence[str]) -> str:
    """The deepest folder that holds all these files; '' for the root."""
    return os.path.commonpath([os.path.dirname(path) or '.' for path in paths]) if all(
        os.path.dirname(path) for path in paths) else ''


def within(path: str, folder: str) -> bool:
    """Whether a relative path lies in a folder, or is it; '' is the root."""
    return not folder or path == folder or path.startswith(folder + os.sep)


def pairs(files: Sequence[str], words: str, form: Callable[[str], str]) -> list[Proposal]:
    """Proposals for files that each describe one part: lists, tables, COCO JSON.

    The parts are told by the names of folders and files. Of several files for one part, each gives a proposal.

    Args:
      form: relative path -> dataset spec.
    """
    groups = by_split(files, with_file=True)
    train = groups.get('train') or groups.get('') or files
    held = next((name for name in ('val', 'test') if len(groups.get(name, ())) == 1 and train is not files), None)
    val = form(groups[held][0]) if held else None
    return [Proposal(f'{words}, {parts_words(held)}', form(path), val) for path in train]


def is_image_path(line: str) -> bool:
    """Whether a line of text is the path of an image and nothing else."""
    return image_lookup.is_image(line) and not re.search(r'[{}<>"]', line)
