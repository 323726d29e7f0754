"""VOCdevkit -> checked lists: ``yolov3-tf voc-annotations``, see yolov3_tf/cli/voc_annotations.py."""
from yolov3_tf.cli.program import main

if __name__ == '__main__':
    main('voc-annotations')
