"""Positive, ignored and negative slots of a network on real images: drawn for one image, counted over a set.

The kind of a slot comes from the modules that training uses: ``assign`` finds the positive slots, ``losses.criterion``
finds which of the others are background; the remaining slots are ignored.
"""
from __future__ import annotations

import csv
import pathlib
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf import anchors, codec
from yolov3_tf.assign import ASSIGNERS
from yolov3_tf.data import pipeline
from yolov3_tf.drawing import plots
from yolov3_tf.errors import InputError
from yolov3_tf.losses import criterion
from yolov3_tf.models import checkpoints
from yolov3_tf.structures import Dataset, GroundTruth, Priors

NEGATIVE, IGNORED, POSITIVE = range(3)
KINDS = ('negative', 'ignored', 'positive')
# The paper's claim about one image at 416: "fewer than 5 positives, more than 10,000 negatives".
FEW_POSITIVES, MANY_NEGATIVES = 5, 10_000


class Network(NamedTuple):
    """A network whose slots are drawn or counted.

    Attributes:
      model: ``models.yolov3`` or any with its outputs.
      config: its input size, letterbox and anchors are used here.
      name: its name in a title.
    """
    model: tf.keras.Model
    config: checkpoints.ModelConfig
    name: str


class Sorted(NamedTuple):
    """Slots of a batch of images.

    Attributes:
      kinds: int [B, S], ``NEGATIVE``, ``IGNORED`` or ``POSITIVE``.
      boxes: float32 [B, S, 4] the prediction of each slot, pixels of the network input.
    """
    kinds: np.ndarray
    boxes: np.ndarray


def load_network(checkpoint: str | None, size: int | None, seed: int) -> Network:
    """A checkpoint's network, or YOLOv3 with a quarter of the width and random weights.

    Args:
      size: side of the square input in pixels; None: the checkpoint's own, 416 without a checkpoint.

    Raises:
      InputError: there is no such checkpoint, or the size is not a multiple of 32.
    """
    if checkpoint:
        config, name = checkpoints.describe(checkpoint), '/'.join(pathlib.Path(checkpoint).parts[-3:])
    else:
        config, name = checkpoints.ModelConfig(('any',), .25, (416, 416), True), f'random weights, seed {seed}'
    if size:
        config = config._replace(image_size=(size, size))
    anchors.check_size(config.anchors, *config.image_size)
    if checkpoint:
        return Network(checkpoints.load_model(checkpoint)[0], config, name)
    tf.keras.utils.set_random_seed(seed)
    return Network(checkpoints.build(config), config, name)


def sort_slots(network: Network, images: tf.Tensor, truth: GroundTruth, settings: criterion.LossSettings) -> Sorted:
    """Sorts the slots of a batch as a training step with these settings does.

    Args:
      images: uint8 [B, H, W, 3] RGB.
      truth: ``structures.GroundTruth`` in pixels of the network input.
      settings: its assigner, assign_thresh, ignore_thresh and ignore_scope.
    """
    priors = lay_out(network)
    outputs = network.model(tf.cast(images, tf.float32) / 255., training=False)
    decoded = codec.decode(codec.split(outputs).offsets, priors)
    assignment = ASSIGNERS[settings.assigner](truth, priors, decoded, settings.assign_thresh)
    background = criterion.background_slots(decoded, truth, priors, assignment, settings)
    kinds = np.where(background.numpy() > 0, NEGATIVE, IGNORED)
    for row, (slots, positive) in enumerate(zip(assignment.slots.numpy(), assignment.positive.numpy())):
        kinds[row, slots[positive]] = POSITIVE
    return Sorted(kinds, decoded.numpy())


def lay_out(network: Network) -> Priors:
    """The priors of the network's input size."""
    return anchors.lay_out(network.config.anchors, *network.config.image_size)


def batches(network: Network, dataset: Dataset, batch_size: int):
    """The images of a set as inputs of this network (``pipeline.EvaluationBatch``)."""
    return pipeline.evaluation_batches(dataset, *network.config.image_size, network.config.letterbox,
                                       batch_size)


def choose_record(dataset: Dataset, index: int | None, image: str | None) -> int:
    """The position of an image, given by its number, or by its name or file name; 0 if neither is given.

    Raises:
      InputError: both are given, or there is no such image.
    """
    if index is not None and image:
        raise InputError(f'--index={index} beside --image={image}: both choose the image; give one of them')
    if image:
        file_name = pathlib.Path(image).name
        for number, record in enumerate(dataset.records):
            if file_name in (record.image_id, pathlib.Path(record.image_path).name):
                return number
        raise InputError(f'--image={image}: expected one of the {len(dataset.records)} images of --data, such as '
                         f'{dataset.records[0].image_id}')
    if not 0 <= (index or 0) < len(dataset.records):
        raise InputError(f'--index={index}: expected 0 to {len(dataset.records) - 1}, the images of --data')
    return index or 0


