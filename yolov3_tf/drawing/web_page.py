"""One HTML file without scripts that loads nothing: images and styles are inside, and every text is escaped."""
from __future__ import annotations

import base64
import html
from collections.abc import Iterable

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, style: str, parts: Iterable[str]) -> str:
    """The whole file; ``title`` is text, ``parts`` are HTML. A browser may load nothing from elsewhere (``POLICY``)."""
    return ('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f'<title>{escape(title)}</title><style>{style}</style></head><body>\n'
            + '\n'.join(parts) + '\n</body></html>\n')


def escape(text: object) -> str:
    """The text with HTML's own characters written as entities, and ? for what is no Unicode text."""
    return html.escape(str(text).encode('utf-8', 'replace').decode())


def image(contents: bytes, kind: str, name: str) -> str:
    """An image inside the page; ``kind``: 'png' or 'jpeg', ``name`` is text for readers who do not see it."""
    return f'<img alt="{escape(name)}" src="data:image/{kind};base64,{base64.b64encode(contents).decode()}">'
