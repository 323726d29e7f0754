"""Reading, batching, drawing and reporting, around a detector that finds what the test says."""
import cv2
import numpy as np
import pytest
from fixtures import moving_squares as squares

from yolov3_tf.errors import InputError
from yolov3_tf.inference import sequences, sources
from yolov3_tf.inference.tracking import Tracker, Tracking
from yolov3_tf.structures import Detections

RED, BLUE = (0, 0, 255), (255, 0, 0)        # as OpenCV writes colours


class OneBox:
    """Finds in every image its left half as a bee, surely, and its whole as an ant, hardly."""
    class_names = ('ant', 'bee')

    def __init__(self):
        self.batches = []

    def detect(self, images):
        self.batches.append(len(images))
        found = []
        for image in images:
            height, width = image.shape[:2]
            boxes = np.array([[0, 0, width / 2, height], [0, 0, width, height]], np.float32)
            found.append(Detections('', boxes, np.array([.9, .2], np.float32), np.array([1, 0], np.int32)))
        return found


def write(path, width=80, height=60, colour=RED):
    assert cv2.imwrite(str(path), np.full([height, width, 3], colour, np.uint8))
    return str(path)


def test_inputs_are_sorted_by_kind_and_what_is_neither_is_named(tmp_path):
    folder = tmp_path / 'folder'
    folder.mkdir()
    for name in ('b.JPG', 'a.png', 'notes.txt', 'labels.xml'):
        (folder / name).touch()
    (folder / 'deeper.jpg').mkdir()
    (tmp_path / 'film.MP4').touch()
    (tmp_path / 'table.csv').touch()
    (tmp_path / 'none').mkdir()
    found = sources.find_inputs([str(tmp_path / name) for name in ('folder', 'film.MP4', 'table.csv', 'none')])
    assert found.images == [str(folder / 'a.png'), str(folder / 'b.JPG')]
    assert found.videos == [str(tmp_path / 'film.MP4')]
    assert [problem.split(':')[1][:11] for problem in found.problems] == [' unknown ki', ' no images ']
    assert found.notes == [f'{folder}: 2 files of other kinds ignored: .txt .xml']
    with pytest.raises(InputError, match='no such file'):
        sources.find_inputs([str(tmp_path / 'absent.jpg')])


def test_broken_images_are_named_and_the_others_go_on_in_batches(tmp_path):
    paths = [write(tmp_path / f'{i}.png', 80 + i) for i in range(3)]
    (tmp_path / 'empty.jpg').touch()
    (tmp_path / 'text.jpg').write_text('not an image')
    paths[1:1] = [str(tmp_path / 'empty.jpg'), str(tmp_path / 'text.jpg')]
    output, detector = tmp_path / 'out', OneBox()
    output.mkdir()
    report = sources.detect_images(detector, paths, str(output), .3, batch_size=2)
    assert detector.batches == [2, 1]
    assert [problem.split(': ')[1] for problem in report.problems] == [
        'empty file', 'not an image, or a damaged one (12 bytes)']
    assert [entry['file'] for entry in report.entries] == [paths[0], paths[3], paths[4]]
    assert report.entries[1] == {
        'file': paths[3], 'drawn': '1.jpg', 'width': 81, 'height': 60,
        'detections': [{'class': 'bee', 'score': .9, 'box': [0., 0., 40.5, 60.]}]}
    drawn = cv2.imread(str(output / '1.jpg'))
    assert drawn.shape == (60, 81, 3) and np.abs(drawn.astype(int) - RED).max() > 100


def test_drawn_images_of_one_name_do_not_replace_each_other(tmp_path):
    (tmp_path / 'other').mkdir()
    (tmp_path / 'out').mkdir()
    paths = [write(tmp_path / 'dog.png'), write(tmp_path / 'dog.bmp'), write(tmp_path / 'other' / 'dog.png')]
    report = sources.detect_images(OneBox(), paths, str(tmp_path / 'out'), .3, 8)
    assert [entry['drawn'] for entry in report.entries] == ['dog.jpg', 'dog_2.jpg', 'dog_3.jpg']
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['dog.jpg', 'dog_2.jpg', 'dog_3.jpg']


def film(path, frames, rate=10., size=(96, 64)):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), rate, size)
    for i in range(frames):
        writer.write(np.full([size[1], size[0], 3], (20 * i, 0, 255 - 20 * i), np.uint8))
    writer.release()
    return str(path)


def test_a_video_is_drawn_frame_by_frame(tmp_path):
    source, output, detector = film(tmp_path / 'film.avi', 7), tmp_path / 'out', OneBox()
    output.mkdir()
    report = sources.detect_video(detector, source, str(output), .1, batch_size=3)
    assert detector.batches == [3, 3, 1] and not report.problems
    assert [(entry['frame'], entry['time']) for entry in report.entries] == [(i, i / 10) for i in range(7)]
    assert [one['class'] for one in report.entries[6]['detections']] == ['bee', 'ant']
    (written,) = output.iterdir()
    video = cv2.VideoCapture(str(written))
    assert video.get(cv2.CAP_PROP_FPS) == 10 and video.get(cv2.CAP_PROP_FRAME_COUNT) == 7
    assert video.read()[1].shape == (64, 96, 3)


