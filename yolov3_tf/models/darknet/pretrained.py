"""The weights that darknet's author publishes: where they are searched for, and how they are fetched on request.

Nothing is fetched unless the user asks for it. A file is used only if its size is right; one that is fetched also needs
its published checksum, a valid header and finite values.
"""
from __future__ import annotations

import os
from collections.abc import Mapping

from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.fetch import transfer
from yolov3_tf.fetch.published import ITEMS, WEIGHTS
from yolov3_tf.fetch.transfer import RemoteFile
from yolov3_tf.models.darknet import weights_file

BACKBONE, WHOLE = 'darknet53.conv.74', 'yolov3.weights'
PUBLISHED = {item.file.name: item.file for item in ITEMS.values() if item.file}
# What a name means in a flag -> the file.
NAMED_BACKBONE, NAMED_WHOLE = {'imagenet': BACKBONE}, {'coco': WHOLE}


def locate_backbone(choice: str, download: bool = False, folder: str = WEIGHTS,
                    published: Mapping[str, RemoteFile] = PUBLISHED) -> str | None:
    """The file that ``--backbone_weights`` means.

    Args:
      choice: ``imagenet`` for darknet53.conv.74 in ``folder``, ``none``, or the path of a darknet file.
      download: fetch ``imagenet`` where it is missing.

    Returns:
      Path of the file; None for ``none``: start from random values.

    Raises:
      InputError: the file does not exist, or has another size than published; the message says what to do.
    """
    if choice == 'none':
        return None
    if choice not in NAMED_BACKBONE:
        if not os.path.isfile(choice):
            raise InputError(f'--backbone_weights={choice}: expected imagenet, none, or the path of a '
                             'darknet backbone file, got a path without a file')
        return choice
    return _located('backbone_weights', choice, NAMED_BACKBONE[choice], download, folder, published,
                    '; or start from random values: --backbone_weights=none')


def locate_whole(choice: str, download: bool = False, folder: str = WEIGHTS,
                 published: Mapping[str, RemoteFile] = PUBLISHED) -> str:
    """The file that ``--init_weights`` means: ``coco`` is yolov3.weights in ``folder``, anything else a path.

    Raises:
      InputError: see ``locate_backbone``; a path is not looked at.
    """
    if choice not in NAMED_WHOLE:
        return choice
    return _located('init_weights', choice, NAMED_WHOLE[choice], download, folder, published)


def fetch(kind: str, folder: str = WEIGHTS, published: Mapping[str, RemoteFile] = PUBLISHED) -> str:
    """Fetches ``kind`` (a name in ``published``) from its publishers into ``folder``, with a line of progress.

    Returns:
      Path of the file, complete and verified; an incomplete one never appears there.

    Raises:
      InputError: a file of that name and another size exists, no publisher can be reached, or what they sent is
        another file: another size or checksum, text, a wrong header, values that are not finite.
    """
    file = choose(published, kind, 'published weights')
    return transfer.fetch(file, os.path.join(folder, kind), weights_file.verify)


def _located(flag, choice, kind, download, folder, published, otherwise=''):
    """Path of published weights in ``folder``; fetched where they are missing and ``download`` says so."""
    path, file = os.path.join(folder, kind), published[kind]
    if not os.path.exists(path):
        if download:
            return fetch(kind, folder, published)
        raise InputError(
            f'--{flag}={choice}: expected {path} ({file.size:,} bytes), got no such file. Run the same '
            f'command with --download, or fetch it yourself: {transfer.by_hand(file.urls[0], path)}{otherwise}')
    transfer.check_size(path, os.path.getsize(path), file.size)
    return path
