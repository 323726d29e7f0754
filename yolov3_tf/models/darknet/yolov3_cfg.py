"""The hand-written YOLOv3 as the text of a darknet cfg, for any classes, anchors, size and width.

Source: darknet, cfg/yolov3.cfg.
"""
from __future__ import annotations

from yolov3_tf.anchors import YOLOV3_ANCHORS, Anchors
from yolov3_tf.models.blocks import ConvStack
from yolov3_tf.models.darknet53 import STEPS
from yolov3_tf.models.head import FILTERS


def text(classes: int, height: int, width: int, anchors: Anchors = YOLOV3_ANCHORS,
         width_multiplier: float = 1.) -> str:
    """The cfg's text: sections in darknet's order, layer numbers darknet's, from 0.

    Args:
      classes: C.
      height, width: of the network input in pixels.
    """
    scaled = ConvStack(width_multiplier).width
    sections = [f'[net]\nheight={height}\nwidth={width}\nchannels=3\n', _conv(scaled(32), 3)]
    routes = []
    for filters, blocks in STEPS:
        sections.append(_conv(scaled(filters), 3, stride=2))
        for _ in range(blocks):
            sections += [_conv(scaled(filters // 2), 1), _conv(scaled(filters), 3),
                         '[shortcut]\nfrom=-3\nactivation=linear\n']
        routes.append(len(sections) - 2)                                # its layer number: [net] has none
    for level, filters in zip((2, 1, 0), FILTERS):
        if level < 2:
            sections += ['[route]\nlayers=-4\n', _conv(scaled(filters), 1), '[upsample]\nstride=2\n',
                         f'[route]\nlayers=-1,{routes[level + 2]}\n']
        sections += [_conv(scaled(filters), 1), _conv(scaled(2 * filters), 3)] * 3
        sections += [_output(len(anchors.sizes[level]) * (5 + classes)), _yolo(level, classes, anchors)]
    return '\n'.join(sections)


def _conv(filters, size, stride=1):
    return (f'[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\n'
            'activation=leaky\n')


def _output(filters):
    return f'[convolutional]\nfilters={filters}\nsize=1\nstride=1\npad=1\nactivation=linear\n'


def _yolo(level, classes, anchors):
    pairs = [pair for sizes in anchors.sizes for pair in sizes]
    listed = ', '.join(f'{width:g},{height:g}' for width, height in pairs)
    first = sum(len(sizes) for sizes in anchors.sizes[:level])
    mask = ','.join(str(first + i) for i in range(len(anchors.sizes[level])))
    scale = f'scale_x_y={anchors.sensitivity[level]:g}\n' if anchors.sensitivity else ''
    return f'[yolo]\nmask={mask}\nanchors={listed}\nclasses={classes}\nnum={len(pairs)}\n{scale}'