def test_a_camera_is_read_frame_by_frame_until_stopped(tmp_path, monkeypatch):
    class Camera:
        """Numbers its frames by their brightness; a person presses Ctrl-C at the sixth."""
        def __init__(self, number):
            assert number == 1
            self.frames = 0

        def isOpened(self):
            return True

        def get(self, what):
            return {cv2.CAP_PROP_FPS: 5., cv2.CAP_PROP_FRAME_COUNT: -1.}[what]

        def read(self):
            self.frames += 1
            if self.frames == 6:
                raise KeyboardInterrupt
            return True, np.full([64, 96, 3], 40 * self.frames, np.uint8)

        def release(self):
            self.released = True

    monkeypatch.setattr(sources.cv2, 'VideoCapture', Camera)
    for most, frames in ((None, 5), (3, 3)):
        detector, output = OneBox(), tmp_path / str(frames)
        output.mkdir()
        report = sources.detect_video(detector, 'camera:1', str(output), .1, batch_size=8, max_frames=most)
        assert detector.batches == [1] * frames and not report.problems
        assert [entry['time'] for entry in report.entries] == [i / 5 for i in range(frames)]
        (written,) = output.iterdir()
        assert written.stem == 'camera_1' and written.stat().st_size


def test_cameras_are_named_by_number_and_one_that_is_not_there_is_said(tmp_path):
    assert sources.find_inputs(['camera:0']).videos == ['camera:0']
    with pytest.raises(InputError, match='camera:front: expected camera: and the number'):
        sources.find_inputs(['camera:front'])
    with pytest.raises(InputError, match='camera:98: no such camera'):
        sources.detect_video(OneBox(), 'camera:98', str(tmp_path), .1, 1)


def test_kinds_are_recognised(tmp_path):
    for name in ('a.mp4', 'a.png', 'a.txt'):
        (tmp_path / name).touch()
    (tmp_path / 'odd.jpg').mkdir()
    for path, kind in (('camera:0', 'camera'), ('rtsp://host/live', 'stream'), ('HTTPS://host/a.mp4', 'stream'),
                       (tmp_path, 'folder'), (tmp_path / 'odd.jpg', 'folder'), (tmp_path / 'a.png', 'image'),
                       (tmp_path / 'a.mp4', 'video'), (tmp_path / 'a.txt', None), (tmp_path / 'gone.png', None)):
        assert sources.kind_of(str(path)) == kind, path
    assert set(sources.SOURCES) == {'camera', 'stream', 'folder', 'image', 'video'}


def test_a_stream_is_read_frame_by_frame_and_its_password_is_nowhere(tmp_path, monkeypatch):
    address = 'rtsp://ann:secret@host:554/live?channel=1'
    opened, video = [], cv2.VideoCapture

    def capture(path):
        """What the address would send: a film of seven frames that then breaks off."""
        opened.append(path)
        return video(film(tmp_path / 'film.avi', 7))

    monkeypatch.setattr(sources.cv2, 'VideoCapture', capture)
    (tmp_path / 'out').mkdir()
    assert sources.find_inputs([address]).videos == [address]
    detector = OneBox()
    report = sources.detect_video(detector, address, str(tmp_path / 'out'), .1, batch_size=8, max_frames=4)
    assert opened == [address] and detector.batches == [1] * 4 and not report.problems
    assert [path.stem for path in (tmp_path / 'out').iterdir()] == ['host_554_live_channel_1']
    assert sources.without_password(address) == 'rtsp://host:554/live?channel=1'
    report = sources.detect_video(OneBox(), address, str(tmp_path / 'out'), .1, batch_size=8)
    assert len(report.entries) == 7 and not report.problems


def test_an_address_where_nothing_answers_is_refused_without_its_password(tmp_path):
    with pytest.raises(InputError) as error:
        sources.detect_video(OneBox(), 'http://ann:secret@127.0.0.1:9/video.mjpg', str(tmp_path), .1, 1)
    assert str(error.value).startswith('http://127.0.0.1:9/video.mjpg: nothing answers there')
    assert not list(tmp_path.iterdir())


def test_max_frames_ends_a_video_and_is_no_fault_of_it(tmp_path):
    report = sources.detect_video(OneBox(), film(tmp_path / 'film.avi', 7), str(tmp_path), .1, 4, max_frames=5)
    assert len(report.entries) == 5 and not report.problems


def test_csv_has_a_row_a_detection(tmp_path):
    found = {'class': 'bee, wild', 'score': .9, 'box': [0., 1., 40.5, 60.]}
    sources.write_csv(str(tmp_path / 'a.csv'), [{'file': 'a.jpg', 'detections': [found, found]},
                                                  {'file': 'b.jpg', 'detections': []}])
    assert (tmp_path / 'a.csv').read_text().splitlines() == [
        'file,class,score,x1,y1,x2,y2', *['a.jpg,"bee, wild",0.9,0.0,1.0,40.5,60.0'] * 2]
    sources.write_csv(str(tmp_path / 'v.csv'), [{'frame': 3, 'time': .12, 'detections': [found]}])
    assert (tmp_path / 'v.csv').read_text().splitlines() == [
        'frame,time,class,score,x1,y1,x2,y2', '3,0.12,"bee, wild",0.9,0.0,1.0,40.5,60.0']


