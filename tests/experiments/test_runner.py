"""The runner as its users run it, with a fake train: kills, failures, locks, Ctrl-C, and what it refuses."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest
from fixtures import in_process, labelled_folders

from yolov3_tf.cli import experiments as program
from yolov3_tf.errors import InputError
from yolov3_tf.experiments import experiment, runner, table_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
FAKE = pathlib.Path(__file__).parents[1] / 'fixtures' / 'fake_train.py'
TABLE = '''[table]
title = Two cells
flags = --focal
[near]
flags = --loss=mse --ignore_thresh=0.2
paper = 82.46
[far]
flags = --loss=giou --asymptotic
paper = 83.11
'''


def arguments(*flags, script=FAKE):
    """The command's words. ``script`` None: train itself."""
    return ['two.ini', '--data=shapes:12', '--resamples=100',
            '--flags=--head_epochs=0 --full_epochs=3 --full_lr=1e-3 --asymptotic_epochs=1', '--seeds=2',
            *([f'--train_script={script}'] if script else []), *flags]


def start(folder, *flags, script=FAKE, hold='', fail=''):
    """The runner as a process; ``hold``, ``fail``: see fake_train.py."""
    command = [sys.executable, '-m', 'yolov3_tf', 'experiments', *arguments(*flags, script=script)]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            env={**os.environ, 'PYTHONPATH': str(ROOT), 'FAKE_HOLD': hold, 'FAKE_FAIL': fail})


def finish(folder, *flags, code=0, script=FAKE, fail=''):
    """Output of the runner, in this process; the trainings are processes of their own."""
    status, output = in_process.run(program, folder, *arguments(*flags, script=script), FAKE_FAIL=fail)
    assert status == code, output
    return output


def wait_for(pattern, folder, process):
    """Waits until there is a file of this pattern."""
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(.01)


def kill(process, training=None):
    """Kills the runner and, if its lock file is given, the training that it has started."""
    process.send_signal(signal.SIGKILL)
    process.communicate()
    if training is not None:
        os.kill(int(training.read_text()), signal.SIGKILL)


@pytest.fixture(scope='module')
def work(tmp_path_factory):
    """A folder with the table, the images, and one undisturbed table of it in `whole`."""
    folder = tmp_path_factory.mktemp('work')
    (folder / 'two.ini').write_text(TABLE)
    finish(folder, '--output=whole')
    return folder


def tables_of(folder):
    """Markdown and CSV as bytes; the name of the folder, which is in the commands, is replaced."""
    return [(folder / f'two.{ending}').read_bytes().replace(folder.name.encode(), b'OUT') for ending in ('md', 'csv')]


def attempts(folder):
    """Run -> how often it was started."""
    return {path.stem.split('-')[0] + path.stem[-1]: path.read_text().count('began')
            for path in (folder / 'logs').glob('*.attempts')}


def test_the_table_of_an_undisturbed_runner(work):
    page = (work / 'whole/two.md').read_text()
    assert 'Not complete' not in page
    for text in ('# Two cells', '| near | 82.46 | ', ' | 2 of 2 |', '| far - near | +0.65 | ', '--seed=0',
                 '--runs_dir=whole --name=asymptotic-', '--backbone_weights=whole/asymptotic-', '![', 'two.png'):
        assert text in page, text
    assert attempts(work / 'whole') == dict(near0=1, asymptotic0=1, far0=1, near1=1, asymptotic1=1, far1=1)
    lines = (work / 'whole/two-times.csv').read_text().splitlines()
    assert len(lines) == 7 and (work / 'whole/two.png').stat().st_size > 10_000


