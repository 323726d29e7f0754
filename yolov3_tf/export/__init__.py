"""Exports trained networks to files that other programs run; ``formats.FORMATS`` is the table of formats.

    settings         thresholds and everything else that is fixed when exporting
    folded_network   the network with BatchNorm folded in, and the names of its outputs
    preprocess       encoded images of a request -> network inputs; the error names a broken image
    saved_model      for TensorFlow Serving and all other readers of SavedModels; warmup: its first requests
    tflite, onnx, darknet    single files
    metadata         class names, resize and thresholds, stored with each file
"""
from yolov3_tf.export.saved_model import Server, export
from yolov3_tf.export.settings import DEFAULTS, NAMES, PRECISIONS, Settings, check
from yolov3_tf.postprocess import Suppression

__all__ = ['DEFAULTS', 'NAMES', 'PRECISIONS', 'Server', 'Settings', 'Suppression', 'check', 'export']
