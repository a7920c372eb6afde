"""Hooks of MkDocs: the README is the first page, and links out of docs/ lead to the repository."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the README to the pages."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    # The README becomes a page of docs/.
    text = re.sub(r"\]\((?!https?:|#|docs/)", "](../", text).replace("](docs/", "](")
    files.append(File.generated(config, "index.md", content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to files of the repository into addresses."""
    depth = page.file.src_uri.count("/")
    outside = re.escape("../" * (depth + 1))
    return re.sub(rf"\]\({outside}(?!\.)", f"]({config.repo_url}/blob/main/", markdown)
