"""What a detector has learnt after some CPU minutes: ours beside a network of ultralytics, by one evaluator.

    python benchmarks/learning_curve.py run NAME --kind=ours --data=bccd --train=voc:BCCD:train --val=voc:BCCD:val
        --image_size=192 --minutes=2,5,10 --seeds=0,1,2 --output=curve.jsonl --settings='--cfg=yolov3-tiny.cfg ...'
    python benchmarks/learning_curve.py run NAME --kind=peer ... --peer_python=PYTHON --settings='batch=4 nbs=4'
    python benchmarks/learning_curve.py report curve.jsonl [...] [--figure=curve.png]

The first two append a line of JSON for each budget and seed, the third prints a table and draws. A run that is in the
output already is left out, so a series can be continued. ``PYTHON`` has ultralytics and torch (``learning_peer.py``).

CPU seconds are user and system time of the training process from its start to its end; detecting and scoring happen
in processes of their own. Neither side picks a checkpoint by its score. Each gives at most the 100 best boxes of an
image that score .001 or more, in pixels of the original image, as COCO results, and pycocotools scores them. Ours
validates once, at the end, and that time counts.

Ours gets ``--full_epochs=N``, planned from the CPU seconds of a run of 1 and a run of 3 epochs. Settings may place it
elsewhere, such as ``--full_epochs={epochs},2``, or use ``{minutes}`` and plan by themselves. Start the whole under
``taskset -c 1``, one series at a time: processes that share a core or its caches take more CPU seconds.
"""
from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from yolov3_tf import __version__  # noqa: E402
from yolov3_tf.data.readers import specs  # noqa: E402
from yolov3_tf.drawing import plots  # noqa: E402
from yolov3_tf.evaluation import coco, report, results  # noqa: E402
from yolov3_tf.structures import Dataset, Detections  # noqa: E402

SCORES = 'AP', 'AP50', 'AP75'
MOST, FLOOR = 100, .001         # detections of an image, and the score that they must have
PROBES = 1, 3                   # epochs of the two runs that an epoch is measured with
PEER = ROOT / 'benchmarks' / 'learning_peer.py'


class Trained(NamedTuple):
    """A finished training: CPU seconds, optimiser steps, epochs, and the file of its detections (None: a probe)."""
    cpu_seconds: float
    updates: int
    epochs: int
    versions: dict[str, str]
    detections: pathlib.Path | None = None


def plan_epochs(minutes: float, probes: Sequence[tuple[int, float]]) -> int:
    """The number of epochs that ends closest to the budget, at least 1.

    Args:
      minutes: the budget in CPU minutes.
      probes: epochs and CPU seconds of two runs; the start-up is in both.
    """
    (few, less), (many, more) = probes
    epoch = (more - less) / (many - few)
    if epoch <= 0:
        raise ValueError(f'{many} epochs took {more:g} CPU seconds, {few} took {less:g}: measure again')
    return max(1, round((60 * minutes - less) / epoch) + few)


def fill(settings: str, epochs: int = 0, minutes: float = 0.) -> list[str]:
    """Our flags with the planned epochs, or the minutes, in their places."""
    if '{minutes}' not in settings and '{epochs}' not in settings:
        settings += ' --full_epochs={epochs}'
    return shlex.split(settings.replace('{epochs}', str(epochs)).replace('{minutes}', f'{minutes:g}'))


def best(found: Detections, most: int = MOST, floor: float = FLOOR) -> Detections:
    """The ``most`` best detections of an image that score at least ``floor``, best first."""
    order = (-found.scores).argsort(kind='stable')[:most]
    order = order[found.scores[order] >= floor]
    return found[order]


def score(dataset: Dataset, path: pathlib.Path) -> dict[str, float]:
    """AP, AP50 and AP75 of COCO results, by pycocotools."""
    found = [best(one) for one in results.read_coco(path, dataset)]
    summary = coco.evaluate(dataset.records, report.align(dataset, found), len(dataset.class_names)).summary
    return {name: round(summary[name], 4) for name in SCORES}


