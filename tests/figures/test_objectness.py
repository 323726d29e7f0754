"""figures.objectness: runs are read by their flags, drawn in two colours, and bad ones named."""
import json

import cv2
import numpy as np
import pytest

from yolov3_tf.drawing import plots
from yolov3_tf.errors import InputError
from yolov3_tf.figures import objectness


def write_run(folder, focal, values, val=(4., 3.)):
    """A run of len(values) training lines, ten steps apart, after an asymptotic stage without objectness."""
    folder.mkdir(parents=True)
    (folder / 'run.flags').write_text(f'--batch_size=4\n--focal={focal}\n')
    lines = [dict(kind='train', stage='asymptotic', step=5, classification=1.)]
    lines += [dict(kind='train', stage='full', step=10 * k, objectness=value) for k, value in enumerate(values, 1)]
    lines += [dict(kind='val', stage='full', step=20 * k, objectness=value) for k, value in enumerate(val, 1)]
    (folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
    return str(folder)


def has(path, colour):
    image = cv2.imread(str(path)).astype(int)
    return (np.abs(image - [int(colour[k:k + 2], 16) for k in (5, 3, 1)]).sum(axis=-1) < 12).sum() > 100


def test_a_run_is_read(tmp_path):
    run = objectness.read_run(write_run(tmp_path / 'a', True, [8., 2., 3.]))
    assert (run.name, run.kind) == ('a', objectness.FOCAL)
    assert run.train.steps.tolist() == [10, 20, 30] and run.train.values.tolist() == [8, 2, 3]
    assert run.val.values.tolist() == [4, 3]
    assert objectness.read_run(write_run(tmp_path / 'b', False, [1.])).kind == objectness.PLAIN


def test_runs_are_drawn_and_described(tmp_path):
    runs = [write_run(tmp_path / name, focal, values) for name, focal, values in (
        ('plain', False, [90., 30., 12.]), ('focal-0', True, [20., 3., 5.]), ('focal-1', True, [22., 6., 1.]))]
    text = objectness.draw(tmp_path / 'new' / 'o.png', runs)
    assert text.split('\n') == [
        'plain (without focal): training 90 -> 12, lowest 12 at step 30; validation 4 -> 3, lowest 3 at step 40',
        'focal-0 (focal): training 20 -> 5, lowest 3 at step 20; validation 4 -> 3, lowest 3 at step 40',
        'focal-1 (focal): training 22 -> 1, lowest 1 at step 30; validation 4 -> 3, lowest 3 at step 40']
    assert has(tmp_path / 'new' / 'o.png', plots.COLOURS[0]) and has(tmp_path / 'new' / 'o.png', plots.COLOURS[1])


def test_two_runs_of_one_kind_and_runs_without_validation_are_drawn(tmp_path):
    runs = [write_run(tmp_path / name, True, [2., 1.], val=()) for name in 'ab']
    assert 'validation' not in objectness.draw(tmp_path / 'o.png', runs)
    assert has(tmp_path / 'o.png', plots.COLOURS[1]) and not has(tmp_path / 'o.png', plots.COLOURS[0])


def test_bad_runs(tmp_path):
    good = write_run(tmp_path / 'good', True, [1.])
    no_flags = tmp_path / 'no_flags'
    no_flags.mkdir()
    (no_flags / 'metrics.jsonl').write_text((tmp_path / 'good' / 'metrics.jsonl').read_text())
    for runs, message in (([good], 'expected at least two runs'), ([], '--runs=: expected at least two'),
                          ([good, str(tmp_path / 'absent')], 'absent/metrics.jsonl: .*no such file'),
                          ([good, str(no_flags)], 'no_flags/run.flags: expected the flags of a run'),
                          ([good, write_run(tmp_path / 'begun', True, [], ())], 'expected lines with objectness')):
        with pytest.raises(InputError, match=message):
            objectness.draw(tmp_path / 'o.png', runs)
    assert not (tmp_path / 'o.png').exists()
