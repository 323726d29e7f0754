"""Line charts as SVG text inside an HTML page: sharp at every width, with letters that stay legible on a phone."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yolov3_tf.drawing.plots import COLOURS
from yolov3_tf.drawing.web_page import escape

WIDTH, HEIGHT = 420, 270                                # in CSS pixels; a narrow page shrinks it
LEFT, RIGHT, TOP, BOTTOM = 60, 12, 10, 38
TICKS = 5                                               # about so many on an axis
NAMED = 2 * len(COLOURS)                                # most lines with a colour of their own

Range = tuple[float, float]


class Line(NamedTuple):
    """One line of a chart.

    Attributes:
      name: in the legend; '' for a line that is in none.
      x, y: float [n]; a point that is not finite interrupts the line.
      colour: of CSS; dashes: of SVG, such as '5 3'.
      width: CSS pixels.
      steps: whether each y holds up to the next x.
      dots: whether each point is marked.
    """
    name: str
    x: np.ndarray | Sequence[float]
    y: np.ndarray | Sequence[float]
    colour: str = '#000000'
    dashes: str = ''
    width: float = 1.6
    steps: bool = False
    dots: bool = False


def style(number: int, count: int) -> tuple[str, str]:
    """Colour and dashes of one of several lines; grey where there are more than colours and dashes for them."""
    if count > NAMED:
        return '#bbbbbb', ''
    return COLOURS[number % len(COLOURS)], '' if number < len(COLOURS) else '5 3'


def chart(lines: Sequence[Line], x_label: str, y_label: str, x_range: Range | None = None,
          y_range: Range | None = None, log_y: bool = False, title: str = '') -> str:
    """A ``<figure>`` with the chart and its legend; ranges that are not given are those of the points.

    Args:
      title: says what is shown, for readers who do not see it and below the chart.
    """
    if log_y:
        lines = [line._replace(y=np.log10(np.where(np.asarray(line.y, float) > 0, line.y, np.nan))) for line in lines]
    x_range = x_range or _range([line.x for line in lines])
    y_range = y_range or _range([line.y for line in lines])
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title or y_label)}">',
             _axes(x_range, y_range, log_y, x_label, y_label), *(_drawn(line, x_range, y_range) for line in lines),
             '</svg>']
    caption = f'<figcaption>{escape(title)}</figcaption>' if title else ''
    return f'<figure class="chart">{"".join(parts)}{_legend(lines)}{caption}</figure>'


def ticks(low: float, high: float, count: int = TICKS) -> list[float]:
    """About ``count`` round numbers (1, 2 or 5 times a power of ten apart) from low to high."""
    step = 10. ** math.floor(math.log10(max(high - low, 1e-12) / count))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= count)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten, the powers alone where these are many, round numbers where they are few.

    low, high and the ticks are logarithms.
    """
    every = (1, 2, 5) if high - low < 2 else (1,)
    powers = range(math.floor(low), math.ceil(high) + 1)
    values = [math.log10(factor) + power for power in powers for factor in every]
    inside = [value for value in values if low - 1e-9 <= value <= high + 1e-9]
    return inside if len(inside) > 2 else [math.log10(value) for value in ticks(10 ** low, 10 ** high) if value > 0]


def _range(parts) -> Range:
    values = np.concatenate([np.zeros(0), *(np.asarray(part, float) for part in parts)])
    values = values[np.isfinite(values)]
    if not len(values):
        return 0., 1.
    low, high = float(values.min()), float(values.max())
    half = abs(low) / 2 or .5               # around a constant, wide enough to read its value at the axis
    return (low, high) if high > low else (low - half, high + half)


def _axes(x_range, y_range, log_y, x_label, y_label):
    parts = []
    for value in ticks(*x_range):
        x = _x(value, x_range)
        parts += [f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>',
                  f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="middle">{_number(value)}</text>']
    for value in log_ticks(*y_range) if log_y else ticks(*y_range):
        y = _y(value, y_range)
        parts += [f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
                  f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">'
                  f'{_number(10 ** value if log_y else value)}</text>']
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return (f'<g class="axes">{"".join(parts)}'
            f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" text-anchor="middle">{escape(x_label)}</text>'
            f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})">{escape(y_label)}'
            '</text></g>')


def _drawn(line, x_range, y_range):
    x, y = _x(np.asarray(line.x, float), x_range), _y(np.asarray(line.y, float), y_range)
    dots = ''.join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.5" fill="{line.colour}"/>'
                   for a, b in zip(x, y) if np.isfinite([a, b]).all()) if line.dots else ''
    if line.steps:
        x, y = np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]
    known = np.isfinite(x) & np.isfinite(y)
    path, pen, last = [], 'M', None
    for a, b, fits in zip(np.round(x, 1).tolist(), np.round(y, 1).tolist(), known.tolist()):
        if not fits:
            pen = 'M'
        elif pen == 'M' or (a, b) != last:              # points that look equal are one
            path.append(f'{pen}{a:g} {b:g}')
            pen, last = 'L', (a, b)
    dashes = f' stroke-dasharray="{line.dashes}"' if line.dashes else ''
    return (f'<path d="{"".join(path)}" fill="none" stroke="{line.colour}" stroke-width="{line.width:g}"{dashes}/>'
            if path else '') + dots


def _legend(lines):
    named = [line for line in lines if line.name]
    items = ''.join(f'<li><span style="border-top:3px {"dashed" if line.dashes else "solid"} {line.colour}"></span>'
                    f'{escape(line.name)}</li>' for line in named)
    return f'<ul class="legend">{items}</ul>' if named else ''


def _x(value, ends):
    return LEFT + (value - ends[0]) / (ends[1] - ends[0]) * (WIDTH - LEFT - RIGHT)


def _y(value, ends):
    return HEIGHT - BOTTOM - (value - ends[0]) / (ends[1] - ends[0]) * (HEIGHT - TOP - BOTTOM)


def _number(value):
    if abs(value) >= 1e4:
        return f'{value / 1e6:g}M' if abs(value) >= 1e6 else f'{value / 1e3:g}k'
    if 0 < abs(value) < .01:
        mantissa, exponent = f'{value:.3e}'.split('e')
        return f'{float(mantissa):g}e{int(exponent)}'
    return f'{round(value, 9):g}'


