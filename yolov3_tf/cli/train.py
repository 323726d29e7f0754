"""Trains YOLOv3 on images with boxes, measures it and exports it ready to serve.

    python train.py --loss=giou --focal --ignore_thresh=0.45

The same command again goes on where it was stopped. See README.md.
"""
from __future__ import annotations

import os
import re
import sys

import tensorflow as tf
from absl import app, flags, logging

from yolov3_tf import export
from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.anchors import files as anchor_files
from yolov3_tf.assign import ASSIGNERS
from yolov3_tf.choices import choose
from yolov3_tf.cli.program import exit_code
from yolov3_tf.data import caches, pipeline
from yolov3_tf.data.readers import specs
from yolov3_tf.data.readers.class_files import read_class_file
from yolov3_tf.drawing import plots
from yolov3_tf.errors import InputError
from yolov3_tf.evaluation import (
    classification,
    report,
    results,
    validation,
)
from yolov3_tf.losses import criterion, formulations
from yolov3_tf.losses.box import BOX_LOSSES
from yolov3_tf.losses.classes import CLASS_LOSSES
from yolov3_tf.losses.criterion import IGNORE_SCOPES, MATCHES
from yolov3_tf.losses.objectness import OBJECTNESS_LOSSES, POSITIVE_WEIGHTS, TARGETS
from yolov3_tf.models import checkpoints
from yolov3_tf.models.darknet import (
    cfg,
    pretrained,
    weights_file,
)
from yolov3_tf.models.darknet import weights as darknet_weights
from yolov3_tf.models.head import HEADS
from yolov3_tf.training import distribution, precision, stages
from yolov3_tf.training import trainer as training
from yolov3_tf.training.optimizers import KINDS, OptimizerSettings
from yolov3_tf.training.run_folder import RunFolder

FLAGS = flags.FLAGS


# A resumed run may change these; every other flag shapes its result.
MAY_DIFFER = ('name', 'runs_dir', 'download', 'checkpoint_steps', 'strict', 'export', 'strategy', 'logical_devices',
              'profile', 'cache')
