"""Cells as recipes: which value is taken, faults and their locations, and the paper's tables."""
import subprocess
import sys

import pytest

from yolov3_tf.errors import InputError
from yolov3_tf.experiments import cells, plan, table_file
from yolov3_tf.experiments.table_file import Cell
from yolov3_tf.training import flag_texts, recipe, recipe_check
from yolov3_tf.training.flag_texts import Token


def tokens(*texts, where='here'):
    return [Token(text, where) for text in texts]


def cell(name, *own, where='my.ini:1'):
    return Cell(name, tuple(tokens(*own)), None, '', where)


def test_flags_are_read_in_order_and_written_in_one_form():
    """The last value is taken; a value equal to the default is not written, and --focal=true is written as --focal."""
    read = cells.read([cell('a', '--loss=giou', '--focal=true'), cell('b', '--nofocal', '--full_epochs=3,1')],
                      tokens('--loss=iou', '--asymptotic_lr=.0010', '--full_lr=1e-3,.0001'))
    assert flag_texts.arguments_of(read['a']) == {
        'loss': '--loss=giou', 'focal': '--focal', 'full_lr': '--full_lr=0.001,0.0001', 'export': '--noexport'}
    assert (read['b'].loss, read['b'].focal, read['b'].full_epochs) == ('iou', False, (3, 1))
    assert flag_texts.arguments_of(read['b'])['focal'] == '--nofocal'


def test_a_protocol_may_have_flags_of_a_stage_that_some_cells_do_not_have():
    read = cells.read([cell('a', '--asymptotic'), cell('b')], tokens('--asymptotic_epochs=5'))
    assert read['a'].asymptotic_epochs == 5 and read['b'] == recipe.DEFAULTS._replace(export=False)


def test_every_fault_is_reported_with_its_location():
    own = (Token('--los=giou', 'my.ini:3'), Token('--loss=diuo', 'my.ini:4'), Token('--seed=4', 'my.ini:5'),
           Token('--batch_size=x', 'my.ini:6'), Token('--batch_size=8', 'my.ini:7'), Token('--cfg', 'my.ini:8'),
           Token('--momentum=nan', 'my.ini:9'))
    with pytest.raises(InputError) as error:
        cells.read([Cell('a', own, None, '', ''), Cell('b', own, None, '', '')],
                   tokens('--haed=coupled', where='--flags'))
    faults = str(error.value).splitlines()
    for fault, expected in zip(faults, ['--flags: --haed=coupled: unknown flag; is it --head?',
                                        'my.ini:3: --los=giou: unknown flag; is it --loss?',
                                        'my.ini:4: --loss=diuo: expected one of ciou, diou',
                                        'my.ini:5: --seed=4: the runner sets --seed itself',
                                        "my.ini:6: --batch_size=x: expected a whole number, got 'x'",
                                        'my.ini:8: --cfg: expected a value, --cfg=...',
                                        'my.ini:9: --momentum=nan: expected a finite number']):
        assert fault.startswith(expected)
    assert len(faults) == 7


def check(*of, common=(), shared=()):
    read = cells.read(of, common)
    cells.check(of, common, read, dict(shared))


def test_a_contradiction_is_reported_with_its_cell():
    """So are a name that does not fit the network, and a run that several cells share."""
    with pytest.raises(InputError) as error:
        check(cell('early', '--cfg=a.cfg', '--head=separated_early'), cell('fine'), cell('late', '--decay_power=2'),
              shared=[('late, split into runs: head', recipe.DEFAULTS._replace(momentum=.5, optimizer='adam'))])
    faults = str(error.value).splitlines()
    for fault, expected in zip(faults, ["here: cell early: unknown head of a cfg network 'separated_early'",
                                        'here: cell late: --decay_power beside --schedule=piecewise',
                                        'late, split into runs: head: --momentum beside --optimizer=adam']):
        assert fault.startswith(expected), fault
    assert len(faults) == 3


def test_planning_does_not_import_tensorflow():
    """The runner waits for hours while its runs are trained, so it should need little memory."""
    code = ('import sys; from yolov3_tf.experiments import cells, experiment, table_file;'
            'cells.read(table_file.read(table_file.find("II")).cells, ()); print("tensorflow" in sys.modules)')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True,
                          env={'PYTHONPATH': ':'.join(filter(None, sys.path))})
    assert done.stdout == 'False\n'


def cells_of_all_tables():
    """(table, cell, flags common to it) of the paper's tables, under one protocol."""
    common = (*flag_texts.read_file(table_file.HERE / 'protocols/tiny.flags'),
              *tokens('--train_data=shapes:12', '--asymptotic_epochs=1'))
    return [(name, cell, (*common, *table.flags)) for name in table_file.BUILT_IN
            for table in [table_file.read(table_file.find(name))] for cell in table.cells]


def test_train_accepts_the_paper_s_tables_and_a_cell_of_two_tables_is_one_run():
    known = {*plan.OF_ASYMPTOTIC, *plan.OF_DETECTION, *plan.WEIGHTS, *plan.NEVER_SHAPE}
    assert known <= set(recipe.Recipe._fields), known - set(recipe.Recipe._fields)
    recipes = {(name, cell.name): cells.read([cell], common)[cell.name] for name, cell, common in cells_of_all_tables()}
    for one in recipes.values():
        recipe_check.check(one)
    parts = dict(zip(recipes, plan.parts({str(number): one for number, one in enumerate(recipes.values())}).values()))
    assert len({part.key for part in parts.values()}) == 3 + 9 + 3 + 1
    assert parts['I', 'giou'].key == parts['II', 'giou'].key
    assert parts['II', 'focal_0.45_mse'].key == parts['III', 'focal_0.45_mse'].key
    assert parts['III', 'asymptotic_giou'].key == parts['IV', 'coupled'].key
    assert len({part.needs.key for part in parts.values() if part.needs}) == 1
