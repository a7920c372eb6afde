"""Vectors to files."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest

from jlocal import OutputError
from jlocal.errors import TextError
from jlocal.outputs.writers import FORMATS, Csv, JsonLines, Writer, format_of, open_writer
from jlocal.vectors import PRECISIONS, finish
from support.memory import peak_memory

VECTORS = np.random.default_rng(0).standard_normal((1000, 8)).astype(np.float32)


def write(path: Path, format: str, vectors: np.ndarray) -> None:
    with open_writer(path, format, {"model": "ü"}) as writer:
        for number, vector in enumerate(vectors):
            writer.add(f"id {number}", vector)


def write_named(path: Path, ids: list[str], vector: np.ndarray) -> None:
    with open_writer(path, "npz", {}) as writer:
        for id in ids:
            writer.add(id, vector)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8", "uint8"])
@pytest.mark.parametrize("count", [1, 9, 10, 1000])
def test_npy(dtype: str, count: int, tmp_path: Path) -> None:
    vectors = (VECTORS[:count] * 9).astype(dtype)
    write(tmp_path / "v.npy", "npy", vectors)
    read = np.load(tmp_path / "v.npy", allow_pickle=False)
    assert read.dtype == vectors.dtype
    assert (read == vectors).all()


def test_npz(tmp_path: Path) -> None:
    write(tmp_path / "v.npz", "npz", VECTORS)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as read:
        assert (read["embeddings"] == VECTORS).all()
        assert read["ids"].tolist() == [f"id {number}" for number in range(1000)]
        assert json.loads(str(read["metadata"])) == {"model": "ü"}
    assert [path.name for path in tmp_path.iterdir()] == ["v.npz"]


def test_jsonl_gives_every_bit_back(tmp_path: Path) -> None:
    write(tmp_path / "v.jsonl", "jsonl", VECTORS)
    lines = [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [f"id {number}" for number in range(1000)]
    assert (np.array([line["embedding"] for line in lines], np.float32) == VECTORS).all()


AWKWARD_IDS = (
    *('quote"', "line\nbreak", "line\r\nbreak", "line\rbreak", "a,b", "\0", "a\0b", "", " a "),
    *(
        "naïve/é.md",
        "e\u0301",
        "👩‍💻",
        "NA",
        "007",
        "1e5",
        "=1+1",
        "'",
        "\\",
        "#",
        "\ufeff",
        "\u2028",
    ),
)


@pytest.mark.parametrize("id", [*AWKWARD_IDS, "\udcff"])
def test_json_ids(id: str) -> None:
    buffer = io.BytesIO()
    JsonLines(buffer).add(id, np.array([1, -2], np.int8))
    assert json.loads(buffer.getvalue()) == {"id": id, "embedding": [1, -2]}


def write_one_and_fail(writer: Writer) -> None:
    writer.add("a", VECTORS[0])
    raise TypeError


@pytest.mark.parametrize("format", FORMATS)
def test_a_failed_run_leaves_nothing_and_keeps_what_was_there(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"v.{format}"
    path.write_text("before")
    with pytest.raises(TypeError), open_writer(path, format, {}) as writer:
        write_one_and_fail(writer)
    assert path.read_text() == "before"
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_bad_targets(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="folder"), open_writer(tmp_path, "npy", {}):
        pass
    with pytest.raises(OutputError, match="No such"), open_writer(tmp_path / "a/b", "npy", {}):
        pass
    with pytest.raises(OutputError, match="format="):
        format_of(Path("vectors.bin"))
    assert format_of(Path("V.NPZ")) == "npz"


def test_links_stay_and_pipes_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real.npy").write_text("before")
    (tmp_path / "link.npy").symlink_to("real.npy")
    write(tmp_path / "link.npy", "npy", VECTORS)
    assert (tmp_path / "link.npy").is_symlink()
    assert (np.load(tmp_path / "real.npy") == VECTORS).all()
    os.mkfifo(tmp_path / "pipe")
    with (
        pytest.raises(OutputError, match="regular"),
        open_writer(tmp_path / "pipe", "npy", {}),
    ):
        pass
    assert (tmp_path / "pipe").is_fifo()


def in_precision(precision: str, count: int = 50) -> np.ndarray:
    return finish(VECTORS[:count], None, precision)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("format", FORMATS)
def test_every_precision_in_every_format(precision: str, format: str, tmp_path: Path) -> None:
    vectors = in_precision(precision)
    path = tmp_path / f"v.{format}"
    write(path, format, vectors)
    ids = [f"id {number}" for number in range(len(vectors))]
    read: np.ndarray
    if format == "npy":
        read = np.load(path)
    elif format == "npz":
        with np.load(path) as archive:
            read = archive["embeddings"]
    elif format == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert [row["id"] for row in rows] == ids
        read = np.array([row["embedding"] for row in rows], vectors.dtype)
    elif format == "csv":
        import pandas

        frame = pandas.read_csv(path, index_col="id")
        assert frame.index.to_list() == ids
        assert frame.columns.to_list() == [f"d{number}" for number in range(vectors.shape[1])]
        read = frame.to_numpy(vectors.dtype)
    else:
        table = pyarrow.parquet.read_table(path)
        assert table["id"].to_pylist() == ids
        assert table.schema.field("id").type == pyarrow.string()
        assert table.schema.field("embedding").type == pyarrow.list_(
            pyarrow.from_numpy_dtype(vectors.dtype), vectors.shape[1]
        )
        assert json.loads(table.schema.metadata[b"jlocal"]) == {"model": "ü"}
        read = np.array(table["embedding"].to_pylist(), vectors.dtype)
    assert read.dtype == vectors.dtype
    assert (read == vectors).all()


def add_awkward(writer: Writer) -> None:
    for number, id in enumerate(AWKWARD_IDS):
        columns = {"path": id, "page": None if number % 2 else number, "text": id * 2}
        writer.add(id, VECTORS[number], columns)


def test_awkward_names_in_csv(tmp_path: Path) -> None:
    path = tmp_path / "v.csv"
    with open_writer(path, "csv", {}) as writer:
        add_awkward(writer)
    texts = {name: str for name in ("id", "path", "text")}
    import pandas

    frame = pandas.read_csv(path, dtype=texts | {"page": "Int64"}, keep_default_na=False,
                            na_values={"page": [""]})  # fmt: skip
    assert frame["id"].to_list() == list(AWKWARD_IDS)
    assert frame["path"].to_list() == list(AWKWARD_IDS)
    assert frame["text"].to_list() == [id * 2 for id in AWKWARD_IDS]
    assert frame["page"].isna().to_list() == [bool(n % 2) for n in range(len(AWKWARD_IDS))]
    vectors = frame.filter(regex="^d[0-9]+$").to_numpy("float32")
    assert (vectors == VECTORS[: len(AWKWARD_IDS)]).all()
    if sys.version_info >= (3, 11):  # before, the module took no NUL
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert rows[0][:5] == ["id", "path", "page", "text", "d0"]
        assert [row[0] for row in rows[1:]] == list(AWKWARD_IDS)


def test_awkward_names_in_parquet(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    with open_writer(path, "parquet", {}) as writer:
        add_awkward(writer)
    table = pyarrow.parquet.read_table(path)
    assert table.column_names == ["id", "path", "page", "text", "embedding"]
    assert table["id"].to_pylist() == list(AWKWARD_IDS)
    assert table["text"].to_pylist() == [id * 2 for id in AWKWARD_IDS]
    pages = [None if number % 2 else number for number in range(len(AWKWARD_IDS))]
    assert table["page"].to_pylist() == pages


def test_a_column_that_is_empty_at_first(tmp_path: Path) -> None:
    with open_writer(tmp_path / "v.parquet", "parquet", {}) as writer:
        writer.add("a", VECTORS[0], {"page": None})
        writer.add("b", VECTORS[1], {"page": 3})
    assert pyarrow.parquet.read_table(tmp_path / "v.parquet")["page"].to_pylist() == [None, 3]


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_a_name_that_is_no_text_is_refused_and_the_rest_written(format, tmp_path: Path) -> None:
    path = tmp_path / f"v.{format}"
    with open_writer(path, format, {}) as writer:
        for id in ("a", "b\udcff", "c"):
            if "\udcff" not in id:
                writer.add(id, VECTORS[0])
                continue
            with pytest.raises(TextError, match=f"not UTF-8, which {format} cannot hold; jsonl"):
                writer.add(id, VECTORS[0])
            with pytest.raises(TextError, match="its path is not UTF-8"):
                writer.add("b", VECTORS[0], {"path": id})
    import pandas

    frame = pandas.read_csv(path) if format == "csv" else pandas.read_parquet(path)
    assert frame["id"].to_list() == ["a", "c"]


def test_csv_streams() -> None:
    buffer = io.BytesIO()
    writer = Csv(buffer)
    writer.add("a", np.array([1, -2], np.int8))
    assert buffer.getvalue() == b'id,d0,d1\n"a",1,-2\n'


@pytest.mark.slow
def test_row_groups_have_a_bounded_size(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    vectors = np.ones((1, 1024), np.float32)
    with open_writer(path, "parquet", {}) as writer:
        for number in range(9000):
            writer.add(str(number), vectors[0], {"text": "x" * 4096 if number < 3000 else ""})
    groups = pyarrow.parquet.ParquetFile(path)
    rows = [groups.metadata.row_group(n).num_rows for n in range(groups.num_row_groups)]
    assert sum(rows) == 9000
    assert rows[0] < 2100
    assert 3000 < max(rows) < 4100
    assert groups.read(["id"])["id"].to_pylist() == [str(number) for number in range(9000)]


def test_parquet_without_pyarrow(tmp_path: Path) -> None:
    code = (
        "import sys\nsys.modules['pyarrow'] = None\nfrom pathlib import Path\n"
        "from jlocal.errors import ExtraError\nfrom jlocal.outputs.writers import open_writer\n"
        "try:\n    with open_writer(Path('v.parquet'), 'parquet', {}): pass\n"
        "except ExtraError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    assert done.stdout == "Parquet files need: pip install 'jlocal[parquet]'\n"
    assert list(tmp_path.iterdir()) == []


_FULL = """
import signal, sys
from pathlib import Path
import numpy as np
from jlocal import OutputError
from jlocal.outputs.writers import open_writer
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
import resource
if sys.argv[1] == "parquet":
    import pyarrow.parquet
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    with open_writer(Path("v"), sys.argv[1], {}) as writer:
        for number in range(9000):
            writer.add(str(number), np.random.default_rng(number).random(1024, np.float32))
