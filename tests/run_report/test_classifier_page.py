"""The page of a run that ends with the stage asymptotic."""
import re

import numpy as np
from fixtures import small_report
from fixtures.html_tags import Tags

from yolov3_tf.evaluation.classification import ClassificationReport
from yolov3_tf.run_report import classifier_page

REPORT = ClassificationReport([small_report.HOSTILE, 'bee', 'cow'], np.array([12, 30, 0]), np.array([.5, .75, np.nan]))


def metrics():
    return [dict(kind=kind, stage='asymptotic', epoch=epoch, step=10 * epoch, total=1. / epoch,
                 **({'lr': .01} if kind == 'train' else {'class_mAP': .1 * epoch}))
            for epoch in (1, 2, 3) for kind in ('train', 'val')]


def page(tmp_path, **changed):
    made_with = small_report.made_with(tmp_path, small_report.dataset(tmp_path))
    made_with = {**made_with, 'images_per_second': 0.}
    return classifier_page.render('asy', 'val', REPORT, **{
        'images': 30, 'metrics': metrics(), 'lock': made_with, 'checkpoint': 'runs/asy/checkpoints/last.h5', **changed})


def test_it_shows_scores_curves_data_and_the_way_on(tmp_path):
    text = page(tmp_path)
    tags = Tags(text)
    said = ' '.join(tags.texts)
    assert not {'script', 'link', 'iframe', 'form'} & tags.seen and {'svg', 'table'} <= tags.seen
    assert small_report.HOSTILE.strip() in said and '--backbone_weights=runs/asy/checkpoints/last.h5' in said
    for cell in ('50.0', '75.0', '62.5', '30'):             # the mean is over the classes that occur
        assert cell in tags.texts
    assert 'mean classification AP in %' in said and 'Python 3.' in said and 'images per second' not in said
    assert 'In every image: bee.' in said and re.search(r'under 20\): .*, cow\.', said, re.DOTALL)


def test_without_metrics_and_lock(tmp_path):
    text = page(tmp_path, metrics=[], lock={})
    assert '<svg' not in text and 'there is no run.lock.json' in text
