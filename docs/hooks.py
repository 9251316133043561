"""Draws Mermaid blocks while the site is built; refuses a page that loads from the network."""

import re
from typing import Any

import mmdr
from mkdocs.exceptions import PluginError

_INTERVAL = re.compile(r"\[[+-]?[\d.]+, [+-]?[\d.]+\]")
_LOADED = re.compile(r'<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)="(?:https?:)?//[^"]*"')


def draw(source: str, *_: Any, **__: Any) -> str:
    """One block as inline SVG; the other arguments are those of a superfences formatter."""
    return f'<div class="diagram">{mmdr.render(source).svg()}</div>'


def on_config(config: Any) -> Any:
    """Register the fence here: mkdocs.yml can only name functions of installed packages."""
    fence = {"name": "mermaid", "class": "mermaid", "format": draw}
    config["mdx_configs"].setdefault("pymdownx.superfences", {})["custom_fences"] = [fence]
    return config


def on_page_content(html: str, **_: Any) -> str:
    """Keep an interval on one line of a table's cell."""
    return _INTERVAL.sub(lambda found: f'<span class="interval">{found.group()}</span>', html)


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Refuse a page that would load a script, style, font or picture from elsewhere."""
    if loaded := _LOADED.search(output):
        raise PluginError(f"{page.file.src_uri} loads from the network: {loaded.group()}")
    return output
