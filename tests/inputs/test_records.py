"""Records: the good ones are kept, the bad ones are named."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from jlocal import Collection, Embedder
from jlocal.collection.index.report import Report
from jlocal.errors import TextError
from jlocal.inputs.records import BadRecord, records_of
from support.collection_files import check

DATA = Path(__file__).parents[1] / "data" / "records"

Found = list[tuple[int, str]]


def read(name: str, text: str, *fields: str) -> Found:
    """Return lines and texts; of a bad record the reason, after an exclamation mark."""
    return [
        (r.line, f"!{r.reason}" if isinstance(r, BadRecord) else r.text)
        for r in records_of(Path(name), text, fields)
    ]


def starts(found: Found, *expected: tuple[int, str]) -> bool:
    """Whether these are the records; of a bad one the reason begins like this."""
    return len(found) == len(expected) and all(
        line == number and (text == start or (start[:1] == "!" and text.startswith(start)))
        for (line, text), (number, start) in zip(found, expected, strict=True)
    )


def test_records_of_json_lines_and_tables() -> None:
    lines = '{"q": "one", "a": "two"}\n\n{"q": "x", "a": {"n": "é"}, "z": null}\n'
    assert read("f.jsonl", lines, "q", "a") == [(1, "one\ntwo"), (3, 'x\n{"n": "é"}')]
    assert read("f.jsonl", lines) == [(1, lines)]
    assert read("f.md", lines, "q") == [(1, lines)]
    table = 'q,a\n"one\nmore",two\nthree,"fo""ur"\n'
    assert read("f.CSV", table, "a", "q") == [(2, "two\none\nmore"), (4, 'fo"ur\nthree')]
    assert read("f.tsv", "q\ta\nx\ty,z\n", "a") == [(2, "y,z")]
    numbers = [r.number for r in records_of(Path("f.jsonl"), '{"q": 1}\n[]\n{"q": 2}', ["q"])
               if not isinstance(r, BadRecord)]  # fmt: skip
    assert numbers == [0, 2]


BAD_JSON = {
    "syntax": ('{"note": "cut o', "is not JSON: "),
    "two objects": ('{"note": 1} {"note": 2}', "is not JSON: something follows"),
    "missing field": ('{"text": "x"}', "has no field 'note'; it has: text"),
    "array": ('["note"]', "is not a JSON object"),
    "number": ("7", "is not a JSON object"),
    "lone surrogate": (r'{"note": "\ud800"}', "has a lone surrogate"),
    "surrogate in a field's value": (r'{"note": ["\udfff"]}', "has a lone surrogate"),
    "too deep": ('{"note": ' + "[" * 200_000, "is "),
    "too many digits": ('{"note": ' + "9" * 10_000 + "}", "has a number of too many digits"),
    "two fields of one name": ('{"note": "a", "note": "b"}', "has two fields of the name 'note'"),
    "NUL": ('{"note": "a\0b"}', "is not JSON: "),
    "no UTF-8": ('{"note": "caf\udce9"}', "is not UTF-8 text"),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_a_bad_line_costs_no_other(name: str) -> None:
    source, reason = BAD_JSON[name]
    text = f'{{"note": "one"}}\n{source}\n\n{{"note": "two", "x": [{{"note": 1, "note": 2}}]}}\n'
    assert starts(read("f.jsonl", text, "note"), (1, "one"), (2, f"!{reason}"), (4, "two"))


def test_an_array_of_objects_is_read_as_records() -> None:
    text = '\n[\n  {"q": "one"},\n  {"p": 1}, 7,\n  {"q": {"a": [1]}}\n]\n'
    expected = (3, "one"), (4, "!has no field 'q'"), (4, "!is not a JSON object"), (5, '{"a": [1]}')
    assert starts(read("f.json", text, "q"), *expected)
    assert read("f.json", "[]", "q") == []
    assert read("f.json", text) == [(1, text)]


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        (', {"q": "cu', "is not JSON: "),
        (",", "is not JSON: "),
        ("", "is not JSON: a comma or the end"),
        (' {"q": "two"}]', "is not JSON: a comma or the end"),
        ("] {}", "is not JSON: something follows the array"),
    ],
)
def test_of_an_array_that_breaks_off_the_beginning_is_kept(rest: str, reason: str) -> None:
    assert starts(read("f.json", f'[{{"q": "one"}}\n{rest}', "q"), (1, "one"), (2, f"!{reason}"))


def test_one_object_and_json_lines_by_another_name() -> None:
    assert read("f.json", '{\n "q": "one"\n}', "q") == [(1, "one")]
    assert read("f.json", '{"q": "one"}\n{"q": "two"}\n', "q") == [(1, "one"), (2, "two")]
    assert starts(read("f.json", '{"q": "one"', "q"), (1, "!is not JSON"))
    for text in ("7", "", "null", "text"):
        with pytest.raises(TextError, match="neither a JSON array"):
            read("f.json", text, "q")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_the_one_under_which_the_header_has_the_fields(delimiter: str) -> None:
    text = delimiter.join(("frage", "antwort", "id")) + "\n" + delimiter.join(("Wo?", "Da.", "1"))
    for name in ("f.csv", "f.tsv"):
        assert read(name, text, "antwort") == [(2, "Da.")]
        assert read(name, f"sep={delimiter}\r\n{text}", "frage") == [(3, "Wo?")]
    with pytest.raises(TextError, match="has no column 'answer'; it has: "):
        read("f.csv", text, "antwort", "answer")


def test_a_header_in_quotation_marks() -> None:
    assert read("f.csv", '"id","no;te"\n"1","x"\n', "no;te") == [(2, "x")]
    with pytest.raises(TextError, match="its header is not CSV"):
        read("f.csv", '"id"x\n', "id")


def test_two_columns_of_one_name() -> None:
    text = (DATA / "dup_header.csv").read_text()
    with pytest.raises(TextError, match="two columns have one name, 'note'"):
        read("f.csv", text, "note")
    assert read("f.csv", text, "id") == [(2, "1")]


def test_rows_that_are_short_or_long() -> None:
    text = "id,note,more\n1,a\n2\n3,b,c,,\n4,Hello, world,x\n\n5,d,e\n"
    assert starts(
        read("f.csv", text, "note"),
        (2, "a"),
        (3, "!has 1 cell, and the header has 3"),
        (4, "b"),
        (5, "!has 4 cells, and the header has 3; a text that holds the delimiter"),
        (7, "d"),
    )


def test_a_quotation_mark_that_is_never_closed_costs_one_record() -> None:
    text = 'id,note\n1,one\n2,"never closed\n3,three\n4,"four\nlines"\n5,"fi"ve"\n6,six\n'
    found = read("f.csv", text, "note")
    assert [text for _, text in found if text[0] != "!"] == ["one", "three", "four\nlines", "six"]
    assert [line for line, text in found if text[0] == "!"] == [3, 7]


@pytest.mark.slow
def test_many_quotation_marks_take_no_longer() -> None:
    start = time.monotonic()
    for line in ('"x', 'a,"b', '"a"b', '"""', 'x,""y"'):
        text = "id,note\n" + f"{line}\n" * 30_000
        assert len(read("f.csv", text, "note")) <= 30_000
    text = "id,note\n" + "".join(f'{n},"\n' if n % 3 else f'{n},""\n' for n in range(30_000))
    read("f.csv", text, "note")
    assert time.monotonic() - start < 60


