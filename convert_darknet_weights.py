"""Converts darknet's weights: ``yolov3-tf convert``, see yolov3_tf/cli/convert.py."""
from yolov3_tf.cli.program import main

if __name__ == '__main__':
    main('convert')
