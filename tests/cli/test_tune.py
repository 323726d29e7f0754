"""`yolov3-tf tune` as its users run it, with a fake train: kills, failures, Ctrl-C; and once with train itself."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from fixtures import in_process, program_flags, small_cfg

from yolov3_tf.cli import startup_lines, tune
from yolov3_tf.training import flag_texts, recipe

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAKE = ROOT / 'tests' / 'fixtures' / 'fake_train.py'
QUICK = ['--recipe=quick', '--data=shapes:12', '--flags=--full_epochs=2 --full_lr=1e-3', '--settings=ignore_thresh',
         '--budget=5']


def environment(**more):
    """Without the variable that some environments set, and that makes the program show TensorFlow's own lines."""
    return {**{name: value for name, value in os.environ.items() if name != startup_lines.LOG_LEVEL},
            'PYTHONPATH': str(ROOT), **more}


def start(folder, *flags, hold=''):
    """The command as a process with a fake train; ``hold``: see fake_train.py."""
    return subprocess.Popen([sys.executable, '-m', 'yolov3_tf', 'tune', *flags, f'--train_script={FAKE}'], cwd=folder,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env=environment(FAKE_HOLD=hold))


def finish(folder, *flags, code=0, script=FAKE, hold='', fail=''):
    """Output of the command, in this process; the trainings are processes of their own. ``script`` None: train."""
    script = [f'--train_script={script}'] if script else []
    status, output = in_process.run(tune, folder, *flags, *script, FAKE_HOLD=hold, FAKE_FAIL=fail)
    assert status == code, output
    return output


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(.01)


def lines_of(folder):
    """The results without their seconds, which differ from run to run."""
    lines = [json.loads(line) for line in (folder / 'results.jsonl').read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != 'seconds'} for line in lines]


def test_a_search_killed_and_stopped_ends_like_an_undisturbed_one(tmp_path):
    """Killed with its training after a step of candidate 1; Ctrl-C in candidate 2; the half-trained ones continue."""
    whole = finish(tmp_path, *QUICK, '--candidates=4', '--output=whole')
    assert '1 setting by mAP, seed 0, 0:05:00 of training, in whole' in whole and '4 of 4 candidates' in whole
    assert max(map(len, whole.splitlines())) <= 80
    out, flags = tmp_path / 'parts', [*QUICK, '--candidates=4', '--output=parts']
    first = start(tmp_path, *flags, hold='candidate-001')
    wait_for(out / 'candidate-001/checkpoints/last.h5', first)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    os.kill(int((out / '.training').read_text()), signal.SIGKILL)
    second = start(tmp_path, *flags, hold='candidate-002')
    wait_for(out / 'candidate-002/checkpoints/last.h5', second)
    second.send_signal(signal.SIGINT)
    output = second.communicate(timeout=600)[0]
    assert second.returncode == 130 and 'stopped; the same command goes on from there' in output, output
    assert '1 candidate finished before' in output and 'candidate-001: goes on from step 1' in output
    last = finish(tmp_path, *flags)
    assert '2 candidates finished before' in last and 'candidate-002: goes on from step' in last
    assert 'written: parts/best.flags' in last
    assert lines_of(out) == lines_of(tmp_path / 'whole')
    assert [path.read_text().count('began') for path in sorted((out / 'logs').glob('*.attempts'))] == [1, 2, 2, 1]
    best = flag_texts.read_recipe(str(out / 'best.flags'))
    assert best == flag_texts.read_recipe(str(tmp_path / 'whole/best.flags'))
    assert best['ignore_thresh'] < .5           # fake_train.py's boxes are nearer with a smaller one


def test_losses_that_are_not_finite_count_as_0_and_another_failure_ends_the_search(tmp_path):
    output = finish(tmp_path, *QUICK, '--candidates=2', '--output=failing', fail='0')
    assert output.count('failed, the loss is not finite after 0:00:0') == 2
    assert [(line['score'], line['why']) for line in lines_of(tmp_path / 'failing')[1:]] == [
        (0, 'the loss is not finite')] * 2
    broken = tmp_path / 'broken.py'
    broken.write_text('raise SystemExit("no disk")')
    output = finish(tmp_path, *QUICK, '--output=broken', script=broken, code=1)
    assert 'candidate 0 failed: exit code 1; see broken/logs/candidate-000.log' in ' '.join(output.split())
    assert not (tmp_path / 'broken/results.jsonl').exists()


