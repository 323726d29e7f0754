"""Files of tracks, line by line."""
from yolov3_tf.inference import track_files

ENTRIES = [
    {'frame': 0, 'detections': [
        {'class': 'bee, wild', 'score': .9, 'box': [0., 10.5, 40.25, 60.], 'track': 2},
        {'class': 'ant', 'score': .8123, 'box': [100., 0., 110., 7.], 'track': 1}]},
    {'frame': 1, 'detections': []},
    {'frame': 4, 'detections': [{'class': 'ant', 'score': .25, 'box': [-1.5, 0., 9., 7.], 'track': 1}]}]


def test_motchallenge_counts_from_one(tmp_path):
    """Frame 0 is 1; the left edge 0 is 1; width and height are as they are."""
    track_files.write_mot(str(tmp_path / 'a.mot.txt'), ENTRIES)
    assert (tmp_path / 'a.mot.txt').read_text() == (
        '1,1,101.00,1.00,10.00,7.00,0.8123,-1,-1,-1\n'
        '1,2,1.00,11.50,40.25,49.50,0.9000,-1,-1,-1\n'
        '5,1,-0.50,1.00,10.50,7.00,0.2500,-1,-1,-1\n')


def test_each_track_has_its_class_and_frames(tmp_path):
    assert track_files.write_tracks(str(tmp_path / 'a.csv'), ENTRIES) == 2
    assert (tmp_path / 'a.csv').read_text().splitlines() == [
        'track,class,frames,first_frame,last_frame', '1,ant,2,1,5', '2,"bee, wild",1,1,1']


def test_nothing_is_an_empty_file(tmp_path):
    track_files.write_mot(str(tmp_path / 'a.mot.txt'), [])
    assert (tmp_path / 'a.mot.txt').read_text() == '' and track_files.write_tracks(str(tmp_path / 'a.csv'), []) == 0
