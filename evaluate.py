"""Evaluates a detector: ``yolov3-tf evaluate``, see yolov3_tf/cli/evaluate.py."""
from yolov3_tf.cli.program import main

if __name__ == '__main__':
    main('evaluate')