def test_the_budget_ends_a_training_that_is_too_long_and_a_larger_one_continues_it(tmp_path):
    output = finish(tmp_path, *QUICK[:-1], '--budget=.03', '--output=late', hold='candidate-000', code=1)
    assert 'the time is over: waiting until the training has saved' in output
    assert 'ended in the middle of candidate 0; with a larger one the same' in ' '.join(output.split())
    assert 'candidate 0: mAP ' in finish(tmp_path, *QUICK, '--candidates=1', '--output=late')
    assert (tmp_path / 'late/logs/candidate-000.attempts').read_text().count('began') == 2


def test_no_training_begins_without_time(tmp_path):
    trainings = tune.tuning_runs.Trainings(tmp_path, 'mAP', str(FAKE))
    with pytest.raises(tune.tuning.OutOfTime):
        trainings.train(0, recipe.make(train_data='shapes:12'), 0.)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('flags, message', [
    (['word'], "unexpected argument 'word'"), (['--budget=3'], 'expected --recipe=NAME'),
    (['--recipe=quick'], '--budget=None: expected the minutes'),
    (['--recipe=quick', '--budget=-1'], '--budget=-1.0: expected the minutes'),
    (['--recipe=quikc', '--budget=3'], '--recipe=quikc: expected bccd, fast, nano'),
    (['--recipe=quick', '--budget=3', '--flags=--name=x'], '--name: the search sets it itself'),
    (['--recipe=quick', '--budget=3', '--flags=--lossy'], '--flags: --lossy: unknown flag'),
    (['--recipe=quick', '--budget=3', '--data=a,b,c'], 'there is no such folder here'),
    (['--recipe=bccd', '--budget=3', '--data=voc:nowhere:a,voc:nowhere:b'], 'nowhere')])
def test_unusable_input_is_one_line_and_status_2(tmp_path, monkeypatch, capsys, flags, message):
    monkeypatch.chdir(tmp_path)
    assert program_flags.run(tune, *flags) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1 and not list(tmp_path.iterdir())


def test_a_run_s_flags_are_a_recipe_and_the_command_is_written_as_typed(tmp_path):
    (tmp_path / 'run.flags').write_text('--name=mine\n--runs_dir=elsewhere\n--train_data=shapes:12\n--seed=3\n')
    found = tune.tuning_runs.recipe_of(str(tmp_path / 'run.flags'), ())
    assert (found.name, found.runs_dir, found.seed) == (None, 'runs', 3)
    options = program_flags.options(tune, '--recipe=quick', '--budget=90', '--settings=full_lr,box_weight',
                                    '--flags=--full_epochs=2 --full_lr=1e-3')
    assert tune.command(options) == ("yolov3-tf tune --recipe=quick '--flags=--full_epochs=2 --full_lr=1e-3' "
                                     '--settings=full_lr,box_weight --budget=90')


@pytest.mark.slow
def test_train_itself_on_two_candidates(tmp_path):
    """Two trainings of an epoch, 25 s of processor time; what the best one was trained with is in best.flags."""
    (tmp_path / 'small.cfg').write_text(small_cfg.TEXT)
    (tmp_path / 'small.flags').write_text('\n'.join([
        '--train_data=shapes:20', '--cfg=small.cfg', '--backbone_weights=none', '--image_size=64', '--augment=flip',
        '--head_epochs=0', '--full_epochs=1', '--full_lr=1e-3', '--log_steps=1']))
    output = finish(tmp_path, '--recipe=small.flags', '--budget=30', '--candidates=2', '--score=AP', '--output=out',
                    script=None)
    assert '2 of 2 candidates are trained' in output and '\nAP % ' in output
    lines = lines_of(tmp_path / 'out')[1:]
    assert [line['number'] for line in lines] == [0, 1] and not any(line['why'] for line in lines)
    for line in lines:
        path = tmp_path / 'out' / f'candidate-{line["number"]:03}' / 'evaluation/metrics.json'
        assert line['score'] == json.loads(path.read_text())['summary']['coco_AP']
    best, = (tmp_path / 'out').glob('*/checkpoints/best.h5')
    trained = flag_texts.read_recipe(str(best.parents[1] / 'run.flags'))
    asked = recipe.make(**flag_texts.read_recipe(str(tmp_path / 'out/best.flags')))
    assert recipe.make(**trained) == asked._replace(name=best.parents[1].name, runs_dir='out', export=False)
