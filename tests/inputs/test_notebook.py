"""Jupyter notebooks: their cells are read, and nothing of the JSON around them."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path

import pytest

from jlocal.collection.chunking.markup import outline_of
from jlocal.collection.location import Location
from jlocal.errors import TextError
from jlocal.inputs.documents import Document, Unreadable, read_file
from jlocal.inputs.flowing import read_flowing
from jlocal.inputs.worker import Worker

PICTURE = base64.b64encode(random.Random(1).randbytes(300)).decode()
PYTHON = {"language_info": {"name": "python"}}


def cell(kind: str, source: str | list[str], *outputs: object, **more: object) -> dict[str, object]:
    found = {"cell_type": kind, "metadata": {}, "source": source, **more}
    return found | ({"outputs": list(outputs)} if kind == "code" else {})


def notebook(*cells: object) -> bytes:
    whole = {"cells": cells, "metadata": PYTHON, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1).encode()


def printed(text: str | list[str], name: str = "stdout") -> dict[str, object]:
    return {"output_type": "stream", "name": name, "text": text}


def shown(**data: object) -> dict[str, object]:
    return {"output_type": "display_data", "metadata": {}, "data": data}


def read(data: bytes) -> str:
    return read_flowing(data, "notebook").text


def test_the_cells_are_read_as_markdown_and_fenced_code(tmp_path: Path) -> None:
    path = tmp_path / "a.IPYNB"
    path.write_bytes(
        notebook(
            cell("markdown", ["# Größe\n", "\n", "What we measured."]),
            cell("code", "# a comment\nx = 1\n", printed(["accuracy ", "0.93\n"])),
            cell("raw", "raw text"),
        )
    )
    text = (
        "# Größe\n\nWhat we measured.\n\n```python\n# a comment\nx = 1\n```\n\n"
        "```\naccuracy 0.93\n```\n\nraw text"
    )
    assert read_file(path) == Document(str(path), text)
    assert [heading.title for heading in outline_of(text, path).headings] == ["Größe"]


def test_no_picture_is_read_wherever_it_is() -> None:
    data = notebook(
        cell(
            "markdown",
            f"before ![x](data:image/png;base64,{PICTURE}) after ![y](attachment:y.png)",
            attachments={"y.png": {"image/png": PICTURE}},
        ),
        cell(
            "code",
            f"uri = 'data:image/png;base64,{PICTURE}'",
            shown(**{"image/png": PICTURE, "text/plain": "<Figure size 640x480 with 1 Axes>"}),
            shown(**{"image/svg+xml": ["<svg>"], "text/plain": ["drawing"]}),
            shown(**{"text/html": "<b>", "text/plain": "<IPython.core.display.HTML object>"}),
        ),
    )
    assert read(data) == (
        "before ![x](data:…) after ![y](attachment:y.png)\n\n```python\nuri = 'data:…'\n```"
    )


def test_the_output_of_a_cell_is_its_text_and_bounded() -> None:
    outputs = (
        printed("warning\n", "stderr"),
        printed("10%\r50%\r100%\r\n\x1b[31mred\x1b[0m\n"),
        shown(**{"text/html": "<table>", "text/plain": ["a  b\n", "1  2"]}),
        {"output_type": "error", "ename": "KeyError", "evalue": "'x'", "traceback": ["frames"]},
    )
    assert read(notebook(cell("code", "", *outputs))) == (
        "```\n100%\nred\na  b\n1  2\nKeyError: 'x'\n```"
    )
    long = read(notebook(cell("code", "", *[printed("0123456789" * 50 + "\n")] * 100)))
    assert 2_000 < len(long) < 2_020
    assert long.endswith(" …\n```")


def test_fences_in_cells_do_not_reach_the_next_cell() -> None:
    text = read(
        notebook(
            cell("markdown", "```\nnever closed\n# no heading"),
            cell("markdown", "# One"),
            cell("code", "doc = '''\n```\n# no heading\n```\n'''"),
            cell("markdown", "# Two"),
        )
    )
    headings = outline_of(text, "a.ipynb").headings
    assert [heading.title for heading in headings] == ["One", "Two"]


def test_notebooks_of_version_3_are_read() -> None:
    cells = [
        {"cell_type": "heading", "level": 2, "source": ["Old"]},
        {
            "cell_type": "code",
            "input": ["print(1)"],
            "outputs": [
                {"output_type": "stream", "stream": "stdout", "text": ["1\n"]},
                {"output_type": "pyout", "text": ["plot"], "png": PICTURE},
                {"output_type": "pyout", "text": ["2"]},
            ],
        },
    ]
    data = json.dumps({"nbformat": 3, "worksheets": [{"cells": cells}]}).encode()
    assert read(data) == "## Old\n\n```\nprint(1)\n```\n\n```\n1\n2\n```"


@pytest.mark.parametrize(
    "data",
    [b"", b" \n", notebook(), notebook(cell("code", "")), notebook(cell("markdown", [" \n"]))],
)
def test_an_empty_notebook_has_no_text_and_is_no_error(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "Untitled.ipynb"
    path.write_bytes(data)
    assert read_file(path) == Document(str(path), "")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"just words", "not a notebook, or damaged: line 1: expecting value"),
        (
            b'{"cells": [\n<<<<<<< HEAD\n',
            "not a notebook, or damaged: line 2: expecting value",
        ),
        (b"\xff\xd8\xff\xe0 a photo", "not a notebook, or damaged: it is not UTF-8 text"),
        (b'{"a": 1}', "not a notebook: it has no cells"),
        (b'{"cells": {}}', "not a notebook: it has no cells"),
        (b"[1, 2]", "not a notebook: it has no cells"),
        (b'{"cells": [' + b"[" * 200_000, "damaged: it is nested too deeply"),
        (b'{"cells": [' + b"9" * 20_000 + b"]}", "damaged: it has a number of too many digits"),
    ],
)
def test_what_is_no_notebook_is_a_named_failure(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.ipynb"
    path.write_bytes(data)
    found = read_file(path)
    assert found == Unreadable(str(path), reason)
    assert found.cause == "failure"


@pytest.mark.parametrize("wrong", [None, 1, "text", [1], [[]], {"a": 1}, [{"data": 1}], True])
def test_parts_of_a_wrong_type_are_left_out(wrong: object) -> None:
    cells = (
        wrong,
        {"cell_type": "code", "source": wrong, "outputs": wrong},
        {"cell_type": wrong, "source": wrong},
        cell("code", "", wrong, {"data": wrong}, shown(**{"text/plain": wrong})),
        cell("heading", "kept", level=wrong),
    )
    data = json.dumps({"cells": cells, "metadata": wrong, "nbformat": wrong}).encode()
    assert "kept" in read(data)
    assert read(json.dumps({"worksheets": [wrong, {"cells": wrong}]}).encode()) == ""


def test_nuls_and_lone_surrogates_do_not_stop_the_reader() -> None:
    assert read(rb'{"cells": [{"cell_type": "raw", "source": "a\u0000b\ud800c"}]}') == "a\ufffdb?c"


@pytest.mark.slow
def test_a_notebook_that_takes_too_much_memory_is_refused() -> None:
    worker = Worker("jlocal.inputs.notebook", seconds=60, memory=256 << 20)
    with pytest.raises(TextError, match="memory"):
        worker.read(b'{"cells": [' + b"[1]," * 5_000_000 + b"1]}")
    assert worker.read(notebook(cell("raw", "the next")))["text"] == "the next"
    worker.close()


def test_a_passage_of_a_notebook_has_no_line_that_one_could_look_up() -> None:
    place = Location("a.ipynb", 0, 3, 4)
    assert (place.label, place.lines, place.page) == ("", (None, None), None)
