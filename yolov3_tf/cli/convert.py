"""Converts weights between darknet's files and Keras, both ways.

  yolov3-tf convert --model=yolov3.weights --output=yolov3.h5
  yolov3-tf convert --model=darknet53.conv.74 --backbone --num_classes=3 \\
      --output=new.h5
  yolov3-tf convert --model=tiny.weights --cfg=yolov3-tiny.cfg --output=tiny.h5
  yolov3-tf convert --model=runs/NAME --output=mine.weights

The ending of --model decides the direction: a run or a checkpoint (.h5) becomes a darknet file, any other file is read
as a darknet file. An --output that ends in .weights.h5 has plain Keras weights (model.load_weights); another .h5 is a
checkpoint of this package, for the other commands.
"""
from __future__ import annotations

import os

from absl import flags

from yolov3_tf import anchors, atomic_file
from yolov3_tf.data.readers import class_files
from yolov3_tf.errors import InputError
from yolov3_tf.models import checkpoints, model_files, yolov3_network
from yolov3_tf.models.darknet import cfg, cfg_file, weights_file
from yolov3_tf.models.darknet import weights as darknet_weights

PLAIN, DARKNET, CHECKPOINT = '.weights.h5', '.weights', '.h5'
PUBLISHED_NAMES = {len(names): names for names in (class_files.COCO_CLASSES, class_files.VOC_CLASSES)}
MAIN_FLAGS = ('model', 'output', 'cfg', 'backbone', 'num_classes', 'classes', 'image_size', 'letterbox', 'to_darknet',
              'output_cfg')


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    at = dict(flag_values=values)
    flags.DEFINE_string('model', None, 'File to read. A darknet file, a checkpoint (.h5) or the folder of a run.', **at)
    flags.DEFINE_string('output', None, 'File to write.', **at)
    flags.DEFINE_boolean('overwrite', False, 'Replace the files to write if they exist.', **at)
    flags.DEFINE_string('cfg', None, 'Darknet cfg of the network in the darknet file. Default: YOLOv3 itself.', **at)
    flags.DEFINE_boolean('backbone', False, 'The darknet file has only the backbone, like darknet53.conv.74. Reading '
                         'it leaves the other layers random and needs --num_classes or --cfg.', **at)
    flags.DEFINE_float('width_multiplier', 1., 'Width of the network in the darknet file.', **at)
    flags.DEFINE_integer('num_classes', None, 'Classes of the network. Default: from the size of the file.', 1, **at)
    flags.DEFINE_string('classes', None, 'File of class names, one a line. They are kept in the checkpoint. Default: '
                        'COCO\'s names for 80 classes, VOC\'s for 20, else class_0, class_1, ...', **at)
    flags.DEFINE_list('image_size', None, 'Input size kept in the checkpoint. One number, or height,width. Default: '
                      'the cfg\'s, or 416.', **at)
    flags.DEFINE_boolean('letterbox', True, 'Images keep their proportions, as in darknet. Kept in the checkpoint. '
                         'Networks trained by the fork of darknet that YOLOv4 comes from expect --noletterbox unless '
                         'their cfg says letter_box=1.', **at)
    flags.DEFINE_boolean('to_darknet', False, 'Write a darknet file whatever the ending of --output.', **at)
    flags.DEFINE_string('output_cfg', None, 'Cfg to write beside the darknet file. It describes the file, its class '
                        'count included. Only for a network from a cfg.', **at)
    flags.DEFINE_string('darknet_version', '0.2.0', 'Version in a written darknet file. Under 0.2: short header.', **at)
    flags.DEFINE_integer('seen', 0, 'Images seen in training, in a written darknet file.', 0, **at)


def run(arguments, options) -> int:
    """Reads one file and writes the other; returns the exit code."""
    if arguments:
        raise InputError(f'expected flags only, got {" ".join(arguments)}')
    for name in ('model', 'output'):
        if not options[name].value:
            raise InputError(f'--{name}: expected a file to {"read" if name == "model" else "write"}, got none')
    to_darknet = _is_to_darknet(options)
    _check_output(options, to_darknet)
    atomic_file.check_free(*filter(None, (options.output, options.output_cfg)), overwrite=options.overwrite)
    (_to_darknet if to_darknet else _to_keras)(options)
    print(f'wrote {options.output}, {os.path.getsize(options.output):,} bytes')
    return 0


def _is_to_darknet(options) -> bool:
    from_checkpoint = options.model.endswith(CHECKPOINT) or os.path.isdir(options.model)
    return options.to_darknet or (from_checkpoint and options.output.endswith(DARKNET))


def _to_keras(options):
    network = _network(options)
    config = _config(network, options)
    model = _build(network, options)
    config = config._replace(class_names=_class_names(model.output_shape[-1] - 5, options))
    header = (darknet_weights.read_backbone if options.backbone else darknet_weights.read)(options.model, model)
    _report(options.model, model, header, options.backbone)
    if not options.output.endswith(PLAIN):
        print(f'classes: {", ".join(config.class_names)}')
        checkpoints.save_model(options.output, model, config)
        return
    partial = f'{options.output[:-len(PLAIN)]}.part{PLAIN}'
    model.save_weights(partial)
    os.replace(partial, options.output)


