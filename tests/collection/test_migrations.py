"""Collections of older formats are brought to the newest one, wholly or not at all."""

from __future__ import annotations

import json
import lzma
import os
import signal
import sqlite3
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from jlocal import Collection, CollectionError, MigrationWarning
from jlocal._version import __version__
from jlocal.collection.database.migrations import MIGRATIONS, m002_words_and_headings
from jlocal.collection.database.schema import VERSION
from jlocal.collection.database.store import Store
from jlocal.collection.search.ranking import search
from jlocal.models.starter import FILE
from support.collection_files import check
from support.disks import fill, read_only

FROZEN = Path(__file__).parents[1] / "data" / "collections"
FORMATS = range(1, VERSION + 1)
IN_C_LOCALE = ("1-c-locale", "2-c-locale")


def thaw(format: int | str, folder: Path) -> Path:
    """A collection as the jlocal of that format wrote it."""
    path = folder / "old.db"
    path.write_bytes(lzma.decompress((FROZEN / f"format-{format}.db.xz").read_bytes()))
    return path


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A collection of format 1."""
    return thaw(1, tmp_path)


def said(path: Path) -> list[tuple]:
    """All that both formats say."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT path, stamp, content.sha256, record, first_line, last_line, passage.sha256, "
            "vector, text FROM document JOIN content ON content.id = content_id "
            "JOIN chunk USING (content_id) JOIN passage ON passage.id = passage_id "
            "ORDER BY path, record, start"
        ).fetchall()


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def recorded(path: Path) -> list[dict[str, str]]:
    """The steps that a file says it went through."""
    with closing(sqlite3.connect(path)) as connection:
        row = connection.execute("SELECT value FROM setting WHERE key = 'migrations'").fetchone()
        return json.loads(row[0]) if row else []


def found(store: Store, query: str) -> list[str]:
    return [store.text(int(id))[1] for id in store.words(query).best(1000)]


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_becomes_the_newest(format: int, tmp_path: Path) -> None:
    path = thaw(format, tmp_path)
    assert version(path) == format
    before, began = said(path), datetime.now(timezone.utc).replace(microsecond=0)
    with Collection(path) as collection:
        assert "greenhouse" in collection.search("greenhouse", mode="words")[0].text
        assert collection.search("黒猫", mode="words")
    assert version(path) == VERSION
    assert said(path) == before
    check(path)
    steps = recorded(path)
    assert [step["name"] for step in steps] == [step.name for step in MIGRATIONS[format - 1 :]]
    for step in steps:
        assert began <= datetime.fromisoformat(step["applied_at"]) <= datetime.now(timezone.utc)
        assert step["jlocal"] == __version__


def test_the_tables_of_today_are_those_of_the_newest_frozen_file(tmp_path: Path) -> None:
    """Whoever changes them makes a new format, a step to it, and a frozen file of it."""
    assert len(MIGRATIONS) == VERSION - 1
    names = {f"format-{format}.db.xz" for format in (*FORMATS, *IN_C_LOCALE)}
    assert {path.name for path in FROZEN.iterdir()} == names
    path = thaw(VERSION, tmp_path)
    before = path.read_bytes()
    with closing(Store(path)) as store:
        (id,) = store.added()
        document = store.document(id)
        assert document
        assert document.metadata == {"n": 1}
        assert [folder["exclude"] for folder in store.folders().values()] == [["*.log"]]
        # As it was removed: kept, and found by nobody.
        assert store.count_kept() == 1
    assert path.read_bytes() == before


def test_steps_are_named_and_in_order() -> None:
    """The name of a step begins with the format that it makes, and no step is put between."""
    names = ["m002_words_and_headings", "m003_paths_are_text"]
    assert [step.name for step in MIGRATIONS[:2]] == names
    for number, step in enumerate(MIGRATIONS, 2):
        assert step.name.startswith(f"m{number:03d}_")


# Paths that earlier versions wrote in a C locale


def stored_paths(path: Path, table: str = "document") -> list[object]:
    with closing(sqlite3.connect(path)) as connection:
        return [value for (value,) in connection.execute(f"SELECT path FROM {table} ORDER BY 1")]


