"""The examples of docs/python.md give what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import jlocal
from jlocal.collection.database.metadata import _TESTS
from support.pages import run_examples

PAGE = Path(__file__).parents[2] / "docs" / "python.md"


@pytest.mark.slow
def test_the_examples_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path / "home"))
    assert run_examples(PAGE) >= 5


def test_the_page_names_all_conditions() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in _TESTS)


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = ("click", "llama_cpp", "numpy", "sqlite3", "torch")
    code = f"import sys, jlocal; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_all_exported_names_are_there() -> None:
    assert [name for name in jlocal.__all__ if not hasattr(jlocal, name)] == []
    assert jlocal.__all__ == sorted(jlocal.__all__)
    assert (Path(jlocal.__file__).parent / "py.typed").is_file()