except OutputError as error:
    print(error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS)
def test_a_disk_that_is_full(format: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL, format], cwd=tmp_path, capture_output=True, text=True,
        check=False, env=os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])},
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("cannot write v: File too large\n", "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_ids_of_npz_take_no_more_room_than_they_need(tmp_path: Path) -> None:
    """The longest settles the width of all: 20,000 ids of 4,000 characters are 320 MB."""
    path = tmp_path / "v.npz"
    ids = [f"notes/{number}.md" for number in range(20_000)]
    ids[7] = "é👩‍💻" + "x" * 4000
    vector = np.zeros(1, np.int8)
    assert peak_memory(write_named, path, ids, vector) < 3 << 20
    assert path.stat().st_size < 2 << 20
    with np.load(path, allow_pickle=False) as read:
        assert read["ids"].tolist() == ids
    assert list(tmp_path.iterdir()) == [path]


def test_awkward_ids_in_npz(tmp_path: Path) -> None:
    # numpy drops NULs at the end of a string.
    ids = [*(id for id in AWKWARD_IDS if not id.endswith("\0")), "\udcff"]
    with open_writer(tmp_path / "v.npz", "npz", {}) as writer:
        for id in ids:
            writer.add(id, VECTORS[0])
    with np.load(tmp_path / "v.npz", allow_pickle=False) as read:
        assert read["ids"].tolist() == ids


FORMULAS = (
    *(
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        " =1",
        "\ufeff=1",
        "\x00=1",
        "\xa0=1",
    ),
    *("＝1", "＋1", "－1", "＠x", "'=1", '"=1', "=cmd|' /C calc'!A0", "\tx"),
)
TEXTS = ("notes/a.md", "a=1", "1-1", "me@example.org", "", " a", "'tis", "日本", "“-”")


def test_safe_cells_are_no_formulas() -> None:
    buffer = io.BytesIO()
    writer = Csv(buffer, safe_cells=True)
    for text in (*FORMULAS, *TEXTS):
        writer.add(text, np.array([-1, 2], np.int8), {"path": text, "page": None, "line": -3})
    rows = list(csv.reader(io.StringIO(buffer.getvalue().decode().replace("\0", "?"), newline="")))
    expected = [f"'{text}" for text in FORMULAS] + list(TEXTS)
    expected = [text.replace("\0", "?") for text in expected]
    assert [row[0] for row in rows[1:]] == [row[1] for row in rows[1:]] == expected
    # Numbers stay numbers.
    assert {tuple(row[2:]) for row in rows[1:]} == {("", "-3", "-1", "2")}


def test_cells_are_as_they_are_unless_asked(tmp_path: Path) -> None:
    for safe in (False, True):
        with open_writer(tmp_path / "v.csv", "csv", {}, safe_cells=safe) as writer:
            writer.add("=1", VECTORS[0])
        (row,) = csv.DictReader(io.StringIO((tmp_path / "v.csv").read_text()))
        assert row["id"] == ("'=1" if safe else "=1")
