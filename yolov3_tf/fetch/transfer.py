"""One file from its publishers: addresses in order, resumed where it was cut, verified before it has its name.

The bytes go to ``PATH.part``, which stays when a transfer is cut, so that the next one asks for the rest only. It gets
its name when its size, its checksum and, for weights, its content are right; what is wrong is removed.
"""
from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import BinaryIO, Callable, NamedTuple

from yolov3_tf import progress
from yolov3_tf.errors import InputError

TIMEOUT = 30.           # seconds without a byte
CHUNK = 1 << 20
AGAIN = 20              # most times that one address is asked for the rest; each time, it must have sent something
PAUSE = 1.              # seconds before that
SCREEN_SECONDS, LOG_SECONDS = .2, 30.       # a terminal's line is rewritten, a log gets one now and then
LEAST_KEPT = 1 << 16                        # bytes; a shorter part is no beginning of a file, but of some error message
LEAST_SPARE = 50_000_000                    # bytes that stay free on the disk
# Cloudflare, which stands before some publishers, refuses the name that Python's library gives itself.
HEADERS = {'User-Agent': 'yolov3-tf', 'Accept-Encoding': 'identity'}
PAGES = ('text/html', 'application/xhtml+xml')


class RemoteFile(NamedTuple):
    """A published file.

    Attributes:
      name: of the file.
      size: exact, in bytes.
      urls: its addresses, tried in order.
      sha256, md5: checksums that were published for it; None where nobody published one.
    """
    name: str
    size: int
    urls: tuple[str, ...]
    sha256: str | None = None
    md5: str | None = None


class WrongContent(InputError):
    """A whole file came, and it is another one: of no use, not even in part."""


class _Refused(InputError):
    """This address does not give the file, or no longer; what came before is of use."""


def fetch(file: RemoteFile, path: str, verify: Callable[[str], None] | None = None) -> str:
    """Fetches a file to ``path``, with a line of progress; a verified one that is there already is left alone.

    Args:
      verify: raises InputError for a file whose content is not what it should be.

    Returns:
      ``path``; an incomplete or wrong file never appears there.

    Raises:
      InputError: a file of that name with another size or checksum is there, no address sent the right one (the
        message has a reason for each), the disk is full, or another process fetches the same file.
    """
    if os.path.exists(path):
        check_size(path, os.path.getsize(path), file.size)
        check_sums(path, file)
        return path
    os.makedirs(os.path.dirname(path) or '.', exist_ok=True)
    check_space(os.path.dirname(path) or '.', file.size - _size(f'{path}.part'), file.name)
    with _part(path) as part:
        _from_any(file, part, path, verify)
        os.fsync(part.fileno())
        os.replace(part.name, path)
    return path


def check_size(where: str, size: int, expected: int) -> None:
    """Raises InputError for another size than the published one."""
    if size != expected:
        raise WrongContent(f'{where}: expected {expected:,} bytes, got {size:,}: '
                           'cut off, or another file; remove it and fetch it again')


def check_sums(path: str, file: RemoteFile) -> None:
    """Raises InputError for another SHA-256, or where none was published MD5, than the published one."""
    kind, expected = ('sha256', file.sha256) if file.sha256 else ('md5', file.md5)
    if not expected:
        return
    digest = hashlib.new(kind, usedforsecurity=False)
    with open(path, 'rb') as opened:
        for chunk in iter(lambda: opened.read(CHUNK), b''):
            digest.update(chunk)
    if digest.hexdigest() != expected.lower():
        raise WrongContent(f'{path}: expected {kind.upper()} {expected}, got {digest.hexdigest()}: '
                           'damaged, or another file; remove it and fetch it again')


def check_space(folder: str, size: int, what: str) -> None:
    """Raises InputError unless the disk of ``folder`` (or of the nearest one above it) has ``size`` bytes free."""
    there = os.path.abspath(folder)
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    free = shutil.disk_usage(there).free
    if size > 0 and free < size + LEAST_SPARE:
        raise InputError(f'{folder}: expected {megabytes(size)} free for {what}, got {megabytes(free)}: make room, or '
                         'choose another disk')