def draw(figure_file: plots.Path, network: Network, dataset: Dataset, number: int,
         settings: criterion.LossSettings) -> str:
    """Draws the slots of one image: the predictions of the positive and ignored ones, then the slots of each level.

    Returns:
      Text with the counts of each level.

    Raises:
      InputError: the image cannot be used.
    """
    record = dataset.records[number]
    batch = next(iter(batches(network, dataset._replace(records=[record]), 1)), None)
    if batch is None:
        raise InputError(pipeline.reason(record.image_path, record.orientation))
    found = sort_slots(network, batch.images, batch.truth, settings)
    kinds, priors, strides = found.kinds[0], lay_out(network), network.config.anchors.strides
    levels, truth = priors.levels.numpy(), batch.truth.boxes.numpy()[0]
    image = 255 - (255 - batch.images.numpy()[0].astype(np.float32)) * .55      # paler, so that the marks are visible
    lines = []
    with plots.styled():
        figure, axes = _panels(1 + len(strides), image.shape[0] / image.shape[1])
        figure.suptitle(f'{record.image_id}, input {image.shape[1]} x {image.shape[0]}, ignored from IoU '
                        f'{settings.ignore_thresh:g} on: {_counts(kinds)}', fontsize=9)
        for axis in axes:
            axis.imshow(image.astype(np.uint8), extent=(0, image.shape[1], image.shape[0], 0))
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            axis.spines[:].set_visible(False)
            _rectangles(axis, truth, edgecolor='k', linestyle='--', linewidth=1.)
        axes[0].set_title('predictions of the positive and ignored slots')
        for kind, width in ((IGNORED, .6), (POSITIVE, 1.4)):
            _rectangles(axes[0], found.boxes[0][kinds == kind], edgecolor=COLOUR[kind], linewidth=width)
        for level in reversed(range(len(strides))):
            chosen = levels == level
            title = f'stride {strides[level]}: {_counts(kinds[chosen])}'
            axis = axes[len(strides) - level]
            axis.set_title(title)
            _marks(axis, _centres(priors, chosen), kinds[chosen], strides[level])
            lines.append(title)
        figure.legend(*_legend(), loc='outside lower center', ncols=4)
        plots.save(figure, figure_file)
    return '\n'.join([f'{record.image_path}: {_counts(kinds)}', *lines])


class Counts(NamedTuple):
    """Slots of every image that could be read.

    Attributes:
      image_ids: names of the images.
      objects: int [n], number of objects in each image.
      slots: int [n, 3], number of slots of each of ``KINDS`` in each image.
    """
    image_ids: list[str]
    objects: np.ndarray
    slots: np.ndarray


def count(network: Network, dataset: Dataset, settings: criterion.LossSettings, batch_size: int = 8) -> Counts:
    """Counts the slots of a whole set, image by image.

    Raises:
      InputError: none of the images can be read.
    """
    image_ids, objects, slots = [], [], []
    for batch in batches(network, dataset, batch_size):
        kinds = sort_slots(network, batch.images, batch.truth, settings).kinds
        image_ids += [dataset.records[index].image_id for index in batch.indices.numpy()]
        objects += batch.truth.valid.numpy().sum(axis=1).tolist()
        slots += [np.bincount(row, minlength=3) for row in kinds]
    if not image_ids:
        raise InputError(f'none of the {len(dataset.records)} images can be used: '
                         f'{pipeline.reason(dataset.records[0].image_path, dataset.records[0].orientation)}')
    return Counts(image_ids, np.array(objects), np.array(slots))


def table(counts: Counts) -> str:
    """The counts as text: mean, minimum, median and maximum over the images, and the paper's claim."""
    columns = {'objects': counts.objects, **_by_kind(counts)}
    lines = [f'{len(counts.image_ids)} images, {counts.slots[0].sum():,} slots each',
             f'{"an image":10}{"mean":>10}{"least":>9}{"median":>9}{"most":>9}']
    for name, values in columns.items():
        lines.append(f'{name:10}{values.mean():10,.2f}{values.min():9,}{np.median(values):9,.1f}{values.max():9,}')
    few, many, both = _claim(counts)
    lines.append(f'fewer than {FEW_POSITIVES} positives: {_share(few)}; more than {MANY_NEGATIVES:,} negatives: '
                 f'{_share(many)}; both: {_share(both)}')
    return '\n'.join(lines)


