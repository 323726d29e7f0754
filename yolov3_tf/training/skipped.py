"""Which images of a batch are missing, and why."""
from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from yolov3_tf.data import image_files, pipeline
from yolov3_tf.data.pipeline import PipelineSettings
from yolov3_tf.structures import Dataset


def explain_missing(dataset: Dataset, settings: PipelineSettings, expected: Sequence[int], came: Collection[int],
                    known: Collection[str], position: tuple[int, int, int], share: tuple[int, int]
                    ) -> Iterator[tuple[str, str]]:
    """Yields (file, why) of every image that should be in a batch and cannot be used.

    Args:
      expected: records of the whole batch, in order.
      came: those that this worker's part of it holds.
      known: files that were named before.
      position: seed, pass over the data and step of the batch.
      share: (worker, workers); of the other workers' images only those are named that cannot be read here either.
    """
    seed, data_epoch, step = position
    worker, workers = share
    size = len(expected) // workers
    own = range(worker * size, (worker + 1) * size)
    for place, index in enumerate(expected):
        path = dataset.records[index].image_path
        if (place in own and index in came) or path in known:
            continue
        why = image_files.explain(path)
        if why is None and place not in own:
            continue                    # another worker could read it
        if why is None:                 # nothing wrong with the image: make the true error appear
            pipeline.reproduce(dataset, settings, seed, data_epoch, step * settings.batch_size + place)
            why = pipeline.reason(path)
        yield path, why
