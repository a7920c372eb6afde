"""The examples of docs/integrations.md give what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from jlocal import extras
from support.pages import run_examples

PAGE = Path(__file__).parents[2] / "docs" / "integrations.md"
EXTRAS = (
    *("chroma", "haystack", "lancedb", "langchain", "llama-index", "llm", "mteb"),
    *("sentence-transformers", "txtai"),
)


@pytest.mark.slow
def test_the_examples_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if absent := [extra for extra in EXTRAS if not extras.is_installed(extra)]:
        pytest.skip(f"not installed: {', '.join(absent)}")
    pytest.importorskip("qdrant_client")
    monkeypatch.chdir(tmp_path)
    assert run_examples(PAGE) >= len(EXTRAS)


def test_the_page_names_every_extra() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"'jlocal[{extra}]'" in text for extra in EXTRAS)