def test_a_runner_killed_twice_and_stopped_once_ends_like_an_undisturbed_one(work):
    """Killed with its training; then killed alone, so that the next runner waits for that training; then Ctrl-C."""
    out = work / 'killed'
    first = start(work, '--output=killed', hold='asymptotic')
    wait_for('asymptotic-*-seed0/checkpoints/last.h5', out, first)
    with pytest.raises(InputError, match=rf'another runner \(process {first.pid}\) is running there'):
        with runner.only_one(out):
            pass
    kill(first, out / '.training')
    second = start(work, '--output=killed', hold='far')
    wait_for('far-*-seed0/checkpoints/last.h5', out, second)
    kill(second)
    third = start(work, '--output=killed', hold='near')
    assert any('waiting for the training that a killed runner has left running' in line for line in third.stdout)
    (work / 'go-far').touch()           # only now does that training end
    wait_for('near-*-seed1/checkpoints/last.h5', out, third)
    third.send_signal(signal.SIGINT)
    output = third.communicate(timeout=60)[0]
    assert third.returncode == 130 and 'The same command goes on from there' in output, output
    output = finish(work, '--output=killed')
    assert '3 of 6 runs are finished' in output and '[4/6] near-' in output and 'goes on from step' in output
    assert tables_of(out) == tables_of(work / 'whole')
    for path in (work / 'whole').glob('*-seed*/metrics.jsonl'):
        assert (out / path.parent.name / 'metrics.jsonl').read_bytes() == path.read_bytes()
    assert attempts(out) == dict(near0=1, asymptotic0=2, far0=1, near1=2, asymptotic1=1, far1=1)


def test_a_failed_run_is_named_and_the_others_are_trained(work):
    """Both trainings fail; `far` is not started, because the stage that it needs failed; all cells are dashes."""
    output = finish(work, '--output=failing', '--seeds=1', code=1, fail='0')
    assert 'exit code 3' in output and 'error: the loss is not finite' in output
    assert '3 of 3 runs failed' in output and 'from which it starts, failed' in output
    assert attempts(work / 'failing') == dict(near0=1, asymptotic0=1)
    page = (work / 'failing/two.md').read_text()
    assert '| near | 82.46 | - | - | - | - | 0 of 1 |' in page and '| far - near | +0.65 | - | - | - | - |' in page


