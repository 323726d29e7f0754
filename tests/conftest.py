"""Fixtures every folder's tests share, and what keeps one test out of the next one's way."""
import os
import pathlib
import random
import subprocess
import sys

import numpy as np
import pytest


def pytest_addoption(parser):
    parser.addoption('--auto-precision', choices=('float32', 'bfloat16'), default='float32',
                     help='what --mixed_precision=auto takes on a CPU, in tests that train in this process')
    parser.addoption('--pure', action='store_true',
                     help='skip what asks for TensorFlow: files and tests that import it, tests that start a Python')


class WithoutTensorFlow:
    """Finder that ends the test, or the file of tests, that imports TensorFlow or Keras.

    No list says which tests are pure, so none can be out of date. The skip is no ``Exception``: an ``except`` in the
    code under test does not catch it.
    """

    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('tensorflow', 'keras', 'tensorflow_addons'):
            pytest.skip('imports TensorFlow', allow_module_level=True)


class NoOtherPython(subprocess.Popen):
    """Ends the test that starts this Python again: what that one imports is not seen from here."""
    allowed = False

    def __init__(self, args, *rest, **named):
        if not self.allowed and not isinstance(args, str) and str(args[0]) == sys.executable:
            pytest.skip('starts a Python')
        super().__init__(args, *rest, **named)


def pytest_configure(config):
    os.environ.setdefault('YOLOV3_TF_CACHE', 'off')         # a slow machine keeps nothing of the tests for its user
    if config.getoption('--pure'):
        sys.meta_path.insert(0, WithoutTensorFlow())
        subprocess.Popen = NoOtherPython


def longest_first():
    """Files of tests, from ``longest_first.txt``, by their rank there."""
    tests = pathlib.Path(__file__).parent
    lines = (tests / 'longest_first.txt').read_text(encoding='utf-8').splitlines()
    return {tests / line.split()[1]: rank for rank, line in enumerate(lines) if not line.startswith('#')}


def pytest_collection_modifyitems(items):
    """Long files begin first: a process takes a file at a time, and the last one alone would keep the others waiting.

    Without ``--no-loadscope-reorder`` (Makefile) xdist puts those of few tests last, and they are the longest.
    """
    rank = longest_first()
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    NoOtherPython.allowed = item.get_closest_marker('pure') is not None


def restore_policy():
    """Layers made from here on are float32 again, whatever a program that ran in this process asked for."""
    if 'tensorflow' in sys.modules:             # tests of pure code are not to wait for it
        sys.modules['tensorflow'].keras.mixed_precision.set_global_policy('float32')


@pytest.hookimpl(hookwrapper=True)
def pytest_fixture_setup(fixturedef):
    """A fixture that many tests share leaves no policy behind for those that did not ask for it."""
    yield
    if fixturedef.scope != 'function':
        restore_policy()


@pytest.fixture(autouse=True)
def hermetic(request, monkeypatch):
    """Every test begins in float32, with the same seeds, and leaves folder and environment as they were."""
    environment, folder = dict(os.environ), os.getcwd()
    restore_policy()
    random.seed(0)
    np.random.seed(0)
    if 'tensorflow' in sys.modules:
        sys.modules['tensorflow'].random.set_seed(0)
        from yolov3_tf.training import precision
        chosen = precision.Choice(request.config.getoption('--auto-precision'), 'by --auto-precision of the tests')
        monkeypatch.setattr(precision, 'on_cpu', lambda: chosen)        # no test depends on what is measured
    yield
    restore_policy()
    os.chdir(folder)
    if dict(os.environ) != environment:
        os.environ.clear()
        os.environ.update(environment)


@pytest.fixture(scope='session')
def shared_data():
    """Folder of the real images and weights some tests use; the test skips where it is absent."""
    default = pathlib.Path(__file__).resolve().parents[2] / 'shared' / 'data'
    folder = pathlib.Path(os.environ.get('YOLOV3_TF_DATA', default))
    if not (folder / 'README.md').is_file():
        pytest.skip(f'real data not found at {folder}; set YOLOV3_TF_DATA to use it')
    return folder
