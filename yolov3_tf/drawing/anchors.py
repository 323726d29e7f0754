"""A plot of boxes and anchors by width and height."""
from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from yolov3_tf.drawing import plots

MOST_POINTS = 20_000
MARKS = ('x', '+', '1')


def draw(path: str | BinaryIO, sizes: ArrayLike, anchors: Mapping[str, ArrayLike], title: str) -> None:
    """Draws the shapes of boxes as points and each set of anchors as marks over them.

    Args:
      path: PNG to write, or a file opened for it.
      sizes: float [n, 2] widths and heights in pixels of the network input.
      anchors: {name in the legend: float [k, 2] widths and heights in the same pixels}; at most three.
      title: above the plot.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatter, StrMethodFormatter
    points = np.asarray(sizes, np.float64).reshape(-1, 2)
    if len(points) > MOST_POINTS:
        points = points[np.random.default_rng(0).choice(len(points), MOST_POINTS, replace=False)]
    with plots.styled():
        figure = Figure(figsize=(5, 4.6), layout='constrained')
        axis = figure.add_subplot()
        axis.plot(*points.T, '.', markersize=3, alpha=.25, color=plots.GREY, label=f'{len(points)} boxes')
        for (name, priors), mark, colour in zip(anchors.items(), MARKS, plots.COLOURS):
            axis.plot(*np.reshape(priors, [-1, 2]).T, mark, markersize=9, markeredgewidth=2, color=colour, label=name)
        axis.set(xscale='log', yscale='log', xlabel='width, pixels of the network input',
                 ylabel='height, pixels of the network input', title=title, aspect='equal')
        for side in (axis.xaxis, axis.yaxis):       # 60, not 6 x 10^1
            side.set_major_formatter(StrMethodFormatter('{x:g}'))
            side.set_minor_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(2, .5)))
        axis.legend(loc='upper left')
        figure.savefig(path, format='png', dpi=140, metadata={'Software': None})
