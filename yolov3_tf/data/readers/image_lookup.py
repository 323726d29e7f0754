"""The image that an annotation belongs to, found by name among the files below a folder.

Annotation tools name images by a path of the machine they ran on, by the bare name, by the stem alone, or not at
all, and put them beside the annotations or into a folder beside theirs. Here one rule serves all readers that have no
list of images of their own.
"""
from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from yolov3_tf import printable
from yolov3_tf.data import image_formats

# Names of folders that say what is in them and nothing else, in lower case. Two files belong together where the rest of
# their paths is the same: images/train/a.jpg and Annotations/train/a.xml.
IMAGE_FOLDERS = ('images', 'image', 'jpegimages', 'imgs', 'img', 'photos', 'pics', 'pictures', 'frames',
                 'image_2', 'image_02')
ANNOTATION_FOLDERS = ('annotations', 'annotation', 'labels', 'label', 'anns', 'ann', 'xmls', 'xml', 'json', 'jsons',
                      'txt', 'labelme', 'bboxes', 'boxes', 'label_2', 'label_02')
SPLIT_WORDS = {'train': 'train', 'training': 'train', 'trainval': 'train', 'val': 'val', 'valid': 'val',
               'validation': 'val', 'dev': 'val', 'eval': 'val', 'test': 'test', 'testing': 'test'}
_KINDS = frozenset(IMAGE_FOLDERS + ANNOTATION_FOLDERS)
IGNORED = frozenset(('__MACOSX', '__pycache__', 'runs', 'node_modules'))        # no data in there; runs/ has copies


def walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    """(folder, names of its files, sorted) of a folder and all below it; hidden ones and ``IGNORED`` are left out.

    Links to folders are followed, each folder once: data are often a link to a larger disk.
    """
    seen = set()
    for here, inside, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            inside[:] = []
            continue
        seen.add(real)
        inside[:] = sorted(name for name in inside if name[0] != '.' and name not in IGNORED)
        yield here, sorted(name for name in names if name[0] != '.')


def is_image(name: str, endings: tuple[str, ...] = image_formats.ENDINGS) -> bool:
    """Whether a file has the ending of an image that is read, in any case."""
    return os.path.splitext(name)[1].lower() in endings