def _to_darknet(options):
    if options.cfg:
        raise InputError('--cfg beside --to_darknet: a checkpoint has its own cfg; leave --cfg out')
    major, minor, revision = _numbers('darknet_version', options.darknet_version.split('.'), 3)
    header = weights_file.Header(major, minor, revision, options.seen)
    header.pack()               # raises an error for wrong values before anything is written
    model, config = checkpoints.load_model(model_files.resolve(options.model))
    if options.output_cfg:
        _write_cfg(config, options.output_cfg)
    (darknet_weights.write_backbone if options.backbone else darknet_weights.write)(options.output, model, header)
    _report(options.output, model, header, options.backbone)


def _write_cfg(config, path):
    if not config.cfg:
        raise InputError('--output_cfg: expected a network from a cfg, got YOLOv3 itself, which darknet\'s yolov3.cfg '
                         'describes: set its classes= and the filters= before each [yolo]')
    atomic_file.write_text(path, cfg_file.with_classes(config.cfg, len(config.class_names)))
    print(f'wrote {path}')


def _check_output(options, to_darknet):
    path = options.output
    if os.path.isdir(path) or os.path.realpath(path) == os.path.realpath(options.model):
        raise InputError(f'--output={path}: expected a file to write, got a folder or the file to read')
    if options.output_cfg and not to_darknet:
        raise InputError('--output_cfg without --to_darknet: a checkpoint holds its cfg; leave it out')
    if not to_darknet and not path.endswith(CHECKPOINT):
        raise InputError(f'--output={path}: expected a file ending in .h5 from a darknet file, or --to_darknet')
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    except OSError as error:
        raise InputError(f'--output={path}: its folder cannot be created: {error.strerror}') from error


def _network(options):
    """The cfg's network, whose backbone ends where a backbone file ends; None for YOLOv3 itself."""
    if not options.cfg:
        return None
    if options['width_multiplier'].present:
        raise InputError('--width_multiplier beside --cfg: the cfg says how wide every layer is; leave it out')
    network = cfg.load(options.cfg)
    return darknet_weights.fit_backbone(options.model, network) if options.backbone else network


def _build(network, options):
    if options.backbone and not (options.num_classes or network):
        raise InputError('--backbone: expected --num_classes beside it, got none: a backbone file does '
                         'not say how many classes the network around it is to have')

    def build(classes):
        return cfg.build(network, classes) if network else yolov3_network.build(classes, options.width_multiplier)

    usual = network.num_classes if network else 80
    size = weights_file.inspect(options.model)[1]
    model = build(options.num_classes or usual)
    if not options.num_classes and not options.backbone:
        # If the size fits no number of classes, reading the file raises an error with the reason.
        classes = darknet_weights.infer_classes(size, model) or usual
        model = model if classes == usual else build(classes)
    return model


def _config(network, options):
    """The config for the checkpoint, without class names."""
    height, width = network.size if network else (416, 416)
    if options.image_size:
        height, width = _numbers('image_size', options.image_size * (2 if len(options.image_size) == 1 else 1), 2)
    config = checkpoints.ModelConfig((), options.width_multiplier, (height, width), options.letterbox)
    if network:
        config = config._replace(anchors=network.anchors, cfg=network.text,
                                 backbone_layers=network.backbone_layers)
    anchors.check_size(config.anchors, height, width)
    return config


def _class_names(classes, options):
    names = (class_files.read_class_file(options.classes) if options.classes else
             PUBLISHED_NAMES.get(classes, [f'class_{index}' for index in range(classes)]))
    if len(names) != classes:
        raise InputError(f'--classes={options.classes}: expected {classes} names, got {len(names)}')
    return tuple(names)


def _numbers(flag, parts, count):
    if len(parts) != count or not all(part.strip().isdigit() for part in parts):
        raise InputError(f'--{flag}: expected {count} whole numbers, got {parts}')
    return [int(part) for part in parts]


def _report(path, model, header, backbone):
    """Prints the content of the darknet file and accounts for all its bytes."""
    runs = darknet_weights.walk(model, yolov3_network.BACKBONE if backbone else '')
    kernels = [run for run in runs if run.what == 'kernel']
    norms = [run for run in runs if run.what == 'gamma']
    size, floats = os.path.getsize(path), darknet_weights.count(runs)
    print(f'{path}: version {".".join(map(str, header[:3]))}, {header.seen:,} images seen\n'
          f'  {len(kernels)} convolutions, {len(norms)} with BatchNorm; '
          + ('the backbone alone' if backbone else f'{model.output_shape[-1] - 5} classes') + '\n'
          f'  {size:,} bytes = a header of {header.size} + 4 x {floats:,} floats; '
          f'{size - header.size - 4 * floats} bytes unaccounted for')
