"""Detects objects: ``yolov3-tf detect``, see yolov3_tf/cli/detect.py."""
from yolov3_tf.cli.program import main

if __name__ == '__main__':
    main('detect')
