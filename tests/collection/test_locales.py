"""A collection is one and the same in each locale, whatever the names of its files."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

if sys.platform != "linux":
    pytest.skip("names of files are bytes only on Linux", allow_module_level=True)

UTF8 = {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "0"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}

# UTF-8 in two forms of Unicode, of four bytes, in Latin-1, and nothing at all.
NAMES = [
    os.fsdecode(name)
    for name in (
        "Gärten/Rosen schneiden.md".encode(),
        b"Ga\xcc\x88rten 2/Tulpen.md",
        "日本/茶の淹れ方.md".encode(),
        "🍅.md".encode(),
        b"caf\xe9/Men\xfc.md",
        b"\xff\xfe.md",
        "beides ä und ".encode() + b"\xe4.md",
        b"plain.md",
    )
]
TEXT = "We water tomatoes in the morning. Number {}."


@pytest.fixture(scope="session")
def latin1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which é is one byte."""
    folder = tmp_path_factory.mktemp("locales")
    command = ["localedef", "-i", "en_US", "-f", "ISO-8859-1", folder / "en_US.ISO-8859-1"]
    if (
        shutil.which("localedef") is None
        or subprocess.run(command, capture_output=True, check=False).returncode
    ):
        pytest.skip("cannot make a locale here")
    return {"LC_ALL": "en_US.ISO-8859-1", "LOCPATH": str(folder), "PYTHONUTF8": "0"}


@pytest.fixture(params=["ascii", "latin1"])
def other(request: pytest.FixtureRequest) -> dict[str, str]:
    return ASCII if request.param == "ascii" else request.getfixturevalue("latin1")


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "Füße"
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(TEXT.format(number))
    return folder