def cpu_seconds(command: Sequence[str], log: pathlib.Path) -> float:
    """Runs a command to its end; its user and system seconds. Its output goes to the end of ``log``."""
    with open(log, 'a') as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=log.parent,
                                 env={**os.environ, 'OMP_NUM_THREADS': '1', 'TF_CPP_MIN_LOG_LEVEL': '2'})
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f'{shlex.join(command)} ended with {child.returncode}: see {log}\n{log.read_text()[-2000:]}')
    return usage.ru_utime + usage.ru_stime


def train_ours(options: argparse.Namespace, folder: pathlib.Path, seed: int, flags: list[str],
               detect: bool = True) -> Trained:
    """One run of train.py; its only validation is the last, so that the best checkpoint is the last."""
    size = [] if any(re.match('--(image_size|train_sizes|val_size)=', flag) for flag in flags) else [
        f'--image_size={options.image_size}']
    took = cpu_seconds([sys.executable, str(ROOT / 'train.py'), f'--train_data={options.train}',
                        f'--val_data={options.val}', f'--seed={seed}', '--name=run', f'--runs_dir={folder}',
                        '--noexport', '--patience=0', '--epochs_between_eval=1000000', *size, *flags],
                       folder / 'train.log')
    last = plots.read_metrics(folder / 'run' / 'metrics.jsonl')[-1]
    versions = {'yolov3_tf': __version__, 'tensorflow': tensorflow_version()}
    if not detect:
        return Trained(took, last['step'], last['epoch'], versions)
    cpu_seconds([sys.executable, str(ROOT / 'evaluate.py'), f'--model={folder}/run', f'--data={options.val}',
                 f'--score_threshold={FLOOR}', f'--max_per_class={MOST}', f'--output={folder}/detect',
                 *shlex.split(options.detect)], folder / 'detect.log')
    return Trained(took, last['step'], last['epoch'], versions, folder / 'detect' / 'coco_results.json')


def train_peer(options: argparse.Namespace, folder: pathlib.Path, seed: int, minutes: float) -> Trained:
    """One run of the peer on the same images, written as ultralytics reads them."""
    common = [options.peer_python, str(PEER)], [str(write_yolo(options, folder / 'data')), str(folder),
                                                f'--image_size={options.image_size}']
    took = cpu_seconds([*common[0], 'train', *common[1], f'--seconds={60 * minutes}', f'--seed={seed}',
                        f'--network={options.network}', *shlex.split(options.settings)], folder / 'train.log')
    trained = json.loads((folder / 'train.json').read_text())
    cpu_seconds([*common[0], 'detect', *common[1], *shlex.split(options.detect)], folder / 'detect.log')
    detections = json.loads((folder / 'detect.json').read_text())['results']
    return Trained(took, trained['updates'], trained['epochs'], trained['versions'], pathlib.Path(detections))


def write_yolo(options: argparse.Namespace, folder: pathlib.Path) -> pathlib.Path:
    """Links the images and writes darknet's txt of the boxes that our reader accepts; returns the YAML file."""
    train = specs.load(options.train, None, False, 'train')
    val = specs.load(options.val, train.class_names, False, 'val')
    for part, dataset in (('train', train), ('val', val)):
        for kind in ('images', 'labels'):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
        for record in dataset.records:
            image = pathlib.Path(record.image_path).resolve()
            (folder / 'images' / part / image.name).symlink_to(image)
            (folder / 'labels' / part / f'{image.stem}.txt').write_text(''.join(
                yolo_line(box, class_id, record.width, record.height)
                for box, class_id in zip(record.boxes.tolist(), record.classes.tolist())))
    path = folder / 'data.yaml'
    names = json.dumps(list(train.class_names))
    path.write_text(f'path: {folder}\ntrain: images/train\nval: images/val\nnames: {names}\n')
    return path


def yolo_line(box: Sequence[float], class_id: int, width: int, height: int) -> str:
    """A box x1 y1 x2 y2 in pixels as class, centre and size in parts of the image."""
    x1, y1, x2, y2 = box
    numbers = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
    return ' '.join([str(class_id), *(f'{number:.6f}' for number in numbers)]) + '\n'


