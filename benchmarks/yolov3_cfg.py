"""The text of darknet's yolov3.cfg for any class count, written from the network's description (darknet, cfg/)."""
from __future__ import annotations

from yolov3_tf.anchors import YOLOV3_ANCHORS
from yolov3_tf.models.darknet53 import STEPS


def cfg(classes: int, height: int, width: int) -> str:
    """The sections OpenCV's reader needs, in darknet's order; layer numbers are darknet's, from 0."""
    sections = [f'[net]\nheight={height}\nwidth={width}\nchannels=3\n', _conv(32, 3)]
    routes = []
    for filters, blocks in STEPS:
        sections.append(_conv(filters, 3, stride=2))
        for _ in range(blocks):
            sections += [_conv(filters // 2, 1), _conv(filters, 3), '[shortcut]\nfrom=-3\nactivation=linear\n']
        routes.append(len(sections) - 2)                                # its number: [net] has none
    for level, filters in ((2, 512), (1, 256), (0, 128)):
        if level < 2:
            sections += ['[route]\nlayers=-4\n', _conv(filters, 1), '[upsample]\nstride=2\n',
                         f'[route]\nlayers=-1,{routes[level + 2]}\n']
        sections += [_conv(filters, 1), _conv(2 * filters, 3)] * 3
        sections += [_output(3 * (5 + classes)), _yolo(level, classes)]
    return '\n'.join(sections)


def _conv(filters, size, stride=1):
    return (f'[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\nstride={stride}\npad=1\n'
            'activation=leaky\n')


def _output(filters):
    return f'[convolutional]\nfilters={filters}\nsize=1\nstride=1\npad=1\nactivation=linear\n'


def _yolo(level, classes):
    pairs = [pair for sizes in YOLOV3_ANCHORS.sizes for pair in sizes]
    text = ', '.join(f'{width:g},{height:g}' for width, height in pairs)
    mask = ','.join(str(3 * level + i) for i in range(3))
    return f'[yolo]\nmask={mask}\nanchors={text}\nclasses={classes}\nnum={len(pairs)}\n'