def test_a_cell_with_a_nul_costs_one_record() -> None:
    found = read("f.csv", "id,note\n1,one\n2,t\0wo\n3,three\n", "note")
    assert [text for _, text in found if text[0] != "!"] == ["one", "three"]
    assert [line for line, text in found if text[0] == "!"] == [3]
    assert read("f.jsonl", r'{"note": "a\u0000b"}', "note") == [(1, "a\0b")]


def test_empty_tables() -> None:
    assert read("f.csv", "", "q") == []
    assert read("f.csv", "\n\nq\n", "q") == []


@pytest.fixture
def index(tmp_path: Path, model: Embedder) -> Callable[..., Report]:
    def run(*paths: Path, fields: Sequence[str] = ("note",), **options: object) -> Report:
        with Collection(tmp_path / "c.db", model) as collection:
            report = collection.index(paths, fields=fields, **options)
        check(tmp_path / "c.db")
        return report

    return run


@pytest.fixture
def found(tmp_path: Path, model: Embedder) -> Callable[[], list[tuple[int | None, str]]]:
    def search() -> list[tuple[int | None, str]]:
        with Collection(tmp_path / "c.db", model) as collection:
            return sorted((hit.first_line, hit.text) for hit in collection.search("good", 99))

    return search


@pytest.mark.slow
def test_bad_records_are_reported_in_each_run(index, found, tmp_path: Path) -> None:
    path = tmp_path / "one_bad.jsonl"
    shutil.copy(DATA / "one_bad.jsonl", path)
    time.sleep(2.1)  # for its times to be trusted
    first = index(path)
    assert (first.new, first.failed, first.embedded) == (1, 1, 2)
    for _ in range(2):
        again = index(path)
        assert (again.unchanged, again.failed, again.embedded) == (1, 1, 0)
        assert [(f.id, f.reason[:11]) for f in again.failures] == [(f"{path}:2", "is not JSON")]
    assert found() == [(1, "good one"), (3, "good two")]
    # A copy, whose content is known already, is no better.
    copy = shutil.copy(path, tmp_path / "copy.jsonl")
    assert (index(Path(copy)).failed, index(Path(copy)).failed) == (1, 1)
    path.write_text(path.read_text().replace("cut o", 'mended"}'))
    mended = index(path)
    assert (mended.changed, mended.failed, mended.embedded) == (1, 0, 1)
    assert (2, "mended") in found()