# (flag, flag, why they contradict each other)
CONTRADICTIONS = (
    ('image_size', 'train_sizes', 'one is a single size, the other is several'),
    ('image_size', 'val_size', 'the first already says at which size to measure'),
    ('init_weights', 'backbone_weights', 'the first already brings a backbone'),
    ('cfg', 'anchors', 'the cfg brings its own'),
    ('cfg', 'width_multiplier', 'the cfg says how wide every layer is'),
    ('cfg', 'grid_sensitivity', 'the cfg has its own (scale_x_y)'))


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests give values of their own."""
    # Data
    flags.DEFINE_string('train_data', None, 'images to train on: voc:DIR:SPLIT[+SPLIT], list:FILE, coco:JSON:DIR, '
                        'darknet:LIST, yolo:YAML:SPLIT, tfrecord:PATTERN, shapes[:N], or several joined by commas '
                        '(docs/DATA.md); without it VOCdevkit/ where there is one, else shapes', flag_values=values)
    flags.DEFINE_string('val_data', None, 'images to measure on, as train_data; shapes brings its own', flag_values=values)
    flags.DEFINE_string('classes', None, 'file of class names, one a line; else VOC\'s twenty if they fit, else as found', flag_values=values)
    flags.DEFINE_bool('strict', False, 'stop at the first bad label or image instead of skipping and naming it', flag_values=values)
    # Weights
    flags.DEFINE_string('backbone_weights', None, 'imagenet (default on real data), a darknet backbone file, a checkpoint '
                        'whose backbone is taken (.h5), or none', flag_values=values)
    flags.DEFINE_bool('download', False, 'fetch the ImageNet weights from their publisher if they are not there', flag_values=values)
    flags.DEFINE_string('init_weights', None, 'start from a whole network: a checkpoint (.h5) or a yolov3.weights; output '
                        'layers start afresh where the number of classes differs', flag_values=values)
    # Network and input
    flags.DEFINE_string('cfg', None, 'darknet cfg of the network to train instead of YOLOv3; brings its own anchors', flag_values=values)
    flags.DEFINE_string('anchors', None, 'file of anchors from yolov3-tf anchors, instead of the published nine', flag_values=values)
    flags.DEFINE_float('width_multiplier', 1., 'scales the filters of every layer; 1 is the published network', flag_values=values)
    flags.DEFINE_enum('head', 'coupled', sorted(HEADS), 'prediction layers: one output a level, or box and class apart', flag_values=values)
    flags.DEFINE_integer('image_size', None, 'one input size, a multiple of 32, for training and measuring', lower_bound=32, flag_values=values)
    flags.DEFINE_list('train_sizes', [str(size) for size in range(320, 641, 32)],
                      'input sizes to train at, changed every 10 batches (without image_size)', flag_values=values)
    flags.DEFINE_integer('val_size', 416, 'input size to measure and export at (without image_size)', lower_bound=32, flag_values=values)
    flags.DEFINE_bool('letterbox', True, 'keep the proportions of images (grey margins) instead of stretching them', flag_values=values)
    flags.DEFINE_list('augment', list(pipeline.DEFAULT_AUGMENTATIONS),
                      'augmentations of training images, applied in the order of '
                      f'{", ".join(pipeline.AUGMENTATIONS)}; empty for none', flag_values=values)
    flags.DEFINE_string('mixed_precision', 'auto', 'auto, float32, float16 or bfloat16', flag_values=values)
    # Loss; None means: as the formulation has it
    flags.DEFINE_enum('formulation', 'yolov3', sorted(formulations.FORMULATIONS), 'preset of all that follows; a flag '
                      'given beside it replaces that part', flag_values=values)
    flags.DEFINE_enum('loss', None, sorted(BOX_LOSSES), 'box term', flag_values=values)
    flags.DEFINE_bool('focal', None, 'focal loss on objectness', flag_values=values)
    flags.DEFINE_float('ignore_thresh', None, 'IoU from which a prediction without object is left in peace', flag_values=values)
    flags.DEFINE_enum('ignore_scope', None, sorted(IGNORE_SCOPES), 'which objects that IoU is taken with', flag_values=values)
    flags.DEFINE_enum('matched', None, sorted(MATCHES), 'which object an overlap loss compares with', flag_values=values)
    flags.DEFINE_bool('label_smoothing', None, 'class targets .99 y + .01 / C', flag_values=values)
    flags.DEFINE_enum('assigner', None, sorted(ASSIGNERS), 'which anchors answer for an object', flag_values=values)
    flags.DEFINE_float('assign_thresh', None, 'threshold of the assigner, where it has one', flag_values=values)
    flags.DEFINE_enum('objectness', None, sorted(OBJECTNESS_LOSSES), 'objectness term', flag_values=values)
    flags.DEFINE_enum('objectness_target', None, sorted(TARGETS), 'what the objectness of an object\'s slot should be', flag_values=values)
    flags.DEFINE_enum('positive_weight', None, sorted(POSITIVE_WEIGHTS), 'weight of the slots that answer for an object', flag_values=values)
    flags.DEFINE_enum('classification', None, sorted(CLASS_LOSSES), 'class term', flag_values=values)
    flags.DEFINE_float('box_weight', None, 'factor on the box term', lower_bound=0., flag_values=values)
    flags.DEFINE_float('background_weight', None, 'factor on the objectness of slots without object', lower_bound=0., flag_values=values)
    flags.DEFINE_list('grid_sensitivity', None, 'how far beyond its cell a centre can be predicted, a factor a level from '
                      'the finest, such as 1.2,1.1,1.05', flag_values=values)
    # Schedule; None means: fits whether the backbone is pretrained or random
    flags.DEFINE_bool('asymptotic', False, 'asymptotic fine tuning: first let the backbone learn which classes an image '
                      'holds', flag_values=values)
    flags.DEFINE_integer('asymptotic_epochs', 10, 'epochs of that stage', lower_bound=1, flag_values=values)
    flags.DEFINE_float('asymptotic_lr', 1e-3, 'its learning rate', flag_values=values)
    flags.DEFINE_integer('head_epochs', None, 'most epochs of the head on a resting backbone (default 50; 0 from random '
                         'weights)', lower_bound=0, flag_values=values)
    flags.DEFINE_float('head_lr', 1e-3, 'learning rate of the head stage', flag_values=values)
    flags.DEFINE_integer('patience', 5, 'epochs without lower validation loss that end the head stage, or a rate of '
                         'schedule=plateau; 0: never', lower_bound=0, flag_values=values)
    flags.DEFINE_list('full_epochs', None,
                      'epochs of everything, a count a rate (default 30,10; 60,20 from random weights)', flag_values=values)
    flags.DEFINE_list('full_lr', None, 'learning rates of the full stage (default 1e-4,1e-5; 1e-3,1e-4 from random weights)', flag_values=values)
    flags.DEFINE_enum('schedule', 'piecewise', sorted(stages.SCHEDULES), 'how the rate of the full stage falls', flag_values=values)
    flags.DEFINE_float('decay_power', 1., 'exponent of schedule=power', lower_bound=0., flag_values=values)
    flags.DEFINE_integer('warmup_epochs', 0, 'epochs of linear warm-up before everything else', lower_bound=0, flag_values=values)
    flags.DEFINE_enum('frozen_bn', 'adapt', sorted(stages.FROZEN_BN), 'what BatchNorm does in a resting backbone', flag_values=values)
    flags.DEFINE_integer('stop_after', 0, 'epochs without better mAP that end the full stage; 0: never', lower_bound=0, flag_values=values)
    flags.DEFINE_integer('batch_size', 4, 'images a step, over all devices and workers', lower_bound=1, flag_values=values)
    flags.DEFINE_integer('accumulate_steps', 1, 'pieces that each batch is worked through in, one after another: the batch '
                         'stays what it is and takes as much less memory', lower_bound=1, flag_values=values)
    flags.DEFINE_enum('optimizer', 'sgd', sorted(KINDS), 'update rule', flag_values=values)
    flags.DEFINE_float('momentum', .9, 'of sgd', lower_bound=0., upper_bound=.9999, flag_values=values)
    flags.DEFINE_float('weight_decay', 5e-4, 'of convolution kernels', lower_bound=0., flag_values=values)
    flags.DEFINE_float('clip_norm', 100., 'largest norm of a gradient tensor; inf for no clip', lower_bound=1e-6, flag_values=values)
    flags.DEFINE_float('ema_decay', 0., 'measure and export a moving average of the weights, for example 0.9998; 0: the '
                       'weights themselves', lower_bound=0., upper_bound=.999999, flag_values=values)
    # Devices
    flags.DEFINE_enum('strategy', 'auto', sorted(distribution.STRATEGIES), 'who trains together: one device, all of this '
                      'machine, or all workers of TF_CONFIG (docs/DISTRIBUTED.md)', flag_values=values)
    flags.DEFINE_integer('logical_devices', 1, 'split a machine without GPU into so many devices, to try strategies on it',
                         lower_bound=1, flag_values=values)
    flags.DEFINE_bool('sync_batch_norm', False, 'BatchNorm normalises by the images of all devices, not by those of its '
                      'own', flag_values=values)
    flags.DEFINE_bool('deterministic', False, 'the same bits from every run on a GPU too, more slowly', flag_values=values)
    # Run
    flags.DEFINE_string('name', None, 'folder of the run below runs_dir (default: from data and loss)', flag_values=values)
    flags.DEFINE_string('runs_dir', 'runs', 'where runs are kept', flag_values=values)
    flags.DEFINE_bool('export', True, 'end with a SavedModel of the best checkpoint', flag_values=values)
    flags.DEFINE_integer('seed', 0, 'of weights, order and augmentation', lower_bound=0, upper_bound=2**32 - 1, flag_values=values)
    flags.DEFINE_integer('log_steps', 20, 'steps a line of metrics', lower_bound=1, flag_values=values)
    flags.DEFINE_integer('epochs_between_eval', 1, 'epochs from one validation to the next; the last of a stage always has '
                         'one', lower_bound=1, flag_values=values)
    flags.DEFINE_enum('cache', 'none', sorted(caches.CACHES), 'keep the files of images, once read, in memory or in the '
                      'run\'s folder: for data on a slow disk or network', flag_values=values)
    flags.DEFINE_bool('profile', False, 'keep a trace of five steps for TensorBoard', flag_values=values)
    flags.DEFINE_integer('checkpoint_steps', 500, 'steps between checkpoints inside an epoch; 0: only at its end',
                         lower_bound=0, flag_values=values)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f'unexpected argument {argv[1]!r}: every setting is a flag, --name=value')
    logging.set_verbosity(logging.WARNING)
    return exit_code(run)


def run() -> int:
    check_flags()
    flag_values = flag_texts('value')
    precise = precision.apply(FLAGS.mixed_precision)
    if idle := precision.unused_gpus():
        print(f'note: {idle}', file=sys.stderr)
    devices = distribution.start(FLAGS.strategy, FLAGS.logical_devices)
    training.check(read_settings(False, precise), devices.replicas)
    if FLAGS.deterministic:
        tf.config.experimental.enable_op_determinism()
    try:
        with distribution.watched(devices):
            return train(flag_values, precise, devices)
    except training.Interrupted as stopped:
        print(f'stopped; saved in {stopped}. The same command goes on from there.')
        return 130
    except training.NonFiniteLoss as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    except distribution.PeerLost as error:
        print(f'error: {error}', file=sys.stderr)
        return distribution.TRY_AGAIN


def train(flag_values, precise, devices) -> int:
    train_set, val_set, on_shapes = load_data()
    tf.keras.utils.set_random_seed(FLAGS.seed)
    config = describe_network(train_set.class_names)
    folder = RunFolder(os.path.join(FLAGS.runs_dir, FLAGS.name or default_name(on_shapes)))
    with devices.scope():
        model, pretrained_backbone, origin = start_model(config, on_shapes)
    if not folder.last.exists():
        print(f'weights: {origin}')
    settings = read_settings(pretrained_backbone, precise)
    trainer = training.Trainer(folder, model, config, train_set, val_set, settings, devices)
    devices.by_chief(lambda: folder.claim(flag_values, train_set.class_names, MAY_DIFFER, flag_texts('default')))
    print(f'run {folder.root}: {len(train_set.records)} training and {len(val_set.records)} validation images, '
          f'{len(train_set.class_names)} classes, {model.count_params():,} parameters, {precise}, {devices.say()}')
    if not trainer.run():
        print('this run is finished; it is measured again')
    if settings.stages[-1].task == 'detection':
        devices.by_chief(lambda: finish(folder, val_set))
    else:
        devices.by_chief(lambda: finish_classification(folder, trainer))
    say_skipped(trainer.at['skipped'])
    return 0


def check_flags():
    """Everything that can be wrong with the flags alone, before data and network cost time.

    Raises:
      InputError: a value outside its range, or flags that contradict each other.
    """
    if FLAGS.mixed_precision != 'auto':
        choose(precision.POLICIES, FLAGS.mixed_precision, 'mixed_precision')
    for one, other, why in CONTRADICTIONS:
        if given(one) and given(other):
            raise InputError(f'--{one} beside --{other}: {why}; give one of them')
    for name in ('asymptotic_epochs', 'asymptotic_lr'):
        if given(name) and not FLAGS.asymptotic:
            raise InputError(f'--{name} without --asymptotic: there is no such stage; give --asymptotic too')
    if given('decay_power') and FLAGS.schedule != 'power':
        raise InputError(f'--decay_power beside --schedule={FLAGS.schedule}: only --schedule=power has an exponent')
    if given('momentum') and FLAGS.optimizer != 'sgd':
        raise InputError(f'--momentum beside --optimizer={FLAGS.optimizer}: only sgd has it')
    if FLAGS.cfg:
        choose(cfg.HEADS, FLAGS.head, 'head of a cfg network')
    if FLAGS.anchors:
        anchor_files.read_for_yolov3(FLAGS.anchors)
    if FLAGS.name is not None and not re.fullmatch(r'(?!\.\.?$)[^/\\\0]+', FLAGS.name):
        raise InputError(f'--name={FLAGS.name}: expected the name of one folder below --runs_dir')
    read_sensitivity()
    read_stages(pretrained_backbone=True)
    training.check(read_settings(False, FLAGS.mixed_precision))


def given(name) -> bool:
    """Whether a flag asks for something. Its default does not: the flagfile of an earlier run writes that out too."""
    return FLAGS[name].value not in (None, '', [], FLAGS[name].default)


def flag_texts(which):
    """name -> ``value`` or ``default`` of every flag here that has one, as text that --flagfile reads back."""
    values = {flag.name: getattr(flag, which) for flag in FLAGS.get_key_flags_for_module(__name__)}
    return {name: _text(value) for name, value in values.items() if value is not None}


def _text(value):
    """Numbers in lists are written one way, so that a resumed run may say 0.001 where it first said 1e-3."""
    return ','.join(map(_plain, value)) if isinstance(value, list) else str(value)


def _plain(text):
    try:
        return f'{float(text):.9g}'
    except ValueError:
        return text


def load_data():
    train_spec, val_spec = FLAGS.train_data, FLAGS.val_data
    if train_spec is None:
        if val_spec is not None:
            raise InputError('--val_data without --train_data: give both, or neither')
        train_spec, val_spec, message = specs.default_specs()
        print(message)
    on_shapes = train_spec.split(':')[0] == 'shapes'
    if val_spec is None:
        if not on_shapes:
            raise InputError('--train_data needs a --val_data to measure on, for example voc:DIR:val')
        val_spec = train_spec
    classes = read_class_file(FLAGS.classes) if FLAGS.classes else None
    train_set = specs.load(train_spec, classes, FLAGS.strict, 'train')
    val_set = specs.load(val_spec, train_set.class_names, FLAGS.strict, 'val')
    print(f'train: {specs.describe(train_spec, train_set)}\nval:   {specs.describe(val_spec, val_set)}')
    both = {record.image_path for record in train_set.records} & {record.image_path for record in val_set.records}
    if both:
        print(f'note: {len(both)} of the {len(val_set.records)} validation images are trained on too, so the '
              'measures will flatter', file=sys.stderr)
    if not any(len(record.boxes) for record in val_set.records):
        raise InputError(f'{val_spec}: none of its {len(val_set.records)} images has a box to measure against')
    for problem in train_set.problems + val_set.problems:
        print(f'label: {problem}', file=sys.stderr)
    return train_set, val_set, on_shapes


def describe_network(class_names) -> checkpoints.ModelConfig:
    """The network to train, as its checkpoints will describe it."""
    size = FLAGS.image_size or FLAGS.val_size
    anchors = anchor_files.read_for_yolov3(FLAGS.anchors) if FLAGS.anchors else YOLOV3_ANCHORS
    common = dict(class_names=tuple(class_names), image_size=(size, size), letterbox=FLAGS.letterbox, head=FLAGS.head)
    if not FLAGS.cfg:
        return checkpoints.ModelConfig(width_multiplier=FLAGS.width_multiplier,
                                       anchors=anchors._replace(sensitivity=read_sensitivity()), **common)
    network = cfg.load(FLAGS.cfg, len(class_names))
    weights = FLAGS.backbone_weights or 'imagenet'
    if weights.endswith('.h5'):         # the backbone ends where it did there
        network = cfg.load(FLAGS.cfg, len(class_names), checkpoints.describe(weights).backbone_layers)
    elif weights not in ('none', 'imagenet'):           # or where the file does
        _, size = weights_file.inspect(weights)
        network = cfg.cut_for(network, size // weights_file.FLOAT.itemsize)
    return checkpoints.ModelConfig(width_multiplier=1., anchors=network.anchors, cfg=network.text,
                                   backbone_layers=network.backbone_layers, **common)


def start_model(config, on_shapes):
    """The network with its starting weights, whether its backbone knows anything yet, and where they are from."""
    model = checkpoints.build(config)
    if FLAGS.init_weights:
        if FLAGS.init_weights.endswith('.h5'):
            fresh = checkpoints.load_weights(FLAGS.init_weights, model, cfg.outputs(model))
        else:
            fresh = darknet_weights.read_transfer(FLAGS.init_weights, model)
        return model, True, FLAGS.init_weights + ('; prediction layers start afresh' if fresh else '')
    choice = FLAGS.backbone_weights or ('none' if on_shapes else 'imagenet')
    if choice == 'none':
        why = 'on built-in shapes, ' if on_shapes and not FLAGS.backbone_weights else ''
        return model, False, f'random ({why}nothing pretrained); all layers train from the first step'
    path = pretrained.locate_backbone(choice, FLAGS.download)
    if path.endswith('.h5'):
        checkpoints.load_backbone(path, model)
    else:
        darknet_weights.read_backbone(path, model)
    return model, True, f'backbone from {path}'


def read_settings(pretrained_backbone, precise) -> training.TrainingSettings:
    return training.TrainingSettings(
        stages=read_stages(pretrained_backbone), loss=read_loss(), batches=read_batches(),
        optimizer=OptimizerSettings(FLAGS.optimizer, FLAGS.momentum, FLAGS.weight_decay, FLAGS.clip_norm),
        seed=FLAGS.seed, log_steps=FLAGS.log_steps, checkpoint_steps=FLAGS.checkpoint_steps,
        loss_scaling=precise == 'float16', sync_batch_norm=FLAGS.sync_batch_norm,
        accumulate_steps=FLAGS.accumulate_steps, ema_decay=FLAGS.ema_decay,
        epochs_between_eval=FLAGS.epochs_between_eval, cache=FLAGS.cache, profile=FLAGS.profile)


def read_loss() -> criterion.LossSettings:
    """The formulation's loss with the parts that have a flag of their own given."""
    parts = {name: FLAGS[name].value for name in criterion.LossSettings._fields if name != 'box'}
    return formulations.settings(FLAGS.formulation, box=FLAGS.loss, **parts)


