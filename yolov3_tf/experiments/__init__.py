"""Tables of trainings: `yolov3-tf experiments TABLE --data=TRAIN,VAL --seeds=5`.

A table is a file of cells, a cell a set of train's flags (``table_file``), which become a recipe (``cells``). The
cells become runs, cell x seed, and the stages several cells share become runs of their own (``plan``), which are
trained one after another (``runner``) and compared with each other (``bootstrap``, ``tabulate``).
"""
