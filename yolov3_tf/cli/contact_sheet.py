r"""Draws what the network sees: images of one training batch after another, augmented, with their boxes.

  yolov3-tf contact-sheet voc:VOCdevkit:2012_train --output=sheet.png \
      --augment=mosaic,colour,flip

The images come from the training pipeline itself, so with the --augment, --seed and --image_size of a run the sheet
shows the first images of that run. A box with a weight below 1 (mix-up) shows its weight in percent.

Exit code: 0; 2 when the input cannot be used.
"""
from __future__ import annotations

import cv2
from absl import flags

from yolov3_tf.cli import data_spec, tile_flags
from yolov3_tf.data import pipeline
from yolov3_tf.data.readers import specs
from yolov3_tf.data.readers.class_files import read_class_file
from yolov3_tf.data.windows import Windows
from yolov3_tf.drawing import boxes as draw
from yolov3_tf.errors import InputError
from yolov3_tf.tiling import Tiling
from yolov3_tf.training import preview

MOST_EMPTY = 20         # most batches in a row without a usable image

ARGUMENTS = 'SPEC'


def define_flags(values=flags.FLAGS):
    """Adds the program's flags; tests pass their own ``values``."""
    data_spec.define(values)
    at = dict(flag_values=values)
    flags.DEFINE_string('output', None, 'PNG to write.', **at)
    flags.DEFINE_list('augment', list(pipeline.DEFAULT_AUGMENTATIONS), 'Augmentations, or nothing for none. They are '
                      f'applied in the order of {", ".join(pipeline.AUGMENTATIONS)}.', **at)
    flags.DEFINE_integer('images', 24, 'Number of images.', lower_bound=1, upper_bound=1000, **at)
    flags.DEFINE_integer('columns', 6, 'Images in a row.', lower_bound=1, **at)
    flags.DEFINE_integer('image_size', 416, 'Input size of the network, a multiple of 32.', lower_bound=32, **at)
    flags.DEFINE_bool('letterbox', True, 'Keep the proportions of images (grey margins) instead of stretching them.',
                      **at)
    flags.DEFINE_string('train_tiles', None, 'Windows of large images, as in training with this flag.', **at)
    flags.DEFINE_integer('seed', 0, 'Seed of order and augmentation.', lower_bound=0, upper_bound=2**32 - 1, **at)
    flags.DEFINE_string('classes', None, 'File of class names, one a line. Default: as in training.', **at)


def run(arguments, options) -> int:
    """Draws and writes the sheet; returns the exit code."""
    usage = 'yolov3-tf contact-sheet SPEC --output=sheet.png'
    spec = data_spec.given(arguments, options, usage)
    if not (options.output or '').endswith('.png'):
        raise InputError(f'expected one data spec and --output=FILE.png: {usage}')
    size = options.image_size
    if options.train_tiles:
        tile_flags.checked(options.train_tiles, '--train_tiles')
    windows = Windows(Tiling(options.train_tiles), (size, size)) if options.train_tiles else None
    settings = pipeline.PipelineSettings(min(options.images, 8), (size,), letterbox=options.letterbox,
                                         augment=tuple(options.augment), windows=windows)
    pipeline.check(settings)
    dataset = specs.load(spec, read_class_file(options.classes) if options.classes else None)
    print(specs.describe(spec, dataset))
    shown = images_of(dataset, settings, options.seed, options.images)
    sheet = draw.grid(shown, options.columns, options.image_size)
    if not cv2.imwrite(options.output, sheet[..., ::-1]):
        raise InputError(f'--output={options.output}: cannot be written')
    print(f'sheet  {options.output}: {len(shown)} images, {sheet.shape[1]} x {sheet.shape[0]}')
    return 0


def images_of(dataset, settings, seed, count):
    """The first ``count`` training images with their boxes, uint8 [h, w, 3] each."""
    drawn, empty = [], 0
    for images, truth, indices in pipeline.training_batches(dataset, settings, seed).as_numpy_iterator():
        empty = empty + 1 if not len(indices) else 0
        if empty == MOST_EMPTY:
            first = dataset.records[0]
            raise InputError(f'no image can be used: {pipeline.reason(first.image_path, first.orientation)}')
        for row, image in enumerate(images):
            valid = truth.valid[row]
            boxes, classes, weights = (part[row][valid] for part in (truth.boxes, truth.classes, truth.weights))
            drawn.append(preview.draw_mixed(image, boxes, classes, weights, dataset.class_names))
            if len(drawn) == count:
                return drawn

