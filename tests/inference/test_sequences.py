"""Folders of numbered images as videos."""
import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.inference import sequences, sources


def folder(tmp_path, *names):
    tmp_path.mkdir(parents=True, exist_ok=True)
    for name in names:
        (tmp_path / name).touch()
    return [str(tmp_path / name) for name in names]


@pytest.mark.parametrize('names', [
    ('frame_1.jpg', 'frame_2.jpg', 'frame_10.jpg'), ('000001.jpg', '000002.JPG', '000010.png'), ('9.png', '10.png'),
    ('2024-01-01_09-59.jpg', '2024-01-01_10-00.jpg'), ('cam2_1.jpg', 'cam2_11.jpg'), ('a7b.jpg', 'a70b.jpg')])
def test_the_order_is_that_of_the_numbers(tmp_path, names):
    paths = folder(tmp_path / 'film', *names)
    found = sequences.in_order(str(tmp_path / 'film'), paths[::-1])
    assert (found.paths, found.name, found.rate, found.live) == (paths, 'film', 30., False)


@pytest.mark.parametrize('names, message', [
    (('cat.jpg', 'dog.jpg'), 'expected the images of one video, with names that differ in their numbers alone, such as '
                             'frame_0001.jpg; got cat.jpg, dog.jpg: put each series'),
    (('left_1.jpg', 'left_2.jpg', 'right_1.jpg'), 'got left_1.jpg, right_1.jpg: put'),
    (('1.jpg', '2.jpg', 'poster.jpg'), 'got 1.jpg, poster.jpg: put'), (('dog.jpg',), 'got dog.jpg: put'),
    (('a.jpg', 'b.jpg', 'c.jpg', 'd.jpg', 'e.jpg'), 'got a.jpg, b.jpg, c.jpg, d.jpg, ...: put'),
    (('1.jpg', '01.png'), 'have the same number: expected one image a frame')])
def test_what_is_no_sequence_is_said(tmp_path, names, message):
    with pytest.raises(InputError, match=message):
        sequences.in_order(str(tmp_path), folder(tmp_path, *names))


@pytest.mark.parametrize('text, rate', [
    ('[Sequence]\nname=MOT17-02\nimDir=img1\nframeRate=25\nseqLength=2\n', 25.), ('[Sequence]\nframeRate=x', 30.),
    ('no section', 30.), ('[Sequence]\nframeRate=0', 30.), ('[Sequence]\nframeRate=nan', 30.), ('[Other]\n%', 30.),
    (b'\xff\xfe[', 30.), (None, 30.)])
def test_the_layout_of_motchallenge(tmp_path, text, rate):
    paths = folder(tmp_path / 'MOT17-02' / 'img1', '000001.jpg', '000002.jpg')
    if text is not None:
        (tmp_path / 'MOT17-02' / 'seqinfo.ini').write_bytes(text if isinstance(text, bytes) else text.encode())
    inner = str(tmp_path / 'MOT17-02' / 'img1')
    assert sequences.folder_of_images(str(tmp_path / 'MOT17-02')) == inner == sequences.folder_of_images(inner)
    found = sequences.in_order(inner, paths)
    assert (found.name, found.rate) == ('MOT17-02', rate)


def test_frames_are_opened_from_folders_and_what_is_none_is_refused(tmp_path):
    folder(tmp_path / 'MOT17-02' / 'img1', '000001.jpg', '000002.jpg')
    assert len(sources.open_frames(str(tmp_path / 'MOT17-02')).paths) == 2
    folder(tmp_path / 'empty')
    folder(tmp_path, 'dog.jpg')
    for name, message in (('empty', 'no images in this folder'), ('gone.mp4', 'no such file or folder'),
                          ('dog.jpg', 'expected a video, a camera')):
        with pytest.raises(InputError, match=message):
            sources.open_frames(str(tmp_path / name))
    with pytest.raises(InputError, match='000001.jpg: empty file'):
        list(sources.open_frames(str(tmp_path / 'MOT17-02')))
