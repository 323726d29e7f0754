"""figures.slots: slots sorted by hand and as the loss counts them; images, tables and what cannot be drawn."""
import math

import cv2
import numpy as np
import pytest
import tensorflow as tf

from yolov3_tf import codec
from yolov3_tf.data.readers import specs
from yolov3_tf.errors import InputError
from yolov3_tf.figures import slots
from yolov3_tf.losses import criterion
from yolov3_tf.models import checkpoints
from yolov3_tf.structures import GroundTruth

SIZE = (64, 96)                                                         # height, width: swapped sides must not pass
SLOTS = 3 * (8 * 12 + 4 * 6 + 2 * 3)
SETTINGS = criterion.LossSettings()


def silent(images, training):
    """A network of zeros: every slot predicts its anchor in the middle of its cell."""
    assert not training
    return tf.zeros([tf.shape(images)[0], SLOTS, 5 + 2])


NETWORK = slots.Network(silent, checkpoints.ModelConfig(('a', 'b'), 1., SIZE, True), 'zeros')


def truth_of(*boxes):
    count = len(boxes)
    return GroundTruth(tf.constant([boxes], tf.float32), tf.zeros([1, count], tf.int32), tf.ones([1, count], bool),
                       tf.ones([1, count]))


# 33 x 23, as the third anchor of stride 8, in the middle of the cell in row 3, column 5.
OBJECT = (44 - 16.5, 28 - 11.5, 44 + 16.5, 28 + 11.5)


def slot(row, column, anchor):
    return (row * 12 + column) * 3 + anchor                             # of stride 8, twelve cells a row


def kinds_of(**settings):
    images = np.zeros([1, *SIZE, 3], np.uint8)
    found = slots.sort_slots(NETWORK, images, truth_of(OBJECT), SETTINGS._replace(**settings))
    assert found.boxes.shape == (1, SLOTS, 4)
    np.testing.assert_allclose(found.boxes[0, slot(3, 5, 2)], OBJECT, rtol=1e-6)
    return found.kinds[0]


@pytest.mark.parametrize('threshold, ignored', [
    (.62, []),
    (.5, [slot(3, 4, 2), slot(3, 6, 2)]),
    (.45, [slot(2, 5, 2), slot(3, 4, 2), slot(3, 6, 2), slot(4, 5, 2)])])
def test_slots_by_hand(threshold, ignored):
    """The same prediction a cell beside: 25 * 23 / (2 * 33 * 23 - 25 * 23) = .61; above or below: .484.

    The next best is the second anchor of the same cell: 16 * 23 / (16 * 30 + 33 * 23 - 16 * 23) = .42.
    """
    kinds = kinds_of(ignore_thresh=threshold)
    assert np.flatnonzero(kinds == slots.POSITIVE).tolist() == [slot(3, 5, 2)]
    assert np.flatnonzero(kinds == slots.IGNORED).tolist() == ignored
    assert (kinds == slots.NEGATIVE).sum() == SLOTS - 1 - len(ignored)


def test_the_ignore_scope_and_the_assigner_are_heard():
    """30 x 61 about (40, 24): 27.5 * 23 / (30 * 61 + 33 * 23 - 27.5 * 23) = .32, on another scale."""
    by_scale, by_image = (kinds_of(ignore_thresh=.32, ignore_scope=scope) for scope in ('scale', 'image'))
    assert (by_scale[3 * 96:] == slots.NEGATIVE).all()
    assert (by_image[3 * 96:] == slots.IGNORED).any()
    assert (kinds_of(assigner='iou_threshold') == slots.POSITIVE).sum() > 1


@pytest.mark.parametrize('scope', ['scale', 'image'])
def test_the_loss_counts_the_same_slots(scope):
    """At objectness logit 0 every slot that counts costs ln 2."""
    rng = np.random.default_rng(0)
    near = rng.uniform(0, 50, (12, 2))
    truth = truth_of(*np.hstack([near, near + rng.uniform(10, 45, (12, 2))]).tolist())
    outputs = np.zeros([1, SLOTS, 7], np.float32)
    outputs[..., :4] = rng.normal(0, .5, (1, SLOTS, 4))
    network = NETWORK._replace(model=lambda images, training: tf.constant(outputs))
    settings = SETTINGS._replace(ignore_thresh=.4, ignore_scope=scope)
    kinds = slots.sort_slots(network, np.zeros([1, *SIZE, 3], np.uint8), truth, settings).kinds
    assert (kinds == slots.IGNORED).sum() > 5 and (kinds == slots.POSITIVE).sum() > 5
    loss = criterion.detection_loss(codec.split(outputs), truth, slots.lay_out(network), settings)
    assert float(loss['objectness']) == pytest.approx(math.log(2) * (kinds != slots.IGNORED).sum(), rel=1e-5)


@pytest.fixture
def dataset(tmp_path):
    """Two images of the network's own size, and one that is no image; the first holds OBJECT, the second two."""
    for name in ('one.png', 'two.png'):
        cv2.imwrite(str(tmp_path / name), np.full([*SIZE, 3], 200, np.uint8))
    (tmp_path / 'bad.png').write_bytes(b'no image')
    box = '0 28 17 60 39'                                               # OBJECT within half a pixel
    (tmp_path / 'all.txt').write_text(f'0 one.png 96 64 {box}\n1 two.png 96 64 {box} 1 7 5 17 18\n'
                                      f'2 bad.png 96 64 {box}\n')
    (tmp_path / 'classes.names').write_text('a\nb\n')
    return specs.load(f'list:{tmp_path}/all.txt')


