"""Making a collection anew: the old one answers until the new one is complete, nothing is lost."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from jlocal import Collection, CollectionError, Embedder
from jlocal.collection.index import rebuild
from jlocal.collection.index.rebuild import file_beside, unfinished
from jlocal.errors import EmptyCollectionError, MissingCollectionError, OtherConfigError
from support.collection_files import check

pytestmark = pytest.mark.slow

# Embeds one passage, and is then stopped from outside.
INTERRUPTED = """
import sys
from jlocal import Collection

def on_progress(progress):
    if progress.embedded:
        print("embedded", flush=True)
        sys.stdin.read()
with Collection(sys.argv[1], sys.argv[2]) as collection:
    collection.index(rebuild=True, chunk=48, on_progress=on_progress)
"""


@pytest.fixture(scope="module")
def model_file(converted) -> Path:
    """Return one with the whole vocabulary: with few tokens two of these notes share a passage."""
    return converted("qwen3", "retrieval", "F32", whole=True)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(40):
        words = " ".join(f"word{number + k}" for k in range(number))
        (folder / f"{number:02}.md").write_text(f"Note {number}. {words}")
    return folder


@pytest.fixture
def collection(tmp_path: Path, model: Embedder, notes: Path):
    with Collection(tmp_path / "notes.db", model) as collection:
        assert collection.index(notes, chunk=64, overlap=0).failed == 0
        yield collection


def names(collection: Collection) -> set[str]:
    return {Path(hit.path).name for hit in collection.search("note", 100)}


def test_other_chunks(collection: Collection, notes: Path, tmp_path: Path) -> None:
    with pytest.raises(OtherConfigError, match="rebuild=True"):
        collection.index(notes, chunk=32)
    passages = collection.status().passages
    with Collection(collection.path, collection.model) as reader:
        before = reader.search("note 7", 3)
        report = collection.index(rebuild=True, chunk=32)
        assert (report.new, report.failed) == (40, 0)
        # Who had it open sees the new one.
        assert reader.config.chunk == 32
        assert reader.status().passages > passages
        assert reader.search("note 7", 3)[0].path == before[0].path
    assert collection.folders().keys() == {str(notes)}
    assert len(names(collection)) == 40
    assert collection.update().unchanged == 40
    check(collection.path)
    assert {path.name for path in tmp_path.iterdir()} <= {
        "notes", "notes.db", "notes.db-shm", "notes.db-wal",
    }  # fmt: skip


def test_texts_that_are_cut_as_before_are_not_computed_again(collection: Collection) -> None:
    passages = collection.status().passages
    embedded = collection.index(rebuild=True, chunk=96).embedded
    assert 0 < embedded < passages


def test_another_model(collection: Collection, converted, notes: Path) -> None:
    with Embedder(converted("eurobert", "retrieval", "F32")) as other:
        with Collection(collection.path, other) as wrong:
            with pytest.raises(OtherConfigError, match="is another file"):
                wrong.index(notes)
            report = wrong.index(rebuild=True)
            assert report.embedded == wrong.status().passages
            assert wrong.config.model == other.profile.name
            assert len(names(wrong)) == 40
        # With the old one it cannot be searched any more.
        with pytest.raises(OtherConfigError):
            collection.search("note")


def test_a_search_that_meets_a_rebuild_answers_from_the_old_or_the_new_one(
    collection: Collection, converted, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = collection.path
    files = [converted(name, "retrieval", "F32") for name in ("eurobert", "qwen3")]
    encode, due = Embedder.encode_query, [files[0]]

    def rebuilt(*arguments, **options):
        """Embed the query, and make the collection anew before it is compared."""
        vectors = encode(*arguments, **options)
        if due:
            with Collection(path, due.pop()) as other:
                other.index(rebuild=True)
        return vectors

    monkeypatch.setattr(Embedder, "encode_query", rebuilt)
    with Collection(path) as reader:
        old = reader.config.model_sha256
        assert len(reader.search("note", 100, mode="meaning")) == 40
        assert reader.config.model_sha256 != old

        def chosen(_: str) -> bool:
            """Make it anew while a search reads it."""
            while files:
                with Collection(path, files.pop()) as other:
                    other.index(rebuild=True)
            return True

        assert len(reader.search("note", 100, chosen)) == 40
        assert reader.config.model_path == str(converted("eurobert", "retrieval", "F32"))
        assert len(reader.search("note", 100)) == 40
    check(path)


def test_documents_that_cannot_be_read_any_more_are_not_lost(
    collection: Collection, notes: Path
) -> None:
    long = "water " * (collection.model.max_seq_length + 1)
    (notes / "07.md").write_text(long)
    collection.update()
    with pytest.raises(CollectionError, match=r"without losing \S+07\.md: .*prune=True") as error:
        collection.index(rebuild=True, chunk=None)
    assert "\n" not in str(error.value)
    assert collection.config.chunk == 64
    assert "07.md" in names(collection)
    # What was computed is used.
    (notes / "07.md").write_text("Short now.")
    report = collection.index(rebuild=True, chunk=None)
    assert (report.failed, report.embedded) == (0, 1)
    assert len(names(collection)) == 40
    (notes / "07.md").write_text(long)
    report = collection.index(rebuild=True, chunk=None, prune=True)
    assert report.failed == 1
    assert len(names(collection)) == 39


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_documents_in_a_closed_folder_are_not_lost(collection: Collection, notes: Path) -> None:
    (notes / "inner").mkdir()
    (notes / "inner" / "a.md").write_text("note inside")
    collection.update()
    (notes / "inner").chmod(0)
    try:
        with pytest.raises(CollectionError, match=r"without losing \S+a\.md: Permission denied"):
            collection.index(rebuild=True, chunk=32)
    finally:
        (notes / "inner").chmod(0o700)
    assert len(collection) == 41


def test_an_interrupted_rebuild_goes_on(
    collection: Collection, model_file: Path, notes: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, collection.path, model_file],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as child:  # fmt: skip
        assert child.stdout.readline() == b"embedded\n"
        # The old one answers meanwhile.
        assert collection.config.chunk == 64
        assert len(names(collection)) == 40
        child.kill()
    assert unfinished(collection.path).chunk == 48
    assert collection.status().is_rebuilt
    # It goes on as it was begun.
    report = collection.index(rebuild=True)
    assert collection.config.chunk == 48
    assert report.embedded < collection.status().passages
    assert not file_beside(collection.path).exists()
    assert len(names(collection)) == 40


def test_a_disk_that_is_not_mounted_loses_nothing(
    collection: Collection, notes: Path, tmp_path: Path
) -> None:
    notes.rename(tmp_path / "away")
    with pytest.raises(CollectionError, match=r"no file is left in .*notes, whose 40 documents"):
        collection.index(rebuild=True, chunk=32)
    assert collection.config.chunk == 64
    (tmp_path / "other").mkdir()
    (tmp_path / "other/o.md").write_text("other note")
    report = collection.index(tmp_path / "other", rebuild=True, chunk=32, prune=True)
    assert report.new == 1
    assert names(collection) == {"o.md"}
    assert collection.folders().keys() == {str(tmp_path / "other")}


def test_a_full_disk_leaves_the_old_one(collection: Collection, notes: Path) -> None:
    """The new one is complete, and cannot take its place."""
    if sys.platform != "linux":
        pytest.skip("needs a limit of the size of files")
    code = (
        "import resource, signal, sys\nfrom jlocal import Collection\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "size = int(sys.argv[3])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"
        "with Collection(sys.argv[1], sys.argv[2]) as c:\n    c.index(rebuild=True, chunk=32)\n"
    )
    size = collection.path.stat().st_size // 2
    done = subprocess.run(
        [sys.executable, "-c", code, collection.path, collection.model.profile.path, str(size)],
        capture_output=True, text=True, check=False, env=os.environ | {"JLOCAL_HOME": "/nowhere"},
    )  # fmt: skip
    assert done.returncode == 1
    assert "No space left on device" in done.stderr or "may be full" in done.stderr
    assert collection.config.chunk == 64
    check(collection.path)
    assert collection.index(rebuild=True, chunk=32).failed == 0


def test_killed_at_any_moment(collection: Collection, model_file: Path, notes: Path) -> None:
    """Old or new, never anything between."""
    code = (
        "import sys\nfrom jlocal import Collection\n"
        "with Collection(sys.argv[1], sys.argv[2]) as c:\n"
        "    c.check_model()\n    print(flush=True)\n    c.index(rebuild=True, chunk=32)\n"
    )
    spent = 0.0
    for attempt in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", code, collection.path, model_file], stdout=subprocess.PIPE
        ) as child:
            child.stdout.readline()
            if attempt == 0:
                began = time.monotonic()
                child.wait(120)
                spent = time.monotonic() - began
                collection.index(rebuild=True, chunk=64)
                continue
            time.sleep(spent * attempt / 5)
            child.send_signal(signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
        check(collection.path)
        assert len(names(collection)) == 40
        assert collection.config.chunk in (32, 64)
        if collection.config.chunk == 32:
            collection.index(rebuild=True, chunk=64)


def test_added_texts_are_taken_over(collection: Collection, model: Embedder, tmp_path) -> None:
    text = "An added text. " + " ".join(f"word{k}" for k in range(40))
    collection.add([text], ids=["one"], metadata=[{"author": "Ann"}])
    collection.index(rebuild=True, chunk=32)
    assert (collection.get("one").text, collection.get("one").metadata) == (text, {"author": "Ann"})
    assert len(collection) == 41
    # Also where there is nothing else.
    with Collection(tmp_path / "texts.db", model) as texts:
        texts.add([text], ids=["one"], chunk=64)
        texts.index(rebuild=True, chunk=32)
        assert texts.get("one").text == text
        assert texts.config.chunk == 32


def interrupted(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a collection anew, but for the last step."""
    with monkeypatch.context() as patch:
        patch.setattr(rebuild, "compact", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            collection.index(rebuild=True, chunk=32)
    assert unfinished(collection.path).chunk == 32


def test_what_was_removed_does_not_come_back(
    collection: Collection, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "secret.md").write_text("The quokka sleeps.")
    collection.index(other)
    collection.add("The heron flies.", ids="heron")
    interrupted(collection, monkeypatch)
    collection.forget(other)
    collection.delete("heron")
    report = collection.index(rebuild=True)
    assert (report.failed, report.embedded) == (0, 0)
    assert (len(collection), list(collection.folders())) == (40, [str(notes)])
    assert collection.config.chunk == 32
    check(collection.path)


def test_compacting_deletes_it_from_an_interrupted_rebuild_too(
    collection: Collection, notes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (notes / "secret.md").write_text("The quokka sleeps.")
    collection.update()
    interrupted(collection, monkeypatch)
    (notes / "secret.md").unlink()
    collection.update()
    collection.compact()
    beside = file_beside(collection.path)
    assert b"quokka" not in beside.read_bytes() + collection.path.read_bytes()
    # What else was computed is used.
    assert collection.index(rebuild=True).embedded == 0
    assert (len(collection), collection.config.chunk) == (40, 32)


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_beside_it_is_not_followed(
    collection: Collection, model: Embedder, tmp_path: Path
) -> None:
    with Collection(tmp_path / "other.db", model) as other:
        other.add("A text of another collection.", ids="other", chunk=32)
    before = other.path.read_bytes()
    file_beside(collection.path).symlink_to(other.path)
    assert collection.index(rebuild=True, chunk=32).failed == 0
    assert len(collection) == 40
    assert other.path.read_bytes() == before


def test_what_cannot_be_made_anew(model: Embedder, tmp_path: Path, notes: Path) -> None:
    with Collection(tmp_path / "none.db", model) as collection:
        with pytest.raises(MissingCollectionError):
            collection.index(notes, rebuild=True)
        collection.path.touch()
        with pytest.raises(EmptyCollectionError):
            collection.index(notes, rebuild=True)
    shutil.rmtree(notes)
