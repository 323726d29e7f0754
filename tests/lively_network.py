"""The network of ``small_cfg`` with weights that give dozens of detections a picture, for tests of exports."""
import numpy as np
from small_cfg import TEXT

from yolov3_tf import checkpoints, export
from yolov3_tf.models import cfg, yolov3

NAMES, OUTPUTS = tuple('abcdefg'), ('head_conv_010', 'head_conv_014')
SETTINGS = export.Settings(score_threshold=.45, max_per_class=200, max_total=250, class_offset=0)


def describe(text=TEXT, size=(32, 64)):
    network = cfg.parse(text)
    return checkpoints.Description(NAMES, 1., size, True, network.anchors, cfg=network.text,
                                   backbone_layers=network.backbone_layers)


def lively_model(text=TEXT, outputs=OUTPUTS):
    """Random weights and statistics, the same with every Keras."""
    model, random = checkpoints.build(describe(text)), np.random.RandomState(5)
    for conv, norm in yolov3.convolutions(model):
        kernel, *bias = conv.get_weights()
        bias = [random.normal(0, .3, values.shape) for values in bias]
        if conv.name in outputs:
            # Few slots hold an object, boxes keep about their prior's size: as in a trained network. In a field of
            # boxes of equal scores, suppression would hang on the last bit.
            slots, bias[0] = kernel.shape[-1] // 12, bias[0].reshape([-1, 12])
            bias[0][:, 4] = -3.
            factor = np.tile([.1] * 4 + [8.] * 8, slots)
        else:
            factor = 1.
        conv.set_weights([random.normal(0, np.prod(kernel.shape[:3]) ** -.5, kernel.shape) * factor,
                          *(values.ravel() for values in bias)])
        if norm is not None:
            gamma, beta, mean, variance = norm.get_weights()
            norm.set_weights([random.uniform(.5, 1.5, gamma.shape), random.normal(0, .3, beta.shape),
                              random.normal(0, .3, mean.shape), random.uniform(.5, 1.5, variance.shape)])
    return model