def by_hand(url: str, path: str) -> str:
    """The command that fetches the file without this program."""
    return f'curl -L --create-dirs -o {path} {url}'


def megabytes(size: float) -> str:
    """A size in MB, from a thousand of them on in GB."""
    return f'{size / 1e6:.0f} MB' if size < 1e9 else f'{size / 1e9:.1f} GB'


def _from_any(file, part, path, verify):
    """Fills ``part`` from the first address that sends the right file."""
    reasons: list[str] = []
    for number, url in enumerate(file.urls):
        _drop_unless_of_use(file, part)
        reason = _from_one(file, url, part, verify)
        if reason is None:
            return
        reasons.append(reason)
        if number + 1 < len(file.urls):
            print(f'note: {reason}; the next address is {_host(file.urls[number + 1])}', file=sys.stderr)
    _drop_unless_of_use(file, part)
    kept = f'. {megabytes(_size(part.name))} are kept: the same command goes on from there' if _size(part.name) else ''
    raise InputError(f'{"; ".join(reasons)}{kept}. To fetch it yourself: {by_hand(file.urls[0], path)}')


def _drop_unless_of_use(file, part):
    if not LEAST_KEPT <= _size(part.name) <= file.size:
        part.truncate(0)


def _from_one(file, url, part, verify):
    """Fills ``part`` from one address and verifies it; returns why not, or None."""
    while True:
        mixed = _size(part.name) > 0    # its first bytes came from another address or on another day
        try:
            _receive_all(file, url, part)
            _verify(file, part, verify)
            return None
        except WrongContent as error:
            part.truncate(0)
            if not mixed:
                return str(error)       # else once more, from the start
        except _Refused as error:
            return str(error)


def _verify(file, part, verify):
    check_size(part.name, _size(part.name), file.size)
    check_sums(part.name, file)
    if verify:
        try:
            verify(part.name)
        except InputError as error:
            raise WrongContent(str(error)) from error


def _receive_all(file, url, part):
    """Receives what is missing from one address, again and again while each time brings some of it."""
    for _ in range(AGAIN):
        before = _size(part.name)
        if before == file.size:
            return
        try:
            return _receive(file, url, part)
        except _Refused:
            if _size(part.name) <= before:
                raise
            time.sleep(PAUSE)
    raise _Refused(f'{url}: expected {file.size:,} bytes, got {_size(part.name):,}: cut {AGAIN} times')


def _receive(file, url, part):
    """Appends the rest of the file to ``part``, never more than a byte beyond its size.

    Raises:
      _Refused: the publisher cannot be reached, announces something else, or stopped early.
      WrongContent: it sends more than the file.
      InputError: the disk is full.
    """
    kept = _size(part.name)
    asked = {**HEADERS, **({'Range': f'bytes={kept}-'} if kept else {})}
    done, line = kept, _Line(file, url)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=asked), timeout=TIMEOUT) as response:
            if kept and not _goes_on(response, kept, file.size):
                done = 0                        # the whole file comes; its beginning is here already
            _check_headers(url, response.headers, file.size - done)
            line.begin(done)
            part.seek(kept)
            while done <= file.size:
                chunk = response.read(min(CHUNK, file.size + 1 - done))
                if not chunk:
                    break
                if not done:
                    _check_start(url, chunk)
                _write(part, chunk[max(kept - done, 0):])
                done += len(chunk)
                line.show(done)
    except urllib.error.HTTPError as error:
        with error:     # the error is the response, still open
            raise _Refused(f'{url}: expected {file.size:,} bytes, got "{error}"') from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, 'reason', error)        # of a URLError, without its words
        raise _Refused(f'{url}: expected {file.size:,} bytes, got {done:,} and then: {reason}') from error
    finally:
        line.end(done)
    if done < file.size:
        raise _Refused(f'{url}: expected {file.size:,} bytes, got {done:,}: cut off')
    check_size(url, done, file.size)


