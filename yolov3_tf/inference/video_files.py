"""Which local files OpenCV may open as a video.

OpenCV gives a file to FFmpeg, which looks at its content and not at its name: a text that is called clip.mp4 may be a
playlist (HLS, ffconcat) that makes it open other files or addresses. Playlists are known by how they begin, so a file
must begin as a video does. (FFmpeg's own list of allowed formats cannot be set through OpenCV 4: it passes it over.)
"""
from __future__ import annotations

import os
import re
import stat

from yolov3_tf.errors import InputError

# MP4 and QuickTime by their first box, AVI, Matroska and WebM, MPEG program stream and video
BEGINNING = re.compile(rb'.{4}(ftyp|moov|mdat|free|skip|wide|pnot)|RIFF.{4}AVI '
                       rb'|\x1a\x45\xdf\xa3|\x00\x00\x01[\xba\xb3]',
                       re.DOTALL)
TRANSPORT = 188         # bytes a packet of an MPEG transport stream, each of which begins with G


def check(path: str | os.PathLike) -> None:
    """Raises InputError unless the file is a regular one that begins as a video does."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise InputError(f'{path}: expected a file, got a pipe or a device')
        with open(path, 'rb') as file:
            start = file.read(2 * TRANSPORT + 1)
    except OSError as error:
        raise InputError(f'{path}: cannot be read ({error.strerror})') from None
    transport = len(start) > 2 * TRANSPORT and all(start[place] == ord('G') for place in (0, TRANSPORT, 2 * TRANSPORT))
    if not transport and not BEGINNING.match(start):
        raise InputError(f'{path}: not a video: it begins as no MP4, AVI, Matroska or MPEG file does')
