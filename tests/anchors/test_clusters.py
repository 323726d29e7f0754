"""k-means under IoU, anchor files and the program that joins them."""
import cv2
import numpy as np
import pytest
from fixtures.program_flags import options

from yolov3_tf.anchors import YOLOV3_ANCHORS, clusters, files
from yolov3_tf.cli import anchors as program
from yolov3_tf.data import network_sizes
from yolov3_tf.errors import InputError
from yolov3_tf.structures import Dataset, Record


def test_shape_iou_and_quality_by_hand():
    # 10x20 in 20x20: 200 / 400; against 20x10: 100 / (200 + 200 - 100) = 1/3.
    np.testing.assert_allclose(clusters.shape_iou([[10, 20]], [[20, 20], [20, 10]]), [[.5, 1 / 3]])
    found = clusters.quality([[10, 20], [30, 10]], [[20, 20], [20, 10]])
    assert found == (pytest.approx((.5 + 2 / 3) / 2), 1.)
    assert clusters.quality([[10, 20], [1, 1]], [[20, 20]]) == (pytest.approx((.5 + 1 / 400) / 2), .5)


def test_planted_clusters_are_found_in_any_order_and_seed():
    rng = np.random.default_rng(0)
    centres = np.array([[12., 14], [20, 60], [90, 30], [100, 110], [300, 250]])
    sizes = np.concatenate([centre * rng.uniform(.93, 1.07, [80, 2]) for centre in centres])
    for seed in range(3):
        np.testing.assert_allclose(clusters.cluster(rng.permutation(sizes), 5, seed), centres, rtol=.03)
    np.testing.assert_array_equal(clusters.cluster(sizes, 5, 1), clusters.cluster(sizes, 5, 1))


def test_no_cluster_is_empty_and_more_fit_better():
    sizes = np.random.default_rng(1).lognormal(3, 1, [400, 2])
    qualities = []
    for count in (1, 3, 9, 20):
        priors = clusters.cluster(sizes, count)
        assert np.isfinite(priors).all() and (priors > 0).all() and (np.diff(priors.prod(axis=1)) >= 0).all()
        qualities.append(clusters.quality(sizes, priors).average_iou)
    assert qualities == sorted(qualities)
    # Repeated shapes leave k-means with empty clusters unless they are given a box.
    few = np.repeat([[10., 10], [10, 11], [300, 300]], [500, 1, 1], axis=0)
    assert len(np.unique(clusters.cluster(few, 3), axis=0)) == 3
    means = clusters._means(few, np.zeros(502, int), clusters.shape_iou(few, [[10, 10]])[:, 0], 2)
    np.testing.assert_array_equal(means[1], [300, 300])
    with pytest.raises(InputError, match='4 anchors from 502 boxes of 3 different shapes'):
        clusters.cluster(few, 4)


def test_shapes_that_differ_by_rounding_are_one():
    few = np.repeat([[10., 20], [30, 7], [300, 200]], 40, axis=0) * (1 + 1e-16 * np.arange(120)[:, None] % 5e-16)
    few[::2] *= 3 / 7
    few[::2] /= 3 / 7
    assert len(np.unique(few, axis=0)) > 3
    np.testing.assert_allclose(clusters.cluster(few, 3), [[10, 20], [30, 7], [300, 200]][:3], rtol=1e-9)
    with pytest.raises(InputError, match='5 anchors from 120 boxes of 3 different shapes'):
        clusters.cluster(few, 5)
    # Nothing is left to draw by its distance: any box will do.
    assert len(clusters._start(np.full([9, 2], 5.), 3, np.random.default_rng(0))) == 3


