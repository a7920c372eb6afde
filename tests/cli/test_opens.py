"""A command opens its collection once to read it, and an indexing one once more to write."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jlocal import Collection
from jlocal.models.starter import FILE

pytestmark = pytest.mark.slow

_COUNTED = """
import sys
opened = []
def count(event, arguments):
    if event == "sqlite3.connect" and ".db?" in str(arguments[0]):
        opened.append(str(arguments[0]))
sys.addaudithook(count)
from jlocal.cli import main
try:
    main()
finally:
    print(len(opened), file=sys.stderr)
"""


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("opens")
    (folder / "notes").mkdir()
    (folder / "notes" / "a.txt").write_text("The cellar is dry.\n")
    with Collection(folder / "notes.db", FILE) as collection:
        collection.index(folder / "notes")
    return folder / "notes.db"


@pytest.mark.parametrize(
    ("arguments", "times"),
    [
        (["search", "cellar"], 1),
        (["search", "cellar", "--mode", "words"], 1),
        (["search", "cellar", "--in", "notes"], 1),
        (["status"], 1),
        (["update"], 2),
        (["index", "notes"], 2),
        (["index", "notes", "--dry-run"], 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_collection_is_opened_once(collection: Path, arguments: list[str], times: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _COUNTED, *arguments, "-d", collection],
        cwd=collection.parent, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == str(times)