# Runs commands, each in a process that begins with the modules that all of them need.
_SERVER = """
import json, os, sys
import jlocal.cli, jlocal.cli.commands.search, jlocal.cli.commands.index, jlocal.embed.embedder
for line in sys.stdin:
    order = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(order["folder"])
        for number, name in enumerate(("in", "out", "error")):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.environ["JLOCAL_HOME"] = order["home"]
        sys.argv = ["jlocal", *order["arguments"]]
        status = 1
        try:
            jlocal.cli.main()
        except SystemExit as error:
            status = error.code
        except BaseException:
            sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(status)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Done:
    stdout: bytes
    stderr: bytes


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, subprocess.Popen[str]]]:
    started: dict[str, subprocess.Popen[str]] = {}
    yield started
    for server in started.values():
        with server:
            server.stdin.close()


Run = Callable[..., Done]


@pytest.fixture
def jlocal(tmp_path: Path, few: Path, servers: dict[str, subprocess.Popen[str]]) -> Run:
    """Run a command; whatever it does, it must not stumble over a name."""

    def run(locale: dict[str, str], *arguments: object, status: int = 0) -> Done:
        if locale["LC_ALL"] not in servers:
            servers[locale["LC_ALL"]] = subprocess.Popen(
                [sys.executable, "-c", _SERVER], env=os.environ | locale,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
        server = servers[locale["LC_ALL"]]
        encoding = (
            "latin-1" if "ISO" in locale["LC_ALL"] else "utf-8" if locale is UTF8 else "ascii"
        )
        names = [tmp_path, tmp_path / "Größe", *arguments]
        folder, home, *rest = (
            os.fsencode(str(name)).decode(encoding, "surrogateescape") for name in names
        )
        order = {"folder": folder, "home": home, "arguments": rest}
        server.stdin.write(json.dumps(order) + "\n")
        server.stdin.flush()
        code = int(server.stdout.readline())
        done = Done((tmp_path / "out").read_bytes(), (tmp_path / "error").read_bytes())
        assert b"Traceback" not in done.stderr, done.stderr.decode(errors="replace")
        assert b"codec" not in done.stderr
        assert code == status, done.stderr
        return done

    (tmp_path / "modèle.gguf").symlink_to(few)
    return run


def index(jlocal: Run, locale: dict[str, str], notes: Path, *arguments: object) -> bytes:
    return jlocal(locale, "index", notes, "-m", "modèle.gguf", *arguments).stderr


def typed(text: str, locale: dict[str, str]) -> str:
    """Return a text as the bytes that a terminal of this locale sends for it."""
    return os.fsdecode(text.encode("latin-1" if "ISO" in locale["LC_ALL"] else "utf-8"))


def found(jlocal: Run, locale: dict[str, str], *arguments: object) -> set[str]:
    """Search, and name the files below the folder of notes."""
    done = jlocal(locale, "search", *arguments, "-n", "20", "--files", "-0")
    return {os.fsdecode(name).removeprefix("Füße/") for name in done.stdout.split(b"\0") if name}


@pytest.mark.parametrize("begins", ["utf-8", "other"])
def test_a_collection_is_used_in_one_locale_after_the_other(
    jlocal: Run, notes: Path, other: dict[str, str], begins: str, tmp_path: Path
) -> None:
    first, second = (UTF8, other) if begins == "utf-8" else (other, UTF8)
    assert b"8 of 8 files" in index(jlocal, first, notes)
    database = tmp_path / "Größe" / "collections" / "default.db"
    before = _rows(database)
    everywhere = []
    for locale in (second, first):
        jlocal(locale, "update")
        status = json.loads(jlocal(locale, "status", "--json").stdout)
        (folder,) = status["folders"]
        assert folder["path"] == str(notes)
        assert (folder["documents"], folder["changed"], folder["missing"]) == (8, 0, 0)
        assert folder["new"] == 0
        rows = jlocal(locale, "search", "tomatoes", "-n", "20", "--json").stdout.splitlines()
        everywhere.append([json.loads(row) for row in rows])
        assert _rows(database) == before
    assert everywhere[0] == everywhere[1]
    assert {row["path"] for row in everywhere[0]} == {str(notes / name) for name in NAMES}


def _rows(database: Path) -> list[object]:
    """Read what must stay; a stamp is written once a file is old enough."""
    tables = ("content", "chunk", "folder", "setting", "path_words_docsize")
    statements = [f"SELECT * FROM {table} ORDER BY 1, 2" for table in tables]
    statements += ["SELECT id, path, content_id FROM document", "SELECT id, sha256 FROM passage"]
    with closing(sqlite3.connect(database)) as connection:
        connection.text_factory = bytes
        return [connection.execute(statement).fetchall() for statement in statements]


def test_deleted_files_and_no_others_are_removed(
    jlocal: Run, notes: Path, other: dict[str, str]
) -> None:
    index(jlocal, UTF8, notes)
    (notes / NAMES[0]).unlink()
    (notes / NAMES[4]).unlink()
    jlocal(other, "update")
    assert found(jlocal, UTF8, "tomatoes") == {NAMES[n] for n in (1, 2, 3, 5, 6, 7)}


def test_words_of_paths_and_globs_find_the_same(
    jlocal: Run, notes: Path, other: dict[str, str]
) -> None:
    # Words of paths are written in one locale, removed in the other, and written again.
    index(jlocal, other, notes)
    (notes / NAMES[0]).unlink()
    jlocal(UTF8, "update")
    (notes / NAMES[0]).write_text("Something else altogether.")
    jlocal(other, "update")
    for locale in (UTF8, other):
        assert NAMES[0] in found(jlocal, locale, "--mode", "words", typed("gärten", locale))
        for options in (
            ("--path", "gärten/*.md"),
            ("--in", notes / "Gä*" / "*.md"),
        ):
            # The second folder of this name has it in its decomposed form.
            assert NAMES[0] in found(jlocal, locale, *options, "water") <= {*NAMES[:2]}


def test_globs_that_a_folder_remembers_mean_the_same(
    jlocal: Run, notes: Path, other: dict[str, str]
) -> None:
    index(jlocal, other, notes, "--include", "*ä*", "--exclude", "Gärten")
    for locale in (UTF8, other):
        jlocal(locale, "update")
        (folder,) = json.loads(jlocal(locale, "status", "--json").stdout)["folders"]
        assert (folder["include"], folder["exclude"]) == (["*ä*"], ["Gärten"])
        assert found(jlocal, locale, "tomatoes") == {NAMES[6]}


def test_names_of_collections_mean_the_same(
    jlocal: Run, notes: Path, other: dict[str, str]
) -> None:
    index(jlocal, other, notes, "-d", "Bücher")
    for locale in (UTF8, other):
        (row,) = json.loads(jlocal(locale, "collections", "--json").stdout)
        assert row["name"] == "Bücher"
        assert json.loads(jlocal(locale, "status", "-d", "Bücher", "--json").stdout)["name"] == (
            "Bücher"
        )


def test_everything_is_printed(jlocal: Run, notes: Path, other: dict[str, str]) -> None:
    (notes / "Übersicht ñ.md").write_text("# Über Tomaten\n\nWasser für die Tomaten, größer.\n")
    (notes / "Bild ü.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    (notes / "Wörter.txt").write_bytes(b"nothing \xfc that \x81 can be read \xe9\x9d" * 3)
    said = jlocal(other, "index", notes, "-m", "modèle.gguf", "-v", status=1).stderr
    assert b"rter.txt" in said
    (notes / "Wörter.txt").unlink()
    jlocal(other, "index", notes, "--dry-run")
    jlocal(other, "status")
    said = jlocal(other, "search", "Wasser für die Tomaten").stdout
    # The letters of UTF-8 as escapes, where the locale has none of them.
    assert (b"\\xdcbersicht \\xf1.md" if other is ASCII else b"bersicht") in said
    for row in jlocal(other, "search", "größer", "--json").stdout.splitlines():
        json.loads(row)
    jlocal(other, "similar", "größer", "Wörter")
    jlocal(other, "map", "-o", "Karte ü.html")
    # Three names are not UTF-8, which CSV must be.
    jlocal(other, "export", "-o", "Ausfuhr ü.csv", status=1)
    assert "Übersicht ñ.md" in (notes.parent / "Ausfuhr ü.csv").read_text("utf-8")
    jlocal(other, "embed", "Größe und Maß", notes / "Übersicht ñ.md")
    jlocal(other, "search", "größer", "--in", notes / "Gärten", "--json")
    jlocal(other, "forget", notes, "--yes")
    jlocal(other, "status", "-d", "fehlt ü", status=1)
    jlocal(other, "index", notes / "fehlt ü", status=1)


def test_ids_of_added_texts_are_text(tmp_path: Path, few: Path, other: dict[str, str]) -> None:
    code = """
import sys
from jlocal import Collection
id = "\\u00e9\\u4e00"
with Collection(sys.argv[1], sys.argv[2]) as collection:
    before, added = len(collection), collection.add("water", ids=id)
    hits = collection.search("water", path="\\u00e9*")
    unknown = [collection.get(path) for path in ("/\\u00e9\\u4e00", "/\\ud800", "\\ud800")]
    print(ascii((before, added, collection.get(id).id, [hit.id for hit in hits], unknown)))
"""
    for locale, there in ((other, 0), (UTF8, 1), (other, 1)):
        done = subprocess.run(
            [sys.executable, "-c", code, tmp_path / "c.db", few],
            env=os.environ | locale, capture_output=True, text=True, check=False,
        )  # fmt: skip
        ids = "['\\xe9\\u4e00']"
        expected = f"({there}, {ids}, '\\xe9\\u4e00', {ids}, [None, None, None])\n"
        assert done.stdout == expected, done.stderr
