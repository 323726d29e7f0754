"""Darknet's files, which darknet itself, OpenCV's dnn module and many converters read.

    NAME.weights    see ``models.darknet.weights``
    NAME.cfg        the network that the weights belong to
    NAME.names      class names, one on each line
    NAME.json       what the other files cannot hold: letterbox, thresholds (``metadata``)

The program that runs the files decodes and suppresses, with its own thresholds.
"""
from __future__ import annotations

import os

import tensorflow as tf

from yolov3_tf.errors import InputError
from yolov3_tf.export import metadata
from yolov3_tf.export.settings import Settings, check
from yolov3_tf.models import checkpoints
from yolov3_tf.models.darknet import cfg, cfg_file, yolov3_cfg
from yolov3_tf.models.darknet import weights as darknet_weights
from yolov3_tf.models.yolov3_network import convolutions

SUFFIXES = {metadata.MODEL: '.json', metadata.LABELS: '.names'}


def files(path: str) -> list[str]:
    """The paths of all files that ``write`` writes; ``path`` is the weights file."""
    stem = os.path.splitext(path)[0]
    return [f'{stem}{suffix}' for suffix in ('.weights', '.cfg', *SUFFIXES.values())]


def write(path: str, model: tf.keras.Model, config: checkpoints.ModelConfig, settings: Settings) -> None:
    """Writes the four files into one folder.

    Raises:
      InputError: a cfg cannot describe the network (separated prediction layers), or a setting is out of range.
    """
    check(settings)
    stem = os.path.splitext(path)[0]
    darknet_weights.write(f'{stem}.weights', _with_darknets_epsilon(model, config))
    texts = metadata.texts(config, settings)
    for suffix, text in {'.cfg': _cfg(config), **{SUFFIXES[name]: texts[name] for name in SUFFIXES}}.items():
        with open(f'{stem}{suffix}', 'w', encoding='utf-8') as file:
            file.write(text)


def load(path: str) -> tuple[tf.keras.Model, checkpoints.ModelConfig, Settings]:
    """Reads the four files: the model, its config and its settings.

    Raises:
      InputError: one of the four is missing or damaged.
    """
    stem, found = os.path.splitext(path)[0], {}
    for name, suffix in SUFFIXES.items():
        try:
            with open(f'{stem}{suffix}', encoding='utf-8') as file:
                found[name] = file.read()
        except (OSError, UnicodeError) as error:
            raise InputError(f'{path}: expected {stem}{suffix} beside it, as export_saved_model.py --format=darknet '
                             'writes: convert other darknet files to a checkpoint with convert_darknet_weights.py '
                             f'--cfg ({error})') from error
    known = metadata.read(found, f'{stem}.json')
    network = cfg.load(f'{stem}.cfg', len(known.class_names))
    model = cfg.build(network)
    darknet_weights.read(path, model)
    config = checkpoints.ModelConfig(known.class_names, 1., known.image_size, known.letterbox, network.anchors,
                                    cfg=network.text, backbone_layers=network.backbone_layers, tiles=known.tiles)
    return model, config, known.settings


def _cfg(config):
    classes = len(config.class_names)
    if config.cfg:
        return cfg_file.with_classes(config.cfg, classes)
    height, width = config.image_size
    return yolov3_cfg.text(classes, height, width, config.anchors, config.width_multiplier)


def _with_darknets_epsilon(model, config):
    """A copy with corrected variances, because darknet adds another epsilon to them than the hand-written network."""
    copy = checkpoints.build(config)
    for (conv, norm), (copied_conv, copied_norm) in zip(convolutions(model), convolutions(copy)):
        copied_conv.set_weights(conv.get_weights())
        if norm is not None:
            gamma, beta, mean, variance = norm.get_weights()
            copied_norm.set_weights([gamma, beta, mean, variance + (norm.epsilon - cfg.EPSILON)])
    return copy
