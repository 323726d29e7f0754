"""Trains a detector: ``yolov3-tf train``, see yolov3_tf/cli/train.py."""
from yolov3_tf.cli.program import main

if __name__ == '__main__':
    main('train')
