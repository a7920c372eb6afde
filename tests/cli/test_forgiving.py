"""What a person meant: commands, texts without options, and models that are named wrongly."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from jlocal._version import __version__
from jlocal.cli import cli
from jlocal.cli.inputs import paths_and_texts
from jlocal.models.starter import FILE


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("JLOCAL_MODEL", raising=False)

    def invoke(*arguments: str, **options: object) -> Result:
        return CliRunner().invoke(cli, arguments, prog_name="jlocal", **options)

    return invoke


def error(done: Result) -> str:
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    return done.stderr.splitlines()[-1].removeprefix("Error: ")


@pytest.mark.parametrize(
    ("typed", "meant"),
    {
        "serch boats": "search", "Search": "search", "indx .": "index", "ls": "list",
        "remove small": "rm", "download small": "pull", "quantise": "quantize", "embedd": "embed",
        "find my notes on boats": "search", "version": "--version", "boundle create": "bundle",
    }.items(),
)  # fmt: skip
def test_a_command_that_does_not_exist_names_what_was_meant(
    run: Callable[..., Result], typed: str, meant: str
) -> None:
    words = typed.split()
    said = error(run(*words))
    assert said.startswith(f"there is no command '{words[0]}'; did you mean jlocal {meant}?")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("search --topk 2 tea", "no such option: --topk; did you mean --top-k?"),
        ("search --top_k 2 tea", "no such option: --top_k; did you mean --top-k?"),
        ("search --max-results 2 tea", "no such option: --max-results; did you mean --limit?"),
        ("search --n 2 tea", "no such option: --n; did you mean --limit?"),
        ("search --db x tea", "no such option: --db; did you mean --database?"),
        ("status --collection x", "no such option: --collection; did you mean --database?"),
        ("search --glob *.md tea", "no such option: --glob; did you mean --path?"),
        ("index --glob *.md .", "no such option: --glob; did you mean --include?"),
        ("index --chunk-size 64 .", "no such option: --chunk-size; did you mean --chunk?"),
        ("index --recursive .", "no such option: --recursive; folders are read with all folders"),
        ("index -r .", "no such option: -r; folders are read with all folders in them"),
        ("search -x tea", "no such option: -x; in a query, write -- before words that begin with"),
        ("-d x search tea", "no such option: -d; the options of a command are written after its"),
        ("bundle create --outptu x", "no such option: --outptu; did you mean --output?"),
        ("list --collection x", "no such option: --collection"),
    ],
)
def test_an_option_that_does_not_exist_names_what_was_meant(
    run: Callable[..., Result], typed: str, said: str
) -> None:
    assert error(run(*typed.split())).startswith(said)


@pytest.mark.parametrize("typed", ["search -n five tea", "index --threads abc .", "map --limit x"])
def test_a_number_that_is_none_is_not_called_a_range(
    run: Callable[..., Result], typed: str
) -> None:
    assert error(run(*typed.split())).endswith("is not a valid whole number.")


def test_a_number_out_of_bounds_names_the_bound(run: Callable[..., Result]) -> None:
    too_few, too_many = run("index", "--threads", "-2", "."), run("map", "--clusters", "9999")
    assert error(run("search", "-k", "0", "tea")).endswith("0 is too small; the minimum is 1.")
    assert error(too_few).endswith("-2 is too small; the minimum is 1.")
    assert error(too_many).endswith("9,999 is too large; the maximum is 12.")


def test_a_question_is_sent_to_search(run: Callable[..., Result]) -> None:
    question = "what did we decide about backups"
    hint = f"to search your files: jlocal search {question}"
    assert error(run(question)) == f"that is not a command; {hint}"
    assert error(run(*question.split())) == f"there is no command 'what'; {hint}"
    assert error(run("who's there?")).endswith('jlocal search "who\'s there?"')
    assert error(run("cost of $HOME")).endswith("jlocal search 'cost of $HOME'")
    # It may be either.
    assert error(run("wach", "the", "boats")).endswith(
        "search your files: jlocal search wach the boats"
    )


def test_options_of_no_command_are_not_searched_for(run: Callable[..., Result]) -> None:
    assert error(run("boats", "--help")).endswith("to search your files: jlocal search boats")


def test_a_folder_is_sent_to_index(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "my notes").mkdir()
    assert error(run("my notes")).endswith("to read it: jlocal index 'my notes'")


def test_commands_of_bundle(run: Callable[..., Result]) -> None:
    assert error(run("bundle", "creat")).endswith("did you mean jlocal bundle create?")
    assert error(run("bundle", "zzz")).endswith("there are create, install, verify")


@pytest.mark.parametrize("names", [[], ["search"], ["bundle"], ["bundle", "create"]])
def test_help_is_the_help_of_a_command(run: Callable[..., Result], names: list[str]) -> None:
    done = run("help", *names)
    assert (done.exit_code, done.stdout) == (0, run(*names, "--help").stdout)


def test_help_of_what_does_not_exist(run: Callable[..., Result]) -> None:
    assert "did you mean jlocal search?" in error(run("help", "serch"))
    assert "did you mean jlocal bundle create?" in error(run("help", "bundle", "creat"))
    assert error(run("help", "list", "x")) == "jlocal list has no commands of its own"


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(run: Callable[..., Result], option: str) -> None:
    assert run(option).stdout == f"jlocal {__version__}\n"


def test_what_is_a_text_and_what_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a file").touch()
    (tmp_path / "notes").mkdir()
    (tmp_path / "gone link").symlink_to("nowhere")
    texts = [
        "a cat sat",
        "Zwei Wörter",
        "either/or is it",
        "a\nb.md",
        "x " * 200,
        "日本 語",
        "v1.2 is",
    ]
    paths = [
        "word", "a file", "gone link", "my notes.txt", "notes/my note", "/a b",
        "./a b", "~/a b", "../a b", "C:\\a b", " ", "word ",
    ]  # fmt: skip
    assert paths_and_texts([*texts, *paths]) == ([*map(Path, paths)], texts)


def test_embed_takes_a_text(run: Callable[..., Result], tmp_path: Path) -> None:
    done = run("embed", "a cat sat")
    assert done.exit_code == 0, done.stderr
    assert done.stderr.splitlines() == [
        "No file has this name; it was embedded as a text: a cat sat",
        "Note: using the small English starter model; for better results: jlocal pull small",
    ]
    quiet = run("embed", "-q", "a cat sat")
    assert (quiet.stdout, quiet.stderr) == (done.stdout, "")
    assert run("embed", "-q", "-c", "a cat sat").stdout == done.stdout
    assert json.loads(done.stdout)["id"] == "1"
    # Nothing is loaded for what is neither.
    done = run("embed", "cat", "no.txt")
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "Not embedded: cat: no such file or folder; to embed it as a text: -c cat",
        "Not embedded: no.txt: no such file or folder",
        "Error: there is nothing to embed",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"my diary\n", os.urandom(5000), None])
def test_a_default_collection_that_is_none_has_a_next_step(
    content: bytes | None, run: Callable[..., Result], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setenv("JLOCAL_HOME", str(tmp_path / "home"))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("We keep backups for thirty days.")
    path = tmp_path / "home" / "collections" / "default.db"
    path.parent.mkdir(parents=True)
    path.mkdir() if content is None else path.write_bytes(content)
    commands = ["search backups", "status", "update", "index notes", "index --compact"]
    commands += ["forget notes -y", "export -o e.jsonl", "map -o m.html"]
    for command in commands:
        done = run(*command.split())
        assert done.exit_code == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"Error: {path} is ")
        assert "; move it away, or name " in line
    # A folder that needs no collection is searched all the same.
    done = run("search", "backups", "--in", "notes")
    assert (done.exit_code, "notes/a.md" in done.stdout) == (0, True)
    assert f"Note: {path} is " in done.stderr


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        (
            "search hi -d ./photo.jpg",
            "photo.jpg is not a collection of jlocal: it is not an SQLite file; name another file",
        ),
        (
            "search hi -d ./todo.md",
            "todo.md is not a collection of jlocal: it is not an SQLite file; name another file, "
            "or to search in todo.md: jlocal search your question --in todo.md",
        ),
        (
            "status -d ./notes",
            "notes is a folder, not a collection; name another file, or to search in notes: jlocal "
            "search your question --in notes",
        ),
        (
            "search hi -d photo.jpg",
            "there is no collection named photo.jpg; make it with: jlocal index FOLDER -d "
            "photo.jpg",
        ),
        (
            "search hi -d notes",
            "there is no collection named notes; make it with: jlocal index FOLDER -d notes, or to "
            "search in notes: jlocal search your question --in notes",
        ),
    ],
)
def test_a_document_or_folder_in_place_of_a_collection(
    command: str, advice: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "todo.md").write_text("Buy milk.")
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(90))
    done = run(*command.split())
    assert (done.exit_code, done.stderr) == (1, f"Error: {advice}\n")


@pytest.mark.parametrize("command", ["update", "watch", "status"])
def test_a_path_after_a_command_for_whole_collections(
    command: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    name = f"jlocal {command}"
    why = f"Error: {name} takes no paths, because it is for all folders of a collection; "
    done = run(command, "my notes", "b.md")
    assert done.exit_code == 2
    assert done.stderr.endswith(f"{why}to index my notes: jlocal index 'my notes' b.md\n")
    done = run(command, "-d", "work", "notes")
    assert done.stderr.endswith(f"{why}to index notes: jlocal index notes -d work\n")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("A note.")
    assert run("index", "notes", "-d", "work", "-q").exit_code == 0
    assert run(command, "work").stderr.endswith(f"Error: did you mean {name} -d work?\n")
    # A folder of this name is rather meant.
    (tmp_path / "work").mkdir()
    assert run(command, "work").stderr.endswith("to index work: jlocal index work\n")


@pytest.mark.parametrize(
    ("command", "advice"),
    [
        ("map out.html", "did you mean jlocal map -o out.html?"),
        ("export vectors.npz", "did you mean jlocal export -o vectors.npz?"),
        ("export notes", "to index notes: jlocal index notes"),
        ("serve small", "did you mean jlocal serve -m small?"),
        ("list small", "jlocal list does not take 'small'; jlocal list --help shows what it takes"),
        ("show a b", "jlocal show does not take 'b'; jlocal show --help shows what it takes"),
    ],
)
def test_an_argument_that_a_command_does_not_take(
    command: str, advice: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    done = run(*command.split())
    assert done.exit_code == 2
    assert done.stderr.endswith(f"{advice}\n")


@pytest.mark.slow
def test_embed_skips_broken_links_in_folders_as_index_does(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("A note.")
    (tmp_path / "notes" / "gone.md").symlink_to("nowhere")
    (tmp_path / "notes" / "ring.md").symlink_to("ring.md")
    done = run("embed", "notes", "-m", str(FILE), "-o", "a.npy")
    assert (done.exit_code, done.stderr.splitlines()[0]) == (
        0,
        "Skipped 2 broken links (gone.md, …)",
    )
    assert run("index", "notes", "-m", str(FILE)).exit_code == 0
    # A link that is named is one that was meant.
    for command in ("embed", "index"):
        assert run(command, "notes/gone.md", "-m", str(FILE)).exit_code == 1


@pytest.mark.slow
def test_embed_skips_what_is_not_text_in_folders_as_index_does(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "a.md").write_text("A note.")
    (notes / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(200_000))
    (notes / "tool.bin").write_bytes(b"\x7fELF\0\1\2")
    (notes / "plan.docx").write_bytes(b"PK\3\4")
    os.mkfifo(notes / "pipe")
    monkeypatch.setitem(sys.modules, "anydoc", None)
    said = [
        "Skipped 3 that are not text (photo.jpg, …)",
        "1 Word document needs: pip install 'jlocal[office]'",
    ]
    done = run("embed", "notes", "-m", str(FILE), "-o", "a.npz")
    assert (done.exit_code, done.stderr.splitlines()) == (0, [*said, "Wrote 1 vector to a.npz"])
    done = run("embed", "notes", "-m", str(FILE), "-v")
    assert (done.exit_code, done.stderr.splitlines()) == (
        0,
        [
            "Skipped: notes/photo.jpg: not text",
            "Skipped: notes/pipe: not a regular file",
            "Skipped: notes/plan.docx: needs pip install 'jlocal[office]'",
            "Skipped: notes/tool.bin: not text",
            *said,
        ],
    )
    assert run("embed", "notes", "-m", str(FILE), "-v", "-q").stderr == ""
    # A file that is named, or named as text, should have been read.
    assert run("embed", "notes", "notes/photo.jpg", "-m", str(FILE)).exit_code == 1
    (notes / "b.md").write_bytes(b"a\0b")
    done = run("embed", "notes", "-m", str(FILE))
    assert (done.exit_code, "Not embedded: notes/b.md: " in done.stderr) == (1, True)


@pytest.mark.slow
def test_embed_reads_standard_input_where_nothing_is_named(tmp_path: Path) -> None:
    def embed(data: bytes) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "jlocal", "embed", "-q", "-m", str(FILE)],
            input=data, capture_output=True, cwd=tmp_path, check=False,
        )  # fmt: skip

    rows = [json.loads(line) for line in embed(b"hi\nthere\n").stdout.splitlines()]
    assert [row["id"] for row in rows] == ["1", "2"]
    done = embed(b"")
    assert done.returncode == 2
    assert b"nothing to embed: name files or folders, or a text in quotes" in done.stderr


def test_similar_says_its_note_once_or_not_at_all(run: Callable[..., Result]) -> None:
    done = run("similar", "a cat", "a kitten")
    assert done.stderr.count("\n") == 1
    assert run("similar", "-q", "a cat", "a kitten").stderr == ""


def test_a_model_that_does_not_exist_names_what_was_meant(run: Callable[..., Result]) -> None:
    def said(*arguments: str) -> str:
        done = run(*arguments)
        assert done.exit_code == 1, done.output
        return done.stderr.splitlines()[-1].removeprefix("Error: ")

    def embed(name: str) -> str:
        return said("embed", "-c", "x", "-m", name).removeprefix(f"there is no model {name!r}; ")

    assert embed("starer") == embed("starter:Q4_K_M") == "did you mean starter?"
    assert embed("smal") == "did you mean small, which `jlocal pull small` downloads?"
    assert embed("nano-cluster") == (
        "did you mean nano-clustering, which `jlocal pull nano-clustering` downloads?"
    )
    assert embed("xyz") == "on this machine: starter; `jlocal pull small` downloads another"
    assert said("pull", "smal") == "there is no model 'smal'; did you mean small?"
    assert "comes with jlocal" in said("pull", "startr")
    assert said("rm", "smal").endswith("`jlocal list` shows the models that are")
    shutil.copy(FILE, "mine.gguf")
    assert said("show", "./mime.gguf") == "no such file: ./mime.gguf; did you mean mine.gguf?"


@pytest.mark.parametrize(
    ("typed", "offered"),
    {
        "em": ["embed"], "embed -m st": ["starter"], "pull nano-c": [
            "nano-clustering", "nano-classification",
        ], "bundle cr": ["create"], "index --ex": ["--exclude"], "help sea": ["search"],
        "pull small:q8": ["small:Q8_0"],
    }.items(),
)  # fmt: skip
def test_a_shell_completes(typed: str, offered: list[str], tmp_path: Path) -> None:
    words = f"jlocal {typed}"
    done = subprocess.run(
        [sys.executable, "-m", "jlocal"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
        env=os.environ | {"_JLOCAL_COMPLETE": "bash_complete", "COMP_WORDS": words,
                          "COMP_CWORD": str(len(words.split()) - 1),
                          "JLOCAL_HOME": str(tmp_path / "home")},
    )  # fmt: skip
    plain = [line.removeprefix("plain,") for line in done.stdout.split() if "plain," in line]
    assert plain == offered
    assert done.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_its_script(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "jlocal"],
        capture_output=True, text=True, check=True,
        env=os.environ | {"_JLOCAL_COMPLETE": f"{shell}_source"},
    )  # fmt: skip
    assert f"_JLOCAL_COMPLETE={shell}_complete" in done.stdout
