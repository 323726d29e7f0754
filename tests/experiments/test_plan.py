"""The runs of a table: shared stages, equal runs, their order and their names."""
from yolov3_tf.experiments import plan
from yolov3_tf.training import recipe
from yolov3_tf.training.flag_texts import arguments_of


def cell(**settings):
    return recipe.make(**settings)


def arguments(part):
    return list(arguments_of(part.recipe).values())


BOTH = dict(train_data='shapes', head_epochs=2, full_epochs=(3, 1))


def kinds(part):
    return [link.kind for link in part.chain()]


def test_the_asymptotic_stage_is_one_run_for_all_cells_that_follow_it():
    flags = dict(BOTH, asymptotic=True, asymptotic_epochs=4, backbone_weights='body.74', width_multiplier=.25)
    parts = plan.parts({'a': cell(**flags, loss='mse'), 'b': cell(**flags, loss='giou', focal=True, head='separated'),
                        'c': cell(**dict(flags, asymptotic_epochs=5), loss='giou')})
    assert all(kinds(part) == ['asymptotic', 'cell'] for part in parts.values())
    assert parts['a'].needs == parts['b'].needs != parts['c'].needs
    assert arguments(parts['a'].needs) == [
        '--train_data=shapes', '--backbone_weights=body.74', '--width_multiplier=0.25', '--asymptotic',
        '--asymptotic_epochs=4', '--head_epochs=0', '--full_epochs=0', '--full_lr=1']
    assert parts['b'].takes == 'backbone_weights'
    assert arguments(parts['b']) == ['--train_data=shapes', '--width_multiplier=0.25', '--head=separated',
                                     '--loss=giou', '--focal', '--head_epochs=2', '--full_epochs=3,1']
    assert len({part.key for part in parts.values()}) == 3


def test_a_cell_with_init_weights_does_not_share_the_asymptotic_stage():
    part = plan.parts({'a': cell(**BOTH, asymptotic=True, init_weights='yolo.weights')})['a']
    assert kinds(part) == ['cell'] and '--asymptotic' in arguments(part)


def test_the_head_stage_is_shared_where_only_the_full_stage_differs():
    parts = plan.parts({'a': cell(**BOTH, warmup_epochs=1, init_weights='x.h5', loss='giou'),
                        'b': cell(**dict(BOTH, full_epochs=5), warmup_epochs=1, init_weights='x.h5', loss='giou',
                                  full_lr=1e-3, schedule='cosine'),
                        'c': cell(**BOTH, warmup_epochs=1, init_weights='x.h5', loss='mse')})
    assert [kinds(parts[name]) for name in 'abc'] == [['head', 'cell'], ['head', 'cell'], ['cell']]
    assert parts['a'].needs == parts['b'].needs and parts['a'].takes == 'init_weights'
    assert sorted(arguments(parts['a'].needs)) == [
        '--full_epochs=0', '--full_lr=1', '--head_epochs=2', '--init_weights=x.h5', '--loss=giou',
        '--train_data=shapes', '--warmup_epochs=1']
    assert sorted(arguments(parts['b'])) == ['--full_epochs=5', '--full_lr=0.001', '--head_epochs=0', '--loss=giou',
                                             '--schedule=cosine', '--train_data=shapes']


def test_three_runs_follow_each_other_where_both_stages_are_shared():
    flags = dict(BOTH, asymptotic=True)
    parts = plan.parts({'a': cell(**flags), 'b': cell(**dict(flags, full_epochs=9))})
    assert kinds(parts['a']) == kinds(parts['b']) == ['asymptotic', 'head', 'cell']
    runs = plan.runs(parts, [0])
    assert [run.part.kind for run in runs] == ['asymptotic', 'head', 'cell', 'cell']
    assert [run.needs for run in runs] == [None, runs[0].name, runs[1].name, runs[1].name]
    assert runs[1].arguments('out')[-4:] == [f'--backbone_weights=out/{runs[0].name}/checkpoints/last.h5', '--seed=0',
                                             '--runs_dir=out', f'--name={runs[1].name}']


def test_without_both_stages_in_the_settings_the_head_stage_is_not_shared():
    for flags in (dict(train_data='shapes'), dict(BOTH, head_epochs=0), dict(train_data='shapes', head_epochs=3)):
        parts = plan.parts({'a': cell(**flags), 'b': cell(**flags, full_lr=1e-4)})
        assert kinds(parts['a']) == kinds(parts['b']) == ['cell']


def test_the_key_of_a_run_depends_only_on_its_settings():
    """A cell of another name, with flags in another order or without effect, has the same key; others do not."""
    one = plan.parts({'a': cell(**BOTH, loss='giou', focal=True)})['a']
    same = plan.parts({'b': cell(focal=True, loss='giou', **BOTH, checkpoint_steps=7, name='x', export=False)})['b']
    assert one.key == same.key and '--checkpoint_steps=7' in arguments(same)
    assert not any(text.startswith('--name') for text in arguments(same))
    others = [cell(**BOTH, loss='giou'), cell(**BOTH, loss='iou', focal=True), cell(**BOTH, loss='giou', focal=False)]
    assert one.key not in {plan.parts({'a': other})['a'].key for other in others}


def test_runs_come_seed_by_seed_and_a_shared_one_before_its_users():
    flags = dict(BOTH, asymptotic=True)
    parts = plan.parts({'plain': cell(**BOTH), 'a': cell(**flags), 'b': cell(**flags, loss='giou')})
    runs = plan.runs(parts, [0, 1])
    assert [(run.part.kind, run.cells, run.seed) for run in runs] == [
        (kind, cells, seed) for seed in (0, 1) for kind, cells in (
            ('cell', ('plain',)), ('asymptotic', ('a', 'b')), ('cell', ('a',)), ('cell', ('b',)))]
    assert runs[1].name == f'asymptotic-{parts["a"].needs.key}-seed0' and runs[6].needs == runs[5].name
    assert len({run.name for run in runs}) == 8


def test_a_run_keeps_the_name_that_another_table_gave_it():
    parts = plan.parts({'coupled': cell(**BOTH)})
    existing = [f'asymptotic_giou-{parts["coupled"].key}-seed1', 'logs', 'a-b', f'x-{parts["coupled"].key}-seed11']
    names = [run.name for run in plan.runs(parts, [0, 1], existing)]
    assert names == [f'coupled-{parts["coupled"].key}-seed0', existing[0]]


def test_epochs_are_counted_where_the_settings_define_them():
    parts = plan.parts({'a': cell(**BOTH, asymptotic=True, warmup_epochs=1), 'b': cell(train_data='shapes')})
    assert plan.epochs(parts['a'].needs) == 10
    assert plan.epochs(parts['a']) == 2 + 3 + 1 + 1
    assert plan.epochs(parts['b']) is None
