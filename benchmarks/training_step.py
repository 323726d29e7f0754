"""The time that loss and optimiser add to a training step, that our two layers save, and PyTorch's for the same step.

    python benchmarks/training_step.py [--precision=float32] [--batch=4] [--image_size=416] [--width=1] [--rounds=3]

Each line gives images per second, the median over rounds in which all variants take turns, so that a slower
machine slows all of them. Quote the ratios. Where torch is installed, the same network runs there too: the same layers
in plain torch, channels last, forward and backward of the mean of the outputs, as in our bare step, in float32 or with
autocast to bfloat16. No loss and no optimiser on either side of that ratio.
"""
from __future__ import annotations

import argparse
import importlib.util
import os
import pathlib
import platform
import statistics
import sys
import time

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))

import tensorflow as tf

from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.evaluation import validation
from yolov3_tf.losses.criterion import LossSettings
from yolov3_tf.models import blocks, yolov3_network
from yolov3_tf.structures import GroundTruth
from yolov3_tf.training import stages, tasks
from yolov3_tf.training import step as training_step
from yolov3_tf.training.optimizers import Optimizer, OptimizerSettings
from yolov3_tf.training.precision import POLICIES


def batch(size, count, objects=8):
    """A batch of noise with ``objects`` boxes an image: the cost does not depend on the content of images."""
    corner = tf.random.stateless_uniform([count, objects, 2], [1, 2], 0, size * .5)
    extent = tf.random.stateless_uniform([count, objects, 2], [3, 4], 16, size * .5)
    truth = GroundTruth(tf.concat([corner, corner + extent], -1), tf.zeros([count, objects], tf.int32),
                        tf.ones([count, objects], tf.bool), tf.ones([count, objects]))
    images = tf.random.stateless_uniform([count, size, size, 3], [5, 6], 0, 256, tf.int32)
    return tf.cast(images, tf.uint8), truth


def bare_step(model, images):
    """Forward and backward of the network alone: a mean for a loss, a slice of every gradient to force it."""
    variables = [getattr(variable, '_value', variable) for variable in model.trainable_variables]

    @tf.function
    def step():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            loss = tf.reduce_mean(model(validation.to_input(images), training=True))
        return tf.add_n([tf.reshape(gradient, [-1])[0] for gradient in tape.gradient(loss, variables)])
    return step


def full_step(model, images, truth, focal=True):
    """The step as ``train.py`` runs it."""
    optimizer = Optimizer(model.trainable_variables, OptimizerSettings())
    signature = [tf.TensorSpec(images.shape, tf.uint8), GroundTruth(*(tf.TensorSpec(x.shape, x.dtype) for x in truth))]
    settings = LossSettings('giou', focal, .45)

    def compute_loss(images, truth, training):
        return tasks.compute_loss(model, images, truth, YOLOV3_ANCHORS, settings, training)
    step = training_step.make(compute_loss, optimizer, signature)
    return lambda: step(images, truth, tf.constant(1e-6), tf.constant(0.))


class StockBatchNorm(tf.keras.layers.BatchNormalization):
    def __init__(self, **kwargs):
        super().__init__(momentum=.99, epsilon=1e-5, **kwargs)


class StockLeakyReLU(tf.keras.layers.LeakyReLU):
    def __init__(self, inference=False, **kwargs):
        del inference
        slope = 'negative_slope' if hasattr(tf.keras, 'ops') else 'alpha'       # Keras 3, Keras 2
        super().__init__(**{slope: .1}, **kwargs)


def stock_model(classes, width):
    """The same network of Keras's own BatchNormalization and LeakyReLU."""
    ours = blocks.BatchNorm, blocks.LeakyReLU
    blocks.BatchNorm, blocks.LeakyReLU = StockBatchNorm, StockLeakyReLU
    try:
        return yolov3_network.build(classes, width)
    finally:
        blocks.BatchNorm, blocks.LeakyReLU = ours


def torch_layer(layer):
    """The layer of torch that does what one of ours does."""
    from torch import nn
    kind = type(layer).__name__
    if kind == 'Conv2D':
        size, _, inside, filters = layer.kernel.shape
        return nn.Conv2d(inside, filters, size, layer.strides[0], size // 2 if layer.padding == 'same' else 0,
                         bias=layer.use_bias)
    if kind == 'BatchNorm':
        return nn.BatchNorm2d(layer.gamma.shape[0], layer.epsilon, 1 - layer.momentum)
    return {'LeakyReLU': lambda: nn.LeakyReLU(blocks.SLOPE, inplace=True), 'ZeroPadding2D': lambda: nn.ZeroPad2d(1),
            'Upsample': lambda: nn.Upsample(scale_factor=layer.factor)}.get(kind, nn.Identity)()


