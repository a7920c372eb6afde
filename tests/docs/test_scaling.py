"""The arithmetic of docs/scaling.md is right, and its examples give what they say."""

from __future__ import annotations

import doctest
import json
import re
from pathlib import Path

import pytest

from jlocal.cluster.job import new_job, plan
from jlocal.cluster.run import run_part

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"
UNITS = {"M": 1e6, "G": 1e9, "TB": 1e12, "GB": 1e9}
ROW = re.compile(r"^\| (\d+ [MG]) \| ([\d,]+) \| ([\d,.]+) \|(.*)\|$", re.MULTILINE)
TEXTS = {
    "backup": "Restic backs up the server each night.",
    "empty": "",
    "cats": "Cats chase mice.",
}


def value(text: str) -> float:
    number, unit = text.split()
    return float(number.replace(",", "")) * UNITS[unit]


def test_the_table_is_computed_right() -> None:
    rows = ROW.findall(PAGE.read_text(encoding="utf-8"))
    assert len(rows) == 5
    for passages, node_hours, hours, sizes in rows:
        tokens = value(passages) * 200
        assert float(node_hours.replace(",", "")) == pytest.approx(tokens / 450 / 3600, rel=0.005)
        assert float(hours.replace(",", "")) == pytest.approx(tokens / 1e5 / 3600, rel=0.1)
        for size, each in zip(sizes.split("|"), (4096, 1024, 128), strict=True):
            assert value(size.strip()) == pytest.approx(value(passages) * each, rel=0.25)


@pytest.mark.slow
def test_the_examples_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("lancedb")
    pytest.importorskip("qdrant_client")
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"id": id, "text": text}) for id, text in TEXTS.items()]
    (tmp_path / "corpus.jsonl").write_text("\n".join(lines))
    job = new_job("corpus.jsonl", "vectors", "starter")
    assert run_part(job, plan(job)).errors == 1
    text = PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(>>>.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, PAGE.name, str(PAGE), 0)
    report: list[str] = []
    doctest.DocTestRunner(verbose=False).run(examples, out=report.append)
    assert not "".join(report)
