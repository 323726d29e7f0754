"""Trains YOLOv3 on pictures with boxes, measures it and exports it ready to serve.

    python train.py --loss=giou --focal --ignore_thresh=0.45

The same command again goes on where it was stopped. See README.md.
"""
from __future__ import annotations

import os
import sys

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

import tensorflow as tf  # noqa: E402
from absl import app, flags, logging  # noqa: E402

from yolov3_tf import (  # noqa: E402
    checkpoints,
    darknet_weights,
    export,
    plots,
    precision,
    pretrained,
    stages,
    training,
    validation,
)
from yolov3_tf.choices import InputError, exit_code  # noqa: E402
from yolov3_tf.data import pipeline, specs  # noqa: E402
from yolov3_tf.data.labels import read_class_file  # noqa: E402
from yolov3_tf.evaluation import report  # noqa: E402
from yolov3_tf.losses.box import BOX_LOSSES  # noqa: E402
from yolov3_tf.losses.total import IGNORE_SCOPES, MATCHES, LossSettings  # noqa: E402
from yolov3_tf.models import yolov3  # noqa: E402
from yolov3_tf.optimizers import KINDS, OptimizerSettings  # noqa: E402
from yolov3_tf.run_folder import RunFolder  # noqa: E402

FLAGS = flags.FLAGS

# Data
flags.DEFINE_string('train_data', None, 'pictures to train on: voc:DIR:SPLIT[+SPLIT], list:FILE, coco:JSON:DIR, '
                    'shapes[:N]; without it VOCdevkit/ where there is one, else shapes')
flags.DEFINE_string('val_data', None, 'pictures to measure on, as train_data; shapes brings its own')
flags.DEFINE_string('classes', None, 'file of class names, one a line; else VOC\'s twenty if they fit, else as found')
flags.DEFINE_bool('strict', False, 'stop at the first bad label or picture instead of skipping and naming it')
# Weights
flags.DEFINE_string('backbone_weights', None, 'imagenet (default on real data), a darknet backbone file, or none')
flags.DEFINE_bool('download', False, 'fetch the ImageNet weights from their publisher if they are not there')
flags.DEFINE_string('init_weights', None, 'start from a whole network: a checkpoint (.h5) or a yolov3.weights; output '
                    'layers start afresh where the number of classes differs')
# Network and input
flags.DEFINE_float('width_multiplier', 1., 'scales the filters of every layer; 1 is the published network')
flags.DEFINE_integer('image_size', None, 'one input size, a multiple of 32, for training and measuring', lower_bound=32)
flags.DEFINE_list('train_sizes', [str(size) for size in range(320, 641, 32)],
                  'input sizes to train at, changed every 10 batches (without image_size)')
flags.DEFINE_integer('val_size', 416, 'input size to measure and export at (without image_size)', lower_bound=32)
flags.DEFINE_bool('letterbox', True, 'keep the proportions of pictures (grey margins) instead of stretching them')
flags.DEFINE_list('augment', list(pipeline.AUGMENTATIONS), 'augmentations of training pictures; empty for none')
flags.DEFINE_string('mixed_precision', 'auto', 'auto, float32, float16 or bfloat16')
# Loss
flags.DEFINE_enum('loss', 'mse', sorted(BOX_LOSSES), 'box term')
flags.DEFINE_bool('focal', False, 'focal loss on objectness')
flags.DEFINE_float('ignore_thresh', .5, 'IoU from which a prediction without object is left in peace')
flags.DEFINE_enum('ignore_scope', 'scale', sorted(IGNORE_SCOPES), 'which objects that IoU is taken with')
flags.DEFINE_enum('matched', 'assigned', sorted(MATCHES), 'which object an overlap loss compares with')
flags.DEFINE_bool('label_smoothing', False, 'class targets .99 y + .01 / C')
# Schedule; None means: fits whether the backbone is pretrained or random
flags.DEFINE_integer('stage1_epochs', None, 'most epochs of the head on a resting backbone (default 50; 0 from random '
                     'weights)', lower_bound=0)
flags.DEFINE_float('stage1_lr', 1e-3, 'learning rate of stage 1')
flags.DEFINE_integer('patience', 5, 'epochs without lower validation loss that end stage 1; 0: never', lower_bound=0)
flags.DEFINE_list('stage2_epochs', None,
                  'epochs of everything, a count a rate (default 30,10; 60,20 from random weights)')
