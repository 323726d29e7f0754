"""A local video opens no other file: playlists are refused by their content, whatever their name."""
import os

import cv2
import numpy as np
import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.inference import sources, video_files


@pytest.fixture(scope='module')
def films(tmp_path_factory):
    """name -> a video of four frames, as far as this OpenCV can write the kind."""
    folder, made = tmp_path_factory.mktemp('films'), {}
    for name, code in (('a.avi', 'MJPG'), ('a.mp4', 'mp4v'), ('a.mkv', 'MJPG'), ('a.mov', 'MJPG'), ('a.mpg', 'MPG1')):
        writer = cv2.VideoWriter(str(folder / name), cv2.VideoWriter.fourcc(*code), 25., (64, 48))
        for shade in (0, 80, 160, 240):
            writer.write(np.full((48, 64, 3), shade, np.uint8))
        writer.release()
        if os.path.exists(folder / name) and os.path.getsize(folder / name):
            made[name] = str(folder / name)
    assert len(made) > 2
    return made


def test_videos_of_every_kind_are_opened(films):
    for path in films.values():
        frames = sources.Frames(path)
        assert [round(frame.mean(), -1) for frame in frames] == pytest.approx([0, 80, 160, 240], abs=10), path
        frames.close()


def playlists(film):
    return {'hls': f'#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{film}\n#EXT-X-ENDLIST\n',
            'hls as AVI': f'#EXTM3U\nAVI \n#EXTINF:1,\n{film}\n',
            'hls as MPEG': f'#EXTM3U\n{"G" * 400}\n{film}\n',
            'sdp': 'v=0\nc=IN IP4 127.0.0.1\nm=video 5 RTP/AVP 96\n',
            'ffconcat': f'ffconcat version 1.0\nfile {film}\n', 'empty': '',
            'subtitles': '1\n00:00:00,000 --> 00:00:01,000\nhello\n'}


@pytest.mark.parametrize('kind', playlists(''))
def test_a_playlist_named_as_a_video_is_refused(films, tmp_path, kind):
    path = tmp_path / 'clip.mp4'
    path.write_text(playlists(films['a.mp4'])[kind])
    with pytest.raises(InputError, match='clip.mp4: not a video: it begins as no MP4'):
        sources.Frames(str(path))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / 'pipe.mp4')
    with pytest.raises(InputError, match='pipe.mp4: expected a file, got a pipe'):
        video_files.check(tmp_path / 'pipe.mp4')
    with pytest.raises(InputError, match='none.mp4: cannot be read'):
        video_files.check(tmp_path / 'none.mp4')