def test_documents_of_a_c_locale_are_those_of_any_other(tmp_path: Path) -> None:
    path = thaw("1-c-locale", tmp_path)
    folder = "/tmp/Füße"
    latin1 = f"{folder}/".encode() + b"Men\xfc.md"
    with Collection(path) as collection:
        assert collection.search("roses", mode="words")[0].path == f"{folder}/Gärten/Rosen.md"
        assert collection.search("greenhouse", mode="words")[0].path == f"{folder}/猫.txt"
        assert collection.search("soups", mode="words")[0].path == os.fsdecode(latin1)
        # A word of paths, and a glob.
        assert collection.search("gärten", mode="words")
        assert len(collection.search("notes", path="gärten/*", mode="words")) <= 1
        assert collection.get(f"{folder}/Gärten/Rosen.md")
    names = [f"{folder}/{name}" for name in ("Gärten/Rosen.md", "plain.md", "猫.txt")]
    assert stored_paths(path) == [*names, latin1]
    check(path)


def test_a_file_that_a_run_in_a_c_locale_could_not_use_can_be_used(tmp_path: Path) -> None:
    path = thaw("2-c-locale", tmp_path)
    assert stored_paths(path, "folder") == ["/tmp/Füße".encode()]
    with Collection(path) as collection:
        assert collection.folders()["/tmp/Füße"].exclude == ("*äx*",)
        made = collection.made_with()
        assert made
        assert made.model_path == "/tmp/modèle.gguf"
        collection.forget("/tmp/Füße")
        assert collection.folders() == {}
    assert stored_paths(path, "model_file") == ["/tmp/modèle.gguf"]


