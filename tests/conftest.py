"""Fixtures every room's tests share."""
import os
import pathlib

import pytest


@pytest.fixture(scope='session')
def shared_data():
    """Folder of the real pictures and weights some tests use; the test skips where it is absent."""
    default = pathlib.Path(__file__).resolve().parents[2] / 'shared' / 'data'
    folder = pathlib.Path(os.environ.get('YOLOV3_TF_DATA', default))
    if not (folder / 'README.md').is_file():
        pytest.skip(f'real data not found at {folder}; set YOLOV3_TF_DATA to use it')
    return folder
