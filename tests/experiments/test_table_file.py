"""Table files: their content, and one message with file and line for each kind of typo."""
import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.experiments import table_file
from yolov3_tf.training import flag_texts

GOOD = '''# a comment
[table]
title = Mine: two
  and a half
question = Which?
flags = --focal
    --ignore_thresh=0.45
baseline = one

[one]
flags = --loss=mse
paper = 82.46
[two]
flags =
    # left out: --loss=iou
    --loss=giou --box_weight=2
note = a note
[three]
flags =
'''


def write(folder, text, name='mine.ini'):
    (folder / name).write_text(text, encoding='utf-8')
    return folder / name


def test_a_table_is_read_with_its_locations(tmp_path):
    path = write(tmp_path, GOOD)
    table = table_file.read(path)
    assert (table.name, table.title, table.question) == ('mine', 'Mine: two and a half', 'Which?')
    assert table.flags == (('--focal', f'{path}:6'), ('--ignore_thresh=0.45', f'{path}:7'))
    assert [(cell.name, cell.paper, cell.note, cell.where) for cell in table.cells] == [
        ('one', 82.46, '', f'{path}:10'), ('two', None, 'a note', f'{path}:13'), ('three', None, '', f'{path}:18')]
    assert table.cells[1].flags == (('--loss=giou', f'{path}:16'), ('--box_weight=2', f'{path}:16'))
    assert table.comparisons == (('two', 'one'), ('three', 'one'))


def test_pairs_replace_the_baseline(tmp_path):
    pairs = 'compare =\n  two - one\n  three - two\n'
    table = table_file.read(write(tmp_path, GOOD.replace('baseline = one\n', pairs)))
    assert table.comparisons == (('two', 'one'), ('three', 'two'))
    first = table_file.read(write(tmp_path, GOOD.replace('baseline = one\n', '')))
    assert first.comparisons == (('two', 'one'), ('three', 'one'))
    assert table_file.read(write(tmp_path, GOOD.replace('baseline = one\n', 'compare =\n'))).comparisons == ()


@pytest.mark.parametrize('old, new, line, message', [
    ('question', 'qestion', 5, "unknown key 'qestion' in .table.*is it question"),
    ('note = a note', 'papr = 1', 17, "unknown key 'papr' in .two.*is it paper"),
    ('baseline = one', 'baseline = on', 8, "no cell 'on': expected one of one, two, three; is it one"),
    ('baseline = one', 'compare = two - four', 8, "no cell 'four'"),
    ('baseline = one', 'compare =\n  two - one\n  two-three', 10, 'two cells as A - B'),
    ('baseline = one', 'compare = two - two', 8, 'two different cells'),
    ('[three]', '[two]', 18, r'a second \[two\], the first is on line 13'),
    ('paper = 82.46', 'flags = --focal', 12, "a second 'flags'"),
    ('paper = 82.46', 'paper = 824.6', 12, "a number from 0 to 100, got '824.6'"),
    ('paper = 82.46', 'paper = ca. 82', 12, "got 'ca. 82'"),
    ('paper = 82.46', 'paper 82.46', 12, 'expected key = value'),
    ('--loss=mse', '--loss mse', 11, "--name=value or --name, got 'mse'"),
    ('    --ignore_thresh=0.45', '    -ignore_thresh=0.45', 7, "got '-ignore_thresh=0.45'"),
    ('[one]', '[one/two]', 10, 'letters, digits'),
    ('title = Mine: two\n  and a half\n', '', 2, 'needs a line title'),
    ('[three]\nflags =', '[three]\npaper = 3', 18, 'cell three needs a line flags'),
    ('[table]', '[tabel]', 1, r'expected a section \[table\]'),
    ('# a comment\n[table]', 'title = x', 1, r'expected \[table\] or the \[name\]'),
])
def test_a_typo_is_named_with_its_line(tmp_path, old, new, line, message):
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(InputError, match=message) as error:
        table_file.read(path)
    assert str(error.value).startswith(f'{path}:{line}: '), error.value


def test_tables_are_found_by_number_by_name_and_by_path(tmp_path):
    assert table_file.find('I').name == 'table1.ini'
    assert table_file.find('precision') == table_file.HERE / 'tables' / 'precision.ini'
    assert table_file.find(str(write(tmp_path, GOOD))) == tmp_path / 'mine.ini'


def test_nothing_to_read(tmp_path):
    with pytest.raises(InputError, match='V: expected a table, I, II, III, IV or a file, got nothing at V'):
        table_file.find('V')
    with pytest.raises(InputError, match='got a folder'):
        table_file.find(str(tmp_path))
    with pytest.raises(InputError, match='a section for every cell'):
        table_file.read(write(tmp_path, '[table]\ntitle = x\n'))
    with pytest.raises(InputError, match='got no section at all'):
        table_file.read(write(tmp_path, ''))
    (tmp_path / 'bytes.ini').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(InputError, match='expected UTF-8'):
        table_file.read(tmp_path / 'bytes.ini')


def test_a_protocol_is_read_line_by_line(tmp_path):
    path = write(tmp_path, '# why\n\n--full_epochs=3,1\n// c\n--focal\n', 'p.flags')
    assert flag_texts.read_file(path) == (('--full_epochs=3,1', f'{path}:3'), ('--focal', f'{path}:5'))
    write(tmp_path, '--focal\nloss=giou\n', 'p.flags')
    with pytest.raises(InputError, match="p.flags:2: expected a flag .* got 'loss=giou'"):
        flag_texts.read_file(path)
    with pytest.raises(InputError, match='expected a file of flags, got nothing'):
        flag_texts.read_file(tmp_path / 'none.flags')


# Printed in the paper, AP in %: localisation, IoU, GIoU.
PAPER = {'': (82.46, 82.98, 83.11), 'focal_0.4': (83.42, 83.96, 84.09), 'focal_0.45': (84.82, 85.21, 85.36),
         'focal_0.5': (84.55, 85.01, 85.12), 'asymptotic': (85.76, 86.02, 86.13)}
LOSSES = ('mse', 'iou', 'giou')


def named(*settings):
    return {'_'.join(filter(None, [setting, loss])): PAPER[setting][index]
            for setting in settings for index, loss in enumerate(LOSSES)}


@pytest.mark.parametrize('name, cells', [
    ('I', named('')), ('II', named('', 'focal_0.4', 'focal_0.45', 'focal_0.5')),
    ('III', named('focal_0.45', 'asymptotic')),
    ('IV', {'coupled': 86.13, 'separated': 86.05})])
def test_the_paper_s_tables_hold_its_numbers(name, cells):
    table = table_file.read(table_file.find(name))
    assert {cell.name: cell.paper for cell in table.cells} == cells
    assert table.title.startswith(f'Table {name}: ') and table.comparisons


@pytest.mark.parametrize('name', ['I', 'II', 'III'])
def test_a_cell_s_flags_are_its_name(name):
    table = table_file.read(table_file.find(name))
    for cell in table.cells:
        flags = dict(token.text[2:].partition('=')[::2] for token in (*table.flags, *cell.flags))
        parts = cell.name.split('_')
        assert flags['loss'] == parts[-1]
        assert ('asymptotic' in flags) == (parts[0] == 'asymptotic')
        assert ('nofocal' in flags) == (len(parts) == 1) != ('focal' in flags)
        assert flags['ignore_thresh'] == {1: '0.5', 2: '0.45', 3: parts[1] if len(parts) == 3 else ''}[len(parts)]
