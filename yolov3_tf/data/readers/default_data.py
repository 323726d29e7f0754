"""What to train on when nothing is said: PASCAL VOC, the paper's data, where it is here."""
from __future__ import annotations

import os

from yolov3_tf.data.readers import voc
from yolov3_tf.errors import InputError

VOC_HOME = 'http://host.robots.ox.ac.uk/pascal/VOC/'
VOC_ARCHIVES = ('VOCtrainval_06-Nov-2007.tar', 'VOCtest_06-Nov-2007.tar', 'VOCtrainval_11-May-2012.tar')


def specs_here(folder: str = '.') -> tuple[str, str, str]:
    """What to train on when nothing is said: VOCdevkit, the paper's data.

    Returns:
      Training spec, held-out spec, and one line that says so.

    Raises:
      InputError: there is no VOCdevkit; the message names the three ways on.
    """
    devkit = os.path.join(folder, 'VOCdevkit') if folder != '.' else 'VOCdevkit'
    if not os.path.isdir(devkit):
        archives = '\n     '.join(VOC_ARCHIVES)
        raise InputError(
            f'no data: there is no {devkit}/ here, and no --train_data. Three ways on:\n'
            '  1. PASCAL VOC, as in the paper: yolov3-tf data voc (2.9 GB), and type the same command again;\n'
            f'     by hand: fetch from {VOC_HOME}\n'
            f'     {archives}\n'
            '     unpack all three here (tar -xf FILE), and type the same command again\n'
            '  2. your own labelled images: yolov3-tf train FOLDER (VOC, COCO, YOLO, lists, CSV, LabelMe ...),\n'
            '     or --train_data=voc:DIR:train --val_data=voc:DIR:val and its like (docs/DATA.md)\n'
            '  3. no images yet: make demo, or --train_data=shapes, which draws its own')
    train, held_out = voc.training_splits(devkit)
    return (f'voc:{devkit}:{train}', f'voc:{devkit}:{held_out}',
            f'no data flags: training on {devkit} {train}, validating on {held_out}')
