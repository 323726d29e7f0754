"""A trained network as a servable SavedModel: encoded pictures in, boxes of the original pictures out.

Letterbox or stretch, network with BatchNorm folded in, decoding and non-maximum suppression
are all inside, so a client needs neither this package nor Keras. Names, units and layout follow the
Object Detection API of TensorFlow (Huang et al., CVPR 2017), which serving clients already read:

    serving_default        images   string [B]            JPEG, PNG, BMP or GIF; any sizes in one batch
    serving_image_tensor   images   uint8 [B, h, w, 3]    RGB

    detection_boxes        float32 [B, N, 4]  ymin, xmin, ymax, xmax as fractions of the ORIGINAL picture
    detection_scores       float32 [B, N]     best first
    detection_classes      float32 [B, N]     number of the class, counted from ``class_offset``
    num_detections         float32 [B]        rows at and beyond it are zeros

N is ``max_total`` of the thresholds, which are chosen when exporting. A picture that cannot be decoded
fails the whole request, as with any TensorFlow server. Encoded pictures are taken as stored, whatever
their EXIF orientation: clients turn them upright first, as ``detecting`` does.
"""
from __future__ import annotations

import contextlib
import json
import os
import tempfile
from typing import NamedTuple, Optional

import tensorflow as tf

from yolov3_tf import anchors, boxes, checkpoints, postprocess
from yolov3_tf.choices import InputError, choose
from yolov3_tf.data import geometry
from yolov3_tf.models import yolov3
from yolov3_tf.structures import Detections

FORMAT = 1
PRECISIONS = {'float32': tf.float32, 'bfloat16': tf.bfloat16}
EXTRA, FACTS, LABELS = 'assets.extra', 'model.json', 'labels.txt'
SIGNATURES = {
    'serving_default': 'images: string [batch]; JPEG, PNG, BMP or GIF of any sizes',
    'serving_image_tensor': 'images: uint8 [batch, height, width, 3]; RGB'}
OUTPUTS = {
    'detection_boxes': 'float32 [batch, max_total, 4]; ymin, xmin, ymax, xmax as parts of the picture',
    'detection_scores': 'float32 [batch, max_total]; best first',
    'detection_classes': f'float32 [batch, max_total]; class_offset is the first line of {LABELS}',
    'num_detections': 'float32 [batch]; rows at and beyond it are zeros'}


class Settings(NamedTuple):
    """What is fixed when exporting.

    Attributes:
      score_threshold, iou_threshold, max_per_class, max_total, nms, top_k: see ``postprocess.detect``. The low
        default score serves evaluation; a client that only draws takes .3 or so.
      precision: of the network's variables and arithmetic. bfloat16 halves memory and doubles the speed
        where the hardware multiplies it (avx512_bf16, amx, GPUs of compute capability 8 on), and gains
        nothing elsewhere. Boxes, scores and suppression are float32 either way.
      class_offset: number of the first class: 1 as in the Object Detection API, 0 as in the Model Garden.
    """
    score_threshold: float = .01
    iou_threshold: float = .45
    max_per_class: int = 150
    max_total: int = 300
    precision: str = 'float32'
    class_offset: int = 1
    nms: str = 'per_class'
    top_k: Optional[int] = None


DEFAULTS = Settings()


class Server(tf.Module):
    """The network and everything around it as two functions, ``encoded`` and ``image_tensor``.

    Holds plain variables only; the Keras model that the functions were traced from is not part of it.
    """

    def __init__(self, model: tf.keras.Model, description, settings: Settings = DEFAULTS):
        """Folds ``model`` (which is left as it is) into a network for ``description.image_size``."""
        super().__init__(name='yolov3')
        check(settings)
        network = _folded(model, description, settings.precision)
        # Keras 3 wraps its variables; a SavedModel tracks TensorFlow's.
        self.network_variables = [variable if isinstance(variable, tf.Variable) else variable.value
                           for variable in network.variables]
        answer = _answer(network, description, settings)

        # Nothing in them branches on a tensor in Python; autograph would take half of the time to export.
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name='images')], autograph=False)
        def encoded(images):
            return answer(images, lambda image: tf.io.decode_image(image, 3, expand_animations=False))

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name='images')],
                     autograph=False)
        def image_tensor(images):
            return answer(images, lambda image: image)

        self.encoded, self.image_tensor = encoded, image_tensor


