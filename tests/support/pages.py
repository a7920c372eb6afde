"""The code in the pages of docs/."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

_DOCS = Path(__file__).parents[2] / "docs"


def code(page: str, language: str) -> list[str]:
    """Return the blocks of a page in a language."""
    text = (_DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def for_server(block: str, url: str) -> str:
    """Return a block that asks the server at a URL, for the model starter."""
    block = block.replace("http://127.0.0.1:8080", url)
    return re.sub(r'\bsmall(?=[":\\\\])', "starter", block)


def run_examples(page: Path) -> int:
    """Run the Python of a page as one session; return the number of its blocks."""
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page.name, str(page), 0)
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(examples, out=report.append)
    assert not "".join(report)
    return len(blocks)
