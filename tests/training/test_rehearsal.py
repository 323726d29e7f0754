"""A dry run: what it promises is made of what it timed, and nothing is written."""
import os
import re

import pytest
from fixtures import small_cfg

from yolov3_tf.training import recipe, rehearsal, run, stages


def test_a_stage_costs_its_steps_and_validations():
    """(2 + 8) epochs of 5 steps of .5 s, and 4 validations of 3 s: 25 + 12."""
    stage = stages.Stage('full', stages.NOTHING, ((8, 1e-3),), warmup_epochs=2)
    assert rehearsal.StageCost(stage, 5, .5, 3., 4).seconds == pytest.approx(37)


@pytest.mark.parametrize('settings, expected', [
    (dict(full_epochs=(3,), full_lr=(1e-3,), extend=2), ['stage full: 3 epochs of 3 steps, piecewise from 0.001',
                                                         'stage extended: 2 epochs of 3 steps, cosine from 0.0001']),
    (dict(minutes=1., schedule='cosine', optimizer='adam', ema_decay=.9), ['stage full: ', ' steps, cosine from']),
    (dict(minutes=.001, schedule='cosine', name='there'), [
        'more than --minutes=0.001, for these are the fewest epochs', 'note: runs/there is there already']),
])
def test_a_dry_run_prints_the_plan_and_writes_nothing(tmp_path, monkeypatch, settings, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'small.cfg').write_text(small_cfg.TEXT)
    checkpoint = tmp_path / 'runs/there/checkpoints/last.h5'
    if settings.get('name') == 'there':
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_bytes(b'')
    text = run.rehearse(recipe.make(train_data='shapes:12', cfg='small.cfg', image_size=64, augment=('flip',),
                                    backbone_weights='none', mixed_precision='float32', cache='disk', **settings))
    for words in expected:
        assert words in text
    assert 'nothing was written' in text and re.search(r'in all about \d:\d\d:\d\d on this machine', text)
    assert not os.path.exists('runs') or {*os.listdir('runs')} - {'there'} == {'data'}      # the shapes, drawn once
    assert not checkpoint.exists() or [*checkpoint.parent.parent.rglob('*.*')] == [checkpoint]
