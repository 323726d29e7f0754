"""``report.html``: one file without scripts that loads nothing, for a colleague who knows neither program nor data."""
from __future__ import annotations

import os
import pathlib

from yolov3_tf import atomic_file
from yolov3_tf.drawing import web_page
from yolov3_tf.drawing.web_page import escape
from yolov3_tf.run_report import sections
from yolov3_tf.run_report.contents import Contents

NAME = 'report.html'
WORST = 24                  # images
STYLE = """
:root { color-scheme: light } * { box-sizing: border-box }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1360px; padding: 1em; color: #222;
  background: #fff }
h1 { margin: .2em 0 0; overflow-wrap: anywhere }
h2 { margin: 1.6em 0 .4em; border-bottom: 1px solid #ddd; font-size: 1.25em }
.where { margin: 0 0 1em; color: #555; overflow-wrap: anywhere } p, .advice { max-width: 60em }
.advice { padding-left: 1.2em } .advice li { margin: .3em 0; overflow-wrap: anywhere }
nav { font-size: 14px } nav a { margin-right: 1em; display: inline-block }
.cards { list-style: none; padding: 0; display: flex; flex-wrap: wrap; gap: .6em }
.cards li { background: #f3f5f7; border-radius: 6px; padding: .5em .9em; font-size: 13px; color: #555 }
.cards b { display: block; font-size: 22px; color: #111 }
.wide { overflow-x: auto; max-width: 100%; background:
  linear-gradient(to right, #fff 50%, transparent) 0 0 / 30px 100% no-repeat local,
  linear-gradient(to left, #fff 50%, transparent) 100% 0 / 30px 100% no-repeat local,
  linear-gradient(to right, #bbb, transparent) 0 0 / 10px 100% no-repeat scroll,
  linear-gradient(to left, #bbb, transparent) 100% 0 / 10px 100% no-repeat scroll }
table { border-collapse: collapse; font-size: 14px }
td, th { padding: .2em .8em .2em 0; text-align: left; vertical-align: top; max-width: 24em }
tr + tr td { border-top: 1px solid #eee } .facts td + td { overflow-wrap: anywhere; max-width: 60em }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.total td { border-top: 2px solid #999; font-weight: bold } .small { color: #555; font-size: 13px; min-width: 14em }
.bars { min-width: 9em } .bar { background: #0072b2; height: .8em; margin-top: .3em }
.matrix td, .matrix th { border: 1px solid #e5e5e5; padding: .3em .6em } .zero { color: #bbb }
.sheet { display: flex; flex-wrap: wrap; gap: 1.2em; align-items: flex-start } figure { margin: 0; max-width: 100% }
.chart { width: 420px } .chart svg { width: 100%; height: auto; display: block }
figcaption { font-size: 12.5px; color: #555; overflow-wrap: anywhere }
.axes line { stroke: #e3e3e3 } .axes text { fill: #444; font-size: 12px }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .1em 1em; margin: .2em 0; padding: 0; font-size: 13px }
.legend li { overflow-wrap: anywhere }
.legend span { display: inline-block; width: 20px; margin-right: 5px; vertical-align: middle }
.pair { width: 640px } .pair div { display: flex; flex-wrap: wrap; gap: 4px }
.pair img { flex: 1 1 290px; min-width: 0; max-width: 100%; height: auto }
.right, .missed, .wrong, .ignored { padding: 0 .3em; border: 2px solid } .right { border-color: #009e73 }
.wrong { border-color: #d55e00 } .missed { border-color: #e69f00 } .ignored { border-color: #787878 }
.problem { color: #a33600; font-weight: bold } details { margin: .6em 0 } code { background: #f3f3f3 }
@media (max-width: 600px) { table { font-size: 12px } td, th { padding-right: .5em } .small { min-width: 0 }
  .bars { min-width: 4em } .small { font-size: 11.5px } .matrix td, .matrix th { padding: .2em .3em } }
"""


def render(contents: Contents, worst: int = WORST) -> str:
    """The HTML text; ``worst``: most images with errors to show."""
    parts = [('try', 'What to try next', sections.advice(contents)), ('classes', 'Classes', sections.classes(contents)),
             ('curves', 'Precision, recall and score', sections.curves(contents))]
    if contents.metrics:
        parts.append(('training', 'Training', sections.training(contents)))
    parts += [('confusion', 'Which class is taken for which', sections.confusion(contents)),
              ('errors', 'Kinds of errors', sections.kinds(contents)),
              ('images', 'Images with most errors', sections.worst(contents, worst)),
              ('sizes', 'Sizes of objects', sections.sizes(contents)),
              ('calibration', 'Calibration', sections.calibration(contents)),
              ('made', 'What was trained', sections.made_with(contents.lock))]
    links = ''.join(f'<a href="#{name}">{escape(title)}</a>' for name, title, _ in parts)
    blocks = [f'<section id="{name}"><h2>{escape(title)}</h2>{body}</section>' for name, title, body in parts]
    return web_page.page(contents.title, STYLE, [sections.summary(contents), f'<nav>{links}</nav>', *blocks])


def write(path: str | os.PathLike, contents: Contents, worst: int = WORST) -> pathlib.Path:
    """Writes the page completely or not at all; returns its path."""
    atomic_file.write_text(path, render(contents, worst))
    return pathlib.Path(path)
