"""What a run skips, what fails, and which large files wait to be asked for."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

from jlocal import Collection, Embedder, Report
from jlocal.collection.index.report import Progress
from support.not_text import NOT_TEXT, NUL
from support.pdfs import pdf
from support.texts import prose


def skipped(report: Report) -> dict[str, str]:
    return {Path(item.path).name: item.reason for item in report.skipped}


def test_what_is_not_text_is_no_failure(index, folder: Path) -> None:
    for name, data in NOT_TEXT.items():
        (folder / name).write_bytes(data)
    with zipfile.ZipFile(folder / "old.zip", "w") as archive:
        archive.writestr("a.md", "a note that is packed away")
    (folder / "empty.md").touch()
    (folder / "blank.txt").write_text(" \n\t\n")
    (folder / "~$letter.docx").write_bytes(b"\x05user" + NUL)
    os.mkfifo(folder / "pipe")
    for _ in range(2):
        report = index()
        assert (report.files, report.failed, report.failures) == (1, 0, [])
        expected = dict.fromkeys((*NOT_TEXT, "old.zip"), "binary")
        expected |= {"empty.md": "empty", "blank.txt": "empty", "pipe": "special"}
        assert skipped(report) == expected
    assert report.unchanged == 1


def test_a_large_file_that_is_not_text_is_not_read_to_its_end(index, folder: Path) -> None:
    with (folder / "disk.img").open("wb") as file:
        file.write(b"\0\x01" * 500)
        file.truncate(1 << 40)
    assert skipped(index()) == {"disk.img": "binary"}


def test_what_should_have_been_read_is_a_failure(index, folder: Path) -> None:
    (folder / "torn.md").write_bytes(b"A note that a crash\0\0\0\0 has torn.")
    (folder / "short.txt").write_bytes("Übermut".encode("mac-roman"))
    (folder / "cut.pdf").write_bytes(pdf("One page.")[:300])
    report = index()
    names = {Path(failure.id).name for failure in report.failures}
    assert names == {"torn.md", "short.txt", "cut.pdf"}
    assert (report.failed, report.skipped) == (3, [])


def test_a_file_that_was_named_is_not_skipped(index, folder: Path) -> None:
    (folder / "photo.jpg").write_bytes(NOT_TEXT["photo.jpg"])
    (folder / "empty.md").touch()
    report = index(folder / "photo.jpg", folder / "empty.md", folder)
    assert [Path(failure.id).name for failure in report.failures] == ["photo.jpg"]
    assert skipped(report) == {"empty.md": "empty"}


def test_a_document_whose_file_is_skipped_now_is_removed(
    index, folder: Path, tmp_path: Path, model: Embedder
) -> None:
    (folder / "draft").write_text("This was a draft.")
    assert index().new == 2
    (folder / "draft").write_bytes(NOT_TEXT["program"])
    report = index()
    assert (report.removed, report.unchanged, report.failed) == (1, 1, 0)
    with Collection(tmp_path / "notes.db", model) as collection:
        assert {Path(hit.path).name for hit in collection.search("draft")} == {"a.md"}


@pytest.mark.slow
def test_a_large_file_waits_to_be_asked_for(tmp_path: Path, starter: Embedder) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.md").write_text("We keep backups.")
    lines = (
        f"2024-01-01T00:00:{n % 60:02} host kernel: [{n * 7919}] eth0: up\n" for n in range(9000)
    )
    (folder / "server.log").write_text("".join(lines))
    size = (folder / "server.log").stat().st_size
    with (folder / "huge.txt").open("w") as file:
        for _ in range(66):
            file.write("word " * 210_000)
    with Collection(tmp_path / "n.db", starter) as collection:
        report = collection.index(folder)
        assert (report.new, report.failed) == (1, 0)
        large = {Path(item.path).name: item for item in report.skipped}
        assert {name: item.reason for name, item in large.items()} == {
            "server.log": "large",
            "huge.txt": "large",
        }
        assert large["server.log"].size == size
        real = len(starter.tokenize((folder / "server.log").read_text()))
        assert abs(large["server.log"].tokens / real - 1) < 0.1
        # Even asked for, a file has a limit.
        assert [
            Path(f.id).name for f in collection.index(folder, large=True, dry_run=True).failures
        ] == ["huge.txt"]


def test_large_files_go_last_so_that_an_interrupted_run_keeps_the_notes(
    collection: Collection, folder: Path
) -> None:
    (folder / "a.log").write_text("".join(f"{n} request\n" for n in range(60_000)))
    (folder / "b.log").write_text("".join(f"{n} answer\n" for n in range(40_000)))
    (folder / "z.md").write_text("The last note.")
    plan = collection.index(folder, large=True, dry_run=True).plan
    assert [Path(path).name for path in plan.new] == ["a.md", "z.md", "b.log", "a.log"]

    def interrupt(progress: Progress) -> None:
        if progress.path.endswith(".log") and progress.embedded:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collection.index(folder, large=True, chunk=64, on_progress=interrupt)
    assert {Path(document.id).name for document in collection.documents()} == {"a.md", "z.md"}


@pytest.mark.slow
def test_a_large_file_is_taken_when_it_is_asked_for_or_known(index, folder: Path) -> None:
    # Each paragraph is a passage, and equal passages are embedded once.
    paragraphs = {seed: f"{prose(50, seed=seed)}\n\n" for seed in (1, *b"abc")}
    for name in ("a", "b", "c"):
        (folder / f"{name}.log").write_text(paragraphs[ord(name)] * 5000)
    assert skipped(index(chunk=64)) == {f"{name}.log": "large" for name in "abc"}
    assert index(folder / "a.log").new == 1
    # Not to be asked for again, and it may grow.
    (folder / "a.log").write_text(paragraphs[1] * 6000)
    report = index()
    assert (report.changed, skipped(report)) == (1, {"b.log": "large", "c.log": "large"})
    report = index(large=True)
    assert (report.new, report.skipped) == (2, [])
    assert index().skipped == []