def read_sensitivity():
    """Grid sensitivity a level, empty for 1 everywhere."""
    preset = formulations.FORMULATIONS[FLAGS.formulation]
    factors = tuple(numbers('grid_sensitivity', float, preset.sensitivity))
    if factors and (len(factors) != len(YOLOV3_ANCHORS.strides) or not all(1 <= factor <= 2 for factor in factors)):
        raise InputError(f'--grid_sensitivity: expected {len(YOLOV3_ANCHORS.strides)} factors of 1 to 2, finest level '
                         f'first, got {",".join(map(str, factors))}')
    return factors


def read_batches() -> pipeline.PipelineSettings:
    sizes = (FLAGS.image_size,) if FLAGS.image_size else numbers('train_sizes', int)
    return pipeline.PipelineSettings(batch_size=FLAGS.batch_size, sizes=tuple(sizes), letterbox=FLAGS.letterbox,
                                     augment=tuple(FLAGS.augment), strict=FLAGS.strict)


def read_stages(pretrained_backbone):
    """The plan: classification if asked for, the head on a resting backbone, everything."""
    known = pretrained_backbone or FLAGS.asymptotic
    epochs, rates = (('30', '10'), ('1e-4', '1e-5')) if known else (('60', '20'), ('1e-3', '1e-4'))
    if FLAGS.schedule in ('cosine', 'power'):       # fall by themselves: all epochs, from the first rate
        epochs, rates = (str(sum(map(int, epochs))),), rates[:1]
    head_epochs = FLAGS.head_epochs if FLAGS.head_epochs is not None else 50 if known else 0
    epochs, rates = numbers('full_epochs', int, epochs), numbers('full_lr', float, rates)
    plan = stages.two_stages(
        stages.pieces([head_epochs], [FLAGS.head_lr], 'head'),
        stages.pieces(epochs, rates, 'full') if epochs != [0] else (),
        FLAGS.warmup_epochs, FLAGS.patience, FLAGS.frozen_bn, FLAGS.schedule, FLAGS.decay_power,
        FLAGS.stop_after)
    if FLAGS.asymptotic:
        (piece,) = stages.pieces([FLAGS.asymptotic_epochs], [FLAGS.asymptotic_lr], 'asymptotic')
        plan = (stages.asymptotic(*piece), *plan)
    if not plan:
        raise InputError('no epoch to train: give --head_epochs or --full_epochs a positive number')
    return plan