@pytest.mark.parametrize("format", [1, 2])
def test_a_document_that_two_locales_wrote_is_there_once(format: int, tmp_path: Path) -> None:
    path = thaw(format, tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (name, *_) = next(row for row in said(path) if "greenhouse" in row[-1])
        connection.execute(
            "INSERT INTO document (path, stamp, content_id) "
            "SELECT CAST(path AS BLOB), NULL, content_id FROM document WHERE path = ?", (name,)
        )  # fmt: skip
    with Collection(path) as collection:
        # A word may be in several documents: this one is among them once.
        found = [hit.path for hit in collection.search("greenhouse", mode="words")]
        assert found.count(name) == stored_paths(path).count(name) == 1
        assert name.encode() not in stored_paths(path)
    check(path)


@pytest.mark.parametrize("damage", ["[\\ud", '"' + "[" * 100_000 + "\\ud", b"\\ud"])
def test_a_damaged_setting_stays_as_it_is(damage: object, tmp_path: Path) -> None:
    path = thaw(2, tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO setting VALUES ('other', ?)", (damage,))
    Store(path).close()
    with closing(sqlite3.connect(path)) as connection:
        statement = "SELECT value FROM setting WHERE key = 'other'"
        assert connection.execute(statement).fetchone() == (damage,)


def test_a_file_in_which_nothing_was_indexed_is_migrated(old: Path) -> None:
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        for table in ("chunk", "document", "content", "passage", "code", "setting"):
            connection.execute(f"DELETE FROM {table}")
    with closing(Store(old)) as store:
        assert store.config() is None
    assert version(old) == VERSION


@pytest.mark.parametrize("damage", ["7", "[", "[" * 100_000, "null", b"\xff"])
def test_a_damaged_record_of_steps_is_begun_anew(old: Path, damage: object) -> None:
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("INSERT INTO setting VALUES ('migrations', ?)", (damage,))
    Store(old).close()
    assert [step["name"] for step in recorded(old)] == [step.name for step in MIGRATIONS]
    check(old)


def test_a_search_migrates_and_finds_words(old: Path) -> None:
    before = said(old)
    assert version(old) == 1
    with closing(Store(old)) as store:
        vector = np.frombuffer(before[0][7], "<f4")
        assert search(store, vector, 1)[0].path.endswith("backups.md")
        assert "greenhouse" in found(store, "Greenhouse")[0]
        assert "黒猫" in found(store, "黒猫")[0]
        assert "Café" in found(store, "cafe")[0]
        # Removed before: the vector is kept, and nothing finds it.
        assert store.count_kept() == 1
        assert found(store, "upgrade") == []
        assert len(store.path_words("garden").best(1000)) == 1
        assert store.folders() == {}
        assert list(store.added()) == []
        assert len(list(store.paths())) == store.count_documents() == 8
    assert version(old) == VERSION
    assert said(old) == before
    check(old)


def test_what_the_version_before_embedded_is_not_embedded_again(old: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "packing.txt").write_text("Packing list: passport, rain coat, two books.\n")
    with Collection(old, FILE) as collection:
        report = collection.index(notes)
        assert (report.new, report.embedded) == (1, 0)
        assert collection.search("What is in the suitcase?", n=30)
    check(old)


# Kills itself in place of a statement, the first of which is number 0.
_KILLED = """
import os, signal, sys
from pathlib import Path
from jlocal.collection.database import connect
from jlocal.collection.database.store import Store
left = int(sys.argv[2])
class Counting(connect.Connection):
    def _count(self):
        global left
        if counting:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    def execute(self, *arguments):
        self._count()
        return super().execute(*arguments)
    def executemany(self, statement, rows):
        return super().executemany(statement, (self._count() or row for row in rows))
counting = False
def migrate(connection, path):
    global counting
    # Pages are written before the transaction ends.
    connection.execute("PRAGMA cache_size = 1")
    counting = True
    original(connection, path)
original, connect.migrate = connect.migrate, migrate
connect.Connection = Counting
Store(Path(sys.argv[1]))
print("done")
"""


@pytest.mark.slow
def test_killed_at_each_step(old: Path, tmp_path: Path) -> None:
    before, outcomes, statement = said(old), [], 0
    while not outcomes or outcomes[-1] != (0, VERSION):
        path = tmp_path / "killed.db"
        for left in tmp_path.glob("killed.db*"):
            left.unlink()
        path.write_bytes(old.read_bytes())
        done = subprocess.run(
            [sys.executable, "-c", _KILLED, path, str(statement)], capture_output=True, check=False
        )
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        outcomes.append((done.returncode, version(path)))
        assert said(path) == before
        Store(path).close()
        assert said(path) == before
        check(path)
        statement += 5
    assert outcomes.count((-signal.SIGKILL, 1)) >= 4


def test_many_open_it_at_once(old: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        stores = list(pool.map(lambda _: Store(old), range(8)))
    assert [len(found(store, "roses")) for store in stores] == [1] * 8
    for store in stores:
        store.close()
    check(old)


def test_a_large_one_is_told(old: Path) -> None:
    with closing(sqlite3.connect(old, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        with pytest.warns(MigrationWarning, match="the words of its 9 passages are written first"):
            m002_words_and_headings(connection, many=8)
        connection.execute("ROLLBACK")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            Store(old).close()
    check(old)


def test_where_it_cannot_be_written_it_says_what_to_do(old: Path, tmp_path: Path) -> None:
    folder = tmp_path / "medium"
    folder.mkdir()
    path = old.rename(folder / "old.db")
    before = path.read_bytes()
    with read_only(folder), pytest.raises(CollectionError) as error:
        Store(path)
    assert "was made by an older jlocal" in str(error.value)
    assert "copy it into a folder that can be written" in str(error.value)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    Store(path).close()
    check(path)


def test_on_a_full_disk_it_stays_as_it_was(old: Path, small_disk: Path) -> None:
    path = small_disk / "old.db"
    path.write_bytes(old.read_bytes())
    fill(small_disk)
    with pytest.raises(CollectionError, match=r"was made by an older jlocal.* make room"):
        Store(path)
    assert path.read_bytes() == old.read_bytes()
    (small_disk / "filler").unlink()
    Store(path).close()
    check(path)


def test_only_tables_of_that_format_are_migrated(old: Path) -> None:
    with closing(sqlite3.connect(old)) as connection:
        connection.execute("CREATE TRIGGER t AFTER UPDATE ON setting BEGIN SELECT 1; END")
    with pytest.raises(CollectionError, match="another trigger t"):
        Store(old)
    assert version(old) == 1


def test_damage_is_found_before_anything_is_written(old: Path) -> None:
    data = bytearray(old.read_bytes())
    with closing(sqlite3.connect(old)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'passage'"
        ).fetchone()
    data[(root - 1) * 4096 : root * 4096] = b"x" * 4096
    old.write_bytes(data)
    with pytest.raises(CollectionError, match="damaged; delete it and index again"):
        Store(old)
    assert version(old) == 1
