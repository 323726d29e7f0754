"""`yolov3-tf figures`: every figure by one command, and every wrong command in one line."""
import contextlib
import io
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest
from fixtures import program_flags

from yolov3_tf.cli import figures as program

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(commands):
    """[(figure, flags)] -> exit codes, what each said on stdout, and on stderr."""
    answers = []
    for name, arguments in commands:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = program_flags.run(program, *name.split(), *arguments)
        answers.append((code, out.getvalue(), err.getvalue()))
    return [list(part) for part in zip(*answers)]


def test_figures_of_a_set_and_wrong_commands(tmp_path):
    """A wrong command prints one line, writes nothing, and exits with 2."""
    cv2.imwrite(str(tmp_path / 'one.png'), np.full([64, 96, 3], 90, np.uint8))
    (tmp_path / 'all.txt').write_text('0 one.png 96 64 0 10 10 50 50\n')
    (tmp_path / 'classes.names').write_text('a\n')
    same = [f'--data=list:{tmp_path}/all.txt', '--image_size=96', '--ignore_thresh=0.4']
    out = f'--output={tmp_path}/wrong/a.png'
    wrong = [
        ('giou', [out], "unknown figure 'giou': expected one of counts, equal_l2, giou_over_iou, objectness, slots"),
        ('', [out], 'expected one figure'), ('slots counts', [out], 'expected one figure'),
        ('equal_l2', [], '--output=: expected the PNG to write'),
        ('equal_l2', [f'--output={tmp_path}/wrong/a.jpg'], 'a.jpg: expected the PNG'),
        ('equal_l2', [out, '--runs=a,b'], '--runs is no flag of equal_l2'),
        ('giou_over_iou', [out, '--pairs=2'], '--pairs=2: expected at least 10'),
        ('objectness', [out], '--runs=: expected at least two runs'),
        ('objectness', [out, f'--runs={tmp_path}/a,{tmp_path}/b'], 'a/metrics.jsonl: expected the metrics.jsonl'),
        ('slots', [out], '--data: expected annotated images'),
        ('slots', [out, f'--data=list:{tmp_path}/none.txt'], 'none.txt'),
        ('slots', [out, *same, f'--model={tmp_path}/none.h5'], 'no checkpoint at'),
        ('slots', [out, *same[:2], '--image_size=100'], 'height 100 is not a positive multiple of 32'),
        ('counts', [out, '--data=shapes', '--ignore_thresh=0'], 'ignore_thresh 0.0 is not in 0..1'),
        ('counts', [out, '--data=shapes', '--index=1'], '--index is no flag of counts'),
        ('counts', [out, '--data=lists:x'], "unknown dataset format 'lists'")]
    codes, printed, errors = run([
        ('slots', [*same, '--image=one', f'--output={tmp_path}/s.png']),
        ('counts', [*same, '--assigner=shape_ratio', f'--output={tmp_path}/new/c.png']), *(case[:2] for case in wrong)])
    assert codes == [0, 0] + [2] * len(wrong), errors
    for (name, arguments, message), error in zip(wrong, errors[2:]):
        last = error.strip().split('\n')[-1]
        assert last.startswith('error: ') and message in last, (name, arguments, error)
    assert not (tmp_path / 'wrong').exists()
    assert 'one.png: 1 positive' in printed[0] and printed[0].endswith(f'figure {tmp_path}/s.png\n')
    assert '1 images, 567 slots each' in printed[1]                      # 3 (12 x 12 + 6 x 6 + 3 x 3)
    assert (tmp_path / 'new' / 'c.csv').read_text().startswith('image,objects,positive,ignored,negative\none,1,')
    for name in ('s.png', 'new/c.png'):
        assert len(np.unique(cv2.imread(str(tmp_path / name)))) > 20


def test_a_figure_as_a_user_draws_it(tmp_path):
    done = subprocess.run([sys.executable, '-m', 'yolov3_tf', 'figures', 'equal_l2', f'--output={tmp_path}/l2.png'],
                          cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert 'GIoU' in done.stdout and (tmp_path / 'l2.png').stat().st_size > 10_000


@pytest.mark.slow
def test_figures_of_real_images(shared_data, tmp_path):
    """BCCD is dense: seldom the paper's "fewer than 5 positives", always its "more than 10,000 negatives"."""
    flags = [f'--data=voc:{shared_data}/bccd/BCCD:val', f'--output={tmp_path}/c.png']
    codes, printed, errors = run([('counts', flags)])
    assert codes == [0], errors
    assert '87 images, 10,647 slots each' in printed[0]
    assert ('fewer than 5 positives: 5 of 87 (5.7 %); more than 10,000 negatives: 87 of 87 (100.0 %)'
            in printed[0])
