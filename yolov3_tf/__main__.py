"""``python -m yolov3_tf COMMAND``: the same as ``yolov3-tf COMMAND``."""
from yolov3_tf.cli.program import main

if __name__ == '__main__':
    main()
