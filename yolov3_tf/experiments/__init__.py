"""Tables of trainings, `yolov3-tf experiments TABLE --data=TRAIN,VAL --seeds=5`, and searches, `yolov3-tf tune`.

A table is a file of cells. A cell is a set of flags of train (``table_file``), which becomes a recipe (``cells``).
Each cell becomes one run for each seed, and stages that several cells share become separate runs (``plan``). The runs
are trained one after another (``runner``) and compared with each other (``bootstrap``, ``tabulate``).

A search mutates the settings of a recipe (``tuning_genes``) from candidate to candidate (``tuning``), and trains them
by the same runner (``tuning_runs``).
"""
