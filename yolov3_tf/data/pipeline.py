"""Records -> batches: every step of the input path and their order.

    order of the records -> read -> header (-> mix with others) -> plan (augment) -> decode the part that
        is seen -> flip, turn -> resize into place, grey around it (-> blur) -> colour -> pad the boxes -> prefetch

All of it is in graph. One numpy_function around OpenCV was some 15 % faster on one or two threads
(TensorFlow decode, OpenCV resize on uint8: 688 / 1228 images/s against 604 / 1028 for 500 x 375 -> 416),
but it holds the interpreter lock between its calls, cannot move to a tf.data service worker, and draws its
randomness outside the stateless seeds. Against the reference's design with all augmentations
(benchmarks/input_pipeline.py, real VOC images, two cores shared with other work, TensorFlow 2.15 and 2.21)
this file makes 3.9 to 7.1 times the images/s on one thread and 4.8 to 6.5 times on two, for 3.7 to 4.3 times
less processor time an image (4.2 to 4.7 ms against 17.2 to 18.7).

What makes it fast: the plan moves rectangles and boxes only, so an image is decoded no further than it is seen and
resized once; colour is one matrix product; images stay uint8 until the device. The resizing kernel is drawn
as in the reference; nearest, bicubic and area take 1.2 to 1.6 times bilinear's 1.0 ms, Lanczos 5 times.
Evaluation always takes bilinear.

A batch is a small dataset of its own inside a parallel map, so that a bad image is an element less of its
batch and nothing to the others. That costs 2 ms of processor time a batch (6 % at batch 8) more than a flat
parallel map of images, which cannot tell where a batch ends once one is missing. The same inside a parallel
interleave costs 1.2 ms but holds twice as many batches in memory.
"""
from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf import geometry
from yolov3_tf.choices import choose
from yolov3_tf.data import augment, caches, image_files, mix, record_tensors, rendering
from yolov3_tf.data import order as orders
from yolov3_tf.data import windows as parts
from yolov3_tf.data.order import Order
from yolov3_tf.data.windows import Windows
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, GroundTruth

AUGMENTATIONS = {**mix.MIXES, **augment.AUGMENTATIONS}      # name -> augmentation, in the order of application
# The reference's but for mix-up, which its plain VOC recipe adds (recipes/reference.flags): the
# published tables of this package were made without it.
DEFAULT_AUGMENTATIONS = ('colour', 'expand', 'crop', 'interpolation', 'flip')


class PipelineSettings(NamedTuple):
    """How training batches are made.

    Attributes:
      batch_size: images a batch.
      sizes: network input sizes in pixels, each an int (square) or (height, width), multiples of 32. With
        several, one is drawn for every ``batches_per_size`` batches.
      batches_per_size: see above.
      letterbox: keep the aspect ratio between grey bars (else stretch); evaluation must be given the same.
      augment: names among ``AUGMENTATIONS``; they are applied in that table's order.
      balance_classes: images with rare classes are shown more often (``order.repeat_factors``), others less.
      strict: an image that cannot be used stops the iteration (else it is left out of its batch).
      threads: batches made side by side; None: one a processor.
      windows: each image is a random window of the stored one, of a tile's size; an epoch has as many of an image as
        fill its area. None: the whole images.
    """
    batch_size: int
    sizes: Sequence[int | tuple[int, int]]
    batches_per_size: int = 10
    letterbox: bool = True
    augment: Sequence[str] = DEFAULT_AUGMENTATIONS
    balance_classes: bool = False
    strict: bool = False
    threads: int | None = None
    windows: Windows | None = None


class EvaluationBatch(NamedTuple):
    """Attributes:
      images: uint8 [B, H, W, 3] RGB.
      placement: ``geometry.Placement`` with fields float32 [B].
      sizes: int32 [B, 2] height, width of the images in pixels.
      indices: int32 [B], positions in the records.
      truth: ``GroundTruth`` in pixels of the network input.
    """
    images: Any
    placement: geometry.Placement
    sizes: Any
    indices: Any
    truth: GroundTruth


