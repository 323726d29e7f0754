"""The programs, one module each: ``yolov3-tf COMMAND``, ``python -m yolov3_tf COMMAND``."""
