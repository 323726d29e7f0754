"""The training batches of a run from its position on, and the images that are missing in a batch, with the reason."""
from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import tensorflow as tf

from yolov3_tf.data import image_files, mix, pipeline
from yolov3_tf.structures import Dataset
from yolov3_tf.training.counters import Position
from yolov3_tf.training.settings import TrainingSettings


class Batches:
    """One endless stream for all stages, because the images of an epoch do not depend on the stage.

    Where images are no longer mixed with others (``mix_images``), another stream goes on at the same position: a batch
    follows from (seed, epoch, step), so both have the same images with the same other augmentations.

    Args:
      position: of the run; the trainer moves it on.
      share: (number of this worker, number of workers).
      cache: one of ``data.caches``.
    """

    def __init__(self, dataset: Dataset, settings: TrainingSettings, position: Position, share: tuple[int, int],
                 cache: Any):
        self.dataset, self.settings, self.position, self.share = dataset, settings, position, share
        self.cache, self.current = cache, settings.batches
        self.order = pipeline.order_of(dataset, settings.batches, settings.seed)
        self.stream = self._stream()

    def mix_images(self, wanted: bool) -> None:
        """Whether images are mixed with others, as the settings ask for, from the current step on."""
        augment = self.settings.batches.augment
        names = augment if wanted else tuple(name for name in augment if name not in mix.MIXES)
        if names != self.current.augment:
            self.current = self.settings.batches._replace(augment=names)
            self.stream = self._stream()

    def next(self):
        """(images, truth, indices) of the current step.

        Raises:
          InputError: under strict, an image cannot be used; otherwise such an image is left out.
        """
        try:
            return next(self.stream)
        except tf.errors.OpError as error:
            raise pipeline.explain_failure(self.dataset, self._expected(), error) from error

    def missing(self, present: Collection[int], count: int, known: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yields (file, reason) for every image of the current step that cannot be used.

        Args:
          present: indices of the records in this worker's part of the batch.
          count: number of images in the whole batch.
          known: files that were reported before.
        """
        expected = self._expected()
        if count == len(expected):
            return
        worker, workers = self.share
        size = len(expected) // workers
        own = range(worker * size, (worker + 1) * size)
        for position, index in enumerate(expected):
            path, turned = self.dataset.records[index].image_path, self.dataset.records[index].orientation
            if (position in own and index in present) or path in known:
                continue
            why = image_files.explain(path, turned)
            if why is None and position not in own:
                continue                    # another worker could read it
            yield path, self._reproduced(path, turned, position) if why is None else why

    def _reproduced(self, path, turned, position) -> str:
        """Why a readable image was left out: repeats its augmentation to get the error again."""
        number = self.position.step * self.settings.batches.batch_size + position
        pipeline.reproduce(self.dataset, self.current, self.settings.seed, self.position.data_epoch, number)
        return pipeline.reason(path, turned)

    def _stream(self):
        return iter(pipeline.training_batches(self.dataset, self.current, self.settings.seed, self.position.data_epoch,
                                              self.position.step, self.share, self.cache))

    def _expected(self):
        """Indices of the records that the current batch should contain."""
        return self.order.of_batch(self.position.data_epoch, self.position.step)
