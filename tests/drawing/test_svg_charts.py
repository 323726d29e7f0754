"""Charts as SVG: points land where arithmetic says, and nothing that is not finite reaches the file."""
import re

import numpy as np
import pytest
from fixtures.html_tags import Tags

from yolov3_tf.drawing import svg_charts
from yolov3_tf.drawing.svg_charts import Line, chart


def path_of(text):
    return re.findall(r'<path d="([^"]*)"', text)


def test_points_are_where_they_belong():
    """The plot is 60..408 x 10..232; half of its width is at 234, a quarter of its height at 65.5."""
    text = chart([Line('a', [0, .5, 1], [0, 1, .75])], 'x', 'y', (0., 1.), (0., 1.))
    assert path_of(text) == ['M60 232L234 10L408 65.5']
    assert {'figure', 'svg', 'path', 'text'} <= Tags(text).seen and 'x' in Tags(text).texts


def test_steps_hold_to_the_next_point_and_equal_pixels_are_one():
    falling = chart([Line('', [0, 1], [1, 0], steps=True)], '', '', (0., 1.), (0., 1.))
    assert path_of(falling) == ['M60 10L408 10L408 232']
    many = np.linspace(0, 1, 100_000)
    assert path_of(chart([Line('', many, many)], '', '', (0., 1.), (0., 1.)))[0].count('L') < 8000


@pytest.mark.parametrize('x, y', [([], []), ([1], [2]), ([0, 1, 2], [np.nan, np.inf, 3]), ([0, 1], [5, 5]), ([0], [0])])
@pytest.mark.parametrize('log', [False, True])
def test_few_points_equal_ones_and_holes(x, y, log):
    text = chart([Line('a', x, y, dots=True)], 'x', 'y', log_y=log)
    assert 'nan' not in text and 'inf' not in text and Tags(text)


def test_ticks_are_round_numbers():
    np.testing.assert_allclose(svg_charts.ticks(0, 1), [0, .2, .4, .6, .8, 1])
    np.testing.assert_allclose(svg_charts.ticks(0, 510), [0, 200, 400])
    np.testing.assert_allclose(svg_charts.ticks(.3, .34), [.3, .31, .32, .33, .34])
    np.testing.assert_allclose(10 ** np.array(svg_charts.log_ticks(np.log10(3), np.log10(60))), [5, 10, 20, 50])
    np.testing.assert_allclose(10 ** np.array(svg_charts.log_ticks(np.log10(890), np.log10(1550))), [1000, 1200, 1400])
    np.testing.assert_allclose(svg_charts.log_ticks(0, 4), [0, 1, 2, 3, 4])


@pytest.mark.parametrize('value, text', [(0., '0'), (.2, '0.2'), (1500., '1500'), (20000., '20k'), (.0005, '5e-4'),
                                         (2e6, '2M')])
def test_numbers_on_the_axes_are_short(value, text):
    assert svg_charts._number(value) == text


def test_names_are_escaped_and_styles_differ():
    text = chart([Line('<b>&', [0], [0])], '<i>', '"')
    assert not {'b', 'i'} & Tags(text).seen and '<b>&' in ''.join(Tags(text).texts)
    assert len({svg_charts.style(k, svg_charts.NAMED) for k in range(svg_charts.NAMED)}) == svg_charts.NAMED
    assert len({svg_charts.style(k, 40) for k in range(40)}) == 1


def test_a_small_constant_is_read_at_its_axis():
    text = svg_charts.chart([svg_charts.Line('', [0, 10], [.001, .001], '#000')], 'step', 'learning rate')
    assert '>1e-3<' in text and '>0.4<' not in text and '>-0.2<' not in text
