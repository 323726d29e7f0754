"""The position and history of a run in numbers; with the weights and the optimiser they are its whole state.

A checkpoint holds them as one flat JSON object, with the same keys in every version of this package.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass
class Position:
    """The position of the next step.

    Attributes:
      stage: number of the stage in the plan, from 0.
      epoch, step: number of the epoch in the stage and of the step in the epoch, from 0.
      data_epoch: number of passes over the data in all stages so far.
      global_step: number of steps in all stages so far.
      finished: whether all stages are done.
    """
    stage: int = 0
    epoch: int = 0
    step: int = 0
    data_epoch: int = 0
    global_step: int = 0
    finished: bool = False


@dataclasses.dataclass
class History:
    """The results of the run so far.

    Attributes:
      images: number of images in the training set; with another number the run cannot be resumed.
      sums, summed: the sum of each scalar since the last line of metrics, and the number of steps summed.
      val_losses, scores: of the current stage, one for each epoch.
      best: the highest score, -1 before the first one.
      updates: number of steps that changed the weights.
      skipped: file -> reason, for images that cannot be used.
      metrics_bytes: length of metrics.jsonl.
      seconds: how long the run has trained and validated, in all its processes.
      planned: epochs of the last stage, where they are planned to end on time (``pacing``); 0 before that.
      extended: epochs that were trained after the end of the plan.
      flags: setting -> text, of every setting that must not change (``run_folder``).
      data: fingerprint of images and annotations (``agreement.of_annotations``).
    """
    images: int
    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    summed: int = 0
    val_losses: list[float] = dataclasses.field(default_factory=list)
    scores: list[float] = dataclasses.field(default_factory=list)
    best: float = -1.
    updates: int = 0
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    metrics_bytes: int = 0
    seconds: float = 0.
    planned: int = 0
    extended: int = 0
    flags: dict[str, str] = dataclasses.field(default_factory=dict)
    data: str = ''


def to_json(position: Position, history: History) -> dict[str, Any]:
    """One flat object of JSON values."""
    return {**dataclasses.asdict(position), **dataclasses.asdict(history)}


def from_json(counters: Mapping[str, Any]) -> tuple[Position, History]:
    """The inverse of ``to_json``; keys that only other versions of this package have are ignored."""
    def fields(kind):
        return {field.name: counters[field.name] for field in dataclasses.fields(kind) if field.name in counters}
    return Position(**fields(Position)), History(**fields(History))