def numbers(name, kind, default=()):
    """A list flag as numbers."""
    texts = FLAGS[name].value if FLAGS[name].value is not None else default
    try:
        return [kind(text) for text in texts]
    except ValueError:
        raise InputError(f'--{name}: expected {kind.__name__} numbers separated by commas, '
                         f'got {",".join(texts)!r}') from None


def default_name(on_shapes) -> str:
    loss = read_loss()
    data = 'shapes' if on_shapes else (FLAGS.train_data or 'voc').split(':')[0]
    return f'{data}-{loss.box}{"-focal" if loss.focal else ""}-ignore{loss.ignore_thresh:g}'


def finish(folder: RunFolder, val_set):
    """Measures, plots and exports the best checkpoint; each part can be done again."""
    tf.keras.mixed_precision.set_global_policy('float32')
    model, config = checkpoints.load_model(str(folder.best))
    outcome = validation.Validator(model, config, val_set).run()
    results.write_coco(folder.evaluation / 'detections.json', outcome.detections)
    measured = report.evaluate(report.read_part(val_set, outcome.skipped), outcome.detections)
    print(f'\nbest checkpoint, {len(outcome.detections)} validation images:\n{report.table(measured)}')
    if outcome.skipped:
        print(report.say_skipped(val_set, outcome.skipped))
    written = report.write(folder.evaluation, measured)
    curves = plots.training_curves(folder.metrics, folder.root / 'curves.png')
    plots.precision_recall(written, folder.evaluation / 'precision_recall.png')
    print(f'measures {written}\ncurves   {curves}')
    if FLAGS.export:
        print(f'serve    {export.export(model, config, folder.saved_model, version=1, overwrite=True)}')


def finish_classification(folder: RunFolder, trainer):
    """What a run of the asymptotic stage alone leaves: how well classes are told, and a backbone."""
    outcome = trainer.tasks['classification']
    outcome.validate()
    print(f'\n{classification.table(outcome.report)}\n'
          f'measures {classification.write(folder.evaluation, outcome.report)}\n'
          f'curves   {plots.training_curves(folder.metrics, folder.root / "curves.png")}\n'
          f'backbone {folder.last} (go on with --backbone_weights={folder.last})')


def say_skipped(skipped):
    if skipped:
        print(f'{len(skipped)} images were skipped:')
        for why in skipped.values():
            print(f'  {why}')
