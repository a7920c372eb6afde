"""Every example runs, and prints what it should."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[2] / "examples"
PRINTED = {
    "collection.py": ["3 tickets", "T1", "T2", "['T2', 'T3']"],
    "convert_and_verify.py": ["15.8 MB and 8.6 MB", "the lowest cosine is above 0.99: True"],
    "embed_and_search.py": ["(3, 256) float32", "The apple tree is pruned in February."],
    "search_notes.sh": [
        "notes/meetings/2024-03-12 backup strategy.md",
        "notes/garden/sowing calendar.md",
        "How many documents: 61",
    ],
    "semantic_search.py": ["A woman plays the violin.", "Two dogs run on the beach."],
}


def test_all_examples_are_run() -> None:
    assert sorted(PRINTED) == sorted(
        path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")
    )


@pytest.mark.parametrize("name", PRINTED)
def test_an_example_prints_what_it_should(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("JLOCAL_DATABASE", "JLOCAL_MODEL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    program = sys.executable if name.endswith(".py") else shutil.which("sh")
    if program is None:
        pytest.skip("there is no shell")
    done = subprocess.run(
        [program, EXAMPLES / name], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.splitlines() == PRINTED[name], done.stderr
