"""The house rules a program can check: which way imports point, and what no source file may hold.

The rules are tried on small bad trees first, so that the check of the real tree is known to be able to fail.
"""
import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = 'yolov3_tf'

# A folder, or a module at the first level, may import its own layer and those before it; never a later one.
LAYERS = [
    ['errors'],
    ['choices', 'printable', 'boxes', 'geometry', 'atomic_file', 'array_file', 'cache_folder', 'collector',
     'regular_file', 'orientation', 'image_headers', 'rgb_images', 'replicas', 'progress', 'fetch'],
    ['structures', 'anchors', 'codec', 'assign', 'postprocess', 'tiling', 'tile_merge', 'losses', 'drawing'],
    ['data', 'models'],
    ['data_check', 'evaluation'],
    ['export', 'run_report'],
    ['inference', 'training'],
    ['figures', 'experiments'],
    ['cli'],
]
LAYER_OF = {f'{PACKAGE}.{name}': depth for depth, names in enumerate(LAYERS) for name in names}
PROGRAMS = len(LAYERS) - 1
OUTSIDE = len(LAYERS)       # the scripts beside the package, its __main__, and the public face

# (importer, never imports), beyond the layers; a name stands for all below it.
APART = [
    (f'{PACKAGE}.models', f'{PACKAGE}.losses'),
    (f'{PACKAGE}.models', f'{PACKAGE}.data'),
    (f'{PACKAGE}.data', f'{PACKAGE}.models'),
    (f'{PACKAGE}.data', f'{PACKAGE}.losses'),
    (f'{PACKAGE}.losses', f'{PACKAGE}.drawing'),
    (f'{PACKAGE}.evaluation', f'{PACKAGE}.data_check'),
    (f'{PACKAGE}.figures', f'{PACKAGE}.experiments'),
    (f'{PACKAGE}.experiments', f'{PACKAGE}.figures'),
    (f'{PACKAGE}.inference', f'{PACKAGE}.training'),
    (f'{PACKAGE}.training', f'{PACKAGE}.inference'),
    (f'{PACKAGE}.data.image_files', f'{PACKAGE}.data.readers'),
    (f'{PACKAGE}.evaluation.voc', PACKAGE),
]
CATCH_ALL_NAMES = {'utils', 'util', 'common', 'helpers', 'helper', 'misc'}
PICKLERS = {'pickle', 'cPickle', 'dill', 'cloudpickle', 'joblib', 'marshal', 'shelve'}


def source_files(root):
    """Our Python files but the tests: the packages, the scripts beside them, setup.py."""
    folders = [PACKAGE, 'voc_annotations', 'experiments', 'benchmarks', 'tools']
    inside = [path for name in folders for path in (root / name).rglob('*.py')]
    return sorted(root.glob('*.py')) + sorted(inside)


def module_name(root, path):
    parts = path.relative_to(root).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def within(module, ancestor):
    return module == ancestor or module.startswith(ancestor + '.')


def layer(module):
    """How high a module stands; None for one that no layer names."""
    if not within(module, PACKAGE) or module in (PACKAGE, f'{PACKAGE}.__main__'):
        return OUTSIDE
    return LAYER_OF.get('.'.join(module.split('.')[:2]))


def imported(tree, module, is_package):
    """Yields (line, absolute dotted name) of each import; ``from a import b`` gives a.b whatever b is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = (node.module or '').split('.') if node.module else []
            if node.level:
                parts = module.split('.')
                base = parts[:len(parts) - node.level + is_package] + base
            yield from ((node.lineno, '.'.join([*base, alias.name])) for alias in node.names)


def import_faults(module, name, modules):
    """What is wrong with ``module`` importing ``name``; ``modules`` are the names that exist as files."""
    target = name if name in modules else name.rpartition('.')[0] or name
    if within(name, 'absl.flags') and within(module, PACKAGE) and layer(module) != PROGRAMS:
        yield 'absl.flags: only programs read flags'
    if name.split('.')[0] in PICKLERS:
        yield f'imports {name}: runs whatever a file says'
    ours = {known.split('.')[0] for known in modules} | {PACKAGE}
    if target.split('.')[0] not in ours or not within(module, PACKAGE):
        return
    if layer(module) is None or layer(target) is None:
        return                              # told once, for the file itself
    if layer(target) > layer(module):
        yield f'imports {name}: upwards, from layer {layer(module)} to {layer(target)}'
    for importer, banned in APART:
        if within(module, importer) and within(target, banned):
            yield f'imports {name}: {importer} never imports {banned}'


def call_faults(tree):
    """Yields (line, fault) for exec, eval, shell=True, allow_pickle=True, os.system and Lambda layers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == 'Lambda':
            yield node.lineno, 'Lambda layer: does not load without the code that saved it'
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in {'exec', 'eval', 'Lambda'}:
            yield node.lineno, f'calls {node.func.id}'
        if ast.unparse(node.func) in {'os.system', 'os.popen'}:
            yield node.lineno, f'calls {ast.unparse(node.func)}: subprocess with a list instead'
        for keyword in node.keywords:
            if keyword.arg in {'shell', 'allow_pickle'} and ast.unparse(keyword.value) != 'False':
                yield node.lineno, f'{keyword.arg}={ast.unparse(keyword.value)}'