def write_csv(path: plots.Path, counts: Counts) -> pathlib.Path:
    """Writes one line for each image: image, objects, positive, ignored, negative."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, 'w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['image', 'objects', *_by_kind(counts)])
        writer.writerows(zip(counts.image_ids, counts.objects, *_by_kind(counts).values()))
    return path


def draw_counts(figure_file: plots.Path, counts: Counts, title: str) -> str:
    """Draws how many images have how many positive, ignored and negative slots.

    Returns:
      ``table``.
    """
    limits = {'positive': (FEW_POSITIVES - .5, f'fewer than {FEW_POSITIVES}'),
              'negative': (MANY_NEGATIVES, f'more than {MANY_NEGATIVES:,}')}
    with plots.styled():
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
        figure = Figure((7., 2.7), layout='constrained')
        figure.suptitle(title, fontsize=8)
        for axis, (name, values) in zip(figure.subplots(1, 3, sharey=True), _by_kind(counts).items()):
            axis.hist(values, _bins(values), color=COLOUR[KINDS.index(name)])
            axis.set(xlabel=f'{name} slots an image')
            axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
            axis.xaxis.set_major_formatter('{x:,.0f}')
            if name in limits:
                limit, claim = limits[name]
                share = (values < limit if name == 'positive' else values > limit).mean()
                axis.axvline(limit, color='k', linewidth=1, linestyle='--')
                axis.set_title(f'{claim}: {100 * share:.0f} %')
        figure.axes[0].set_ylabel('images')
        plots.save(figure, figure_file)
    return table(counts)


COLOUR = {NEGATIVE: plots.GREY, IGNORED: plots.COLOURS[0], POSITIVE: plots.COLOURS[1]}


def _by_kind(counts) -> dict[str, np.ndarray]:
    return {KINDS[kind]: counts.slots[:, kind] for kind in (POSITIVE, IGNORED, NEGATIVE)}


def _claim(counts):
    few, many = counts.slots[:, POSITIVE] < FEW_POSITIVES, counts.slots[:, NEGATIVE] > MANY_NEGATIVES
    return few, many, few & many


def _share(chosen):
    return f'{chosen.sum()} of {len(chosen)} ({100 * chosen.mean():.1f} %)'


def _bins(values):
    """The edges of about 20 bars; a bar of one number has it in its middle."""
    low, high = int(values.min()), int(values.max())
    step = max(1, -(-(high - low + 1) // 20))
    return np.arange(low, high + step + 1, step) - .5


def _counts(kinds):
    numbers = np.bincount(kinds, minlength=3)
    return ', '.join(f'{numbers[kind]:,} {KINDS[kind]}' for kind in (POSITIVE, IGNORED, NEGATIVE))


def _panels(count, aspect):
    """A figure and its ``count`` panels, two in each row; aspect: height / width of a panel."""
    from matplotlib.figure import Figure
    rows = -(-count // 2)
    figure = Figure((7., rows * (3.4 * aspect + .3) + .6), layout='constrained')
    return figure, figure.subplots(rows, 2, squeeze=False).ravel()[:count]


def _rectangles(axis, boxes, **style):
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle
    patches = [Rectangle(box[:2], *(box[2:] - box[:2])) for box in boxes]
    axis.add_collection(PatchCollection(patches, facecolor='none', **style), autolim=False)


def _centres(priors, chosen):
    """Positions of the marks of the chosen slots in pixels: the anchors of a cell side by side on its middle line."""
    cells, strides = priors.cells.numpy()[chosen], priors.strides.numpy()[chosen]
    level = int(priors.levels.numpy()[chosen][0])
    count = len(priors.table.sizes[level])
    anchor = np.arange(len(cells)) % count          # slots of a level are in the order row, column, anchor
    return (cells[:, 0] + (anchor + .5) / count) * strides, (cells[:, 1] + .5) * strides


def _marks(axis, centres, kinds, stride):
    """Draws a dot for a negative slot, a square for an ignored one and a ringed square for a positive one."""
    x, y = centres
    # About the width of a slot, so that marks are larger on coarse levels.
    points = 3. * 72 / axis.get_images()[0].get_extent()[1] * stride / 3
    for kind, marker, size in ((NEGATIVE, 'o', .25), (IGNORED, 's', .8), (POSITIVE, 's', .8)):
        chosen = kinds == kind
        axis.plot(x[chosen], y[chosen], marker, color=COLOUR[kind], markersize=max(.7, points * size),
                  markeredgewidth=0)
    chosen = kinds == POSITIVE
    axis.plot(x[chosen], y[chosen], 'o', markerfacecolor='none', markeredgecolor=COLOUR[POSITIVE],
              markersize=max(7., points * 1.8), markeredgewidth=1.4)


def _legend():
    from matplotlib.lines import Line2D
    handles = [Line2D([], [], color='k', linestyle='--', linewidth=1)]
    handles += [Line2D([], [], linestyle='', marker='s', color=COLOUR[kind], markersize=5)
                for kind in (POSITIVE, IGNORED, NEGATIVE)]
    return handles, ['object', 'positive', 'ignored', 'negative']