def export(model: tf.keras.Model, description, folder, version: int = 1, settings: Settings = DEFAULTS,
           overwrite: bool = False) -> str:
    """Writes ``folder/version`` complete, or not at all, and returns its path.

    Args:
      model: from ``models.yolov3.build``, in whatever precision it was trained.
      description: ``checkpoints.Description``: class names, input size, letterbox, anchors, width.

    Raises:
      InputError: the version exists and ``overwrite`` is not set, or a setting is out of range.
    """
    target = os.path.join(folder, str(version))
    if version < 1:
        raise InputError(f'version {version}: expected a whole number from 1 on (servers take the largest)')
    if os.path.exists(target) and not overwrite:
        raise InputError(f'{target} exists: choose another version, or say that it may be overwritten')
    server = Server(model, description, settings)
    os.makedirs(folder, exist_ok=True)
    # Servers watch the folder for names that are numbers, so an unfinished model must not have one.
    with tempfile.TemporaryDirectory(prefix='.writing-', dir=folder) as scratch:
        written = os.path.join(scratch, 'model')
        tf.saved_model.save(server, written, signatures={
            'serving_default': server.encoded, 'serving_image_tensor': server.image_tensor})
        _write_extra(os.path.join(written, EXTRA), description, settings)
        if os.path.exists(target):
            os.replace(target, os.path.join(scratch, 'replaced'))
        os.replace(written, target)
    return target


def check(settings: Settings):
    """Raises InputError for a setting out of range."""
    choose(PRECISIONS, settings.precision, 'precision')
    for name in ('score_threshold', 'iou_threshold'):
        if not 0 <= getattr(settings, name) <= 1:
            raise InputError(f'{name} {getattr(settings, name)}: expected a number from 0 to 1')
    for name in ('max_per_class', 'max_total'):
        if getattr(settings, name) < 1:
            raise InputError(f'{name} {getattr(settings, name)}: expected a whole number from 1 on')
    postprocess.check(settings.nms, settings.top_k)
    if settings.class_offset not in (0, 1):
        raise InputError(f'class_offset {settings.class_offset}: expected 0 or 1 (number of the first class)')


def _folded(model, description, precision):
    """A copy of ``model`` without BatchNorm, its variables stored in ``precision``."""
    with _policy(precision):
        network = checkpoints.build(description, folded=True)
    yolov3.fold(model, network)
    return network


@contextlib.contextmanager
def _policy(name):
    """Keras builds layers, variables included, in this precision inside the context."""
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def _answer(network, description, settings):
    """-> function of (a batch, how one of its elements becomes an image) that returns the named outputs."""
    height, width = description.image_size
    # A function of its own, so that the network is traced and stored once for both signatures.
    network = tf.function(network, [tf.TensorSpec([None, height, width, 3], tf.float32)], autograph=False)
    spec = (tf.TensorSpec([height, width, 3], tf.uint8),
            geometry.Placement(*[tf.TensorSpec([], tf.float32)] * 4), tf.TensorSpec([2], tf.int32))

    def answer(batch, to_image):
        def place(element):
            image = tf.ensure_shape(to_image(element), [None, None, 3])
            return (*geometry.place_image(image, height, width, description.letterbox), tf.shape(image)[:2])

        images, placement, sizes = tf.map_fn(place, batch, fn_output_signature=spec)
        outputs = network(tf.cast(images, tf.float32) / 255.)
        priors = anchors.lay_out(description.anchors, height, width)
        found = postprocess.detect(outputs, priors, settings.score_threshold, settings.iou_threshold,
                                   settings.max_per_class, settings.max_total, settings.nms, settings.top_k)
        return _named(postprocess.undo_resize(found, placement, sizes), sizes, settings.class_offset)

    return answer


def _named(found: Detections, sizes, class_offset):
    """Detections in pixels of pictures of ``sizes`` (int [B, 2] height, width) -> what clients read."""
    real = tf.sequence_mask(found.count, tf.shape(found.scores)[1])
    return {'detection_boxes': boxes.to_yxyx_unit(found.boxes, sizes[:, None, 0], sizes[:, None, 1]),
            'detection_scores': found.scores,
            'detection_classes': tf.where(real, tf.cast(found.classes + class_offset, tf.float32), 0.),
            'num_detections': tf.cast(found.count, tf.float32)}


def _write_extra(folder, description, settings):
    """Labels and facts a client may want beside the model; servers pass this folder over."""
    os.makedirs(folder)
    with open(os.path.join(folder, LABELS), 'w', encoding='utf-8') as file:
        file.writelines(f'{name}\n' for name in description.class_names)
    facts = {'format': FORMAT, 'labels': LABELS, 'input_size': list(description.image_size),
             'letterbox': bool(description.letterbox), **settings._asdict(),
             'signatures': SIGNATURES, 'outputs': OUTPUTS}
    with open(os.path.join(folder, FACTS), 'w', encoding='utf-8') as file:
        json.dump(facts, file, indent=2)
        file.write('\n')
