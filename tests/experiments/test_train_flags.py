"""Flags are read by the script itself: a stand-in for most cases, train.py for the paper's tables."""
import pathlib

import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.experiments import plan, table_file, train_flags
from yolov3_tf.experiments.table_file import Token
from yolov3_tf.experiments.train_flags import Question

FAKE = pathlib.Path(__file__).parents[1] / 'fixtures' / 'fake_train.py'


def tokens(*texts, where='here'):
    return [Token(text, where) for text in texts]


def test_flags_are_read_in_order_and_written_one_way():
    """The later value counts; .50 is the default .5 and --focal=true is --focal."""
    script = train_flags.read(FAKE, [
        Question('none', [], []),
        Question('a', tokens('--loss=iou', '--ignore_thresh=.50'), tokens('--loss=giou', '--focal=true')),
        Question('b', tokens('--full_epochs=3,1'), tokens('--nofocal', '--loss=mse'))])
    none, first, second = script.sets
    assert none.given == {} and none.values['ignore_thresh'] == '0.5' and 'full_epochs' not in none.values
    assert first.given == {'loss': '--loss=giou', 'focal': '--focal'}
    assert second.given == {'full_epochs': '--full_epochs=3,1'} and second.values['loss'] == 'mse'
    assert {'loss', 'export', 'seed'} <= set(script.names) and script.neutral[:2] == ('name', 'runs_dir')


def test_a_protocol_may_speak_of_a_stage_that_some_cells_do_not_have():
    common = tokens('--asymptotic_epochs=5')
    with_it, without = train_flags.read(FAKE, [Question('a', common, tokens('--asymptotic')),
                                               Question('b', common, [])]).sets
    assert with_it.given['asymptotic_epochs'] == '--asymptotic_epochs=5' and without.given == {}


def test_every_fault_is_named_with_its_place():
    own = [Token('--los=giou', 'my.ini:3'), Token('--loss=diuo', 'my.ini:4'), Token('--seed=4', 'my.ini:5'),
           Token('--batch_size=x', 'my.ini:6'), Token('--batch_size=8', 'my.ini:7')]
    with pytest.raises(InputError) as error:
        train_flags.read(FAKE, [Question('a', tokens('--haed=coupled', where='--flags'), own), Question('b', [], own)])
    faults = str(error.value).splitlines()
    for fault, expected in zip(faults, ["--flags: --haed=coupled: Unknown command line flag 'haed'. Did you mean: head",
                                        "my.ini:3: --los=giou: Unknown command line flag 'los'. Did you mean: loss",
                                        'my.ini:4: --loss=diuo: flag --loss=diuo: value should be one of',
                                        'my.ini:5: --seed=4: the runner gives --seed itself',
                                        'my.ini:6: --batch_size=x: flag --batch_size=x']):
        assert fault.startswith(expected)
    assert len(faults) == 5


def test_a_contradiction_is_named_with_its_cell():
    with pytest.raises(InputError, match='^my.ini:9: cell early: separated_early with mse: choose an overlap loss$'):
        train_flags.read(FAKE, [Question('cell early', [], [Token('--head=separated_early', 'my.ini:9')])])


def test_a_script_that_does_not_start(tmp_path):
    with pytest.raises(InputError, match='expected the script that trains, got nothing'):
        train_flags.read(tmp_path / 'none.py', [])
    (tmp_path / 'broken.py').write_text('import nothing_of_that_name\n')
    with pytest.raises(InputError, match="(?s)cannot be imported.*No module named 'nothing_of_that_name'"):
        train_flags.read(tmp_path / 'broken.py', [])


def cells_of_all_tables():
    """(table, cell, flags common to it) of the paper's tables, under one protocol."""
    common = (*table_file.read_flags(table_file.HERE / 'protocols/tiny.flags'),
              *tokens('--train_data=shapes:12', '--asymptotic_epochs=1'))
    return [(name, cell, (*common, *table.flags)) for name in table_file.BUILT_IN
            for table in [table_file.read(table_file.find(name))] for cell in table.cells]


def test_train_py_takes_the_paper_s_tables_and_a_cell_of_two_is_one_run():
    cells = cells_of_all_tables()
    read = train_flags.read(table_file.ROOT / 'train.py', [Question(cell.name, flags, cell.flags)
                                                       for _, cell, flags in cells])
    known = {*plan.OF_ASYMPTOTIC, *plan.OF_DETECTION, *plan.WEIGHTS, *plan.NEVER_SHAPE}
    assert known <= set(read.names), known - set(read.names)
    parts = {(name, cell.name): part for (name, cell, _), part in zip(cells, plan.parts(
        {str(place): flag_set for place, flag_set in enumerate(read.sets)}, read.neutral).values())}
    assert len({part.key for part in parts.values()}) == 3 + 9 + 3 + 1
    assert parts['I', 'giou'].key == parts['II', 'giou'].key
    assert parts['II', 'focal_0.45_mse'].key == parts['III', 'focal_0.45_mse'].key
    assert parts['III', 'asymptotic_giou'].key == parts['IV', 'coupled'].key
    assert len({part.needs.key for part in parts.values() if part.needs}) == 1
