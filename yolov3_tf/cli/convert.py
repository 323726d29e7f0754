"""Converts weights between darknet's files and Keras, both ways.

    python convert_darknet_weights.py --weights=yolov3.weights --output=yolov3.h5
    python convert_darknet_weights.py --weights=darknet53.conv.74 --backbone --num_classes=3 --output=new.h5
    python convert_darknet_weights.py --weights=tiny.weights --cfg=yolov3-tiny.cfg --output=tiny.h5
    python convert_darknet_weights.py --weights=runs/NAME/checkpoints/best.h5 --to_darknet --output=mine.weights

An --output ending in .weights.h5 is plain Keras weights (``model.load_weights``); any other is a
checkpoint of this package, as the other scripts take it.
"""
from __future__ import annotations

import os
import sys

from absl import flags

from yolov3_tf import anchors
from yolov3_tf.cli.program import exit_code
from yolov3_tf.data.readers import class_files
from yolov3_tf.errors import InputError
from yolov3_tf.models import (
    checkpoints,
    yolov3_network,
)
from yolov3_tf.models.darknet import cfg, cfg_file, weights_file
from yolov3_tf.models.darknet import weights as darknet_weights

FLAGS = flags.FLAGS

PLAIN = '.weights.h5'
PUBLISHED_NAMES = {len(names): names for names in (class_files.COCO_CLASSES, class_files.VOC_CLASSES)}


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests give values of their own."""
    flags.DEFINE_string('weights', None, 'File to read: a darknet file; with --to_darknet a checkpoint.', flag_values=values)
    flags.DEFINE_string('output', None, 'File to write.', flag_values=values)
    flags.DEFINE_string('cfg', None, 'Darknet cfg of the network the file is of. Default: YOLOv3 itself.', flag_values=values)
    flags.DEFINE_boolean('backbone', False, 'The darknet file is of the backbone alone, as darknet53.conv.74 is. '
                         'Read, it leaves the rest of the network random and needs --num_classes or --cfg.', flag_values=values)
    flags.DEFINE_float('width_multiplier', 1., 'Width of the network the darknet file is of.', flag_values=values)
    flags.DEFINE_integer('num_classes', None, 'Classes of the network. Default: as the size of the file says.', 1, flag_values=values)
    flags.DEFINE_string('classes', None, 'File of class names, one a line, for the checkpoint. Default: COCO\'s '
                        'names for 80 classes, VOC\'s for 20, else class_0, class_1, ...', flag_values=values)
    flags.DEFINE_list('image_size', None, 'Size, or height,width, kept in the checkpoint: what it is used at. Default: '
                      'the cfg\'s, or 416.', flag_values=values)
    flags.DEFINE_boolean('letterbox', True, 'Kept in the checkpoint: images keep their shape, as in darknet. Networks '
                         'trained by its fork that wrote YOLOv4 expect --noletterbox unless their cfg says letter_box=1.', flag_values=values)
    flags.DEFINE_boolean('to_darknet', False, 'From a checkpoint to a darknet file.', flag_values=values)
    flags.DEFINE_string('output_cfg', None, 'With --to_darknet, for a network from a cfg: where to write the cfg that '
                        'describes the file, its class count included.', flag_values=values)
    flags.DEFINE_string('darknet_version', '0.2.0', 'Version --to_darknet writes; under 0.2: short header.', flag_values=values)
    flags.DEFINE_integer('seen', 0, 'Images seen in training, which --to_darknet writes.', 0, flag_values=values)
    flags.mark_flags_as_required(['weights', 'output'], flag_values=values)


def main(_):
    sys.exit(exit_code(_run))


def _run():
    _check_output(FLAGS.output)
    (_to_darknet if FLAGS.to_darknet else _to_keras)()
    print(f'wrote {FLAGS.output}, {os.path.getsize(FLAGS.output):,} bytes')


def _to_keras():
    network = _network()
    config = _description(network)
    model = _build(network)
    config = config._replace(class_names=_class_names(model.output_shape[-1] - 5))
    header = (darknet_weights.read_backbone if FLAGS.backbone else darknet_weights.read)(FLAGS.weights, model)
    _report(FLAGS.weights, model, header)
    if not FLAGS.output.endswith(PLAIN):
        print(f'classes: {", ".join(config.class_names)}')
        checkpoints.save_model(FLAGS.output, model, config)
        return
    partial = f'{FLAGS.output[:-len(PLAIN)]}.part{PLAIN}'
    model.save_weights(partial)
    os.replace(partial, FLAGS.output)


def _to_darknet():
    if FLAGS.cfg:
        raise InputError('--cfg beside --to_darknet: a checkpoint knows its network; leave --cfg out')
    version = _numbers('darknet_version', FLAGS.darknet_version.split('.'), 3)
    header = weights_file.Header(*version, FLAGS.seen)
    header.pack()               # refuses what has no room, before anything is written
    model, config = checkpoints.load_model(FLAGS.weights)
    if FLAGS.output_cfg:
        _write_cfg(config)
    (darknet_weights.write_backbone if FLAGS.backbone else darknet_weights.write)(FLAGS.output, model, header)
    _report(FLAGS.output, model, header)


def _write_cfg(config):
    if not config.cfg:
        raise InputError('--output_cfg: expected a network from a cfg, got YOLOv3 itself, which darknet\'s yolov3.cfg '
                         'describes: set its classes= and the filters= before each [yolo]')
    with open(FLAGS.output_cfg, 'x', encoding='utf-8') as file:        # never over a file that is there
        file.write(cfg_file.with_classes(config.cfg, len(config.class_names)))
    print(f'wrote {FLAGS.output_cfg}')


def _check_output(path):
    if os.path.isdir(path) or os.path.realpath(path) == os.path.realpath(FLAGS.weights):
        raise InputError(f'--output={path}: expected a file to write, got a folder or the file to read')
    if FLAGS.output_cfg and not FLAGS.to_darknet:
        raise InputError('--output_cfg without --to_darknet: a checkpoint holds its cfg; leave it out')
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    except OSError as error:
        raise InputError(f'--output={path}: its folder cannot be made: {error.strerror}') from error


def _network():
    """The cfg's network, its backbone ending where a partial file does; None: YOLOv3 itself."""
    if not FLAGS.cfg:
        return None
    if FLAGS['width_multiplier'].present:
        raise InputError('--width_multiplier beside --cfg: the cfg says how wide every layer is; leave it out')
    network = cfg.load(FLAGS.cfg)
    return darknet_weights.fit_backbone(FLAGS.weights, network) if FLAGS.backbone else network


