"""Drawings: pixels where the box is, the input untouched, any size of image, nothing outside it."""
import numpy as np
import pytest

from yolov3_tf.drawing import boxes as draw

NAMES = ['dog', 'cat', 'person']


def soft_noise(height=300, width=400, level=120):
    return np.full((height, width, 3), level, np.uint8)


def changed(before, after):
    """x1, y1, x2, y2 around every pixel that differs, far edge exclusive."""
    rows, columns = np.nonzero((before != after).any(axis=-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_input_is_never_modified():
    image, boxes = soft_noise(), np.array([[50, 60, 150, 160]], np.float32)
    image.setflags(write=False)
    drawn = draw.draw_detections(image, boxes, [1], [.9], NAMES)
    draw.draw_truth(image, boxes, [1], NAMES)
    draw.grid([image, drawn], 2)
    assert (image == 120).all() and (drawn != image).any() and boxes.tolist() == [[50, 60, 150, 160]]


def test_pixels_of_the_box_are_of_its_colour_and_its_inside_is_left():
    drawn = draw.draw_detections(soft_noise(), [[50, 100, 150, 200]], [1], None, NAMES)
    colour = draw.class_colour(1)
    for x, y in ((50, 100), (149, 199), (50, 199), (149, 100), (100, 199)):
        assert tuple(drawn[y, x]) == colour
    assert (drawn[110:190, 60:140] == 120).all()


def test_a_box_on_the_whole_image_keeps_its_far_lines():
    """Far edge exclusive: the last pixel of a 300 x 400 image is 399, 299."""
    drawn = draw.draw_detections(soft_noise(), [[0, 0, 400, 300]], [0], [1.], NAMES)
    assert tuple(drawn[299, 399]) == tuple(drawn[299, 0]) == tuple(drawn[150, 399]) == draw.class_colour(0)


def test_boxes_are_cut_at_the_image_and_left_out_beyond_it():
    image = soft_noise()
    drawn = draw.draw_detections(image, [[-1e9, 120, 1e9, 180]], [0], None, NAMES)
    assert tuple(drawn[120, 200]) == tuple(drawn[179, 200]) == draw.class_colour(0)
    outside = [[-50, -50, 0, 0], [400, 10, 500, 20], [10, 300, 20, 400], [30, 30, 30, 60], [9, 9, 5, 5],
               [np.nan, 0, 10, 10]]
    assert (draw.draw_detections(image, outside, [0] * 6, [.5] * 6, NAMES) == image).all()


@pytest.mark.parametrize('size', [(1, 1), (8, 200), (20, 20), (97, 31), (2000, 3000)])
def test_any_size_of_image(size):
    image = soft_noise(*size)
    boxes = [[0, 0, size[1], size[0]], [size[1] / 2, size[0] / 2, size[1], size[0]]]
    drawn = draw.draw_truth(draw.draw_detections(image, boxes, [0, 2], [.5, .9], NAMES), boxes, [0, 2], NAMES)
    assert drawn.shape == image.shape and drawn.dtype == np.uint8 and (drawn != image).any()


@pytest.mark.parametrize('corner', [[150, 150, 250, 250], [0, 0, 60, 290], [370, 0, 400, 40],
                                    [0, 280, 400, 300]])
def test_the_plate_stays_in_the_image_and_touches_its_box(corner):
    """The plate: at least as wide as high letters need, and inside the image whatever the corner."""
    image = soft_noise()
    drawn = draw.draw_detections(image, [corner], [2], [.5], NAMES)
    x1, y1, x2, y2 = changed(image, drawn)
    pen = draw.pen_for(image)
    assert y2 - y1 >= min(corner[3] - corner[1], 300 - corner[1])
    assert x1 <= corner[0] and x2 >= min(corner[2], 400) and y1 >= 0 and y2 <= 300
    assert (drawn == draw.class_colour(2)).all(axis=-1).sum() > 4 * pen.capital ** 2


def test_letters_grow_with_the_image():
    small, large = draw.pen_for(soft_noise(300, 400)), draw.pen_for(soft_noise(3000, 4000))
    assert small.capital == 9 and large.capital == pytest.approx(3500 / 40, abs=1) and large.line > small.line


def test_plates_of_neighbours_do_not_cover_each_other():
    """Two equal boxes: the plates of the best (above) and of the other (inside) are both whole."""
    drawn = draw.draw_detections(soft_noise(), [[100, 100, 250, 250]] * 2, [0, 1], [.9, .8], NAMES)
    for plate, class_id in ((drawn[82:99, 101:130], 0), (drawn[103:116, 103:130], 1)):
        assert (plate == draw.class_colour(class_id)).all(axis=-1).any()


def scattered(count, size=300):
    """Boxes of 20 x 20 pixels on a grid with gaps."""
    lefts = 25 * (np.arange(count) % (size // 25))
    tops = 25 * (np.arange(count) // (size // 25) % (size // 25))
    return np.stack([lefts, tops, lefts + 20, tops + 20], 1)


def test_many_names_never_bury_the_image():
    """100 boxes of 20 x 20 on 300 x 300: only thin lines and a legend at the foot differ from the image."""
    image = soft_noise(300, 300)
    drawn = draw.draw_detections(image, scattered(100), [0] * 60 + [1] * 40, np.linspace(.1, 1, 100), NAMES)
    differs = (drawn != image).any(axis=-1)
    assert differs[:270].sum() == 100 * 4 * 19                      # one pixel a line
    foot = drawn[-(draw.pen_for(image).capital + 2 * draw.pen_for(image).pad):]
    assert all((foot == draw.class_colour(number)).all(axis=-1).sum() > 200 for number in (0, 1))


def test_few_names_stay_on_their_boxes():
    image = soft_noise(300, 300)
    drawn = draw.draw_detections(image, scattered(4), [2] * 4, [.9] * 4, NAMES)
    assert (drawn[60:] == image[60:]).all()                        # all in the first row, no legend
    assert (drawn == draw.class_colour(2)).all(axis=-1).sum() > 4 * 20 * 10


def test_boxes_beyond_the_limit_are_counted_not_drawn(monkeypatch):
    written = []
    monkeypatch.setattr(draw, '_write', lambda canvas, text, *rest: written.append(text))
    boxes = scattered(140)
    drawn = draw.draw_detections(soft_noise(300, 300), boxes, [0] * 140, np.linspace(1, .1, 140), NAMES)
    assert written == ['dog 140']
    monkeypatch.setattr(draw, 'MOST_DRAWN', 100)
    written.clear()
    fewer = draw.draw_detections(soft_noise(300, 300), boxes, [0] * 140, np.linspace(1, .1, 140), NAMES)
    assert sorted(written) == ['40 more', 'dog 100']
    x1, y1 = boxes[139][:2]
    assert tuple(drawn[y1, x1]) == draw.class_colour(0) and tuple(fewer[y1, x1]) == (120, 120, 120)


def test_names_of_many_truth_boxes_are_left_out():
    image = soft_noise(300, 300)
    boxes = scattered(100)
    bare, named = draw.draw_truth(image, boxes), draw.draw_truth(image, boxes, [0] * 100, NAMES)
    assert (named != image).any(axis=-1).mean() <= (bare != image).any(axis=-1).mean()


def test_colours_are_stable_and_neighbours_distinct():
    assert [draw.class_colour(k) for k in range(80)] == [draw.class_colour(k) for k in range(80)]
    colours = np.array([draw.class_colour(k) for k in range(20)], int)
    apart = np.abs(colours[:, None] - colours).sum(-1) + 999 * np.eye(20, dtype=int)
    assert apart.min() > 40 and len({draw.class_colour(k) for k in range(80)}) == 80


def test_truth_is_black_and_white_dashes():
    image = soft_noise()
    drawn = draw.draw_truth(image, [[50, 60, 350, 260]])
    edge = drawn[60, 50:350]
    assert {tuple(pixel) for pixel in edge.tolist()} == {(0, 0, 0), (255, 255, 255)}
    assert (drawn[100:220, 100:300] == 120).all()


def test_other_letters_do_not_break_a_plate():
    assert draw.draw_detections(soft_noise(), [[50, 50, 99, 99]], [0], [.5], ['Hündin']).any()


def test_grid_places_every_image_once_and_keeps_proportions():
    """Two columns of 100: a 2:1 image becomes 100 x 50, a 1:2 one 50 x 100, the third starts row two."""
    images = [soft_noise(100, 200, 50), soft_noise(200, 100, 150), soft_noise(10, 10, 250)]
    sheet = draw.grid(images, 2, cell=100)
    assert [(sheet == level).all(axis=-1).sum() for level in (50, 150, 250)] == [5000, 5000, 10000]
    assert sheet.shape == (2 + 100 + 2 + 100 + 2, 2 + 100 + 2 + 100 + 2, 3)
    assert draw.grid(images[:1], 5, cell=100).shape == (54, 104, 3)


@pytest.mark.parametrize('image', [soft_noise()[..., 0], soft_noise().astype(np.float32),
                                   np.zeros((9, 9, 4), np.uint8), np.zeros((0, 9, 3), np.uint8)])
def test_other_images_are_refused(image):
    with pytest.raises(ValueError, match='expected a uint8 RGB image'):
        draw.draw_detections(image, [], [], [], NAMES)
    with pytest.raises(ValueError, match='expected a uint8 RGB image'):
        draw.grid([image], 1)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match='expected one value a box, got 1 for 2'):
        draw.draw_detections(soft_noise(), [[1, 1, 9, 9]], [0, 1], [.5, .5], NAMES)
    with pytest.raises(ValueError, match='expected images and at least 1 column, got 0 and 2'):
        draw.grid([], 2)


def test_a_track_has_its_number_on_its_plate_and_its_own_colour(monkeypatch):
    """Two dogs of tracks 1 and 5: colours by number, not by class."""
    written = []
    write = draw._write
    monkeypatch.setattr(draw, '_write', lambda canvas, text, *rest: written.append(text) or write(canvas, text, *rest))
    drawn = draw.draw_detections(soft_noise(), [[50, 100, 150, 200], [250, 100, 350, 200]], [0, 0], [.9, .8], NAMES,
                                 [5, 1])
    assert sorted(written) == ['#1 dog 80%', '#5 dog 90%']
    assert (tuple(drawn[199, 149]), tuple(drawn[199, 349])) == (draw.class_colour(5), draw.class_colour(1))
    with pytest.raises(ValueError, match='got 1 for 2'):
        draw.draw_detections(soft_noise(), [[0, 0, 9, 9]] * 2, [0, 0], None, NAMES, [1])


def test_many_tracks_keep_their_numbers_where_there_is_room_and_a_legend_without_colours(monkeypatch):
    written = []
    monkeypatch.setattr(draw, '_write', lambda canvas, text, plate, colour, pen: written.append((text, colour)))
    for count, numbers in ((12, True), (100, False)):
        written.clear()
        drawn = draw.draw_detections(soft_noise(300, 300), scattered(count), [0] * count, np.linspace(.9, .1, count),
                                     ['a dog of a long name'], np.arange(1, count + 1))
        assert written[-1] == (f'a dog of a long name {count}', draw.BLACK)
        assert written[:-1] == ([(f'#{n}', draw.class_colour(n)) for n in range(count, 0, -1)] if numbers else [])
        assert tuple(drawn[20 - 1, 25]) == draw.class_colour(2)