def test_sizes_are_those_of_the_network_input(tmp_path):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros([50, 200, 3], np.uint8))
    boxes, none = np.array([[0, 0, 20, 10], [0, 0, 9, 9]], np.float32), np.zeros(2, bool)
    record = Record(str(tmp_path / 'a.png'), 'a', 0, 0, boxes, np.zeros(2, np.int32), none, np.array([False, True]),
                    none)
    dataset = Dataset([record], ['x'], [])
    # 200 x 50 into 100 x 100: half of both, or half of the width and twice the height; the crowd is left out.
    np.testing.assert_allclose(network_sizes.of_boxes(dataset, 100, 100, True), [[10, 5]])
    np.testing.assert_allclose(network_sizes.of_boxes(dataset, 100, 100, False), [[10, 20]])
    labelled = dataset._replace(records=[record._replace(width=100, height=100)])
    np.testing.assert_allclose(network_sizes.of_boxes(labelled, 100, 100, True), [[20, 10]])
    with pytest.raises(InputError, match='there is no box'):
        network_sizes.of_boxes(dataset._replace(records=[record._replace(image_path='gone')]), 100, 100, True)


def test_files_there_and_back(tmp_path):
    path = tmp_path / 'nine.anchors'
    path.write_text(files.text_of(YOLOV3_ANCHORS, ['a comment']))
    assert files.read(str(path)) == files.read_for_yolov3(str(path)) == YOLOV3_ANCHORS
    assert path.read_text().splitlines()[:2] == ['# a comment', '8: 10,13 16,30 33,23']
    assert files.darknet_line(YOLOV3_ANCHORS) == (
        'anchors = 10,13, 16,30, 33,23, 30,61, 62,45, 59,119, 116,90, 156,198, 373,326')
    path.write_text('16: 1.5,2 # small\n\n 32 : 3,4 5,6\n')
    assert files.read(str(path)).sizes == (((1.5, 2.),), ((3., 4.), (5., 6.)))
    with pytest.raises(InputError, match='YOLOv3 has 3 anchors at each .*the file 1 at stride 16, 2 at stride 32'):
        files.read_for_yolov3(str(path))


@pytest.mark.parametrize('text, message', [
    ('8 10,13', ':1: expected "STRIDE'), ('8: 10;13', ':1: expected'), ('8: 10,13,4', ':1: expected'),
    ('8:', ':1: expected'), ('8: 0,5', 'sides above 0'), ('8: nan,5', 'sides above 0'), ('8: 1e9,5', 'sides above 0'),
    ('0: 1,5', ':1: expected'), ('-8: 1,5', ':1: expected'), ('8: 1,5\n8: 2,6', ':2: stride 8 behind stride 8'),
    ('# none', 'no anchors'), ('anchors = 10,13, 16,30', ':1: expected'), ('x' * 70000, 'more than 65536 bytes')])
def test_lines_that_are_not_understood(tmp_path, text, message):
    path = tmp_path / 'a.anchors'
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        files.read(str(path))
    with pytest.raises(InputError, match='none.anchors: cannot be read'):
        files.read(f'{tmp_path}/none.anchors')


def test_the_program_on_blood_cells(shared_data, tmp_path, capsys):
    chosen = options(program, f'--output={tmp_path}/bccd.anchors')
    assert program.run([f'voc:{shared_data}/bccd/BCCD:train'], chosen) == 0
    out = capsys.readouterr().out
    before, after = (float(line.split('average IoU ')[1].split(',')[0]) for line in out.splitlines()
                     if 'average IoU' in line)
    assert before < after and .7 < after < .95
    written = files.read_for_yolov3(f'{tmp_path}/bccd.anchors')
    assert files.darknet_line(written) in out
    assert cv2.imread(f'{tmp_path}/bccd.png').shape[0] > 400
    for arguments, message in [(['a', 'b'], 'expected one data spec'), (['--count=8'], 'as many anchors for each'),
                            (['--strides=8,x'], 'expected whole numbers'), (['--output=a.png'], "the plot's ending")]:
        chosen = options(program, *(one for one in arguments if one[:2] == '--'))
        with pytest.raises(InputError, match=message):
            program.check([one for one in arguments if one[:2] != '--'] or ['shapes'], chosen)
