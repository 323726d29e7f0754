"""The loss as the project's reference text states it: plain NumPy, float64, one loop after another.

Written from the words alone, before and apart from ``yolov3_tf.losses``; it shares no line with it, so
where both agree the text has been read the same way twice. Slowness is the point: every index is visible.

Plain arguments throughout: ``sizes`` [L][A] (w, h) and ``strides`` [L] are the anchors; a picture is
``height`` x ``width``; boxes are x1, y1, x2, y2 pixels; slots stand level by level, row, column, anchor.
"""
import math

import numpy as np

IOU_LIKE = ('iou', 'giou', 'diou', 'ciou')


# --- one number at a time -------------------------------------------------------------------------

def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def bce(target, logit):
    """-(y log p + (1 - y) log(1 - p)) with p = sigmoid(logit); log(1 - p) is log sigmoid(-logit)."""
    log_p, log_not_p = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
    return -(target * log_p + (1 - target) * log_not_p)


def smooth_l1_of(x):
    """Girshick's Fast R-CNN, eq. 3."""
    return .5 * x * x if abs(x) < 1 else abs(x) - .5


# --- two boxes at a time --------------------------------------------------------------------------

def size_of(box):
    return max(box[2] - box[0], 0), max(box[3] - box[1], 0)


def iou(a, b):
    overlap_w = max(min(a[2], b[2]) - max(a[0], b[0]), 0)
    overlap_h = max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    (a_w, a_h), (b_w, b_h) = size_of(a), size_of(b)
    union = a_w * a_h + b_w * b_h - overlap_w * overlap_h
    return overlap_w * overlap_h / union if union > 0 else 0.


def hull(a, b):
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def giou(a, b):
    (a_w, a_h), (b_w, b_h), (c_w, c_h) = size_of(a), size_of(b), size_of(hull(a, b))
    union = (a_w * a_h + b_w * b_h) / (1 + iou(a, b))        # since IoU = (sum - union) / union
    return iou(a, b) - (c_w * c_h - union) / (c_w * c_h)


def diou(a, b):
    rho_x, rho_y = (a[0] + a[2] - b[0] - b[2]) / 2, (a[1] + a[3] - b[1] - b[3]) / 2
    c_w, c_h = size_of(hull(a, b))
    return iou(a, b) - (rho_x ** 2 + rho_y ** 2) / (c_w ** 2 + c_h ** 2)


def aspect_difference(a, b):
    (a_w, a_h), (b_w, b_h) = size_of(a), size_of(b)
    return 4 / math.pi ** 2 * (math.atan(b_w / b_h) - math.atan(a_w / a_h)) ** 2


def ciou_alpha(a, b):
    v = aspect_difference(a, b)
    return v / (1 - iou(a, b) + v) if v > 0 else 0.


def ciou(a, b, alpha=None):
    """``alpha`` may be handed in, for it has no gradient: a finite difference has to hold it still."""
    alpha = ciou_alpha(a, b) if alpha is None else alpha
    return diou(a, b) - alpha * aspect_difference(a, b)


OVERLAPS = {'iou': iou, 'giou': giou, 'diou': diou, 'ciou': ciou}


# --- the grid ---------------------------------------------------------------------------------------