flags.DEFINE_list('stage2_lr', None, 'learning rates of stage 2 (default 1e-4,1e-5; 1e-3,1e-4 from random weights)')
flags.DEFINE_integer('warmup_epochs', 0, 'epochs of linear warm-up before everything else', lower_bound=0)
flags.DEFINE_enum('frozen_bn', 'adapt', sorted(stages.FROZEN_BN), 'what BatchNorm does in a resting backbone')
flags.DEFINE_integer('batch_size', 4, 'pictures a step', lower_bound=1)
flags.DEFINE_enum('optimizer', 'sgd', sorted(KINDS), 'update rule')
flags.DEFINE_float('momentum', .9, 'of sgd', lower_bound=0., upper_bound=.9999)
flags.DEFINE_float('weight_decay', 5e-4, 'of convolution kernels', lower_bound=0.)
flags.DEFINE_float('clip_norm', 100., 'largest norm of a gradient tensor; inf for no clip', lower_bound=1e-6)
# Run
flags.DEFINE_string('name', None, 'folder of the run below runs_dir (default: from data and loss)')
flags.DEFINE_string('runs_dir', 'runs', 'where runs are kept')
flags.DEFINE_integer('seed', 0, 'of weights, order and augmentation', lower_bound=0, upper_bound=2**32 - 1)
flags.DEFINE_integer('log_steps', 20, 'steps a line of metrics', lower_bound=1)
flags.DEFINE_integer('checkpoint_steps', 500, 'steps between checkpoints inside an epoch; 0: only at its end',
                     lower_bound=0)

# A resumed run may change these; every other flag shapes its result.
MAY_DIFFER = ('name', 'runs_dir', 'download', 'checkpoint_steps', 'strict')


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f'unexpected argument {argv[1]!r}: every setting is a flag, --name=value')
    logging.set_verbosity(logging.WARNING)
    return exit_code(run)


def run() -> int:
    flag_values = {flag.name: _text(flag) for flag in FLAGS.get_key_flags_for_module(sys.argv[0])}
    flag_values = {name: value for name, value in flag_values.items() if value is not None}
    train_set, val_set, on_shapes = load_data()
    precise = precision.apply(FLAGS.mixed_precision)
    tf.keras.utils.set_random_seed(FLAGS.seed)
    model, pretrained_backbone = start_model(train_set.class_names, on_shapes)
    settings = read_settings(pretrained_backbone, precise)
    size = FLAGS.image_size or FLAGS.val_size
    description = checkpoints.Description(
        tuple(train_set.class_names), FLAGS.width_multiplier, (size, size), FLAGS.letterbox)
    folder = RunFolder(os.path.join(FLAGS.runs_dir, FLAGS.name or default_name(on_shapes)))
    trainer = training.Trainer(folder, model, description, train_set, val_set, settings)
    folder.claim(flag_values, train_set.class_names, MAY_DIFFER)
    print(f'run {folder.root}: {len(train_set.records)} training and {len(val_set.records)} validation pictures, '
          f'{len(train_set.class_names)} classes, {model.count_params():,} parameters, {precise}')
    try:
        if not trainer.run():
            print('this run is finished; its best checkpoint is measured and exported again')
    except training.Interrupted:
        print(f'stopped; saved in {folder.last}. The same command goes on from there.')
        return 130
    except training.NonFiniteLoss as error:
        print(f'error: {error}', file=sys.stderr)
        return 3
    finish(folder, val_set)
    say_skipped(trainer.at['skipped'])
    return 0


def _text(flag):
    """A flag's value as text that --flagfile reads back, None where it was not given a value."""
    if flag.value is None:
        return None
    return ','.join(flag.value) if isinstance(flag.value, list) else str(flag.value)


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
    if not any(len(record.boxes) for record in val_set.records):
        raise InputError(f'{val_spec}: none of its {len(val_set.records)} pictures has a box to measure against')
    for problem in train_set.problems + val_set.problems:
        print(f'label: {problem}', file=sys.stderr)
    return train_set, val_set, on_shapes