def test_counts_over_a_set(dataset, tmp_path):
    """As above at .5: two ignored slots. The second object, 10 x 13, owns the first anchor; its neighbours, a cell
    beside, overlap by 2 * 13 / (260 - 26) = .11."""
    counts = slots.count(NETWORK, dataset, SETTINGS, batch_size=2)
    assert counts.image_ids == ['one', 'two'] and counts.objects.tolist() == [1, 2]
    assert counts.slots[:, slots.POSITIVE].tolist() == [1, 2]
    assert counts.slots[:, slots.IGNORED].tolist() == [2, 2]
    assert counts.slots.sum(axis=1).tolist() == [SLOTS, SLOTS]
    assert slots.write_csv(tmp_path / 'new' / 'c.csv', counts).read_text() == (
        f'image,objects,positive,ignored,negative\none,1,1,2,{SLOTS - 3}\ntwo,2,2,2,{SLOTS - 4}\n')


def test_the_claim_is_counted():
    """Four images: 4, 5, 0 and 4 positives; 10,001, 10,001, 10,000 and 10,002 negatives."""
    counts = slots.Counts(list('abcd'), np.array([4, 5, 0, 4]), np.array(
        [[10_001, 642, 4], [10_001, 641, 5], [10_000, 647, 0], [10_002, 641, 4]]))
    lines = slots.table(counts).split('\n')
    assert lines[0] == '4 images, 10,647 slots each'
    assert lines[3].split() == ['positive', '3.25', '0', '4.0', '5']
    assert lines[5].split() == ['negative', '10,001.00', '10,000', '10,001.0', '10,002']
    assert lines[6] == ('fewer than 5 positives: 3 of 4 (75.0 %); more than 10,000 negatives: 3 of 4 (75.0 %); '
                        'both: 2 of 4 (50.0 %)')


def colours(path):
    """How many pixels of a figure are of each kind's colour: negative, ignored, positive."""
    image = cv2.imread(str(path)).astype(int)
    assert image.shape[1] == 1400
    return [(np.abs(image - [int(slots.COLOUR[kind][k:k + 2], 16) for k in (5, 3, 1)]).sum(axis=-1) < 12).sum()
            for kind in (slots.NEGATIVE, slots.IGNORED, slots.POSITIVE)]


def test_counts_are_drawn(tmp_path):
    rng = np.random.default_rng(0)
    counts = slots.Counts(['x'] * 50, np.ones(50, int), np.stack(
        [rng.integers(9_900, 10_600, 50), rng.integers(0, 40, 50), rng.integers(1, 9, 50)], axis=1))
    assert slots.draw_counts(tmp_path / 'new' / 'c.png', counts, 'title') == slots.table(counts)
    assert min(colours(tmp_path / 'new' / 'c.png')) > 1000
    same = counts._replace(slots=np.tile([100, 0, 1], (50, 1)))          # nothing spreads
    assert slots.draw_counts(tmp_path / 'd.png', same, '')


def test_slots_are_drawn(dataset, tmp_path):
    text = slots.draw(tmp_path / 's.png', NETWORK, dataset, 0, SETTINGS)
    assert text.split('\n')[1:] == ['stride 32: 0 positive, 0 ignored, 18 negative',
                                    'stride 16: 0 positive, 0 ignored, 72 negative',
                                    'stride 8: 1 positive, 2 ignored, 285 negative']
    assert min(colours(tmp_path / 's.png')) > 50
    without = colours(tmp_path / 's.png')[1]
    slots.draw(tmp_path / 't.png', NETWORK, dataset, 0, SETTINGS._replace(ignore_thresh=.9))
    assert colours(tmp_path / 't.png')[1] < without                     # no ignored slot is left but in the legend
    with pytest.raises(InputError, match='bad.png: expected a JPEG, PNG, BMP, GIF, WEBP or TIFF'):
        slots.draw(tmp_path / 'u.png', NETWORK, dataset, 2, SETTINGS)
    with pytest.raises(InputError, match='none of the 1 images can be used: .*bad.png'):
        slots.count(NETWORK, dataset._replace(records=dataset.records[2:]), SETTINGS)


def test_the_image_is_chosen_by_number_or_name(dataset):
    assert slots.choose_record(dataset, None, None) == 0 and slots.choose_record(dataset, 2, None) == 2
    assert slots.choose_record(dataset, None, 'two') == slots.choose_record(dataset, None, 'x/two.png') == 1
    for index, image, message in ((3, None, '--index=3: expected 0 to 2'), (-1, None, '--index=-1'),
                                  (None, 'none.png', '--image=none.png: expected one of the 3'),
                                  (0, 'two', 'both choose the image')):
        with pytest.raises(InputError, match=message):
            slots.choose_record(dataset, index, image)


def test_networks(tmp_path):
    random = slots.load_network(None, None, seed=1)
    assert random.config.image_size == (416, 416) and random.name == 'random weights, seed 1'
    path = str(tmp_path / 'net.h5')
    checkpoints.save_model(path, random.model, random.config._replace(image_size=(96, 64)))
    loaded = slots.load_network(path, None, seed=0)
    assert loaded.config.image_size == (96, 64) and loaded.name.endswith('net.h5')
    np.testing.assert_array_equal(loaded.model.get_weights()[0], random.model.get_weights()[0])
    with pytest.raises(InputError, match='height 100 is not a positive multiple of 32'):
        slots.load_network(path, 100, seed=0)
    with pytest.raises(InputError, match='no checkpoint at'):
        slots.load_network(str(tmp_path / 'absent.h5'), None, seed=0)
