"""--anchors=auto: when anchors are replaced, by which, and that a run keeps them."""
import numpy as np
import pytest
from fixtures import small_cfg

from yolov3_tf.anchors import YOLOV3_ANCHORS, Anchors
from yolov3_tf.errors import InputError
from yolov3_tf.models import checkpoints
from yolov3_tf.models.checkpoints import ModelConfig
from yolov3_tf.models.darknet import cfg
from yolov3_tf.structures import Dataset, Record
from yolov3_tf.training import fitted_anchors, from_python, recipe, recipe_check, run

SHAPES = [(20, 40), (36, 12), (50, 50), (64, 30), (70, 90), (100, 60), (110, 120), (150, 80), (160, 170)]


def dataset(shapes, repeats=5):
    """An image of 200 x 200 for each shape, which a network input of 96 x 96 shows at .48 of its size."""
    none = np.zeros(1, bool)
    records = [Record('a.jpg', 'a', 200, 200, np.array([[1, 1, 1 + width, 1 + height]], np.float32),
                      np.zeros(1, np.int32), none, none, np.ones(1, np.float32))
               for width, height in shapes * repeats]
    return Dataset(records, ['x'], [])


def config(**changes):
    return ModelConfig(('x',), 1., (96, 96), True)._replace(**changes)


def test_anchors_of_nine_shapes_are_these_shapes_by_area_three_a_level():
    """.48 of each side, to a tenth; by area 432, 800, 1920, 2500, 6000, 6300, 12000, 13200, 27200 before the resize."""
    own = YOLOV3_ANCHORS._replace(sensitivity=(1.2, 1.1, 1.05))
    fit = fitted_anchors.fit(config(anchors=own), dataset(SHAPES))
    assert fit.config == config(anchors=own._replace(sizes=(
        ((17.3, 5.8), (9.6, 19.2), (30.7, 14.4)), ((24., 24.), (48., 28.8), (33.6, 43.2)),
        ((72., 38.4), (52.8, 57.6), (76.8, 81.6)))))
    assert fit.message.startswith('anchors: fitted to 45 boxes (mean best IoU 0.')
    assert fit.message.endswith(' -> 1.00, best possible recall 88.9 -> 100.0 %)')
    assert fitted_anchors.fit(fit.config, dataset(SHAPES)).config == fit.config      # nothing fits these better


@pytest.mark.parametrize('shapes, why', [
    ([(width / .48, height / .48) for level in YOLOV3_ANCHORS.sizes for width, height in level], 'fit little better'),
    (SHAPES[:4], '9 anchors from 20 boxes of 4 different shapes'), ([], 'there is no box')])
def test_anchors_are_kept_where_clusters_bring_nothing_and_the_line_says_why(shapes, why):
    fit = fitted_anchors.fit(config(), dataset(shapes))
    assert fit.config == config() and fit.message.startswith('anchors: kept') and why in fit.message


def test_a_cfg_network_gets_them_in_its_text_too():
    """Two levels, masks 1,0 (fine) and 2 (coarse, first in the file): its second fine anchor is the smaller."""
    network = cfg.parse(small_cfg.TEXT, num_classes=1)
    before = config(anchors=network.anchors, cfg=network.text, backbone_layers=network.backbone_layers)
    fit = fitted_anchors.fit(before, dataset([SHAPES[1], SHAPES[2], SHAPES[8]]))
    assert fit.config.anchors == Anchors((((17.3, 5.8), (24., 24.)), ((76.8, 81.6),)), network.anchors.strides,
                                         network.anchors.sensitivity)
    again = cfg.parse(fit.config.cfg, num_classes=1)
    assert again.anchors == fit.config.anchors and again.backbone_layers == network.backbone_layers
    changed = [new for old, new in zip(network.text.splitlines(), fit.config.cfg.splitlines()) if old != new]
    assert changed == ['anchors=1,2, 3,4, 76.8,81.6', 'anchors=24,24, 17.3,5.8, 5,6']


def test_auto_is_allowed_beside_a_cfg_and_a_file_is_not(tmp_path):
    (tmp_path / 'small.cfg').write_text(small_cfg.TEXT)
    recipe_check.check(recipe.make(cfg=str(tmp_path / 'small.cfg'), anchors='auto'))
    recipe_check.check(recipe.make(anchors='auto'))
    with pytest.raises(InputError, match='the cfg brings its own'):
        recipe_check.check(recipe.make(cfg=str(tmp_path / 'small.cfg'), anchors='my.anchors'))


def test_a_run_keeps_its_anchors_when_it_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'small.cfg').write_text(small_cfg.TEXT)
    settings = dict(cfg='small.cfg', anchors='auto', image_size=64, augment=[], full_epochs=1, full_lr=1e-3,
                    export=False)
    first = from_python.train_with('shapes:8', **settings)
    assert 'anchors: fitted to ' in capsys.readouterr().out
    kept = checkpoints.describe(str(first.checkpoint))
    assert kept.anchors.sizes[0][0] > (2, 2) and cfg.parse(kept.cfg, num_classes=5).anchors == kept.anchors
    monkeypatch.setattr(fitted_anchors, 'fit', None)        # asked a second time, it would fail
    again = from_python.train_with('shapes:8', **settings)
    assert again.status == run.EVALUATED and again.report.summary['mAP'] == first.report.summary['mAP']
