"""Detections of one image: counting, choosing, drawing, saving, and COCO's entries."""
import cv2
import numpy as np
import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.structures import Detection, Detections

IMAGE = np.full([40, 60, 3], 255, np.uint8)


def three(**fields):
    boxes = np.array([[2, 3, 30, 23], [10, 10, 20, 30], [0, 0, 60, 40]], np.float32)
    return Detections('7', boxes, np.array([.9, .5, .1], np.float32), np.array([1, 0, 1], np.int32),
                      **{'names': ('ant', 'bee'), **fields})


def test_detections_are_counted_iterated_and_chosen():
    found = three()
    assert len(found) == 3 and found.class_names == ['bee', 'ant', 'bee']
    first, *_, last = found
    assert first == Detection((2., 3., 30., 23.), pytest.approx(.9), 'bee', 1) and last.class_name == 'bee'
    assert repr(found) == "Detections('7', 3: bee 90% (2, 3, 30, 23), ant 50% (10, 10, 20, 30), bee 10% (0, 0, 60, 40))"
    parts = found.above(.4), found.above(.9), found[1:], found[0], found[found.classes == 1]
    assert [len(part) for part in parts] == [2, 0, 2, 1, 2]
    assert found.above(.95).boxes.shape == (0, 4) and found.above(.95).class_names == []
    assert repr(found.above(.95)) == "Detections('7', 0)" and not found.above(.95)
    assert three(names=()).class_names == ['1', '0', '1']


@pytest.mark.parametrize('source', ['pixels', 'bytes', 'file'])
def test_drawing_takes_the_image_from_where_it_came(tmp_path, source):
    content = cv2.imencode('.png', IMAGE)[1].tobytes()
    (tmp_path / 'seven.png').write_bytes(content)
    found = three(source={'pixels': IMAGE, 'bytes': content, 'file': str(tmp_path / 'seven.png')}[source])
    assert found.path == (str(tmp_path / 'seven.png') if source == 'file' else None)
    drawn = found.draw()
    assert drawn.shape == IMAGE.shape and drawn.dtype == np.uint8 and (drawn != IMAGE).any() and (IMAGE == 255).all()
    found.save(tmp_path / 'drawn.png')
    assert (cv2.imread(str(tmp_path / 'drawn.png'))[..., ::-1] == drawn).all()
    with pytest.raises(InputError, match='drawn.png exists: choose another name, or overwrite=True'):
        found.save(tmp_path / 'drawn.png')
    found.above(.95).save(tmp_path / 'drawn.png', overwrite=True)
    assert (cv2.imread(str(tmp_path / 'drawn.png')) == 255).all()


def test_an_image_that_is_not_known_must_be_given():
    with pytest.raises(InputError, match="detections of '7' have no image"):
        three().draw()
    assert (three(names=()).draw(IMAGE) != three().draw(IMAGE)).any()        # ids in place of names


def test_cocos_entries_have_width_and_height_and_its_numbers():
    first, second, third = three().to_coco()
    assert first == {'image_id': 7, 'category_id': 2, 'bbox': [2., 3., 28., 20.], 'score': pytest.approx(.9)}
    assert (second['category_id'], third['bbox']) == (1, [0., 0., 60., 40.])
    assert [entry['category_id'] for entry in three().to_coco(category_ids=[18, 90])] == [90, 18, 90]
    assert [entry['category_id'] for entry in three().to_coco(category_ids=[18, None])] == [18]
    assert three().to_coco(image_id='street')[0]['image_id'] == 'street'
