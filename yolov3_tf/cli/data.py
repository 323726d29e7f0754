"""Fetches published data sets and weights by name, and unpacks them.

  yolov3-tf data                        lists the names, sizes and licences
  yolov3-tf data voc                    VOCdevkit/ in the current folder
  yolov3-tf data bccd --output=DIR      DIR/BCCD
  yolov3-tf data darknet53 yolov3       weights/darknet53.conv.74 and so on

Several addresses are tried in order. A transfer that was cut goes on when the same command is typed again. Sizes and
published checksums are checked. What is there is not fetched again.
"""
from __future__ import annotations

import os
import sys

from absl import flags

from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.fetch import archives, transfer
from yolov3_tf.fetch.published import ITEMS, WEIGHTS
from yolov3_tf.models.darknet import weights_file

ARGUMENTS = 'NAME ...'
ANSWERS = {'download': 'it is not needed here: the command itself fetches', 'data': 'give the name without a flag'}


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    flags.DEFINE_string('output', None, 'Folder to fetch to. Default: the current one for data sets, weights/ for '
                        'weights, where training looks for them.', flag_values=values)
    flags.DEFINE_boolean('keep_archives', False, 'Keep the archives beside what was unpacked from them. By default '
                         'they are removed.', flag_values=values)


def run(arguments, options) -> int:
    """Fetches what the arguments name, or lists the names; returns the exit status."""
    if not arguments:
        print('\n'.join(listing()))
        return 0
    chosen = [choose(ITEMS, name, 'name of published data') for name in dict.fromkeys(arguments)]
    try:
        for item in chosen:
            if item.file:
                fetch_weights(item, options.output or WEIGHTS)
            else:
                fetch_set(item, options.output or '.', options.keep_archives)
    except KeyboardInterrupt:
        print('\nstopped; the same command goes on from here', file=sys.stderr)
        return 130
    return 0


def listing() -> list[str]:
    """The lines of ``yolov3-tf data``."""
    wide = max(map(len, ITEMS))
    lines = ['usage: yolov3-tf data NAME ... [--output=DIR]', '']
    for name, item in ITEMS.items():
        lines += [f'  {name:{wide}}  {transfer.megabytes(item.size):>7}  {item.what}',
                  f'  {"":{wide}}           {item.terms}']
    return lines


def fetch_weights(item, folder):
    """Fetches one file of weights, unless it is there, and says how it is used."""
    path = os.path.join(folder, item.file.name)
    there = os.path.exists(path)
    transfer.fetch(item.file, path, weights_file.verify)
    _conclude([f'{path}: {"was there already, " if there else ""}{_checked(item.file)}'], item, folder)


def fetch_set(item, folder, keep):
    """Fetches and unpacks the archives of a data set whose content is not there yet."""
    missing = [archive for archive in item.archives if not archive.is_there(folder)]
    if missing:
        needed = sum(archive.unpacked for archive in missing) + _archive_space(missing, folder, keep)
        transfer.check_space(folder, needed, f'{len(missing)} archives and what is in them')
    lines = []
    for archive in item.archives:
        path = os.path.join(folder, archive.file.name)
        if archive not in missing:
            lines.append(f'{archive.file.name}: its content is there already')
            continue
        brought = os.path.exists(path)
        transfer.fetch(archive.file, path)
        count = archives.unpack(path, os.path.join(folder, archive.into), archive.unpacked, archive.within,
                                archive.only)
        if not archive.is_there(folder):
            raise InputError(f'{path}: unpacked {count} files, but the set is not complete: it is another one than '
                             'expected')
        if not (keep or brought):
            os.remove(path)
        lines.append(f'{archive.file.name}: {_checked(archive.file)}, {count:,} files unpacked')
    _conclude(lines, item, folder)


def _archive_space(missing, folder, keep):
    """Bytes that archives take on the disk, beyond what is there of them: of one at a time unless they are kept."""
    sizes = []
    for archive in missing:
        path = os.path.join(folder, archive.file.name)
        there = max((os.path.getsize(one) for one in (path, f'{path}.part') if os.path.exists(one)), default=0)
        sizes.append(archive.file.size - there)
    return sum(sizes) if keep else max(sizes)


def _checked(file):
    kind = 'SHA-256' if file.sha256 else 'MD5' if file.md5 else ''
    return f'{file.size:,} bytes, {f"{kind} as published" if kind else "no checksum is published"}'


def _conclude(lines, item, folder):
    where = '' if folder == '.' else os.path.join(folder, '')
    print('\n'.join([*lines, f'terms: {item.terms}', 'go on with:',
                     *(f'  {line.format(where)}' for line in item.use)]))
