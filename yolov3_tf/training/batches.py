"""The training batches of a run, from where it stands; which images of one are missing, and why."""
from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

import tensorflow as tf

from yolov3_tf.data import image_files, pipeline
from yolov3_tf.structures import Dataset
from yolov3_tf.training.counters import Position
from yolov3_tf.training.settings import TrainingSettings


class Batches:
    """One endless stream for all stages: an epoch's images do not depend on the stage.

    Args:
      position: of the run; followed as it moves on.
      share: (worker, workers).
      cache: of ``data.caches``.
    """

    def __init__(self, dataset: Dataset, settings: TrainingSettings, position: Position, share: tuple[int, int],
                 cache: Any):
        self.dataset, self.settings, self.position, self.share = dataset, settings, position, share
        self.stream = iter(pipeline.training_batches(dataset, settings.batches, settings.seed, position.data_epoch,
                                                     position.step, share, cache))

    def next(self):
        """(images, truth, indices) of the step at hand.

        Raises:
          InputError: under strict, an image that cannot be used; otherwise it is left out.
        """
        try:
            return next(self.stream)
        except tf.errors.OpError as error:
            raise pipeline.explain_failure(self.dataset, self._expected(), error) from error

    def missing(self, came: Collection[int], count: int, known: Collection[str]) -> Iterator[tuple[str, str]]:
        """Yields (file, why) of every image that the step at hand should have had and that cannot be used.

        Args:
          came: records that this worker's part of the batch holds.
          count: images of the whole batch that came.
          known: files that were named before.
        """
        expected = self._expected()
        if count == len(expected):
            return
        worker, workers = self.share
        size = len(expected) // workers
        own = range(worker * size, (worker + 1) * size)
        for place, index in enumerate(expected):
            path = self.dataset.records[index].image_path
            if (place in own and index in came) or path in known:
                continue
            why = image_files.explain(path)
            if why is None and place not in own:
                continue                    # another worker could read it
            yield path, self._reproduced(path, place) if why is None else why

    def _reproduced(self, path, place) -> str:
        """Why an image with nothing wrong with it was left out: the error of its augmentation appears again."""
        number = self.position.step * self.settings.batches.batch_size + place
        pipeline.reproduce(self.dataset, self.settings.batches, self.settings.seed, self.position.data_epoch, number)
        return pipeline.reason(path)

    def _expected(self):
        """Records that the batch at hand should hold."""
        return pipeline.batch_indices(len(self.dataset.records), self.settings.batches.batch_size, self.settings.seed,
                                      self.position.data_epoch, self.position.step)