def tensorflow_version() -> str:
    """The version of the installed TensorFlow, under either of its names."""
    for name in ('tensorflow', 'tensorflow-cpu', 'tensorflow-intel'):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pass
    return 'unknown'


def cpu_name() -> str:
    """The processor's name, as Linux gives it."""
    found = re.search(r'model name\s*:\s*(.+)', pathlib.Path('/proc/cpuinfo').read_text()) if os.path.exists(
        '/proc/cpuinfo') else None
    return found[1] if found else platform.processor()


def series(options: argparse.Namespace):
    """Trains and scores what the output does not have yet; appends a line each."""
    done = {key(line) for line in read([options.output])} if options.output.exists() else set()
    dataset = specs.load(options.val, specs.load(options.train, None, False, 'train').class_names, False, 'val')
    probes: list[tuple[int, float]] = []
    for minutes in options.minutes:
        for seed in options.seeds:
            line: dict[str, Any] = dict(name=options.name, data=options.data, minutes=minutes, seed=seed)
            if key(line) in done:
                continue
            folder = pathlib.Path(tempfile.mkdtemp(dir=options.folder)).resolve()
            trained = train(options, folder, minutes, seed, probes)
            scores = score(dataset, trained.detections)
            if options.folder is None:
                shutil.rmtree(folder)
            line.update(image_size=options.image_size, cpu_seconds=round(trained.cpu_seconds, 1),
                        updates=trained.updates, epochs=trained.epochs, **scores, settings=options.settings,
                        detect=options.detect, versions=trained.versions, cpu=cpu_name())
            with open(options.output, 'a') as output:
                output.write(json.dumps(line) + '\n')
            print(json.dumps(line), flush=True)


def train(options: argparse.Namespace, folder: pathlib.Path, minutes: float, seed: int,
          probes: list[tuple[int, float]]) -> Trained:
    """One run of either kind. ``probes`` is filled by the first run that needs it."""
    if options.kind == 'peer':
        return train_peer(options, folder, seed, minutes)
    if '{minutes}' in options.settings:
        return train_ours(options, folder, seed, fill(options.settings, minutes=minutes))
    for epochs in PROBES[len(probes):]:
        (folder / f'probe{epochs}').mkdir()
        flags = fill(options.settings, epochs)
        probes.append((epochs, train_ours(options, folder / f'probe{epochs}', seed, flags, detect=False).cpu_seconds))
    return train_ours(options, folder, seed, fill(options.settings, plan_epochs(minutes, probes)))


def key(line: dict[str, Any]) -> tuple:
    """What makes a run."""
    return line['name'], line['data'], line['minutes'], line['seed']


def read(paths: Sequence[pathlib.Path]) -> list[dict[str, Any]]:
    """The lines of result files."""
    return [json.loads(text) for path in paths for text in path.read_text().splitlines() if text.strip()]


def cells(lines: Sequence[dict[str, Any]]) -> dict[str, dict[str, dict[float, list[dict[str, Any]]]]]:
    """Data -> contestant -> budget in minutes, ascending -> its runs."""
    found: dict[str, dict[str, dict[float, list[dict[str, Any]]]]] = {}
    for line in sorted(lines, key=lambda line: line['minutes']):
        found.setdefault(line['data'], {}).setdefault(line['name'], {}).setdefault(line['minutes'], []).append(line)
    return found


def table(lines: Sequence[dict[str, Any]]) -> str:
    """Markdown: a row for each contestant and set, a column for each budget; means of AP / AP50 / AP75 in %."""
    budgets = sorted({line['minutes'] for line in lines})
    rows = ['| data | contestant | ' + ' | '.join(f'{minutes:g} min' for minutes in budgets) + ' |',
            '|---|---|' + '---|' * len(budgets)]
    for data, contestants in cells(lines).items():
        for name, runs in contestants.items():
            rows.append(f'| {data} | {name} | ' + ' | '.join(cell(runs.get(minutes, [])) for minutes in budgets) + ' |')
    return '\n'.join(rows)


