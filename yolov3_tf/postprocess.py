"""From raw predictions to detections: scores, non-maximum suppression, and coordinates in pixels of the image."""
from __future__ import annotations

from typing import Any, Callable, NamedTuple

import numpy as np
import tensorflow as tf

from yolov3_tf import boxes as box_ops
from yolov3_tf import codec, geometry
from yolov3_tf.choices import choose
from yolov3_tf.errors import InputError
from yolov3_tf.structures import BatchedDetections, Priors

CANDIDATES = 1000           # most candidates of an image, where all pairs are compared and the caller sets no top_k
SOFT_SIGMA = .5             # of Bodla et al.


class Suppression(NamedTuple):
    """Which of the scored boxes become detections. The defaults, except ``max_total``, are the reference's evaluation.

    Attributes:
      score_threshold: a detection's score, sigmoid(objectness) sigmoid(class), must be above it, 0..1.
      iou_threshold: of two boxes that overlap more, the one with the lower score is removed; ``soft`` does not use it.
      max_per_class: most detections of a class in an image.
      max_total: most detections of an image; None: no limit but ``max_per_class``, as in the reference.
      nms: name in ``NMS``.
      top_k: how many pairs of a slot and a class enter suppression, the best of each image (equal scores
        at the limit all enter ``per_class``); None: all of them in ``per_class``, else ``CANDIDATES``.
    """
    score_threshold: float = .01
    iou_threshold: float = .45
    max_per_class: int = 150
    max_total: int | None = 300
    nms: str = 'per_class'
    top_k: int | None = None


DEFAULTS = Suppression()


class Candidates(NamedTuple):
    """The K best pairs of a slot and a class of each image, best first; boxes [B, K, 4], the others [B, K]."""
    boxes: Any
    scores: Any
    classes: Any


def detect(outputs: tf.Tensor, priors: Priors, suppression: Suppression = DEFAULTS) -> BatchedDetections:
    """Scores and suppresses a batch of any size.

    Args:
      outputs: [B, S, 5 + C] of the network.

    Returns:
      BatchedDetections in pixels of the network input, not clipped to it.

    Raises:
      InputError: see ``check``.
    """
    check(suppression)
    raw = codec.split(outputs)
    scores = tf.sigmoid(raw.objectness)[..., None] * tf.sigmoid(raw.classes)           # [B, S, C]
    if suppression.max_total is None:
        suppression = suppression._replace(max_total=suppression.max_per_class * scores.shape[-1])
    return NMS[suppression.nms](codec.decode(raw.offsets, priors), scores, suppression)


