"""``--anchors=auto``: anchors from the boxes that are trained on, where those of the network fit them badly."""
from __future__ import annotations

from typing import NamedTuple

from yolov3_tf.anchors import clusters
from yolov3_tf.data import network_sizes
from yolov3_tf.errors import InputError
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.models.darknet import cfg
from yolov3_tf.structures import Dataset

GAIN = .05      # in mean best IoU, from which clusters replace the network's own anchors


class Fit(NamedTuple):
    """The config with the anchors to train with, and one line that says which they are and why."""
    config: ModelConfig
    message: str


def fit(config: ModelConfig, dataset: Dataset) -> Fit:
    """Replaces a config's anchors by clusters of the boxes, at the config's input size, where these fit clearly better.

    A limit of best possible recall alone, .98 in YOLOv5's check, does not tell: with its measure (no side more than
    four times the anchor's) all boxes of BCCD pass at 192 to 416 pixels, whose mean best IoU clusters raise from
    .63 - .74 to .88; with the stricter one of ``clusters.quality`` those of voc_six fail at 416 (.934), which clusters
    cannot help (.940). So the gain in mean best IoU decides. Strides, anchors a level and sensitivity stay; in a cfg
    network only the numbers behind ``anchors=`` change. The same data give the same anchors.
    """
    own = config.anchors.sizes
    try:
        sizes = network_sizes.of_boxes(dataset, *config.image_size, config.letterbox, config.tiles)
        fitted = clusters.levels(sizes, [len(level) for level in own])
    except InputError as error:         # no box, or fewer shapes than anchors
        return Fit(config, f'anchors: kept ({error})')
    before, after = (clusters.quality(sizes, [pair for level in all_ for pair in level]) for all_ in (own, fitted))
    difference = (f'mean best IoU {before.average_iou:.2f} -> {after.average_iou:.2f}, best possible recall '
                  f'{100 * before.recall:.1f} -> {100 * after.recall:.1f} %')
    if after.average_iou < before.average_iou + GAIN:
        return Fit(config, f'anchors: kept, clusters of {len(sizes):,} boxes fit little better ({difference})')
    changed = config._replace(anchors=config.anchors._replace(sizes=fitted))
    if config.cfg:
        network = cfg.parse(config.cfg, 'cfg', len(config.class_names), config.backbone_layers)
        changed = changed._replace(cfg=cfg.with_anchors(network, fitted).text)
    return Fit(changed, f'anchors: fitted to {len(sizes):,} boxes ({difference})')
