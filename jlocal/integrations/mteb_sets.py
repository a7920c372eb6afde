"""Tasks of mteb on local data: a folder in the layout of BEIR, or a table of texts."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jlocal.errors import FileError
from jlocal.extras import importing
from jlocal.files import open_regular, sha256_of
from jlocal.inputs.records import JsonObject

with importing("mteb", "jlocal.integrations.mteb_sets needs"):
    import mteb
    from datasets import Dataset, DatasetDict
    from mteb.abstasks import AbsTask, AbsTaskClustering, AbsTaskRetrieval, AbsTaskSTS
    from mteb.abstasks.task_metadata import TaskMetadata

_Row = dict[str, Any]
_JUDGEMENTS = ("qrels.tsv", "qrels/test.tsv", "qrels/dev.tsv")
_PAIRS, _LABELLED = ("sentence1", "sentence2", "score"), ("text", "label")
_TABLES = (".jsonl", ".csv", ".tsv")
_EXPECTED = (
    "a set is a folder with corpus.jsonl, queries.jsonl and qrels.tsv, or a .jsonl, .csv or .tsv "
    f"file with {', '.join(_PAIRS)} (similarity) or {', '.join(_LABELLED)} (clustering)"
)


def find_task(name: str) -> AbsTask:
    """Return the task of a set on this machine, or a task of mteb by its name.

    Raises:
        FileError: there is neither, the set cannot be read, or the task is not one of texts.

    """
    path = Path(name)
    if path.exists():
        return local_task(path)
    if len(path.parts) > 1 or path.suffix.lower() in _TABLES:
        raise FileError(f"{name}: no such file or folder; {_EXPECTED}", path=path)
    try:
        task = mteb.get_task(name)
    except KeyError as error:
        _, _, near = str(error.args[0]).partition("Did you mean: ")
        advice = f"did you mean {near}" if near else "`mteb available-tasks` lists those of mteb"
        raise FileError(f"there is no set and no task {name!r}; {advice}", path=path) from None
    if others := sorted(set(task.modalities) - {"text"}):
        raise FileError(f"{name} has {others[0]}, and jlocal embeds texts", path=path)
    return task


def local_task(path: str | Path) -> AbsTask:
    """Make a task of a set; its name is the set's.

    Args:
        path: a folder with `corpus.jsonl` (_id, title, text), `queries.jsonl` (_id, text) and
            `qrels.tsv` (query, document, score) is a retrieval task; a .jsonl, .csv or .tsv file
            with `sentence1`, `sentence2` and `score` is one of similarity, and with `text` and
            `label` one of clustering.

    Raises:
        FileError: it is no such set, or a part of it cannot be read.

    """
    path = Path(path)
    try:
        return _retrieval(path) if path.is_dir() else _table(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        where = Path(getattr(error, "filename", None) or path)
        raise FileError(f"{where}: {reason}", path=where) from error


def _retrieval(folder: Path) -> AbsTask:
    judgements = next((folder / n for n in _JUDGEMENTS if (folder / n).is_file()), None)
    files = [folder / "corpus.jsonl", folder / "queries.jsonl"]
    if judgements is None or not all(file.is_file() for file in files):
        raise FileError(f"{folder}: {_EXPECTED}", path=folder)
    sources = [*files, judgements]
    judged = _judgements(judgements)
    corpus, queries = (
        {str(row["_id"]): row for row in _rows(file, ("_id", "text"))} for file in files
    )
    if unknown := judged.keys() - queries.keys():
        raise FileError(
            f"{judgements}: query {min(unknown)!r} is not in {files[1]}", path=judgements
        )

    class Retrieval(AbsTaskRetrieval):
        metadata = _metadata(folder, "Retrieval", "ndcg_at_10", sources)

        def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
            del num_proc, kwargs
            split = {
                "corpus": Dataset.from_list(
                    [
                        {"id": name, "title": str(row.get("title") or ""), "text": row["text"]}
                        for name, row in corpus.items()
                    ]
                ),
                "queries": Dataset.from_list(
                    [{"id": name, "text": queries[name]["text"]} for name in judged]
                ),
                "relevant_docs": judged,
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": split}}
            self.data_loaded = True

    return Retrieval()


def _judgements(path: Path) -> dict[str, dict[str, int]]:
    """Return the scores of documents, for the queries that have a document above zero."""
    judged: dict[str, dict[str, int]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1):
        cells = line.split("\t")
        if number == 1 and cells[-1].strip() == "score":
            continue
        if len(cells) != 3 or not re.fullmatch(r"-?\d{1,9}", cells[2].strip()):
            raise FileError(
                f"{path}, line {number}: it is not query, document and a whole number, with tabs "
                "between them",
                path=path,
            )
        judged.setdefault(cells[0], {})[cells[1]] = int(cells[2])
    judged = {query: found for query, found in judged.items() if max(found.values()) > 0}
    if not judged:
        raise FileError(f"{path}: it judges no document relevant", path=path)
    return judged


def _table(path: Path) -> AbsTask:
    if path.suffix.lower() not in _TABLES:
        raise FileError(f"{path}: {_EXPECTED}", path=path)
    rows = list(_rows(path, ()))
    columns = set(rows[0]) if rows else set()
    if columns.issuperset(_PAIRS):
        return _similarity(path, list(_rows(path, _PAIRS[:2])))
    if columns.issuperset(_LABELLED):
        return _clustering(path, list(_rows(path, _LABELLED[:1])))
    raise FileError(f"{path}: {_EXPECTED}", path=path)


def _similarity(path: Path, rows: Sequence[_Row]) -> AbsTask:
    scores = [_number(path, number, row.get("score")) for number, row in enumerate(rows, 1)]
    pairs = [
        {"sentence1": row["sentence1"], "sentence2": row["sentence2"], "score": score}
        for row, score in zip(rows, scores, strict=True)
    ]
    if len(set(scores)) < 2:
        raise FileError(f"{path}: all scores are equal, so nothing correlates with them", path=path)

    class Similarity(AbsTaskSTS):
        metadata = _metadata(path, "STS", "cosine_spearman", [path])
        min_score, max_score = min(scores), max(scores)

        def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
            del num_proc, kwargs
            self.dataset = DatasetDict({"test": Dataset.from_list(pairs)})
            self.data_loaded = True

    return Similarity()


def _clustering(path: Path, rows: Sequence[_Row]) -> AbsTask:
    labelled = [{"sentences": row["text"], "labels": str(row.get("label"))} for row in rows]
    if len({row["labels"] for row in labelled}) < 2:
        raise FileError(f"{path}: all labels are equal, so there are no clusters", path=path)

    class Clustering(AbsTaskClustering):
        metadata = _metadata(path, "Clustering", "v_measure", [path])
        max_fraction_of_documents_to_embed = None

        def load_data(self, num_proc: int | None = None, **kwargs: Any) -> None:
            del num_proc, kwargs
            self.dataset = DatasetDict({"test": Dataset.from_list(labelled)})
            self.data_loaded = True

    return Clustering()


def _number(path: Path, row: int, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise FileError(f"{path}, row {row}: score {value!r} is no number", path=path)
    return number


def _metadata(path: Path, kind: str, main_score: str, files: Sequence[Path]) -> TaskMetadata:
    # The digest is the revision: results of other data are not taken for those of this set.
    digest = hashlib.sha256("".join(map(sha256_of, files)).encode()).hexdigest()
    name = path.resolve().name if path.is_dir() else path.stem
    return TaskMetadata(
        name=re.sub(r"[^\w.-]+", "_", name),
        description=f"A set on this machine: {path.name}",
        dataset={"path": path.name, "revision": digest},
        type=kind,
        category="t2c" if kind == "Clustering" else "t2t",
        eval_langs=["und-Zyyy"],
        main_score=main_score,
    )


def _rows(path: Path, texts: Sequence[str]) -> Iterator[_Row]:
    """Yield the rows of a file, each with these fields, and all but the id of them texts."""
    with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="") as file:
        source = _objects(path, file) if path.suffix.lower() == ".jsonl" else _cells(path, file)
        for number, row in source:
            for name in texts:
                value = row.get(name)
                if value is None or (name != "_id" and not isinstance(value, str)):
                    raise FileError(f"{path}, line {number}: it has no text {name!r}", path=path)
            yield row


def _objects(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, _Row]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=JsonObject)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, JsonObject):
            raise FileError(f"{path}, line {number}: it is no JSON object", path=path)
        if row.duplicates:
            name = min(row.duplicates)
            raise FileError(
                f"{path}, line {number}: it has two fields of the name {name!r}", path=path
            )
        yield number, row


def _cells(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, _Row]]:
    table = csv.DictReader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    try:
        names = table.fieldnames or ()
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise FileError(f"{path}: it has two columns of the name {twice[0]!r}", path=path)
        for row in table:
            yield table.line_num, row
    except csv.Error as error:
        raise FileError(f"{path}, line {table.line_num}: {error}", path=path) from error
