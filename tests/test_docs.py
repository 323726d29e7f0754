"""The pages say what is there: links, commands, flags, make targets and test names are real; words are the field's."""
import importlib
import pathlib
import re
import shlex

import pytest
from absl import flags

import yolov3_tf
from yolov3_tf.cli.program import COMMANDS

ROOT = pathlib.Path(__file__).resolve().parents[1]
TABLES = ROOT / 'docs' / 'results'          # written by the runner, with the commands of their day
HISTORY = 'CHANGELOG.md'                    # names old flags on purpose
PAGES = sorted([*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md')])
WRITTEN = [path for path in PAGES if TABLES not in path.parents]
PRESENT = [path for path in WRITTEN if path.name != HISTORY]
SCRIPTS = {'train.py': 'train', 'evaluate.py': 'evaluate', 'detect.py': 'detect', 'export_saved_model.py': 'export',
           'convert_darknet_weights.py': 'convert'}
BANNED = re.compile(r'\b(pictures?|resting|mend(s|ed|ing)?|doors?|stage ?[12]|left in peace)\b', re.IGNORECASE)
FORMS = {'--flag', '--noflag'}              # how a page explains that flags are written


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def each(pages):
    return pytest.mark.parametrize('path', pages, ids=name_of)


def prose(text):
    """The text without fenced code."""
    return re.sub(r'^```.*?^```', '', text, flags=re.DOTALL | re.MULTILINE)


def anchors(text):
    """Names that a link's #part can have: the headings, as GitHub writes them."""
    heads = re.findall(r'^#+ +(.+)$', prose(text), flags=re.MULTILINE)
    return {re.sub(r'[^\w\- ]', '', re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', head).lower()).replace(' ', '-')
            for head in heads}


def links(text):
    """Targets of links and images that lead to a file here."""
    targets = re.findall(r'\]\(([^()\s]+)\)', prose(text))
    return [target for target in targets if not re.match(r'[a-z]+:', target)]


def broken_links(path):
    for target in links(path.read_text(encoding='utf-8')):
        file, _, anchor = target.partition('#')
        there = (path.parent / file) if file else path
        if not there.exists():
            yield f'{target}: nothing there'
        elif anchor and anchor not in anchors(there.read_text(encoding='utf-8')):
            yield f'{target}: no such heading'


def code_lines(text):
    """Lines of code: blocks by fence or indent, and `spans`; a line that ends in a backslash goes on in the next."""
    text = re.sub(r'\\\n\s*', ' ', text)
    fenced = re.findall(r'^```\w*\n(.*?)^```', text, flags=re.DOTALL | re.MULTILINE)
    rest = prose(text)
    lines = [line for block in fenced for line in block.splitlines()]
    lines += re.findall(r'^ {4,}(.+)$', rest, flags=re.MULTILINE)
    return [line.strip() for line in lines + [span.replace('\n', ' ') for span in re.findall(r'`([^`]+)`', rest)]]


def invocations(line):
    """(program, its words) of every command of ours in a line of code; programs as in ``COMMANDS``."""
    for part in re.split(r'&&|\|\||[;|]', re.sub(r'(^|\s)#.*', '', line)):
        found = re.search(r'(?:^|[\s/])(?:yolov3-tf|python\S* -m yolov3_tf)\s+([a-z][\w-]*)(.*)', part)
        script = re.search(r'(?:^|[\s/])(?:python\S* )?(\w+\.py)\b(.*)', part)
        module = re.search(r'-m voc_annotations\b(.*)', part)
        if found:
            yield found[1], words(found[2])
        elif module:
            yield 'voc-annotations', words(module[1])
        elif script and script[1] in SCRIPTS:
            yield SCRIPTS[script[1]], words(script[2])


def words(text):
    try:
        return shlex.split(text)
    except ValueError:                      # a quote that ends elsewhere
        return text.split()


def flag_names(arguments):
    return [match[1] for match in (re.match(r'--([A-Za-z_]\w*)', word) for word in arguments) if match]


@pytest.fixture(scope='module')
def defined():
    """Command -> names of its flags, those of absl included and switches in both forms."""
    return {command: names_of(row) for command, row in COMMANDS.items()}


def names_of(command):
    values = flags.FlagValues()
    importlib.import_module(f'yolov3_tf.cli.{command.module}').define_flags(values)
    names = set(values) | {'flagfile', 'help', 'helpfull'}
    return names | {f'no{name}' for name in values if values[name].boolean}


def test_the_readme_is_short():
    assert len((ROOT / 'README.md').read_text(encoding='utf-8').splitlines()) <= 150


@each(PAGES)
def test_links_lead_somewhere(path):
    assert list(broken_links(path)) == []


@each(PRESENT)
def test_commands_and_their_flags_are_defined(path, defined):
    faults = []
    for line in code_lines(path.read_text(encoding='utf-8')):
        for program, rest in invocations(line):
            if program not in defined:
                faults.append(f'{line}: no command {program}')
            else:
                faults += [f'{line}: {program} has no --{name}' for name in flag_names(rest)
                           if name not in defined[program]]
    assert faults == []


@each(PRESENT)
def test_a_flag_named_by_itself_is_some_programs(path, defined):
    """`--flag` in running text; of a benchmark's or another program's command nothing is asked."""
    known = set().union(*defined.values())
    spans = [span for span in code_lines(path.read_text(encoding='utf-8'))
             if span.startswith('--') and span not in FORMS]
    assert [span for span in spans if not set(flag_names(span.split())) <= known] == []


def test_training_names_every_flag_of_train(defined):
    text = (ROOT / 'docs' / 'TRAINING.md').read_text(encoding='utf-8')
    rows = set(re.findall(r'^\| `--(\w+)` \|', text, flags=re.MULTILINE))
    values = flags.FlagValues()
    importlib.import_module('yolov3_tf.cli.train').define_flags(values)
    assert rows == set(values)


@each(PRESENT)
def test_make_targets_exist(path):
    targets = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(encoding='utf-8'), flags=re.MULTILINE))
    named = [match for line in code_lines(path.read_text(encoding='utf-8'))
             for match in re.findall(r'(?:^|&& )make ([a-z-]+)', line)]
    assert set(named) <= targets


def test_every_target_of_make_is_documented():
    help_lines = re.findall(r'^([a-z-]+):.*## ', (ROOT / 'Makefile').read_text(encoding='utf-8'), flags=re.MULTILINE)
    text = (ROOT / 'docs' / 'INSTALL.md').read_text(encoding='utf-8')
    assert help_lines and [name for name in help_lines if name != 'help' and f'| `make {name}` |' not in text] == []


def test_names_of_proofs_are_names_of_tests():
    text = (ROOT / 'docs' / 'RESULTS.md').read_text(encoding='utf-8')
    section = text[text.index('## What was tried'):]
    names = re.findall(r'\| `([a-z_]+)` \|$', section, flags=re.MULTILINE) + re.findall(r"-k ([a-z_]+)'", section)
    sources = '\n'.join(path.read_text(encoding='utf-8') for path in (ROOT / 'tests').rglob('test_*.py'))
    tests = re.findall(r'^def (test_\w+)', sources, flags=re.MULTILINE)
    assert len(names) > 5
    assert [name for name in names if not any(name in test for test in tests)] == []


@each(PRESENT)
def test_files_named_in_code_exist(path):
    text = path.read_text(encoding='utf-8')
    named = re.findall(r'\b((?:yolov3_tf|tests|benchmarks|tools|docs|requirements)/[\w/]+\.(?:py|sh|md))\b', text)
    assert [name for name in named if not (ROOT / name).exists() and 'NAME' not in name] == []


@each(WRITTEN)
def test_words_are_the_fields(path):
    text = path.read_text(encoding='utf-8')
    if path.name == HISTORY:                # old names, in code
        text = re.sub(r'`[^`]*`', '', text)
    assert [line for line in text.splitlines() if BANNED.search(line)] == []


def test_the_version_is_one():
    cited = re.search(r'^version: (.+)$', (ROOT / 'CITATION.cff').read_text(encoding='utf-8'), flags=re.MULTILINE)[1]
    latest = re.search(r'^## \[([\d.]+)\]', (ROOT / HISTORY).read_text(encoding='utf-8'), flags=re.MULTILINE)[1]
    assert cited == latest == yolov3_tf.__version__


@pytest.mark.parametrize('line, expected', [
    ('yolov3-tf train --loss=giou --focal', [('train', ['loss', 'focal'])]),
    ('.venv/py311/bin/python -m yolov3_tf check voc:a:b --json=-', [('check', ['json'])]),
    ('until python train.py --name=a; [ $? -ne 75 ]; do sleep 10; done', [('train', ['name'])]),
    ('python export_saved_model.py --model=a.h5 && docker run --rm x', [('export', ['model'])]),
    ('python -m voc_annotations --voc=VOCdevkit   # --not_a_flag', [('voc-annotations', ['voc'])]),
    ('python benchmarks/scale.py --steps=3', []),
    ('pip install --upgrade yolov3-tf', []),
])
def test_commands_are_found_in_lines(line, expected):
    assert [(program, flag_names(rest)) for program, rest in invocations(line)] == expected


def test_faults_are_found(tmp_path):
    """The checks above can fail: each kind of fault, planted once."""
    page = tmp_path / 'page.md'
    page.write_text('# A heading\n[a](gone.md) [b](page.md#a-heading) [c](#no-heading) [d](https://x.org)\n'
                    '```\nyolov3-tf train \\\n  --no_such_flag\n```\na door\n', encoding='utf-8')
    text = page.read_text(encoding='utf-8')
    assert list(broken_links(page)) == ['gone.md: nothing there', '#no-heading: no such heading']
    assert [flag_names(rest) for line in code_lines(text) for _, rest in invocations(line)] == [['no_such_flag']]
    assert BANNED.search(text)[0] == 'door'