def suppress(boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, suppression: Suppression,
             num_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Suppresses boxes that were detected already, such as those of several parts of one image, whatever their number.

    Args:
      boxes: float32 [n, 4]; scores: [n]; classes: int [n] below ``num_classes``.
      suppression: only its ``nms`` (not ``soft``, which changes scores) and ``iou_threshold`` count.

    Returns:
      Boxes, scores and classes that are left, best score first, and the row of each among the given ones.
    """
    if not len(boxes):
        return boxes.reshape(-1, 4), scores, classes, np.zeros(0, int)
    everything = suppression._replace(score_threshold=0., max_per_class=len(boxes), max_total=len(boxes), top_k=None)
    of_class = np.where(np.arange(num_classes) == classes[:, None], scores[:, None], 0.).astype(np.float32)
    found = NMS[suppression.nms](tf.constant(boxes[None], tf.float32), tf.constant(of_class[None]), everything)
    count = int(found.count[0])
    left = [np.asarray(part[0, :count]) for part in (found.boxes, found.scores, found.classes)]
    # No kernel says which rows it kept.
    rows = {row.tobytes(): index for index, row in enumerate(np.column_stack([boxes, scores, classes]).astype('f4'))}
    kept = np.array([rows[row.tobytes()] for row in np.column_stack(left).astype('f4')], int)
    return boxes[kept], scores[kept], classes[kept], kept


def check(suppression: Suppression):
    """Raises InputError for a number out of its range or an unknown kind of suppression."""
    for name in ('score_threshold', 'iou_threshold'):
        if not 0 <= getattr(suppression, name) <= 1:
            raise InputError(f'{name} {getattr(suppression, name)}: expected a number from 0 to 1')
    for name in ('max_per_class', 'max_total', 'top_k'):
        value = getattr(suppression, name)
        if not (value is None and name != 'max_per_class') and value < 1:
            raise InputError(f'{name} {value}: expected a whole number from 1 on')
    choose(NMS, suppression.nms, 'kind of suppression (nms)')


def undo_resize(detections: BatchedDetections, placement: geometry.Placement, sizes: tf.Tensor) -> BatchedDetections:
    """Boxes in pixels of the network input -> boxes in pixels of the original images, clipped to them.

    Args:
      placement: ``geometry.Placement`` of tensors [B].
      sizes: int [B, 2] height, width of the original images.
    """
    boxes = geometry.to_image(detections.boxes, placement)
    boxes = box_ops.clip(boxes, sizes[:, None, 0], sizes[:, None, 1])
    real = tf.sequence_mask(detections.count, tf.shape(boxes)[1])[..., None]
    return detections._replace(boxes=tf.where(real, boxes, 0.))


def _per_class(boxes, scores, limits):
    """Greedy suppression in each class separately, as for VOC and COCO results.

    TensorFlow's fused kernel takes .7 ms for an image at 20 classes and 2.8 ms at 80, where a loop over
    the classes takes 1.8 and 7.1 (score .01).
    """
    if limits.top_k is not None:
        flat = tf.reshape(scores, [tf.shape(scores)[0], -1])
        last = tf.math.top_k(flat, tf.minimum(limits.top_k, tf.shape(flat)[1])).values[:, -1]
        scores = tf.where(scores >= last[:, None, None], scores, 0.)
    # The kernel accepts corners in any consistent order, so x and y need not be swapped.
    found = tf.image.combined_non_max_suppression(
        boxes[:, :, None, :], scores, limits.max_per_class, limits.max_total, limits.iou_threshold,
        limits.score_threshold, clip_boxes=False)
    return BatchedDetections(found.nmsed_boxes, found.nmsed_scores, tf.cast(found.nmsed_classes, tf.int32),
                             found.valid_detections)


def _agnostic(boxes, scores, limits):
    """Greedy suppression over all classes together, where boxes of different classes suppress each other too.

    Only the best class of a slot can remain.
    """
    best = tf.argmax(scores, axis=-1, output_type=tf.int32)
    scores = tf.where(tf.range(tf.shape(scores)[-1]) == best[..., None], scores, 0.)
    candidates = _candidates(boxes, scores, limits.top_k)
    return _first(candidates, _greedy(candidates, box_ops.iou, limits, across_classes=True), limits)


def _diou(boxes, scores, limits):
    """Greedy suppression in each class by DIoU (Zheng et al., AAAI 2020).

    Of two neighbours with equal IoU, the one with the more distant centre is less likely to be suppressed.
    """
    candidates = _candidates(boxes, scores, limits.top_k)
    return _first(candidates, _greedy(candidates, box_ops.diou, limits, across_classes=False), limits)


def _soft(boxes, scores, limits):
    """In each class, every stronger box multiplies a box's score by exp(-IoU^2 / sigma) (Bodla et al., ICCV 2017).

    Detections are sorted and compared with the threshold by the reduced score.
    """
    candidates = _candidates(boxes, scores, limits.top_k)
    count = scores.shape[-1]

    def one_class(of_class):
        boxes_, scores_ = of_class
        # The kernel's sigma is half of the paper's: it takes exp(-IoU^2 / (2 sigma)).
        rows, kept, valid = tf.raw_ops.NonMaxSuppressionV5(
            boxes=boxes_, scores=scores_, max_output_size=limits.max_per_class, iou_threshold=1.,
            score_threshold=limits.score_threshold, soft_nms_sigma=SOFT_SIGMA / 2, pad_to_max_output_size=True)
        real = tf.range(limits.max_per_class) < valid
        return tf.gather(boxes_, rows), tf.where(real, kept, 0.)

    alone = tf.where(candidates.classes[:, None] == tf.range(count)[:, None], candidates.scores[:, None], 0.)
    kept_boxes, kept_scores = tf.map_fn(                                    # over B C: [M, 4], [M]
        one_class, (tf.repeat(candidates.boxes, count, axis=0), tf.reshape(alone, [-1, tf.shape(alone)[-1]])),
        fn_output_signature=(tf.TensorSpec([limits.max_per_class, 4]), tf.TensorSpec([limits.max_per_class])))
    batch, most = tf.shape(scores)[0], count * limits.max_per_class
    classes = tf.repeat(tf.range(count)[None], limits.max_per_class, axis=1)            # [1, C M]
    decayed = Candidates(tf.reshape(kept_boxes, [batch, most, 4]), tf.reshape(kept_scores, [batch, most]),
                         tf.tile(classes, [batch, 1]))
    return _first(decayed, decayed.scores > limits.score_threshold, limits)


def _candidates(boxes, scores, top_k):
    """The ``top_k`` largest of ``scores`` [B, S, C] as Candidates."""
    count = tf.shape(scores)[-1]
    flat = tf.reshape(scores, [tf.shape(scores)[0], -1])
    best, index = tf.math.top_k(flat, tf.minimum(top_k or CANDIDATES, tf.shape(flat)[1]))
    return Candidates(tf.gather(boxes, index // count, batch_dims=1), best, index % count)


def _greedy(candidates, overlap: Callable, limits, across_classes):
    """Which candidates greedy suppression keeps, bool [B, K].

    The rows are not processed one by one: a row is kept when no kept row above it suppresses it, and this is
    repeated until nothing changes. The first n rows are final after n rounds, so the result is that of greedy
    suppression; real images need only a few rounds (Cluster-NMS; Zheng et al., IEEE Transactions on Cybernetics 2021).
    """
    boxes, scores, classes = candidates
    rank = tf.range(tf.shape(scores)[1])
    above = rank[:, None] < rank[None, :]                                               # [K, K] row above column
    alike = tf.equal(classes[:, :, None], classes[:, None, :])
    rivals = above if across_classes else above & alike
    suppresses = (overlap(boxes[:, :, None], boxes[:, None]) > limits.iou_threshold) & rivals
    scored = scores > limits.score_threshold

    def round_(kept, _):
        beaten = tf.reduce_any(suppresses & kept[:, :, None], axis=1)
        return scored & ~beaten, kept

    kept, _ = tf.while_loop(lambda kept, before: tf.reduce_any(kept != before), round_, (scored, ~scored))
    stronger = tf.reduce_sum(tf.cast(alike & above & kept[:, :, None], tf.int32), axis=1)
    return kept & (stronger < limits.max_per_class)


def _first(candidates, kept, limits):
    """The best ``max_total`` of the kept candidates, padded with zeros."""
    scores = tf.where(kept, candidates.scores, 0.)
    padding = tf.maximum(limits.max_total - tf.shape(scores)[1], 0)
    scores, index = tf.math.top_k(tf.pad(scores, [[0, 0], [0, padding]]), limits.max_total)
    real = scores > 0
    index = tf.where(real, index, 0)
    boxes = tf.where(real[..., None], tf.gather(candidates.boxes, index, batch_dims=1), 0.)
    classes = tf.where(real, tf.gather(candidates.classes, index, batch_dims=1), 0)
    return BatchedDetections(boxes, scores, classes, tf.reduce_sum(tf.cast(real, tf.int32), axis=1))


NMS = {'per_class': _per_class, 'agnostic': _agnostic, 'diou': _diou, 'soft': _soft}