def import_graph(root):
    """Module -> the modules of the package that its first level of statements imports."""
    named = {module_name(root, path): path for path in source_files(root)}
    paths = {module: path for module, path in named.items() if within(module, PACKAGE)}
    graph = {}
    for module, path in paths.items():
        tree = ast.parse(path.read_text(encoding='utf-8'))
        tree.body = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {name for _, name in imported(tree, module, path.name == '__init__.py')}
        graph[module] = {name if name in paths else name.rpartition('.')[0] for name in names} & set(paths)
    return graph


def import_cycles(graph):
    """Modules that reach themselves, found by taking away whatever imports nothing that is left."""
    left = {module: targets - {module} for module, targets in graph.items()}
    while True:
        free = {module for module, targets in left.items() if not targets}
        if not free:
            return sorted(left)
        left = {module: targets - free for module, targets in left.items() if module not in free}


def faults(root):
    """Every breach of the house rules below ``root``, as 'file:line: what'."""
    paths = source_files(root)
    modules = {module_name(root, path) for path in paths}
    found = []
    for path in paths:
        module, tree = module_name(root, path), ast.parse(path.read_text(encoding='utf-8'))
        where = path.relative_to(root).as_posix()
        if layer(module) is None:
            found.append(f'{where}:1: no layer names it: it has no place in the house')
        if path.stem in CATCH_ALL_NAMES:
            found.append(f'{where}:1: what concept is missing a name?')
        found += [f'{where}:{line}: {fault}'
                  for line, name in imported(tree, module, path.name == '__init__.py')
                  for fault in import_faults(module, name, modules)]
        found += [f'{where}:{line}: {fault}' for line, fault in call_faults(tree)]
    return found + [f'{name}: in, or behind, an import cycle' for name in import_cycles(import_graph(root))]