class Images:
    """The images below some folders, by their names.

    Attributes:
      paths: all of them, in order.
      unused: those that ``find`` has not given out yet.
    """

    def __init__(self, *folders: str):
        self.paths: list[str] = []
        self._of: dict[str, list[str]] = {}         # stem and name, as written and in lower case -> paths
        self._part: dict[str, tuple[str, ...]] = {}      # folder -> its path without the names of kinds
        for folder in dict.fromkeys(map(os.path.normpath, folders)):
            for here, names in walk(folder):
                self._part[here] = _part(os.path.relpath(here, folder))
                self._take(here, names)
        self.unused = dict.fromkeys(self.paths)

    def _take(self, here, names):
        for name in names:
            path = os.path.join(here, name)
            if not is_image(name) or not printable.is_text(path):
                continue
            self.paths.append(path)
            stem = os.path.splitext(name)[0]
            for key in dict.fromkeys((stem, stem.lower(), name, name.lower())):
                self._of.setdefault(key, []).append(path)

    def find(self, annotation: str, folder: str, *names: str) -> tuple[str | None, str]:
        """The image of an annotation file.

        Tried in order: an image of the annotation's stem beside it, the one elsewhere that fits best, then the same
        for each of ``names``.

        Args:
          annotation: path of the annotation file.
          folder: that the annotation file was searched below.
          names: other names of the image, such as <filename> of VOC; only their last part counts, and '' does not.

        Returns:
          The path, or None and why there is none.
        """
        here, file = os.path.split(annotation)
        stem = os.path.splitext(file)[0]
        part = _part(os.path.relpath(here, folder))
        for name in (stem, *(base_name(name) for name in names)):
            found = self.named(name, here, part)
            if len(found) == 1:
                self.unused.pop(found[0], None)
                return found[0], ''
            if found:
                return None, f'several images may belong to it: {", ".join(found[:3])}'
        return None, f'no image {" or ".join(dict.fromkeys(filter(None, (stem, *map(base_name, names)))))} in its ' \
                     f'folder or below {folder} (endings {", ".join(image_formats.ENDINGS)})'

    def named(self, name: str, here: str = '', part: tuple[str, ...] = ()) -> list[str]:
        """The images that fit a stem or name best; several only where nothing sets them apart.

        Args:
          name: stem, or name with its ending, without folders.
          here: folder preferred before all others.
          part: path of the annotation without the names of kinds, preferred next.
        """
        stem = os.path.splitext(name)[0] if is_image(name) else name
        candidates = next((self._of[key] for key in (name, stem, name.lower(), stem.lower()) if key in self._of), [])
        if len(candidates) > 1:
            beside = [path for path in candidates if os.path.dirname(path) == os.path.normpath(here)]
            alike = [path for path in candidates if self._part[os.path.dirname(path)] == part]
            candidates = beside or alike or candidates
        folders = {os.path.dirname(path) for path in candidates}
        if len(candidates) > 1 and len(folders) == 1:       # one stem with several endings: the preferred one
            candidates = [min(candidates, key=_preference)]
        return candidates

    def at(self, base: str, written: str) -> tuple[str | None, bool]:
        """The image that a list or table names.

        Args:
          base: the folder that its paths are relative to.
          written: the path as written, perhaps of another machine or system.

        Returns:
          The path, or None; and whether it lies elsewhere than written.
        """
        plain = written.replace('\\', '/')
        for path in (os.path.join(base, written), os.path.join(base, plain), written):
            if '\0' not in path and os.path.isfile(path):
                self.unused.pop(os.path.normpath(path), None)
                return path, False
        if '/' in plain and os.path.isdir(os.path.join(base, os.path.dirname(plain))):
            return None, False              # its folder is there, so the image is missing and not moved
        folders = tuple(part for part in plain.split('/')[:-1] if part not in ('', '.', '..'))
        found = [path for path in self.named(base_name(written), base, _part('/'.join(folders)))
                 if split_of(folders) in ('', split_of(path.split(os.sep)[:-1]))]
        if len(found) > 1:      # by the folders it was written with, the last one first
            found = _longest_tail(found, folders)
        if len(found) != 1:
            return None, False
        self.unused.pop(found[0], None)
        return found[0], True


def split_of(names: Sequence[str]) -> str:
    """The part of a dataset that names of folders or files speak of: 'train', 'val', 'test', or '' for none.

    The last name that speaks of one counts: ``train/valid_2017`` is 'val'.
    """
    for name in reversed(names):
        for word in reversed(re.findall('[a-z]+', name.lower())):
            if word in SPLIT_WORDS:
                return SPLIT_WORDS[word]
    return ''


def base_name(path: str) -> str:
    """The last part of a path of any system."""
    return re.split(r'[/\\]', path.strip())[-1]


def _part(relative):
    parts = os.path.normpath(relative).replace(os.sep, '/').split('/')
    return tuple(part.lower() for part in parts if part != '.' and part.lower() not in _KINDS)


def _preference(path):
    ending = os.path.splitext(path)[1]
    return image_formats.ENDINGS.index(ending.lower()), ending.isupper(), path


def _longest_tail(paths, folders):
    """Those of the paths whose folders agree longest with these, from the last one on."""
    def agreed(path):
        own = os.path.dirname(path).replace(os.sep, '/').split('/')
        alike = [mine == theirs for mine, theirs in zip(reversed(own), reversed(folders))]
        return [*alike, False].index(False)
    best = max(map(agreed, paths))
    return [path for path in paths if best and agreed(path) == best]
