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

def slots_of(sizes, strides, height, width, sensitivity=()):
    """Every slot in order: (level, row, column, anchor w, anchor h, stride, grid sensitivity)."""
    slots = []
    for level, stride in enumerate(strides):
        scale = sensitivity[level] if sensitivity else 1.
        for row in range(height // stride):
            for column in range(width // stride):
                for anchor_w, anchor_h in sizes[level]:
                    slots.append((level, row, column, anchor_w, anchor_h, stride, scale))
    return slots


def in_cell(t, slot):
    """Where the centre lies in its cell: s sigmoid(t) - (s - 1) / 2, which is sigmoid(t) for s = 1."""
    return slot[6] * sigmoid(t) - (slot[6] - 1) / 2


def decode(t, slot):
    """centre = (s sigmoid(t_xy) - (s - 1) / 2 + cell) * stride; size = anchor * exp(t_wh)."""
    _, row, column, anchor_w, anchor_h, stride, _ = slot
    x, y = (in_cell(t[0], slot) + column) * stride, (in_cell(t[1], slot) + row) * stride
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


def slot_index(box, level, number, sizes, strides, height, width):
    """The slot of one anchor for a box: cell = floor(centre / stride), the border belongs to the last cell."""
    index = 0
    for earlier in range(level):
        index += (height // strides[earlier]) * (width // strides[earlier]) * len(sizes[earlier])
    rows, columns = height // strides[level], width // strides[level]
    column = min(math.floor((box[0] + box[2]) / 2 / strides[level]), columns - 1)
    row = min(math.floor((box[1] + box[3]) / 2 / strides[level]), rows - 1)
    return index + (row * columns + column) * len(sizes[level]) + number


def slots_that_answer(box, sizes, strides, height, width, assigner='best_anchor', assign_thresh=None,
                      predictions=None):
    """The slots a rule gives to one box.

    best_anchor: the anchor with the best shape IoU. shape_ratio: every anchor with |w ratio - 1| +
    |h ratio - 1| < threshold (2), ratio = box / anchor; the best anchor where there is none. iou_threshold:
    every anchor whose shape IoU exceeds the threshold (.213), and the best. best_prediction: the slot
    whose ``predictions`` entry has the best IoU with the box, among all anchors of the cells that hold
    its centre; the best anchor's where none overlaps it.
    """
    w, h = size_of(box)
    numbers = [(level, number) for level, anchors in enumerate(sizes) for number in range(len(anchors))]
    best = best_level_and_anchor(w, h, sizes)
    chosen = [best]
    if assigner == 'shape_ratio':
        limit = 2. if assign_thresh is None else assign_thresh
        chosen = [(level, number) for level, number in numbers
                  if abs(w / sizes[level][number][0] - 1) + abs(h / sizes[level][number][1] - 1) < limit] or [best]
    if assigner == 'iou_threshold':
        limit = .213 if assign_thresh is None else assign_thresh
        chosen = [(level, number) for level, number in numbers
                  if (level, number) == best or shape_iou(w, h, *sizes[level][number]) > limit]
    slots = [slot_index(box, level, number, sizes, strides, height, width) for level, number in chosen]
    if assigner == 'best_prediction':
        most = 0.
        for level, number in numbers:
            slot = slot_index(box, level, number, sizes, strides, height, width)
            if iou(predictions[slot], box) > most:
                most, slots = iou(predictions[slot], box), [slot]
    return slots


def assign(boxes, valid, sizes, strides, height, width, **rule):
    """{slot: index of its box} of one picture; a later box overwrites an earlier one in the same slot."""
    owner = {}
    for n, box in enumerate(boxes):
        w, h = size_of(box)
        if valid[n] and w > 0 and h > 0:
            for slot in slots_that_answer(box, sizes, strides, height, width, **rule):
                owner[slot] = n
    return owner


# --- the terms of one slot, without m and q ---------------------------------------------------------

def size_weight(box, height, width):
    """2 - w h / (W H)."""
    w, h = size_of(box)
    return 2 - w * h / (width * height)


def xy_term(t, box, slot, height, width):
    """(2 - ..) ((x_gt - cell) - sigmoid(tx))^2, both coordinates, x_gt in cells."""
    return size_weight(box, height, width) * centre_squares(t, box, slot)


def centre_squares(t, box, slot):
    """Squared errors of x and y as fractions of the cell."""
    _, row, column, _, _, stride, _ = slot
    x_gt, y_gt = (box[0] + box[2]) / 2 / stride, (box[1] + box[3]) / 2 / stride
    return ((x_gt - column) - in_cell(t[0], slot)) ** 2 + ((y_gt - row) - in_cell(t[1], slot)) ** 2


def wh_term(t, box, slot, height, width):
    """(2 - ..) (log(w_gt / anchor) - tw)^2, both."""
    _, _, _, anchor_w, anchor_h, _, _ = slot
    w, h = size_of(box)
    squares = (math.log(w / anchor_w) - t[2]) ** 2 + (math.log(h / anchor_h) - t[3]) ** 2
    return size_weight(box, height, width) * squares


def sqrt_wh_term(prediction, box, height, width):
    """YOLOv1: (sqrt w_gt - sqrt w)^2 and the same for h, both as fractions of the picture."""
    (w, h), (w_gt, h_gt) = size_of(prediction), size_of(box)
    return ((math.sqrt(w_gt / width) - math.sqrt(w / width)) ** 2
            + (math.sqrt(h_gt / height) - math.sqrt(h / height)) ** 2)


def plain_wh_term(prediction, box, height, width):
    """YOLOv2: (2 - w h) (w_gt - w)^2 and the same for h, both as fractions of the picture."""
    (w, h), (w_gt, h_gt) = size_of(prediction), size_of(box)
    return size_weight(box, height, width) * (((w_gt - w) / width) ** 2 + ((h_gt - h) / height) ** 2)


def ssd_offsets(box, slot):
    """SSD's code of a box against the anchor box that stands in the middle of its cell."""
    _, row, column, anchor_w, anchor_h, stride, _ = slot
    anchor_x, anchor_y = (column + .5) * stride, (row + .5) * stride
    (w, h), x, y = size_of(box), (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return ((x - anchor_x) / anchor_w, (y - anchor_y) / anchor_h,
            math.log(w / anchor_w), math.log(h / anchor_h))


def smooth_l1_term(t, box, slot):
    """Paper eq. 3: Smooth L1 on the SSD-style offsets of the assigned box."""
    predicted, wanted = ssd_offsets(decode(t, slot), slot), ssd_offsets(box, slot)
    return sum(smooth_l1_of(p - w) for p, w in zip(predicted, wanted))


def overlap_term(name, prediction, candidates, held, key):
    """1 - best, the maximum over the candidates (one candidate: the assigned box)."""
    values = []
    for n, box in candidates:
        if name == 'ciou':
            alpha = ciou_alpha(prediction, box)
            if held is not None:
                alpha = held.setdefault(key + (n,), alpha)
            values.append(ciou(prediction, box, alpha))
        else:
            values.append(OVERLAPS[name](prediction, box))
    return 1 - max(values)


def confidence_loss(target, logit, objectness, focal):
    """F BCE(target), F = |target - sigmoid(o)|^2 or 1; or the squared error of the confidence."""
    if objectness == 'squared':
        return (target - sigmoid(logit)) ** 2
    factor = abs(target - sigmoid(logit)) ** 2 if focal else 1.
    return factor * bce(target, logit)


def class_term(logits, label, label_smoothing, classification):
    """BCE(y, logits) over all classes, smoothing: .99 y + .01 / C; or squared errors of the probabilities."""
    total = 0.
    for c, logit in enumerate(logits):
        y = 1. if c == label else 0.
        if label_smoothing:
            y = .99 * y + .01 / len(logits)
        total += (y - sigmoid(logit)) ** 2 if classification == 'squared' else bce(y, logit)
    return total


def keeps(prediction, boxes, ignore_thresh):
    """1 where the best IoU with the boxes is < ignore_thresh (strict); no box: 1."""
    best = max((iou(prediction, box) for box in boxes), default=-1.)
    return 1. if best < ignore_thresh else 0.


# --- the whole --------------------------------------------------------------------------------------

def loss(t, object_logits, class_logits, truth_boxes, truth_classes, truth_valid, truth_weights,
         sizes, strides, height, width, sensitivity=(), box='giou', focal=False, ignore_thresh=.5,
         ignore_scope='scale', matched='assigned', label_smoothing=False, assigner='best_anchor',
         assign_thresh=None, box_weight=1., background_weight=1., objectness='bce', objectness_target='one',
         classification='bce', positive_weight='none', held=None):
    """Named parts and their ``total`` as floats, each summed over everything and divided by B.

    t [B, S, 4], object_logits [B, S], class_logits [B, S, C]; truth_boxes [B, N, 4], the others [B, N].
    ``held``: a dict that remembers what has no gradient (CIoU's alphas, the IoU targets of objectness)
    from the first call on, for finite differences.
    """
    slots = slots_of(sizes, strides, height, width, sensitivity)
    names = (('xy', 'wh') if box in ('mse', 'sqrt_wh', 'plain_wh') else (box,)) + ('objectness', 'classes')
    parts = dict.fromkeys(names, 0.)
    batch = len(t)
    predictions = [[decode(t[b][s], slot) for s, slot in enumerate(slots)] for b in range(batch)]
    owners = [assign(truth_boxes[b], truth_valid[b], sizes, strides, height, width, assigner=assigner,
                     assign_thresh=assign_thresh, predictions=predictions[b]) for b in range(batch)]
    n_labels, n_predictions = sum(len(owner) for owner in owners), batch * len(slots)
    positive = 1.
    if positive_weight == 'balanced' and n_labels:
        positive = (n_predictions - n_labels) / n_labels * .5
    for b in range(batch):
        owner = owners[b]
        for level in range(len(strides)):
            here = sorted({n for slot, n in owner.items() if slots[slot][0] == level})
            anywhere = [n for n in range(len(truth_valid[b])) if truth_valid[b][n]]
            looked_at = here if ignore_scope == 'scale' else anywhere
            for s, slot in enumerate(slots):
                if slot[0] != level:
                    continue
                prediction, logit = predictions[b][s], object_logits[b][s]
                if s not in owner:
                    keep = keeps(prediction, [truth_boxes[b][n] for n in looked_at], ignore_thresh)
                    parts['objectness'] += background_weight * keep * confidence_loss(0., logit, objectness, focal)
                    continue
                n = owner[s]
                q, mine = truth_weights[b][n], truth_boxes[b][n]
                target = iou(prediction, mine) if objectness_target == 'iou' else 1.
                if held is not None:
                    target = held.setdefault(('target', b, s), target)
                parts['objectness'] += q * positive * confidence_loss(target, logit, objectness, focal)
                parts['classes'] += q * class_term(class_logits[b][s], truth_classes[b][n], label_smoothing,
                                                   classification)
                if box == 'mse':
                    terms = {'xy': xy_term(t[b][s], mine, slot, height, width),
                             'wh': wh_term(t[b][s], mine, slot, height, width)}
                elif box == 'sqrt_wh':
                    terms = {'xy': centre_squares(t[b][s], mine, slot),
                             'wh': sqrt_wh_term(prediction, mine, height, width)}
                elif box == 'plain_wh':
                    terms = {'xy': xy_term(t[b][s], mine, slot, height, width),
                             'wh': plain_wh_term(prediction, mine, height, width)}
                elif box == 'smooth_l1':
                    terms = {box: smooth_l1_term(t[b][s], mine, slot)}
                else:
                    candidates = [n] if matched == 'assigned' else here
                    pairs = [(k, truth_boxes[b][k]) for k in candidates]
                    terms = {box: overlap_term(box, prediction, pairs, held, (b, s))}
                for name, term in terms.items():
                    parts[name] += box_weight * q * term
    parts = {name: float(value) / batch for name, value in parts.items()}
    parts['total'] = sum(parts.values())
    return parts