def torch_step(model, images, precision):
    """The bare step in plain torch, layer by layer like our model; None where torch is not installed."""
    if importlib.util.find_spec('torch') is None:
        return None
    import torch
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    network = torch.nn.ModuleDict({layer.name: torch_layer(layer) for layer in model.layers})
    network = network.to(memory_format=torch.channels_last).train()
    batch = torch.from_numpy(images.numpy()).permute(0, 3, 1, 2).float().contiguous(memory_format=torch.channels_last)

    def outputs():
        values = {id(model.inputs[0]): batch / 255}
        for layer in model.layers[1:]:
            inputs = [values[id(x)] for x in (layer.input if isinstance(layer.input, list) else [layer.input])]
            if layer is model.layers[-1]:               # the levels, which we concatenate
                return inputs
            joined = (torch.cat(inputs, 1) if type(layer).__name__ == 'Concatenate' else
                      inputs[0] + inputs[1] if len(inputs) == 2 else inputs[0])
            values[id(layer.output)] = network[layer.name](joined)

    def step():
        network.zero_grad(set_to_none=True)
        with torch.autocast('cpu', torch.bfloat16, enabled=precision == 'bfloat16'):
            levels = outputs()
        loss = sum(level.float().sum() for level in levels) / sum(level.numel() for level in levels)
        loss.backward()
        return tf.constant(loss.item())
    return step


def cpu_name():
    """The processor as Linux calls it."""
    path = pathlib.Path('/proc/cpuinfo')
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((line.split(':', 1)[1].strip() for line in lines if line.startswith('model name')), platform.machine())


def variants(options):
    """name -> one step; the gradient variables are shared by the bare and the whole step."""
    images, truth = batch(options.image_size, options.batch)
    model, frozen = (yolov3_network.build(options.classes, options.width) for _ in range(2))
    stages.freeze(frozen, stages.Stage('head', yolov3_network.BACKBONE, ((1, 1.),)))
    other = torch_step(model, images, options.precision)
    return {'bare network, all layers': bare_step(model, images),
            'whole step, all layers': full_step(model, images, truth),
            'bare network of stock Keras layers': bare_step(stock_model(options.classes, options.width), images),
            'bare network, frozen backbone': bare_step(frozen, images),
            'whole step, frozen backbone': full_step(frozen, images, truth),
            **({'bare network in PyTorch': other} if other else {})}


def measure(options):
    steps = variants(options)
    speeds = {name: [] for name in steps}
    for round_ in range(options.rounds + 1):                # the first round traces and warms up
        for name, step in steps.items():
            began = time.perf_counter()
            tf.nest.map_structure(lambda value: value.numpy(), step())
            if round_:
                speeds[name].append(options.batch / (time.perf_counter() - began))
    return {name: statistics.median(values) for name, values in speeds.items()}


def report(options, speed):
    cores = len(os.sched_getaffinity(0))
    print(f'TensorFlow {tf.__version__}, Python {platform.python_version()}, {cpu_name()}, {cores} cores, '
          f'{options.precision}, {options.image_size} px, batch {options.batch}, width {options.width:g}, '
          f'median of {options.rounds} rounds')
    for name, value in speed.items():
        print(f'{value:8.3f} images/s  {options.batch / value:7.2f} s/step  {name}')
    for part in ('all layers', 'frozen backbone'):
        on_top = speed[f'bare network, {part}'] / speed[f'whole step, {part}'] - 1
        print(f'loss and optimiser on top, {part}: {100 * on_top:.1f} %')
    ratio = speed['bare network, all layers'] / speed['bare network of stock Keras layers']
    print(f'our layers against stock Keras layers: {ratio:.2f} times')
    if 'bare network in PyTorch' in speed:
        import torch
        ratio = speed['bare network, all layers'] / speed['bare network in PyTorch']
        print(f'our layers against PyTorch {torch.__version__}, forward and backward of both: {ratio:.2f} times')


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--precision', default='float32', choices=['float32', 'bfloat16'])
    for name, default in (('batch', 4), ('image_size', 416), ('rounds', 3), ('classes', 20)):
        parser.add_argument(f'--{name}', type=int, default=default)
    parser.add_argument('--width', type=float, default=1.)
    options = parser.parse_args()
    tf.keras.mixed_precision.set_global_policy(POLICIES[options.precision])
    report(options, measure(options))


if __name__ == '__main__':
    main()
