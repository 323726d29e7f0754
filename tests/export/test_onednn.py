"""Exports run with oneDNN on and off, each in its own process, because a failing kernel of oneDNN ends the process.

TensorFlow chooses oneDNN by the processor when it is first imported, unless ``TF_ENABLE_ONEDNN_OPTS`` is set.
"""
import json
import os
import pathlib
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Strides 1 and 2; one group, two groups and one group for each channel; all with BatchNorm, which folding turns into
# biases.
TEXT = '\n'.join([
    '[net]', 'width=256', 'height=128',
    *(f'[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride={stride}\npad=1\ngroups={groups}\n'
      f'activation={activation}' for stride, groups, activation in (
          (1, 1, 'leaky'), (2, 8, 'leaky'), (1, 8, 'relu6'), (2, 8, 'linear'), (2, 2, 'mish'), (1, 2, 'leaky'),
          (2, 8, 'relu6'), (2, 1, 'leaky'))),
    '[convolutional]', 'filters=12', 'size=1', 'stride=1', 'activation=linear',
    '[yolo]', 'mask=0', 'anchors=20,20', 'num=1', 'classes=7', ''])

PROGRAM = '''
import json, os, sys
import cv2, numpy as np
from fixtures import lively_network
from yolov3_tf.inference import detector
from yolov3_tf.export import formats

random = np.random.RandomState(1)
image = cv2.resize(random.randint(0, 256, [5, 6, 3]).astype(np.uint8), (90, 40), interpolation=cv2.INTER_CUBIC)
model = lively_network.lively_model(sys.argv[1], outputs=('head_conv_008',))
settings = lively_network.SETTINGS
settings = settings._replace(suppression=settings.suppression._replace(score_threshold=.01))
for name, path, letterbox in json.loads(sys.argv[2]):
    described = lively_network.describe(sys.argv[1], (128, 256))._replace(letterbox=letterbox)
    if not os.path.exists(path):
        formats.write(name, path, model, described, formats.Options(settings))
    found, = detector.load(path).detect([image])
    print(json.dumps([path, found.boxes.tolist(), found.scores.tolist()]), flush=True)
'''


def detections(folder, onednn):
    """What every export finds in one image, and what TensorFlow says meanwhile; writes those that are not there."""
    wanted = [('saved_model', folder / 'letterbox', True), ('saved_model', folder / 'stretch', False),
              ('tflite', folder / 'a.tflite', True), ('onnx', folder / 'a.onnx', True)]
    for module in ('tf2onnx', 'onnxruntime'):
        try:
            __import__(module)
        except ImportError:
            wanted = wanted[:3]
    environment = dict(os.environ, TF_ENABLE_ONEDNN_OPTS=onednn, TF_CPP_MIN_LOG_LEVEL='1',
                       PYTHONPATH=os.pathsep.join([str(ROOT), str(ROOT / 'tests')]))
    done = subprocess.run(
        [sys.executable, '-c', PROGRAM, TEXT, json.dumps([(name, str(path), box) for name, path, box in wanted])],
        env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('[')]
    assert len(lines) == len(wanted)
    return lines, done.stderr


def test_every_export_of_depthwise_and_grouped_layers_answers_with_onednn_on_and_off(tmp_path):
    on, log = detections(tmp_path, '1')
    off, other_log = detections(tmp_path, '0')
    for (path, boxes, scores), (_, other_boxes, other_scores) in zip(on, off):
        assert len(scores) > 5, path
        np.testing.assert_allclose(boxes, other_boxes, atol=.05, err_msg=path)
        np.testing.assert_allclose(scores, other_scores, atol=1e-4, err_msg=path)
    np.testing.assert_allclose(on[0][2], on[2][2], atol=1e-4)           # letterbox, as SavedModel and as tflite
    assert 'layout failed' not in log + other_log