def cell(runs: Sequence[dict[str, Any]]) -> str:
    """Means over seeds, their number, and the CPU minutes and optimiser steps that it took."""
    if not runs:
        return ''
    scores = ' / '.join(f'{100 * statistics.fmean(run[name] for run in runs):.1f}' for name in SCORES)
    minutes, updates = (statistics.fmean(run[name] for run in runs) for name in ('cpu_seconds', 'updates'))
    seeds = f', {len(runs)} seeds' if len(runs) > 1 else ''
    return f'{scores} ({minutes / 60:.1f} min, {updates:.0f} steps{seeds})'


def draw(lines: Sequence[dict[str, Any]], path: pathlib.Path):
    """A row of panels for each set: AP, AP50 and AP75 over CPU minutes; lines join means, dots are runs."""
    from matplotlib.figure import Figure
    found = cells(lines)
    names = list(dict.fromkeys(name for contestants in found.values() for name in contestants))
    with plots.styled():
        figure = Figure((7., .5 + 2.2 * len(found)), layout='constrained')
        axes = figure.subplots(len(found), len(SCORES), squeeze=False)
        for row, (data, contestants) in zip(axes, found.items()):
            for axis, what in zip(row, SCORES):
                axis.set(title=f'{what}, {data}', xlabel='CPU minutes')
                for name, runs in contestants.items():
                    colour = plots.COLOURS[names.index(name) % len(plots.COLOURS)]
                    draw_line(axis, list(runs.values()), what, colour, name)
        handles = dict(pair[::-1] for axis in axes.flat for pair in zip(*axis.get_legend_handles_labels()))
        figure.legend(handles.values(), handles.keys(), loc='outside lower center', ncols=2)
        plots.save(figure, path)


def draw_line(axis, runs: Sequence[Sequence[dict[str, Any]]], what: str, colour: str, name: str):
    """One contestant in one panel."""
    def minutes(run):
        return run['cpu_seconds'] / 60
    axis.plot([statistics.fmean(map(minutes, one)) for one in runs],
              [100 * statistics.fmean(run[what] for run in one) for one in runs], color=colour, label=name)
    axis.plot([minutes(run) for one in runs for run in one], [100 * run[what] for one in runs for run in one], 'o',
              color=colour, markersize=2.5)


def parser() -> argparse.ArgumentParser:
    """The two commands and their arguments."""
    def numbers(kind):
        return lambda text: [kind(part) for part in text.split(',')]
    parsed = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parsed.add_subparsers(dest='command', required=True)
    run = commands.add_parser('run', help='train and score')
    run.add_argument('name', help='of the contestant, in the table')
    run.add_argument('--kind', choices=['ours', 'peer'], required=True)
    for name, text in (('data', 'name of the data in the table'), ('train', 'dataset spec'), ('val', 'dataset spec')):
        run.add_argument(f'--{name}', required=True, help=text)
    run.add_argument('--image_size', type=int, default=192)
    run.add_argument('--minutes', type=numbers(float), default=[2., 5., 10.])
    run.add_argument('--seeds', type=numbers(int), default=[0])
    run.add_argument('--output', type=pathlib.Path, required=True)
    run.add_argument('--settings', default='', help='our flags, or the peer\'s name=value')
    run.add_argument('--detect', default='', help='further flags of evaluate.py, or the peer\'s name=value')
    run.add_argument('--peer_python', default=sys.executable)
    run.add_argument('--network', default='yolov3-tiny.yaml', help='of the peer')
    run.add_argument('--folder', default=None, help='where the runs stay (default: they are deleted)')
    shown = commands.add_parser('report', help='table and figure')
    shown.add_argument('files', type=pathlib.Path, nargs='+')
    shown.add_argument('--figure', type=pathlib.Path)
    return parsed


def main():
    options = parser().parse_args()
    if options.command == 'run':
        series(options)
        return
    lines = read(options.files)
    print(table(lines))
    if options.figure:
        draw(lines, options.figure)


if __name__ == '__main__':
    main()