def _build(network):
    if FLAGS.backbone and not (FLAGS.num_classes or network):
        raise InputError('--backbone: expected --num_classes beside it, got none: a backbone file does '
                         'not say how many classes the network around it is to have')

    def build(classes):
        return cfg.build(network, classes) if network else yolov3_network.build(classes, FLAGS.width_multiplier)

    usual = network.num_classes if network else 80
    size = weights_file.inspect(FLAGS.weights)[1]
    model = build(FLAGS.num_classes or usual)
    if not FLAGS.num_classes and not FLAGS.backbone:
        # A size that fits no class count is refused when the file is read, with the reason.
        classes = darknet_weights.infer_classes(size, model) or usual
        model = model if classes == usual else build(classes)
    return model


def _description(network):
    """All that a checkpoint says of its model but the class names."""
    height, width = network.size if network else (416, 416)
    if FLAGS.image_size:
        height, width = _numbers('image_size', FLAGS.image_size * (2 if len(FLAGS.image_size) == 1 else 1), 2)
    config = checkpoints.ModelConfig((), FLAGS.width_multiplier, (height, width), FLAGS.letterbox)
    if network:
        config = config._replace(anchors=network.anchors, cfg=network.text,
                                           backbone_layers=network.backbone_layers)
    anchors.check_size(config.anchors, height, width)
    return config


def _class_names(classes):
    names = (class_files.read_class_file(FLAGS.classes) if FLAGS.classes else
             PUBLISHED_NAMES.get(classes, [f'class_{index}' for index in range(classes)]))
    if len(names) != classes:
        raise InputError(f'--classes={FLAGS.classes}: expected {classes} names, got {len(names)}')
    return tuple(names)


def _numbers(flag, parts, count):
    if len(parts) != count or not all(part.strip().isdigit() for part in parts):
        raise InputError(f'--{flag}: expected {count} whole numbers, got {parts}')
    return [int(part) for part in parts]


def _report(path, model, header):
    """Says what the darknet file holds, byte by byte."""
    runs = darknet_weights.walk(model, yolov3_network.BACKBONE if FLAGS.backbone else '')
    kernels = [run for run in runs if run.what == 'kernel']
    norms = [run for run in runs if run.what == 'gamma']
    size, floats = os.path.getsize(path), darknet_weights.count(runs)
    print(f'{path}: version {".".join(map(str, header[:3]))}, {header.seen:,} images seen\n'
          f'  {len(kernels)} convolutions, {len(norms)} with BatchNorm; '
          + ('the backbone alone' if FLAGS.backbone else f'{model.output_shape[-1] - 5} classes') + '\n'
          f'  {size:,} bytes = a header of {header.size} + 4 x {floats:,} floats; '
          f'{size - header.size - 4 * floats} bytes unaccounted for')
