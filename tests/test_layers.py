"""The house rules a program can check: which way imports point, and what no source file may hold.

The rules are tried on small bad trees first, so that the check of the real tree is known to be able to fail.
"""
import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = 'yolov3_tf'

# A module may import its own layer and those before it. A name stands for all below it unless they are
# named themselves: `data` is the readers and what happens to one picture, `data.pipeline` comes later.
LAYERS = [
    ['boxes', 'structures', 'choices', 'script', 'whole_file', 'replicas', 'draw', 'plots'],
    ['codec', 'anchors', 'data'],
    ['losses', 'assign', 'postprocess', 'models', 'data.pipeline', 'data.contact_sheet', 'evaluation'],
]
LAYER_OF = {f'{PACKAGE}.{name}': depth for depth, names in enumerate(LAYERS) for name in names}
REST = len(LAYERS)          # the rest of the package: training, stages, export, darknet_weights, draw ...
SCRIPTS = REST + 1          # __main__ and everything outside the package

# (importer, never imports), beyond the layers; a name stands for all below it.
APART = [
    (f'{PACKAGE}.models', f'{PACKAGE}.losses'),
    (f'{PACKAGE}.models', f'{PACKAGE}.data'),
    (f'{PACKAGE}.data', f'{PACKAGE}.models'),
    (f'{PACKAGE}.evaluation.voc', PACKAGE),
]
# Run with -m as processes of their own, so they read flags as scripts do; and how all of them start.
PROGRAMS = {f'{PACKAGE}.script', f'{PACKAGE}.experiments.train_flags', f'{PACKAGE}.data.contact_sheet'}
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
    """How high a module stands: by the longest name in LAYERS that covers it."""
    if not within(module, PACKAGE) or module.endswith('.__main__'):
        return SCRIPTS
    if module == PACKAGE:
        return 0
    covering = [name for name in LAYER_OF if within(module, name)]
    return LAYER_OF[max(covering, key=len)] if covering else REST


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
            yield from ((node.lineno, '.'.join(base + [alias.name])) for alias in node.names)


def import_faults(module, name, modules):
    """What is wrong with ``module`` importing ``name``; ``modules`` are the names that exist as files."""
    target = name if name in modules else name.rpartition('.')[0] or name
    reads_flags = module.endswith('__main__') or module in PROGRAMS
    if within(name, 'absl.flags') and within(module, PACKAGE) and not reads_flags:
        yield 'absl.flags: only scripts read flags'
    if name.split('.')[0] in PICKLERS:
        yield f'imports {name}: runs whatever a file says'
    ours = {known.split('.')[0] for known in modules} | {PACKAGE}
    if target.split('.')[0] not in ours or not within(module, PACKAGE):
        return
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
    'train.py', 'voc_annotations/__init__.py', 'yolov3_tf/boxes.py', 'yolov3_tf/codec.py',
    'yolov3_tf/data/pipeline.py', 'yolov3_tf/data/voc.py', 'yolov3_tf/evaluation/voc.py',
    'yolov3_tf/losses/total.py', 'yolov3_tf/models/blocks.py', 'yolov3_tf/models/yolov3.py',
    'yolov3_tf/new_room.py', 'yolov3_tf/training.py', 'yolov3_tf/experiments/bootstrap.py',
    'yolov3_tf/figures/slots.py'], '')


