"""Collections in databases of llm: the program itself reads them."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jlocal import OutputError
from jlocal.collection.export import open_rows
from jlocal.collection.llm import export_to_llm
from jlocal.errors import ArgumentError, CollectionError
from support.collection_files import by_hand
from support.texts import AWKWARD

TEXTS = [text for text in AWKWARD.values() if text.strip()]
COUNT = 3 * len(TEXTS) + 2


@pytest.fixture
def database(tmp_path: Path) -> Path:
    texts = [("/a.md", TEXTS), ("/b.pdf", [f"b {text}" for text in TEXTS]), ("/c.html", ["x", "y"])]
    return by_hand(tmp_path / "notes.db", *texts, ("/twin.md", TEXTS))


def rows(database: Path) -> tuple[list[str], list[dict], list[str], np.ndarray]:
    """Ids, metadata, texts and vectors."""
    with open_rows(database) as (_, found):
        whole = list(found)
    columns = [dict(row.columns) for row in whole]
    return (
        [row.id for row in whole],
        columns,
        [row.text for row in whole],
        np.stack([row.vector for row in whole]),
    )


def jlocal(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jlocal", *map(str, arguments)],
        capture_output=True, text=True, check=False, encoding="utf-8",
    )  # fmt: skip


@pytest.fixture
def llm(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    home = tmp_path_factory.mktemp("llm")

    def run(*arguments: object, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "llm", *map(str, arguments)],
            capture_output=True, text=True, check=False, encoding="utf-8",
            env=os.environ | {"LLM_USER_PATH": str(home)},
        )  # fmt: skip
        assert done.returncode == status, done.stderr
        return done.stdout + done.stderr

    return run


def similar(llm, name: str, id: str, target: Path, count: int = 5) -> list[dict]:
    found = llm("similar", name, id, "-d", target, "-n", count)
    return [json.loads(line) for line in found.splitlines()]


@pytest.mark.slow
def test_llm_reads_it(llm, database: Path, tmp_path: Path) -> None:
    target = tmp_path / "llm.db"
    done = jlocal("export", "-d", database, "--llm", target)
    assert done.stderr == f"Wrote {COUNT} vectors to {target}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["llm.db", "notes.db"]
    before = target.read_bytes()
    (known,) = json.loads(llm("collections", "list", "-d", target, "--json"))
    assert known == {"name": "notes", "model": "jlocal/model", "num_embeddings": COUNT}
    ids, columns, texts, vectors = rows(database)
    at = 3
    hits = similar(llm, "notes", ids[at], target)
    scores = vectors @ vectors[at]
    scores[at] = -2
    order = np.argsort(-scores)[:5]
    np.testing.assert_allclose([hit["score"] for hit in hits], scores[order], atol=1e-5)
    for hit in hits:
        row = ids.index(hit["id"])
        assert hit["content"] == texts[row]
        assert hit["metadata"] == columns[row]
    assert "Unknown model" in llm("similar", "notes", "-c", "text", "-d", target, status=1)
    # llm finds nothing to bring up to date.
    assert target.read_bytes() == before


def schema(path: Path) -> list[tuple]:
    """What a database is made of, without the spelling."""
    connection = sqlite3.connect(path)
    found = []
    for table in ("collections", "embeddings", "_sqlite_migrations"):
        found += connection.execute(f"PRAGMA table_info({table})").fetchall()
        found += connection.execute(f"PRAGMA foreign_key_list({table})").fetchall()
        for index in connection.execute(f"PRAGMA index_list({table})").fetchall():
            found += [index, *connection.execute(f"PRAGMA index_info({index[1]})").fetchall()]
    found += connection.execute("SELECT migration_set, name FROM _sqlite_migrations").fetchall()
    connection.close()
    return found


def own_database(path: Path) -> None:
    """Make a database as llm makes it, with a collection in it."""
    import llm as package
    import sqlite_utils

    class Letters(package.EmbeddingModel):
        model_id = "letters"
        batch_size = 9

        def embed_batch(self, texts):
            return [[float(text.count(letter)) + 1 for letter in "abc"] for text in texts]

    collection = package.Collection("mine", sqlite_utils.Database(path), model=Letters())
    collection.embed_multi([("one", "aab"), ("two", "bcc")], store=True)
    collection.db.close()


@pytest.mark.slow
def test_the_tables_are_those_of_llm(database: Path, tmp_path: Path) -> None:
    own_database(tmp_path / "own.db")
    export_to_llm(database, tmp_path / "llm.db", "notes")
    assert schema(tmp_path / "llm.db") == schema(tmp_path / "own.db")


def test_llms_own_column_values(database: Path, tmp_path: Path) -> None:
    import llm as package

    export_to_llm(database, tmp_path / "llm.db", "notes")
    connection = sqlite3.connect(tmp_path / "llm.db")
    for embedding, content, content_hash, blob in connection.execute(
        "SELECT embedding, content, content_hash, content_blob FROM embeddings"
    ):
        assert package.encode(package.decode(embedding)) == embedding
        assert package.Collection.content_hash(content) == content_hash
        assert blob is None


@pytest.mark.slow
def test_a_collection_more(llm, database: Path, tmp_path: Path) -> None:
    target = tmp_path / "own.db"
    own_database(target)

    def mine() -> list[tuple]:
        connection = sqlite3.connect(target)
        found = connection.execute("SELECT * FROM embeddings WHERE collection_id = 1").fetchall()
        connection.close()
        return found

    before = mine()
    assert jlocal("export", "-d", database, "--llm", target, "--name", "notes").returncode == 0
    known = json.loads(llm("collections", "list", "-d", target, "--json"))
    assert [(row["name"], row["num_embeddings"]) for row in known] == [
        ("mine", 2),
        ("notes", COUNT),
    ]
    assert mine() == before
    assert [hit["id"] for hit in similar(llm, "mine", "one", target)] == ["two"]
    whole = target.read_bytes()
    for name in ("mine", "notes"):
        done = jlocal("export", "-d", database, "--llm", target, "--name", name)
        assert done.returncode == 1
        assert done.stderr.startswith(f"Error: {target} has a collection '{name}' already; ")
    assert target.read_bytes() == whole
    llm("collections", "delete", "notes", "-d", target)
    assert export_to_llm(database, target, "notes") == COUNT


def test_databases_that_do_not_fit(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "old.db"
    connection = sqlite3.connect(target)
    connection.executescript(
        "CREATE TABLE collections (id INTEGER PRIMARY KEY, name TEXT, model TEXT);"
        "CREATE TABLE embeddings (collection_id INTEGER, id TEXT, embedding BLOB, content TEXT);"
    )
    connection.close()
    before = target.read_bytes()
    with pytest.raises(OutputError, match=r"lacks content_hash, metadata, updated; .*llm coll"):
        export_to_llm(database, target, "notes")
    assert target.read_bytes() == before
    with pytest.raises(ArgumentError, match="is empty"):
        export_to_llm(database, tmp_path / "new.db", " ")


def dump(path: Path) -> list[str]:
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    found = list(connection.iterdump())
    connection.close()
    return found


@pytest.mark.slow
def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    """An error in the middle leaves the database of llm as it was."""
    documents = [(f"/{n}.txt", [f"{n} " + "x" * 9999]) for n in range(300)]
    path = by_hand(tmp_path / "hand.db", *documents)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE passage SET vector = zeroblob(12) WHERE id = 290")
    connection.commit()
    connection.close()
    own_database(tmp_path / "own.db")
    names = sorted(tmp_path.iterdir())
    before = dump(tmp_path / "own.db")
    for target in ("own.db", "new.db"):
        with pytest.raises(CollectionError, match="damaged"):
            export_to_llm(path, tmp_path / target, "notes")
    assert sorted(tmp_path.iterdir()) == names
    assert dump(tmp_path / "own.db") == before


def test_a_busy_database(database: Path, tmp_path: Path) -> None:
    target = tmp_path / "own.db"
    own_database(target)
    connection = sqlite3.connect(target)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(
        OutputError, match=r"own\.db is in use by another process; nothing in it was changed"
    ):
        export_to_llm(database, target, "notes", wait=0.1)
    connection.close()


@pytest.mark.slow
def test_killed(tmp_path: Path) -> None:
    """A killed export leaves a database that SQLite puts right when it is opened."""
    documents = [(f"/{n}.txt", [f"{n} " + "x" * 20_000]) for n in range(1000)]
    path = by_hand(tmp_path / "hand.db", *documents)
    own_database(tmp_path / "own.db")
    before = dump(tmp_path / "own.db")
    code = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom jlocal.collection import llm\n"
        "rows = llm.open_rows\nfrom contextlib import contextmanager\n"
        "def some(found):\n"
        "    for number, row in enumerate(found):\n"
        "        if number == 900: os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield row\n"
        "@contextmanager\ndef until(path):\n"
        "    with rows(path) as (config, found): yield config, some(found)\n"
        "llm.open_rows = until\n"
        "llm.export_to_llm(Path(sys.argv[1]), Path(sys.argv[2]), 'notes')\n"
    )
    for name in ("own.db", "new.db"):
        done = subprocess.run([sys.executable, "-c", code, path, tmp_path / name], check=False)
        assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "new.db").exists()
    assert dump(tmp_path / "own.db") == before


@pytest.mark.parametrize(
    "statements",
    [
        "ALTER TABLE embeddings RENAME TO x; CREATE VIEW embeddings AS SELECT * FROM x;"
        "CREATE TRIGGER t INSTEAD OF INSERT ON embeddings BEGIN DELETE FROM precious; END;",
        "ALTER TABLE collections RENAME TO x; CREATE VIEW collections AS WITH RECURSIVE "
        "n (i) AS (SELECT 1 UNION ALL SELECT i FROM n) SELECT i AS id, 'x' AS name, 'y' AS model "
        "FROM n;",
        "CREATE TRIGGER t AFTER INSERT ON Embeddings BEGIN DELETE FROM precious; END;",
        "CREATE TRIGGER t BEFORE INSERT ON collections BEGIN DELETE FROM precious; END;",
        "ALTER TABLE embeddings ADD COLUMN x AS (zeroblob(1000000000));",
        "ALTER TABLE embeddings ADD COLUMN x TEXT CHECK (length(zeroblob(400000000)) > 1);",
        "CREATE INDEX i ON embeddings (length(zeroblob(400000000)));",
        "CREATE INDEX i ON embeddings (id) WHERE length(zeroblob(400000000)) > 1;",
    ],
)
def test_nothing_in_the_database_runs(statements: str, database: Path, tmp_path: Path) -> None:
    """Whoever made it may have put a view or a trigger where llm has a table."""
    target = tmp_path / "own.db"
    own_database(target)
    connection = sqlite3.connect(target)
    connection.executescript(
        f"CREATE TABLE precious (x); INSERT INTO precious VALUES (1); {statements}"
    )
    connection.close()
    before = target.read_bytes()
    with pytest.raises(
        OutputError, match=r"not an embeddings database of llm: .*; name another file"
    ):
        export_to_llm(database, target, "notes")
    assert target.read_bytes() == before


def test_what_else_the_database_holds_stays(database: Path, tmp_path: Path) -> None:
    """llm keeps its log, with triggers and virtual tables, in such a file as well."""
    target = tmp_path / "own.db"
    own_database(target)
    connection = sqlite3.connect(target)
    connection.executescript(
        "CREATE TABLE responses (x); CREATE VIRTUAL TABLE f USING fts5 (x);"
        "CREATE TRIGGER t AFTER INSERT ON responses BEGIN INSERT INTO f VALUES (new.x); END;"
        "CREATE VIEW v AS SELECT * FROM embeddings; CREATE INDEX i ON embeddings (updated);"
    )
    connection.close()
    assert export_to_llm(database, target, "notes") == COUNT
