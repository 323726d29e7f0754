"""YOLOv3 for TensorFlow 2: train, measure and serve, with the losses of the GIoU exploration paper."""

__version__ = '0.1.0'
