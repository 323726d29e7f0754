"""Tables of trainings: `python -m yolov3_tf.experiments TABLE --data=TRAIN,VAL --seeds=5`.

A table is a file of cells, a cell a set of train.py's flags (``tables``). It becomes runs, cell x seed,
and the stages several cells share become runs of their own (``plan``), which are trained one after
another (``runner``) and measured against each other (``bootstrap``, ``tabulate``).
"""
