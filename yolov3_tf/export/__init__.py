"""Trained networks as files that others run: one choice of format, one table (``formats.FORMATS``).

    settings         thresholds and the rest that is fixed when exporting
    folded_network   the folded network and what its outputs are called
    preprocess       encoded images of a request -> network inputs; a broken one is named
    saved_model      for TensorFlow Serving and everything else that reads SavedModels; warmup: its first requests
    tflite, onnx, darknet    single files
    metadata         what travels with each file
"""
from yolov3_tf.export.saved_model import Server, export
from yolov3_tf.export.settings import DEFAULTS, NAMES, PRECISIONS, Settings, check
from yolov3_tf.postprocess import Suppression

__all__ = ['DEFAULTS', 'NAMES', 'PRECISIONS', 'Server', 'Settings', 'Suppression', 'check', 'export']