def test_a_file_without_a_good_record_fails_as_a_whole(index, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"q": "red"}\n{"q": "blue"}\n')
    (tmp_path / "b.csv").write_bytes((DATA / "semicolon.csv").read_bytes())
    report = index(tmp_path / "a.jsonl", tmp_path / "b.csv")
    assert (report.new, report.failed) == (0, 2)
    reasons = [failure.reason for failure in report.failures]
    assert reasons[0] == "no record can be indexed; line 1 has no field 'note'; it has: q"
    assert re.match("has no column 'note'; it has: ", reasons[1])
    assert index(tmp_path / "b.csv", fields=("antwort",)).new == 1


def test_many_bad_records_are_counted(index, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"note": "x"}\n' + "{}\n" * 23)
    report = index(tmp_path / "a.jsonl")
    assert [f.id.rpartition("/")[2] for f in report.failures] == [
        *(f"a.jsonl:{line}" for line in range(2, 22)),
        "a.jsonl",
    ]
    assert report.failures[-1].reason == "3 more records are bad"


def test_a_record_that_is_too_long_costs_no_other(
    index, found, model: Embedder, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    long = " word" * (model.max_seq_length + 1)
    notes = ("good one", long, "good two")
    path.write_text("".join(json.dumps({"note": note}) + "\n" for note in notes))
    first, again = index(path, chunk=None), index(path)
    assert (first.new, first.failed, first.embedded) == (1, 1, 2)
    assert (again.unchanged, again.failed, again.embedded) == (1, 1, 0)
    assert first.failures[0].id.endswith("a.jsonl:2")
    assert "above the limit" in first.failures[0].reason
    assert found() == [(1, "good one"), (3, "good two")]
    path.write_text("".join(json.dumps({"note": note}) + "\n" for note in ("good one", "good two")))
    assert (index(path).changed, found()) == (1, [(1, "good one"), (2, "good two")])


def test_records_of_which_some_are_in_another_encoding(index, found, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"note": "schön"}\n'.encode() + '{"note": "caf\xe9"}\n'.encode("latin-1"))
    report = index(path)
    assert [f.reason for f in report.failures] == ["is not UTF-8 text"]
    assert found() == [(1, "schön")]
    (tmp_path / "b.csv").write_bytes("id;note\n1;Größe und Übermut\n2;Fußgänger\n".encode("cp1252"))
    assert index(tmp_path / "b.csv").encodings == {"Windows-1252": 1}
