"""The search page: one document, written by hand, that loads nothing but this server's answers."""

from __future__ import annotations

import functools
from string import Template

from jlocal.map.assets import colours, policy, read

_STYLES = ("layout.css", "hits.css", "side.css", "dialogs.css")
_SCRIPTS = (
    *("ask.js", "state.js", "hits.js", "reader.js", "map.js", "filters.js", "server.js"),
    *("theme.js", "keys.js", "main.js"),
)


@functools.cache
def page() -> tuple[bytes, str]:
    """Return the page, UTF-8, and its content security policy.

    The page is the same for every server and has no data in it. Scripts and styles are allowed by
    their hashes; it connects to its own server only.
    """
    style = colours(has_toggle=True) + read(__name__, *_STYLES)
    script = read("jlocal.map", "elements.js", "picture.js", "pointing.js")
    script += read(__name__, *_SCRIPTS)
    html = Template(read(__name__, "page.html")).substitute(style=style, script=script)
    more = ("connect-src 'self'", "img-src data:", "frame-ancestors 'none'")
    return html.encode(), policy(script, style, *more)