def slots_of(sizes, strides, height, width):
    """Every slot in order: (level, row, column, anchor w, anchor h, stride)."""
    slots = []
    for level, stride in enumerate(strides):
        for row in range(height // stride):
            for column in range(width // stride):
                for anchor_w, anchor_h in sizes[level]:
                    slots.append((level, row, column, anchor_w, anchor_h, stride))
    return slots


def decode(t, slot):
    """centre = (sigmoid(t_xy) + cell) * stride; size = anchor * exp(t_wh)."""
    _, row, column, anchor_w, anchor_h, stride = slot
    x, y = (sigmoid(t[0]) + column) * stride, (sigmoid(t[1]) + row) * stride
    w, h = anchor_w * math.exp(t[2]), anchor_h * math.exp(t[3])
    return x - w / 2, y - h / 2, x + w / 2, y + h / 2


# --- assignment -------------------------------------------------------------------------------------

def shape_iou(w, h, anchor_w, anchor_h):
    overlap = min(w, anchor_w) * min(h, anchor_h)
    return overlap / (w * h + anchor_w * anchor_h - overlap)


def best_level_and_anchor(w, h, sizes):
    """The one anchor of all with the best shape IoU; ties: the lowest index."""
    best, found = -1., None
    for level, anchors in enumerate(sizes):
        for number, (anchor_w, anchor_h) in enumerate(anchors):
            value = shape_iou(w, h, anchor_w, anchor_h)
            if value > best:
                best, found = value, (level, number)
    return found


def slot_index(box, sizes, strides, height, width):
    """The slot that answers for a box: cell = floor(centre / stride), the border belongs to the last cell."""
    level, number = best_level_and_anchor(*size_of(box), sizes)
    index = 0
    for earlier in range(level):
        index += (height // strides[earlier]) * (width // strides[earlier]) * len(sizes[earlier])
    rows, columns = height // strides[level], width // strides[level]
    column = min(math.floor((box[0] + box[2]) / 2 / strides[level]), columns - 1)
    row = min(math.floor((box[1] + box[3]) / 2 / strides[level]), rows - 1)
    return index + (row * columns + column) * len(sizes[level]) + number


def assign(boxes, valid, sizes, strides, height, width):
    """{slot: index of its box} of one picture; a later box overwrites an earlier one in the same slot."""
    owner = {}
    for n, box in enumerate(boxes):
        w, h = size_of(box)
        if valid[n] and w > 0 and h > 0:
            owner[slot_index(box, sizes, strides, height, width)] = n
    return owner


# --- the terms of one slot, without m and q ---------------------------------------------------------

def size_weight(box, height, width):
    """2 - w h / (W H)."""
    w, h = size_of(box)
    return 2 - w * h / (width * height)


def xy_term(t, box, slot, height, width):
    """(2 - ..) ((x_gt - cell) - sigmoid(tx))^2, both coordinates, x_gt in cells."""
    _, row, column, _, _, stride = slot
    x_gt, y_gt = (box[0] + box[2]) / 2 / stride, (box[1] + box[3]) / 2 / stride
    squares = ((x_gt - column) - sigmoid(t[0])) ** 2 + ((y_gt - row) - sigmoid(t[1])) ** 2
    return size_weight(box, height, width) * squares


def wh_term(t, box, slot, height, width):
    """(2 - ..) (log(w_gt / anchor) - tw)^2, both."""
    _, _, _, anchor_w, anchor_h, _ = slot
    w, h = size_of(box)
    squares = (math.log(w / anchor_w) - t[2]) ** 2 + (math.log(h / anchor_h) - t[3]) ** 2
    return size_weight(box, height, width) * squares


def ssd_offsets(box, slot):
    """SSD's code of a box against the anchor box that stands in the middle of its cell."""
    _, row, column, anchor_w, anchor_h, stride = slot
    anchor_x, anchor_y = (column + .5) * stride, (row + .5) * stride
    (w, h), x, y = size_of(box), (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return ((x - anchor_x) / anchor_w, (y - anchor_y) / anchor_h,
            math.log(w / anchor_w), math.log(h / anchor_h))


def smooth_l1_term(t, box, slot):
    """Paper eq. 3: Smooth L1 on the SSD-style offsets of the assigned box."""
    predicted, wanted = ssd_offsets(decode(t, slot), slot), ssd_offsets(box, slot)
    return sum(smooth_l1_of(p - w) for p, w in zip(predicted, wanted))


def overlap_term(name, prediction, candidates, held_alphas, key):
    """1 - best, the maximum over the candidates (one candidate: the assigned box)."""
    values = []
    for n, box in candidates:
        if name == 'ciou':
            alpha = ciou_alpha(prediction, box)
            if held_alphas is not None:
                alpha = held_alphas.setdefault(key + (n,), alpha)
            values.append(ciou(prediction, box, alpha))
        else:
            values.append(OVERLAPS[name](prediction, box))
    return 1 - max(values)


def objectness_term(logit, positive, keep, focal):
    """F [ m BCE(1) + (1 - m) keep BCE(0) ], F = |m - sigmoid(o)|^2 or 1."""
    m = 1. if positive else 0.
    factor = abs(m - sigmoid(logit)) ** 2 if focal else 1.
    return factor * (m * bce(1, logit) + (1 - m) * keep * bce(0, logit))


def class_term(logits, label, label_smoothing):
    """BCE(y, logits) over all classes; smoothing: .99 y + .01 / C."""
    total = 0.
    for c, logit in enumerate(logits):
        y = 1. if c == label else 0.
        if label_smoothing:
            y = .99 * y + .01 / len(logits)
        total += bce(y, logit)
    return total


def keeps(prediction, boxes, ignore_thresh):
    """1 where the best IoU with the boxes is < ignore_thresh (strict); no box: 1."""
    best = max((iou(prediction, box) for box in boxes), default=-1.)
    return 1. if best < ignore_thresh else 0.


# --- the whole --------------------------------------------------------------------------------------

def loss(t, objectness, classes, truth_boxes, truth_classes, truth_valid, truth_weights,
         sizes, strides, height, width, box='giou', focal=False, ignore_thresh=.5,
         ignore_scope='scale', matched='assigned', label_smoothing=False, held_alphas=None):
    """Named parts and their ``total`` as floats, each summed over everything and divided by B.

    t [B, S, 4], objectness [B, S], classes [B, S, C]; truth_boxes [B, N, 4], the others [B, N].
    ``held_alphas``: a dict that remembers CIoU's alphas from the first call on, for finite differences.
    """
    slots = slots_of(sizes, strides, height, width)
    names = (('xy', 'wh') if box == 'mse' else (box,)) + ('objectness', 'classes')
    parts = dict.fromkeys(names, 0.)
    batch = len(t)
    for b in range(batch):
        owner = assign(truth_boxes[b], truth_valid[b], sizes, strides, height, width)
        for level in range(len(strides)):
            here = [n for slot, n in owner.items() if slots[slot][0] == level]
            anywhere = [n for n in range(len(truth_valid[b])) if truth_valid[b][n]]
            looked_at = here if ignore_scope == 'scale' else anywhere
            for s, slot in enumerate(slots):
                if slot[0] != level:
                    continue
                prediction = decode(t[b][s], slot)
                keep = keeps(prediction, [truth_boxes[b][n] for n in looked_at], ignore_thresh)
                if s not in owner:
                    parts['objectness'] += objectness_term(objectness[b][s], False, keep, focal)
                    continue
                n = owner[s]
                q, mine = truth_weights[b][n], truth_boxes[b][n]
                parts['objectness'] += q * objectness_term(objectness[b][s], True, keep, focal)
                parts['classes'] += q * class_term(classes[b][s], truth_classes[b][n], label_smoothing)
                if box == 'mse':
                    parts['xy'] += q * xy_term(t[b][s], mine, slot, height, width)
                    parts['wh'] += q * wh_term(t[b][s], mine, slot, height, width)
                elif box == 'smooth_l1':
                    parts['smooth_l1'] += q * smooth_l1_term(t[b][s], mine, slot)
                else:
                    candidates = [n] if matched == 'assigned' else here
                    pairs = [(k, truth_boxes[b][k]) for k in candidates]
                    parts[box] += q * overlap_term(box, prediction, pairs, held_alphas, (b, s))
    parts = {name: float(value) / batch for name, value in parts.items()}
    parts['total'] = sum(parts.values())
    return parts