def training_batches(dataset: Dataset, settings: PipelineSettings, seed: int, first_epoch: int = 0, first_step: int = 0,
                     share: tuple[int, int] = (0, 1),
                     cache: caches.Memory | caches.Disk | None = None) -> tf.data.Dataset:
    """Endless batches over shuffled epochs, the same for the same (seed, epoch, step) wherever it starts.

    An epoch is a permutation of all records (a draw, under ``balance_classes``), cut into full batches; a set
    smaller than one batch repeats images inside it. An image that cannot be used is left out, so that a batch may be
    smaller than ``batch_size``, even empty: element k is always step k. Compare ``indices`` with
    ``order_of(...).of_batch`` and ask ``reason`` about those that are missing.

    Args:
      dataset: ``Dataset``; its crowd boxes are no targets.
      settings: ``PipelineSettings``.
      seed: int.
      first_epoch, first_step: where to begin.
      share: (k, n): only the k-th of n equal parts of every batch, k from 0; n divides the batch size. The
        n parts together are the whole batches, image for image.
      cache: of ``caches``, where images are kept once read, or None.

    Returns:
      tf.data.Dataset of (images uint8 [B, H, W, 3] RGB, GroundTruth in network pixels, indices int32 [B]).

    Raises:
      InputError: no records, an unknown augmentation, a size no multiple of 32.
    """
    sizes, annotations = _sizes(settings), record_tensors.flatten(dataset.records)._replace(cache=cache)
    order, batch_size = order_of(dataset, settings, seed), settings.batch_size
    part, first = batch_size // share[1], batch_size // share[1] * share[0]

    def epoch_steps(epoch):
        rows = tf.reshape(order.of_epoch(epoch), [order.steps, batch_size])[:, first:first + part]
        start = tf.where(epoch == first_epoch, tf.constant(first_step, tf.int64), 0)
        numbers = tf.range(start, order.steps)
        return tf.data.Dataset.from_tensor_slices((epoch * order.steps + numbers, rows[start:]))

    def batch(number, indices):
        size = _draw_size(sizes, seed, number // settings.batches_per_size)
        keys = number * batch_size + first + tf.range(part, dtype=tf.int64)
        planned = tf.data.Dataset.from_tensor_slices((indices, keys)).map(
            lambda index, key: _plan(annotations, index, size, settings, orders.key(seed, orders.SAMPLE, key)))
        made = _usable(planned, settings.strict).map(lambda *plan: _render(size, settings, *plan))
        return _one_batch(made, part)

    batches = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max).flat_map(epoch_steps)
    return _side_by_side(batches, batch, settings.threads)


def check(settings: PipelineSettings) -> None:
    """Raises InputError for an unknown augmentation, a size no multiple of 32, or a batch of none."""
    _sizes(settings)


def evaluation_batches(dataset: Dataset, height: int, width: int, letterbox: bool, batch_size: int,
                       strict: bool = False, threads: int | None = None) -> tf.data.Dataset:
    """Every record once, in order, unaugmented; the last batch may be smaller.

    Images that cannot be used are left out (``strict``: stop the iteration); ``indices`` holds those that are there.

    Returns:
      tf.data.Dataset of EvaluationBatch.

    Raises:
      InputError: no records.
    """
    annotations = record_tensors.flatten(dataset.records)

    def batch(indices):
        read = tf.data.Dataset.from_tensor_slices(indices).map(lambda index: _read_whole(annotations, index))
        made = _usable(read, strict).map(lambda *read: _place_whole(height, width, letterbox, *read))
        return _one_batch(made, batch_size)

    indices = tf.data.Dataset.range(len(dataset.records), output_type=tf.int32).batch(batch_size)
    return _side_by_side(indices, batch, threads).filter(lambda batch: tf.size(batch.indices) > 0)


def tile_batches(dataset: Dataset, windows: Windows, letterbox: bool, batch_size: int, strict: bool = False,
                 threads: int | None = None) -> tf.data.Dataset:
    """Every record in order, unaugmented, first as a whole and then in tiles; a batch never holds two records.

    An image is decoded once for all of its tiles.

    Returns:
      tf.data.Dataset of (EvaluationBatch of windows, windows int32 [B, 4] in pixels of the image). The batch's sizes
      are those of the windows, its truth what is seen in them.

    Raises:
      InputError: no records, or one of them has too many tiles.
    """
    annotations = record_tensors.flatten(dataset.records)
    parts.times(dataset.records, windows)

    def read(index):
        pixels, sample, index = _read_whole(annotations, index)
        return pixels, sample, parts.all_windows(windows, sample.height, sample.width), index

    def place(pixels, sample, index, window):
        x1, y1, x2, y2 = tf.unstack(window)
        seen = parts.objects_in(sample, window, windows)
        return _place_whole(*windows.image_size, letterbox, pixels[y1:y2, x1:x2], seen, index), window

    def of_one(pixels, sample, all_of_it, index):
        made = tf.data.Dataset.from_tensor_slices(all_of_it).map(lambda window: place(pixels, sample, index, window))
        return made.padded_batch(batch_size)

    options = tf.data.Options()
    options.threading.max_intra_op_parallelism = 1
    opened = tf.data.Dataset.range(len(dataset.records), output_type=tf.int32).map(read, threads or 1)
    return _usable(opened, strict).flat_map(of_one).prefetch(2).with_options(options)


