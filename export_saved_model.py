"""Exports a detector: ``yolov3-tf export``, see yolov3_tf/cli/export.py."""
from yolov3_tf.cli.program import main

if __name__ == '__main__':
    main('export')
