"""Where a run stands, in numbers: together with weights and optimiser they are its whole state.

A checkpoint holds them as one flat JSON object, the same keys in every version of this package.
"""
from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any


@dataclasses.dataclass
class Position:
    """Where the next step is.

    Attributes:
      stage: of the plan, from 0.
      epoch, step: of the stage and of the epoch, from 0.
      data_epoch: passes over the data, over all stages.
      global_step: steps made, over all stages.
      finished: no stage is left.
    """
    stage: int = 0
    epoch: int = 0
    step: int = 0
    data_epoch: int = 0
    global_step: int = 0
    finished: bool = False


@dataclasses.dataclass
class History:
    """What there was so far.

    Attributes:
      images: in the training set; another number is another run.
      sums, summed: of each scalar since the last line of metrics, and over how many steps.
      val_losses, scores: of the stage, one an epoch.
      best: highest score of all, -1 before there is one.
      updates: steps that moved weights.
      skipped: file -> why, of images that cannot be used.
      metrics_bytes: length of metrics.jsonl.
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


def to_json(position: Position, history: History) -> dict[str, Any]:
    """One flat object of JSON values."""
    return {**dataclasses.asdict(position), **dataclasses.asdict(history)}


def from_json(counters: Mapping[str, Any]) -> tuple[Position, History]:
    """The inverse of ``to_json``; what a file of another version has beyond it is left out."""
    def fields(kind):
        return {field.name: counters[field.name] for field in dataclasses.fields(kind) if field.name in counters}
    return Position(**fields(Position)), History(**fields(History))
