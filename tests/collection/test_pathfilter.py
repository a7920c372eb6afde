"""Limiting a search to documents by their paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from jlocal.collection.search.pathfilter import path_filter

JAPAN = "/home/ann/notes/Travel/Japan 2023/kyoto.md"


@pytest.mark.parametrize(
    ("glob", "is_meant"),
    [
        ("travel", True),
        ("Travel", True),
        ("TRAVEL", False),
        ("travel/", True),
        ("kyoto.md/", False),
        ("tra*", True),
        ("*.md", True),
        ("kyoto.md", True),
        ("kyoto", False),
        ("*.txt", False),
        ("rav", False),
        ("travel/*", True),
        ("travel/japan 2023", True),
        ("travel/japan 2023/", True),
        ("./travel/", True),
        ("japan 2023/kyoto.md", True),
        ("notes/*/kyoto.md", True),
        ("notes/kyoto.md", False),
        ("avel/*", False),
        ("/home/ann/notes", True),
        ("/notes", False),
        ("[kK]yoto.*", True),
        ("", False),
        ("/", True),
    ],
)
def test_globs(glob: str, is_meant: bool) -> None:
    assert path_filter(glob)(JAPAN) == is_meant


def test_home_accents_and_functions(monkeypatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert path_filter("~/notes")(JAPAN)
    assert path_filter("~/notes/")(JAPAN)
    assert not path_filter("~/other")(JAPAN)
    assert path_filter("cafe\u0301")("/d/café/x.md")
    assert path_filter("café")("/d/cafe\u0301/x.md")
    assert path_filter(None)(JAPAN)
    assert path_filter(lambda path: Path(path).suffix == ".md")(JAPAN)
