"""The weights that darknet's author publishes: where they are searched for, and how they are fetched on request.

Nothing is fetched unless the user asks for it. A file is used only if its size, its header and every
value are valid.
"""
from __future__ import annotations

import http.client
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import NamedTuple

from yolov3_tf import atomic_file
from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.models.darknet import weights_file

BACKBONE = 'darknet53.conv.74'
TIMEOUT = 30.  # seconds without a byte
CHUNK = 1 << 20


class Published(NamedTuple):
    """Address of a file and its exact size in bytes."""
    url: str
    size: int


PUBLISHED = {
    BACKBONE: Published('https://pjreddie.com/media/files/darknet53.conv.74', 162_482_580),
    'yolov3.weights': Published('https://pjreddie.com/media/files/yolov3.weights', 248_007_048),
}


def locate_backbone(choice: str, download: bool = False, folder: str = 'weights',
                    published: Mapping[str, Published] = PUBLISHED) -> str | None:
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
    if choice != 'imagenet':
        if not os.path.isfile(choice):
            raise InputError(f'--backbone_weights={choice}: expected imagenet, none, or the path of a '
                             'darknet backbone file, got a path without a file')
        return choice
    path, (url, size) = os.path.join(folder, BACKBONE), published[BACKBONE]
    if not os.path.exists(path):
        if download:
            return fetch(BACKBONE, folder, published)
        raise InputError(
            f'--backbone_weights=imagenet: expected {path} ({size:,} bytes), got no such file. Run the same '
            f'command with --download, or fetch it yourself: {_by_hand(url, path)}; or start from random '
            'values: --backbone_weights=none')
    _check_size(path, os.path.getsize(path), size)
    return path


def fetch(kind: str, folder: str = 'weights', published: Mapping[str, Published] = PUBLISHED) -> str:
    """Fetches ``kind`` (a name in ``published``) from its publisher into ``folder``, with a line of progress.

    Returns:
      Path of the file, complete and verified; an incomplete one never appears there.

    Raises:
      InputError: a file of that name and another size exists, the publisher cannot be reached, or it sent
        another file: another size, text, a wrong header, values that are not finite.
    """
    url, size = choose(published, kind, 'published weights')
    path = os.path.join(folder, kind)
    if os.path.exists(path):
        _check_size(path, os.path.getsize(path), size)
        return path
    try:
        with atomic_file.writing(path) as file:
            _receive(url, size, file)
            file.flush()
            weights_file.verify(file.name)
    except InputError as error:
        raise InputError(f'{error}. To fetch it yourself: {_by_hand(url, path)}') from error
    return path


def _receive(url, size, file):
    """Copies what ``url`` sends to ``file``, never more than a byte beyond ``size``."""
    done = 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
            _check_response(url, response.headers, size)
            while done <= size:
                chunk = response.read(min(CHUNK, size + 1 - done))
                if not chunk:
                    break
                file.write(chunk)
                done += len(chunk)
                _show_progress(url, done, size)
    except urllib.error.HTTPError as error:
        with error:     # the error is the response, still open
            raise InputError(f'{url}: expected {size:,} bytes, got "{error}"') from error
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f'{url}: expected {size:,} bytes, got {done:,} and then: {error}') from error
    finally:
        if done:
            print(file=sys.stderr)
    _check_size(url, done, size)


def _check_response(url, headers, size):
    """Stops before a byte is fetched where the publisher announces something else."""
    if headers.get_content_type() == 'text/html':
        raise InputError(f'{url}: expected a darknet weights file, got a web page')
    if headers.get('Content-Length', '').isdigit():
        _check_size(url, int(headers['Content-Length']), size)


def _check_size(where, size, expected):
    if size != expected:
        raise InputError(f'{where}: expected {expected:,} bytes, got {size:,}: '
                         'cut off, or another file; remove it and fetch it again')


def _show_progress(url, done, size):
    """One line, rewritten on a terminal; in a log only its last state."""
    if sys.stderr.isatty() or done >= size:
        print(f'\r{url}  {done / 1e6:.0f} of {size / 1e6:.0f} MB', end='', file=sys.stderr, flush=True)


def _by_hand(url, path):
    return f'curl -L --create-dirs -o {path} {url}'
