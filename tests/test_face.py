"""The public face: what it lists, that it is lazy, and that each name is the thing it stands for."""
import json
import re
import subprocess
import sys

import numpy as np
import pytest

import yolov3_tf as yolo

PUBLIC = ['Detections', 'Detector', '__version__', 'evaluate', 'load', 'losses', 'models', 'train']


def run_python(code):
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout


def test_the_face_lists_its_names():
    assert yolo.__all__ == PUBLIC and set(PUBLIC) <= set(dir(yolo)) and yolo.__version__ == '0.2.0'
    with pytest.raises(AttributeError, match="module 'yolov3_tf' has no attribute 'trian'"):
        _ = yolo.trian


def test_importing_it_is_cheap_and_brings_neither_tensorflow_nor_numpy():
    brought = json.loads(run_python(
        'import json, sys, yolov3_tf as yolo; dir(yolo), yolo.losses, yolo.models, dir(yolo.models), dir(yolo.losses)\n'
        'print(json.dumps([name for name in ("tensorflow", "numpy", "cv2", "absl") if name in sys.modules]))'))
    assert brought == []
    seconds = []
    for _ in range(3):
        log = subprocess.run([sys.executable, '-X', 'importtime', '-c', 'import yolov3_tf'], capture_output=True,
                             text=True, check=True).stderr
        seconds.append(int(re.search(r'\|\s+(\d+) \| yolov3_tf$', log, re.MULTILINE).group(1)) / 1e6)
    print(f'import yolov3_tf: {1000 * min(seconds):.1f} ms')
    assert min(seconds) < .05


def test_names_are_what_they_stand_for():
    from yolov3_tf.inference import detector, evaluate
    from yolov3_tf.structures import Detections
    assert (yolo.load, yolo.Detector, yolo.Detections) == (detector.load, detector.Detector, Detections)
    assert yolo.evaluate is evaluate.evaluate
    for package in (yolo.models, yolo.losses):
        for name in package.__all__:
            assert callable(getattr(package, name)), name
        with pytest.raises(AttributeError):
            _ = package.no_such_thing


def test_a_network_and_losses_from_the_face():
    model = yolo.models.yolov3(num_classes=3, width_multiplier=.125)
    assert model(np.zeros([1, 64, 32, 3], np.float32)).shape == (1, 3 * (8 * 4 + 4 * 2 + 2), 8)
    loss = yolo.losses.GIoULoss()(np.array([[0., 0, 4, 4]]), np.array([[0., 0, 4, 2]]))
    assert float(loss) == pytest.approx(.5)                             # half covered, hull = union


def test_train_is_the_recipes(monkeypatch):
    given = {}

    class FromPython:
        """Stands in for ``training.from_python``."""
        @staticmethod
        def train_with(train_data=None, val_data=None, **settings):
            given.update(settings, train_data=train_data, val_data=val_data)
            return 'run'

    monkeypatch.setitem(sys.modules, 'yolov3_tf.training.from_python', FromPython)
    assert yolo.train('voc:mine:train', 'voc:mine:val', loss='giou', focal=True) == 'run'
    assert given == {'train_data': 'voc:mine:train', 'val_data': 'voc:mine:val', 'loss': 'giou', 'focal': True}