def test_a_file_that_is_no_video_is_refused_and_leaves_nothing(tmp_path):
    (tmp_path / 'film.mp4').write_text('not a video')
    (tmp_path / 'out').mkdir()
    with pytest.raises(InputError, match='not a video'):
        sources.detect_video(OneBox(), str(tmp_path / 'film.mp4'), str(tmp_path / 'out'), .3, 8)
    assert not list((tmp_path / 'out').iterdir())


def test_a_video_of_tracks_holds_all_their_boxes_and_no_others(tmp_path):
    """Low-scoring boxes of tracks are reported although below the threshold, the false ones (.2) are not."""
    scene = squares.behind_a_hedge()
    video = squares.write_video(tmp_path / 'film.avi', scene)
    (tmp_path / 'out').mkdir()
    report = sources.detect_video(squares.Sees(scene), video, str(tmp_path / 'out'), .5, 5,
                                  make_tracker=lambda rate: Tracker(Tracking(.5), rate))
    assert squares.count(scene, squares.tracks_of(report.entries)) == squares.Counts(3 * 48, 0, 0, 0)
    assert {one['score'] for one in report.entries[20]['detections']} == {.3}
    plain = sources.detect_video(squares.Sees(scene), video, str(tmp_path / 'out'), .5, 5)
    assert [len(entry['detections']) for entry in plain.entries] == [3] * 16 + [0] * 16 + [3] * 16
    assert 'track' not in plain.entries[0]['detections'][0]


def test_the_buffer_follows_the_rate_of_the_video(tmp_path):
    rates = []

    def make_tracker(rate):
        rates.append(rate)
        return Tracker(Tracking(.5), rate)

    sources.detect_video(OneBox(), film(tmp_path / 'film.avi', 3, 12.), str(tmp_path), .5, 8,
                         make_tracker=make_tracker)
    assert rates == [12.]


def test_a_folder_of_frames_keeps_its_count_where_one_is_broken_or_of_another_size(tmp_path):
    scene = squares.crossing()
    folder = squares.write_folder(tmp_path / 'img1', scene)
    (tmp_path / 'img1' / '000011.png').write_bytes(b'no image')
    cv2.imwrite(str(tmp_path / 'img1' / '000031.png'), np.zeros([50, 70, 3], np.uint8))
    sequence = sequences.in_order(folder, sources.find_inputs([folder]).images)
    assert len(sequence.paths) == 60 and sequence.name == tmp_path.name
    detector = squares.Sees(scene)
    usable = iter([frame for frame in range(60) if frame not in (10, 30)])
    detector.detect = lambda images: [detector.in_frame(next(usable)) for _ in images]
    (tmp_path / 'out').mkdir()
    report = sources.detect_images(detector, sequence.paths, str(tmp_path / 'out'), .5, 8, Tracker(Tracking(.5)))
    assert [problem.split('img1/')[1].split(':')[0] for problem in report.problems] == ['000011.png', '000031.png']
    assert 'expected 320 x 240, the size of the images before it' in report.problems[1]
    assert [entry['frame'] for entry in report.entries] == [frame for frame in range(60) if frame not in (10, 30)]
    assert report.entries[10]['file'].endswith('000012.png') and len(list((tmp_path / 'out').iterdir())) == 58
    counts = squares.count(scene, squares.tracks_of(report.entries))
    skipped = sum(frame in one.boxes for one in scene for frame in (10, 30))
    assert (counts.switches, counts.false, counts.missed) == (0, 0, 1 + skipped)


def test_a_stopped_camera_keeps_its_tracks(tmp_path, monkeypatch):
    class Camera:
        def __init__(self, number):
            self.frames = 0

        def isOpened(self):
            return True

        def get(self, what):
            return 5.

        def read(self):
            self.frames += 1
            if self.frames == 4:
                raise KeyboardInterrupt
            return True, np.zeros([64, 96, 3], np.uint8)

        def release(self):
            pass

    monkeypatch.setattr(sources.cv2, 'VideoCapture', Camera)
    report = sources.detect_video(OneBox(), 'camera:1', str(tmp_path), .5, 8,
                                  make_tracker=lambda rate: Tracker(Tracking(.5), rate))
    assert [[(one['class'], one['track']) for one in entry['detections']] for entry in report.entries] == [
        [('bee', 1)]] * 3


def test_csv_has_a_column_of_tracks_where_there_are_tracks(tmp_path):
    found = {'class': 'bee', 'score': .9, 'box': [0., 1., 40.5, 60.], 'track': 7}
    sources.write_csv(str(tmp_path / 'a.csv'), [{'frame': 3, 'time': .12, 'detections': [found]}], tracked=True)
    assert (tmp_path / 'a.csv').read_text().splitlines() == [
        'frame,time,class,score,x1,y1,x2,y2,track', '3,0.12,bee,0.9,0.0,1.0,40.5,60.0,7']