def _goes_on(response, done, size):
    """Whether the response is the rest of a file of this size."""
    parts = response.headers.get('Content-Range', '').replace(' ', '')
    return response.status == 206 and parts in (f'bytes{done}-{size - 1}/{size}', f'bytes{done}-{size - 1}/*')


def _check_headers(url, headers, missing):
    """Stops before a byte is fetched where the publisher announces something else."""
    if headers.get_content_type() in PAGES:
        raise _Refused(f'{url}: expected a file, got a web page')
    length = headers.get('Content-Length', '')
    if length.isdigit() and int(length) != missing:
        raise _Refused(f'{url}: expected {missing:,} bytes, got {int(length):,}: another file')


def _check_start(url, chunk):
    """A page that is sent as something else begins as one; no file of ours begins with a tag."""
    start = chunk[:200].lstrip(b'\xef\xbb\xbf \t\r\n')
    if re.match(rb'<(!doctype|html|head|body|\?xml|script|!--)', start, re.IGNORECASE):
        text = start.split(b'\n')[0][:40].decode('utf-8', 'replace')
        raise _Refused(f'{url}: expected a file, got text that begins {text!r}: a web page')


def _write(part, chunk):
    try:
        while chunk:
            chunk = chunk[part.write(chunk):]
    except OSError as error:        # not the network's
        raise InputError(f'{part.name}: cannot be written: {error.strerror or error}; the same command goes on from '
                         'there') from error


@contextlib.contextmanager
def _part(path: str) -> Iterator[BinaryIO]:
    """``PATH.part``, for this process alone; an empty one is removed."""
    try:
        with open(f'{path}.part', 'ab') as opened:
            pass
        with open(f'{path}.part', 'r+b', buffering=0) as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f'{path}: another process fetches it: wait for its end') from None
            except OSError:         # a file system without locks
                pass
            if not os.path.exists(opened.name) or not os.path.samestat(os.fstat(opened.fileno()), os.stat(opened.name)):
                raise InputError(f'{path}: another process has just fetched it: type the command again')
            try:
                yield opened
            finally:
                if not _size(opened.name):
                    with contextlib.suppress(OSError):
                        os.remove(opened.name)
    except OSError as error:
        raise InputError(f'{path}: cannot be written: {error.strerror or error}') from error


def _size(path):
    return os.path.getsize(path) if os.path.exists(path) else 0


def _host(url):
    return urllib.parse.urlsplit(url).netloc


class _Line:
    """The line of progress: rewritten on a terminal; in a log one now and then."""

    def __init__(self, file, url):
        self.file, self.host = file, _host(url)
        self.begin(None)

    def begin(self, done):
        self.began = done
        self.start = self.shown = time.monotonic()

    def show(self, done):
        now, screen = time.monotonic(), sys.stderr.isatty()
        if now - self.shown < (SCREEN_SECONDS if screen else LOG_SECONDS):
            return
        self.shown, speed = now, (done - self.began) / max(now - self.start, 1e-9)
        rest = f', {speed / 1e6:.1f} MB/s, {progress.clock((self.file.size - done) / max(speed, 1e-9))} left'
        self._write(self._text(done) + rest, '' if screen else '\n')

    def end(self, done):
        if self.began is not None and done > self.began:
            self._write(self._text(done), '\n')

    def _text(self, done):
        return f'{self.file.name} from {self.host}: {done / 1e6:.0f} of {self.file.size / 1e6:.0f} MB'

    def _write(self, text, end):
        if sys.stderr.isatty():
            text = f'\r\033[K{progress.cut(text, shutil.get_terminal_size().columns - 1)}'
        print(text, end=end, file=sys.stderr, flush=True)
