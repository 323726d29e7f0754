"""Writes small sets in darknet's layout."""
import cv2
import numpy as np


def write_set(folder, files, names='cat\ndog\n', size=(50, 100)):
    """Pictures of ``size`` (height, width) and texts; .jpg and .png keys are pictures."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in ('.jpg', '.png'):
            cv2.imwrite(str(path), np.zeros([*size, 3], np.uint8))
        else:
            path.write_text(text)
    if names:
        (folder / 'obj.names').write_text(names)
    return str(folder / 'train.txt')