def test_an_incomplete_run_is_finished_and_a_folder_that_is_no_run_is_not_changed(work):
    """An incomplete evaluation is repeated; a folder that is not a run is refused by name and does not change."""
    shutil.copytree(work / 'whole', work / 'half')
    near, = (work / 'half').glob('near-*-seed0')
    text = (near / 'evaluation/detections.json').read_text()
    (near / 'evaluation/detections.json').write_text(text[:len(text) // 2])
    far, = (work / 'half').glob('far-*-seed1')
    shutil.rmtree(far)
    far.mkdir()
    (far / 'letter.txt').write_text('mine')
    output = finish(work, '--output=half', code=1)
    assert '4 of 6 runs are finished' in output and 'holds files that are no run of this program' in output
    assert (near / 'evaluation/detections.json').read_text() == text
    assert [path.name for path in far.iterdir()] == ['letter.txt']
    page = (work / 'half/two.md').read_text()
    assert page.count('| 2 of 2 |') == 1 and page.count('| 1 of 2 |') == 1
    assert '**Not complete: 1 of 6 runs are missing.**' in page


def test_a_dry_run_prints_plan_and_cost_and_trains_nothing(work):
    output = finish(work, '--output=dry', '--dry_run')
    assert not (work / 'dry').exists()
    assert 'to do, at most 3 steps, unknown time, serves far' in output      # 12 images, batches of 4, 1 epoch
    assert 'to do, at most 9 steps, unknown time, starts from asymptotic-' in output
    assert '6 runs: 0 finished, 6 left; time left: unknown' in output
    known = finish(work, '--output=whole', '--dry_run', '--seeds=3')
    assert 'finished, 6 steps' in known and '9 runs: 6 finished, 3 left; time left: about 0:00:' in known


@pytest.mark.parametrize('more, seeds, flags, message', [
    ('', 0, '', '--seeds=0: expected the number of runs of each cell, 1 or more'),
    ('', 1, '', 'no data: give --data=TRAIN,VAL'),
    ('', 1, '--train_data=voc:nowhere:a --val_data=voc:nowhere:b', 'nowhere'),
    ('', 1, '--train_data=shapes:12 --ignore_tresh=.4', '--flags: --ignore_tresh=.4: unknown flag; is it --ignore'),
    ('[again]\nflags = --loss=mse --ignore_thresh=.2', 1, '--train_data=shapes:12', ':10: cell again has the same'),
    ('[other]\nflags = --val_data=shapes:8', 1, '--train_data=shapes:12', 'on different data, shapes:12, shapes:8'),
])
def test_unusable_input_is_refused_before_anything_runs(tmp_path, monkeypatch, more, seeds, flags, message):
    monkeypatch.chdir(tmp_path)
    in_process.here(monkeypatch)
    (tmp_path / 'two.ini').write_text(TABLE + more)
    table = table_file.read(table_file.find('two.ini'))
    with pytest.raises(InputError, match=message):
        experiment.Experiment(table, table_file.tokens(flags, '--flags'), seeds, 'out', FAKE)
    assert not (tmp_path / 'out').exists()


def test_data_is_one_pair(tmp_path):
    assert experiment.data_flags('voc:A:t,voc:A:v') == (('--train_data=voc:A:t', '--data'),
                                                        ('--val_data=voc:A:v', '--data'))
    assert experiment.data_flags('shapes:12') == (('--train_data=shapes:12', '--data'),)
    assert [text for text, _ in experiment.data_flags('list:a,b.txt, list:c')] == ['--train_data=list:a,b.txt',
                                                                                   '--val_data=list:c']
    for data, message in (('voc:A:t', 'expected TRAIN,VAL'), ('list:a,list:b,list:c', 'expected TRAIN,VAL'),
                          ('a,list:b', "data 'a': there is no such folder here"), ('', 'unknown dataset format')):
        with pytest.raises(InputError, match=message):
            experiment.data_flags(data)
    for part in ('train', 'valid'):
        labelled_folders.images(tmp_path, part + '/{}.jpg', range(2))
        labelled_folders.texts(tmp_path, part + '/{}.xml', range(2), labelled_folders.xml_of)
    pair = [f'--train_data=xml:{tmp_path}/train', f'--val_data=xml:{tmp_path}/valid']
    for data in (tmp_path, f'{tmp_path}/train,{tmp_path}', f'{tmp_path},{tmp_path}/valid'):
        assert [text for text, _ in experiment.data_flags(str(data))] == pair
    with pytest.raises(InputError, match='expected TRAIN,VAL, .* or a folder that has a validation part'):
        experiment.data_flags(f'{tmp_path}/train')
    assert experiment.default_out('voc:data/BCCD:train') == os.path.join('runs', 'experiments', 'voc-data-BCCD-train')


def test_an_unknown_table_is_one_line_and_exit_code_2(work):
    done = subprocess.run([sys.executable, '-m', 'yolov3_tf', 'experiments', 'V'], cwd=work, text=True, check=False,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)}, stderr=subprocess.PIPE)
    assert done.returncode == 2
    assert done.stderr.startswith('error: V: expected a table, I, II, III, IV or a file')
    assert done.stderr.count('\n') == 1


@pytest.mark.slow
def test_train_itself_killed_twice(tmp_path):
    """Two cells and a shared stage of real trainings: the same table, and the same metrics byte for byte."""
    (tmp_path / 'two.ini').write_text(TABLE)
    flags = ['--protocol=tiny', '--flags=--asymptotic_epochs=1']
    finish(tmp_path, *flags, '--output=whole', script=None)
    killed = [*flags, '--output=killed']
    out = tmp_path / 'killed'
    for pattern, with_training in (('asymptotic-*-seed0/metrics.jsonl', True), ('near-*-seed1/metrics.jsonl', False)):
        process = start(tmp_path, *killed, script=None)
        wait_for(pattern, out, process)
        kill(process, out / '.training' if with_training else None)
    finish(tmp_path, *killed, script=None)
    assert tables_of(out) == tables_of(tmp_path / 'whole')
    runs = [path.parent.name for path in (tmp_path / 'whole').glob('*-seed*/metrics.jsonl')]
    assert len(runs) == 6
    for name in runs:
        mine, other = ((folder / name / 'metrics.jsonl').read_bytes() for folder in (out, tmp_path / 'whole'))
        assert mine == other and json.loads(mine.splitlines()[-1])['kind'] == 'val'
