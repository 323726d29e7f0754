"""The three-level head: each level refines its features, predicts, and passes them up to the finer level.

One choice, one table: how a level predicts.

    coupled          block -> one output convolution: box, objectness and classes together (YOLOv3)
    separated        block -> two more blocks: one for objectness and classes, one for the box (the paper)
    separated_early  two blocks in place of the level's own: the split one block earlier (the paper's outlook)

A block is six convolutions: 1x1 f, 3x3 2f, three times over. The trunk (blocks and the joints between
levels) has the same names with every head, so weights of one head can be loaded into another.
"""
from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from yolov3_tf.models.blocks import ConvStack, upsample

# Filters f of the levels' own blocks, coarsest level first.
FILTERS = (512, 256, 128)
# Filters f of the two blocks the paper adds to a level.
SEPARATED_CLASSES, SEPARATED_BOX = 128, 64
# Fields of a slot beside its classes: tx, ty, tw, th, and objectness.
BOX, OBJECTNESS = 4, 1


def coupled(routes: Sequence[tf.Tensor], num_classes: int, anchors_a_level: int, stack: ConvStack) -> list[tf.Tensor]:
    """YOLOv3's own head: one output convolution a level.

    Args:
      routes: features at stride 8, 16 and 32.
      num_classes: C.
      anchors_a_level: slots a cell, A.
      stack: where the convolutions are added; the three outputs are its 7th, 15th and 23rd.

    Returns:
      Slots at stride 8, 16 and 32, float32 [B, H / stride * W / stride * A, 5 + C] by row, column and
      anchor: tx, ty, tw, th, objectness, classes.
    """
    def level(x, filters):
        route, net = _block(x, filters, stack)
        outputs = stack.output(net, anchors_a_level * (BOX + OBJECTNESS + num_classes))
        return route, _slots(outputs, BOX + OBJECTNESS + num_classes, f'{stack.part}_slots_{stack.count:02d}')

    return _levels(routes, level, stack)


def separated(routes: Sequence[tf.Tensor], num_classes: int, anchors_a_level: int, stack: ConvStack) -> list[tf.Tensor]:
    """The paper's separated prediction layers: ``separate`` in place of each level's output convolution.

    Published structure: 3,836,544 trainable parameters more than coupled at C = 20 and full width.
    Arguments and result as in ``coupled``.
    """
    def level(x, filters):
        route, net = _block(x, filters, stack)
        return route, separate(net, num_classes, anchors_a_level, stack)

    return _levels(routes, level, stack)


def separated_early(routes: Sequence[tf.Tensor], num_classes: int, anchors_a_level: int,
                    stack: ConvStack) -> list[tf.Tensor]:
    """The paper's outlook, the split one block earlier: the level's own block exists once a branch.

    Both blocks read the level's input features and have the level's own f; each ends in its output
    convolution, no block follows. The finer level gets the fifth convolution of the class branch, because the
    class branch also predicts whether there is an object at all. The two outputs together are as large as the
    coupled one, so the three box blocks alone are more: 20,741,888 trainable parameters at full width,
    whatever C. Arguments and result as in ``coupled``.
    """
    def level(x, filters):
        classes, box = _branches(stack)
        stack.count += 7                # the block and the output that the branches replace
        route, class_net = _block(x, filters, classes)
        _, box_net = _block(x, filters, box)
        return route, _outputs(class_net, box_net, num_classes, anchors_a_level, classes, box)

    return _levels(routes, level, stack)


HEADS = {'coupled': coupled, 'separated': separated, 'separated_early': separated_early}


def separate(net: tf.Tensor, num_classes: int, anchors_a_level: int, stack: ConvStack) -> tf.Tensor:
    """Predicts one level by two branches of a block each, in place of one output convolution.

    block(128) -> 1x1 convolution to A (1 + C): objectness and classes; block(64) -> 1x1 convolution to 4 A: the box.

    Args:
      net: what the level's output convolution would read, [B, rows, columns, any].
      num_classes, anchors_a_level: C and A.
      stack: counts the two branches as the one output convolution they replace; they are named after its
        number n: ``.._n_class_conv_01`` .. ``07`` and ``.._n_box_conv_01`` .. ``07``, the last the output.

    Returns:
      float32 [B, rows * columns * A, 5 + C], as ``coupled``'s.
    """
    classes, box = _branches(stack)
    stack.count += 1
    _, class_net = _block(net, SEPARATED_CLASSES, classes)
    _, box_net = _block(net, SEPARATED_BOX, box)
    return _outputs(class_net, box_net, num_classes, anchors_a_level, classes, box)


def _levels(routes, level, stack):
    """Coarse to fine; ``level`` turns (features, filters) into (route to the finer level, slots)."""
    fine, middle, coarse = routes
    route, slots = level(coarse, FILTERS[0])
    found = [slots]
    for finer, filters in ((middle, FILTERS[1]), (fine, FILTERS[2])):
        route, slots = level(_join(route, finer, filters, stack), filters)
        found.append(slots)
    return found[::-1]


def _block(x, filters, stack):
    """Alternating 1x1 and 3x3 convolutions -> (the fifth, for the finer level; the sixth, for the output)."""
    for _ in range(2):
        x = stack.conv(x, filters, 1)
        x = stack.conv(x, 2 * filters, 3)
    route = stack.conv(x, filters, 1)
    return route, stack.conv(route, 2 * filters, 3)


def _join(route, finer, filters, stack):
    """Halves the coarse features' channels, doubles their size and concatenates them with the finer ones."""
    x = stack.conv(route, filters, 1)
    x = upsample(2, stack.folded, f'head_up_{stack.count:02d}')(x)
    return tf.keras.layers.Concatenate(name=f'head_join_{stack.count:02d}')([x, finer])


def _branches(stack):
    return stack.branch('class'), stack.branch('box')


def _outputs(class_net, box_net, num_classes, anchors_a_level, classes, box):
    """The branches' output convolutions, put together anchor by anchor: [box 4, objectness 1, classes C]."""
    scores = classes.output(class_net, anchors_a_level * (OBJECTNESS + num_classes))
    scores = _slots(scores, OBJECTNESS + num_classes, f'{classes.part}_slots')
    boxes = _slots(box.output(box_net, anchors_a_level * BOX), BOX, f'{box.part}_slots')
    return tf.keras.layers.Concatenate(dtype='float32', name=f'{classes.part}_and_box')([boxes, scores])


def _slots(outputs, fields, name):
    """[B, rows, columns, A * fields] -> [B, rows * columns * A, fields]."""
    return tf.keras.layers.Reshape([-1, fields], dtype='float32', name=name)(outputs)
