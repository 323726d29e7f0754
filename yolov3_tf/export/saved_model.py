"""A trained network as a servable SavedModel: encoded images in, boxes of the original images out.

Letterbox or stretch, network with BatchNorm folded in, decoding and non-maximum suppression
are part of the model, so a client needs neither this package nor Keras. Names, units and layout follow the
Object Detection API of TensorFlow (Huang et al., CVPR 2017), which serving clients support already:

    serving_default        images    string [B]            JPEG, PNG, BMP or GIF; any sizes in one batch
    serving_image_tensor   images    uint8 [B, h, w, 3]    RGB
    serving_tf_example     examples  string [B]            serialised tf.Example with image/encoded

    detection_boxes        float32 [B, N, 4]  ymin, xmin, ymax, xmax as fractions of the ORIGINAL image
    detection_scores       float32 [B, N]     best first
    detection_classes      float32 [B, N]     class number; the first class is ``class_offset``
    num_detections         float32 [B]        rows at and beyond it are zeros

N is the setting ``max_total``, which is chosen when exporting. A request with an image that cannot be decoded
fails, and the error gives the position of the image in the batch (``preprocess``). The EXIF orientation of encoded
images is ignored: clients turn them upright first, as ``inference`` does.

The folder ``assets.extra`` beside the model holds these files; servers read only the first:

    tf_serving_warmup_requests   requests that TensorFlow Serving runs before it accepts clients (``warmup``)
    batching_parameters.txt      for --enable_batching --batching_parameters_file=
    model.json, labels.txt       see ``metadata``
"""
from __future__ import annotations

import os

import tensorflow as tf

from yolov3_tf import atomic_file, codec, postprocess
from yolov3_tf.errors import InputError
from yolov3_tf.export import folded_network, metadata, preprocess, warmup
from yolov3_tf.export.settings import DEFAULTS, Settings, check
from yolov3_tf.models.checkpoints import ModelConfig

EXTRA = 'assets.extra'
SIGNATURES = {
    'serving_default': 'images: string [batch]; JPEG, PNG, BMP or GIF of any sizes',
    'serving_image_tensor': 'images: uint8 [batch, height, width, 3]; RGB',
    'serving_tf_example': f'examples: string [batch]; serialised tf.Example with {preprocess.ENCODED}'}
MOST_AT_ONCE = 8
BATCHING = f"""\
# Requests that arrive together are answered by one run of the network, at most this many images:
max_batch_size {{ value: {MOST_AT_ONCE} }}
# ... and the first of them waits at most this long for the others, in microseconds.
batch_timeout_micros {{ value: 5000 }}
# Batches that may wait; beyond, requests are refused (UNAVAILABLE) instead of piling up.
max_enqueued_batches {{ value: 64 }}
# As many as cores or GPUs: a batch uses all cores of a CPU by itself, so there one or two are enough.
num_batch_threads {{ value: 2 }}
"""


class Server(tf.Module):
    """The network with its preprocessing and postprocessing as functions, one for each signature.

    It holds only plain variables; the Keras model that the functions were traced from is not part of it.
    """

    def __init__(self, model: tf.keras.Model, config: ModelConfig, settings: Settings = DEFAULTS):
        """Folds ``model`` (which does not change) into a network for ``config.image_size``."""
        super().__init__(name='yolov3')
        check(settings)
        network = folded_network.folded(model, config, settings.precision)
        self.network_variables = folded_network.variables(network)
        detect = _detector(network, config, settings)
        resize = (*config.image_size, config.letterbox)

        # No Python branch depends on a tensor, so autograph is not needed; it would double the time of an export.
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name='images')], autograph=False)
        def encoded(images):
            return detect(preprocess.place_encoded(images, *resize))

        @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.uint8, name='images')],
                     autograph=False)
        def image_tensor(images):
            return detect(preprocess.place_arrays(images, *resize))

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name='examples')], autograph=False)
        def tf_example(examples):
            return detect(preprocess.place_examples(examples, *resize))

        self.encoded, self.image_tensor, self.tf_example = encoded, image_tensor, tf_example


def export(model: tf.keras.Model, config: ModelConfig, folder: str | os.PathLike, version: int = 1,
           settings: Settings = DEFAULTS, overwrite: bool = False) -> str:
    """Writes ``folder/version`` completely or not at all, and returns its path.

    Args:
      model: from ``models.yolov3_network.build``, trained in any precision.
      config: ``checkpoints.ModelConfig``: class names, input size, letterbox, anchors, width.

    Raises:
      InputError: the version exists and ``overwrite`` is not set, or a setting is out of range.
    """
    target = os.path.join(folder, str(version))
    if version < 1:
        raise InputError(f'version {version}: expected a whole number from 1 on (servers load the largest)')
    if os.path.exists(target) and not overwrite:
        raise InputError(f'{target} exists: choose another version, or allow overwriting (--overwrite)')
    server = Server(model, config, settings)
    os.makedirs(folder, exist_ok=True)
    # Servers watch the folder for names that are numbers, so an unfinished model must not have such a name.
    atomic_file.remove_leftovers(folder)
    with atomic_file.scratch_folder(folder) as scratch:
        written = os.path.join(scratch, 'model')
        functions = (server.encoded, server.image_tensor, server.tf_example)
        tf.saved_model.save(server, written, signatures=dict(zip(SIGNATURES, functions)))
        _write_extra(os.path.join(written, EXTRA), config, settings)
        if os.path.exists(target):
            os.replace(target, os.path.join(scratch, 'replaced'))
        os.replace(written, target)
    return target


def _detector(network, config, settings):
    """Returns a function of ``preprocess.Placed`` that returns the named outputs."""
    height, width = config.image_size
    # A separate function, so that the network is traced and stored once for all signatures.
    network = tf.function(network, [tf.TensorSpec([None, height, width, 3], tf.float32)], autograph=False)

    def detect(placed):
        found = folded_network.detect(network(codec.to_input(placed.images)), config, settings)
        found = postprocess.undo_resize(found, placed.placement, placed.sizes)
        return folded_network.named(found, placed.sizes[:, None, 0], placed.sizes[:, None, 1], settings.class_offset)

    return detect


def _write_extra(folder, config, settings):
    """Writes the files that a server or a client may need beside the model."""
    os.makedirs(folder)
    texts = metadata.texts(config, settings, signatures=SIGNATURES)
    for name, text in {**texts, 'batching_parameters.txt': BATCHING}.items():
        with open(os.path.join(folder, name), 'w', encoding='utf-8') as file:
            file.write(text)
    height, width = config.image_size
    warmup.write(os.path.join(folder, warmup.NAME), height, width, (1, MOST_AT_ONCE))
