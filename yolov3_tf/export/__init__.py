"""Trained networks as files that others run: one choice of format, one table (``formats.FORMATS``).

    settings      thresholds and the rest that is fixed when exporting
    network       the folded network and what its answers are called
    incoming      encoded images of a request -> network inputs; a broken one is named
    saved_model   for TensorFlow Serving and everything else that reads SavedModels; warmup: its first requests
    tflite, onnx, darknet    single files
    facts         what travels with each file
"""
from yolov3_tf.export.saved_model import Server, export
from yolov3_tf.export.settings import DEFAULTS, PRECISIONS, Settings, check

__all__ = ['DEFAULTS', 'PRECISIONS', 'Server', 'Settings', 'check', 'export']
