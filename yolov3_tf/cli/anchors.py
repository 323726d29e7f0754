r"""Finds anchors for a data set by k-means with the IoU of shapes, and compares them with the published ones.

  yolov3-tf anchors voc:BCCD:train --image_size=416 --output=bccd.anchors

prints average IoU and best possible recall of the published anchors and of the new ones. It writes bccd.anchors, for
yolov3-tf train --anchors=bccd.anchors, and bccd.png, a plot of boxes and anchors by width and height. A cfg network
takes its anchors from the cfg: copy the line in the comment of the file into the cfg.

Exit code: 0; 2 when the input cannot be used.
"""
from __future__ import annotations

import os

from absl import flags

from yolov3_tf import atomic_file
from yolov3_tf.anchors import YOLOV3_ANCHORS, Anchors, clusters, files
from yolov3_tf.cli import data_spec
from yolov3_tf.data import network_sizes
from yolov3_tf.data.readers import specs
from yolov3_tf.data.readers.class_files import read_class_file
from yolov3_tf.drawing import anchors as plot
from yolov3_tf.errors import InputError

ARGUMENTS = 'SPEC'


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    data_spec.define(values)
    at = dict(flag_values=values)
    flags.DEFINE_integer('count', 9, 'Number of anchors, a multiple of the number of strides.', lower_bound=1,
                         upper_bound=100, **at)
    flags.DEFINE_list('strides', ['8', '16', '32'], 'Strides of the levels, which share the anchors. The first level '
                      'takes the smallest.', **at)
    flags.DEFINE_integer('image_size', 416, 'Input size of the network that uses the anchors.', lower_bound=32, **at)
    flags.DEFINE_bool('letterbox', True, 'Images keep their proportions, as in training.', **at)
    flags.DEFINE_integer('seed', 0, 'Seed of the random starts.', lower_bound=0, upper_bound=2**32 - 1, **at)
    flags.DEFINE_string('classes', None, 'File of class names, one a line. Default: as in training.', **at)
    flags.DEFINE_string('output', None, 'File to write. The plot beside it has the ending .png.', **at)


def run(arguments, options) -> int:
    """Finds anchors, prints them beside the published ones, and writes file and plot; returns the exit code."""
    spec, strides = check(arguments, options)
    dataset = specs.load(spec, read_class_file(options.classes) if options.classes else None)
    print(specs.describe(spec, dataset))
    sizes = network_sizes.of_boxes(dataset, options.image_size, options.image_size, options.letterbox)
    counts = [options.count // len(strides)] * len(strides)
    anchors = Anchors(clusters.levels(sizes, counts, options.seed), strides)
    before, after = clusters.quality(sizes, YOLOV3_ANCHORS.sizes), clusters.quality(sizes, anchors.sizes)
    print(f'published anchors: {describe(before)}\nthese {options.count}:          {describe(after)}\n'
          f'{files.text_of(anchors)}{files.darknet_line(anchors)}')
    if options.output:
        write(spec, sizes, anchors, before, after, options)
    return 0


def check(arguments, options):
    """The spec and the strides; raises InputError for wrong flags, before the data are read."""
    spec = data_spec.given(arguments, options, 'yolov3-tf anchors SPEC --output=FILE')
    if not all(text.isdecimal() and 1 <= int(text[:6]) <= 1024 for text in options.strides) or not options.strides:
        raise InputError(f'--strides={",".join(options.strides)}: expected whole numbers of pixels, such as 8,16,32')
    strides = tuple(int(text) for text in options.strides)
    if list(strides) != sorted(set(strides)) or options.count % len(strides):
        raise InputError(f'--count={options.count} --strides={",".join(options.strides)}: expected growing strides, '
                         f'and as many anchors for each: a multiple of {len(strides)}')
    if options.output and options.output.endswith('.png'):
        raise InputError(f'--output={options.output}: that is the plot\'s ending; the file is text, such as my.anchors')
    return spec, strides


def describe(quality) -> str:
    """Average IoU and recall as text."""
    return (f'average IoU {quality.average_iou:.4f}, best possible recall at IoU {clusters.COVERED:g} '
            f'{100 * quality.recall:.2f} %')


def write(spec, sizes, anchors, before, after, options):
    """The file for ``train --anchors`` and a plot beside it; sizes float [n, 2] pixels of the network input."""
    resized = 'letterbox' if options.letterbox else 'stretched'
    size = f'{options.image_size} x {options.image_size}'
    comments = (f'{spec}: {len(sizes)} boxes at {size} ({resized}), seed {options.seed}',
                f'{describe(after)} (published anchors: {describe(before)})', files.darknet_line(anchors))
    atomic_file.write_text(options.output, files.text_of(anchors, comments))
    image = os.path.splitext(options.output)[0] + '.png'
    plot.draw(image, sizes, {f'published, average IoU {before.average_iou:.3f}': YOLOV3_ANCHORS.sizes,
                            f'k-means, average IoU {after.average_iou:.3f}': anchors.sizes},
              f'{len(sizes)} boxes at {size}')
    fits = [len(level) for level in anchors.sizes] == [3, 3, 3] and anchors.strides == YOLOV3_ANCHORS.strides
    use = f'yolov3-tf train --anchors={options.output}' if fits else 'for a cfg network: YOLOv3 itself takes nine'
    print(f'anchors {options.output} ({use})\nplot    {image}')
