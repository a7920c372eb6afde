"""Make two data sets for `jlocal mteb` from the notes in examples/: questions, and topics.

python scripts/mteb_sets.py FOLDER
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
NOTES = EXAMPLES / "notes"


def notes() -> dict[str, str]:
    """Return the text of each note by its path."""
    files = sorted(file for file in NOTES.rglob("*") if file.is_file())
    return {file.relative_to(NOTES).as_posix(): file.read_text(encoding="utf-8") for file in files}


def questions() -> list[tuple[str, str]]:
    """Return questions, and the path of the note that answers each."""
    with (EXAMPLES / "questions.tsv").open(encoding="utf-8", newline="") as file:
        return [(row["question"], row["note"]) for row in csv.DictReader(file, delimiter="\t")]


def write_questions(folder: Path) -> None:
    """Write a set for retrieval: the notes, the questions, and which note answers which."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = questions()
    _write(folder / "corpus.jsonl", ({"_id": path, "text": text} for path, text in notes().items()))
    _write(
        folder / "queries.jsonl", ({"_id": f"q{n}", "text": q} for n, (q, _) in enumerate(asked))
    )
    lines = [
        "query-id\tcorpus-id\tscore",
        *(f"q{n}\t{note}\t1" for n, (_, note) in enumerate(asked)),
    ]
    (folder / "qrels.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_topics(path: Path) -> None:
    """Write a set for clustering: the notes, and the folder that each is in."""
    rows = ({"text": text, "label": name.split("/")[0]} for name, text in notes().items())
    _write(path, (row for row in rows if row["label"] in _topics()))


def _topics() -> set[str]:
    return {folder.name for folder in NOTES.iterdir() if folder.is_dir()}


def _write(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text("".join(lines), encoding="utf-8")


def main(folder: Path) -> None:
    """Make both sets."""
    write_questions(folder / "questions")
    write_topics(folder / "topics.jsonl")
    print(f"{folder / 'questions'}\n{folder / 'topics.jsonl'}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
