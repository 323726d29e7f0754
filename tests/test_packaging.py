"""What setup.py builds is whole, the locks say the same as it, the interpreter finder believes no name on PATH."""
import configparser
import email
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest
from fixtures import distributions
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

pytestmark = pytest.mark.pure

ROOT = pathlib.Path(__file__).resolve().parents[1]
LANES = {'keras2': ['3.9', '3.10', '3.11'], 'keras3': ['3.12', '3.13']}
VERSIONS = [(lane, version) for lane, versions in LANES.items() for version in versions]


def locked(lane, version):
    """Name -> pinned version of what the lane's lock installs on one Python on Linux; hashes cut off."""
    text = (ROOT / 'requirements' / f'{lane}.lock').read_text(encoding='utf-8')
    pins = [Requirement(line.rstrip(' \\')) for line in text.splitlines() if re.match('[a-z]', line)]
    machine = {'python_version': version, 'python_full_version': f'{version}.5', 'sys_platform': 'linux',
               'platform_python_implementation': 'CPython', 'implementation_name': 'cpython'}
    return {pin.name: str(pin.specifier).lstrip('=') for pin in pins
            if pin.marker is None or pin.marker.evaluate(machine)}


@pytest.fixture(scope='module')
def built(tmp_path_factory):
    """Paths of the sdist and of the wheel built from it."""
    return distributions.build(tmp_path_factory.mktemp('built'))


@pytest.fixture(scope='module')
def wheel(built):
    """Name -> bytes of the files in the wheel; those of its .dist-info without that folder's name."""
    with zipfile.ZipFile(built[1]) as archive:
        return {re.sub(r'.*\.dist-info/', '.dist-info/', name): archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope='module')
def metadata(wheel):
    return email.message_from_string(wheel['.dist-info/METADATA'].decode())


def files_of_the_packages():
    return {path.relative_to(ROOT).as_posix() for name in distributions.PACKAGES
            for path in (ROOT / name).rglob('*') if path.is_file() and path.parent.name != '__pycache__'}


def test_the_wheel_holds_the_packages_and_nothing_else(wheel):
    """A file that is not Python is left out, and fails here, until setup.py names its kind."""
    assert {name for name in wheel if '.dist-info/' not in name} == files_of_the_packages()
    assert {pathlib.Path(name).suffix for name in files_of_the_packages()} >= {'.ini', '.flags', '.typed', '.names'}
    assert wheel['.dist-info/licenses/LICENSE'] == (ROOT / 'LICENSE').read_bytes()