def plant(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')


CLEAN = dict.fromkeys([
    'train.py', 'voc_annotations/__init__.py', 'yolov3_tf/boxes.py', 'yolov3_tf/codec.py', 'yolov3_tf/errors.py',
    'yolov3_tf/data/pipeline.py', 'yolov3_tf/data/image_files.py', 'yolov3_tf/data/readers/voc.py',
    'yolov3_tf/evaluation/voc.py', 'yolov3_tf/losses/criterion.py', 'yolov3_tf/models/blocks.py',
    'yolov3_tf/models/yolov3_network.py', 'yolov3_tf/training/trainer.py', 'yolov3_tf/experiments/bootstrap.py',
    'yolov3_tf/figures/slots.py', 'yolov3_tf/inference/detector.py', 'yolov3_tf/cli/train.py'], '')


@pytest.mark.parametrize('name, text, expected', [
    ('yolov3_tf/boxes.py', 'from yolov3_tf import codec', 'upwards'),
    ('yolov3_tf/boxes.py', 'from .codec import encode', 'upwards'),
    ('yolov3_tf/boxes.py', 'def late():\n    import yolov3_tf.codec', 'upwards'),
    ('yolov3_tf/errors.py', 'from yolov3_tf import boxes', 'upwards'),
    ('yolov3_tf/cli/train.py', 'import yolov3_tf', 'upwards'),
    ('yolov3_tf/boxes.py', 'from yolov3_tf import load', 'upwards'),
    ('yolov3_tf/codec.py', 'from yolov3_tf.data.readers import voc', 'upwards'),
    ('yolov3_tf/losses/criterion.py', 'from ..training import trainer', 'upwards'),
    ('yolov3_tf/training/trainer.py', 'import train', 'upwards'),
    ('yolov3_tf/data/readers/voc.py', 'import voc_annotations', 'upwards'),
    ('yolov3_tf/models/yolov3_network.py', 'from yolov3_tf.losses import criterion', 'never imports yolov3_tf.losses'),
    ('yolov3_tf/models/yolov3_network.py', 'from ..data import pipeline', 'never imports yolov3_tf.data'),
    ('yolov3_tf/data/pipeline.py', 'from yolov3_tf.models import yolov3_network', 'never imports yolov3_tf.models'),
    ('yolov3_tf/data/image_files.py', 'from .readers import voc', 'never imports yolov3_tf.data.readers'),
    ('yolov3_tf/inference/detector.py', 'from ..training import trainer', 'never imports yolov3_tf.training'),
    ('yolov3_tf/evaluation/voc.py', 'from yolov3_tf import boxes', 'never imports yolov3_tf'),
    ('yolov3_tf/evaluation/voc.py', 'from .. import boxes', 'never imports yolov3_tf'),
    ('yolov3_tf/training/trainer.py', 'from absl import flags', 'only programs read flags'),
    ('yolov3_tf/training/trainer.py', 'from absl.flags import FLAGS', 'only programs read flags'),
    ('yolov3_tf/experiments/bootstrap.py', 'from absl import flags', 'only programs read flags'),
    ('yolov3_tf/losses/criterion.py', 'from yolov3_tf.figures import slots', 'upwards'),
    ('yolov3_tf/figures/slots.py', 'from yolov3_tf.cli import train', 'upwards'),
    ('yolov3_tf/figures/slots.py', 'from yolov3_tf.experiments import bootstrap',
     'never imports yolov3_tf.experiments'),
    ('yolov3_tf/evaluation/voc.py', 'from yolov3_tf.experiments import bootstrap', 'upwards|never imports'),
    ('yolov3_tf/data/utils.py', '', 'missing a name'),
    ('yolov3_tf/new_folder/thing.py', '', 'no layer names it'),
    ('train.py', 'import pickle', 'imports pickle'),
    ('train.py', 'from joblib import dump', 'imports joblib'),
    ('train.py', 'exec("1")', 'calls exec'),
    ('benchmarks/speed.py', 'subprocess.run("ls", shell=True)', 'shell=True'),
    ('train.py', 'np.load("a", allow_pickle=True)', 'allow_pickle=True'),
    ('train.py', 'os.system("ls")', 'calls os.system'),
    ('yolov3_tf/models/yolov3_network.py', 'tf.keras.layers.Lambda(f)', 'Lambda layer'),
    ('yolov3_tf/models/yolov3_network.py', 'from yolov3_tf.models import blocks', 'import cycle'),
])
def test_a_breach_is_found(tmp_path, name, text, expected):
    """One line in an otherwise clean tree gives its fault and no other."""
    plant(tmp_path, CLEAN)
    assert faults(tmp_path) == []
    if expected == 'import cycle':
        plant(tmp_path, {'yolov3_tf/models/blocks.py': 'from . import yolov3_network'})
    plant(tmp_path, {name: text})
    found = faults(tmp_path)
    assert found and all(re.search(expected, fault) for fault in found), found


def test_what_is_allowed_passes(tmp_path):
    plant(tmp_path, {
        'train.py': 'from yolov3_tf.cli.program import main\n',
        'voc_annotations/__main__.py': 'from yolov3_tf.cli.program import main\n',
        'yolov3_tf/__init__.py': 'if TYPE_CHECKING:\n    from yolov3_tf.inference.detector import load\n',
        'yolov3_tf/assign.py': '',
        'yolov3_tf/boxes.py': '',
        'yolov3_tf/inference/detector.py': '',
        'yolov3_tf/__main__.py': 'from yolov3_tf.cli.program import main\n',
        'yolov3_tf/cli/program.py': 'from absl import flags\nfrom yolov3_tf.errors import InputError\n',
        'yolov3_tf/errors.py': 'class InputError(ValueError):\n    pass\n',
        'yolov3_tf/training/trainer.py': 'from absl import logging\nfrom yolov3_tf.training import stages\n',
        'yolov3_tf/training/stages.py': 'def late():\n    from yolov3_tf.training import trainer\n',
        'yolov3_tf/losses/criterion.py': 'import numpy as np\nfrom . import box\nfrom .. import assign, boxes\n',
        'yolov3_tf/losses/box.py': 'from yolov3_tf.boxes import giou\nparser.eval("x")\nf = lambda x: x\n',
        'yolov3_tf/evaluation/voc.py': 'import numpy as np\nfrom typing import List\n',
    })
    assert faults(tmp_path) == []


def test_our_tree_keeps_the_rules():
    assert (ROOT / PACKAGE / 'boxes.py') in source_files(ROOT)
    assert faults(ROOT) == []