def start_model(class_names, on_shapes):
    """The network with its starting weights, and whether its backbone knows anything yet."""
    model = yolov3.build(len(class_names), FLAGS.width_multiplier)
    if FLAGS.init_weights:
        if FLAGS.init_weights.endswith('.h5'):
            fresh = checkpoints.load_weights(FLAGS.init_weights, model, yolov3.OUTPUTS)
        else:
            fresh = darknet_weights.read_transfer(FLAGS.init_weights, model)
        print(f'weights: {FLAGS.init_weights}' + ('; output layers start afresh for the new classes' if fresh else ''))
        return model, True
    choice = FLAGS.backbone_weights or ('none' if on_shapes else 'imagenet')
    if choice == 'none':
        why = 'on built-in shapes, ' if on_shapes and not FLAGS.backbone_weights else ''
        print(f'weights: random ({why}nothing pretrained); all layers train from the first step')
        return model, False
    path = pretrained.locate_backbone(choice, FLAGS.download)
    darknet_weights.read_backbone(path, model)
    print(f'weights: backbone from {path}')
    return model, True


def read_settings(pretrained_backbone, precise) -> training.TrainingSettings:
    epochs, rates = (('30', '10'), ('1e-4', '1e-5')) if pretrained_backbone else (('60', '20'), ('1e-3', '1e-4'))
    head_epochs = FLAGS.stage1_epochs if FLAGS.stage1_epochs is not None else 50 if pretrained_backbone else 0
    plan = stages.two_stages(
        stages.pieces([head_epochs], [FLAGS.stage1_lr], 'stage1'),
        stages.pieces(numbers('stage2_epochs', int, epochs), numbers('stage2_lr', float, rates), 'stage2'),
        FLAGS.warmup_epochs, FLAGS.patience, FLAGS.frozen_bn)
    sizes = (FLAGS.image_size,) if FLAGS.image_size else numbers('train_sizes', int)
    return training.TrainingSettings(
        stages=plan,
        loss=LossSettings(FLAGS.loss, FLAGS.focal, FLAGS.ignore_thresh, FLAGS.ignore_scope, FLAGS.matched,
                          FLAGS.label_smoothing),
        optimizer=OptimizerSettings(FLAGS.optimizer, FLAGS.momentum, FLAGS.weight_decay, FLAGS.clip_norm),
        batches=pipeline.PipelineSettings(batch_size=FLAGS.batch_size, sizes=tuple(sizes), letterbox=FLAGS.letterbox,
                                          augment=tuple(FLAGS.augment), strict=FLAGS.strict),
        seed=FLAGS.seed, log_steps=FLAGS.log_steps, checkpoint_steps=FLAGS.checkpoint_steps,
        loss_scaling=precise == 'float16')


def numbers(name, kind, default=()):
    """A list flag as numbers."""
    texts = FLAGS[name].value if FLAGS[name].value is not None else default
    try:
        return [kind(text) for text in texts]
    except ValueError:
        raise InputError(f'--{name}: expected {kind.__name__} numbers separated by commas, '
                         f'got {",".join(texts)!r}') from None


def default_name(on_shapes) -> str:
    data = 'shapes' if on_shapes else (FLAGS.train_data or 'voc').split(':')[0]
    return f'{data}-{FLAGS.loss}{"-focal" if FLAGS.focal else ""}-ignore{FLAGS.ignore_thresh:g}'


def finish(folder: RunFolder, val_set):
    """Measures, plots and exports the best checkpoint; each part can be done again."""
    tf.keras.mixed_precision.set_global_policy('float32')
    model, description = checkpoints.load_model(str(folder.best))
    outcome = validation.Validator(model, description, val_set).run()
    measured = report.evaluate(val_set, outcome.detections)
    print(f'\nbest checkpoint, {len(val_set.records)} validation pictures:\n{report.table(measured)}')
    written = report.write(folder.evaluation, measured)
    curves = plots.training_curves(folder.metrics, folder.root / 'curves.png')
    plots.precision_recall(written, folder.evaluation / 'precision_recall.png')
    served = export.export(model, description, folder.saved_model, version=1, overwrite=True)
    print(f'measures {written}\ncurves   {curves}\nserve    {served}')


def say_skipped(skipped):
    if skipped:
        print(f'{len(skipped)} pictures were skipped:')
        for why in skipped.values():
            print(f'  {why}')


if __name__ == '__main__':
    app.run(main)