def test_the_sdist_holds_what_the_wheel_needs_and_what_says_what_it_is(built):
    with tarfile.open(built[0]) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    at_the_top = {'setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'train.py'}
    assert files_of_the_packages() | at_the_top <= names


def test_the_metadata_say_what_it_is(metadata):
    assert SpecifierSet(metadata['Requires-Python']) == SpecifierSet('>=3.9,<3.14')
    said = re.search(r"^__version__ = '(.+)'$", (ROOT / 'yolov3_tf/__init__.py').read_text(encoding='utf-8'), re.M)[1]
    assert metadata['Version'] == said
    assert 'YOLOv3' in metadata['Summary'] and metadata['License'] == 'MIT'
    assert metadata['Description-Content-Type'] == 'text/markdown'
    assert metadata.get_payload().strip() == (ROOT / 'README.md').read_text(encoding='utf-8').strip()
    assert 'Programming Language :: Python :: 3.9' in metadata.get_all('Classifier')
    assert any('wizyoung/YOLOv3_TensorFlow' in url for url in metadata.get_all('Project-URL'))


def test_the_command_starts_out_of_the_wheel(built, wheel, tmp_path):
    entry_points = configparser.ConfigParser()
    entry_points.read_string(wheel['.dist-info/entry_points.txt'].decode())
    module, _, function = entry_points['console_scripts']['yolov3-tf'].partition(':')
    program = (f'import {module} as program; assert {str(built[1])!r} in program.__file__, program.__file__; '
               f'import sys; sys.argv[1:] = ["--help"]; program.{function}()')
    done = subprocess.run([sys.executable, '-c', program], cwd=tmp_path, capture_output=True, text=True, check=False,
                          env={**os.environ, 'PYTHONPATH': str(built[1])})
    assert done.returncode == 0, done.stderr
    for command in ['train', 'evaluate', 'detect', 'voc-annotations']:
        assert re.search(rf'^ +{command} ', done.stdout, re.MULTILINE), done.stdout


@pytest.mark.parametrize('lane, version', VERSIONS)
def test_every_requirement_of_setup_is_locked_within_its_range(metadata, lane, version):
    pins = locked(lane, version)
    wanted = [Requirement(text) for text in metadata.get_all('Requires-Dist')]
    for extra in ['', 'headless', 'onnx', 'dev']:
        for item in wanted:
            if item.marker is None or item.marker.evaluate({'python_version': version, 'extra': extra}):
                assert item.specifier.contains(pins[item.name]), (item, pins[item.name])


@pytest.mark.parametrize('lane, version', VERSIONS)
def test_one_provider_of_cv2_and_the_lane_s_own_keras(lane, version):
    pins = locked(lane, version)
    assert [name for name in pins if name.startswith('opencv')] == ['opencv-python-headless']
    assert pins['keras'].split('.')[0] == lane[-1]
    assert ('tensorflow-addons' in pins) == (lane == 'keras2')


@pytest.mark.parametrize('lane', LANES)
def test_a_lock_pins_exactly_with_hashes_and_names_no_machine(lane):
    text = (ROOT / 'requirements' / f'{lane}.lock').read_text(encoding='utf-8')
    entries = re.split(r'^(?=[a-z])', text, flags=re.MULTILINE)[1:]
    assert len(entries) > 40
    pin = re.compile(r'[a-z0-9-]+==[0-9][0-9a-z.]*( ; [^\\]+)? \\\n( +--hash=sha256:[0-9a-f]{64}( \\)?\n)+')
    assert [entry for entry in entries if not pin.match(entry)] == []
    assert not re.search(r'://|--index|--find-links|(^|\s)/', text)


def find_python(environment, *versions):
    return subprocess.run(['bash', str(ROOT / 'tools' / 'find_python.sh'), *versions], env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)


@pytest.fixture
def bare_path(tmp_path):
    """An environment whose PATH holds nothing but a folder with a space, and the folder."""
    folder = tmp_path / 'on path'
    folder.mkdir()
    for name in ['bash', 'env']:
        (folder / name).symlink_to(shutil.which(name))
    return {'PATH': str(folder), 'HOME': str(tmp_path)}, folder


def program(path, text):
    path.write_text(f'#!/usr/bin/env bash\n{text}\n', encoding='utf-8')
    path.chmod(0o755)


def test_the_finder_passes_over_a_name_that_does_not_run(bare_path):
    environment, folder = bare_path
    version = '{}.{}'.format(*sys.version_info)
    program(folder / f'python{version}', 'echo "command not found" >&2; exit 127')
    assert find_python(environment, version).returncode == 2
    program(folder / 'python3', f'exec "{sys.executable}" "$@"')
    found = find_python(environment, version)
    assert found.returncode == 0 and found.stdout == f'{sys.executable}\n'


@pytest.mark.parametrize('script, said', [
    ('exit 1', 'does not run'),
    ('echo "3.8 /usr/bin/python3.8"', 'Python 3.8'),
    ('echo "3.11 /usr/bin/python3.11"; exit 1', 'Python 3.11 without venv'),
])
def test_an_unfit_python_is_named_with_what_was_expected_and_what_to_do(bare_path, script, said):
    environment, folder = bare_path
    program(folder / 'mine', script)
    found = find_python({**environment, 'PYTHON': str(folder / 'mine')}, '3.10', '3.11')
    assert (found.returncode, found.stdout, found.stderr.count('\n')) == (2, '', 1)
    assert 'expected Python 3.10 or 3.11' in found.stderr and f'mine ({said})' in found.stderr
    assert 'PYTHON=/path/to/python' in found.stderr


def test_no_python_at_all_and_a_name_that_is_not_there(bare_path):
    environment, _ = bare_path
    assert 'none on PATH' in find_python(environment, '3.11').stderr
    assert 'python9 (no such program)' in find_python({**environment, 'PYTHON': 'python9'}, '3.11').stderr


def test_the_long_files_of_tests_begin_first():
    """Each line of the list names a file that there is, the longest first; and xdist keeps the order."""
    lines = [line.split() for line in (ROOT / 'tests/longest_first.txt').read_text(encoding='utf-8').splitlines()[1:]]
    assert len(lines) > 20 and all((ROOT / 'tests' / name).is_file() for _, name in lines)
    seconds = [int(number) for number, _ in lines]
    assert seconds == sorted(seconds, reverse=True)
    assert '--dist=loadfile --no-loadscope-reorder' in (ROOT / 'Makefile').read_text(encoding='utf-8')