@pytest.mark.parametrize('name, text, expected', [
    ('yolov3_tf/boxes.py', 'from yolov3_tf import codec', 'upwards'),
    ('yolov3_tf/boxes.py', 'from .codec import encode', 'upwards'),
    ('yolov3_tf/boxes.py', 'def late():\n    import yolov3_tf.codec', 'upwards'),
    ('yolov3_tf/data/voc.py', 'from yolov3_tf.data import pipeline', 'upwards'),
    ('yolov3_tf/data/voc.py', 'from .pipeline import training_batches', 'upwards'),
    ('yolov3_tf/data/__init__.py', 'from . import pipeline', 'upwards'),
    ('yolov3_tf/losses/total.py', 'from ..training import run', 'upwards'),
    ('yolov3_tf/training.py', 'import train', 'upwards'),
    ('yolov3_tf/data/voc.py', 'import voc_annotations', 'upwards'),
    ('yolov3_tf/models/yolov3.py', 'from yolov3_tf.losses import total', 'never imports yolov3_tf.losses'),
    ('yolov3_tf/models/yolov3.py', 'from ..data import voc', 'never imports yolov3_tf.data'),
    ('yolov3_tf/data/pipeline.py', 'from yolov3_tf.models import yolov3', 'never imports yolov3_tf.models'),
    ('yolov3_tf/evaluation/voc.py', 'from yolov3_tf import boxes', 'never imports yolov3_tf'),
    ('yolov3_tf/evaluation/voc.py', 'from .. import boxes', 'never imports yolov3_tf'),
    ('yolov3_tf/training.py', 'from absl import flags', 'only scripts read flags'),
    ('yolov3_tf/training.py', 'from absl.flags import FLAGS', 'only scripts read flags'),
    ('yolov3_tf/experiments/runner.py', 'from absl import flags', 'only scripts read flags'),
    ('yolov3_tf/figures/slots.py', 'from absl import flags', 'only scripts read flags'),
    ('yolov3_tf/losses/total.py', 'from yolov3_tf.figures import slots', 'upwards'),
    ('yolov3_tf/evaluation/report.py', 'from yolov3_tf.experiments import bootstrap', 'upwards'),
    ('yolov3_tf/data/utils.py', '', 'missing a name'),
    ('yolov3_tf/codec.py', 'from yolov3_tf import new_room', 'upwards'),
    ('train.py', 'import pickle', 'imports pickle'),
    ('train.py', 'from joblib import dump', 'imports joblib'),
    ('train.py', 'exec("1")', 'calls exec'),
    ('benchmarks/speed.py', 'subprocess.run("ls", shell=True)', 'shell=True'),
    ('train.py', 'np.load("a", allow_pickle=True)', 'allow_pickle=True'),
    ('train.py', 'os.system("ls")', 'calls os.system'),
    ('yolov3_tf/models/head.py', 'tf.keras.layers.Lambda(f)', 'Lambda layer'),
    ('yolov3_tf/models/head.py', 'from yolov3_tf.models import blocks', 'import cycle'),
])
def test_a_breach_is_found(tmp_path, name, text, expected):
    """One line in an otherwise clean tree gives its fault and no other."""
    plant(tmp_path, CLEAN)
    assert faults(tmp_path) == []
    if expected == 'import cycle':
        plant(tmp_path, {'yolov3_tf/models/blocks.py': 'from . import head'})
    plant(tmp_path, {name: text})
    found = faults(tmp_path)
    assert found and all(expected in fault for fault in found), found


def test_what_is_allowed_passes(tmp_path):
    plant(tmp_path, {
        'train.py': 'from absl import flags\nfrom yolov3_tf import training\n',
        'voc_annotations/__main__.py': 'from absl import flags\nfrom yolov3_tf.data import voc\n',
        'yolov3_tf/__init__.py': '"""Nothing."""\n',
        'yolov3_tf/training.py': 'from absl import logging\nfrom yolov3_tf import checkpoints, stages\n',
        'yolov3_tf/stages.py': 'def late():\n    from yolov3_tf import training\n',
        'yolov3_tf/losses/total.py': 'import numpy as np\nfrom . import box\nfrom .. import assign, boxes\n',
        'yolov3_tf/losses/box.py': 'from yolov3_tf.boxes import giou\nparser.eval("x")\nf = lambda x: x\n',
        'yolov3_tf/evaluation/voc.py': 'import numpy as np\nfrom typing import List\n',
    })
    assert faults(tmp_path) == []


def test_our_tree_keeps_the_rules():
    assert (ROOT / PACKAGE / 'boxes.py') in source_files(ROOT)
    assert faults(ROOT) == []