def order_of(dataset: Dataset, settings: PipelineSettings, seed: int) -> Order:
    """The order of the records in the epochs of ``training_batches``."""
    repeats = orders.repeat_factors(dataset.records) if settings.balance_classes else ()
    times = parts.times(dataset.records, settings.windows) if settings.windows else ()
    return Order(len(dataset.records), settings.batch_size, seed, repeats, times)


def reproduce(dataset: Dataset, settings: PipelineSettings, seed: int, epoch: int,
              position: int) -> tuple[tf.Tensor, GroundTruth, tf.Tensor]:
    """Makes one training sample again, op by op, so that an error is raised by the operation that fails.

    Args:
      position: of the sample in its epoch: step * batch_size + its index in the batch.

    Returns:
      (image uint8 [H, W, 3], GroundTruth with fields [n, ...], index int32 scalar).
    """
    annotations, order = record_tensors.flatten(dataset.records), order_of(dataset, settings, seed)
    step, row = divmod(position, settings.batch_size)
    index = order.of_batch(epoch, step)[row]
    number = epoch * order.steps + step
    size = _draw_size(_sizes(settings), seed, number // settings.batches_per_size)
    key = orders.key(seed, orders.SAMPLE, number * settings.batch_size + row)
    return _render(size, settings, *_plan(annotations, tf.constant(index), size, settings, key))


def reason(path: str, orientation: int = 0) -> str:
    """Why the image was left out, as one message; if it can be read, the message names ``reproduce``.

    ``orientation``: ``Record.orientation``.
    """
    return image_files.explain(path, orientation) or (
        f'{path}: can be read now, so it changed meanwhile or an augmentation failed on it; pipeline.reproduce raises '
        'the error itself')


def _plan(annotations, index, size: tuple[Any, Any], settings, key):
    """All that may fail on a bad image: (pixels of the part seen, their target in the input, the sample, index)."""
    image, sample = _windowed(annotations, index, settings.windows, key)
    if _changes('images', settings):
        others = _others(annotations, index, settings.windows, key)
        image, *boxes = mix.mix(image, sample, settings.augment, key, others, size)
        sample = augment.whole_image(image.height, image.width, *boxes)
    sample = augment.augment(sample, settings.augment, key)
    upright = _size_before_turn(size, sample) if _changes('turn', settings) else size
    shown = geometry.fit_view(sample.height, sample.width, sample.view, *upright, settings.letterbox)
    boxes = _turned(geometry.to_network(sample.boxes, shown.placement), size, settings, sample)
    target = _turned(shown.target, size, settings, sample)
    sample = augment.keep(sample._replace(boxes=boxes), augment.has_area(boxes))
    return image_files.decode_part(image, shown.rectangle), target, sample, index


def _size_before_turn(size, sample) -> tuple[Any, Any]:
    """Height and width into which a view is fitted that is turned, or not, into ``size`` afterwards."""
    height, width = tf.unstack(tf.where(sample.turned, tf.stack([size[1], size[0]]), tf.stack(size)))
    return height, width


def _turned(boxes, size, settings, sample):
    """Boxes [..., 4] of the network input before the sample's turn and reflections -> behind them."""
    if _changes('turn', settings):
        boxes = tf.where(sample.turned, geometry.transpose(boxes), boxes)
        boxes = tf.where(sample.upended, geometry.upend(boxes, size[0]), boxes)
    return tf.where(sample.mirrored, geometry.mirror(boxes, size[1]), boxes)


def _changes(what, settings):
    """Whether one of the augmentations asked for changes this (``augment.Augmentation``)."""
    return any(AUGMENTATIONS[name].changes == what for name in settings.augment)


def _render(size: tuple[Any, Any], settings, pixels, target, sample, index):
    """Touches the pixels, each once: (image uint8 [H, W, 3], GroundTruth, index)."""
    if _changes('turn', settings):
        pixels = rendering.turn(pixels, sample)
    pixels = rendering.mirror(pixels, sample)
    image = rendering.resize(pixels, target[3] - target[1], target[2] - target[0], sample)
    image = rendering.soften(image, sample) if _changes('focus', settings) else image
    if _changes('colour', settings):
        grey = rendering.grey_to_paint(sample, geometry.GREY)
        image = rendering.paint(geometry.pad(image, target[1], target[0], *size, grey), sample)
        image = geometry.to_uint8(image)
    else:
        image = geometry.pad(geometry.to_uint8(image), target[1], target[0], *size, geometry.GREY)
    return image, _truth(sample), index


def _read_whole(annotations, index):
    image = record_tensors.open_image(annotations, index)
    sample = record_tensors.sample(annotations, index, image)
    return image_files.decode_part(image, sample.view), sample, index


def _place_whole(height, width, letterbox, pixels, sample, index):
    image, placement = geometry.place_image(pixels, height, width, letterbox)
    truth = _truth(sample._replace(boxes=geometry.to_network(sample.boxes, placement)))
    return EvaluationBatch(image, placement, tf.stack([sample.height, sample.width]), index, truth)


def _windowed(annotations, index, windows, key):
    """``image_files.Image`` of a record and its sample, of a random window where ``windows`` asks for it."""
    image = record_tensors.open_image(annotations, index)
    sample = record_tensors.sample(annotations, index, image)
    if windows is None:
        return image, sample
    seed = tf.random.experimental.stateless_fold_in(key, parts.STREAM)
    return parts.cut(image, sample, parts.choose(sample, windows, parts.draw(seed)), windows)


def _others(annotations, index, windows, key):
    """``mix.Others``: parts of any image of the set but this one, where there is another."""
    count = tf.shape(annotations.starts)[0] - 1

    def others(number, window):
        step = tf.cast(number * tf.cast(count - 1, tf.float32), tf.int32)
        other = (index + 1 + tf.minimum(step, tf.maximum(count - 2, 0))) % count

        def read(other):
            seed = tf.random.experimental.stateless_fold_in(key, tf.bitcast(number, tf.int32))
            image, sample = _windowed(annotations, other, windows, seed)
            return mix.part_of(image, sample, window(image.height, image.width))
        # A dataset of one, because only a dataset can leave out what fails.
        one = tf.data.Dataset.from_tensors(other).map(read).ignore_errors()
        return one.concatenate(tf.data.Dataset.from_tensors(mix.empty())).take(1).get_single_element()
    return others


def _truth(sample):
    """One image's row of the GroundTruth."""
    return GroundTruth(sample.boxes, sample.classes, tf.ones_like(sample.classes, tf.bool), sample.weights)


def _usable(samples, strict):
    return samples if strict else samples.ignore_errors()


def _one_batch(samples, batch_size):
    """The samples of a dataset as one padded batch, with no images in it where there are none."""
    batch = samples.padded_batch(batch_size)
    empty = tf.nest.map_structure(lambda spec: tf.zeros([size or 0 for size in spec.shape], spec.dtype),
                                  batch.element_spec)
    return batch.concatenate(tf.data.Dataset.from_tensors(empty)).take(1).get_single_element()


def _side_by_side(batches, make, threads):
    """Makes several batches at a time and hands them on in order."""
    options = tf.data.Options()
    options.threading.max_intra_op_parallelism = 1      # the parallelism is over batches
    made = batches.map(make, num_parallel_calls=threads or os.cpu_count(), deterministic=True)
    return made.prefetch(2).with_options(options)


def _sizes(settings):
    """(height, width) pairs; checks the user's settings."""
    for name in settings.augment:
        choose(AUGMENTATIONS, name, 'augmentation')
    sizes = [tuple(size) if isinstance(size, (tuple, list)) else (size, size) for size in settings.sizes]
    for size in sizes or [()]:
        if len(size) != 2 or any(side < 32 or side % 32 for side in size):
            raise InputError(f'network input size {size}: expected height and width, positive multiples of 32')
    if settings.batch_size < 1:
        raise InputError(f'batch size {settings.batch_size}: expected at least 1')
    return sizes


def _draw_size(sizes, seed, number) -> tuple[Any, Any]:
    """(height, width): Python ints where there is no choice, so that shapes are known."""
    if len(sizes) == 1:
        return sizes[0]
    choice = tf.random.stateless_uniform([], orders.key(seed, orders.SIZE, number), 0, len(sizes), tf.int32)
    height, width = tf.unstack(tf.constant(sizes)[choice])
    return height, width


def explain_failure(dataset: Dataset, indices: Iterable[int], error: Exception) -> InputError:
    """The InputError to raise for a tf error under ``strict``: names the first of these records that is faulty.

    Raises:
      The error itself, where every one of the images can be used.
    """
    for index in indices:
        why = image_files.explain(dataset.records[index].image_path, dataset.records[index].orientation)
        if why:
            return InputError(f'{why} (--strict)')
    raise error
