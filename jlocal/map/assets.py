"""The parts that pages are assembled from, and the policy that lets a browser run only these."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources


def read(package: str, *names: str) -> str:
    """Return files of a package, one after the other."""
    folder = resources.files(package)
    return "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in names)


def colours(*, has_toggle: bool = False) -> str:
    """Return the colours as CSS: light and dark, as the browser prefers.

    Args:
        has_toggle: whether `data-theme` of the root element, light or dark, takes precedence.

    """
    light, dark = read("jlocal.map", "light.css"), read("jlocal.map", "dark.css")
    root = ":root:not([data-theme=light])" if has_toggle else ":root"
    css = f":root {{\n{light}}}\n@media (prefers-color-scheme: dark) {{\n{root} {{\n{dark}}}\n}}\n"
    return f"{css}:root[data-theme=dark] {{\n{dark}}}\n" if has_toggle else css


def policy(script: str, style: str, *more: str) -> str:
    """Return a content security policy: nothing is loaded, and only this script runs."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'sha256-{_hash(script)}'",
            f"style-src 'sha256-{_hash(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
            *more,
        )
    )


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
