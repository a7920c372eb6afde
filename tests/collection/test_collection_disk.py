"""Collections on disks that are full, read-only or cut off."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from jlocal import Collection, CollectionError
from jlocal.collection.database.batch import Batch
from jlocal.collection.database.store import Store
from jlocal.collection.export import open_rows
from jlocal.collection.search.ranking import search
from jlocal.map.picture import draw
from support.collection_files import by_hand, check
from support.disks import fill, read_only

QUERY = np.eye(1, 8, dtype=np.float32)[0]

# Python keeps compiled modules, even those that it could write only in part.
UNCOMPILED = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}

# A process that is killed leaves what it wrote in the log beside the file.
_KILLED = """
import os, sys
from pathlib import Path
from jlocal.collection.database.batch import Batch
from jlocal.collection.database.store import Store
store = Store(Path(sys.argv[1]))
store.write(Batch(removed=["/n/removed.md"]))
os._exit(0)
"""


def made(path: Path, *, killed: bool) -> Path:
    """Make a collection of which a search finds two passages."""
    names = ["/n/a.md", "/n/b.md"] + ["/n/removed.md"] * killed
    by_hand(path, *((name, [name]) for name in names))
    if killed:
        subprocess.run([sys.executable, "-c", _KILLED, path], check=True)
        assert path.with_name(f"{path.name}-wal").stat().st_size
    return path


def found(path: Path) -> list[str]:
    store = Store(path)
    try:
        return sorted(hit.path for hit in search(store, QUERY, 10))
    finally:
        store.close()


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_a_full_disk_does_not_prevent_searching(small_disk, killed: bool, shared: bool) -> None:
    path = made(small_disk / "c.db", killed=killed)
    if not shared:
        path.with_name("c.db-shm").unlink(missing_ok=True)
    fill(small_disk)
    for _ in range(2):
        assert found(path) == ["/n/a.md", "/n/b.md"]
    assert draw(path).total == 2
    with open_rows(path) as (_, rows):
        assert len(list(rows)) == 2
    store = Store(path)
    # What a killed process has left may have room for a little more.
    assert store.is_alone or killed
    if store.is_alone:
        with pytest.raises(CollectionError, match="make room and run it again"):
            store.write(Batch(removed=["/n/a.md"]))
    store.close()
    # When there is room again, it is written as before.
    (small_disk / "filler").unlink()
    store = Store(path)
    store.write(Batch(removed=["/n/a.md"]))
    store.close()
    assert found(path) == ["/n/b.md"]
    assert not list(small_disk.glob("c.db-*"))


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_a_process_that_may_write_no_files_can_search(tmp_path: Path, killed: bool) -> None:
    path = made(tmp_path / "c.db", killed=killed)
    code = (
        "import sys; from pathlib import Path; sys.path += sys.argv[2:]; "
        "from test_collection_disk import found; print(len(found(Path(sys.argv[1]))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path, *Path(__file__).parents[:2]],
        env=UNCOMPILED,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000)),
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "2\n"


@pytest.mark.slow
def test_a_collection_that_a_full_disk_left_without_tables_can_be_indexed(
    tmp_path: Path, model_file: Path
) -> None:
    (tmp_path / "a.txt").write_text("a cat")
    command = [sys.executable, "-m", "jlocal", "index", "a.txt", "-d", "c.db"]
    command += ["-m", str(model_file)]
    limited = subprocess.run(
        command,
        cwd=tmp_path,
        env=UNCOMPILED,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)),
        stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    assert limited.returncode == 1
    assert "may be full" in limited.stderr
    assert (tmp_path / "c.db").stat().st_size == 4096
    done = subprocess.run(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, check=False)
    assert "1 of 1 file" in done.stderr
    assert done.returncode == 0


@pytest.mark.slow
def test_a_log_in_a_read_only_folder_is_explained(tmp_path: Path) -> None:
    original = made(tmp_path / "c.db", killed=True)
    folder = tmp_path / "medium"
    folder.mkdir()
    for name in ("c.db", "c.db-wal"):
        shutil.copy(original.with_name(name), folder)
    with read_only(folder):
        with pytest.raises(CollectionError) as error:
            found(folder / "c.db")
        message = str(error.value)
        assert "c.db-wal" in message
        assert "read-only" in message
        assert "copy both into a folder that can be written" in message
        assert "\n" not in message
    shutil.copytree(folder, tmp_path / "copy")
    assert found(tmp_path / "copy" / "c.db") == ["/n/a.md", "/n/b.md"]
    # An empty log holds nothing.
    (folder / "c.db-wal").write_bytes(b"")
    with read_only(folder):
        assert len(found(folder / "c.db")) == 3


def test_what_cannot_be_written_on_a_read_only_disk_has_a_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "medium"
    folder.mkdir()
    path = made(folder / "c.db", killed=False)
    new = folder / "new.db"
    reason = "(Read-only file system|Permission denied)"
    copy = "it can still be searched; to change it, copy it into a folder that can be written"
    writing: list[Callable[[Collection], object]] = [
        lambda collection: collection.index(tmp_path),
        lambda collection: collection.update(),
        lambda collection: collection.index(rebuild=True),
        lambda collection: collection.add("a text"),
        lambda collection: collection.delete("/n/a.md"),
        lambda collection: collection.forget("/n"),
        lambda collection: collection.compact(),
    ]
    with read_only(folder):
        for write in writing:
            with Collection(path) as collection, pytest.raises(CollectionError) as error:
                write(collection)
            assert re.fullmatch(rf"cannot write {path}: {reason}; {copy}", str(error.value))
        elsewhere = "name a file in a folder that can be written"
        with Collection(new) as collection, pytest.raises(CollectionError) as error:
            collection.add("a text")
        assert re.fullmatch(rf"cannot write {new}: {reason}; {elsewhere}", str(error.value))
        monkeypatch.setenv("JLOCAL_HOME", str(folder))
        with Collection() as collection, pytest.raises(CollectionError) as error:
            collection.add("a text")
        elsewhere = "let JLOCAL_HOME name a folder that can be written"
        assert re.fullmatch(rf"cannot make {folder}\S+: {reason}; {elsewhere}", str(error.value))


def test_what_is_written_is_on_the_disk_when_the_call_returns(tmp_path: Path) -> None:
    """In this mode SQLite waits for the disk with each commit, and so a power cut loses none."""
    store = Store(made(tmp_path / "c.db", killed=False))
    assert store._value("PRAGMA journal_mode") == "wal"
    assert store._value("PRAGMA synchronous") == 2  # FULL
    assert store._value("PRAGMA fullfsync") == 1
    store.close()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_each_commit_waits_for_the_disk(tmp_path: Path) -> None:
    path = made(tmp_path / "c.db", killed=False)
    code = (
        "import sys; from pathlib import Path; "
        "from jlocal.collection.database.batch import Batch, Entry; "
        "from jlocal.collection.database.store import Store; "
        "from jlocal.collection.database.values import digest_of; "
        "store = Store(Path(sys.argv[1])); "
        "[store.write(Batch(entries=[Entry(str(n), None, digest_of(str(n)))])) for n in range(5)]; "
        "import os; os._exit(0)"
    )
    done = subprocess.run(
        ["strace", "-f", "-e", "fsync,fdatasync", sys.executable, "-c", code, path],
        stderr=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    assert done.stderr.count("sync(") >= 5


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_text_that_is_added_waits_for_the_disk_twice(tmp_path: Path) -> None:
    """For its commit, and for the folder of the log; only the last close writes the file."""
    code = (
        "import os, sys; from jlocal import Collection; from jlocal.models.starter import FILE\n"
        "with Collection(sys.argv[1], FILE) as collection:\n"
        "    for number in range(6):\n"
        "        collection.add(f'Text number {number}.', ids=str(number))\n"
        "        os.mkdir(f'{sys.argv[1]}.{number}')\n"
        "    collection.delete('5')\n"
        "    os.mkdir(f'{sys.argv[1]}.6')\n"
    )
    done = subprocess.run(
        ["strace", "-f", "-e", "trace=fsync,fdatasync,mkdir", sys.executable, "-c", code,
         tmp_path / "c.db"],
        stderr=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    _, *calls = re.split(r'mkdir\("\S+c\.db\.\d', done.stderr)
    counts = [call.count("sync(") for call in calls[:-1]]
    assert len(counts) == 6
    assert set(counts) <= {1, 2}
    check(tmp_path / "c.db")
    assert not list(tmp_path.glob("c.db-*"))


@pytest.mark.slow
def test_compacting_frees_a_disk_that_is_nearly_full(small_disk: Path) -> None:
    """Deleting and writing anew take less room than the file had."""
    texts = [f"A secret, number {number}. " * 40 for number in range(4000)]
    path = by_hand(small_disk / "c.db", ("/n/gone.md", texts), ("/n/left.md", ["left"]))
    store = Store(path)
    store.write(Batch(removed=["/n/gone.md"]))
    store.close()
    size = path.stat().st_size
    room = shutil.disk_usage(small_disk).free
    (small_disk / "filler").write_bytes(bytes(room - size // 2))
    with Collection(path) as collection:
        report = collection.compact()
    assert (report.texts, report.reason) == (4000, None)
    assert report.freed > 0.9 * size
    check(path)
